"""Certificate and CertificateVerify, sent and checked by either side (RFC 8446 sections 4.4.2, 4.4.3)."""

from functools import lru_cache

from stack.randomness import Randomness
from stack.tls import messages
from stack.tls.alerts import ILLEGAL_PARAMETER, HandshakeError
from stack.tls.certificates import Credentials, leaf_kind, leaf_public_key
from stack.tls.schedule import KeySchedule
from stack.tls.signatures import client_content, salt_length, server_content, sign, verify


@lru_cache(maxsize=64)
def _certificate_message(chain: tuple[bytes, ...]) -> bytes:
    return messages.encode_certificate(chain)


def prove(
    credentials: Credentials, scheme: int, schedule: KeySchedule, salts: Randomness | None, client: bool
) -> bytes:
    """Return Certificate and CertificateVerify, which the transcript gets too.

    `salts` gives the salt of an RSA signature that must be exact (`signatures.sign`).
    """
    certificate = _certificate_message(credentials.certificates)
    schedule.add_message(certificate)
    content = (client_content if client else server_content)(schedule.transcript_hash())
    salt = salts.randbytes(salt_length(scheme)) if salts else None
    proof = messages.encode_certificate_verify(scheme, sign(credentials.private_key, scheme, content, salt))
    schedule.add_message(proof)
    return certificate + proof


def check_proof(body: bytes, leaf: bytes, offered: tuple[int, ...], schedule: KeySchedule, client: bool) -> None:
    """Check a CertificateVerify that `client` or server signed; the transcript must end before it.

    `offered` are the signature schemes that it was allowed. Raises HandshakeError.
    """
    scheme, signature = messages.parse_certificate_verify(body)
    if scheme not in offered:
        # rfc8446:4.4.3:4 rfc8446:4.4.3:5
        raise HandshakeError(ILLEGAL_PARAMETER, f"signature scheme 0x{scheme:04x} was not offered")
    content = (client_content if client else server_content)(schedule.transcript_hash())
    # rfc8446:4.4.3:9
    verify(leaf_public_key(leaf), scheme, signature, content, leaf_kind(leaf))
