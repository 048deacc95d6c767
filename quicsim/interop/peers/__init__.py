"""Other implementations of QUIC as endpoints of the interop runner's test cases, each in a file of its own."""

from quicsim.interop.peers.aioquic import Aioquic
from quicsim.interop.peers.peer import H3, HQ, UNSUPPORTED, Command, Peer, Role, Setting
from quicsim.interop.peers.qh3 import Qh3

PEERS: dict[str, Peer] = {peer.name: peer for peer in (Aioquic(), Qh3())}

__all__ = ["H3", "HQ", "PEERS", "UNSUPPORTED", "Command", "Peer", "Role", "Setting"]
