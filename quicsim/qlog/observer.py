"""The observer that opens a trace for each connection of a host."""

from collections.abc import Callable, Mapping
from typing import Final

from quicsim.qlog.connection import ConnectionTrace
from quicsim.qlog.schema import Profile, header
from quicsim.qlog.writer import TextSink, TraceWriter
from stack.observer import ConnectionObserver, Observer


class QlogObserver(Observer):
    """Writes one qlog trace (.sqlog) per connection of one endpoint.

    `open_trace(name)` returns a text stream for the file of that name: the host's, the original destination
    connection ID and the role, such as "server_8394c8f03e515708_server.sqlog". `title` describes the run, and
    `scenario`, when given, is written into each trace. `limit` caps a trace's size in bytes.
    """

    def __init__(
        self,
        host: str,
        open_trace: Callable[[str], TextSink],
        *,
        profile: Profile = Profile.DUAL,
        title: str = "quicsim",
        scenario: Mapping[str, object] | None = None,
        limit: int | None = None,
    ) -> None:
        self._host: Final = host
        self._open_trace: Final = open_trace
        self._profile: Final = profile
        self._title: Final = title
        self._scenario: Final = scenario
        self._limit: Final = limit
        self._writers: Final[list[TraceWriter]] = []

    def connection(self, now: int, role: str, original_destination_cid: bytes) -> ConnectionObserver | None:
        """Open a trace for a new connection."""
        odcid = original_destination_cid.hex()
        stream = self._open_trace(f"{self._host}_{odcid}_{role}.sqlog")
        writer = TraceWriter(stream, self._profile, self._limit)
        self._writers.append(writer)
        writer.header(header(self._profile, self._title, self._host, role, odcid))
        if self._scenario is not None:
            writer.event(now, "scenario", {"name": self._title, "details": self._scenario})
        return ConnectionTrace(writer, self._profile)

    def mark(self, now: int, kind: str, message: str) -> None:
        """Note in all traces that are open what was done to the network."""
        for writer in self._writers:
            writer.event(now, "marker", {"type": kind, "message": message})

    def close(self) -> None:
        """Close all traces; later events go nowhere."""
        for writer in self._writers:
            writer.close()
