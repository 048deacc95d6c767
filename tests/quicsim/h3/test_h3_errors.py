"""What a peer does wrong in HTTP/3 ends the request or the connection, with the code that RFC 9114 names."""

import pytest

from quicsim import Connection, Net, h3
from quicsim.h3 import wire
from stack.errors import ConnectionClosed, StreamReset, StreamStopped
from stack.wire.varint import encode_varint
from tests.quicsim.h3.exchange import (
    GET,
    SETTINGS,
    closed,
    echo,
    headers,
    open_stream,
    requesting,
    run,
    send,
    serving,
)

DATA = wire.encode_frame(wire.DATA, b"data")
OK = [(b":status", b"200")]


def frame(kind: int, *numbers: int) -> bytes:
    return wire.encode_frame(kind, b"".join(map(encode_varint, numbers)))


CONTROL_STREAMS = [
    # What the peer sends on its control stream, and what that is
    pytest.param(b"\x00", "H3_CLOSED_CRITICAL_STREAM", marks=pytest.mark.requirement("rfc9114:6.2.1:5"), id="ended"),
    pytest.param(
        frame(wire.GOAWAY, 0), "H3_MISSING_SETTINGS", marks=pytest.mark.requirement("rfc9114:6.2.1:2"), id="no settings"
    ),
    pytest.param(frame(0x21), "H3_MISSING_SETTINGS", id="unknown before settings"),
    pytest.param(
        SETTINGS * 2, "H3_FRAME_UNEXPECTED", marks=pytest.mark.requirement("rfc9114:7.2.4:2"), id="settings twice"
    ),
    pytest.param(SETTINGS + DATA, "H3_FRAME_UNEXPECTED", marks=pytest.mark.requirement("rfc9114:7.2.1:2"), id="DATA"),
    pytest.param(
        SETTINGS + headers(GET), "H3_FRAME_UNEXPECTED", marks=pytest.mark.requirement("rfc9114:7.2.2:1"), id="HEADERS"
    ),
    pytest.param(
        SETTINGS + frame(wire.PUSH_PROMISE, 0),
        "H3_FRAME_UNEXPECTED",
        marks=pytest.mark.requirement("rfc9114:7.2.5:9", "rfc9114:7.2.5:11"),
        id="PUSH_PROMISE",
    ),
    pytest.param(
        SETTINGS + frame(0x02),
        "H3_FRAME_UNEXPECTED",
        marks=pytest.mark.requirement("rfc9114:7.2.8:3"),
        id="frame of HTTP/2",
    ),
    pytest.param(
        frame(wire.SETTINGS, 6, 1, 6, 1),
        "H3_SETTINGS_ERROR",
        marks=pytest.mark.requirement("rfc9114:7.2.4:6"),
        id="setting twice",
    ),
    pytest.param(
        frame(wire.SETTINGS, 2, 1),
        "H3_SETTINGS_ERROR",
        marks=pytest.mark.requirement("rfc9114:7.2.4.1:3"),
        id="setting of HTTP/2",
    ),
    pytest.param(
        frame(wire.SETTINGS, 6), "H3_FRAME_ERROR", marks=pytest.mark.requirement("rfc9114:7.1:2"), id="half a setting"
    ),
    pytest.param(wire.frame_header(wire.SETTINGS, 1 << 20), "H3_EXCESSIVE_LOAD", id="endless settings"),
    pytest.param(
        SETTINGS + frame(wire.GOAWAY, 0, 0),
        "H3_FRAME_ERROR",
        marks=pytest.mark.requirement("rfc9114:7.1:2"),
        id="two numbers",
    ),
    pytest.param(SETTINGS + frame(wire.GOAWAY), "H3_FRAME_ERROR", id="no number"),
    pytest.param(SETTINGS + frame(wire.GOAWAY, *[0] * 9), "H3_FRAME_ERROR", id="nine bytes"),
    pytest.param(
        SETTINGS + frame(wire.GOAWAY, 0) + frame(wire.GOAWAY, 4),
        "H3_ID_ERROR",
        marks=pytest.mark.requirement("rfc9114:5.2:9"),
        id="growing GOAWAY",
    ),
    pytest.param(
        SETTINGS + frame(wire.CANCEL_PUSH, 0),
        "H3_ID_ERROR",
        marks=pytest.mark.requirement("rfc9114:7.2.3:8", "rfc9114:7.2.3:9"),
        id="CANCEL_PUSH",
    ),
]
OF_CLIENTS = [
    pytest.param(
        SETTINGS + frame(wire.MAX_PUSH_ID, 4) + frame(wire.MAX_PUSH_ID, 3),
        "H3_ID_ERROR",
        marks=pytest.mark.requirement("rfc9114:7.2.7:4"),
        id="shrinking MAX_PUSH_ID",
    )
]
OF_SERVERS = [
    pytest.param(
        SETTINGS + frame(wire.MAX_PUSH_ID, 4),
        "H3_FRAME_UNEXPECTED",
        marks=pytest.mark.requirement("rfc9114:7.2.7:3"),
        id="MAX_PUSH_ID",
    ),
    pytest.param(
        SETTINGS + frame(wire.GOAWAY, 3),
        "H3_ID_ERROR",
        marks=pytest.mark.requirement("rfc9114:7.2.6:1"),
        id="no request's stream",
    ),
]


async def misbehave(conn: Connection, data: bytes) -> str:
    """Send on a control stream, end it if that is all, and return how the peer takes it."""
    stream = await open_stream(conn, wire.CONTROL, b"" if data == b"\x00" else data)
    if data == b"\x00":
        await stream.finish()
    return await closed(conn)


@pytest.mark.parametrize(("data", "code"), CONTROL_STREAMS + OF_CLIENTS)
def test_a_client_breaks_a_rule_of_the_control_stream(data: bytes, code: str) -> None:
    assert run(serving(echo), lambda net, conn: misbehave(conn, data)) == code


@pytest.mark.parametrize(("data", "code"), CONTROL_STREAMS + OF_SERVERS)
def test_a_server_breaks_a_rule_of_the_control_stream(data: bytes, code: str) -> None:
    seen: list[str] = []

    async def server(net: Net, conn: Connection) -> None:
        seen.append(await misbehave(conn, data))

    async def use(net: Net, client: h3.Client) -> None:
        with pytest.raises(ConnectionClosed):
            await client.request("GET", "/")
        await net.sleep("100ms")

    run(server, requesting(use))
    assert seen == [code]


STREAMS = [
    # Types of the unidirectional streams that the peer opens, what they begin with, and how that ends
    pytest.param([0, 0], SETTINGS, "H3_STREAM_CREATION_ERROR", marks=pytest.mark.requirement("rfc9114:6.2.1:3")),
    pytest.param([2, 2], b"", "H3_STREAM_CREATION_ERROR", marks=pytest.mark.requirement("rfc9204:4.2:2")),
    pytest.param([3, 3], b"", "H3_STREAM_CREATION_ERROR", marks=pytest.mark.requirement("rfc9204:4.2:2")),
    # Set Dynamic Table Capacity to what was not offered, duplicate an entry that is not there
    pytest.param(
        [2], b"\x3f\xff\xff\x03", "QPACK_ENCODER_STREAM_ERROR", marks=pytest.mark.requirement("rfc9204:4.3.1:2")
    ),
    pytest.param([2], b"\x05", "QPACK_ENCODER_STREAM_ERROR", marks=pytest.mark.requirement("rfc9204:2.2.3:2")),
    # Insert Count Increment of 0
    pytest.param([3], b"\x00", "QPACK_DECODER_STREAM_ERROR", marks=pytest.mark.requirement("rfc9204:4.4.3:1")),
]


@pytest.mark.parametrize(("kinds", "data", "code"), STREAMS)
def test_streams_that_break_a_rule(kinds: list[int], data: bytes, code: str) -> None:
    async def client(net: Net, conn: Connection) -> str:
        for kind in kinds:
            await open_stream(conn, kind, data)
        return await closed(conn)

    assert run(serving(echo), client) == code


@pytest.mark.requirement("rfc9114:6.2.1:5", "rfc9204:4.2:4")
@pytest.mark.parametrize("kind", [wire.CONTROL, wire.QPACK_ENCODER, wire.QPACK_DECODER])
@pytest.mark.parametrize("how", ["reset", "stopped"])
def test_critical_streams_must_stay(kind: int, how: str) -> None:
    async def client(net: Net, conn: Connection) -> str:
        if how == "reset":
            stream = await open_stream(conn, kind, SETTINGS if kind == wire.CONTROL else b"")
            await net.sleep("50ms")
            stream.reset(1)
        else:
            streams = [await conn.accept_stream() for _ in range(3)]
            kinds = [(await stream.read(1))[0] for stream in streams]
            streams[kinds.index(kind)].stop(1)
        return await closed(conn)

    assert run(serving(echo), client) == "H3_CLOSED_CRITICAL_STREAM"


@pytest.mark.requirement("rfc9114:4.6:2")
def test_pushes_are_not_allowed() -> None:
    async def push_client(net: Net, conn: Connection) -> str:
        await open_stream(conn, wire.PUSH, b"\x00")
        return await closed(conn)

    assert run(serving(echo), push_client) == "H3_STREAM_CREATION_ERROR"
    assert _seen_by_a_server(lambda conn: open_stream(conn, wire.PUSH, b"\x00")) == "H3_ID_ERROR"


@pytest.mark.requirement("rfc9114:6.1:3")
def test_a_server_opens_no_bidirectional_streams() -> None:
    assert _seen_by_a_server(lambda conn: send(conn, b"")) == "H3_STREAM_CREATION_ERROR"


def _seen_by_a_server(act) -> str:
    """How a client of ours takes what a server does."""
    seen: list[str] = []

    async def server(net: Net, conn: Connection) -> None:
        await act(conn)
        seen.append(await closed(conn))

    async def use(net: Net, client: h3.Client) -> None:
        with pytest.raises(ConnectionClosed):
            await client.request("GET", "/")
        await net.sleep("100ms")

    run(server, requesting(use))
    return seen[0]


@pytest.mark.requirement("rfc9114:6.2:4", "rfc9114:6.2:5", "rfc9114:6.2:6", "rfc9114:6.2:10", "rfc9114:7.2.8:2")
def test_what_is_unknown_is_passed_over() -> None:
    async def client(net: Net, conn: Connection) -> tuple[str, bytes]:
        unknown = await open_stream(conn, 0x21, b"whatever")
        (await conn.open_stream(unidirectional=True)).reset(1)
        await (await conn.open_stream(unidirectional=True)).finish()
        await open_stream(conn, wire.CONTROL, frame(wire.SETTINGS, 0x21, 5, 0x4040, 1) + frame(0x21, 1, 2, 3))
        unknown_frame = frame(0x1F * 5 + 0x21, 7)
        stream = await send(conn, unknown_frame + headers(GET) + unknown_frame + DATA + unknown_frame)
        answer = await stream.read_all()
        with pytest.raises(StreamStopped) as stopped:
            await unknown.wait_sent()
        return h3.code_name(stopped.value.code), answer

    code, answer = run(serving(echo), client)
    assert code == "H3_STREAM_CREATION_ERROR"
    assert answer.endswith(b"GET / bob data")


CONNECTION_ERRORS = [
    pytest.param(DATA, "H3_FRAME_UNEXPECTED", marks=pytest.mark.requirement("rfc9114:4.1:3"), id="DATA first"),
    pytest.param(
        headers(GET) + headers([(b"a", b"b")]) + DATA,
        "H3_FRAME_UNEXPECTED",
        marks=pytest.mark.requirement("rfc9114:4.1:3"),
        id="DATA after trailers",
    ),
    pytest.param(
        headers(GET) + headers([]) + headers([]),
        "H3_FRAME_UNEXPECTED",
        marks=pytest.mark.requirement("rfc9114:4.1:3"),
        id="two trailers",
    ),
    pytest.param(
        headers(GET) + SETTINGS, "H3_FRAME_UNEXPECTED", marks=pytest.mark.requirement("rfc9114:7.2.4:4"), id="SETTINGS"
    ),
    pytest.param(
        frame(wire.GOAWAY, 0), "H3_FRAME_UNEXPECTED", marks=pytest.mark.requirement("rfc9114:7.2.6:2"), id="GOAWAY"
    ),
    pytest.param(
        headers(GET) + frame(wire.MAX_PUSH_ID, 1),
        "H3_FRAME_UNEXPECTED",
        marks=pytest.mark.requirement("rfc9114:7.2.7:1"),
        id="MAX_PUSH_ID",
    ),
    pytest.param(
        headers(GET) + frame(wire.CANCEL_PUSH, 1),
        "H3_FRAME_UNEXPECTED",
        marks=pytest.mark.requirement("rfc9114:7.2.3:7"),
        id="CANCEL_PUSH",
    ),
    pytest.param(
        headers(GET) + frame(wire.PUSH_PROMISE, 1),
        "H3_FRAME_UNEXPECTED",
        marks=pytest.mark.requirement("rfc9114:7.2.5:11"),
        id="PUSH_PROMISE",
    ),
    pytest.param(
        headers(GET) + frame(0x06),
        "H3_FRAME_UNEXPECTED",
        marks=pytest.mark.requirement("rfc9114:7.2.8:3"),
        id="frame of HTTP/2",
    ),
    pytest.param(
        headers(GET)[:-1], "H3_FRAME_ERROR", marks=pytest.mark.requirement("rfc9114:7.1:4"), id="HEADERS cut off"
    ),
    pytest.param(
        headers(GET) + DATA[:-1], "H3_FRAME_ERROR", marks=pytest.mark.requirement("rfc9114:7.1:4"), id="DATA cut off"
    ),
    pytest.param(headers(GET) + DATA[:1], "H3_FRAME_ERROR", id="a frame's header cut off"),
    pytest.param(headers(GET) + b"\x40", "H3_FRAME_ERROR", id="a number cut off"),
    pytest.param(headers(GET) + frame(0x21, 1, 2)[:-1], "H3_FRAME_ERROR", id="an unknown frame cut off"),
    pytest.param(
        wire.encode_frame(wire.HEADERS, b"\x00\x00\xff\xff\xff"),
        "QPACK_DECOMPRESSION_FAILED",
        marks=pytest.mark.requirement("rfc9204:3.1:1"),
        id="no such static entry",
    ),
    pytest.param(wire.encode_frame(wire.HEADERS, b""), "QPACK_DECOMPRESSION_FAILED", id="no section"),
]


@pytest.mark.parametrize(("data", "code"), CONNECTION_ERRORS)
def test_a_request_stream_that_breaks_a_rule(data: bytes, code: str) -> None:
    async def client(net: Net, conn: Connection) -> str:
        await open_stream(conn, wire.CONTROL, SETTINGS)
        await send(conn, data)
        return await closed(conn)

    assert run(serving(echo), client) == code


@pytest.mark.requirement("rfc9204:2.1.2:2")
def test_more_blocked_streams_than_allowed() -> None:
    async def client(net: Net, conn: Connection) -> str:
        await open_stream(conn, wire.CONTROL, SETTINGS)
        for _ in range(17):
            await send(conn, wire.encode_frame(wire.HEADERS, bytes([2, 0, 0x80])))
        return await closed(conn)

    assert run(serving(echo), client) == "QPACK_DECOMPRESSION_FAILED"


STREAM_ERRORS = [
    pytest.param(
        headers(GET[:3]), "H3_MESSAGE_ERROR", marks=pytest.mark.requirement("rfc9114:4.1.2:2"), id="malformed"
    ),
    pytest.param(
        headers([*GET, (b"content-length", b"5")]) + DATA,
        "H3_MESSAGE_ERROR",
        marks=pytest.mark.requirement("rfc9114:4.1.2:2"),
        id="less content",
    ),
    pytest.param(headers([*GET, (b"content-length", b"3")]) + DATA, "H3_MESSAGE_ERROR", id="more content"),
    pytest.param(headers([*GET, (b"content-length", b"x")]) + DATA, "H3_MESSAGE_ERROR", id="no length"),
    pytest.param(
        headers(GET) + DATA + headers(GET),
        "H3_MESSAGE_ERROR",
        marks=pytest.mark.requirement("rfc9114:4.3:3"),
        id="second request",
    ),
    pytest.param(b"", "H3_REQUEST_INCOMPLETE", marks=pytest.mark.requirement("rfc9114:4.1:13"), id="nothing"),
    pytest.param(frame(0x21, 1), "H3_REQUEST_INCOMPLETE", id="no HEADERS"),
]


@pytest.mark.parametrize(("data", "code"), STREAM_ERRORS)
def test_a_request_that_is_malformed_is_given_up_alone(data: bytes, code: str) -> None:
    async def client(net: Net, conn: Connection) -> tuple[str, bytes]:
        await open_stream(conn, wire.CONTROL, SETTINGS)
        stream = await send(conn, data)
        with pytest.raises(StreamReset) as reset:
            await stream.read_all()
        return h3.code_name(reset.value.code), await (await send(conn, headers(GET))).read_all()

    name, answer = run(serving(echo), client)
    assert name == code
    assert answer.endswith(b"GET / bob ")


@pytest.mark.parametrize("value", [b"v" * 16_300, b"v" * 30_000])
def test_header_fields_that_are_too_large_are_refused_with_a_status(value: bytes) -> None:
    async def use(net: Net, client: h3.Client) -> list[int]:
        large = await client.request("GET", "/", [("x-large", value.decode())])
        return [large.status, (await client.request("GET", "/")).status]

    assert run(serving(echo), requesting(use)) == [431, 200]


def test_a_section_that_unpacks_to_megabytes_is_refused() -> None:
    """Each byte of the section stands for an entry of the table as large as the table takes."""

    async def client(net: Net, conn: Connection) -> bytes:
        await open_stream(conn, wire.CONTROL, SETTINGS)
        # Capacity 1024; insert "a" with a value of 900 bytes, their lengths as prefixed integers
        table = bytes([0x3F, (1024 - 31) % 128 | 0x80, (1024 - 31) // 128, 0x41]) + b"a"
        await open_stream(conn, wire.QPACK_ENCODER, table + bytes([0x7F, (900 - 127) % 128 | 0x80, 6]) + b"v" * 900)
        await net.sleep("50ms")
        stream = await send(conn, wire.encode_frame(wire.HEADERS, b"\x02\x00" + b"\x80" * 16_000))
        status = await stream.read_all()
        assert conn.ended is None
        return status

    assert b"431" in run(serving(echo), client)


RESPONSES = [
    pytest.param(headers([]), "H3_MESSAGE_ERROR", id="no status"),
    pytest.param(headers([(b":status", b"2xx")]), "H3_MESSAGE_ERROR", id="no number"),
    pytest.param(headers([(b":status", b"101")]), "H3_MESSAGE_ERROR", id="switching protocols"),
    pytest.param(headers(OK) + headers([(b":status", b"200")]), "H3_MESSAGE_ERROR", id="second response"),
    pytest.param(headers([*OK, (b"content-length", b"9")]) + DATA, "H3_MESSAGE_ERROR", id="less content"),
    pytest.param(b"", "H3_MESSAGE_ERROR", id="nothing"),
    pytest.param(headers([(b":status", b"100")]) * 100, "H3_EXCESSIVE_LOAD", id="interim for ever"),
    pytest.param(headers([*OK, (b"x", b"v" * 30_000)]), "H3_EXCESSIVE_LOAD", id="too large"),
    pytest.param(DATA, "H3_FRAME_UNEXPECTED", id="DATA first"),
    pytest.param(
        frame(wire.PUSH_PROMISE, 0), "H3_ID_ERROR", marks=pytest.mark.requirement("rfc9114:7.2.5:2"), id="PUSH_PROMISE"
    ),
]


@pytest.mark.requirement("rfc9114:4.1.2:4")
@pytest.mark.parametrize(("data", "code"), RESPONSES)
def test_a_client_does_not_take_a_malformed_response(data: bytes, code: str) -> None:
    async def server(net: Net, conn: Connection) -> None:
        while True:
            stream = await conn.accept_stream()
            if not stream.unidirectional:
                await stream.write(data, end=True)

    async def use(net: Net, client: h3.Client) -> str:
        with pytest.raises(h3.H3Error) as failure:
            await (await client.request("GET", "/")).read_all()
        return failure.value.code.name

    assert run(server, requesting(use)) == code


def test_a_bug_of_the_handler_resets_the_request_and_is_not_hidden() -> None:
    async def handler(request: h3.Request) -> None:
        raise LookupError("a bug")

    async def use(net: Net, client: h3.Client) -> None:
        await client.request("GET", "/")

    with pytest.raises(LookupError, match="a bug"):
        run(serving(handler), requesting(use))
