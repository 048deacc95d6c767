"""When a relay's NAT rebinds, and to what."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import count


@dataclass(frozen=True, slots=True)
class Rebind:
    """The NAT forgets its mappings at a time (ns since the first datagram); see `links.Nat.rebind`."""

    at: int
    address: str | None = None
    keep_ports: bool = False


def rebind_every(first: int, period: int | None, addresses: Sequence[str] = ()) -> Iterator[Rebind]:
    """Yield a rebinding at `first` (ns), and then one each `period` (ns), or no more.

    Of several `addresses` the NAT begins with the first, and each rebinding takes the next one in turn; with fewer,
    only ports change.
    """
    for number in count():
        address = addresses[(number + 1) % len(addresses)] if len(addresses) > 1 else None
        yield Rebind(first + number * (period or 0), address)
        if period is None:
            return
