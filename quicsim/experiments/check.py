"""A measured value, what it should be, how far it may be off, and whether it is."""

from collections.abc import Sequence
from dataclasses import dataclass


@dataclass(frozen=True)
class Check:
    """One row of the report. `ok` None: a value that is told, and held against nothing.

    `source` says where the expectation comes from: a section of an RFC, a formula, a paper.
    """

    what: str
    measured: str
    expected: str
    tolerance: str
    ok: bool | None
    source: str

    @staticmethod
    def relative(what: str, measured: float, expected: float, tolerance: float, source: str) -> "Check":
        """`measured` may be off by a share of `expected`, such as 0.05."""
        ok = abs(measured - expected) <= tolerance * abs(expected)
        return Check(what, _number(measured), _number(expected), f"± {100 * tolerance:g} %", ok, source)

    @staticmethod
    def absolute(what: str, measured: float, expected: float, tolerance: float, unit: str, source: str) -> "Check":
        """`measured` may be off by `tolerance`, in `unit` like both."""
        ok = abs(measured - expected) <= tolerance
        return Check(what, f"{_number(measured)} {unit}", f"{_number(expected)} {unit}", f"± {tolerance:g}", ok, source)

    @staticmethod
    def exact(what: str, measured: object, expected: object, source: str) -> "Check":
        """`measured` must be `expected`; lists are shown by their items."""
        return Check(what, _text(measured), _text(expected), "exact", measured == expected, source)

    @staticmethod
    def between(
        what: str, measured: float, low: float | None, high: float | None, source: str, unit: str = ""
    ) -> "Check":
        """`measured` must lie within bounds, of which one may be None."""
        ok = (low is None or measured >= low) and (high is None or measured <= high)
        if low is None:
            bounds = f"≤ {_number(high or 0)}"
        elif high is None:
            bounds = f"≥ {_number(low)}"
        else:
            bounds = f"{_number(low)} to {_number(high)}"
        suffix = f" {unit}" if unit else ""
        return Check(what, _number(measured) + suffix, bounds + suffix, "within", ok, source)

    @staticmethod
    def note(what: str, measured: object, source: str = "") -> "Check":
        """A value worth knowing."""
        return Check(what, _text(measured), "", "", None, source)


def _text(value: object) -> str:
    if isinstance(value, float):
        return _number(value)
    if isinstance(value, Sequence) and not isinstance(value, str):
        return ", ".join(_text(item) for item in value) or "none"
    return str(value)


def _number(value: float) -> str:
    """About four digits; whole numbers as they are."""
    if isinstance(value, int) or value == int(value):
        return f"{int(value):,}"
    return f"{value:,.1f}" if abs(value) >= 1000 else f"{value:.4g}"
