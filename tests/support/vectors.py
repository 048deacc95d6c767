"""The figures of RFC appendices in tests/vectors/, with what is hexadecimal as bytes."""

import json
from pathlib import Path
from typing import Any

VECTORS = Path(__file__).parents[1] / "vectors"
PROSE = ("source", "label_prefix")  # fields that are text


def load_vectors(name: str) -> dict[str, Any]:
    """Return the figures of `name`, such as "rfc9001_a"; every text in them but PROSE is hexadecimal."""
    rows: dict[str, Any] = json.loads(
        (VECTORS / f"{name}.json").read_text(),
        object_hook=lambda row: {
            key: bytes.fromhex(value) if isinstance(value, str) and key not in PROSE else value
            for key, value in row.items()
        },
    )
    return rows
