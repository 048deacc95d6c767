"""A path by itself."""

import random

from stack.path.connection_ids import RemoteId
from stack.path.path import Path
from stack.path.spin_bit import SpinBit

MS = 1_000_000


def make_path(*, validated: bool = True, pacing: bool = False, initial_rtt_ns: int = 333 * MS) -> Path:
    """A server's path with datagrams of 1200 bytes."""
    return Path(
        ("10.0.0.1", 1),
        ("10.0.0.2", 2),
        RemoteId(0, b"peer's", SpinBit(random.Random(1), is_client=False, enabled=False)),
        datagram_size=1200,
        congestion="new_reno",
        initial_rtt_ns=initial_rtt_ns,
        pacing=pacing,
        validated=validated,
        limited=True,
        ecn=True,
    )
