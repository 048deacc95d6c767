"""Records which requirements the whole test suite shows to hold, for `quicsim requirements`."""

import os
from collections.abc import Generator, Iterator

import pytest
from hypothesis import settings

from quicsim.requirements import Index, Results
from quicsim.requirements.results import RESULTS
from tests.support.compiled import COMPILED

# The same examples in every run, however slow the machine: a failure is one of the change that it comes with
settings.register_profile("repeatable", derandomize=True, deadline=None)
settings.load_profile("repeatable")


@pytest.fixture
def patch_stack(monkeypatch: pytest.MonkeyPatch) -> pytest.MonkeyPatch:
    """For replacing a part of the stack; the test is skipped where it is compiled."""
    if COMPILED:
        pytest.skip("a compiled stack has its calls and constants bound")
    return monkeypatch


MARK = "requirement"
INDEX = Index.load()


def ids_of(item: pytest.Item) -> Iterator[object]:
    for mark in item.iter_markers(MARK):
        yield from mark.args or (None,)


@pytest.hookimpl(wrapper=True)
def pytest_make_collect_report(
    collector: pytest.Collector,
) -> Generator[None, pytest.CollectReport, pytest.CollectReport]:
    """Hand each test's ids to its reports; what names an id that there isn't fails to be collected."""
    report = yield
    problems = []
    for item in report.result or ():
        if isinstance(item, pytest.Item):
            for id in dict.fromkeys(ids_of(item)):
                problem = INDEX.problem(id)
                if problem:
                    problems.append(f"{item.nodeid}: @pytest.mark.requirement: {problem}")
                item.user_properties.append((MARK, id))
    if problems:
        report.outcome = "failed"
        report.longrepr = "\n".join(problems)
        report.result = []
    return report


class Recorder:
    """Gathers the outcomes of a run, from all its workers, and writes them when the whole suite was run."""

    def __init__(self, config: pytest.Config) -> None:
        self._config = config
        self._results = Results()

    def pytest_runtest_logreport(self, report: pytest.TestReport) -> None:
        for name, value in report.user_properties:
            if name == MARK:
                self._results.add(str(value), report.nodeid, report.outcome)

    @pytest.hookimpl(trylast=True)
    def pytest_sessionfinish(self) -> None:
        if self._whole_suite():
            self._results.save(self._config.rootpath / RESULTS)

    def _whole_suite(self) -> bool:
        """A run of a part must not make requirements that its tests don't carry look untested."""
        option = self._config.option
        narrowed = option.keyword or option.markexpr or option.collectonly or option.deselect or option.ignore
        narrowed = narrowed or getattr(option, "lf", False) or getattr(option, "stepwise", False)
        return self._config.args_source is pytest.Config.ArgsSource.TESTPATHS and not narrowed


def pytest_configure(config: pytest.Config) -> None:
    if os.environ.get("QUICSIM_COMPILED") == "1" and not COMPILED:
        raise pytest.UsageError("QUICSIM_COMPILED=1, but the stack in use is not compiled: `make test-compiled`")
    if not hasattr(config, "workerinput"):
        config.pluginmanager.register(Recorder(config), "requirement-recorder")
