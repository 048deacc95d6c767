"""UDP sockets: addresses, ECN, batches, errors."""

import errno
import select
import socket

import pytest

from quicsim.real.randomness import SystemRandomness
from quicsim.real.udp import Received, UdpSocket, batches, local_host
from stack.transmit import Transmit
from tests.support.loopback import IPV6_LOOPBACK, needs_ipv6

HERE, THERE = ("127.0.0.1", 1), ("127.0.0.1", 2)


def of_sizes(*sizes: int, ecn: int = 0) -> list[Transmit]:
    return [Transmit(bytes(size), HERE, THERE, ecn) for size in sizes]


def receive(udp: UdpSocket, count: int) -> list[Received]:
    """Wait for `count` datagrams."""
    received: list[Received] = []
    while len(received) < count:
        assert select.select([udp], [], [], 5)[0], f"only {len(received)} of {count} datagrams came"
        received += udp.receive()
    return received


@pytest.mark.parametrize(
    ("sizes", "together"),
    [
        ((1200, 1200, 700), [3]),
        ((1200, 700, 1200), [2, 1]),
        ((700, 1200), [1, 1]),
        ((1200,) * 70, [54, 16]),  # 65,000 bytes
        ((100,) * 70, [64, 6]),
        ((), []),
    ],
)
def test_datagrams_of_a_size_go_together_and_a_smaller_one_ends_the_batch(
    sizes: tuple[int, ...], together: list[int]
) -> None:
    assert [len(batch) for batch in batches(of_sizes(*sizes), True)] == together
    assert [len(batch) for batch in batches(of_sizes(*sizes), False)] == [1] * len(sizes)


def test_what_differs_in_more_than_its_payload_goes_apart() -> None:
    transmits = of_sizes(100, ecn=2) + of_sizes(100) + [Transmit(bytes(100), HERE, ("127.0.0.1", 3), 0)]
    assert [len(batch) for batch in batches(transmits, True)] == [1, 1, 1]


@pytest.mark.parametrize("host", ["127.0.0.1", IPV6_LOOPBACK])
@pytest.mark.parametrize("gso", [True, False])
def test_all_arrive_in_order_with_their_addresses_and_codepoints(host: str, gso: bool) -> None:
    one, other = UdpSocket(host), UdpSocket(host)
    one.gso = one.gso and gso
    sent = [Transmit(bytes([number]) * 1000, one.address, other.address, 2 * (number < 5)) for number in range(10)]
    sent.append(Transmit(b"last", one.address, other.address, 1))
    assert one.send(sent) == 11
    assert receive(other, 11) == [(each.payload, each.source, each.destination, each.ecn) for each in sent]
    one.close()
    other.close()


@pytest.mark.parametrize(("wildcard", "host"), [("0.0.0.0", "127.0.0.2"), pytest.param("::", "::1", marks=needs_ipv6)])
def test_a_socket_for_all_addresses_knows_which_one_was_meant_and_answers_from_it(wildcard: str, host: str) -> None:
    server, client = UdpSocket(wildcard), UdpSocket(host)
    meant = (host, server.address[1])
    client.send([Transmit(b"ask", client.address, meant, 0)])
    (asked,) = receive(server, 1)
    assert asked == (b"ask", client.address, meant, 0)
    assert server.sends_from(meant)
    assert not server.sends_from((host, 1))
    server.send([Transmit(b"answer", meant, client.address, 0)])
    assert receive(client, 1) == [(b"answer", meant, client.address, 0)]
    server.close()
    client.close()


def test_a_closed_port_is_reported_with_its_address() -> None:
    gone = UdpSocket("127.0.0.1")
    gone.close()
    udp = UdpSocket("127.0.0.1")
    udp.send([Transmit(b"hello", udp.address, gone.address, 0)])
    assert select.select([udp], [], [], 5)[0]
    with pytest.raises(ConnectionRefusedError):
        udp.receive()
    pending = udp.pending_error()
    assert pending is not None
    assert (pending[0].errno, pending[1]) == (errno.ECONNREFUSED, gone.address)
    assert udp.pending_error() is None
    udp.close()


def test_a_datagram_that_the_system_refuses_is_lost_and_the_others_are_not() -> None:
    one, other = UdpSocket("127.0.0.1"), UdpSocket("127.0.0.1")
    sent = [Transmit(bytes(size), one.address, other.address, 0) for size in (100, 65_530, 200)]
    assert one.send(sent) == 3
    assert [len(each.payload) for each in receive(other, 2)] == [100, 200]
    one.close()
    other.close()


def test_an_address_that_can_not_be_bound_is_named() -> None:
    taken = UdpSocket("127.0.0.1")
    port = taken.address[1]
    with pytest.raises(OSError, match=rf"UDP port {port} of 127\.0\.0\.1: Address already in use"):
        UdpSocket("127.0.0.1", port)
    taken.close()


@pytest.mark.requirement("rfc9000:14:2")
@pytest.mark.requirement("rfc9000:14:3")
@pytest.mark.parametrize(
    ("host", "level", "option"),
    [
        ("127.0.0.1", socket.IPPROTO_IP, 10),  # IP_MTU_DISCOVER
        pytest.param("::1", socket.IPPROTO_IPV6, 23, marks=needs_ipv6),  # IPV6_MTU_DISCOVER
    ],
)
def test_datagrams_are_not_to_be_fragmented(host: str, level: int, option: int) -> None:
    udp = UdpSocket(host)
    with socket.socket(fileno=socket.dup(udp.fileno())) as same:
        assert same.getsockopt(level, option) == 3  # IP_PMTUDISC_PROBE
    udp.close()


@needs_ipv6
@pytest.mark.requirement("rfc9000:9.7:1")
def test_ipv6_datagrams_have_flow_labels() -> None:
    udp = UdpSocket("::1")
    with socket.socket(fileno=socket.dup(udp.fileno())) as same:
        assert same.getsockopt(socket.IPPROTO_IPV6, 70) == 1  # IPV6_AUTOFLOWLABEL
    udp.close()


def test_the_local_address_is_the_one_that_leads_there() -> None:
    assert local_host(("127.0.0.1", 1)) == "127.0.0.1"
    with pytest.raises(OSError, match=r"255\.255\.255\.255"):
        local_host(("255.255.255.255", 1))


def test_randomness_is_never_the_same_and_of_the_right_size() -> None:
    rng = SystemRandomness()
    drawn = [rng.randbytes(8) for _ in range(2000)]
    assert len(set(drawn)) == 2000
    assert {len(rng.randbytes(size)) for size in (0, 1, 4095, 4096, 5000)} == {0, 1, 4095, 4096, 5000}
    assert {rng.getrandbits(3) for _ in range(500)} == set(range(8))
    assert all(0 <= rng.random() < 1 for _ in range(100))
