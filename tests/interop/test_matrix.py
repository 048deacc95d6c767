"""The matrix of results: as text, JSON, Markdown and a web page."""

import json
import re
from dataclasses import replace

import pytest
from rich.console import Console

from quicsim.interop.cases import BY_ABBREVIATION
from quicsim.interop.matrix import Matrix, merged, read_results
from quicsim.interop.results import Result, Status

H, G, S = (BY_ABBREVIATION[name] for name in "HGS")
RESULTS = [
    Result("one", "two", H, Status.PASSED, duration_s=0.5),
    Result("one", "two", G, Status.PASSED, "", (9000.0, 9100.0)),
    Result("one", "two", S, Status.FAILED, "the token | is <gone>"),
    Result("two", "one", H, Status.UNSUPPORTED, "two is no client"),
]


def matrix(results: list[Result] = RESULTS) -> Matrix:
    return Matrix(results, "on a test bench", "quicsim interop --case H")


def printed(shown: Matrix) -> str:
    console = Console(width=200)
    with console.capture() as capture:
        console.print(shown.table())
    return capture.get()


def test_text_has_a_row_for_each_client_and_a_column_for_each_server() -> None:
    text = printed(matrix())
    assert "✓H ✓G ✕S" in text
    assert "?H" in text
    assert matrix().summary == "2 passed, 1 failed, 1 unsupported"


def test_text_of_a_single_pair_has_a_row_for_each_case() -> None:
    text = printed(matrix(RESULTS[:3]))
    assert "handshake" in text
    assert "0.500 s" in text
    assert "9050 ± 71 kbit/s" in text
    assert "the token | is <gone>" in text


def test_a_case_is_described_once_though_pairs_run_it_with_different_protocols() -> None:
    over_h3 = Result("one", "three", replace(H, protocol="h3"), Status.PASSED)
    assert [case.abbreviation for case in matrix([*RESULTS, over_h3]).cases] == ["H", "G", "S"]


def test_json_has_everything_and_is_read_again() -> None:
    text = matrix().as_json()
    document = json.loads(text)
    assert document["cases"]["H"]["name"] == "handshake"
    assert document["results"][2] == {
        "client": "one",
        "server": "two",
        "case": "S",
        "status": "failed",
        "reason": "the token | is <gone>",
        "goodput_kbps": [],
        "seconds": 0.0,
    }
    assert read_results(text) == RESULTS


@pytest.mark.parametrize("text", ["", "[]", "{}", '{"results": [{}]}'])
def test_other_json_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match=r"Expecting value|no results of this program"):
        read_results(text)


def test_newer_results_take_the_place_of_earlier_ones() -> None:
    newer = [Result("one", "two", S, Status.PASSED), Result("one", "one", H, Status.PASSED)]
    assert merged(RESULTS, newer) == [*RESULTS[:2], newer[0], RESULTS[3], newer[1]]


def test_markdown_says_how_it_was_made_and_why_something_failed() -> None:
    text = matrix().as_markdown()
    assert "    quicsim interop --case H" in text
    assert "| **one** | ✓ H G<br>✕ S |  |" in text
    assert r"| one | two | S | the token \| is <gone> |" in text
    assert "| two | one | H | two is no client |" in text
    assert "| one | two | G | 9050 ± 71 kbit/s |" in text


def test_markdown_has_the_remark_on_what_passed() -> None:
    text = matrix([*RESULTS, Result("two", "two", H, Status.PASSED, "just so")]).as_markdown()
    assert "## Passed with a remark\n" in text
    assert text.index("## Passed with") < text.index("| two | two | H | just so |") < text.index("## Not there")
    assert "remark" not in matrix().as_markdown()


def test_the_page_needs_nothing_else_and_escapes_what_programs_say() -> None:
    page = matrix().as_html()
    assert "the token | is &lt;gone&gt;" in page
    assert not re.search(r"(src|href)=|@import|url\(", page)
    assert page.count('class="failed" title=') == 2  # in the matrix, and among the remarks
