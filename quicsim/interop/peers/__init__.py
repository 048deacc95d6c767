"""Other implementations of QUIC as endpoints of the interop runner's test cases, each in a file of its own."""

from quicsim.interop.peers.peer import H3, HQ, UNSUPPORTED, Command, Peer, Role, Setting

PEERS: dict[str, Peer] = {}

__all__ = ["H3", "HQ", "PEERS", "UNSUPPORTED", "Command", "Peer", "Role", "Setting"]
