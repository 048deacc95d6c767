"""Quantities with units convert exactly."""

import pytest

from links.units import bits_per_second, nanoseconds, size_in_bytes


@pytest.mark.parametrize(
    ("text", "expected"),
    [("25ms", 25_000_000), ("1.5 s", 1_500_000_000), ("0.1us", 100), ("984µs", 984_000), ("2min", 120 * 10**9), (7, 7)],
)
def test_durations(text: str | int, expected: int) -> None:
    assert nanoseconds(text) == expected


@pytest.mark.parametrize(
    ("text", "expected"), [("10Mbps", 10**7), ("2.5 Gbit/s", 25 * 10**8), ("9600bps", 9600), (64_000, 64_000)]
)
def test_rates(text: str | int, expected: int) -> None:
    assert bits_per_second(text) == expected


@pytest.mark.parametrize(("text", "expected"), [("64kB", 64_000), ("64KiB", 65_536), ("1.5 MB", 1_500_000), (9, 9)])
def test_sizes(text: str | int, expected: int) -> None:
    assert size_in_bytes(text) == expected


def test_kilobytes_that_could_mean_either_are_refused() -> None:
    with pytest.raises(ValueError, match="unit must be one of B, kB, MB, GB, KiB, MiB, GiB"):
        size_in_bytes("64KB")
