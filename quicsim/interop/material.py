"""What a test case needs on disk: files to fetch, and the certificates of the server."""

from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from random import Random
from string import ascii_lowercase
from typing import Final

from quicsim.authority import Issued, issue
from quicsim.interop.cases import Case

SERVER_NAMES: Final = ("server", "server4", "server6", "server46", "localhost", "127.0.0.1", "::1")
_LONG_CHAIN_FILLERS: Final = 24  # names that bring the handshake with a long chain to what the check asks for
_FILLER_LABEL: Final = 60  # characters
_DAYS: Final = 30


@dataclass(frozen=True, slots=True)
class Material:
    """The files of a run: their names, in the directory that the server serves, and where they are to arrive."""

    www: Path
    downloads: Path
    names: tuple[str, ...]


def make_files(case: Case, directory: Path, rng: Random) -> Material:
    """Write files of random bytes as a case asks for, below `directory`."""
    www, downloads = directory / "www", directory / "downloads"
    www.mkdir(parents=True)
    downloads.mkdir()
    names = []
    for size in case.files:
        name = "".join(rng.choices(ascii_lowercase, k=case.name_length))
        (www / name).write_bytes(rng.randbytes(size))
        names.append(name)
    return Material(www, downloads, tuple(names))


def make_certificates(case: Case, rng: Random, begin: datetime | None = None) -> Issued:
    """Return the server's chain, of as many certificates as a case asks for; valid from `begin`, by default today."""
    names = list(SERVER_NAMES)
    if case.chain > 1:
        label = "x" * _FILLER_LABEL
        names += [f"{label}.{label}.name{number}.test" for number in range(_LONG_CHAIN_FILLERS)]
    if begin is None:
        begin = datetime.now(UTC).replace(hour=0, minute=0, second=0, microsecond=0)
    return issue(names, begin, rng, length=case.chain, days=_DAYS)
