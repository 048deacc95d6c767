"""Which normative sentences are implemented, tested, excused and open, and how the test suite records that."""

import json
import re
import subprocess
import sys
from pathlib import Path

import pytest
from typer.testing import CliRunner

from quicsim.cli import app
from quicsim.requirements import Index, Report, Requirement, RequirementsError, Results, ids_in_code
from quicsim.requirements.index import INDEXED

ROOT = Path(__file__).resolve().parents[2]
SENTENCES = ROOT.parent / "shared" / "rfc" / "requirements"
INDEX = Index.load()
LONGEST_SHARED_RUN = 4
CONFTEST = (ROOT / "tests" / "conftest.py").read_text()

ACK = Requirement("rfc9000:13.2.1:3", "MUST NOT", "one acknowledgment each")
PAD = Requirement("rfc9000:14.1:1", "MUST", "padding")
IANA = Requirement("rfc9000:22.2:1", "MUST NOT", "unassigned")
BUNDLE = Requirement("rfc9000:13.2:1", "SHOULD", "bundling")


def quicsim(*arguments):
    return CliRunner().invoke(app, ["requirements", *map(str, arguments)])


def words(text):
    return re.findall(r"[a-z0-9_'^-]+", text.lower())


def runs(text, length):
    found = words(text)
    return {tuple(found[start : start + length]) for start in range(len(found) - length + 1)}


def results(**outcomes):
    found = Results()
    for one, outcome in outcomes.items():
        found.add(globals()[one].id, f"test_{one}", outcome)
    return found


def small_report(found):
    requirements = {one.id: one for one in (ACK, PAD, IANA, BUNDLE)}
    return Report(Index(requirements, {IANA.id: "binds IANA"}), [ACK.id], found)


def test_index_has_every_normative_sentence_of_the_quic_rfcs():
    assert len(INDEX.requirements) == 853
    assert {one.rfc for one in INDEX.requirements.values()} == set(INDEXED)


def test_gists_have_a_dozen_words_at_most():
    assert [one for one in INDEX.requirements.values() if len(one.gist.split()) > 12] == []


@pytest.mark.parametrize("rfc", INDEXED)
def test_index_agrees_with_the_rfc_and_gists_are_in_own_words(rfc):
    path = SENTENCES / f"{rfc}.tsv"
    if not path.exists():
        pytest.skip("the RFCs' sentences are not next to this clone")
    rows = [line.split("\t") for line in path.read_text(encoding="utf-8").splitlines()[1:]]
    ours = {one.id: one for one in INDEX.requirements.values() if one.rfc == rfc}
    assert [(one.id, one.level) for one in ours.values()] == [(id, level) for id, level, *_ in rows]
    length = LONGEST_SHARED_RUN + 1
    assert [id for id, _, _, sentence in rows if runs(ours[id].gist, length) & runs(sentence, length)] == []


def test_code_names_only_sentences_that_there_are():
    wrong = {id: where for id, where in ids_in_code().items() if INDEX.problem(id)}
    assert wrong == {}


def test_ids_are_found_in_comments_and_docstrings_but_not_in_other_strings(tmp_path):
    package = tmp_path / "package"
    package.mkdir()
    (package / "module.py").write_text(
        '"""First (rfc9000:1:1)."""\nX = "rfc9000:1:2"  # rfc9000:1:3, rfc9000:1:4 too\n'
        'def f():\n    """Second: rfc9000:1:5."""\n    return "# rfc9000:1:6"  # rfc9000:1:3\n'
    )
    where = Path("package", "module.py")
    assert ids_in_code([package]) == {
        "rfc9000:1:1": [f"{where}:1"],
        "rfc9000:1:3": [f"{where}:2", f"{where}:5"],
        "rfc9000:1:4": [f"{where}:2"],
        "rfc9000:1:5": [f"{where}:4"],
    }


@pytest.mark.parametrize(
    ("id", "problem"),
    [
        ("rfc9000:13.2.1:99", "is not in the index of rfc9000"),
        ("rfc9999:1:1", "rfc9999 is none of rfc8446, "),
        ("13.2.1", "is not a requirement's id"),
        (7, "is not a requirement's id"),
    ],
)
def test_ids_that_there_are_not_are_told_why(id, problem):
    assert problem in INDEX.problem(id)


def test_ids_of_other_rfcs_may_be_named():
    assert INDEX.problem("rfc8446:key-clienthello:1") is None


def test_excuse_of_an_unknown_id_is_refused():
    with pytest.raises(RequirementsError, match="rfc9000:1:1: no such id"):
        Index({ACK.id: ACK}, {"rfc9000:1:1": "no reason"})


def test_no_optional_sentence_is_excused():
    assert [id for id in INDEX.excuses if INDEX.requirements[id].level_class == "MAY"] == []


def test_sentence_is_tested_when_all_its_tests_passed():
    report = small_report(results(ACK="passed", PAD="skipped", BUNDLE="failed"))
    assert report.figures(report.select(levels=["MUST"])) == (3, 1, 1, 1, 1)
    assert report.open(["rfc9000"], ["MUST", "SHOULD"]) == [PAD, BUNDLE]


@pytest.mark.parametrize("outcomes", [["failed", "passed"], ["passed", "failed"], ["passed", "skipped"]])
def test_one_test_that_did_not_pass_makes_a_sentence_untested(outcomes):
    found = Results()
    for number, outcome in enumerate(outcomes):
        found.add(ACK.id, f"test_{number}", outcome)
    assert not found.green(ACK.id)


def test_test_whose_teardown_fails_did_not_pass():
    found = Results()
    for outcome in ("passed", "passed", "failed"):
        found.add(ACK.id, "test", outcome)
    assert not found.green(ACK.id)


def test_tested_sentence_needs_no_excuse():
    report = small_report(results(IANA="passed"))
    assert (report.is_tested(IANA), report.is_excused(IANA), report.is_open(IANA)) == (True, False, False)


def test_results_survive_being_written_and_read(tmp_path):
    path = tmp_path / "build" / "results.json"
    found = results(ACK="passed", PAD="failed")
    found.save(path)
    assert Results.load(path).tests == found.tests
    assert Results.load(tmp_path / "none.json").tests == {}


@pytest.mark.parametrize("content", ["", "[]", '{"tests": {"rfc9000:1:1": {"test": "maybe"}}}', '{"tests": 1}'])
def test_unusable_results_are_refused(tmp_path, content):
    path = tmp_path / "results.json"
    path.write_text(content)
    shown = quicsim("--results", path)
    assert shown.exit_code == 2
    assert "not a record of test results" in shown.stderr


def test_command_shows_a_table_and_lists_what_is_open(tmp_path):
    path = tmp_path / "results.json"
    found = Results()
    found.add("rfc9287:3:1", "test", "passed")
    found.add("rfc9287:3:2", "test", "failed")
    found.save(path)
    shown = quicsim("--results", path, "--rfc", 9287, "--open")
    assert shown.exit_code == 0
    assert re.search(r"9287 │ MUST +│ +7 │ +\d+ │ +1 │ +1 │ +5 │", shown.stdout)
    assert "1 excused: binds the authors" in shown.stdout
    assert "rfc9287:3:1 " not in shown.stdout
    assert re.search(r"rfc9287:3:2  MUST  .*failed: test", shown.stdout)


@pytest.mark.parametrize(("level", "code"), [("MUST", 0), ("SHOULD", 1)])
def test_requiring_tests_fails_while_a_sentence_of_that_level_is_open(tmp_path, level, code):
    path = tmp_path / "results.json"
    found = Results()
    for one in INDEX.requirements.values():
        if one.level_class == "MUST":
            found.add(one.id, "test", "passed")
    found.save(path)
    shown = quicsim("--results", path, "--require-tested", level)
    assert shown.exit_code == code
    assert ("rfc9287:3.1:1  SHOULD" in shown.stderr) is (code == 1)


def test_results_that_are_missing_count_as_nothing_tested(tmp_path):
    shown = quicsim("--results", tmp_path / "none.json", "--require-tested", "MUST", "--rfc", "rfc8999")
    assert shown.exit_code == 1
    assert "none.json is missing" in shown.stderr
    assert "5 sentences are neither tested nor excused" in shown.stderr


def test_rfc_without_an_index_is_refused():
    shown = quicsim("--rfc", 8446)
    assert shown.exit_code == 2
    assert "no index of it, only of rfc8999" in shown.stderr


@pytest.fixture
def suite(tmp_path):
    """Write a test file next to a copy of our conftest, and run it as a whole suite of its own."""

    def run(test, *arguments):
        (tmp_path / "tests").mkdir(exist_ok=True)
        (tmp_path / "tests" / "conftest.py").write_text(CONFTEST)
        (tmp_path / "tests" / "test_suite.py").write_text(test)
        (tmp_path / "pytest.ini").write_text(
            f"[pytest]\ntestpaths = tests\npythonpath = {ROOT}\nmarkers =\n  requirement(id): normative sentence\n"
        )
        command = [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", *arguments]
        return subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, check=False)

    return run


SUITE = """
import pytest

@pytest.mark.requirement("rfc9000:14.1:1")
@pytest.mark.requirement("rfc9000:8.1:4")
def test_passes(): pass

@pytest.mark.requirement("rfc9000:14.1:2")
@pytest.mark.parametrize("n", [1, 2])
def test_fails_once(n): assert n == 1

@pytest.mark.requirement("rfc9000:14.1:4")
def test_skips(): pytest.skip("why")
"""


@pytest.mark.parametrize("workers", [(), ("-n", "1")], ids=["alone", "with workers"])
def test_whole_suite_records_how_the_tests_of_each_id_ended(suite, tmp_path, workers):
    assert suite(SUITE, *workers).returncode == 1
    here = "tests/test_suite.py::test_"
    assert json.loads((tmp_path / "build" / "requirements.json").read_text())["tests"] == {
        "rfc9000:14.1:1": {f"{here}passes": "passed"},
        "rfc9000:8.1:4": {f"{here}passes": "passed"},
        "rfc9000:14.1:2": {f"{here}fails_once[1]": "passed", f"{here}fails_once[2]": "failed"},
        "rfc9000:14.1:4": {f"{here}skips": "skipped"},
    }


@pytest.mark.parametrize("part", [["-k", "passes"], ["tests/test_suite.py"]], ids=["by name", "by file"])
def test_run_of_a_part_records_nothing(suite, tmp_path, part):
    assert "passed" in suite(SUITE, *part).stdout
    assert not (tmp_path / "build").exists()


@pytest.mark.parametrize("workers", [(), ("-n", "1")], ids=["alone", "with workers"])
def test_test_that_names_an_unknown_id_is_not_collected(suite, workers):
    run = suite(SUITE.replace("8.1:4", "8.1:400"), *workers)
    assert run.returncode != 0
    assert "tests/test_suite.py::test_passes: @pytest.mark.requirement: 'rfc9000:8.1:400' is not in" in run.stdout
