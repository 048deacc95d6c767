"""Applications over a net: streams, waiting, and what they are told when things end."""

from collections.abc import Callable, Coroutine
from dataclasses import replace
from typing import Any

import pytest

import quicsim
from links import Delay, Rate
from quicsim import Connection, Listener, Net, Simulation
from stack.errors import ConfigError, ConnectionClosed, DatagramError, StreamError, StreamReset, StreamStopped
from stack.events import DatagramAcked, DatagramLost, NewToken
from stack.limits import MAX_UNREAD_DATAGRAMS

MS = 1_000_000
Side = Callable[[Net, Connection], Coroutine[Any, Any, Any]]


def talk(client: Side, server: Side, client_options: dict[str, Any] | None = None, **server_options: Any) -> Any:
    """Run both sides over one connection, 10 ms each way; return what the client returns."""
    sim = Simulation(seed=5)
    sim.link("alice", "bob", up=[Rate("100Mbps"), Delay("10ms")], down=[Rate("100Mbps"), Delay("10ms")])

    async def serve(net: Net) -> None:
        listener = await net.listen(4433, quicsim.test_certificate(), **server_options)
        await server(net, await listener.accept())

    async def connect(net: Net) -> Any:
        conn = await net.connect("bob", 4433, trust=quicsim.test_certificate(), **(client_options or {}))
        return await client(net, conn)

    sim.spawn("bob", serve)
    return sim.run(sim.spawn("alice", connect), until="60s")


async def nothing(net: Net, conn: Connection) -> None:
    """A server that does nothing."""


async def close_with_7(net: Net, conn: Connection) -> None:
    await net.sleep("50ms")
    conn.close(7, "enough")


def writes(*chunks: bytes, pause: str = "5ms", end: bool = True) -> Side:
    async def server(net: Net, conn: Connection) -> None:
        stream = await conn.open_stream()
        for number, chunk in enumerate(chunks, 1):
            await stream.write(chunk, end=end and number == len(chunks))
            await net.sleep(pause)

    return server


def test_streams_are_accepted_in_the_order_of_their_ids_and_a_higher_one_brings_the_lower_ones() -> None:
    async def client(net: Net, conn: Connection) -> bytes:
        first, _, third = [await conn.open_stream() for _ in range(3)]
        await third.write(b"third", end=True)
        return await first.read_all()

    async def server(net: Net, conn: Connection) -> None:
        first, second, third = [await conn.accept_stream() for _ in range(3)]
        assert [first.id, second.id, third.id] == [0, 4, 8]
        await first.write(await third.read_all(), end=True)

    assert talk(client, server) == b"third"


def test_read_returns_what_is_there_and_nothing_at_the_end() -> None:
    async def client(net: Net, conn: Connection) -> list[bytes]:
        stream = await conn.accept_stream()
        await net.sleep("100ms")
        return [
            await stream.read(3),
            await stream.read(),
            await stream.read(),
            await stream.read(),
            await stream.read_all(),
        ]

    assert talk(client, writes(b"hello", b" world")) == [b"hel", b"lo world", b"", b"", b""]


def test_read_waits_for_the_first_byte_only() -> None:
    async def client(net: Net, conn: Connection) -> list[bytes]:
        stream = await conn.accept_stream()
        return [await stream.read(), await stream.read(), await stream.read()]

    assert talk(client, writes(b"hello", b" world")) == [b"hello", b" world", b""]


def test_read_exactly_waits_for_all_and_leaves_the_rest() -> None:
    async def client(net: Net, conn: Connection) -> list[bytes]:
        stream = await conn.accept_stream()
        return [await stream.read_exactly(0), await stream.read_exactly(7), await stream.read_all()]

    assert talk(client, writes(b"hello", b" world")) == [b"", b"hello w", b"orld"]


def test_read_exactly_of_more_than_there_is_says_what_there_was() -> None:
    async def client(net: Net, conn: Connection) -> bytes:
        stream = await conn.accept_stream()
        with pytest.raises(quicsim.IncompleteReadError, match="stream 1 ended after 5 of 8 bytes") as caught:
            await stream.read_exactly(8)
        return caught.value.partial

    assert talk(client, writes(b"hello")) == b"hello"


def test_two_readers_of_one_stream_are_refused() -> None:
    async def client(net: Net, conn: Connection) -> bytes:
        stream = await conn.open_stream()
        await stream.write(b"x")

        async def reader(net: Net) -> bytes:
            return await stream.read()

        task = net.spawn(reader)
        await net.sleep(1)
        with pytest.raises(StreamError, match="being read by another coroutine"):
            await stream.read()
        return await task

    async def server(net: Net, conn: Connection) -> None:
        stream = await conn.accept_stream()
        await stream.write(await stream.read())

    assert talk(client, server) == b"x"


def test_write_waits_until_the_reader_makes_room() -> None:
    async def client(net: Net, conn: Connection) -> tuple[int, int]:
        stream = await conn.open_stream()
        written = bytearray(b"ab" * (4 << 20))
        await stream.write(written, end=True)
        written[:] = bytes(len(written))  # ours again
        at = net.now
        await stream.wait_sent()
        return at, int.from_bytes(await stream.read_all())

    async def server(net: Net, conn: Connection) -> None:
        stream = await conn.accept_stream()
        await net.sleep("5s")
        data = await stream.read_all()
        assert data == b"ab" * (4 << 20)
        await stream.write(len(data).to_bytes(4), end=True)

    written_at, size = talk(client, server)
    assert size == 8 << 20
    assert written_at > 5_000 * MS


def test_a_unidirectional_stream_carries_data_one_way() -> None:
    async def client(net: Net, conn: Connection) -> bytes:
        stream = await conn.open_stream(unidirectional=True)
        await stream.write(b"up", end=True)
        await stream.wait_sent()
        answer = await conn.accept_stream()
        assert (stream.id, answer.id) == (2, 3)
        return await answer.read_all()

    async def server(net: Net, conn: Connection) -> None:
        stream = await conn.accept_stream()
        assert stream.unidirectional
        assert not stream.initiated_here
        answer = await conn.open_stream(unidirectional=True)
        await answer.write(await stream.read_all() + b" and down", end=True)

    assert talk(client, server) == b"up and down"


def test_open_stream_waits_for_the_peers_limit() -> None:
    async def client(net: Net, conn: Connection) -> list[int]:
        ids = []
        for _ in range(10):
            stream = await conn.open_stream()
            await stream.write(b"x", end=True)
            ids.append(stream.id)
        return ids

    async def server(net: Net, conn: Connection) -> None:
        while True:
            stream = await conn.accept_stream()
            await stream.write(await stream.read_all(), end=True)

    assert talk(client, server, initial_max_streams_bidi=2) == [4 * number for number in range(10)]


def test_a_reset_raises_in_the_reader_with_its_code() -> None:
    async def client(net: Net, conn: Connection) -> int:
        stream = await conn.accept_stream()
        with pytest.raises(StreamReset) as caught:
            await stream.read_all()
        return caught.value.code

    async def server(net: Net, conn: Connection) -> None:
        stream = await conn.open_stream()
        await stream.write(b"some")
        await net.sleep("30ms")
        stream.reset(9)
        await stream.wait_sent()

    assert talk(client, server) == 9


def test_a_stop_raises_in_the_writer_with_its_code() -> None:
    async def client(net: Net, conn: Connection) -> int:
        stream = await conn.open_stream()
        with pytest.raises(StreamStopped) as caught:
            await stream.write(bytes(10 << 20))
        return caught.value.code

    async def server(net: Net, conn: Connection) -> None:
        stream = await conn.accept_stream()
        await net.sleep("30ms")
        stream.stop(11)

    assert talk(client, server) == 11


def test_the_end_of_a_connection_raises_in_everything_that_waits() -> None:
    async def client(net: Net, conn: Connection) -> list[tuple[int, str, bool, bool]]:
        quiet, full = await conn.open_stream(), await conn.open_stream()

        async def until_closed(net: Net, waiting: Coroutine[Any, Any, Any]) -> tuple[int, str, bool, bool]:
            with pytest.raises(ConnectionClosed) as caught:
                await waiting
            error = caught.value
            return error.code, error.reason, error.application, error.remote

        calls = [
            quiet.read(),
            full.read_all(),
            full.write(bytes(10 << 20)),
            quiet.wait_sent(),
            conn.accept_stream(),
        ]
        tasks = [net.spawn(until_closed, call) for call in calls]
        results = [await task for task in tasks]
        late = (conn.accept_stream(), conn.open_stream(), quiet.read(), quiet.write(b"x"))
        results += [await until_closed(net, call) for call in late]
        ended = await conn.wait_closed()
        assert (ended.code, ended.remote) == (7, True)
        return results

    assert talk(client, close_with_7) == [(7, "enough", True, True)] * 9


def test_wait_closed_returns_how_it_ended_at_both_ends() -> None:
    ends = []

    async def client(net: Net, conn: Connection) -> None:
        conn.close(3, "bye")
        ends.append(await conn.wait_closed())
        await net.sleep("1s")

    async def server(net: Net, conn: Connection) -> None:
        ends.append(await conn.wait_closed())

    talk(client, server)
    assert [(end.code, end.reason, end.application, end.remote) for end in ends] == [
        (3, "bye", True, False),
        (3, "bye", True, True),
    ]


def test_an_idle_connection_ends_with_an_idle_timeout() -> None:
    async def client(net: Net, conn: Connection) -> int:
        with pytest.raises(ConnectionClosed, match="idle timeout"):
            await conn.accept_stream()
        return net.now

    assert talk(client, nothing, max_idle_timeout_ms=2_000) == pytest.approx(2_000 * MS, abs=100 * MS)


def test_what_was_negotiated_is_known_to_both() -> None:
    async def client(net: Net, conn: Connection) -> tuple[str | None, tuple[bytes, ...]]:
        return conn.alpn, conn.peer_certificates

    assert talk(client, nothing) == ("quicsim", quicsim.test_certificate().certificates)


def test_a_handshake_without_a_common_protocol_fails_in_connect() -> None:
    sim = Simulation()
    sim.link("alice", "bob", up=[Delay("10ms")], down=[Delay("10ms")])

    async def serve(net: Net) -> Listener:
        return await net.listen(4433, quicsim.test_certificate(), alpn=["h3"])

    async def connect(net: Net) -> None:
        await net.connect("bob", 4433, trust=quicsim.test_certificate(), alpn=["hq-interop"])

    sim.spawn("bob", serve)
    with pytest.raises(ConnectionClosed, match=r"CRYPTO_ERROR\(0x78\)"):  # no_application_protocol
        sim.run(sim.spawn("alice", connect))


def test_options_reach_the_stack_and_unknown_ones_are_refused() -> None:
    sim = Simulation()
    sim.link("alice", "bob")

    async def listen(net: Net, **options: Any) -> None:
        await net.listen(4433, quicsim.test_certificate(), **options)

    with pytest.raises(ConfigError, match=r"option 'max_idle': must be one of .*max_idle_timeout_ms"):
        sim.run(sim.spawn("bob", listen, max_idle=1))
    with pytest.raises(ConfigError, match="datagram_size = 100: must be from 1200"):
        sim.run(sim.spawn("bob", listen, datagram_size=100))


def test_a_port_is_taken_until_its_listener_and_connections_are_gone() -> None:
    sim = Simulation()

    async def listen_twice(net: Net) -> None:
        listener = await net.listen(4433, quicsim.test_certificate())
        with pytest.raises(OSError, match=r"host bob: port 4433 of 10\.0\.0\.1 is in use"):
            await net.listen(4433, quicsim.test_certificate())
        listener.close()
        await net.listen(4433, quicsim.test_certificate())
        with pytest.raises(RuntimeError, match="the listener on port 4433 is closed"):
            await listener.accept()

    sim.run(sim.spawn("bob", listen_twice))


def test_connections_of_one_host_are_told_apart() -> None:
    sim = Simulation()
    sim.link("alice", "bob", up=[Delay("10ms")], down=[Delay("10ms")])

    async def serve(net: Net) -> None:
        listener = await net.listen(4433, quicsim.test_certificate())
        while True:
            net.spawn(echo, await listener.accept())

    async def echo(net: Net, conn: Connection) -> None:
        stream = await conn.accept_stream()
        await stream.write(await stream.read_all(), end=True)

    async def ask(net: Net, text: bytes) -> bytes:
        conn = await net.connect("bob", 4433, trust=quicsim.test_certificate())
        stream = await conn.open_stream()
        await stream.write(text, end=True)
        return await stream.read_all()

    sim.spawn("bob", serve)
    tasks = [sim.spawn("alice", ask, text) for text in (b"one", b"two", b"three")]
    assert [sim.run(task) for task in tasks] == [b"one", b"two", b"three"]
    assert sim.now == 40 * MS


def test_sleep_takes_durations() -> None:
    sim = Simulation()

    async def sleeper(net: Net) -> list[int]:
        times = []
        for duration in ("25ms", 3, "1s"):
            await net.sleep(duration)
            times.append(net.now)
        return times

    assert sim.run(sim.spawn("alice", sleeper)) == [25 * MS, 25 * MS + 3, 1_025 * MS + 3]


# Datagrams


def test_datagrams_arrive_and_their_fate_is_told() -> None:
    async def server(net: Net, conn: Connection) -> None:
        conn.send_datagram(b"re: " + await conn.receive_datagram())

    async def client(net: Net, conn: Connection) -> tuple[Any, ...]:
        told: list[object] = []
        conn.on_datagram_fate = told.append
        assert conn.max_datagram_payload == 1168
        late = conn.send_datagram(b"late", expires_at=net.now)
        sent = conn.send_datagram(b"question")
        answer = await conn.receive_datagram()
        await net.sleep("50ms")
        assert told == [DatagramLost(late, "expired"), DatagramAcked(sent)]
        return answer, conn.stats.datagram_frames_sent, conn.stats.datagram_frames_received

    takes = {"max_datagram_frame_size": 65_535}
    assert talk(client, server, client_options=takes, **takes) == (b"re: question", 1, 1)


def test_datagrams_need_a_peer_that_takes_them() -> None:
    async def client(net: Net, conn: Connection) -> int:
        with pytest.raises(DatagramError):
            conn.send_datagram(b"data")
        return conn.max_datagram_payload

    assert talk(client, nothing) == 0


def test_who_waits_for_a_datagram_learns_that_the_connection_has_ended() -> None:
    async def client(net: Net, conn: Connection) -> None:
        with pytest.raises(ConnectionClosed):
            await conn.receive_datagram()
        with pytest.raises(ConnectionClosed):
            conn.send_datagram(b"data")

    talk(client, close_with_7)


@pytest.mark.requirement("rfc9221:5.3:1")
def test_of_datagrams_that_nobody_takes_the_newest_are_kept() -> None:
    count = MAX_UNREAD_DATAGRAMS + 100

    async def server(net: Net, conn: Connection) -> None:
        for number in range(count):
            conn.send_datagram(number.to_bytes(2))
            await net.sleep("100us")

    async def client(net: Net, conn: Connection) -> list[int]:
        await net.sleep("1s")
        return [int.from_bytes(await conn.receive_datagram()) for _ in range(MAX_UNREAD_DATAGRAMS)]

    assert talk(client, server, client_options={"max_datagram_frame_size": 65_535}) == list(range(100, count))


def test_an_application_may_ask_for_fewer_acknowledgments() -> None:
    async def server(net: Net, conn: Connection) -> None:
        await (await conn.accept_stream()).read_all()
        await net.sleep("1s")

    async def client(net: Net, conn: Connection) -> int:
        conn.request_ack_frequency(30, 25 * MS, 3)
        stream = await conn.open_stream(unidirectional=True)
        await stream.write(bytes(500_000), end=True)
        await stream.wait_sent()
        return conn.stats.packets_received

    assert talk(client, server, ack_frequency=True) < 100


@pytest.mark.requirement("rfc9000:8.1.3:2", "rfc9000:8.1.3:9")
def test_a_token_spares_the_next_connection_a_retry() -> None:
    """The Retry costs a round trip of 20 ms; a token that belongs to another server is left alone."""

    async def serve(net: Net) -> None:
        listener = await net.listen(4433, quicsim.test_certificate(), retry="always", new_token=True)
        while True:
            await listener.accept()

    async def connect(net: Net) -> list[int]:
        tokens: list[NewToken | None] = [None]
        durations = []
        for other in (False, False, True):
            token = tokens.pop()
            if other and token is not None:
                token = replace(token, server=("10.9.9.9", 4433))
            started_at = net.now
            conn = await net.connect("bob", 4433, trust=quicsim.test_certificate(), token=token)
            durations.append((net.now - started_at) // (10 * MS))
            tokens.append(await conn.token())
            conn.close()
        return durations

    sim = Simulation(seed=5)
    sim.link("alice", "bob", up=[Delay("10ms")], down=[Delay("10ms")])
    sim.spawn("bob", serve)
    assert sim.run(sim.spawn("alice", connect)) == [4, 2, 4]


@pytest.mark.parametrize("when", ["before", "while"])
def test_waiting_for_what_the_peer_does_not_want_ends(when: str) -> None:
    async def client(net: Net, conn: Connection) -> int:
        stream = await conn.open_stream()
        await stream.write(bytes(4_000_000), end=True)
        if when == "before":
            await net.sleep("1s")
        with pytest.raises(StreamStopped) as stopped:
            await stream.wait_sent()
        return stopped.value.code

    async def server(net: Net, conn: Connection) -> None:
        stream = await conn.accept_stream()
        stream.stop(7)

    assert talk(client, server, {"send_buffer": 8_000_000}) == 7
