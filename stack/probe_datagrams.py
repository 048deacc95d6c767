"""Datagrams that test a path: PATH_CHALLENGE and PATH_RESPONSE, and probes of the path MTU (RFC 9000 8.2 and 14.4)."""

from typing import TYPE_CHECKING, Final

from stack.path.validation import SMALLEST_PATH_MTU
from stack.transmit import Transmit
from stack.wire.frames import PING, encode_path_challenge, encode_path_response
from stack.wire.packet_number import MAX_PACKET_NUMBER_LENGTH

if TYPE_CHECKING:
    from stack.connection import Connection
    from stack.packet_builder import PacketBuilder
    from stack.path.path import Path

_PING_FRAME: Final = bytes((PING,))


class ProbeDatagrams:
    """Makes the datagrams of a connection that test its paths; all else is the sender's."""

    __slots__ = ("_builder", "_connection")

    def __init__(self, connection: "Connection", builder: "PacketBuilder") -> None:
        self._connection = connection
        self._builder = builder

    def of_paths(self, now: int) -> list[Transmit]:
        """PATH_RESPONSE and PATH_CHALLENGE, each in a datagram of its path (RFC 9000 section 8.2)."""
        connection = self._connection
        paths = connection.paths
        datagrams: list[Transmit] = []
        if connection.spaces[2].write_keys is not None:
            for path in paths.all:
                if path.validation.owed or path.responses:
                    datagram = self._path_datagram(path, now)
                    if datagram:
                        datagrams.append(Transmit(datagram, path.local, path.remote, self._builder.ecn))
        paths.on_sent()
        return datagrams

    def _path_datagram(self, path: "Path", now: int) -> bytes:
        """What `path` owes; b"" while its congestion window or the amplification limit leaves no room.

        A PATH_CHALLENGE is a probe, which need not wait for the window: that may be full of what a path that is no more
        has lost, and challenges come seldom.
        """
        connection = self._connection
        space = connection.spaces[2]
        room = min(SMALLEST_PATH_MTU, path.amplification_credit())
        # Packets on faster paths may overtake this one by far
        draft = self._builder.draft(space, path, MAX_PACKET_NUMBER_LENGTH)
        parts = draft.parts
        parts += [encode_path_response(data) for data in path.responses]  # rfc9000:8.2.2:7
        challenge = b""
        if path.validation.owed:
            challenge = path.validation.challenge(connection.rng)
            parts.append(encode_path_challenge(challenge))
        if path is connection.paths.active:
            parts.append(_PING_FRAME)  # rfc9000:9.3.3:2
        draft.size = sum(map(len, parts))
        size = draft.overhead + draft.size
        if size > room or path.remote_id.value is None:
            return b""
        if not challenge and path.window_available() < SMALLEST_PATH_MTU:
            return b""  # rfc9000:8.2.2:2
        draft.eliciting = True
        if room == SMALLEST_PATH_MTU:  # rfc9000:8.2.1:5, rfc9000:8.2.2:5, rfc9000:8.2.2:6
            draft.pad(room - size)
        path.responses.clear()
        self._builder.ecn = path.ecn.codepoint
        datagram = self._builder.seal(draft, path, now)
        if challenge:
            path.validation.on_sent(challenge, len(datagram), path.rtt, now)
        return datagram

    def of_mtu(self, path: "Path", now: int) -> bytes:
        """A PING padded to the size that the path is to be tested for (RFC 9000 section 14.4); b"" if it must wait."""
        space = self._connection.spaces[2]
        size = path.mtu.probe_size()
        # The window must hold two datagrams of the new size, since finding it does not make the window larger
        if space.probes or path.window_available() < size or path.congestion.congestion_window < 2 * size:
            return b""
        draft = self._builder.draft(space, path)
        draft.parts.append(_PING_FRAME)
        draft.size = 1
        draft.eliciting = True
        draft.sent_frames.append(path.mtu.on_probe_sent())
        draft.pad(size - draft.overhead - draft.size)
        self._builder.ecn = path.ecn.codepoint
        return self._builder.seal(draft, path, now)
