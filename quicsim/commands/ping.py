"""`quicsim ping`: who answers there, how fast, and with which certificate."""

import base64
from hashlib import sha256
from typing import Annotated, Any, Final

import typer
from cryptography import x509
from cryptography.hazmat.primitives.asymmetric.ec import EllipticCurvePublicKey
from cryptography.hazmat.primitives.asymmetric.rsa import RSAPublicKey
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat
from rich.console import Console
from rich.table import Table

from quicsim import hq, perf
from quicsim.commands.exits import Failure, connecting
from quicsim.commands.options import (
    Ca,
    KeyLogFile,
    Pin,
    Qlog,
    Timeout,
    connection_options,
    host_and_port,
    recorded_net,
    trust,
    version_name,
)
from quicsim.connection import Connection
from quicsim.net import Net, Trust
from stack.tls.alerts import HandshakeError
from stack.tls.certificates import Credentials, Pinned
from stack.tls.config import DEFAULT_ALPN
from stack.wire.versions import VERSION_1, VERSION_2

PROTOCOLS: Final = ("h3", hq.ALPN, perf.ALPN, *DEFAULT_ALPN)
DEFAULT_PORT: Final = 443
_MS: Final = 1e6  # ns


def ping(
    server: Annotated[str, typer.Argument(metavar="HOST[:PORT]", show_default=False)],
    alpn: Annotated[
        list[str] | None, typer.Option(help="Application protocol to offer; repeatable.", show_default="the usual ones")
    ] = None,
    ca: Ca = None,
    pin: Pin = None,
    v2: Annotated[bool, typer.Option("--v2", help="Speak QUIC version 2 only.")] = False,
    timeout: Timeout = 30.0,
    qlog: Qlog = None,
    keylog: KeyLogFile = None,
) -> None:
    """Make a connection and show its handshake time, round-trip time, version, protocol and certificate.

    Whether the certificate is to be trusted is shown, but does not decide. Exit codes as for `quicsim get`.
    """
    host, port = host_and_port(server, DEFAULT_PORT)
    options = connection_options(True, None, None, timeout) | {
        "alpn": tuple(alpn or PROTOCOLS),
        "versions": (VERSION_2,) if v2 else (VERSION_1, VERSION_2),
    }
    try:
        trusted: Trust | Failure = trust(False, ca, pin)
    except Failure as failure:
        if ca is not None or pin is not None:
            raise
        trusted = failure
    with recorded_net("client", qlog, keylog) as net:
        conn, handshake_ns = net.run(_connect, host, port, options)
    rtt = conn.path.rtt
    table = Table.grid(padding=(0, 2))
    table.add_row("address", f"{conn.path.remote[0]}, UDP port {conn.path.remote[1]}")
    table.add_row("handshake", f"{handshake_ns / _MS:.2f} ms")
    table.add_row("round trip", f"{rtt.latest_rtt_ns / _MS:.2f} ms, least {rtt.min_rtt_ns / _MS:.2f} ms")
    table.add_row("QUIC version", version_name(conn.version))
    table.add_row("protocol", conn.alpn)
    for name, text in _certificate(conn.peer_certificates):
        table.add_row(name, text)
    table.add_row("trusted", _verdict(trusted, conn.peer_certificates, host))
    Console(highlight=False, soft_wrap=True, markup=False, emoji=False).print(table)


async def _connect(net: Net, host: str, port: int, options: dict[str, Any]) -> tuple[Connection, int]:
    """Return a connection that has served its purpose, and how long its handshake took."""
    with connecting(f"{host}:{port}"):
        started_at = net.now
        conn = await net.connect(host, port, **options)
        handshake_ns = net.now - started_at
        await conn.confirmed()
    conn.close()
    return conn, handshake_ns


def _certificate(chain: tuple[bytes, ...]) -> list[tuple[str, str]]:
    leaf = x509.load_der_x509_certificate(chain[0])
    try:
        extension = leaf.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
        names = ", ".join(str(name.value) for name in extension)
    except (x509.ExtensionNotFound, ValueError):
        names = "none"
    return [
        ("certificate", leaf.subject.rfc4514_string() or "without a subject"),
        ("names", names),
        ("issuer", leaf.issuer.rfc4514_string()),
        ("valid", f"{leaf.not_valid_before_utc:%Y-%m-%d} to {leaf.not_valid_after_utc:%Y-%m-%d}"),
        ("key", _kind(leaf.public_key())),
        ("key's pin", base64.b64encode(_pin(leaf)).decode()),
        ("SHA-256", leaf.fingerprint(SHA256()).hex()),
        ("chain", f"{len(chain)} certificates" if len(chain) > 1 else "1 certificate"),
    ]


def _pin(leaf: x509.Certificate) -> bytes:
    """What browsers know a key by: SHA-256 of the SubjectPublicKeyInfo."""
    return sha256(leaf.public_key().public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo)).digest()


def _kind(key: object) -> str:
    if isinstance(key, EllipticCurvePublicKey):
        return f"ECDSA, {key.curve.name}"
    if isinstance(key, RSAPublicKey):
        return f"RSA, {key.key_size} bits"
    return type(key).__name__.removesuffix("PublicKey")


def _verdict(trusted: Trust | Failure, chain: tuple[bytes, ...], host: str) -> str:
    if isinstance(trusted, Failure):
        return f"not known: {trusted}"
    if isinstance(trusted, Credentials):
        trusted = Pinned(trusted.certificates[:1])
    try:
        trusted.verify(chain, host)
    except HandshakeError as error:
        return f"no: {error.reason}"
    return "yes"
