"""Values that a sweep goes through: `[0, 0.01, 0.02]`, `{ from = 1, to = 20 }`, `{ from = 1, to = 64, count = 7 }`."""

from collections.abc import Mapping
from decimal import Decimal
from typing import Any, Final

from quicsim.plan.errors import choose

MOST_VALUES: Final = 100_000  # of one range
_KEYS: Final = ("from", "to", "step", "count", "scale")
_SHAPE: Final = "must be a list of values, or a table such as { from = 0, to = 0.05, step = 0.01 }"


def sweep_values(value: object) -> dict[str, list[Any]]:
    """Return the values of each key of a `[sweep]` table. Raises ValueError."""
    if not isinstance(value, Mapping):
        raise ValueError("must be a table of paths and their values")
    values = {}
    for path, given in value.items():
        try:
            values[path] = list(given) if isinstance(given, list) else _range(given)
        except ValueError as error:
            raise ValueError(f"{path!r}: {error}") from None
        if not values[path]:
            raise ValueError(f"{path!r}: must have one value at least")
    return values


def _range(given: object) -> list[int | float]:
    """Return the numbers from the first to the last, both included.

    They are `step` apart (by default 1), or `count` at even distances, or with scale "log" at even ratios; computed in
    decimal, so that 0.1 and 0.1 more are 0.2.
    """
    if not isinstance(given, Mapping):
        raise ValueError(_SHAPE)
    for key in given:
        if key not in _KEYS:
            raise ValueError(choose("key", key, _KEYS))
    first, last, step = (_number(given, key) for key in ("from", "to", "step"))
    scale, count = given.get("scale", "linear"), given.get("count")
    if first is None or last is None:
        raise ValueError(_SHAPE)
    if scale not in ("linear", "log"):
        raise ValueError(choose("scale", scale, ("linear", "log")))
    if count is None:
        if scale == "log":
            raise ValueError('count: must be there with scale = "log"')
        step = Decimal(1) if step is None else step
        if step <= 0 or last < first or (last - first) / step >= MOST_VALUES:
            raise ValueError(f"must go up from {first} to {last}, by a step above 0, in {MOST_VALUES:,} steps at most")
        return [_plain(first + i * step) for i in range(int((last - first) / step) + 1)]
    if step is not None:
        raise ValueError("step: must not be there beside count")
    if isinstance(count, bool) or not isinstance(count, int) or not 2 <= count <= MOST_VALUES:
        raise ValueError(f"count = {count!r}: must be an int from 2 to {MOST_VALUES:,}")
    if scale == "log":
        if first <= 0 or last <= 0:
            raise ValueError('from and to: must be above 0 with scale = "log"')
        whole = first == int(first) and last == int(last)
        points = [float(first) * float(last / first) ** (i / (count - 1)) for i in range(count)]
        return [round(point) if whole else float(f"{point:.6g}") for point in points]
    return [_plain(first + i * (last - first) / (count - 1)) for i in range(count)]


def _number(given: Mapping[str, Any], key: str) -> Decimal | None:
    value = given.get(key)
    if value is None:
        return None
    if isinstance(value, bool) or not isinstance(value, int | float):
        raise ValueError(f"{key} = {value!r}: must be a number")
    return Decimal(str(value))


def _plain(number: Decimal) -> int | float:
    return int(number) if number == int(number) else float(number)
