"""Signatures of CertificateVerify (RFC 8446 sections 4.2.3 and 4.4.3)."""

import hashlib
from typing import Final, NamedTuple

from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric.ec import (
    ECDSA,
    EllipticCurvePrivateKey,
    EllipticCurvePublicKey,
)
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey, Ed25519PublicKey
from cryptography.hazmat.primitives.asymmetric.padding import MGF1, PSS
from cryptography.hazmat.primitives.asymmetric.rsa import RSAPrivateKey, RSAPublicKey
from cryptography.hazmat.primitives.hashes import SHA256, SHA384, SHA512, HashAlgorithm

from stack.tls.alerts import DECRYPT_ERROR, ILLEGAL_PARAMETER, HandshakeError

PrivateKey = EllipticCurvePrivateKey | RSAPrivateKey | Ed25519PrivateKey
PublicKey = EllipticCurvePublicKey | RSAPublicKey | Ed25519PublicKey

ECDSA_SECP256R1_SHA256: Final = 0x0403
ECDSA_SECP384R1_SHA384: Final = 0x0503
ECDSA_SECP521R1_SHA512: Final = 0x0603
RSA_PSS_RSAE_SHA256: Final = 0x0804
RSA_PSS_RSAE_SHA384: Final = 0x0805
RSA_PSS_RSAE_SHA512: Final = 0x0806
ED25519: Final = 0x0807
RSA_PSS_PSS_SHA256: Final = 0x0809
RSA_PSS_PSS_SHA384: Final = 0x080A
RSA_PSS_PSS_SHA512: Final = 0x080B

# rsa_pkcs1_sha256, 384 and 512: allowed within certificates only, never in a CertificateVerify.
CERTIFICATE_ONLY: Final = (0x0401, 0x0501, 0x0601)

_RSA: Final = "rsaEncryption"
RSA_PSS: Final = "rsassaPss"  # an RSA key whose certificate allows PSS signatures only
_ED25519: Final = "ed25519"


class Scheme(NamedTuple):
    """A signature scheme: the kind of key it is for and its hash (None where the scheme fixes it)."""

    name: str
    key: str
    hash: HashAlgorithm | None


SCHEMES: Final[dict[int, Scheme]] = {
    ECDSA_SECP256R1_SHA256: Scheme("ecdsa_secp256r1_sha256", "secp256r1", SHA256()),
    RSA_PSS_RSAE_SHA256: Scheme("rsa_pss_rsae_sha256", _RSA, SHA256()),
    ED25519: Scheme("ed25519", _ED25519, None),
    ECDSA_SECP384R1_SHA384: Scheme("ecdsa_secp384r1_sha384", "secp384r1", SHA384()),
    RSA_PSS_RSAE_SHA384: Scheme("rsa_pss_rsae_sha384", _RSA, SHA384()),
    ECDSA_SECP521R1_SHA512: Scheme("ecdsa_secp521r1_sha512", "secp521r1", SHA512()),
    RSA_PSS_RSAE_SHA512: Scheme("rsa_pss_rsae_sha512", _RSA, SHA512()),
    # rfc8446:4.2.3:10
    RSA_PSS_PSS_SHA256: Scheme("rsa_pss_pss_sha256", RSA_PSS, SHA256()),
    RSA_PSS_PSS_SHA384: Scheme("rsa_pss_pss_sha384", RSA_PSS, SHA384()),
    RSA_PSS_PSS_SHA512: Scheme("rsa_pss_pss_sha512", RSA_PSS, SHA512()),
}

_SCHEMES_OF: Final[dict[str, tuple[int, ...]]] = {
    kind: tuple(number for number, scheme in SCHEMES.items() if scheme.key == kind)
    for kind in {scheme.key: None for scheme in SCHEMES.values()}
}

_SERVER_CONTEXT: Final = b" " * 64 + b"TLS 1.3, server CertificateVerify\x00"
_CLIENT_CONTEXT: Final = b" " * 64 + b"TLS 1.3, client CertificateVerify\x00"


def server_content(transcript_hash: bytes) -> bytes:
    """Return what a server signs (RFC 8446 section 4.4.3)."""
    return _SERVER_CONTEXT + transcript_hash


def client_content(transcript_hash: bytes) -> bytes:
    """Return what a client signs (RFC 8446 section 4.4.3)."""
    return _CLIENT_CONTEXT + transcript_hash


def key_kind(key: PublicKey | PrivateKey) -> str:
    """Return the kind of a key as `Scheme.key` spells it."""
    if isinstance(key, EllipticCurvePublicKey | EllipticCurvePrivateKey):
        return key.curve.name
    return _RSA if isinstance(key, RSAPublicKey | RSAPrivateKey) else _ED25519


def schemes_for(key: PublicKey | PrivateKey, kind: str | None = None) -> tuple[int, ...]:
    """Return the schemes that `key` can sign with, preferred first; empty when there is none.

    `kind` is that of its certificate, where it says more than the key itself (RSA_PSS).
    """
    return _SCHEMES_OF.get(kind or key_kind(key), ())


def salt_length(number: int) -> int:
    """Return the salt's length of an RSASSA-PSS scheme: its hash's (RFC 8446 section 4.2.3)."""
    algorithm = SCHEMES[number].hash
    # rfc8446:4.2.3:7
    return algorithm.digest_size if algorithm else 0


def sign(key: PrivateKey, number: int, content: bytes, salt: bytes | None = None) -> bytes:
    """Sign `content` with scheme `number`, which must suit `key` (`schemes_for`).

    ECDSA is deterministic (RFC 6979) and Ed25519 always is. RSA-PSS is randomised by the crypto library, or
    computed here from a given `salt`: exact, but slow and not constant-time, for simulations only.
    """
    algorithm = SCHEMES[number].hash
    if isinstance(key, Ed25519PrivateKey):
        return key.sign(content)
    if algorithm is None:
        raise TypeError(f"{SCHEMES[number].name} needs an Ed25519 key")
    if isinstance(key, EllipticCurvePrivateKey):
        # rfc8446:C.3:1
        return key.sign(content, ECDSA(algorithm, deterministic_signing=True))
    if salt is not None:
        return _sign_pss(key, algorithm.name, content, salt)
    return key.sign(content, PSS(MGF1(algorithm), algorithm.digest_size), algorithm)


def verify(key: PublicKey, number: int, signature: bytes, content: bytes, kind: str | None = None) -> None:
    """Verify a peer's signature over `content`; `kind` as in `schemes_for`.

    Raises HandshakeError illegal_parameter for a scheme that does not suit the key, decrypt_error for a
    signature that is wrong.
    """
    scheme = SCHEMES.get(number)
    if scheme is None or scheme.key != (kind or key_kind(key)):
        # rfc8446:4.4.3:6
        raise HandshakeError(ILLEGAL_PARAMETER, f"signature scheme 0x{number:04x} does not suit the peer's key")
    try:
        if isinstance(key, Ed25519PublicKey):
            key.verify(signature, content)
        elif scheme.hash is not None:
            if isinstance(key, EllipticCurvePublicKey):
                key.verify(signature, content, ECDSA(scheme.hash))
            else:
                key.verify(signature, content, PSS(MGF1(scheme.hash), scheme.hash.digest_size), scheme.hash)
    except (InvalidSignature, ValueError):
        # rfc8446:4.4.3:10
        raise HandshakeError(DECRYPT_ERROR, f"the peer's {scheme.name} signature is wrong") from None


def _sign_pss(key: RSAPrivateKey, hash_name: str, content: bytes, salt: bytes) -> bytes:
    """Return the RSASSA-PSS signature of RFC 8017 section 8.1.1 with a given salt."""
    numbers = key.private_numbers()
    bits = key.key_size - 1
    length = (bits + 7) // 8
    digest = hashlib.new(hash_name, bytes(8) + hashlib.new(hash_name, content).digest() + salt).digest()
    block = (b"\x01" + salt).rjust(length - len(digest) - 1, b"\x00")
    mask = _mgf1(hash_name, digest, len(block))
    masked = int.from_bytes(block) ^ int.from_bytes(mask)
    masked &= (1 << (bits - 8 * (len(digest) + 1))) - 1
    encoded = int.from_bytes(masked.to_bytes(len(block)) + digest + b"\xbc")
    # The Chinese remainder theorem: two exponentiations of half the size.
    first = pow(encoded, numbers.dmp1, numbers.p)
    second = pow(encoded, numbers.dmq1, numbers.q)
    result = second + (first - second) * numbers.iqmp % numbers.p * numbers.q
    return result.to_bytes((key.key_size + 7) // 8)


def _mgf1(hash_name: str, seed: bytes, length: int) -> bytes:
    """Return `length` bytes of the mask generation function of RFC 8017 appendix B.2.1."""
    size = hashlib.new(hash_name).digest_size
    blocks = [
        hashlib.new(hash_name, seed + counter.to_bytes(4)).digest() for counter in range((length + size - 1) // size)
    ]
    return b"".join(blocks)[:length]
