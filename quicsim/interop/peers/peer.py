"""What an implementation of QUIC must be to take part: the program of a client and of a server for each test case.

The programs obey the interop runner's contract. Their environment says what to do: ROLE, TESTCASE, REQUESTS (a client's
URLs, separated by blanks), SSLKEYLOGFILE, QLOGDIR, SERVER_PARAMS, CLIENT_PARAMS, and the directories WWW (what a server
serves), DOWNLOADS (where a client puts what it gets), CERTS (ca.pem; a server's cert.pem and priv.key): in the runner's
containers /www, /downloads and /certs. HOST and PORT are where a server listens and where a client sends
to, whatever its URLs say. PROTOCOL, "hq-interop" or "h3", is the ALPN identifier. The exit code is 0 for success, 1 for
failure and UNSUPPORTED; some programs exit with 0 whatever happens, so that files and captures must decide.
"""

import os
import sys
from abc import ABC, abstractmethod
from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path
from typing import ClassVar, Final

HQ: Final = "hq-interop"
H3: Final = "h3"
UNSUPPORTED: Final = 127  # exit code of an endpoint that does not have a test case

CERTIFICATE: Final = "cert.pem"  # the chain in CERTS, leaf first
KEY: Final = "priv.key"
ROOT: Final = "ca.pem"

_DECLINE: Final = (sys.executable, "-c", f"raise SystemExit({UNSUPPORTED})")


class Role(StrEnum):
    """Which end of a connection."""

    CLIENT = "client"
    SERVER = "server"


@dataclass(frozen=True, slots=True)
class Setting:
    """Where an endpoint runs one test case.

    `host` (an IP address) and `port` are where a server listens and a client sends to. `requests` are a client's URLs.
    `logs` takes traces and is the working directory; all directories must exist. `parameters` is for the endpoint alone
    (SERVER_PARAMS or CLIENT_PARAMS).
    """

    host: str
    port: int
    www: Path
    downloads: Path
    certs: Path
    logs: Path
    keylog: Path
    protocol: str = HQ
    requests: tuple[str, ...] = ()
    parameters: str = ""


@dataclass(frozen=True, slots=True)
class Command:
    """What to run: the program with its arguments, its whole environment, its working directory."""

    argv: tuple[str, ...]
    env: Mapping[str, str]
    cwd: Path


class Peer(ABC):
    """An implementation: its name, the roles and the protocols that it has, and its test cases in each role.

    Test cases are named as the contract's TESTCASE. `limits` tell, by a case's abbreviation, what is known of why it
    can't pass, or not always, whoever is at the other end; it is run all the same.
    """

    name: ClassVar[str]
    protocols: ClassVar[tuple[str, ...]]
    testcases: ClassVar[Mapping[Role, frozenset[str]]]
    limits: ClassVar[Mapping[Role, Mapping[str, str]]] = {}

    @property
    def roles(self) -> tuple[Role, ...]:
        """The roles that it has."""
        return tuple(self.testcases)

    @abstractmethod
    def missing(self) -> str | None:
        """Return what must be installed before it runs here, and how; None when all is there."""

    @abstractmethod
    def argv(self, role: Role, testcase: str, setting: Setting) -> tuple[str, ...]:
        """Return the program of an endpoint and its arguments."""

    def supports(self, testcase: str, role: Role) -> bool:
        """Whether it has a test case in a role."""
        return testcase in self.testcases.get(role, ())

    def command(self, role: Role, testcase: str, setting: Setting) -> Command:
        """Return what to run for a test case; for one that it does not have, what just exits with UNSUPPORTED."""
        argv = self.argv(role, testcase, setting) if self.supports(testcase, role) else _DECLINE
        return Command(argv, environment(role, testcase, setting), setting.logs)


def environment(role: Role, testcase: str, setting: Setting) -> dict[str, str]:
    """Return this process's environment with what the contract adds."""
    return {
        **os.environ,
        "ROLE": role.value,
        "TESTCASE": testcase,
        "REQUESTS": " ".join(setting.requests),
        "PROTOCOL": setting.protocol,
        "HOST": setting.host,
        "PORT": str(setting.port),
        "WWW": str(setting.www.resolve()),
        "DOWNLOADS": str(setting.downloads.resolve()),
        "CERTS": str(setting.certs.resolve()),
        "QLOGDIR": str(setting.logs.resolve()),
        "SSLKEYLOGFILE": str(setting.keylog.resolve()),
        f"{role.name}_PARAMS": setting.parameters,
    }
