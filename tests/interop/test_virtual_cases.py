"""The interop runner's test cases with our stack on both sides, in virtual time, with all of its checks."""

from dataclasses import replace

import pytest

from quicsim.interop.cases import BY_ABBREVIATION, CASES, MB, Case
from quicsim.interop.results import Status
from quicsim.interop.virtual import run_case

# Goodput of a full link, by datagram size: 10 Mbit/s times the share of the file's bytes in what goes over the wire
CEILINGS = {1200: 9472, 1252: 9493, 1280: 9504, 1472: 9567}  # kbit/s


@pytest.mark.parametrize("case", [case for case in CASES if not case.measured], ids=lambda case: case.name)
def test_a_case_passes(case: Case) -> None:
    result = run_case(case)
    assert (result.status, result.reason) == (Status.PASSED, "")


@pytest.mark.parametrize("seed", range(2, 6))
@pytest.mark.parametrize("abbreviation", ["L1", "C1"])
def test_handshakes_complete_whatever_is_lost_or_damaged(abbreviation: str, seed: int) -> None:
    result = run_case(BY_ABBREVIATION[abbreviation], seed)
    assert (result.status, result.reason) == (Status.PASSED, "")


@pytest.mark.parametrize(("size", "ceiling"), CEILINGS.items())
def test_goodput_comes_within_two_percent_of_what_the_link_can_carry(size: int, ceiling: int) -> None:
    result = run_case(replace(BY_ABBREVIATION["G"], repetitions=1), datagram_size=size)
    assert (result.status, result.reason) == (Status.PASSED, "")
    (goodput,) = result.goodputs
    assert 0.98 * ceiling < goodput < ceiling


def test_a_tcp_flow_beside_leaves_a_fair_share() -> None:
    case = replace(BY_ABBREVIATION["C"], files=(5 * MB,), repetitions=1)
    result = run_case(case, congestion="cubic")
    assert (result.status, result.reason) == (Status.PASSED, "")
    (goodput,) = result.goodputs
    assert 2500 < goodput < 7000


def test_a_run_is_told_from_others_by_its_seed_alone() -> None:
    case = BY_ABBREVIATION["L1"]
    first, again, other = (run_case(case, seed).duration_s for seed in (1, 1, 2))
    assert first == again != other


def test_a_case_that_takes_too_long_fails() -> None:
    case = replace(BY_ABBREVIATION["L2"], timeout_s=1)
    result = run_case(case)
    assert (result.status, result.reason) == (Status.FAILED, "not done after 1 s")
