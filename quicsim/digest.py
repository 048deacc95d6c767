"""The digest of a run: SHA-256 over all datagrams with their times and fates."""

import hashlib
import struct
from typing import Final

from links import Datagram

# number, sent_at, when delivered or lost, link, ECN codepoint, fate (0 delivered, 1 lost), payload size
_RECORD: Final = struct.Struct("<QQQHBBI")

_ENOUGH: Final = 32_768  # bytes of records

NO_LINK: Final = 0xFFFF  # in a record: the datagram was dropped behind its link, by a NAT or a router


class Digest:
    """Takes one record for each datagram when its fate is known: two runs are the same if their digests are."""

    def __init__(self) -> None:
        self._hash: Final = hashlib.sha256()
        self._pending = bytearray()  # records that are not hashed yet: many at once take less time

    def delivered(self, link: int, datagram: Datagram, at: int) -> None:
        """A datagram on the link of number `link` arrives at `at` (ns)."""
        head = _RECORD.pack(datagram.id, datagram.sent_at, at, link, datagram.ecn, 0, datagram.size)
        self._add(head + datagram.payload)

    def lost(self, link: int, datagram: Datagram, at: int) -> None:
        """A datagram was dropped at `at` (ns) by an element, for a reason."""
        head = _RECORD.pack(datagram.id, datagram.sent_at, at, link, datagram.ecn, 1, datagram.size)
        fate = f"{datagram.dropped_by}\0{datagram.drop_reason}\0".encode()
        self._add(head + datagram.payload + fate)

    def hex(self) -> str:
        """Return the digest of all records so far, in hexadecimal."""
        self._flush()
        return self._hash.hexdigest()

    def _add(self, record: bytes) -> None:
        pending = self._pending
        pending += record
        if len(pending) > _ENOUGH:
            self._flush()

    def _flush(self) -> None:
        self._hash.update(self._pending)
        self._pending.clear()
