"""What TLS must refuse, as tables: the same whichever engine is to refuse it."""

from datetime import UTC, datetime
from typing import Any

import pytest
from cryptography import x509
from cryptography.hazmat.primitives.asymmetric.ec import SECP256R1, derive_private_key
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.serialization import Encoding
from cryptography.x509.oid import NameOID

from quicsim.certificates import test_certificate
from stack.errors import PROTOCOL_VIOLATION
from stack.events import ConnectionEnded
from stack.tls import codec, extensions, messages
from stack.tls.alerts import HandshakeError
from stack.tls.certificates import Authorities, Credentials, Pinned
from stack.tls.engine import INITIAL
from stack.tls.extensions import (
    CERTIFICATE,
    CERTIFICATE_VERIFY,
    CLIENT_HELLO,
    ENCRYPTED_EXTENSIONS,
    FINISHED,
    SERVER_HELLO,
)
from stack.tls.groups import P256, X25519
from stack.wire.decoded_frames import ConnectionCloseFrame
from stack.wire.frames import CRYPTO
from tests.support.pair import Pair
from tests.support.tampering_tls import Change

KEY_UPDATE, END_OF_EARLY_DATA = b"\x18\x00\x00\x01\x00", b"\x05\x00\x00\x00"
CREDENTIALS = test_certificate()
IN_2030 = datetime(2030, 1, 1)


def stranger() -> Credentials:
    """Credentials for localhost, of a key and an issuer that nobody knows."""
    key = derive_private_key(12_345, SECP256R1())
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "stranger")])
    certificate = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(2)
        .not_valid_before(datetime(2020, 1, 1, tzinfo=UTC))
        .not_valid_after(datetime(2040, 1, 1, tzinfo=UTC))
        .add_extension(x509.SubjectAlternativeName([x509.DNSName("localhost")]), critical=False)
        .sign(key, SHA256(), ecdsa_deterministic=True)
    )
    return Credentials((certificate.public_bytes(Encoding.DER),), key)


def check(pair: Pair, by_client: bool, code: int) -> None:
    """Both ends ended with `code`, the other one because of the CONNECTION_CLOSE that arrived, due to CRYPTO."""
    for events, is_client in ((pair.client_events, True), (pair.server_events, False)):
        ended = [event for event in events if isinstance(event, ConnectionEnded)]
        assert [(event.code, event.remote) for event in ended] == [(code, by_client != is_client)]
    closer, other = pair.client_recorder, pair.server_recorder
    if not by_client:
        closer, other = other, closer
    sent = closer.connections[0].sent_frames(ConnectionCloseFrame)
    received = [f for packet in other.connections[0].received for f in packet.frames if type(f) is ConnectionCloseFrame]
    for frames in (sent, received):
        assert frames
        closes = {(frame.code, frame.frame_type) for frame in frames if isinstance(frame, ConnectionCloseFrame)}
        assert closes == {(code, CRYPTO)}
    assert not other.connections[0].sent_frames(ConnectionCloseFrame)


# What the configurations disagree about


def disagreement(
    name: str, client: dict[str, Any], server: dict[str, Any], by_client: bool, alert: int, *rules: str
) -> Any:
    """Fields of ClientTls and ServerTls that don't go together, which end refuses, and with what alert."""
    return pytest.param(client, server, by_client, alert, marks=_marks(rules), id=name)


def _marks(rules: tuple[str, ...]) -> list[pytest.MarkDecorator]:
    return [pytest.mark.requirement(rule) for rule in rules]


DISAGREEMENTS = [
    disagreement("certificate", {"trust": Pinned(())}, {}, True, 48, "rfc9001:4.4:1"),
    disagreement("authority", {"trust": Authorities(stranger().certificates, IN_2030)}, {}, True, 48, "rfc9001:4.4:1"),
    disagreement("expired", {"trust": Authorities(CREDENTIALS.certificates, datetime(2130, 1, 1))}, {}, True, 45),
    disagreement("not valid yet", {"trust": Authorities(CREDENTIALS.certificates, datetime(2019, 1, 1))}, {}, True, 45),
    disagreement("ALPN", {"alpn": ("a",)}, {"alpn": ("b",)}, False, 120, "rfc9001:8.1:2", "rfc9001:8.1:6"),
    disagreement("suite", {"suites": (0x1301,)}, {"suites": (0x1302,)}, False, 40),
    disagreement("group", {"groups": (X25519,)}, {"groups": (P256,)}, False, 40),
    disagreement("signature", {"signatures": (0x0807,)}, {}, False, 40),
    disagreement("no client certificate", {}, {"client_auth": "require", "client_trust": Pinned(())}, False, 116),
    disagreement(
        "client certificate",
        {"credentials": CREDENTIALS},
        {"client_auth": "request", "client_trust": Pinned(())},
        False,
        48,
    ),
]


# What a peer does wrong


def replacing(wanted: int, change: Any, level: int | None = None) -> Change:
    """Send `change(message)` for each message of type `wanted`, at another level if that is given."""

    def changed(old_level: int, kind: int, message: bytes) -> tuple[int, bytes]:
        if kind != wanted:
            return old_level, message
        return old_level if level is None else level, change(message)

    return changed


def flipping(wanted: int, position: int) -> Change:
    """Change a bit of the byte at `position` in messages of type `wanted`."""

    def flip(message: bytes) -> bytes:
        changed = bytearray(message)
        changed[position] ^= 1
        return bytes(changed)

    return replacing(wanted, flip)


def with_extensions(wanted: int, changes: dict[int, bytes | None]) -> Change:
    """Replace extensions (None: leave them out) in messages of type `wanted`, where they are the last field."""

    def change(message: bytes) -> bytes:
        # The block is the one vector of 16-bit length that is followed by nothing and made of whole extensions
        body = message[4:]
        for start in range(len(body) - 2):
            if int.from_bytes(body[start : start + 2]) != len(body) - start - 2:
                continue
            try:
                found = extensions.parse_extensions(body[start + 2 :], wanted)
            except HandshakeError:  # not that vector
                continue
            merged = {**found, **changes}
            block = b"".join(extensions.encode_extension(k, v) for k, v in merged.items() if v is not None)
            return messages.encode_message(wanted, body[:start] + codec.vector16(block))
        raise AssertionError("no extensions")

    return replacing(wanted, change)


def wrong(by_client: bool, change: Change, code: int, name: str, *rules: str) -> Any:
    """What one end does wrong, and the code with which the other one refuses it."""
    return pytest.param(
        by_client, change, code, marks=_marks(rules), id=("client: " if by_client else "server: ") + name
    )


ALPN, PARAMETERS, SUPPORTED_VERSIONS = extensions.ALPN, extensions.QUIC_TRANSPORT_PARAMETERS, 43
OVERSIZED = b"\xff\xff\xff"


MISDEEDS = [
    wrong(True, with_extensions(CLIENT_HELLO, {ALPN: None}), 0x178, "no ALPN", "rfc9001:8.1:2"),
    wrong(True, with_extensions(CLIENT_HELLO, {PARAMETERS: None}), 0x16D, "no parameters", "rfc9001:8.2:1"),
    wrong(True, with_extensions(CLIENT_HELLO, {SUPPORTED_VERSIONS: None}), 0x146, "TLS 1.2"),
    wrong(True, with_extensions(CLIENT_HELLO, {10: None}), 0x16D, "no groups"),
    wrong(True, with_extensions(CLIENT_HELLO, {48: b""}), 0x12F, "misplaced extension"),
    wrong(True, replacing(CLIENT_HELLO, lambda m: m[:1] + OVERSIZED), 0x132, "oversized ClientHello"),
    wrong(True, replacing(CLIENT_HELLO, lambda m: b"\x02" + m[1:]), 0x10A, "ServerHello"),
    wrong(True, flipping(FINISHED, -1), 0x133, "altered Finished"),
    wrong(True, flipping(CERTIFICATE_VERIFY, -1), 0x133, "bad signature"),
    wrong(True, flipping(CERTIFICATE, -10), 0x130, "altered certificate"),
    wrong(True, replacing(FINISHED, lambda m: b"\x14\x00\x01\x00"), 0x132, "oversized Finished"),
    wrong(True, replacing(FINISHED, lambda m: END_OF_EARLY_DATA + m), 0x10A, "EndOfEarlyData"),
    wrong(True, replacing(FINISHED, lambda m: KEY_UPDATE + m), 0x10A, "KeyUpdate", "rfc9001:6:3"),
    wrong(True, replacing(FINISHED, bytes, INITIAL), PROTOCOL_VIOLATION, "Finished in Initial", "rfc9001:4.1.3:2"),
    wrong(False, with_extensions(SERVER_HELLO, {SUPPORTED_VERSIONS: None}), 0x146, "TLS 1.2", "rfc9001:4.2:2"),
    wrong(False, with_extensions(SERVER_HELLO, {51: None}), 0x16D, "no key share"),
    wrong(False, replacing(SERVER_HELLO, lambda m: m[:1] + OVERSIZED), 0x132, "oversized ServerHello"),
    wrong(False, with_extensions(ENCRYPTED_EXTENSIONS, {ALPN: None}), 0x178, "no ALPN", "rfc9001:8.1:3"),
    wrong(False, with_extensions(ENCRYPTED_EXTENSIONS, {PARAMETERS: None}), 0x16D, "no parameters", "rfc9001:8.2:1"),
    wrong(False, with_extensions(ENCRYPTED_EXTENSIONS, {ALPN: b"\x00\x02\x01h"}), 0x12F, "another ALPN"),
    wrong(False, with_extensions(ENCRYPTED_EXTENSIONS, {0x2A2A: b""}), 0x16E, "unknown extension"),
    wrong(False, replacing(ENCRYPTED_EXTENSIONS, bytes, INITIAL), PROTOCOL_VIOLATION, "in Initial", "rfc9001:4.1.3:2"),
    wrong(False, flipping(ENCRYPTED_EXTENSIONS, -1), 0x133, "altered parameter"),
    wrong(False, replacing(CERTIFICATE, lambda m: m[:1] + OVERSIZED), 0x132, "oversized Certificate"),
    wrong(False, flipping(CERTIFICATE, -10), 0x130, "altered certificate", "rfc9001:4.4:1"),
    wrong(False, flipping(CERTIFICATE_VERIFY, -1), 0x133, "bad signature", "rfc9001:4.4:1"),
    wrong(False, flipping(FINISHED, -1), 0x133, "altered Finished"),
    wrong(False, replacing(FINISHED, lambda m: KEY_UPDATE), 0x10A, "KeyUpdate", "rfc9001:6:3"),
    wrong(False, replacing(FINISHED, lambda m: m + b"\x04"), PROTOCOL_VIOLATION, "beyond", "rfc9001:4.1.3:3"),
]

# After the handshake
LATE_MESSAGES = [
    pytest.param(KEY_UPDATE, id="KeyUpdate"),
    pytest.param(END_OF_EARLY_DATA, id="EndOfEarlyData"),
    pytest.param(b"\x01\x00\x00\x00", id="ClientHello"),
]
