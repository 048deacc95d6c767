"""Whom we trust and who we are: certificates (RFC 8446 section 4.4.2), checked by cryptography's verifier.

Parsed certificates are kept per process, by their DER bytes, in a cache of bounded size.
"""

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import lru_cache
from ipaddress import IPv4Address, IPv6Address, ip_address
from typing import Final

from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives.asymmetric.ec import EllipticCurvePublicKey
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey
from cryptography.hazmat.primitives.asymmetric.rsa import RSAPublicKey
from cryptography.x509 import (
    Certificate,
    DNSName,
    ExtensionNotFound,
    IPAddress,
    KeyUsage,
    load_der_x509_certificate,
)
from cryptography.x509.oid import PublicKeyAlgorithmOID
from cryptography.x509.verification import PolicyBuilder, Store, VerificationError

from stack.errors import ConfigError
from stack.tls.alerts import (
    BAD_CERTIFICATE,
    CERTIFICATE_EXPIRED,
    UNKNOWN_CA,
    UNSUPPORTED_CERTIFICATE,
    HandshakeError,
)
from stack.tls.signatures import RSA_PSS, PrivateKey, PublicKey, schemes_for

# A longer chain is refused before anything in it is parsed.
MAX_CHAIN_LENGTH: Final = 16
MIN_RSA_BITS: Final = 2048


@dataclass(frozen=True, slots=True)
class Credentials:
    """What an endpoint proves its identity with: DER certificates, leaf first, and the leaf's private key.

    Raises ConfigError for a certificate that can't be used or a key that is not the leaf's.
    """

    certificates: tuple[bytes, ...]
    private_key: PrivateKey

    def __post_init__(self) -> None:
        if not self.certificates:
            raise ConfigError("certificates = (): must hold at least the leaf certificate as DER")
        _check_der("certificates", self.certificates)
        try:
            public_key = leaf_public_key(self.certificates[0])
        except HandshakeError as alert:
            raise ConfigError(f"certificates[0] can't be used: {alert.reason}") from None
        if public_key != self.private_key.public_key():
            raise ConfigError("private_key does not belong to certificates[0]: their public keys differ")

    @property
    def schemes(self) -> tuple[int, ...]:
        """The signature schemes that the key and its certificate are good for, preferred first."""
        return schemes_for(self.private_key, leaf_kind(self.certificates[0]))


@dataclass(frozen=True, slots=True)
class Pinned:
    """Trust in exactly these leaf certificates (DER), whatever their names, dates and issuers."""

    certificates: tuple[bytes, ...]

    def __post_init__(self) -> None:
        _check_der("certificates", self.certificates)

    def verify(self, chain: tuple[bytes, ...], server_name: str | None) -> None:
        """Check that the chain's leaf is one of the pins. Raises HandshakeError unknown_ca."""
        self.verify_client(chain)

    def verify_client(self, chain: tuple[bytes, ...]) -> None:
        """Check that the chain's leaf is one of the pins. Raises HandshakeError unknown_ca."""
        if chain[0] not in self.certificates:
            raise HandshakeError(UNKNOWN_CA, "the peer's certificate is not the pinned one")


@dataclass(frozen=True, slots=True)
class Authorities:
    """Trust in servers whose name, and clients whose certificate, these roots (DER) vouch for.

    They do so at instant `at` (naive means UTC).
    """

    certificates: tuple[bytes, ...]
    at: datetime

    def __post_init__(self) -> None:
        _check_der("certificates", self.certificates)
        if not self.certificates:
            raise ConfigError("certificates = (): must hold at least one root certificate as DER")

    def verify(self, chain: tuple[bytes, ...], server_name: str | None) -> None:
        """Check a server's chain and name.

        Raises HandshakeError: certificate_expired, unknown_ca, unsupported_certificate or bad_certificate.
        """
        if server_name is None:
            raise HandshakeError(BAD_CERTIFICATE, "no server name to verify the certificate for")
        _verify_chain(self, chain, server_name)

    def verify_client(self, chain: tuple[bytes, ...]) -> None:
        """Check a client's chain. Raises HandshakeError as `verify` does."""
        _verify_chain(self, chain, None)


@dataclass(frozen=True, slots=True)
class Anybody:
    """Trust in any server: it must have the key of the certificate that it shows, whoever it is. For tests only."""

    def verify(self, chain: tuple[bytes, ...], server_name: str | None) -> None:
        """Accept the chain."""


Trust = Pinned | Authorities | Anybody


def literal_address(name: str) -> IPv4Address | IPv6Address | None:
    """Return the address that a server name spells, None when it is a host name."""
    try:
        return ip_address(name)
    except ValueError:
        return None


@lru_cache(maxsize=256)
def parse_certificate(der: bytes) -> Certificate:
    """Parse a certificate. Raises HandshakeError bad_certificate."""
    try:
        return load_der_x509_certificate(der)
    except Exception as error:  # the parser's errors have no common root
        raise HandshakeError(BAD_CERTIFICATE, f"a certificate can't be parsed: {error}") from None


@lru_cache(maxsize=256)
def leaf_public_key(der: bytes) -> PublicKey:
    """Return the public key of a certificate that its owner signs handshakes with.

    Raises HandshakeError: bad_certificate, or unsupported_certificate for a key of an unknown kind or use.
    """
    certificate = parse_certificate(der)
    try:
        key = certificate.public_key()
        usage = certificate.extensions.get_extension_for_class(KeyUsage).value
    except ExtensionNotFound:
        usage = None
    except UnsupportedAlgorithm as error:
        raise HandshakeError(UNSUPPORTED_CERTIFICATE, f"the leaf certificate is not supported: {error}") from None
    except Exception as error:  # extensions are parsed by many parsers, each with errors of its own
        raise HandshakeError(BAD_CERTIFICATE, f"the leaf certificate can't be parsed: {error}") from None
    if not isinstance(key, EllipticCurvePublicKey | RSAPublicKey | Ed25519PublicKey) or not schemes_for(key):
        raise HandshakeError(UNSUPPORTED_CERTIFICATE, "the leaf certificate has a key of an unsupported type")
    if isinstance(key, RSAPublicKey) and key.key_size < MIN_RSA_BITS:
        # rfc8446:C.2:1
        raise HandshakeError(UNSUPPORTED_CERTIFICATE, f"an RSA key of {key.key_size} bits is too small")
    if usage is not None and not usage.digital_signature:
        # rfc8446:4.4.2.2:3
        raise HandshakeError(UNSUPPORTED_CERTIFICATE, "the leaf certificate's key usage does not allow signatures")
    return key


@lru_cache(maxsize=256)
def leaf_kind(der: bytes) -> str | None:
    """Return what a certificate says about the kind of its key and the key itself does not (`signatures.RSA_PSS`)."""
    # rfc8446:4.2.3:8 rfc8446:4.2.3:10
    pss = parse_certificate(der).public_key_algorithm_oid == PublicKeyAlgorithmOID.RSASSA_PSS
    return RSA_PSS if pss else None


@lru_cache(maxsize=64)
def _verify_chain(authorities: Authorities, chain: tuple[bytes, ...], server_name: str | None) -> None:
    """Verify once per process what is the same each time: only a success is kept. No name: a client's chain."""
    if len(chain) > MAX_CHAIN_LENGTH:
        raise HandshakeError(BAD_CERTIFICATE, f"a chain of {len(chain)} certificates is too long")
    leaf, *intermediates = [parse_certificate(der) for der in chain]
    roots = [parse_certificate(der) for der in authorities.certificates]
    at = authorities.at if authorities.at.tzinfo is None else authorities.at.astimezone(UTC).replace(tzinfo=None)
    try:
        builder = PolicyBuilder().store(Store(roots)).time(at)
        if server_name is None:
            builder.build_client_verifier().verify(leaf, intermediates)
        else:
            address = literal_address(server_name)
            name = IPAddress(address) if address else DNSName(server_name)
            builder.build_server_verifier(name).verify(leaf, intermediates)
    except VerificationError as error:
        raise _diagnose(leaf, intermediates, roots, at, str(error)) from None
    except Exception as error:  # a certificate's extensions are parsed here, each parser with errors of its own
        raise HandshakeError(BAD_CERTIFICATE, f"the certificate can't be verified: {error}") from None


def _diagnose(
    leaf: Certificate, intermediates: list[Certificate], roots: list[Certificate], at: datetime, error: str
) -> HandshakeError:
    """Return the alert that tells best why a chain was refused: the verifier itself gives only a text."""
    path, anchored = _path(leaf, intermediates, roots)
    for certificate in path:
        begin = certificate.not_valid_before_utc.replace(tzinfo=None)
        end = certificate.not_valid_after_utc.replace(tzinfo=None)
        if not begin <= at <= end:
            return HandshakeError(CERTIFICATE_EXPIRED, f"a certificate is valid from {begin} to {end}, not at {at}")
    if not anchored:
        return HandshakeError(UNKNOWN_CA, "the certificate was not issued by a known authority")
    return HandshakeError(BAD_CERTIFICATE, f"the certificate is not acceptable: {error}")


def _path(
    leaf: Certificate, intermediates: list[Certificate], roots: list[Certificate]
) -> tuple[list[Certificate], bool]:
    """Return certificates from the leaf upwards, each issued by the next, and whether a root ends them."""
    path = [leaf]
    left = list(intermediates)
    while True:
        if path[-1] in roots:
            return path, True
        root = _issuer(path[-1], roots)
        if root is not None:
            return [*path, root], True
        issuer = _issuer(path[-1], left)
        if issuer is None:
            return path, False
        left.remove(issuer)
        path.append(issuer)


def _issuer(certificate: Certificate, candidates: Iterable[Certificate]) -> Certificate | None:
    """Return the candidate that signed `certificate`."""
    for candidate in candidates:
        try:
            certificate.verify_directly_issued_by(candidate)
        except Exception:  # another name, kind of key, algorithm or signature, each with its own error
            continue
        return candidate
    return None


def _check_der(field: str, certificates: tuple[bytes, ...]) -> None:
    """Check a configured tuple of certificates. Raises ConfigError."""
    for index, der in enumerate(certificates):
        try:
            parse_certificate(der)
        except HandshakeError as error:
            raise ConfigError(f"{field}[{index}] is not a DER certificate: {error.reason}") from None
