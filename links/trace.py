"""A link that carries what a trace says: opportunities to send, as mahimahi records them."""

from bisect import bisect_right
from collections.abc import Iterable
from typing import Final

from links.datagram import Datagram
from links.element import Server
from links.traces import TRACES
from links.units import size_in_bytes, whole_number

OPPORTUNITY: Final = 1500  # bytes
_MS: Final = 1_000_000


class Trace(Server):
    """Sends when a trace gives an opportunity, up to `opportunity` bytes (1500) at each; the others wait.

    `trace` is the name of one that comes with this package (see `links.traces`), the text of a file in mahimahi's
    format (a line is the millisecond of one opportunity; a line that is repeated gives several), or an iterable of such
    milliseconds. It starts again at its last millisecond. Small datagrams share an opportunity, large ones take
    several; one that arrives just at an opportunity is too late for it. What nobody uses is lost.

    A datagram takes its UDP payload plus `overhead` bytes. The queue is unbounded unless one such as TailDrop stands
    beside it. Raises ValueError when the milliseconds are no ints in ascending order, or the last is 0.
    """

    def __init__(
        self, trace: str | Iterable[int], overhead: int | str = 0, *, opportunity: int | str = OPPORTUNITY
    ) -> None:
        super().__init__()
        self.times: Final = _times(trace)
        self.period: Final = self.times[-1]  # ms
        self.overhead = size_in_bytes(overhead)
        self.opportunity: Final = whole_number("opportunity", size_in_bytes(opportunity), 1)
        self.idle_at = 0  # when the opportunity comes that is the last one taken so far
        self._index = -1  # its number, over all rounds
        self._left = 0  # what it has left, bytes

    def receive(self, datagram: Datagram, now: int) -> int:
        self.received += 1
        if self.idle_at <= now:
            rounds, phase = divmod(now // _MS, self.period)
            self._index = rounds * len(self.times) + bisect_right(self.times, phase)
            self._left = self.opportunity
        beyond = datagram.size + self.overhead - self._left
        if beyond > 0:
            more = -(-beyond // self.opportunity)
            self._index += more
            beyond -= more * self.opportunity
        self._left = -beyond
        rounds, index = divmod(self._index, len(self.times))
        self.idle_at = (rounds * self.period + self.times[index]) * _MS
        return self.idle_at

    def capacity(self, until: int) -> float:
        rounds, phase = divmod(until // _MS, self.period)
        return 8 * self.opportunity * (rounds * len(self.times) + bisect_right(self.times, phase))


def _times(trace: str | Iterable[int]) -> tuple[int, ...]:
    """Return the opportunities of a trace in ms."""
    if isinstance(trace, str) and trace in TRACES:
        return TRACES[trace]()
    try:
        times = tuple(int(line) for line in trace.split()) if isinstance(trace, str) else tuple(trace)
    except ValueError as error:
        raise ValueError(f"trace: must be one of {', '.join(TRACES)}, or lines of milliseconds ({error})") from None
    ascending = all(isinstance(at, int) for at in times) and all(
        one <= other for one, other in zip((0, *times), times, strict=False)
    )
    if not times or not ascending or not times[-1]:
        raise ValueError("trace: must be milliseconds from 0 in ascending order, the last of them above 0")
    return times
