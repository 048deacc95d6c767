"""The quick cases of the experiments hold what they claim; `make experiments` runs all of them."""

import pytest

from quicsim.experiments import Check, Result, experiment, names


@pytest.mark.parametrize("name", [name for name in names() if experiment(name).selected(quick=True)])
def test_the_quick_cases_are_within_their_tolerances(name: str) -> None:
    found = experiment(name)
    cases = found.selected(quick=True)
    results = [Result(dict(case.arguments), found.measure(**case.arguments)) for case in cases]
    checks = found.judge(results)
    assert any(check.ok is not None for check in checks)
    assert [check for check in checks if check.ok is False] == []


def test_a_check_tells_what_is_out_of_its_tolerance() -> None:
    assert Check.relative("", 1.049, 1, 0.05, "").ok
    assert not Check.relative("", 1.051, 1, 0.05, "").ok
    assert Check.absolute("", 4.5, 5, 0.5, "s", "").ok
    assert not Check.absolute("", 4.4, 5, 0.5, "s", "").ok
    assert Check.between("", 7, 7, None, "").ok
    assert not Check.between("", 7, None, 6.9, "").ok
    assert not Check.exact("", [0, 1], [0, 2], "").ok
    assert Check.note("", 3).ok is None
