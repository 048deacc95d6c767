"""Files of a run, which appear under their names only when they are whole."""

import contextlib
import hashlib
import os
from collections.abc import Callable
from pathlib import Path
from typing import IO, AnyStr, Final, Generic

_LONGEST_NAME: Final = 255  # bytes that file systems take


class OutputError(Exception):
    """Results can't be written there; the message says what, where and why."""


class OutputFile(Generic[AnyStr]):
    """A file being written. It gets its name when it is closed, or by leaving a `with` without an exception."""

    def __init__(self, stream: IO[AnyStr], part: Path, complete: Callable[[], object]) -> None:
        self._stream: Final[IO[AnyStr]] = stream
        self._part: Final = part
        self._complete: Final = complete
        self.write: Final[Callable[[AnyStr], int]] = stream.write

    def close(self) -> None:
        """Close the file and give it its name; nothing when it is closed already. Raises OSError, as on a full disk."""
        if not self._stream.closed:
            try:
                self._stream.close()
            except OSError:
                self._part.unlink(missing_ok=True)
                raise
            self._complete()

    def discard(self) -> None:
        """Close the file and remove it."""
        with contextlib.suppress(OSError):  # what could not be written is not missed
            self._stream.close()
        self._part.unlink(missing_ok=True)

    def __enter__(self) -> "OutputFile[AnyStr]":
        return self

    def __exit__(self, kind: object, *_: object) -> None:
        if kind is None:
            self.close()
        else:
            self.discard()


class OutputDirectory:
    """A directory to write results into, made when it is missing. `files` lists what is complete, in order.

    A file is written as ".NAME.part", or under a hash of that where it is too long, and renamed when it is closed; an
    older one of its name is replaced then.
    Raises OutputError when `path` can't be made or written to.
    """

    def __init__(self, path: Path) -> None:
        self.path: Final = path
        self.files: Final[list[str]] = []
        try:
            path.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise OutputError(f"{path}: the output directory can't be made: {error.strerror}") from None
        if not os.access(path, os.W_OK | os.X_OK):
            raise OutputError(f"{path}: must be a directory that can be written to")

    def text(self, name: str) -> OutputFile[str]:
        """Open a new text file in UTF-8. Raises OutputError."""
        part = self._part(name)
        return self._output(name, part, lambda: part.open("w", encoding="utf-8", newline="\n"))

    def binary(self, name: str) -> OutputFile[bytes]:
        """Open a new binary file. Raises OutputError."""
        part = self._part(name)
        return self._output(name, part, lambda: part.open("wb"))

    def _part(self, name: str) -> Path:
        part = f".{name}.part"
        if len(os.fsencode(part)) > _LONGEST_NAME:
            part = f".{hashlib.sha256(os.fsencode(name)).hexdigest()}.part"
        return self.path / part

    def _output(self, name: str, part: Path, open_part: Callable[[], IO[AnyStr]]) -> OutputFile[AnyStr]:
        def complete() -> None:
            part.replace(self.path / name)
            self.files.append(name)

        try:
            return OutputFile(open_part(), part, complete)
        except OSError as error:
            raise OutputError(f"{self.path / name}: can't be written: {error.strerror}") from None
