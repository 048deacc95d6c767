"""The files below a directory, as servers give them, and what they tell of each request."""

import os
import stat
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO, Final
from urllib.parse import unquote

from stack.observer import Address

BLOCK: Final = 262_144  # bytes that are read or written at a time


@dataclass(frozen=True, slots=True)
class Served:
    """One request as the server saw it; `failure` is empty when the whole file of `size` bytes was handed over."""

    client: Address
    method: str
    path: str
    size: int
    duration_ns: int
    failure: str


class NoSuchFile(Exception):
    """A request names nothing that it may have; the message says why."""


class Files:
    """The files below a directory; what lies outside, or is linked there, can't be had."""

    def __init__(self, root: Path) -> None:
        self._root = root.resolve()

    def open(self, path: str) -> BinaryIO:
        """Open the file that the path of a URL names. Raises NoSuchFile."""
        try:
            wanted = self._root.joinpath(*(part for part in unquote(path).split("/") if part)).resolve()
            if not wanted.is_relative_to(self._root):
                raise NoSuchFile("not below the directory")
            # A named pipe must not make the server wait
            descriptor = os.open(wanted, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC | os.O_NOFOLLOW)
        except (OSError, ValueError, RuntimeError) as error:
            reason = error.strerror if isinstance(error, OSError) else None
            raise NoSuchFile((reason or "no usable path").lower()) from None
        if not stat.S_ISREG(os.fstat(descriptor).st_mode):
            os.close(descriptor)
            raise NoSuchFile("not a regular file")
        return os.fdopen(descriptor, "rb", buffering=0)
