"""The fixed test certificate, and credentials from files."""

import hashlib
from datetime import UTC, datetime
from pathlib import Path

import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.serialization import (
    BestAvailableEncryption,
    Encoding,
    KeySerializationEncryption,
    NoEncryption,
    PrivateFormat,
)
from cryptography.x509 import SubjectAlternativeName, load_der_x509_certificate

from quicsim import certificates
from stack.errors import ConfigError
from stack.tls.certificates import Credentials

NOW = datetime(2030, 1, 1, tzinfo=UTC)


def write(folder: Path, credentials: Credentials, encryption: KeySerializationEncryption) -> tuple[Path, Path]:
    certificate = load_der_x509_certificate(credentials.certificates[0])
    cert_path, key_path = folder / "cert.pem", folder / "key.pem"
    cert_path.write_bytes(certificate.public_bytes(Encoding.PEM))
    key = credentials.private_key
    key_path.write_bytes(key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, encryption))
    return cert_path, key_path


def test_the_test_certificate_is_bit_exact() -> None:
    credentials = certificates.test_certificate()
    assert credentials is certificates.test_certificate()
    assert (
        hashlib.sha256(credentials.certificates[0]).hexdigest()
        == "e38f137683e72a76ac54a18e30208fbfa3ce4b1bab911f31753ddb67a851d0bf"
    )


def test_the_test_certificate_names_the_simulated_hosts() -> None:
    certificate = load_der_x509_certificate(certificates.test_certificate().certificates[0])
    names = certificate.extensions.get_extension_for_class(SubjectAlternativeName).value
    assert [str(name.value) for name in names] == ["localhost", "quicsim.test", "127.0.0.1", "::1"]
    assert certificate.not_valid_before_utc.year == 2020
    assert certificate.not_valid_after_utc.year == 2120


def test_credentials_and_authorities_are_read_from_pem_files(tmp_path: Path) -> None:
    cert_path, key_path = write(tmp_path, certificates.test_certificate(), NoEncryption())
    loaded = certificates.load_credentials(cert_path, str(key_path))
    assert loaded.certificates == certificates.test_certificate().certificates
    assert certificates.load_authorities(cert_path, NOW).certificates == loaded.certificates


def test_files_that_can_not_be_used_are_named_with_the_reason(tmp_path: Path) -> None:
    cert_path, key_path = write(tmp_path, certificates.test_certificate(), BestAvailableEncryption(b"secret"))
    with pytest.raises(ConfigError, match=r"key\.pem is protected by a passphrase"):
        certificates.load_credentials(cert_path, key_path)
    with pytest.raises(ConfigError, match=r"cert\.pem holds no usable PEM private key"):
        certificates.load_credentials(cert_path, cert_path)
    with pytest.raises(ConfigError, match=r"key\.pem holds no PEM certificates"):
        certificates.load_authorities(key_path, NOW)
    with pytest.raises(ConfigError, match=r"absent\.pem can't be read: No such file"):
        certificates.load_credentials(tmp_path / "absent.pem", key_path)


def test_a_key_of_another_certificate_is_refused(tmp_path: Path) -> None:
    cert_path, key_path = write(tmp_path, certificates.test_certificate(), NoEncryption())
    key = Ed25519PrivateKey.from_private_bytes(bytes(32))
    key_path.write_bytes(key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()))
    with pytest.raises(ConfigError, match=r"key\.pem and .*cert\.pem can't be used together.*does not belong"):
        certificates.load_credentials(cert_path, key_path)
