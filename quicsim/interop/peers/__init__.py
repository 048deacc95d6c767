"""Other implementations of QUIC as endpoints of the interop runner's test cases, each in a file of its own."""

from quicsim.interop.peers.aioquic import Aioquic
from quicsim.interop.peers.caddy import Caddy
from quicsim.interop.peers.chromium import Chromium
from quicsim.interop.peers.ngtcp2 import Ngtcp2
from quicsim.interop.peers.peer import H3, HQ, UNSUPPORTED, Command, Peer, Role, Setting
from quicsim.interop.peers.qh3 import Qh3
from quicsim.interop.peers.quicgo import QuicGo
from quicsim.interop.peers.quinn import Quinn

PEERS: dict[str, Peer] = {
    peer.name: peer for peer in (Aioquic(), Qh3(), Ngtcp2(), QuicGo(), Caddy(), Quinn(), Chromium())
}

__all__ = ["H3", "HQ", "PEERS", "UNSUPPORTED", "Command", "Peer", "Role", "Setting"]
