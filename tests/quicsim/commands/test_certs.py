"""`quicsim certs`: what it writes is what servers, clients and verifiers want; nothing is half done."""

import stat
from datetime import UTC, datetime
from pathlib import Path
from random import Random

import pytest
from click.testing import Result
from cryptography import x509
from typer.testing import CliRunner

from quicsim import authority
from quicsim.authority import KeyKind, issue
from quicsim.certificates import load_authorities, load_credentials
from quicsim.cli import app
from stack.errors import ConfigError
from stack.tls.alerts import HandshakeError

FIRST_DAY = datetime(2030, 1, 1, tzinfo=UTC)
NOON = datetime(2030, 1, 1, 12, tzinfo=UTC)
FILES = ["ca-key.pem", "ca.pem", "cert.pem", "key.pem"]


def certs(*arguments: object) -> Result:
    return CliRunner().invoke(app, ["certs", *map(str, arguments)])


def contents(directory: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in sorted(directory.iterdir())}


@pytest.mark.parametrize("length", [1, 2, 9])
@pytest.mark.parametrize("kind", ["ecdsa", "rsa"])
def test_a_chain_is_verified_from_its_files(tmp_path: Path, kind: str, length: int) -> None:
    made = certs(tmp_path / "new", "--key", kind, "--chain", length, "--name", "a.test", "--from", "2030-01-01")
    assert made.exit_code == 0, made.output
    assert sorted(contents(tmp_path / "new")) == FILES
    credentials = load_credentials(tmp_path / "new/cert.pem", tmp_path / "new/key.pem")
    assert len(credentials.certificates) == length
    trust = load_authorities(tmp_path / "new/ca.pem", NOON)
    trust.verify(credentials.certificates, "a.test")
    trust.verify_client(credentials.certificates)
    with pytest.raises(HandshakeError):
        trust.verify(credentials.certificates, "b.test")
    if length > 1:
        with pytest.raises(HandshakeError):
            trust.verify(credentials.certificates[:1], "a.test")


def test_ed25519_keys_sign_every_certificate_and_can_be_used(tmp_path: Path) -> None:
    assert certs(tmp_path, "--key", "ed25519", "--chain", 2).exit_code == 0
    credentials = load_credentials(tmp_path / "cert.pem", tmp_path / "key.pem")
    leaf, intermediate = (x509.load_der_x509_certificate(der) for der in credentials.certificates)
    root = x509.load_pem_x509_certificate((tmp_path / "ca.pem").read_bytes())
    leaf.verify_directly_issued_by(intermediate)
    intermediate.verify_directly_issued_by(root)
    root.verify_directly_issued_by(root)


def test_the_names_and_the_days_are_as_asked_for(tmp_path: Path) -> None:
    names = ["Www.Example.org", "*.example.org", "192.0.2.1", "2001:db8::1"]
    options = [part for name in names for part in ("--name", name)]
    assert certs(tmp_path, *options, "--from", "2031-05-01", "--days", 7).exit_code == 0
    leaf = x509.load_pem_x509_certificate((tmp_path / "cert.pem").read_bytes())
    found = leaf.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
    assert [str(name.value) for name in found] == ["www.example.org", *names[1:]]
    assert leaf.not_valid_before_utc == datetime(2031, 5, 1, tzinfo=UTC)
    assert leaf.not_valid_after_utc == datetime(2031, 5, 8, tzinfo=UTC)


def test_without_options_it_is_for_this_machine(tmp_path: Path) -> None:
    assert certs(tmp_path).exit_code == 0
    credentials = load_credentials(tmp_path / "cert.pem", tmp_path / "key.pem")
    leaf = x509.load_der_x509_certificate(credentials.certificates[0])
    trust = load_authorities(tmp_path / "ca.pem", leaf.not_valid_before_utc)
    for name in ("localhost", "127.0.0.1", "::1"):
        trust.verify(credentials.certificates, name)


@pytest.mark.parametrize("kind", ["ecdsa", "ed25519"])
def test_a_seed_makes_the_same_bytes_and_others_differ(tmp_path: Path, kind: str) -> None:
    for folder, seed in (("one", 5), ("two", 5), ("three", 6)):
        options = ("--seed", seed, "--from", "2030-01-01", "--key", kind, "--chain", 3)
        assert certs(tmp_path / folder, *options).exit_code == 0
    assert contents(tmp_path / "one") == contents(tmp_path / "two")
    assert not set(contents(tmp_path / "one").values()) & set(contents(tmp_path / "three").values())


def test_only_the_owner_can_read_keys(tmp_path: Path) -> None:
    assert certs(tmp_path).exit_code == 0
    for name in ("key.pem", "ca-key.pem"):
        assert stat.S_IMODE((tmp_path / name).stat().st_mode) == 0o600


def test_files_that_exist_are_replaced_only_by_force(tmp_path: Path) -> None:
    (tmp_path / "key.pem").write_text("mine")
    refused = certs(tmp_path)
    assert refused.exit_code == 2
    assert refused.stderr == f"quicsim: {tmp_path}: has key.pem already; --force replaces what is there\n"
    assert contents(tmp_path) == {"key.pem": b"mine"}
    assert certs(tmp_path, "--force").exit_code == 0
    assert sorted(contents(tmp_path)) == FILES


def test_nothing_is_left_behind_when_a_file_can_not_be_written(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    really_open = authority.os.open

    def full(path: Path, *arguments: int) -> int:
        if path.name == ".key.pem.part":
            raise OSError(28, "No space left on device")
        return really_open(path, *arguments)

    (tmp_path / "ca.pem").write_text("old")
    monkeypatch.setattr(authority.os, "open", full)
    failed = certs(tmp_path, "--force")
    assert failed.exit_code == 2
    assert "the certificates can't be written: No space left on device" in failed.stderr
    assert contents(tmp_path) == {"ca.pem": b"old"}


def test_a_place_that_is_none_is_named(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    failed = certs(tmp_path / "file")
    assert failed.exit_code == 2
    assert f"{tmp_path / 'file'}: the certificates can't be written" in failed.stderr
    (tmp_path / "cert.pem").mkdir()
    assert "cert.pem: is a directory" in certs(tmp_path, "--force").stderr
    assert sorted(path.name for path in tmp_path.iterdir()) == ["cert.pem", "file"]


@pytest.mark.parametrize(
    ("options", "reason"),
    [
        (("--name", "a_b.test"), "name 'a_b.test': must be an IP address or an ASCII host name"),
        (("--name", "bücher.test"), "must be an IP address or an ASCII host name"),
        (("--name", "a..test"), "must be an IP address or an ASCII host name"),
        (("--name", "a.*.test"), "must be an IP address or an ASCII host name"),
        (("--name", "256.0.0.1"), "must be an IP address or an ASCII host name"),
        (("--name", f"{'a' * 64}.test"), "must be an IP address or an ASCII host name"),
        (("--name", ""), "must be an IP address or an ASCII host name"),
        (("--chain", 0), "a chain of 0: must be of 1 to 9 certificates"),
        (("--chain", 10), "a chain of 10: must be of 1 to 9 certificates"),
        (("--days", 0), "valid for 0 days: must be 1 or more"),
        (("--days", 10_000_000), "must end before the year 10000"),
        (("--from", "1949-12-31"), "valid from 1949-12-31: must be 1950 or later"),
        (("--seed", 1), "--seed 1: needs --from"),
        (("--seed", 1, "--from", "2030-01-01", "--key", "rsa"), "RSA keys can't be made from a seed"),
    ],
)
def test_what_can_not_be_is_refused_with_the_reason(tmp_path: Path, options: tuple[object, ...], reason: str) -> None:
    failed = certs(tmp_path / "new", *options)
    assert failed.exit_code == 2
    assert reason in failed.stderr
    assert not (tmp_path / "new").exists()


def test_a_chain_needs_a_name() -> None:
    with pytest.raises(ConfigError, match="names: must be one or more"):
        issue([], FIRST_DAY, Random(1), kind=KeyKind.ECDSA)
