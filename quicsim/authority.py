"""A certificate authority for tests and private networks: it issues a chain for a server or a client, as PEM files."""

import os
import re
from dataclasses import dataclass
from datetime import datetime, timedelta
from enum import StrEnum
from ipaddress import ip_address
from pathlib import Path
from typing import Final

from cryptography import x509
from cryptography.hazmat.primitives.asymmetric.ec import SECP256R1, EllipticCurvePrivateKey, derive_private_key
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.asymmetric.rsa import generate_private_key
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

from quicsim.outputs import OutputError
from stack.errors import ConfigError
from stack.randomness import Randomness
from stack.tls.certificates import Authorities, Credentials
from stack.tls.signatures import PrivateKey

_P256_ORDER: Final = 0xFFFFFFFF_00000000_FFFFFFFF_FFFFFFFF_BCE6FAAD_A7179E84_F3B9CAC2_FC632551
_RSA_BITS: Final = 2048
_MAX_LENGTH: Final = 9  # of a chain: verifiers follow no more than eight intermediates
_SERIAL_BITS: Final = 158  # at most 20 bytes, and positive (RFC 5280 section 4.1.2.2)
_EARLIEST_YEAR: Final = 1950  # that certificates can tell

_LABEL: Final = re.compile(r"[a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?", re.IGNORECASE | re.ASCII)
_MAX_NAME_LENGTH: Final = 253

CA_CERTIFICATE: Final = "ca.pem"
CA_KEY: Final = "ca-key.pem"
CERTIFICATE: Final = "cert.pem"  # the chain, leaf first, without the root
KEY: Final = "key.pem"
_KEYS: Final = (CA_KEY, KEY)


class KeyKind(StrEnum):
    """The kind of key that every certificate of a chain has."""

    ECDSA = "ecdsa"  # on P-256
    RSA = "rsa"  # of 2048 bits
    ED25519 = "ed25519"


@dataclass(frozen=True, slots=True)
class Issued:
    """A root, and the chain that it vouches for: leaf first, without the root."""

    root: x509.Certificate
    root_key: PrivateKey
    chain: tuple[x509.Certificate, ...]
    key: PrivateKey

    @property
    def credentials(self) -> Credentials:
        """What the owner of the leaf proves its identity with."""
        return Credentials(tuple(certificate.public_bytes(Encoding.DER) for certificate in self.chain), self.key)

    def authorities(self, at: datetime) -> Authorities:
        """Trust in the root, for certificates that are valid at `at`."""
        return Authorities((self.root.public_bytes(Encoding.DER),), at)

    def files(self) -> dict[str, bytes]:
        """The PEM files by name; keys are unencrypted PKCS #8."""
        return {
            CA_CERTIFICATE: self.root.public_bytes(Encoding.PEM),
            CA_KEY: _pem(self.root_key),
            CERTIFICATE: b"".join(certificate.public_bytes(Encoding.PEM) for certificate in self.chain),
            KEY: _pem(self.key),
        }


def issue(
    names: list[str],
    begin: datetime,
    rng: Randomness,
    *,
    kind: KeyKind = KeyKind.ECDSA,
    length: int = 1,
    days: int = 365,
) -> Issued:
    """Make an authority and a chain of `length` certificates, the leaf's included, valid for `days` from `begin` (UTC).

    The leaf is good for servers and clients. `names` are host names, with "*" as first label if need be, and addresses.
    The bytes follow from the arguments, but for RSA: its keys are always the operating system's. Raises ConfigError.
    """
    alternatives = [_alternative_name(name) for name in names]
    if not alternatives:
        raise ConfigError("names: must be one or more host names and addresses")
    if not 1 <= length <= _MAX_LENGTH:
        raise ConfigError(f"a chain of {length}: must be of 1 to {_MAX_LENGTH} certificates")
    end = _end(begin, days)
    issuer_key = root_key = _make_key(kind, rng)
    issuer = root = _sign(_name("quicsim root"), root_key, None, (begin, end), rng, length - 1)
    chain: list[x509.Certificate] = []
    for below in range(length - 2, -1, -1):
        key = _make_key(kind, rng)
        subject = _name(f"quicsim intermediate {len(chain) + 1}")
        issuer = _sign(subject, key, (issuer_key, issuer), (begin, end), rng, below)
        issuer_key = key
        chain.insert(0, issuer)
    key = _make_key(kind, rng)
    leaf = _sign(_name("quicsim leaf"), key, (issuer_key, issuer), (begin, end), rng, None, alternatives)
    return Issued(root, root_key, (leaf, *chain), key)


def write_files(directory: Path, files: dict[str, bytes], force: bool = False) -> None:
    """Write PEM files: all of them whole, or none. Only the owner can read keys.

    Raises OutputError when that fails, or for files that exist, which `force` replaces.
    """
    present = [name for name in files if (directory / name).exists()]
    if present and not force:
        raise OutputError(f"{directory}: has {', '.join(present)} already; --force replaces what is there")
    for name in present:
        if (directory / name).is_dir():
            raise OutputError(f"{directory / name}: is a directory, and must be a file")
    parts = {directory / f".{name}.part": name for name in files}
    try:
        directory.mkdir(parents=True, exist_ok=True)
        for part, name in parts.items():
            part.unlink(missing_ok=True)
            mode = 0o600 if name in _KEYS else 0o644
            with os.fdopen(os.open(part, os.O_WRONLY | os.O_CREAT | os.O_EXCL, mode), "wb") as file:
                file.write(files[name])
        for part, name in parts.items():
            part.replace(directory / name)
    except OSError as error:
        raise OutputError(f"{directory}: the certificates can't be written: {error.strerror}") from None
    finally:
        if directory.is_dir():
            for part in parts:
                part.unlink(missing_ok=True)


def _end(begin: datetime, days: int) -> datetime:
    """When the validity ends. Raises ConfigError for dates that certificates can't tell."""
    if begin.year < _EARLIEST_YEAR:
        raise ConfigError(f"valid from {begin:%Y-%m-%d}: must be {_EARLIEST_YEAR} or later")
    if days < 1:
        raise ConfigError(f"valid for {days} days: must be 1 or more")
    try:
        return begin + timedelta(days=days)
    except OverflowError:
        raise ConfigError(f"valid for {days} days from {begin:%Y-%m-%d}: must end before the year 10000") from None


def _alternative_name(name: str) -> x509.GeneralName:
    """Return a host name or address as it stands in a certificate. Raises ConfigError."""
    try:
        return x509.IPAddress(ip_address(name))
    except ValueError:
        pass
    labels = name.removeprefix("*.").split(".")
    numeric = labels[-1].isdigit()  # then it was to be an address
    if numeric or len(name) > _MAX_NAME_LENGTH or not all(_LABEL.fullmatch(label) for label in labels):
        raise ConfigError(
            f"name {name!r}: must be an IP address or an ASCII host name such as www.example.org or *.example.org"
        )
    return x509.DNSName(name.lower())


def _name(common_name: str) -> x509.Name:
    return x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, common_name)])


def _make_key(kind: KeyKind, rng: Randomness) -> PrivateKey:
    match kind:
        case KeyKind.ECDSA:
            return derive_private_key(1 + int.from_bytes(rng.randbytes(48)) % (_P256_ORDER - 1), SECP256R1())
        case KeyKind.ED25519:
            return Ed25519PrivateKey.from_private_bytes(rng.randbytes(32))
        case KeyKind.RSA:
            return generate_private_key(65_537, _RSA_BITS)


def _pem(key: PrivateKey) -> bytes:
    return key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())


def _sign(
    subject: x509.Name,
    key: PrivateKey,
    issuer: tuple[PrivateKey, x509.Certificate] | None,
    validity: tuple[datetime, datetime],
    rng: Randomness,
    below: int | None,
    names: list[x509.GeneralName] | None = None,
) -> x509.Certificate:
    """Return a certificate for `key`, self-signed without an `issuer`.

    `below` is how many authorities may follow this one in a chain; None for a leaf, which has `names`.
    """
    issuing_key, issuing_name = (key, subject) if issuer is None else (issuer[0], issuer[1].subject)
    is_authority = below is not None
    usage = x509.KeyUsage(
        digital_signature=not is_authority,
        content_commitment=False,
        key_encipherment=False,
        data_encipherment=False,
        key_agreement=False,
        key_cert_sign=is_authority,
        crl_sign=is_authority,
        encipher_only=False,
        decipher_only=False,
    )
    builder = (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(issuing_name)
        .public_key(key.public_key())
        .serial_number(1 + rng.getrandbits(_SERIAL_BITS))
        .not_valid_before(validity[0])
        .not_valid_after(validity[1])
        .add_extension(x509.BasicConstraints(is_authority, below), critical=True)
        .add_extension(usage, critical=True)
        .add_extension(x509.SubjectKeyIdentifier.from_public_key(key.public_key()), critical=False)
        .add_extension(x509.AuthorityKeyIdentifier.from_issuer_public_key(issuing_key.public_key()), critical=False)
    )
    if names:
        purposes = x509.ExtendedKeyUsage([ExtendedKeyUsageOID.SERVER_AUTH, ExtendedKeyUsageOID.CLIENT_AUTH])
        builder = builder.add_extension(x509.SubjectAlternativeName(names), critical=False)
        builder = builder.add_extension(purposes, critical=False)
    hashing = None if isinstance(issuing_key, Ed25519PrivateKey) else SHA256()
    if isinstance(issuing_key, EllipticCurvePrivateKey):
        return builder.sign(issuing_key, hashing, ecdsa_deterministic=True)
    return builder.sign(issuing_key, hashing)
