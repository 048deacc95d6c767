"""What several commands are given alike: whom to trust, what to record, and host and port."""

import contextlib
import ssl
import warnings
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Annotated, Any, Final, TypeAlias

import typer
from cryptography.utils import CryptographyDeprecationWarning

from quicsim.certificates import load_authorities, load_pinned, test_certificate
from quicsim.commands.exits import BAD_INPUT, Failure
from quicsim.keylog import KeyLog
from quicsim.net import Trust
from quicsim.observers import Observers
from quicsim.outputs import OutputDirectory
from quicsim.pcapng import HostCapture
from quicsim.qlog import QlogObserver
from quicsim.real.net import RealNet
from stack.congestion import check_registered, registered
from stack.errors import ConfigError
from stack.observer import Observer
from stack.tls.certificates import Anybody
from stack.wire.versions import VERSION_1, VERSION_2

TEST: Final = "test"  # what --pin takes for the test certificate

Insecure: TypeAlias = Annotated[
    bool, typer.Option("--insecure", help="Accept any certificate: whoever is on the way can read and change all.")
]
Ca: TypeAlias = Annotated[
    Path | None, typer.Option("--ca", help="PEM file of the roots to trust, in place of the system's.")
]
Pin: TypeAlias = Annotated[
    str | None,
    typer.Option(
        "--pin", metavar="FILE", help='Accept just the certificates of this PEM file; "test": the test certificate.'
    ),
]
Qlog: TypeAlias = Annotated[Path | None, typer.Option("--qlog", help="Directory for a qlog trace per connection.")]
KeyLogFile: TypeAlias = Annotated[
    Path | None,
    typer.Option("--keylog", envvar="SSLKEYLOGFILE", help="File that the TLS secrets are appended to."),
]
Pcap: TypeAlias = Annotated[
    Path | None, typer.Option("--pcap", help="pcapng file of all datagrams, with the TLS secrets inside.")
]

Timeout: TypeAlias = Annotated[
    float,
    typer.Option("--timeout", min=0.001, help="Seconds without an answer, but three probe timeouts, until giving up."),
]


def _registered(name: str) -> str:
    try:
        check_registered(name)
    except ConfigError as error:
        raise Failure(BAD_INPUT, str(error).replace("congestion =", "--congestion", 1)) from None
    return name


Congestion: TypeAlias = Annotated[
    str,
    typer.Option("--congestion", callback=_registered, help=f"How to send: {', '.join(registered())}."),
]

# Paths of the real world mostly take more than the least that QUIC asks for
REAL_NETWORK: Final[dict[str, Any]] = {"path_mtu_discovery": True}


def connection_options(insecure: bool, ca: Path | None, pin: str | None, timeout: float) -> dict[str, Any]:
    """Return options for `Net.connect`. Raises Failure."""
    idle_ms = max(round(timeout * 1000), 1)
    return {"trust": trust(insecure, ca, pin), "max_idle_timeout_ms": idle_ms, **REAL_NETWORK}


def version_name(version: int) -> str:
    """Return a QUIC version for people."""
    return {VERSION_1: "1", VERSION_2: "2"}.get(version, f"0x{version:x}")


def trust(insecure: bool, ca: Path | None, pin: str | None) -> Trust:
    """Return which servers to trust. Raises Failure."""
    if (insecure, ca is not None, pin is not None).count(True) > 1:
        raise Failure(BAD_INPUT, "--insecure, --ca, --pin: must be one of them at most")
    try:
        if insecure:
            return Anybody()
        if pin is not None:
            return test_certificate() if pin == TEST else load_pinned(pin)
        roots = ca or ssl.get_default_verify_paths().cafile
        if roots is None:
            raise Failure(BAD_INPUT, "this system has no file of trusted roots: give --ca, --pin or --insecure")
        with warnings.catch_warnings():
            # Some roots of some systems are old-fashioned, which is not for us to mend
            warnings.simplefilter("ignore", CryptographyDeprecationWarning)
            return load_authorities(roots, datetime.now(UTC))
    except ConfigError as error:
        raise Failure(BAD_INPUT, str(error)) from None


def host_and_port(text: str, default: int) -> tuple[str, int]:
    """Split HOST, HOST:PORT or [ADDRESS]:PORT. Raises Failure."""
    host, colon, port = text.rpartition(":") if text.count(":") == 1 or "]:" in text else (text, "", "")
    host = host.removeprefix("[").removesuffix("]")
    if not host or (colon and not (port.isascii() and port.isdecimal() and 1 <= int(port) <= 65_535)):
        raise Failure(BAD_INPUT, f"{text}: must be HOST:PORT, such as localhost:4433 or [::1]:4433")
    return host, int(port) if colon else default


@contextlib.contextmanager
def recorded_net(name: str, qlog: Path | None, keylog: Path | None, pcap: Path | None = None) -> Iterator[RealNet]:
    """Give a net whose connections are recorded; the files are complete at the end. Raises OutputError."""
    observers: list[Observer] = []
    with contextlib.ExitStack() as files:
        if qlog is not None:
            observers.append(traces := QlogObserver(name, OutputDirectory(qlog).text))
            files.callback(traces.close)
        if keylog is not None:
            observers.append(log := KeyLog(keylog))
            files.callback(log.close)
        capture = None
        if pcap is not None:
            file = files.enter_context(OutputDirectory(pcap.parent).binary(pcap.name))
            observers.append(capture := HostCapture(name))
            files.callback(capture.save, file.write)
        yield RealNet(
            observer=Observers(observers) if observers else None, tap=None if capture is None else capture.datagram
        )
