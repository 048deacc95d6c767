"""`quicsim serve`: the files of a directory over QUIC."""

import os
import signal
from collections.abc import Callable, Coroutine
from enum import StrEnum
from pathlib import Path
from typing import Annotated, Any, Final, TypeAlias

import typer

from quicsim import hq
from quicsim.applications import DEFAULT_PORT
from quicsim.certificates import load_credentials, test_certificate
from quicsim.commands.exits import BAD_INPUT, FAILED, Failure, errors
from quicsim.commands.http import require_h3
from quicsim.commands.options import REAL_NETWORK, KeyLogFile, Pcap, Qlog, recorded_net
from quicsim.connection import Listener
from quicsim.files import Files, Served
from quicsim.real.net import RealNet
from stack.errors import ConfigError
from stack.tls.certificates import Credentials

# A GET that somebody has recorded and repeats does no harm, so it may come as 0-RTT
SESSIONS: Final[dict[str, Any]] = {"tickets": 2, "early_data": True, "new_token": True}
PATIENCE_NS: Final = 5 * 10**9  # for responses under way when the server is to end


Port: TypeAlias = Annotated[int, typer.Option("--port", min=0, max=65_535, help="UDP port; 0 takes a free one.")]
Host: TypeAlias = Annotated[
    str | None, typer.Option("--host", help="Address to listen at.", show_default="all of this machine")
]
Cert: TypeAlias = Annotated[
    Path | None,
    typer.Option("--cert", help="PEM file with the chain, leaf first.", show_default="the test certificate"),
]
Key: TypeAlias = Annotated[
    Path | None, typer.Option("--key", help="PEM file with the leaf's private key.", show_default=False)
]


class Retry(StrEnum):
    """When clients must prove their address first."""

    ALWAYS = "always"
    LOAD = "load"
    NEVER = "never"


def serve(
    directory: Annotated[Path, typer.Argument(metavar="DIR", help="What to serve.", show_default=False)],
    port: Port = DEFAULT_PORT,
    host: Host = None,
    cert: Cert = None,
    key: Key = None,
    h3: Annotated[bool, typer.Option("--h3", help="Serve HTTP/3 beside hq-interop.")] = False,
    retry: Annotated[Retry, typer.Option(help="When clients must prove their address with a Retry.")] = Retry.LOAD,
    qlog: Qlog = None,
    keylog: KeyLogFile = None,
    pcap: Pcap = None,
) -> None:
    """Serve the files below DIR to `quicsim get` and other clients of hq-interop, until Ctrl-C.

    With --h3 to browsers and other clients of HTTP/3 too. Ctrl-C lets these finish what has begun; a second one does
    not.
    """
    if not directory.is_dir() or not os.access(directory, os.R_OK | os.X_OK):
        raise Failure(BAD_INPUT, f"{directory}: must be a directory that can be read")
    application = _serve_both if h3 else _serve_files
    if h3:
        require_h3()
    shown = credentials(cert, key)
    with recorded_net("server", qlog, keylog, pcap) as net:
        run_server(net, application, directory, shown, host=host, port=port, retry=retry.value)


async def _serve_files(net: RealNet, directory: Path, shown: Credentials, **options: Any) -> None:
    listener = await net.listen(credentials=shown, alpn=(hq.ALPN,), **SESSIONS, **REAL_NETWORK, **options)
    _say_serving(directory, listener, hq.ALPN)
    await hq.serve(net, listener, directory, _show)


async def _serve_both(net: RealNet, directory: Path, shown: Credentials, **options: Any) -> None:
    """Serve HTTP/3 and hq-interop on one port: ALPN tells which."""
    from quicsim import h3

    listener = await net.listen(credentials=shown, alpn=(h3.ALPN, hq.ALPN), **SESSIONS, **REAL_NETWORK, **options)
    _say_serving(directory, listener, f"{h3.ALPN} and {hq.ALPN}")
    files = Files(directory)
    server = h3.Server(net, h3.file_handler(net, files, _show))
    try:
        while True:
            conn = await listener.accept()
            if conn.alpn == h3.ALPN:
                server.take(conn)
            else:
                net.spawn(hq.serve_connection, conn, files, _show)
    finally:
        listener.close()
        if server.active:
            print(f"finishing {server.active} requests; Ctrl-C again gives them up", flush=True)
        await server.shut_down(PATIENCE_NS)


def _say_serving(directory: Path, listener: Listener, protocols: str) -> None:
    print(f"serving {directory} on UDP port {listener.address[1]} as {protocols}; Ctrl-C ends it", flush=True)


def _show(served: Served) -> None:
    what = served.failure or f"{served.size:,} bytes in {served.duration_ns / 1e9:.3f} s"
    print(f"{served.client[0]}:{served.client[1]} {served.method} {served.path!r}: {what}", flush=True)


def credentials(cert: Path | None, key: Path | None) -> Credentials:
    """Return a server's credentials, by default those of the test certificate. Raises Failure."""
    if cert is None and key is None:
        errors.print("quicsim: no --cert and --key: this is the test certificate, whose key is no secret")
        return test_certificate()
    if cert is None or key is None:
        raise Failure(BAD_INPUT, "--cert and --key: must be given both, or neither")
    try:
        return load_credentials(cert, key)
    except ConfigError as error:
        raise Failure(BAD_INPUT, str(error)) from None


def run_server(
    net: RealNet, application: Callable[..., Coroutine[Any, Any, None]], *given: Any, **options: Any
) -> None:
    """Run a server until Ctrl-C or SIGTERM, which both are its proper end. Raises Failure when it can't start."""
    signal.signal(signal.SIGTERM, lambda *_: signal.raise_signal(signal.SIGINT))
    try:
        net.run(application, *given, **options)
    except KeyboardInterrupt:
        print("closed")
    except OSError as error:
        raise Failure(FAILED, error.strerror or str(error)) from None
