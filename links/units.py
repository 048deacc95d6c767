"""Durations, bit rates and sizes as people write them, to the ints that everything computes with.

An int is taken as it is: nanoseconds, bits per second, bytes. A string carries its unit and may have a
decimal point; it converts exactly, or not at all. A bare float has no unit and is refused.
"""

import re
from fractions import Fraction
from typing import Final

_QUANTITY: Final = re.compile(r"(\d+(?:\.\d+)?)\s*([A-Za-zµ/]*)")

_DURATIONS: Final = {"ns": 1, "us": 10**3, "µs": 10**3, "ms": 10**6, "s": 10**9, "min": 60 * 10**9}
_RATES: Final = {
    prefix + unit: factor
    for prefix, factor in (("", 1), ("k", 10**3), ("M", 10**6), ("G", 10**9), ("T", 10**12))
    for unit in ("bps", "bit/s")
}
_SIZES: Final = {
    "B": 1,
    "kB": 10**3,
    "MB": 10**6,
    "GB": 10**9,
    "KiB": 1 << 10,
    "MiB": 1 << 20,
    "GiB": 1 << 30,
}


def nanoseconds(duration: int | str) -> int:
    """Return `duration` in ns: an int of ns, or text such as "25ms", "1.5 s", "984us".

    Raises ValueError when the text is not a duration of whole nanoseconds, or is negative.
    """
    return _quantity(duration, _DURATIONS, "duration", 'an int of nanoseconds or text such as "25ms"')


def interval(name: str, duration: int | str) -> int:
    """Return `duration` in ns as `nanoseconds` does; raises ValueError, which calls it `name`, for 0 as well."""
    ns = nanoseconds(duration)
    if ns == 0:
        raise ValueError(f"{name} {duration!r}: must be above 0")
    return ns


def bits_per_second(rate: int | str) -> int:
    """Return `rate` in bit/s: an int of bit/s, or text such as "10Mbps", "2.5 Gbit/s" (k = 1000).

    Raises ValueError when the text is not a rate, or the rate is not positive.
    """
    expected = 'a positive int of bit/s or text such as "10Mbps"'
    number = _quantity(rate, _RATES, "rate", expected)
    if number == 0:
        raise ValueError(f"rate {rate!r}: must be {expected}")
    return number


def size_in_bytes(size: int | str) -> int:
    """Return `size` in bytes: an int of bytes, or text such as "64kB" (64,000) or "64KiB" (65,536).

    Raises ValueError when the text is not a size of whole bytes, or is negative.
    """
    return _quantity(size, _SIZES, "size", 'an int of bytes or text such as "64kB" or "64KiB"')


def probability(value: float) -> float:
    """Return `value`; raises ValueError unless it is a number from 0 to 1."""
    return number_from("probability", value, 0, 1)


def number_from(name: str, value: float, least: float, most: float, *, open_end: bool = False) -> float:
    """Return `value`; raises ValueError, which calls it `name`, unless it is a number from `least` to `most`.

    With `open_end` it must be below `most`.
    """
    if (
        isinstance(value, bool)
        or not isinstance(value, int | float)
        or not least <= value <= most
        or (open_end and value == most)
    ):
        raise ValueError(f"{name} {value!r}: must be a number from {least:g} to {'below ' if open_end else ''}{most:g}")
    return float(value)


def whole_number(name: str, value: int, least: int = 0) -> int:
    """Return `value`; raises ValueError, which calls it `name`, unless it is an int of at least `least`."""
    if isinstance(value, bool) or not isinstance(value, int) or value < least:
        raise ValueError(f"{name} {value!r}: must be an int of at least {least}")
    return value


def _quantity(value: int | str, units: dict[str, int], kind: str, expected: str) -> int:
    if isinstance(value, int) and not isinstance(value, bool) and value >= 0:
        return value
    match = _QUANTITY.fullmatch(value.strip()) if isinstance(value, str) else None
    if match is None:
        raise ValueError(f"{kind} {value!r}: must be {expected}")
    factor = units.get(match[2])
    if factor is None:
        raise ValueError(f"{kind} {value!r}: its unit must be one of {', '.join(units)}")
    number = Fraction(match[1]) * factor
    if number.denominator != 1:
        raise ValueError(f"{kind} {value!r}: must be a whole number of {next(iter(units))}")
    return number.numerator
