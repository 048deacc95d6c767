"""Credentials and authorities: the fixed one for simulations, and those of PEM files."""

from datetime import UTC, datetime
from functools import cache
from ipaddress import ip_address
from pathlib import Path
from typing import Final

from cryptography import x509
from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives.asymmetric.ec import (
    SECP256R1,
    EllipticCurvePrivateKey,
    derive_private_key,
)
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.asymmetric.rsa import RSAPrivateKey
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.serialization import Encoding, load_pem_private_key
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

from stack.errors import ConfigError
from stack.tls.certificates import Authorities, Credentials, Pinned

# Not a secret: whoever has this program has the key, so only simulations and tests may trust it.
_TEST_KEY: Final = 0x71756963_73696D20_74657374_206B6579_206E6F74_20612073_65637265_74210001
_TEST_NAMES: Final = ("localhost", "quicsim.test")
_TEST_ADDRESSES: Final = ("127.0.0.1", "::1")


@cache
def test_certificate() -> Credentials:
    """Return the credentials of simulated servers: a self-signed leaf on P-256 with a publicly known key.

    The bytes are the same everywhere and always. Valid from 2020 to 2120 for localhost, quicsim.test,
    127.0.0.1 and ::1. Never trust it outside of simulations and tests.
    """
    key = derive_private_key(_TEST_KEY, SECP256R1())
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "localhost")])
    names: list[x509.GeneralName] = [x509.DNSName(host) for host in _TEST_NAMES]
    names += [x509.IPAddress(ip_address(address)) for address in _TEST_ADDRESSES]
    usage = x509.KeyUsage(
        digital_signature=True,
        content_commitment=False,
        key_encipherment=False,
        data_encipherment=False,
        key_agreement=False,
        key_cert_sign=False,
        crl_sign=False,
        encipher_only=False,
        decipher_only=False,
    )
    certificate = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(1)
        .not_valid_before(datetime(2020, 1, 1, tzinfo=UTC))
        .not_valid_after(datetime(2120, 1, 1, tzinfo=UTC))
        .add_extension(x509.SubjectAlternativeName(names), critical=False)
        .add_extension(x509.BasicConstraints(ca=False, path_length=None), critical=True)
        .add_extension(usage, critical=True)
        .add_extension(x509.ExtendedKeyUsage([ExtendedKeyUsageOID.SERVER_AUTH]), critical=False)
        .sign(key, SHA256(), ecdsa_deterministic=True)
    )
    return Credentials((certificate.public_bytes(Encoding.DER),), key)


# pytest would take the name for a test's.
test_certificate.__dict__["__test__"] = False


def load_credentials(cert_path: Path | str, key_path: Path | str) -> Credentials:
    """Return what a server proves its identity with, from PEM files.

    `cert_path` holds the certificate chain, leaf first, `key_path` the leaf's unencrypted private key.

    Raises ConfigError for a file that can't be read or parsed, or a key that is not the leaf's.
    """
    chain = _load_certificates(Path(cert_path))
    try:
        key = load_pem_private_key(_read(Path(key_path)), None)
    except TypeError:
        raise ConfigError(f"{key_path} is protected by a passphrase: must be an unencrypted PEM key") from None
    except (ValueError, UnsupportedAlgorithm) as error:
        raise ConfigError(f"{key_path} holds no usable PEM private key: {error}") from None
    if not isinstance(key, EllipticCurvePrivateKey | RSAPrivateKey | Ed25519PrivateKey):
        raise ConfigError(f"{key_path} holds a key of type {type(key).__name__}: must be ECDSA, RSA or Ed25519")
    try:
        return Credentials(chain, key)
    except ConfigError as error:
        raise ConfigError(f"{key_path} and {cert_path} can't be used together: {error}") from None


def load_authorities(path: Path | str, at: datetime) -> Authorities:
    """Return trust in the roots of a PEM file, for certificates that are valid at `at` (naive means UTC).

    Raises ConfigError for a file that can't be read or parsed.
    """
    return Authorities(_load_certificates(Path(path)), at)


def load_pinned(path: Path | str) -> Pinned:
    """Return trust in exactly the certificates of a PEM file. Raises ConfigError for one that can't be used."""
    return Pinned(_load_certificates(Path(path)))


def _load_certificates(path: Path) -> tuple[bytes, ...]:
    data = _read(path)
    try:
        certificates = x509.load_pem_x509_certificates(data)
    except ValueError as error:
        raise ConfigError(f"{path} holds no PEM certificates: {error}") from None
    return tuple(certificate.public_bytes(Encoding.DER) for certificate in certificates)


def _read(path: Path) -> bytes:
    try:
        return path.read_bytes()
    except OSError as error:
        raise ConfigError(f"{path} can't be read: {error.strerror}") from None
