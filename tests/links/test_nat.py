"""What a NAT translates, and what it forgets."""

from typing import Any

import pytest

from links import Datagram, Nat
from links.datagram import Address

S = 10**9

INSIDE = ("192.168.0.2", 50_000)
OTHER = ("192.168.0.2", 50_001)
SERVER = ("203.0.113.1", 443)
ELSEWHERE = ("203.0.113.2", 443)


def outwards(nat: Nat, source: Address = INSIDE, destination: Address = SERVER, now: int = 0) -> Address:
    """What the peer sees as the source of a datagram."""
    datagram = Datagram(b"x", source, destination)
    assert nat.send(datagram, now)
    assert datagram.destination == destination
    return datagram.source


def inwards(nat: Nat, destination: Address, source: Address = SERVER, now: int = 0) -> Address | None:
    """Where a datagram goes to inside; None if it is dropped."""
    datagram = Datagram(b"x", source, destination)
    return datagram.destination if nat.receive(datagram, now) else None


def test_each_inside_address_has_one_outside_whoever_the_peer_is() -> None:
    nat = Nat(["198.51.100.1"])
    assert outwards(nat) == ("198.51.100.1", 20_000)
    assert outwards(nat, OTHER) == ("198.51.100.1", 20_001)
    assert outwards(nat, destination=ELSEWHERE) == ("198.51.100.1", 20_000)
    assert inwards(nat, ("198.51.100.1", 20_000), source=ELSEWHERE) == INSIDE
    assert inwards(nat, ("198.51.100.1", 20_001)) == OTHER
    assert nat.mappings == {("198.51.100.1", 20_000): INSIDE, ("198.51.100.1", 20_001): OTHER}


def test_what_has_no_mapping_is_dropped_with_a_reason() -> None:
    nat = Nat(["198.51.100.1"])
    datagram = Datagram(b"x", SERVER, ("198.51.100.1", 20_000))
    assert not nat.receive(datagram, 0)
    assert (datagram.dropped_by, datagram.drop_reason) == ("NAT", "no mapping")
    assert nat.dropped == {"no mapping": 1}


def test_a_rebinding_gives_a_new_port_and_the_old_one_leads_nowhere() -> None:
    nat = Nat(["198.51.100.1"])
    outwards(nat)
    nat.rebind()
    assert inwards(nat, ("198.51.100.1", 20_000)) is None
    assert outwards(nat) == ("198.51.100.1", 20_001)
    assert inwards(nat, ("198.51.100.1", 20_000)) is None
    assert inwards(nat, ("198.51.100.1", 20_001)) == INSIDE


def test_a_rebinding_may_change_address_and_port_or_the_address_alone() -> None:
    nat = Nat(["198.51.100.1", "198.51.100.2"])
    outwards(nat)
    nat.rebind("198.51.100.2")
    assert outwards(nat) == ("198.51.100.2", 20_001)
    nat.rebind("198.51.100.1", keep_ports=True)
    assert inwards(nat, ("198.51.100.1", 20_001)) == INSIDE
    assert outwards(nat) == ("198.51.100.1", 20_001)
    assert inwards(nat, ("198.51.100.2", 20_001)) is None


def test_an_idle_mapping_is_forgotten() -> None:
    nat = Nat(["198.51.100.1"], idle_timeout="30s")
    assert outwards(nat, now=0) == outwards(nat, now=30 * S - 1) == ("198.51.100.1", 20_000)
    assert inwards(nat, ("198.51.100.1", 20_000), now=60 * S - 2) == INSIDE
    # What comes in does not keep it alive: RFC 4787 section 4.3 asks for that of what goes out
    assert inwards(nat, ("198.51.100.1", 20_000), now=60 * S - 1) is None
    assert outwards(nat, now=60 * S) == ("198.51.100.1", 20_001)
    assert nat.mappings == {("198.51.100.1", 20_001): INSIDE}


def test_a_symmetric_nat_has_a_mapping_per_peer() -> None:
    nat = Nat(["198.51.100.1"], symmetric=True)
    assert nat.filtering == "port"
    assert outwards(nat) == ("198.51.100.1", 20_000)
    assert outwards(nat, destination=ELSEWHERE) == ("198.51.100.1", 20_001)
    assert inwards(nat, ("198.51.100.1", 20_000), source=SERVER) == INSIDE
    assert inwards(nat, ("198.51.100.1", 20_000), source=ELSEWHERE) is None


def test_ports_start_again_at_the_end_and_skip_those_in_use() -> None:
    nat = Nat(["198.51.100.1"], idle_timeout="1s")
    ports = 65_535 - 20_000 + 1
    for number in range(ports):
        outwards(nat, ("192.168.0.3", number), now=S // 2 if number < 3 else 0)
    assert outwards(nat, now=S) == ("198.51.100.1", 20_003)
    assert len(nat.mappings) == ports
    assert inwards(nat, ("198.51.100.1", 20_000), now=S) == ("192.168.0.3", 0)
    for number in range(ports - 1):
        outwards(nat, ("192.168.0.3", number), now=S)
    datagram = Datagram(b"x", OTHER, SERVER)
    assert not nat.send(datagram, S)
    assert (datagram.source, datagram.dropped_by, datagram.drop_reason) == (OTHER, "NAT", "no port left")


def test_when_no_port_is_left_what_needs_one_is_dropped_until_one_is_idle() -> None:
    nat = Nat(["198.51.100.1"], idle_timeout="30s", port_range=(5000, 5001))
    first, second, third = (("192.168.0.2", port) for port in (1, 2, 3))
    assert [outwards(nat, source, now=now) for now, source in enumerate((first, second))] == [
        ("198.51.100.1", 5000),
        ("198.51.100.1", 5001),
    ]
    assert not nat.send(Datagram(b"x", third, SERVER), S)
    assert nat.dropped == {"no port left": 1}
    assert outwards(nat, second, now=29 * S) == ("198.51.100.1", 5001)
    assert outwards(nat, third, now=30 * S) == ("198.51.100.1", 5000)


@pytest.mark.parametrize(
    ("filtering", "others"),
    [("endpoint", [True, True]), ("address", [True, False]), ("port", [False, False])],
)
def test_filtering_lets_in_those_to_whom_something_has_left(filtering: str, others: list[bool]) -> None:
    nat = Nat(["198.51.100.1"], filtering=filtering)
    outside = outwards(nat)
    assert inwards(nat, outside) == INSIDE
    assert [inwards(nat, outside, source=peer) == INSIDE for peer in (("203.0.113.1", 444), ELSEWHERE)] == others
    assert nat.dropped.get("filtered", 0) == others.count(False)
    assert outwards(nat, destination=ELSEWHERE) == outside, "the mapping is the same for all"
    assert inwards(nat, outside, source=ELSEWHERE) == INSIDE


def test_what_comes_in_keeps_a_mapping_alive_only_if_told_so() -> None:
    for refreshes in (False, True):
        nat = Nat(["198.51.100.1"], idle_timeout="30s", refresh_inbound=refreshes)
        outside = outwards(nat)
        assert inwards(nat, outside, now=20 * S) == INSIDE
        assert (inwards(nat, outside, now=40 * S) == INSIDE) is refreshes


def test_rebindings_are_counted_and_told() -> None:
    told: list[int] = []
    nat = Nat(["2001:db8::1", "2001:db8::2"])
    nat.on_rebind = lambda: told.append(nat.rebindings)
    assert outwards(nat, ("fd00::2", 50_000), ("2001:db8:f::1", 443)) == ("2001:db8::1", 20_000)
    nat.rebind("2001:db8::2", keep_ports=True)
    assert outwards(nat, ("fd00::2", 50_000), ("2001:db8:f::1", 443)) == ("2001:db8::2", 20_000)
    nat.rebind()
    assert told == [1, 2]


@pytest.mark.parametrize(
    ("address", "keep_ports", "said"),
    [
        (
            "198.51.100.9",
            False,
            r"rebinding to 198\.51\.100\.9: the NAT must have that address, it has 198\.51\.100\.1",
        ),
        (None, True, "rebinding with keep_ports: needs an address, else nothing would change"),
        ("198.51.100.1", True, r"rebinding to 198\.51\.100\.1 with the same ports: it is the NAT's address already"),
    ],
)
def test_a_rebinding_that_can_not_be_is_refused(address: str | None, keep_ports: bool, said: str) -> None:
    with pytest.raises(ValueError, match=said):
        Nat(["198.51.100.1"]).rebind(address, keep_ports=keep_ports)


@pytest.mark.parametrize("outside", [[], ["198.51.100.1", "2001:db8::1"]])
def test_a_nat_has_addresses_of_one_ip_version(outside: list[str]) -> None:
    with pytest.raises(ValueError, match="must be one or more of one IP version"):
        Nat(outside)


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ({"filtering": "cone"}, "filtering 'cone': must be one of endpoint, address, port"),
        ({"port_range": (0, 5)}, r"port_range \[0, 5\]: must be the first and the last port, from 1 to 65535"),
        ({"port_range": (9, 5)}, r"port_range \[9, 5\]: must be the first and the last port"),
    ],
)
def test_options_that_can_not_be_are_refused(options: dict[str, Any], said: str) -> None:
    with pytest.raises(ValueError, match=said):
        Nat(["198.51.100.1"], **options)
