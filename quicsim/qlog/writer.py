"""Records of one trace, as JSON text sequences (RFC 7464)."""

import json
from collections.abc import Mapping
from typing import Final, Protocol

from quicsim.qlog.schema import Profile, event_names

NS_PER_MS: Final = 1_000_000

_encode: Final = json.JSONEncoder(separators=(",", ":"), check_circular=False).encode


def milliseconds(duration_ns: int) -> float:
    """Return ns as ms. The quotient is correctly rounded, so it prints exactly up to 15 digits (11 days)."""
    return duration_ns / NS_PER_MS


def tuple_id(path: int) -> str:
    """Return what a trace calls a path: nothing for the one of the handshake, whose events then need no name."""
    return str(path) if path else ""


class TextSink(Protocol):
    """Where a trace goes, such as an open text file."""

    def write(self, text: str, /) -> object:
        """Append text."""

    def close(self) -> object:
        """Finish."""


class TraceWriter:
    """Writes a trace to a text stream, at most `limit` bytes of it (None: all).

    The record that would pass the limit is replaced by a warning, and nothing follows.
    """

    def __init__(self, stream: TextSink, profile: Profile, limit: int | None = None) -> None:
        self._stream: Final = stream
        self._write: Final = stream.write
        self._names: Final = event_names(profile)
        self._limit: Final = limit
        self._left = -1 if limit is None else limit  # bytes that may still be written; -1: any number
        self.full = False

    def header(self, record: Mapping[str, object]) -> None:
        """Write the first record."""
        self._write(f"\x1e{_encode(record)}\n")

    def event(self, now: int, event: str, data: Mapping[str, object], path: int = 0) -> None:
        """Write an event of the type `event` (without namespace) that happened at `now`, on a path of this number."""
        if self.full:
            return
        text = _encode(data)
        on_path = f'"tuple":"{tuple_id(path)}",' if path else ""
        for name in self._names[event]:
            record = f'\x1e{{"time":{now / NS_PER_MS!r},{name},{on_path}"data":{text}}}\n'
            if self._left >= 0:
                if len(record) > self._left:
                    self._stop(now)
                    return
                self._left -= len(record)
            self._write(record)

    def _stop(self, now: int) -> None:
        self._left = -1
        self.event(now, "warning", {"message": f"the trace ends here: its limit of {self._limit} bytes is reached"})
        self.full = True

    def close(self) -> None:
        """Close the stream."""
        self.full = True
        self._stream.close()
