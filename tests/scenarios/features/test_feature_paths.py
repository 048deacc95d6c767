"""NATs that rebind, clients that move, and what a path can carry."""

import pytest

from links import EcnRemark, Element, Mtu
from stack.connection import Connection
from stack.events import PathChanged, PathValidated
from stack.path.ecn import EcnState
from stack.wire.decoded_frames import (
    NewConnectionIdFrame,
    PathChallengeFrame,
    PathResponseFrame,
    RetireConnectionIdFrame,
)
from tests.support.network import PORT, Impairment, Network, content

WIFI, LTE, LTE_V6 = "10.0.1.1", "10.0.2.1", "2001:db8:2::1"
SERVER, PREFERRED, PREFERRED_V6 = "10.0.9.1", "10.0.9.2", "2001:db8:9::2"
OUTSIDE = ("198.51.100.1", "198.51.100.2")
# A path is given up after three seconds; with the usual 333 ms two challenges go in that time, which may both get lost
OFTEN = {"initial_rtt_ms": 50}


class Transfer:
    """200 kB each way at once, of which 40 kB have arrived at both ends when it is made."""

    def __init__(self, network: Network) -> None:
        self.network = network
        self.client, self.server = network.established()
        there, back = content(200_000, 1), content(200_000, 2)
        self.sent = [
            (self.server, network.send(self.client, there), there),
            (self.client, network.send(self.server, back), back),
        ]
        network.run(lambda: min(self._received(receiver, stream) for receiver, stream, _ in self.sent) > 40_000)

    def _received(self, receiver: Connection, stream_id: int) -> int:
        return len(self.network.end_of(receiver).received.get((receiver, stream_id), b""))

    def finish(self) -> None:
        """Wait for the rest, and check all of it."""
        self.network.deliver(self.sent)


def validated(network: Network, connection: Connection) -> bool:
    """Whether an end's current path was validated by challenge and response."""
    path = connection.path
    return PathValidated(path.local, path.remote) in network.end_of(connection).happened(PathValidated)


@pytest.mark.parametrize(
    ("to", "keep_ports", "seen"),
    [
        (None, False, (OUTSIDE[0], 20_001)),
        (OUTSIDE[1], True, (OUTSIDE[1], 20_000)),
        (OUTSIDE[1], False, (OUTSIDE[1], 20_001)),
    ],
    ids=["port", "address", "both"],
)
def test_a_nat_rebinds(impairment: Impairment, to: str | None, keep_ports: bool, seen: tuple[str, int]) -> None:
    network = Network(impairment, nat=OUTSIDE, client=OFTEN, server=OFTEN)
    transfer = Transfer(network)
    assert network.nat is not None
    network.nat.rebind(to, keep_ports=keep_ports)
    transfer.finish()
    network.run(lambda: validated(network, transfer.server))
    assert transfer.server.path.remote == seen
    assert network.server.recorder_of(transfer.server).sent_frames(PathChallengeFrame)
    assert network.client.recorder_of(transfer.client).sent_frames(PathResponseFrame)


@pytest.mark.parametrize("probe", [True, False], ids=["probe", "at_once"])
def test_a_client_migrates(impairment: Impairment, probe: bool) -> None:
    network = Network(impairment, client_addresses=(WIFI, LTE), client=OFTEN, server=OFTEN)
    transfer = Transfer(network)
    local = network.client.socket.bind(LTE)
    transfer.client.migrate(local, network.now, probe)
    transfer.finish()
    network.run(lambda: validated(network, transfer.client) and validated(network, transfer.server))
    assert transfer.client.path.local == transfer.server.path.remote == local
    assert PathChanged(local, (SERVER, PORT)) in network.client.happened(PathChanged)


def test_connection_ids_are_retired_with_their_paths_and_replaced(impairment: Impairment) -> None:
    network = Network(impairment, client_addresses=(WIFI, LTE), client=OFTEN, server=OFTEN)
    client, server = network.established()
    for address in (LTE, WIFI, LTE):
        network.exchange(client, server, 2_000)
        used = client.remote_ids.current
        local = network.client.socket.bind(address)
        client.migrate(local, network.now)
        network.run(lambda local=local: client.path.local == local)
        assert client.remote_ids.current != used
        network.run_for("10s")  # until the old path is forgotten at both ends
        network.exchange(client, server, 2_000)
    for end, connection in ((network.client, client), (network.server, server)):
        recorder = end.recorder_of(connection)
        retired = {frame.sequence_number for frame in recorder.sent_frames(RetireConnectionIdFrame)}
        assert len(retired) >= 3
        peer = network.peer_of(connection)
        issued = peer.recorder_of(peer.connections[0]).sent_frames(NewConnectionIdFrame)
        assert max(frame.sequence_number for frame in issued) >= 3 + len(retired), "as many spare ones as at first"


@pytest.mark.parametrize(
    ("client", "server", "preferred"),
    [
        (WIFI, {"preferred_address_v4": (PREFERRED, 443)}, (PREFERRED, 443)),
        (LTE_V6, {"preferred_address_v6": (PREFERRED_V6, 443)}, (PREFERRED_V6, 443)),
    ],
    ids=["v4", "v6"],
)
def test_a_client_moves_to_the_preferred_address(
    impairment: Impairment, client: str, server: dict[str, object], preferred: tuple[str, int]
) -> None:
    first = SERVER if "." in client else "2001:db8:9::1"
    network = Network(
        impairment,
        client_addresses=(client,),
        server_addresses=(first, preferred[0]),
        client=OFTEN,
        server=OFTEN | server,
    )
    network.server.socket.bind(*preferred)
    transfer = Transfer(network)
    transfer.finish()
    network.run(lambda: transfer.server.path.local == preferred)
    assert transfer.client.path.remote == preferred
    assert validated(network, transfer.client)


def test_a_client_changes_the_ip_version_with_a_preferred_address(impairment: Impairment) -> None:
    network = Network(
        impairment,
        client_addresses=(WIFI, LTE_V6),
        server_addresses=(SERVER, PREFERRED_V6),
        client=OFTEN,
        server=OFTEN | {"preferred_address_v6": (PREFERRED_V6, PORT)},
    )
    transfer = Transfer(network)
    transfer.client.migrate(network.client.socket.bind(LTE_V6), network.now)
    transfer.finish()
    network.run(lambda: transfer.client.path.remote == transfer.server.path.local == (PREFERRED_V6, PORT))


def test_ecn_is_found_to_work(impairment: Impairment) -> None:
    network = Network(impairment)
    client, server = network.established()
    network.exchange(client, server)
    assert (client.path.ecn.state, server.path.ecn.state) == (EcnState.CAPABLE, EcnState.CAPABLE)


def test_a_path_that_clears_marks_is_not_marked_any_more(impairment: Impairment) -> None:
    def bleaching() -> list[Element]:
        return [EcnRemark("not-ect")]

    network = Network(impairment, extra=bleaching)
    client, server = network.established()
    network.exchange(client, server)
    assert (client.path.ecn.state, server.path.ecn.state) == (EcnState.FAILED, EcnState.FAILED)
    assert network.server.tapped[-1].ecn == network.client.tapped[-1].ecn == 0


def test_the_mtu_of_the_path_is_found(impairment: Impairment) -> None:
    def link() -> list[Element]:
        return [Mtu(1_400, 28)]

    both = {"path_mtu_discovery": True}
    network = Network(impairment, client=both, server=both, extra=link)
    client, server = network.established()
    network.exchange(client, server, 50_000)
    network.exchange(client, server, 50_000)
    for connection in (client, server):
        assert 1_300 < connection.path.datagram_size <= 1_372
