"""The interop runner's endpoint contract: `python -m quicsim.interop.endpoint`, all told by the environment.

ROLE is "client" or "server", TESTCASE a test case, REQUESTS a client's URLs. SSLKEYLOGFILE and QLOGDIR say where
secrets and traces go. Beside what the public runner gives: HOST and PORT (where a server listens, and a client sends to
whatever its URLs say), WWW, DOWNLOADS and CERTS (by default the runner's directories), PROTOCOL ("hq-interop" or "h3").
For "connectionmigration", SERVER_PARAMS may say "preferred=ADDRESS:PORT listen=ADDRESS:PORT": which address to
announce, and where to listen for it; by default both are this host's address and the next port.

Exit codes: 0 all is there, 1 failed, 127 there is no such test case.
"""

import os
import signal
import sys
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from importlib.util import find_spec
from pathlib import Path
from typing import Any, Final

from quicsim.certificates import load_authorities, load_credentials
from quicsim.commands.options import recorded_net
from quicsim.interop import client, server
from quicsim.interop.cases import H3, HQ
from quicsim.interop.client import Client, TransferFailed, parse_request
from quicsim.interop.peers.peer import CERTIFICATE, KEY, ROOT, UNSUPPORTED
from quicsim.outputs import OutputDirectory, OutputError
from quicsim.real.udp import local_host
from stack.errors import ConfigError
from stack.observer import Address

OK: Final = 0
FAILED: Final = 1
_PORT: Final = 443
_RUNNERS_CLIENT: Final = "193.167.0.100"  # in the public runner's network; nothing is sent to find the way there
_PATIENCE: Final[dict[str, Any]] = {"max_idle_timeout_ms": 60_000}


@dataclass(frozen=True, slots=True)
class Contract:
    """What the environment asks for. `host` is None where it says nothing."""

    role: str
    testcase: str
    requests: tuple[str, ...]
    host: str | None
    port: int | None
    www: Path
    downloads: Path
    certs: Path
    protocol: str
    parameters: str
    keylog: Path | None
    qlog: Path | None

    @classmethod
    def of(cls, environment: Mapping[str, str]) -> "Contract":
        """Read an environment. Raises ConfigError."""
        role = environment.get("ROLE", "")
        if role not in ("client", "server"):
            raise ConfigError(f'ROLE = {role!r}: must be "client" or "server"')
        testcase = environment.get("TESTCASE", "")
        if not testcase:
            raise ConfigError("TESTCASE: must be set, such as handshake")
        port = environment.get("PORT", "")
        if port and not (port.isascii() and port.isdecimal() and int(port) < 1 << 16):
            raise ConfigError(f"PORT = {port!r}: must be a UDP port")
        protocol = environment.get("PROTOCOL") or (H3 if testcase == "http3" else HQ)
        if protocol not in (HQ, H3):
            raise ConfigError(f"PROTOCOL = {protocol!r}: must be {HQ} or {H3}")
        keylog, qlog = environment.get("SSLKEYLOGFILE"), environment.get("QLOGDIR")
        return cls(
            role,
            testcase,
            tuple(environment.get("REQUESTS", "").split()),
            environment.get("HOST") or None,
            int(port) if port else None,
            Path(environment.get("WWW") or "/www"),
            Path(environment.get("DOWNLOADS") or "/downloads"),
            Path(environment.get("CERTS") or "/certs"),
            protocol,
            environment.get("SERVER_PARAMS" if role == "server" else "CLIENT_PARAMS", ""),
            Path(keylog) if keylog else None,
            Path(qlog) if qlog else None,
        )


def main(environment: Mapping[str, str] = os.environ) -> int:
    """Do what the environment asks for and return the exit code."""
    try:
        contract = Contract.of(environment)
        known = client.TESTCASES if contract.role == "client" else server.TESTCASES
        if contract.testcase not in known or (contract.protocol == H3 and find_spec("pylsqpack") is None):
            _say(f"there is no test case {contract.testcase} over {contract.protocol}")
            return UNSUPPORTED
        (_run_client if contract.role == "client" else _run_server)(contract)
    except KeyboardInterrupt:
        return OK if environment.get("ROLE") == "server" else FAILED
    except (ConfigError, TransferFailed, OutputError, OSError) as error:
        _say(str(error))
        return FAILED
    return OK


def _run_client(contract: Contract) -> None:
    requests = tuple(parse_request(url) for url in contract.requests)
    if not requests:
        raise ConfigError("REQUESTS: must be one or more URLs")
    job = Client(
        testcase=contract.testcase,
        requests=requests,
        out=OutputDirectory(contract.downloads),
        trust=load_authorities(contract.certs / ROOT, datetime.now(UTC)),
        protocol=contract.protocol,
        host=contract.host,
        port=contract.port,
        options=_PATIENCE,
    )
    with recorded_net("client", contract.qlog, contract.keylog) as net:
        net.run(job.run)


def _run_server(contract: Contract) -> None:
    """Serve until SIGTERM or SIGINT."""
    signal.signal(signal.SIGTERM, lambda *_: signal.raise_signal(signal.SIGINT))
    port = contract.port or _PORT
    credentials = load_credentials(contract.certs / CERTIFICATE, contract.certs / KEY)
    options: dict[str, Any] = dict(_PATIENCE)
    if contract.testcase == "connectionmigration":
        preferred, listen = _preferred(contract, port)
        options[f"preferred_address_v{6 if ':' in preferred[0] else 4}"] = preferred
        options["also"] = (listen,)
    with recorded_net("server", contract.qlog, contract.keylog) as net:
        net.run(
            server.serve,
            contract.testcase,
            contract.www,
            credentials,
            port=port,
            host=contract.host,
            protocol=contract.protocol,
            **options,
        )


def _preferred(contract: Contract, port: int) -> tuple[Address, Address]:
    """Return the address to announce and the one to listen at. Raises ConfigError."""
    if not contract.parameters:
        own = (contract.host or local_host((_RUNNERS_CLIENT, _PORT)), port + 1)
        return own, own
    given = dict(part.partition("=")[::2] for part in contract.parameters.split())
    if given.keys() != {"preferred", "listen"}:
        raise ConfigError(
            f"SERVER_PARAMS = {contract.parameters!r}: must be preferred=ADDRESS:PORT listen=ADDRESS:PORT"
        )
    return _address(given["preferred"]), _address(given["listen"])


def _address(text: str) -> Address:
    host, _, port = text.rpartition(":")
    if not host or not (port.isascii() and port.isdecimal() and 0 < int(port) < 1 << 16):
        raise ConfigError(f"SERVER_PARAMS: {text!r} must be ADDRESS:PORT")
    return host.removeprefix("[").removesuffix("]"), int(port)


def _say(text: str) -> None:
    sys.stderr.write(f"quicsim: {text}\n")


if __name__ == "__main__":
    sys.exit(main())
