"""Profiles of access networks: each can be used, and carries what it says."""

import pytest

from links.profiles import PROFILES
from tests.support.wire import Wire

MS = 1_000_000

# The shortest round trip (ms), and how many Mbit/s come down at least and at most.
FIGURES = {
    "dsl": (20, 49, 50),
    "cable": (22, 199, 200),
    "lte": (20, 2, 24),
    "5g": (15, 20, 180),
    "leo": (28, 20, 80),
    "geo": (600, 19.5, 20),
    "wifi": (2, 5, 60),
}


def test_every_profile_is_described_here() -> None:
    assert list(FIGURES) == list(PROFILES)


@pytest.mark.parametrize("name", FIGURES)
def test_a_profile_s_delay_and_rate(name: str) -> None:
    round_trip, least, most = FIGURES[name]
    profile, again = PROFILES[name](), PROFILES[name]()
    assert not {id(element) for element in profile.up + profile.down} & {id(it) for it in again.up + again.down}
    quick = [Wire(*way).send(0, size=20).arrivals for way in profile]
    assert sum(at for ((_, at),) in quick) >= round_trip * MS
    times = range(0, 2000 * MS, 50_000)  # 40,000 datagrams of 1228 bytes: 196 Mbit/s
    wire = Wire(*again.down).send(*times, size=1200)
    in_time = sum(500 * MS < at <= 2000 * MS for _, at in wire.arrivals) * 1228 * 8 / 1.5e6
    assert least * 0.95 < in_time < min(most, 197) * 1.05
