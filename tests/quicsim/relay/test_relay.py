"""The relay between real sockets: addresses, ECN, order, rebinding, counters, and that it closes cleanly."""

import asyncio
import os
import socket
import subprocess
import sys
from collections.abc import Callable, Coroutine
from typing import Any

import pytest

from links import Delay, LossNth
from links.datagram import Address, Datagram
from quicsim.real.udp import Received, UdpSocket
from quicsim.relay import CLIENT_SIDE, SERVER_SIDE, Rebind, Relay
from stack.transmit import Transmit
from tests.support.loopback import IPV6_LOOPBACK, needs_ipv6

MS = 10**6


async def receive(udp: UdpSocket) -> Received:
    """Wait for one datagram."""
    loop = asyncio.get_running_loop()
    async with asyncio.timeout(5):
        while not (received := udp.receive()):
            readable = asyncio.Event()
            loop.add_reader(udp.fileno(), readable.set)
            await readable.wait()
            loop.remove_reader(udp.fileno())
    (one,) = received
    return one


def send(udp: UdpSocket, payload: bytes, to: Address, ecn: int = 0) -> None:
    assert udp.send([Transmit(payload, udp.address, to, ecn)]) == 1


class Ends:
    """A client's socket and a server's, which close with the test."""

    def __init__(self, client: str = "127.0.0.1", server: str = "127.0.0.1") -> None:
        self.client = UdpSocket(client)
        self.server = UdpSocket(server)

    async def round_trip(self, relay: Relay, ecn: int = 0) -> Received:
        """Ask through the relay and answer; return what the server saw."""
        send(self.client, b"ask", relay.address, ecn)
        asked = await receive(self.server)
        send(self.server, b"answer", asked.source, ecn)
        answered = await receive(self.client)
        assert answered == (b"answer", relay.address, self.client.address, ecn)
        return asked

    def close(self) -> None:
        self.client.close()
        self.server.close()


def run(test: Callable[[Ends], Coroutine[Any, Any, None]], *hosts: str) -> None:
    ends = Ends(*hosts)
    try:
        asyncio.run(test(ends))
    finally:
        ends.close()


@pytest.mark.parametrize("host", ["127.0.0.1", IPV6_LOOPBACK])
@pytest.mark.parametrize("ecn", [0, 1, 2, 3])
def test_datagrams_pass_both_ways_with_their_codepoints(host: str, ecn: int) -> None:
    async def test(ends: Ends) -> None:
        async with Relay(server=ends.server.address, listen=(host, 0)) as relay:
            asked = await ends.round_trip(relay, ecn)
        assert (asked.payload, asked.ecn) == (b"ask", ecn)
        assert asked.source not in (ends.client.address, relay.address)
        assert (relay.counters.up.forwarded, relay.counters.down.forwarded, relay.counters.clients) == (1, 1, 1)

    run(test, host, host)


@needs_ipv6
def test_the_two_sides_may_be_of_different_families() -> None:
    async def test(ends: Ends) -> None:
        async with Relay(server=ends.server.address, listen=("::1", 0)) as relay:
            await ends.round_trip(relay)

    run(test, "::1", "127.0.0.1")


def test_each_client_has_an_address_of_its_own_and_its_own_answers() -> None:
    async def test(ends: Ends) -> None:
        other = UdpSocket("127.0.0.1")
        async with Relay(server=ends.server.address) as relay:
            send(ends.client, b"one", relay.address)
            one = await receive(ends.server)
            send(other, b"two", relay.address)
            two = await receive(ends.server)
            assert one.source != two.source
            send(ends.server, b"for two", two.source)
            send(ends.server, b"for one", one.source)
            assert (await receive(ends.client)).payload == b"for one"
            assert (await receive(other)).payload == b"for two"
        assert relay.counters.clients == 2
        other.close()

    run(test)


def test_a_relay_for_all_addresses_answers_from_the_one_that_was_asked() -> None:
    async def test(ends: Ends) -> None:
        async with Relay(server=ends.server.address, listen=("0.0.0.0", 0)) as relay:
            asked_at = ("127.0.0.5", relay.address[1])
            send(ends.client, b"ask", asked_at)
            asked = await receive(ends.server)
            send(ends.server, b"answer", asked.source)
            assert (await receive(ends.client)).source == asked_at

    run(test)


def test_an_address_more_leads_to_another_of_the_servers() -> None:
    async def test(ends: Ends) -> None:
        second = UdpSocket("127.0.0.1")
        also = [(("127.0.0.2", 0), second.address)]
        async with Relay(server=ends.server.address, also=also) as relay:
            asked = await ends.round_trip(relay)
            send(ends.client, b"moved", relay.addresses[1])
            moved = await receive(second)
            assert moved.source == asked.source
            send(second, b"from there", moved.source)
            assert await receive(ends.client) == (b"from there", relay.addresses[1], ends.client.address, 0)
        second.close()

    run(test)


def test_elements_delay_and_drop_what_passes() -> None:
    async def test(ends: Ends) -> None:
        loop = asyncio.get_running_loop()
        async with Relay([LossNth(1), Delay("30ms")], [], server=ends.server.address) as relay:
            started_at = loop.time()
            for payload in (b"lost", b"first", b"second"):
                send(ends.client, payload, relay.address)
            assert (await receive(ends.server)).payload == b"first"
            assert loop.time() - started_at >= 0.030
            assert (await receive(ends.server)).payload == b"second"
            up = relay.counters.up
        assert (up.received, up.forwarded, up.lost) == (3, 2, 1)
        assert up.elements[0].dropped == {"nth datagram": 1}

    run(test)


def test_a_rebinding_changes_port_or_address_and_the_old_one_is_silent() -> None:
    async def test(ends: Ends) -> None:
        server = ends.server.address
        async with Relay(server=server, outside=["127.0.0.1", "127.0.0.2"]) as relay:
            first = (await ends.round_trip(relay)).source
            relay.rebind()
            second = (await ends.round_trip(relay)).source
            relay.rebind("127.0.0.2")
            third = (await ends.round_trip(relay)).source
            relay.rebind("127.0.0.1", keep_ports=True)
            fourth = (await ends.round_trip(relay)).source
            assert first[0] == second[0] == "127.0.0.1"
            assert first[1] != second[1]
            assert third[0] == "127.0.0.2"
            assert fourth == ("127.0.0.1", third[1])
            send(ends.server, b"lost", first)
            await ends.round_trip(relay)
            with pytest.raises(ValueError, match=r"127\.0\.0\.3"):
                relay.rebind("127.0.0.3")
        counters = relay.counters
        assert (counters.rebindings, counters.no_mapping, counters.clients) == (3, 1, 1)

    run(test)


def test_rebindings_happen_at_their_times_after_the_first_datagram() -> None:
    async def test(ends: Ends) -> None:
        rebinds = [Rebind(at) for at in (50 * MS, 400 * MS)]
        sources: dict[Address, float] = {}
        async with Relay(server=ends.server.address, rebinds=rebinds) as relay:
            await asyncio.sleep(0.06)
            while len(sources) < 3:
                send(ends.client, b"ask", relay.address)
                source = (await receive(ends.server)).source
                sources.setdefault(source, relay.counters.seconds)
                await asyncio.sleep(0.002)
            assert relay.counters.rebindings == 2
        _, second, third = sources.values()
        assert second >= 0.05
        assert third >= 0.4

    run(test)


def test_a_client_that_is_idle_gets_another_address_later() -> None:
    async def test(ends: Ends) -> None:
        async with Relay(server=ends.server.address, idle_timeout="50ms") as relay:
            first = await ends.round_trip(relay)
            await asyncio.sleep(0.06)
            assert (await ends.round_trip(relay)).source != first.source

    run(test)


def test_a_tap_sees_both_sides_of_the_relay() -> None:
    seen: list[tuple[str, str, Address, Address]] = []

    def tap(side: str, now: int, direction: str, datagram: Datagram) -> None:
        seen.append((side, direction, datagram.source, datagram.destination))

    async def test(ends: Ends) -> None:
        client, server = ends.client.address, ends.server.address
        async with Relay(server=server, tap=tap) as relay:
            outside = (await ends.round_trip(relay)).source
        assert seen == [
            (CLIENT_SIDE, "received", client, relay.address),
            (SERVER_SIDE, "sent", outside, server),
            (SERVER_SIDE, "received", server, outside),
            (CLIENT_SIDE, "sent", relay.address, client),
        ]

    run(test)


def test_strangers_are_counted_and_not_let_in() -> None:
    async def test(ends: Ends) -> None:
        stranger = UdpSocket("127.0.0.1")
        async with Relay(server=ends.server.address) as relay:
            asked = await ends.round_trip(relay)
            send(stranger, b"hello", asked.source)
            await ends.round_trip(relay)
        assert (relay.counters.strangers, relay.counters.down.received) == (1, 2)
        stranger.close()

    run(test)


def test_a_server_that_is_not_there_yet_costs_only_what_was_sent_to_it() -> None:
    async def test(ends: Ends) -> None:
        address = ends.server.address
        ends.server.close()
        async with Relay(server=address) as relay:
            for _ in range(3):
                send(ends.client, b"nobody", relay.address)
                await asyncio.sleep(0.01)
            ends.server = UdpSocket(*address)
            await ends.round_trip(relay)
        assert (relay.counters.up.forwarded, relay.counters.refused) == (4, 0)

    run(test)


def test_what_can_not_be_is_told() -> None:
    async def test(ends: Ends) -> None:
        server = ends.server.address
        with pytest.raises(OSError, match=f"UDP port {server[1]} of 127.0.0.1: Address already in use"):
            async with Relay(server=server, listen=server):
                pass
        with pytest.raises(ValueError, match="nowhere"):
            Relay(server=("nowhere", 1))
        with pytest.raises(ValueError, match="port 70000"):
            Relay(server=("127.0.0.1", 70_000))
        with pytest.raises(ValueError, match="different addresses of the server"):
            Relay(server=server, also=[(("127.0.0.2", 0), server)])
        delay = Delay(1)
        with pytest.raises(ValueError, match="already in use"):
            Relay([delay], [delay], server=server)

    run(test)


def test_closing_twice_or_before_the_start_is_fine_and_frees_the_port() -> None:
    async def test(ends: Ends) -> None:
        relay = Relay(server=ends.server.address)
        relay.close()
        async with relay:
            await ends.round_trip(relay)
            relay.close()
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as again:
            again.bind(relay.address)
        assert relay.counters.up.forwarded == 1

    run(test)


def test_a_process_that_runs_first_leaves_its_children_as_they_are() -> None:
    """Where it may: as root. Elsewhere the system's refusal is what must come out."""
    code = (
        "import os, subprocess, sys; from quicsim.relay import run_first\n"
        "try: run_first()\n"
        "except PermissionError: print('refused 0'); sys.exit()\n"
        "child = 'import os; print(os.sched_getscheduler(0))'\n"
        "print(os.sched_getscheduler(0) & 0xFF, subprocess.check_output([sys.executable, '-c', child], text=True))"
    )
    out = subprocess.check_output([sys.executable, "-c", code], text=True).split()
    assert out in (["refused", "0"], [str(os.SCHED_RR), str(os.SCHED_OTHER)])
