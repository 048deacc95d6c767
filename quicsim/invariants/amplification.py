"""Anti-amplification as the network sees it: who sends to whom, and how much (RFC 9000 section 8.1)."""

from collections.abc import Callable
from typing import Final

from links import Datagram
from stack.observer import Address
from stack.wire.header import INITIAL, HeaderError, parse_long_header

_FACTOR: Final = 3


class _Peer:
    """An address that has spoken first to one of ours."""

    __slots__ = ("received", "sent", "validated")

    def __init__(self) -> None:
        self.received = self.sent = 0  # bytes
        self.validated = False


class Amplification:
    """What one host sends to addresses that have not proved to receive there.

    Addresses to which this host sent first are its own choice. An address is validated by an authentic Handshake packet
    from it, by the echo of a challenge that was sent there, or by a token in an Initial packet.
    """

    def __init__(self, fail: Callable[[str], None]) -> None:
        self._fail: Final = fail
        self._peers: dict[tuple[Address, Address], _Peer | None] = {}  # by (ours, theirs); None: ours to choose

    def on_received(self, datagram: Datagram) -> None:
        """A datagram has arrived."""
        peer = self._peers.setdefault((datagram.destination, datagram.source), _Peer())
        if peer is not None and not peer.validated:
            peer.received += datagram.size
            peer.validated = _has_token(datagram.payload)

    def on_sent(self, datagram: Datagram) -> None:
        """A datagram leaves."""
        peer = self._peers.setdefault((datagram.source, datagram.destination), None)
        if peer is None or peer.validated:
            return
        peer.sent += datagram.size
        if peer.sent > _FACTOR * peer.received:
            host, port = datagram.destination
            self._fail(
                f"{peer.sent} bytes went to {host} port {port}, which is not validated and has sent {peer.received}"
            )

    def on_validated(self, ours: Address, theirs: Address) -> None:
        """An address has proved that it receives."""
        peer = self._peers.get((ours, theirs))
        if peer is not None:
            peer.validated = True


def _has_token(payload: bytes) -> bool:
    try:
        header = parse_long_header(payload, 0, greased=True)
    except HeaderError:
        return False
    return header.packet_type == INITIAL and bool(header.token)
