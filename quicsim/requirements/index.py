"""The index of normative sentences: an id, a level and a gist in our own words for each, and why some are excused."""

import re
from collections.abc import Iterator
from dataclasses import dataclass
from importlib import resources
from typing import Final

ID: Final = re.compile(r"rfc\d+:[0-9A-Za-z][0-9A-Za-z.-]*:[1-9]\d*")
"""An id: the RFC, the section and the sentence's place among the section's normative sentences."""

INDEXED: Final = (
    "rfc8999",
    "rfc9000",
    "rfc9001",
    "rfc9002",
    "rfc9221",
    "rfc9287",
    "rfc9368",
    "rfc9369",
    "rfc9406",
    "rfc9438",
)
CITED: Final = frozenset({"rfc8446", "rfc8899", "rfc9114", "rfc9204"})
"""RFCs whose sentences tests and code may name, though no index of them is kept."""

MUST: Final = "MUST"
SHOULD: Final = "SHOULD"
MAY: Final = "MAY"
_CLASSES: Final = {
    "MUST": MUST,
    "MUST NOT": MUST,
    "SHALL": MUST,
    "SHALL NOT": MUST,
    "REQUIRED": MUST,
    "SHOULD": SHOULD,
    "SHOULD NOT": SHOULD,
    "RECOMMENDED": SHOULD,
    "NOT RECOMMENDED": SHOULD,
    "MAY": MAY,
    "OPTIONAL": MAY,
}


class RequirementsError(ValueError):
    """An index, excuse or record of results can't be used; the message says what is wrong and where."""


@dataclass(frozen=True, slots=True)
class Requirement:
    """A normative sentence: its id, its RFC 2119 level and what it asks for, in short."""

    id: str
    level: str
    gist: str

    @property
    def rfc(self) -> str:
        """The RFC it is from, such as `rfc9000`."""
        return self.id.partition(":")[0]

    @property
    def level_class(self) -> str:
        """MUST, SHOULD or MAY: the level without its negation and synonyms (RFC 2119)."""
        return _CLASSES[self.level]


class Index:
    """All requirements by id in the order of their RFCs, and the reasons of those that are excused.

    Raises RequirementsError for a malformed row, an id that occurs twice or an excuse of an id that there isn't.
    """

    __slots__ = ("excuses", "requirements")

    def __init__(self, requirements: dict[str, Requirement], excuses: dict[str, str]) -> None:
        unknown = [id for id in excuses if id not in requirements]
        if unknown:
            raise RequirementsError(f"excuses.tsv: {', '.join(unknown)}: no such id in the index")
        self.requirements = requirements
        self.excuses = excuses

    @classmethod
    def load(cls) -> "Index":
        """Read the index that comes with the package."""
        requirements: dict[str, Requirement] = {}
        for rfc in INDEXED:
            for id, level, gist in _rows(f"index/{rfc}.tsv", ("id", "level", "gist")):
                if level not in _CLASSES or not ID.fullmatch(id) or id.partition(":")[0] != rfc or id in requirements:
                    raise RequirementsError(
                        f"index/{rfc}.tsv: {id}: the id or the level {level!r} is wrong or repeated"
                    )
                requirements[id] = Requirement(id, level, gist)
        return cls(requirements, {row[0]: row[1] for row in _rows("excuses.tsv", ("id", "reason"))})

    def problem(self, id: object) -> str | None:
        """What is wrong with an id that a test or the code names; None if it is one that we know."""
        if not isinstance(id, str) or not ID.fullmatch(id):
            return f"{id!r} is not a requirement's id; one looks like 'rfc9000:13.2.1:3'"
        rfc = id.partition(":")[0]
        if id in self.requirements or rfc in CITED:
            return None
        if rfc in INDEXED:
            return f"{id!r} is not in the index of {rfc}"
        return f"{id!r}: {rfc} is none of {', '.join(sorted((*INDEXED, *CITED)))}"


def _rows(name: str, columns: tuple[str, ...]) -> Iterator[tuple[str, ...]]:
    """The rows of a data file of this package, without its header."""
    lines = resources.files("quicsim.requirements").joinpath(name).read_text(encoding="utf-8").splitlines()
    if not lines or lines[0].split("\t") != list(columns):
        raise RequirementsError(f"{name}: line 1: the columns should be {', '.join(columns)}")
    for number, line in enumerate(lines[1:], 2):
        row = tuple(line.split("\t"))
        if len(row) != len(columns) or not all(row):
            raise RequirementsError(f"{name}: line {number}: {len(columns)} values separated by tabs are needed")
        yield row
