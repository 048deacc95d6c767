"""The ids that the code names where it fulfils a normative sentence: those in its comments and docstrings."""

import ast
import io
import tokenize
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Final

import links
import quicsim
import stack
from quicsim.requirements.index import ID

PACKAGES: Final = (stack, links, quicsim)


def ids_in_code(directories: Iterable[Path] | None = None) -> dict[str, list[str]]:
    """Where each id occurs, as `FILE:LINE` in order, in the packages or in the given directories.

    Args:
        directories: folders that are searched with all below them; the packages stack, links and quicsim if None.

    Raises:
        SyntaxError: a file is not Python.
    """
    found: dict[str, list[str]] = {}
    for directory in directories or _package_directories():
        for path in sorted(directory.rglob("*.py")):
            for line, id in _ids(path.read_text(encoding="utf-8")):
                found.setdefault(id, []).append(f"{path.relative_to(directory.parent)}:{line}")
    return found


def _package_directories() -> Iterator[Path]:
    for package in PACKAGES:
        yield from (Path(directory) for directory in package.__path__)


def _ids(source: str) -> Iterator[tuple[int, str]]:
    """Each id in the comments and docstrings of a module's text, with the line where it or its docstring starts."""
    for token in tokenize.generate_tokens(io.StringIO(source).readline):
        if token.type == tokenize.COMMENT:
            for match in ID.finditer(token.string):
                yield token.start[0], match.group()
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.Module | ast.ClassDef | ast.FunctionDef | ast.AsyncFunctionDef):
            for match in ID.finditer(ast.get_docstring(node, clean=False) or ""):
                yield node.body[0].lineno, match.group()
