"""Requests and responses over HTTP/3 in simulation, our client and our server."""

import pytest

import quicsim
from links import Delay, Loss, Rate, TailDrop
from quicsim import Connection, Net, Simulation, h3
from quicsim.h3 import wire
from quicsim.h3.priorities import parse_priority
from stack.errors import StreamReset
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

CONTENT = bytes(range(256)) * 2_000


def lossy():
    return [Rate("50Mbps"), TailDrop(100_000), Delay("5ms"), Loss(0.02)]


def narrow():
    return [Rate("1Mbps"), TailDrop(20_000), Delay("5ms")]


def test_a_request_is_answered() -> None:
    async def use(net: Net, client: h3.Client) -> tuple[int, str, str | None, bytes]:
        response = await client.request("POST", "/a?b", [("x-test", "1")], content=b"content")
        return response.status, response.phrase, response.field("content-type"), await response.read_all()

    assert run(serving(echo), requesting(use)) == (200, "200 OK", "text/plain", b"POST /a?b bob content")


def test_requests_run_beside_each_other_over_a_lossy_path() -> None:
    async def handler(request: h3.Request) -> None:
        await request.respond(200, length=len(CONTENT))
        await request.write(CONTENT[:1000])
        await request.write(CONTENT[1000:])

    async def use(net: Net, client: h3.Client) -> list[bool]:
        async def one(net: Net, path: str) -> bool:
            return await (await client.request("GET", path)).read_all() == CONTENT

        return [await each for each in [net.spawn(one, f"/{number}") for number in range(10)]]

    assert run(serving(handler), requesting(use), lossy) == [True] * 10


def test_responses_come_in_the_order_of_their_priority() -> None:
    async def handler(request: h3.Request) -> None:
        await request.respond(200, length=len(CONTENT))
        await request.write(CONTENT)

    async def use(net: Net, client: h3.Client) -> list[str]:
        order: list[str] = []

        async def one(net: Net, priority: str) -> None:
            response = await client.request("GET", "/", [("priority", priority)])
            assert await response.read_all() == CONTENT
            order.append(priority)

        for task in [net.spawn(one, priority) for priority in ("u=7", "u=3, i", "u=0")]:
            await task
        return order

    assert run(serving(handler), requesting(use), narrow) == ["u=0", "u=3, i", "u=7"]


@pytest.mark.parametrize(
    ("value", "priority"),
    [("u=5, i", (5, True)), ("i", (3, True)), ("", (3, False)), ("u=9,i=?0,x", (3, False)), ("u=1;a=b", (1, False))],
)
def test_what_a_priority_says(value: str, priority: tuple[int, bool]) -> None:
    assert parse_priority(value) == priority


def test_a_response_may_leave_its_length_open() -> None:
    async def handler(request: h3.Request) -> None:
        await request.respond(200)
        for _ in range(3):
            await request.write(b"part ")

    async def use(net: Net, client: h3.Client) -> tuple[str | None, bytes]:
        response = await client.request("GET", "/")
        return response.field("content-length"), await response.read_all()

    assert run(serving(handler), requesting(use)) == (None, b"part part part ")


def test_a_response_to_head_has_no_content() -> None:
    async def handler(request: h3.Request) -> None:
        await request.respond(200, length=10)
        await request.write(bytes(10))

    async def use(net: Net, client: h3.Client) -> list[tuple[str | None, bytes]]:
        responses = [await client.request(method, "/") for method in ("HEAD", "GET")]
        return [(response.field("content-length"), await response.read_all()) for response in responses]

    assert run(serving(handler), requesting(use)) == [("10", b""), ("10", bytes(10))]


def test_fields_that_come_again_are_sent_as_references() -> None:
    """The dynamic table of QPACK is used, once the peer has said that there is one (RFC 9204 section 3.2)."""
    sizes: list[int] = []

    async def handler(request: h3.Request) -> None:
        await request.respond(200, [("x-long", "v" * 300)], length=0)

    async def use(net: Net, client: h3.Client) -> None:
        for _ in range(6):
            sent = client.conn.stats.stream_bytes_sent
            response = await client.request("GET", "/", [("x-other", "w" * 300)])
            assert response.field("x-long") == "v" * 300
            await net.sleep("100ms")
            sizes.append(client.conn.stats.stream_bytes_sent - sent)

    run(serving(handler), requesting(use))
    assert sizes[0] > 200
    assert sizes[-1] < 30


def test_sections_wait_for_entries_of_the_table_that_come_later() -> None:
    """The encoder's stream is lost and its request is not: the request is blocked until the entry comes."""

    async def client(net: Net, conn: Connection) -> tuple[bytes, bytes]:
        await open_stream(conn, wire.CONTROL, SETTINGS)
        # Required insert count 1, base 0; the static fields of GET, and the first entry of the dynamic table
        section = bytes([2, 0]) + bytes([0xC0 | 17, 0xC0 | 23, 0xC0 | 1, 0x80])
        stream = await send(conn, wire.encode_frame(wire.HEADERS, section))
        await net.sleep("100ms")
        # Capacity 200; insert :authority (static name 0) with the value "eve"
        encoder = await open_stream(conn, wire.QPACK_ENCODER, bytes([0x3F, (200 - 31) % 128 | 0x80, 1]))
        await encoder.write(bytes([0xC0, 3]) + b"eve")
        return await stream.read_exactly(1), await stream.read_all()

    first, rest = run(serving(echo), client)
    assert first == b"\x01"
    assert rest.endswith(b"GET / eve ")


def test_a_handler_that_says_nothing_is_an_error_of_the_server() -> None:
    async def handler(request: h3.Request) -> None:
        pass

    async def use(net: Net, client: h3.Client) -> tuple[str, bytes]:
        response = await client.request("GET", "/")
        return response.phrase, await response.read_all()

    assert run(serving(handler), requesting(use)) == ("500 Internal Server Error", b"")


@pytest.mark.requirement("rfc9114:4.1.1:7")
def test_a_client_may_cancel() -> None:
    failures: list[str] = []

    async def handler(request: h3.Request) -> None:
        await request.respond(200, length=100 * len(CONTENT))
        try:
            for _ in range(100):
                await request.write(CONTENT)
        except Exception as error:
            failures.append(str(error))
            raise

    async def use(net: Net, client: h3.Client) -> int:
        response = await client.request("GET", "/")
        assert await response.read(100)
        response.cancel()
        await net.sleep("1s")
        return (await client.request("HEAD", "/")).status

    assert run(serving(handler), requesting(use), lossy) == 200
    assert failures == [f"the peer stopped reading stream 0 with application error {int(h3.Code.H3_REQUEST_CANCELLED)}"]


def test_a_response_that_is_given_up_is_no_response() -> None:
    async def handler(request: h3.Request) -> None:
        await request.respond(200, length=10)
        await request.write(b"short")

    async def use(net: Net, client: h3.Client) -> int:
        response = await client.request("GET", "/")
        with pytest.raises(StreamReset) as reset:
            await response.read_all()
        return reset.value.code

    assert run(serving(handler), requesting(use)) == h3.Code.H3_INTERNAL_ERROR


def test_more_than_announced_is_a_mistake_of_the_handler() -> None:
    async def handler(request: h3.Request) -> None:
        await request.respond(200, length=1)
        with pytest.raises(ValueError, match="more content is written"):
            await request.write(b"ab")
        request.abort()

    async def use(net: Net, client: h3.Client) -> int:
        with pytest.raises(StreamReset) as reset:
            await (await client.request("GET", "/")).read_all()
        return reset.value.code

    assert run(serving(handler), requesting(use)) == h3.Code.H3_REQUEST_CANCELLED


def test_trailers_come_after_the_content() -> None:
    async def server(net: Net, conn: Connection) -> None:
        await open_stream(conn, wire.CONTROL, SETTINGS)
        stream = await conn.accept_stream()
        while stream.unidirectional:
            stream = await conn.accept_stream()
        parts = [headers([(b":status", b"103")]), headers([(b":status", b"200")])]
        parts += [wire.encode_frame(wire.DATA, b"content"), wire.encode_frame(0x21, b"unknown")]
        parts += [headers([(b"sum", b"7")]), wire.encode_frame(0x40, b"")]
        await stream.write(b"".join(parts), end=True)

    async def use(net: Net, client: h3.Client) -> tuple[int, bytes, list[tuple[bytes, bytes]]]:
        response = await client.request("GET", "/")
        return response.status, await response.read_all(), response.trailers

    assert run(server, requesting(use)) == (200, b"content", [(b"sum", b"7")])


@pytest.mark.requirement("rfc9114:5.2:4", "rfc9114:5.2:7", "rfc9114:5.2:12", "rfc9114:4.1.1:4", "rfc9114:5.2:3")
def test_a_server_that_shuts_down_finishes_what_has_begun() -> None:
    servers: list[h3.Server] = []

    async def handler(request: h3.Request) -> None:
        await request.respond(200, length=len(CONTENT))
        await request.write(CONTENT)

    async def server(net: Net, conn: Connection) -> None:
        servers.append(h3.Server(net, handler))
        servers[0].take(conn)

    async def shut_down(net: Net) -> None:
        await servers[0].shut_down(10**10)

    async def use(net: Net, client: h3.Client) -> tuple[bool, str]:
        response = await client.request("GET", "/")
        net.spawn(shut_down)
        while not client.going_away:
            await net.sleep("1ms")
        with pytest.raises(h3.GoingAway):
            await client.request("GET", "/")
        stream = await send(client.conn, headers(GET))
        with pytest.raises(StreamReset) as rejected:
            await stream.read_all()
        assert rejected.value.code == h3.Code.H3_REQUEST_REJECTED
        complete = await response.read_all() == CONTENT
        return complete, await closed(client.conn)

    assert run(server, requesting(use), narrow) == (True, "H3_NO_ERROR")


def test_a_server_that_shuts_down_does_not_wait_for_ever() -> None:
    async def handler(request: h3.Request) -> None:
        await request.respond(200)
        while True:
            await request.write(CONTENT)

    async def server(net: Net, conn: Connection) -> None:
        own = h3.Server(net, handler)
        own.take(conn)
        await net.sleep("1s")
        assert own.active == 1
        await own.shut_down(2 * 10**9)

    async def use(net: Net, client: h3.Client) -> tuple[str, int]:
        await client.request("GET", "/")
        return await closed(client.conn), net.now

    name, now = run(server, requesting(use), narrow)
    assert name == "H3_NO_ERROR"
    assert 3 * 10**9 < now < 4 * 10**9


def test_requests_in_0_rtt_are_answered() -> None:
    """What is sent before the server's settings are known uses no dynamic table."""

    async def listen(net: Net) -> None:
        listener = await net.listen(443, quicsim.test_certificate(), alpn=(h3.ALPN,), tickets=1, early_data=True)
        await h3.Server(net, echo).serve(listener)

    async def connect(net: Net) -> list[bytes]:
        session, answers = None, []
        for _ in range(2):
            trust = quicsim.test_certificate()
            conn = await net.connect("bob", 443, trust=trust, alpn=(h3.ALPN,), session=session, early_data=True)
            client = h3.Client(net, conn, "bob")
            answers.append(await (await client.request("GET", "/")).read_all())
            await conn.established()
            session = await conn.session()
            client.close()
        assert conn.handshake is not None
        assert conn.handshake.early_data_accepted
        return answers

    sim = Simulation(seed=5)
    sim.link("alice", "bob", up=[Delay("5ms")], down=[Delay("5ms")])
    sim.spawn("bob", listen)
    assert sim.run(sim.spawn("alice", connect)) == [b"GET / bob "] * 2
