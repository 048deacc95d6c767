"""How much of each RFC is implemented, tested, excused and open."""

from collections import Counter
from collections.abc import Iterable, Iterator

from rich.table import Table

from quicsim.requirements.index import INDEXED, MUST, SHOULD, Index, Requirement
from quicsim.requirements.results import Results


class Report:
    """Joins the index with what the code names and what tests showed.

    Args:
        index: the requirements and excuses.
        implemented: the ids that the code names.
        results: how the tests ended that carry ids.
    """

    __slots__ = ("_implemented", "_index", "_results")

    def __init__(self, index: Index, implemented: Iterable[str], results: Results) -> None:
        self._index = index
        self._implemented = frozenset(implemented)
        self._results = results

    def select(self, rfcs: Iterable[str] = INDEXED, levels: Iterable[str] = (MUST, SHOULD)) -> list[Requirement]:
        """The requirements of some RFCs and level classes, in the order of the index."""
        wanted, classes = frozenset(rfcs), frozenset(levels)
        return [one for one in self._index.requirements.values() if one.rfc in wanted and one.level_class in classes]

    def is_tested(self, requirement: Requirement) -> bool:
        """Whether tests carry its id and all of them passed."""
        return self._results.green(requirement.id)

    def is_excused(self, requirement: Requirement) -> bool:
        """Whether it is excused; a tested one needs no excuse."""
        return requirement.id in self._index.excuses and not self.is_tested(requirement)

    def is_open(self, requirement: Requirement) -> bool:
        """Whether it is neither tested nor excused."""
        return not self.is_tested(requirement) and requirement.id not in self._index.excuses

    def open(self, rfcs: Iterable[str], levels: Iterable[str]) -> list[Requirement]:
        """The open ones among the requirements of some RFCs and level classes."""
        return [one for one in self.select(rfcs, levels) if self.is_open(one)]

    def table(self, rfcs: Iterable[str] = INDEXED) -> Table:
        """A row for each RFC and level class: how many sentences, and how many of them are in each state."""
        table = Table("RFC", "level", title="normative sentences")
        for heading in ("sentences", "implemented", "tested", "excused", "open"):
            table.add_column(heading, justify="right")
        for rfc in rfcs:
            for level in (MUST, SHOULD):
                table.add_row(rfc.removeprefix("rfc"), level, *map(str, self.figures(self.select([rfc], [level]))))
        return table

    def figures(self, requirements: list[Requirement]) -> tuple[int, int, int, int, int]:
        """How many requirements there are, are implemented, tested, excused and open."""
        return (
            len(requirements),
            sum(one.id in self._implemented for one in requirements),
            sum(map(self.is_tested, requirements)),
            sum(map(self.is_excused, requirements)),
            sum(map(self.is_open, requirements)),
        )

    def reasons(self, rfcs: Iterable[str]) -> Iterator[str]:
        """A line for each reason of an excuse: how many it excuses, and why."""
        excuses = Counter(self._index.excuses[one.id] for one in self.select(rfcs) if self.is_excused(one))
        for reason, count in excuses.items():
            yield f"{count:4} excused: {reason}"

    def lines(self, requirements: Iterable[Requirement]) -> Iterator[str]:
        """A line for each requirement: id, level, gist, and what is known about it."""
        for one in requirements:
            tests = self._results.tests.get(one.id, {})
            notes = ["in code"] if one.id in self._implemented else []
            notes += [f"{outcome}: {test}" for test, outcome in tests.items() if not self.is_tested(one)]
            yield f"{one.id}  {one.level}  {one.gist}" + (f"  [{'; '.join(notes)}]" if notes else "")
