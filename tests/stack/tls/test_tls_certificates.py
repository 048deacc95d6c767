"""Which certificates a client accepts, and the alert for those that it does not."""

import random
from datetime import timedelta, timezone
from typing import Any

import pytest
from cryptography.hazmat.primitives.serialization import Encoding

from stack.errors import ConfigError
from stack.tls.certificates import Authorities, Credentials, Pinned
from stack.tls.config import ClientTls, ServerTls
from stack.tls.engine import Completed


def der(certificate: Any) -> bytes:
    data: bytes = certificate.public_bytes(Encoding.DER)
    return data


@pytest.fixture(scope="module")
def root(tls: Any) -> tuple[Any, Any]:
    key = tls.key("p384")
    return key, tls.certificate(key, authority=True)


def outcome(tls: Any, trust: Any, credentials: Credentials, name: str | None = "localhost") -> list[int]:
    """The client's alerts; none when it completes."""
    client = ClientTls(trust).client(name, b"client", random.Random(1))
    events, _ = tls.exchange(client, ServerTls(credentials).server(b"server", random.Random(2)))
    found: list[int] = tls.alerts(events)
    assert bool(found) != any(isinstance(event, Completed) for event in events)
    return found


def issue(tls: Any, root: tuple[Any, Any], **fields: Any) -> Credentials:
    key = tls.key("p256")
    return Credentials((der(tls.certificate(key, root, **fields)),), key)


@pytest.mark.parametrize("name", ["localhost", "a.example"])
def test_a_chain_to_a_known_authority_is_accepted(tls: Any, root: tuple[Any, Any], name: str) -> None:
    trust = Authorities((der(root[1]),), tls.now)
    assert outcome(tls, trust, issue(tls, root, names=("localhost", "*.example")), name) == []


def test_a_chain_with_an_intermediate_is_accepted(tls: Any, root: tuple[Any, Any]) -> None:
    middle_key, key = tls.key("other"), tls.key("p256")
    middle = tls.certificate(middle_key, root, authority=True, names=("middle",))
    leaf = tls.certificate(key, (middle_key, middle))
    trust = Authorities((der(root[1]),), tls.now)
    assert outcome(tls, trust, Credentials((der(leaf), der(middle)), key)) == []
    assert outcome(tls, trust, Credentials((der(leaf),), key)) == [48]


def test_another_name_is_refused(tls: Any, root: tuple[Any, Any]) -> None:
    trust = Authorities((der(root[1]),), tls.now)
    assert outcome(tls, trust, issue(tls, root), "example.org") == [42]
    assert outcome(tls, trust, issue(tls, root), "192.0.2.1") == [42]


@pytest.mark.parametrize("days", [-11, 11])
def test_a_certificate_that_is_not_valid_now_is_refused(tls: Any, root: tuple[Any, Any], days: int) -> None:
    trust = Authorities((der(root[1]),), tls.now + timedelta(days=days))
    assert outcome(tls, trust, issue(tls, root)) == [45]


def test_the_instant_may_have_a_time_zone(tls: Any, root: tuple[Any, Any]) -> None:
    credentials = issue(tls, root, end=tls.now + timedelta(hours=1))
    east, west = timezone(timedelta(hours=6)), timezone(timedelta(hours=-6))
    assert outcome(tls, Authorities((der(root[1]),), tls.now.replace(tzinfo=east)), credentials) == []
    assert outcome(tls, Authorities((der(root[1]),), tls.now.replace(tzinfo=west)), credentials) == [45]


def test_an_unknown_authority_is_refused(tls: Any, root: tuple[Any, Any]) -> None:
    stranger = tls.certificate(tls.key("p521"), authority=True, names=("stranger",))
    trust = Authorities((der(stranger),), tls.now)
    assert outcome(tls, trust, issue(tls, root)) == [48]
    assert outcome(tls, trust, tls.credentials("p256")) == [48]


def test_an_authority_s_name_with_another_key_is_refused(tls: Any, root: tuple[Any, Any]) -> None:
    impostor_key = tls.key("other")
    impostor = tls.certificate(impostor_key, authority=True)
    assert impostor.subject == root[1].subject
    trust = Authorities((der(root[1]),), tls.now)
    assert outcome(tls, trust, issue(tls, (impostor_key, impostor))) == [48]


def test_a_chain_that_is_too_long_is_refused(tls: Any, root: tuple[Any, Any]) -> None:
    credentials = issue(tls, root)
    trust = Authorities((der(root[1]),), tls.now)
    chain = credentials.certificates + (der(root[1]),) * 16
    assert outcome(tls, trust, Credentials(chain, credentials.private_key)) == [42]


def test_a_pin_ignores_name_and_dates(tls: Any) -> None:
    credentials = tls.credentials("p256")
    for name in ("localhost", "example.org", None):
        assert outcome(tls, Pinned(credentials.certificates), credentials, name) == []
        assert outcome(tls, credentials, credentials, name) == []
    assert outcome(tls, Pinned(tls.credentials("other").certificates), credentials) == [48]
    assert outcome(tls, Pinned(()), credentials) == [48]


def test_authorities_need_a_server_name(tls: Any, root: tuple[Any, Any]) -> None:
    with pytest.raises(ConfigError, match="server_name = None"):
        ClientTls(Authorities((der(root[1]),), tls.now)).client(None, b"", random.Random(1))


@pytest.mark.requirement("rfc8446:4.4.2.2:3")
def test_a_key_that_may_not_sign_is_refused(tls: Any) -> None:
    key = tls.key("p256")
    with pytest.raises(ConfigError, match="key usage"):
        Credentials((der(tls.certificate(key, signing=False)),), key)


def test_credentials_that_can_not_work_are_refused(tls: Any) -> None:
    good = tls.credentials("p256")
    with pytest.raises(ConfigError, match="does not belong"):
        Credentials(good.certificates, tls.key("other"))
    with pytest.raises(ConfigError, match="at least the leaf"):
        Credentials((), good.private_key)
    with pytest.raises(ConfigError, match=r"certificates\[1\] is not a DER certificate"):
        Credentials((*good.certificates, b"?"), good.private_key)
    with pytest.raises(ConfigError, match="at least one root"):
        Authorities((), tls.now)
