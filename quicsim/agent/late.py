"""Which handshake messages may come when the handshake is complete (RFC 9001 sections 4.1.3 and 6).

The agent is gone by then, so this is checked without it.
"""

from typing import Final

from stack.tls.extensions import MESSAGE_NAMES, NEW_SESSION_TICKET
from stack.tls.handshake import HEADER_SIZE


class LateMessages:
    """Follows the messages of 1-RTT packets: a client may get tickets, a server nothing."""

    def __init__(self, is_client: bool) -> None:
        self._accepted: Final = (NEW_SESSION_TICKET,) if is_client else ()
        self._header = bytearray()
        self._left = 0  # bytes of the message that the last header was of

    def refuse(self, data: bytes) -> str | None:
        """Take the next bytes; return what is wrong with them, None if nothing is."""
        at = 0
        while at < len(data):
            if self._left:
                taken = min(self._left, len(data) - at)
                self._left -= taken
                at += taken
                continue
            self._header.append(data[at])
            at += 1
            kind = self._header[0]
            if kind not in self._accepted:
                # rfc9001:6:3
                return f"{MESSAGE_NAMES.get(kind, f'a message of type {kind}')} is not expected any more"
            if len(self._header) == HEADER_SIZE:
                self._left = int.from_bytes(self._header[1:])
                self._header.clear()
        return None
