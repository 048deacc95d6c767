"""Token buckets: a shaper, which lets datagrams wait for tokens, and a policer, which drops them."""

from typing import Final

from links.datagram import Datagram
from links.element import Element, Server
from links.units import bits_per_second, size_in_bytes

_BIT_NS_PER_BYTE: Final = 8 * 10**9


class Bucket:
    """Tokens of one byte each, which come at `rate` (bit/s); up to `burst` bytes of them are kept. Starts full.

    Counts exactly, in units of 10⁻⁹ bit. Raises ValueError when `burst` is no size above 0.
    """

    def __init__(self, rate: int | str, burst: int | str) -> None:
        self.rate: Final = bits_per_second(rate)
        self.burst: Final = size_in_bytes(burst)
        if not self.burst:
            raise ValueError(f"burst {burst!r}: must be above 0 bytes")
        self._full: Final = self.burst * _BIT_NS_PER_BYTE
        self._level = self._full
        self._at = 0

    def wait(self, size: int, now: int) -> int:
        """Return how long after `now` there are tokens for `size` bytes (ns, 0 if there are)."""
        self._level = min(self._full, self._level + self.rate * (now - self._at))
        self._at = now
        return max(0, -((self._level - size * _BIT_NS_PER_BYTE) // self.rate))

    def take(self, size: int, wait: int = 0) -> None:
        """Remove the tokens for `size` bytes, `wait` ns later than `wait` was called: what it returned."""
        self._at += wait
        self._level += self.rate * wait - size * _BIT_NS_PER_BYTE


class TokenBucket(Server):
    """Shapes to `rate` (bit/s or text such as "10Mbps") with bursts of up to `burst` (bytes or text such as "16kB").

    A datagram leaves at once when the bucket has tokens for its UDP payload plus `overhead`, else as soon as it has;
    the others wait behind it, without bound unless a queue such as TailDrop stands beside. One larger than `burst`
    could never leave and is dropped. A Rate behind this limits the speed of the bursts.
    """

    def __init__(self, rate: int | str, burst: int | str, overhead: int | str = 0) -> None:
        super().__init__()
        self.bucket = Bucket(rate, burst)
        self.overhead = size_in_bytes(overhead)
        self.idle_at = 0

    def receive(self, datagram: Datagram, now: int) -> int:
        self.received += 1
        size = datagram.size + self.overhead
        if size > self.bucket.burst:
            return self.drop(datagram, "larger than the bucket")
        at = max(now, self.idle_at)
        wait = self.bucket.wait(size, at)
        self.bucket.take(size, wait)
        self.idle_at = leaves_at = at + wait
        return leaves_at

    def capacity(self, until: int) -> float:
        return 8 * self.bucket.burst + self.bucket.rate * until / 10**9


class Policer(Element):
    """Drops what exceeds `rate` (bit/s or text) by more than a burst of `burst` (bytes or text); delays nothing.

    A datagram passes when the bucket has tokens for its UDP payload plus `overhead`, and only then takes them.
    """

    def __init__(self, rate: int | str, burst: int | str, overhead: int | str = 0) -> None:
        super().__init__()
        self.bucket = Bucket(rate, burst)
        self.overhead = size_in_bytes(overhead)

    def receive(self, datagram: Datagram, now: int) -> int:
        self.received += 1
        size = datagram.size + self.overhead
        if self.bucket.wait(size, now):
            return self.drop(datagram, "policed")
        self.bucket.take(size)
        return now
