"""Whatever a peer sends on HTTP/3's streams: nothing but errors of HTTP/3 comes of it, and others are served."""

import itertools
from random import Random

import pytest

import quicsim
from quicsim import Connection, Net, h3
from quicsim.h3 import wire
from stack.errors import QuicError
from stack.wire.varint import encode_varint
from tests.quicsim.h3.exchange import GET, SETTINGS, echo, headers, requesting, run, send, serving

KNOWN = [
    SETTINGS,
    wire.encode_settings({1: 4096, 7: 16, 0x21: 1}),
    headers(GET),
    headers([(b":status", b"200"), (b"content-length", b"4")]),
    headers([(b"trailer", b"x")]),
    wire.encode_frame(wire.DATA, b"data"),
    wire.encode_frame(wire.GOAWAY, encode_varint(8)),
    wire.encode_frame(wire.MAX_PUSH_ID, encode_varint(8)),
    wire.encode_frame(wire.CANCEL_PUSH, b"\x00"),
    wire.encode_frame(wire.HEADERS, bytes([2, 0, 0x80])),  # an entry of the table that may never come
    bytes([0x3F, 0xE1, 0x07, 0x41]) + b"a\x02vv",  # capacity 1024, and an entry
    bytes([0x80, 0x01, 0x40]),  # instructions of a decoder
    wire.encode_frame(0x21 + 0x1F, b"unknown"),
]


def stream_of(rng: Random) -> bytes:
    """Frames and instructions in any order, some of them damaged, cut off or followed by anything."""
    data = bytearray(b"".join(rng.choices(KNOWN, k=rng.randrange(1, 6))))
    for _ in range(rng.choice((0, 0, 1, 3))):
        data[rng.randrange(len(data))] = rng.randrange(256)
    if rng.random() < 0.2:
        del data[rng.randrange(len(data)) :]
    return bytes(data) + (rng.randbytes(rng.randrange(20)) if rng.random() < 0.2 else b"")


async def disturb(net: Net, conn: Connection, rng: Random, requests: bool) -> None:
    """Open streams of all kinds, some of which end or are reset; with `requests` bidirectional ones too."""
    try:
        for _ in range(rng.randrange(2, 8)):
            unidirectional = not requests or rng.random() < 0.6
            stream = await conn.open_stream(unidirectional)
            kind = encode_varint(rng.choice((0, 0, 1, 2, 2, 3, 0x21))) if unidirectional else b""
            await stream.write(kind + stream_of(rng), end=rng.random() < 0.5)
            if rng.random() < 0.1:
                stream.reset(rng.randrange(1 << 20))
            await net.sleep(rng.randrange(20_000_000))
        await net.sleep("100ms")
        conn.close()
    except QuicError:
        return  # the other end has had enough


@pytest.mark.parametrize("first", range(0, 40, 10))
def test_a_server_takes_anything(first: int) -> None:
    async def client(net: Net, conn: Connection) -> bytes:
        connections = [conn]
        ends = set()
        for seed in range(first, first + 10):
            await disturb(net, connections[-1], Random(seed), True)
            ended = await connections[-1].wait_closed()
            ends.add(ended.code)
            connections.append(await net.connect("bob", 443, trust=quicsim.test_certificate(), alpn=(h3.ALPN,)))
        assert len(ends) > 2  # not one and the same error every time
        stream = await send(connections[-1], headers(GET))
        return await stream.read_all()

    assert run(serving(echo), client).endswith(b"GET / bob ")


@pytest.mark.parametrize("first", range(100, 140, 10))
def test_a_client_takes_anything(first: int) -> None:
    seeds = itertools.count(first)

    async def server(net: Net, conn: Connection) -> None:
        rng = Random(next(seeds))
        net.spawn(disturb, conn, rng, False)
        try:
            while True:
                stream = await conn.accept_stream()
                if not stream.unidirectional:
                    await stream.write(
                        headers([(b":status", b"200")]) * (rng.random() < 0.7) + stream_of(rng), end=True
                    )
        except QuicError:
            return  # the client has had enough

    async def use(net: Net, client: h3.Client) -> list[str]:
        outcomes = []
        for _ in range(10):
            try:
                outcomes.append(str(len(await (await client.request("GET", "/")).read_all())))
            except QuicError as error:
                outcomes.append(type(error).__name__)
            client.close()
            conn = await net.connect("bob", 443, trust=quicsim.test_certificate(), alpn=(h3.ALPN,))
            client = h3.Client(net, conn, "bob")
        return outcomes

    outcomes = run(server, requesting(use))
    assert len(outcomes) == 10
    assert len(set(outcomes)) > 1  # not one and the same end every time
