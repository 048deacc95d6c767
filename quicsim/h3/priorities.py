"""Which responses a client wants first: the Priority header field (RFC 9218 sections 4 and 5)."""

from typing import Final

from stack.streams.send import DEFAULT_URGENCY

_URGENCIES: Final = {f"u={urgency}": urgency for urgency in range(8)}
_INCREMENTAL: Final = {"i": True, "i=?1": True, "i=?0": False}


def parse_priority(value: str) -> tuple[int, bool]:
    """Return urgency, 0 (first) to 7, and whether responses of that urgency take turns; what is unknown is ignored."""
    urgency, incremental = DEFAULT_URGENCY, False
    for member in value.split(","):
        item = member.partition(";")[0].strip()
        urgency = _URGENCIES.get(item, urgency)
        incremental = _INCREMENTAL.get(item, incremental)
    return urgency, incremental
