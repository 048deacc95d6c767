"""Who takes part: our own endpoint, the other implementations, and programs that somebody names in a file."""

import shlex
import shutil
import sys
import tomllib
from importlib.util import find_spec
from pathlib import Path
from typing import ClassVar, Final

from quicsim.interop import client, server
from quicsim.interop.peers import H3, HQ, PEERS, Peer, Role, Setting
from stack.errors import ConfigError

OURS: Final = "quicsim"
STAYING: Final = ("qh3", "quic-go", "quinn", "chromium")  # clients that leave a server's preferred address alone


class Ours(Peer):
    """This implementation."""

    name: ClassVar = OURS
    protocols: ClassVar = (HQ, H3) if find_spec("pylsqpack") else (HQ,)
    testcases: ClassVar = {Role.CLIENT: client.TESTCASES, Role.SERVER: server.TESTCASES}

    def missing(self) -> str | None:
        """See `Peer`."""
        return None

    def argv(self, role: Role, testcase: str, setting: Setting) -> tuple[str, ...]:
        """See `Peer`."""
        return sys.executable, "-m", "quicsim.interop.endpoint"


class Program(Peer):
    """A program that obeys the contract; which test cases it has, its exit codes tell."""

    def __init__(self, name: str, commands: dict[Role, tuple[str, ...]], protocols: tuple[str, ...]) -> None:
        self._commands = commands
        self.name = name  # type: ignore[misc]
        self.protocols = protocols  # type: ignore[misc]

    @property
    def roles(self) -> tuple[Role, ...]:
        """The roles that it has."""
        return tuple(self._commands)

    def missing(self) -> str | None:
        """See `Peer`."""
        for command in self._commands.values():
            if shutil.which(command[0]) is None:
                return f"the program {command[0]}"
        return None

    def supports(self, testcase: str, role: Role) -> bool:
        """See `Peer`."""
        return role in self._commands

    def argv(self, role: Role, testcase: str, setting: Setting) -> tuple[str, ...]:
        """See `Peer`."""
        return self._commands[role]


def known_endpoints(file: Path | None = None) -> dict[str, Peer]:
    """Return all endpoints by name, with those of a TOML file. Raises ConfigError for a file that can't be used.

    [endpoints.mine]
    client = "my-client --quiet"               # a command line, or a list of arguments; obeys the runner's contract
    server = ["my-server", "-v"]
    protocols = ["hq-interop", "h3"]           # by default hq-interop
    """
    endpoints = {OURS: Ours(), **PEERS}
    if file is not None:
        endpoints.update(_read(file))
    return endpoints


def _read(file: Path) -> dict[str, Peer]:
    try:
        document = tomllib.loads(file.read_text(encoding="utf-8"))
    except OSError as error:
        raise ConfigError(f"{file}: can't be read: {error.strerror}") from None
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise ConfigError(f"{file}: must be TOML: {error}") from None
    tables = document.get("endpoints")
    if not isinstance(tables, dict) or set(document) != {"endpoints"}:
        raise ConfigError(f"{file}: must have tables [endpoints.NAME], and nothing else")
    return {name: _program(f"{file}: endpoints.{name}", name, table) for name, table in tables.items()}


def _program(where: str, name: str, table: object) -> Program:
    if not isinstance(table, dict) or not table.keys() <= {"client", "server", "protocols"}:
        raise ConfigError(f"{where}: must be a table with client, server and protocols")
    commands = {role: _command(f"{where}.{role}", table[role]) for role in Role if role in table}
    if not commands:
        raise ConfigError(f"{where}: must have a client, a server or both")
    protocols = table.get("protocols", [HQ])
    if not isinstance(protocols, list) or not protocols or not set(protocols) <= {HQ, H3}:
        raise ConfigError(f"{where}.protocols: must be a list of {HQ} and {H3}")
    return Program(name, commands, tuple(protocols))


def _command(where: str, value: object) -> tuple[str, ...]:
    words = shlex.split(value) if isinstance(value, str) else value
    if not isinstance(words, list) or not words or not all(isinstance(word, str) for word in words):
        raise ConfigError(f"{where}: must be a command line, or a list of its words")
    return tuple(words)
