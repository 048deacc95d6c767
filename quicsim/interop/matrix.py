"""Results as a matrix of clients and servers: text, JSON, Markdown, and a web page of its own."""

import json
from collections.abc import Sequence
from html import escape
from importlib.resources import files
from string import Template
from typing import Any

from rich.table import Table

from quicsim.interop.cases import BY_ABBREVIATION, Case
from quicsim.interop.results import Result, Status
from quicsim.summary import program_version

_STYLES = {Status.PASSED: "green", Status.FAILED: "bold red", Status.UNSUPPORTED: "yellow"}


class Matrix:
    """Results, looked up by client and server; `note` says how they came about, `command` what was typed for them."""

    def __init__(self, results: Sequence[Result], note: str, command: str = "") -> None:
        self.results = list(results)
        self.note = note
        self.command = command
        self.clients = list(dict.fromkeys(result.client for result in results))
        self.servers = list(dict.fromkeys(result.server for result in results))
        # By abbreviation, for some pairs run a case with another protocol
        self.cases: list[Case] = list({result.case.abbreviation: result.case for result in results}.values())
        self._cells: dict[tuple[str, str], list[Result]] = {}
        for result in results:
            self._cells.setdefault((result.client, result.server), []).append(result)

    def cell(self, client: str, server: str) -> list[Result]:
        """The results of a pair."""
        return self._cells.get((client, server), [])

    def count(self, status: Status) -> int:
        """How many ended so."""
        return sum(result.status is status for result in self.results)

    @property
    def summary(self) -> str:
        """How many there are of each status."""
        counts = [f"{self.count(status)} {status.value}" for status in Status if self.count(status)]
        return ", ".join(counts) or "no results"

    @property
    def failures(self) -> list[Result]:
        """What did not pass although both ends have it."""
        return [result for result in self.results if result.status is Status.FAILED]

    # Text

    def table(self) -> Table:
        """A row for each client, a column for each server; for a single pair, a row for each case."""
        if len(self._cells) == 1:
            return self._list()
        table = Table(title=f"{self.note} (clients in rows, servers in columns)", show_lines=True)
        for heading in ("", *self.servers):
            table.add_column(heading, overflow="fold")
        for client in self.clients:
            table.add_row(client, *(_marks(self.cell(client, server)) for server in self.servers))
        return table

    def _list(self) -> Table:
        table = Table(title=f"{self.clients[0]} with {self.servers[0]}: {self.note}")
        for heading in ("case", "name", "result", "network time", "remark"):
            table.add_column(heading, justify="right" if heading == "network time" else "left")
        for result in self.results:
            mark = f"[{_STYLES[result.status]}]{result.status.mark} {result.status.value}"
            time = f"{result.duration_s:.3f} s" if result.duration_s else ""
            table.add_row(result.case.abbreviation, result.case.name, mark, time, result.goodput or result.reason)
        return table

    # JSON

    def as_json(self) -> str:
        """Everything, for programs."""
        document = {
            "program": f"quicsim {program_version()}",
            "note": self.note,
            "cases": {case.abbreviation: {"name": case.name, "description": case.description} for case in self.cases},
            "results": [_as_dict(result) for result in self.results],
        }
        return json.dumps(document, indent=1, ensure_ascii=False) + "\n"

    # Markdown

    def as_markdown(self) -> str:
        """The matrix, what the cases are, and every reason."""
        lines = ["# Interoperability", ""]
        lines += [f"The test cases of the QUIC interop runner, {self.note}: {self.summary}.", ""]
        if self.command:
            lines += ["Made by", "", f"    {self.command}", ""]
        lines += ["✓ passed, ✕ failed, ? not there in one of the two. Clients in rows, servers in columns.", ""]
        lines += [_row("", *self.servers), _row(*["---"] * (len(self.servers) + 1))]
        for client in self.clients:
            cells = (_markdown_cell(self.cell(client, server)) for server in self.servers)
            lines.append(_row(f"**{client}**", *cells))
        measured = [result for result in self.results if result.goodputs]
        if measured:
            lines += ["", "## Goodput", "", _row("client", "server", "case", "goodput"), _row(*["---"] * 4)]
            lines += [_row(each.client, each.server, each.case.abbreviation, each.goodput) for each in measured]
        headings = {
            Status.FAILED: "Failed",
            Status.PASSED: "Passed with a remark",
            Status.UNSUPPORTED: "Not there",
        }
        for status, heading in headings.items():
            lines += self._markdown_reasons(status, heading)
        lines += ["", "## Test cases", "", _row("case", "name", "what"), _row("---", "---", "---")]
        lines += [_row(case.abbreviation, case.name, case.description) for case in self.cases]
        return "\n".join(lines) + "\n"

    def _markdown_reasons(self, status: Status, heading: str) -> list[str]:
        reasons: dict[tuple[str, str, str], list[str]] = {}
        for each in self.results:
            if each.status is status and each.reason:
                reasons.setdefault((each.client, each.server, each.reason), []).append(each.case.abbreviation)
        if not reasons:
            return []
        lines = ["", f"## {heading}", "", _row("client", "server", "cases", "why"), _row(*["---"] * 4)]
        for (client, server, reason), cases in reasons.items():
            lines.append(_row(client, server, " ".join(cases), reason.replace("|", "\\|").replace("\n", " ")))
        return lines

    # A web page

    def as_html(self) -> str:
        """A page that needs nothing else."""
        page = Template(files("quicsim.interop").joinpath("page.html").read_text(encoding="utf-8"))
        heads = "".join(f"<th>{escape(server)}</th>" for server in self.servers)
        rows = "".join(self._html_row(client) for client in self.clients)
        cases = "".join(
            f"<tr><td><b>{escape(case.abbreviation)}</b></td><td>{escape(case.name)}</td>"
            f"<td>{escape(case.description)}</td></tr>"
            for case in self.cases
        )
        return page.substitute(
            note=escape(self.note),
            summary=escape(self.summary),
            version=escape(program_version()),
            heads=heads,
            rows=rows,
            cases=cases,
            reasons="".join(_html_reason(result) for result in self.results if result.reason or result.goodputs),
        )

    def _html_row(self, client: str) -> str:
        cells = "".join(f"<td>{''.join(map(_badge, self.cell(client, server)))}</td>" for server in self.servers)
        return f"<tr><th>{escape(client)}</th>{cells}</tr>"


def read_results(text: str) -> list[Result]:
    """Return the results of a document that `Matrix.as_json` has made. Raises ValueError for another one."""
    try:
        return [
            Result(
                each["client"],
                each["server"],
                BY_ABBREVIATION[each["case"]],
                Status(each["status"]),
                each["reason"],
                tuple(each["goodput_kbps"]),
                each["seconds"],
            )
            for each in json.loads(text)["results"]
        ]
    except (KeyError, TypeError) as error:
        raise ValueError(f"no results of this program: {error}") from None


def merged(earlier: Sequence[Result], newer: Sequence[Result]) -> list[Result]:
    """Return both; of a case that is in both, the newer result in the place of the earlier one."""
    results = {(each.client, each.server, each.case.abbreviation): each for each in (*earlier, *newer)}
    return list(results.values())


def _marks(results: list[Result]) -> str:
    return " ".join(
        f"[{_STYLES[result.status]}]{result.status.mark}{result.case.abbreviation}[/]" for result in results
    )


def _row(*cells: str) -> str:
    return f"| {' | '.join(cells)} |"


def _markdown_cell(results: list[Result]) -> str:
    parts = []
    for status in Status:
        cases = [result.case.abbreviation for result in results if result.status is status]
        if cases:
            parts.append(f"{status.mark} {' '.join(cases)}")
    return "<br>".join(parts)


def _as_dict(result: Result) -> dict[str, Any]:
    return {
        "client": result.client,
        "server": result.server,
        "case": result.case.abbreviation,
        "status": result.status.value,
        "reason": result.reason,
        "goodput_kbps": [round(each, 1) for each in result.goodputs],
        "seconds": round(result.duration_s, 6),
    }


def _badge(result: Result) -> str:
    about = f"{result.case.name}: {result.reason or result.goodput or result.status.value}"
    return (
        f'<span class="{result.status.value}" title="{escape(about)}">'
        f"{result.status.mark}&#8239;{escape(result.case.abbreviation)}</span>"
    )


def _html_reason(result: Result) -> str:
    return (
        f"<tr><td>{escape(result.client)}</td><td>{escape(result.server)}</td><td>{_badge(result)}</td>"
        f"<td>{escape(result.reason or result.goodput)}</td></tr>"
    )
