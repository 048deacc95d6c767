"""What the tests of the TLS engine share: keys and certificates, a wire between two engines, rogue peers."""

import json
import random
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from functools import cache
from pathlib import Path
from typing import Any

import pytest
from cryptography import x509
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, rsa
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.serialization import Encoding
from cryptography.x509.oid import NameOID

from stack.tls import codec, extensions, messages
from stack.tls import hello as hellos
from stack.tls.certificates import Credentials
from stack.tls.engine import HANDSHAKE, INITIAL, Alert, Engine, Event, HandshakeBytes
from stack.tls.groups import GROUPS, X25519
from stack.tls.schedule import SUITES, KeySchedule
from stack.tls.signatures import schemes_for, server_content, sign

NOW = datetime(2030, 1, 1)


@cache
def make_key(kind: str) -> Any:
    """Return a private key; every test gets the same one of a kind."""
    curves = {"p256": ec.SECP256R1(), "p384": ec.SECP384R1(), "p521": ec.SECP521R1(), "other": ec.SECP256R1()}
    if kind in curves:
        return ec.derive_private_key(int.from_bytes(kind.encode() * 6), curves[kind])
    if kind == "ed25519":
        return ed25519.Ed25519PrivateKey.from_private_bytes(bytes(range(32)))
    return rsa.generate_private_key(65537, 2048)


def make_certificate(
    key: Any,
    issuer: tuple[Any, x509.Certificate] | None = None,
    *,
    names: tuple[str, ...] = ("localhost",),
    begin: datetime = NOW - timedelta(days=10),
    end: datetime = NOW + timedelta(days=10),
    authority: bool = False,
    signing: bool = True,
) -> x509.Certificate:
    """Return a certificate for `key`, self-signed without an `issuer`."""
    subject = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, f"test {authority} {names}")])
    issuing_key, parent = (key, None) if issuer is None else issuer
    usage = dict.fromkeys(
        ("content_commitment", "key_encipherment", "data_encipherment", "encipher_only", "decipher_only"),
        False,
    )
    builder = (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(subject if parent is None else parent.subject)
        .public_key(key.public_key())
        .serial_number(7)
        .not_valid_before(begin)
        .not_valid_after(end)
        .add_extension(x509.BasicConstraints(authority, None), critical=True)
        .add_extension(
            x509.KeyUsage(
                digital_signature=signing,
                key_agreement=not signing,
                key_cert_sign=authority,
                crl_sign=authority,
                **usage,
            ),
            critical=True,
        )
        .add_extension(x509.SubjectKeyIdentifier.from_public_key(key.public_key()), critical=False)
        .add_extension(x509.AuthorityKeyIdentifier.from_issuer_public_key(issuing_key.public_key()), critical=False)
    )
    if not authority:
        alternatives = x509.SubjectAlternativeName([x509.DNSName(name) for name in names])
        builder = builder.add_extension(alternatives, critical=False)
    algorithm = None if isinstance(issuing_key, ed25519.Ed25519PrivateKey) else SHA256()
    return builder.sign(issuing_key, algorithm)


@cache
def make_credentials(kind: str) -> Credentials:
    """Return self-signed credentials."""
    key = make_key(kind)
    return Credentials((make_certificate(key).public_bytes(Encoding.DER),), key)


def drain(engine: Engine) -> list[Event]:
    """Return all events of an engine."""
    events = []
    while (event := engine.next_event()) is not None:
        events.append(event)
    return events


def exchange(
    client: Engine,
    server: Engine,
    size: int = 1 << 20,
    tamper: Callable[[int, bytes], bytes] | None = None,
    now: int = 0,
) -> tuple[list[Event], list[Event]]:
    """Let two engines talk, in pieces of `size` bytes; return their events. `tamper` changes the server's bytes."""
    client.start(now)
    seen: tuple[list[Event], list[Event]] = ([], [])
    moved = True
    while moved:
        moved = False
        for index, (sender, receiver) in enumerate(((client, server), (server, client))):
            for event in drain(sender):
                seen[index].append(event)
                if isinstance(event, HandshakeBytes):
                    moved = True
                    data = tamper(event.level, event.data) if tamper and index else event.data
                    for start in range(0, len(data), size):
                        receiver.feed(event.level, data[start : start + size], now)
    return seen


def alerts(events: list[Event]) -> list[int]:
    """Return the descriptions of all alerts among events."""
    return [event.description for event in events if isinstance(event, Alert)]


def encode_block(bodies: dict[int, bytes | None]) -> bytes:
    """Return an extension block without those that are None."""
    return b"".join(extensions.encode_extension(kind, body) for kind, body in bodies.items() if body is not None)


def client_hello(change: dict[int, bytes | None] | None = None, **fields: Any) -> bytes:
    """Return a ClientHello with extensions replaced, added or (None) left out."""
    offer = GROUPS[X25519].offer(random.Random(5))
    bodies: dict[int, bytes | None] = {
        extensions.SUPPORTED_VERSIONS: b"\x02\x03\x04",
        extensions.SUPPORTED_GROUPS: codec.vector16(codec.numbers((X25519,))),
        extensions.SIGNATURE_ALGORITHMS: codec.vector16(codec.numbers((0x0403,))),
        extensions.ALPN: extensions.encode_alpn(("quicsim",)),
        extensions.KEY_SHARE: codec.vector16(extensions.encode_key_share(X25519, offer.public)),
        extensions.QUIC_TRANSPORT_PARAMETERS: b"client",
        **(change or {}),
    }
    block = b"".join(extensions.encode_extension(kind, body) for kind, body in bodies.items() if body is not None)
    block += fields.get("more", b"")
    body = fields.get("version", b"\x03\x03") + bytes(32) + codec.vector8(fields.get("session", b""))
    body += codec.vector16(fields.get("suites", b"\x13\x01")) + codec.vector8(fields.get("compression", b"\x00"))
    return messages.encode_message(extensions.CLIENT_HELLO, body + codec.vector16(block) + fields.get("tail", b""))


@dataclass
class RogueServer:
    """A server that can send anything: each field that is set replaces what a good server would send."""

    credentials: Credentials
    server_hello: bytes | None = None
    encrypted: dict[int, bytes | None] = field(default_factory=dict)
    certificate: bytes | None = None
    scheme: int | None = None
    finished: bytes | None = None
    request: bytes = b""

    def answer(self, hello: bytes) -> list[tuple[int, bytes]]:
        """Return levels and messages that answer a ClientHello."""
        parsed = hellos.parse_client_hello(hello[4:])
        assert parsed.key_shares is not None
        rng = random.Random(6)
        public, secret = GROUPS[X25519].answer(parsed.key_shares[X25519], rng)
        schedule = KeySchedule(SUITES[0x1301])
        good = hellos.encode_server_hello(bytes(32), 0x1301, (X25519, public))
        schedule.add_message(hello)
        schedule.add_message(good)
        schedule.add_shared_secret(secret)
        server_secret = schedule.derive(b"s hs traffic")
        bodies: dict[int, bytes | None] = {
            extensions.ALPN: extensions.encode_alpn(("quicsim",)),
            extensions.QUIC_TRANSPORT_PARAMETERS: b"server",
            **self.encrypted,
        }
        block = b"".join(extensions.encode_extension(kind, body) for kind, body in bodies.items() if body is not None)
        flight = [messages.encode_message(extensions.ENCRYPTED_EXTENSIONS, codec.vector16(block))]
        if self.request:
            flight.append(self.request)
        flight.append(self.certificate or messages.encode_certificate(self.credentials.certificates))
        for message in flight:
            schedule.add_message(message)
        key = self.credentials.private_key
        own = schemes_for(key)[0]
        signature = sign(key, own, server_content(schedule.transcript_hash()))
        flight.append(messages.encode_certificate_verify(self.scheme or own, signature))
        schedule.add_message(flight[-1])
        flight.append(self.finished or messages.encode_finished(schedule.verify_data(server_secret)))
        return [(INITIAL, self.server_hello or good), *((HANDSHAKE, message) for message in flight)]

    def talk_to(self, client: Engine) -> list[Event]:
        """Answer a client's ClientHello; return all its events."""
        client.start(0)
        events = drain(client)
        assert isinstance(events[0], HandshakeBytes)
        for level, data in self.answer(events[0].data):
            client.feed(level, data, 0)
        return events + drain(client)


TRACES = Path(__file__).parents[2] / "vectors" / "rfc8448.json"


class Trace:
    """The trace of one section of RFC 8448."""

    def __init__(self, section: int) -> None:
        traces = json.loads(TRACES.read_text())["traces"]
        self.steps = next(trace["steps"] for trace in traces if trace["section"] == str(section))

    def fields(self, who: str, action: str, index: int = 0) -> dict[str, Any]:
        found = [step for step in self.steps if step["who"] == who and step["action"].startswith(action)]
        fields: dict[str, Any] = found[index]["fields"]
        return fields

    def message(self, who: str, name: str, index: int = 0) -> bytes:
        found = [step["fields"] for step in self.steps if step["who"] == who and name in step["fields"]]
        return bytes.fromhex(found[index][name])

    def secret(self, action: str, field: str = "expanded", who: str = "server") -> bytes:
        return bytes.fromhex(self.fields(who, action)[field])


class Tools:
    """The functions above, for tests."""

    now = NOW
    key = staticmethod(make_key)
    certificate = staticmethod(make_certificate)
    credentials = staticmethod(make_credentials)
    drain = staticmethod(drain)
    exchange = staticmethod(exchange)
    alerts = staticmethod(alerts)
    client_hello = staticmethod(client_hello)
    rogue_server = RogueServer


@pytest.fixture(scope="session")
def tls() -> type[Tools]:
    """Tools of the TLS tests."""
    return Tools


@pytest.fixture(scope="session")
def trace_of() -> type[Trace]:
    """The traces of RFC 8448, by section."""
    return Trace
