"""The engine's parts against the traces of RFC 8448."""

from typing import Any

import pytest
from cryptography.hazmat.primitives.asymmetric.rsa import RSAPublicKey
from cryptography.hazmat.primitives.asymmetric.x25519 import X25519PrivateKey
from cryptography.x509 import load_der_x509_certificate

from stack.tls import messages
from stack.tls.alerts import HandshakeError
from stack.tls.groups import X25519Offer
from stack.tls.hello import ServerHello, parse_client_hello, parse_server_hello
from stack.tls.messages import parse_certificate, parse_certificate_verify
from stack.tls.schedule import KeySchedule
from stack.tls.signatures import client_content, server_content, verify


@pytest.fixture(scope="module")
def trace(trace_of: Any) -> Any:
    """The simple handshake."""
    return trace_of(3)


@pytest.fixture
def schedule(trace: Any) -> KeySchedule:
    return schedule_of(trace)


def schedule_of(trace: Any) -> KeySchedule:
    """A key schedule at ServerHello."""
    offer = X25519Offer(
        X25519PrivateKey.from_private_bytes(bytes.fromhex(trace.fields("client", "create an ephemeral")["private key"]))
    )
    hello = trace.message("server", "ServerHello")
    parsed = parse_server_hello(hello[4:], (43, 51))
    assert isinstance(parsed, ServerHello)
    assert parsed.share is not None
    assert parsed.suite == 0x1301
    schedule = KeySchedule("sha256")
    schedule.add_message(trace.message("client", "ClientHello"))
    schedule.add_message(hello)
    schedule.add_shared_secret(offer.accept(parsed.share[1]))
    return schedule


def test_handshake_secrets_match_the_trace(trace: Any, schedule: KeySchedule) -> None:
    assert schedule.derive(b"c hs traffic") == trace.secret('derive secret "tls13 c hs')
    assert schedule.derive(b"s hs traffic") == trace.secret('derive secret "tls13 s hs')


def test_finished_and_application_secrets_match_the_trace(trace: Any, schedule: KeySchedule) -> None:
    client_secret, server_secret = schedule.derive(b"c hs traffic"), schedule.derive(b"s hs traffic")
    for name in ("EncryptedExtensions", "Certificate", "CertificateVerify"):
        schedule.add_message(trace.message("server", name))
    finished = messages.encode_finished(schedule.verify_data(server_secret))
    assert finished == trace.message("server", "Finished")
    schedule.add_message(finished)
    client_finished = messages.encode_finished(schedule.verify_data(client_secret))
    assert client_finished == trace.message("client", "Finished")
    schedule.enter_master()
    assert schedule.derive(b"c ap traffic") == trace.secret('derive secret "tls13 c ap')
    assert schedule.derive(b"s ap traffic") == trace.secret('derive secret "tls13 s ap')
    assert schedule.derive(b"exp master") == trace.secret('derive secret "tls13 exp')
    schedule.add_message(client_finished)
    assert schedule.derive(b"res master") == trace.secret('derive secret "tls13 res', who="client")


@pytest.mark.requirement("rfc8446:4.4.3:9")
@pytest.mark.requirement("rfc8446:4.4.3:10")
def test_the_trace_s_certificate_verify_is_valid_and_no_other(trace: Any, schedule: KeySchedule) -> None:
    certificate = trace.message("server", "Certificate")
    for message in (trace.message("server", "EncryptedExtensions"), certificate):
        schedule.add_message(message)
    key = load_der_x509_certificate(parse_certificate(certificate[4:], ())[0]).public_key()
    assert isinstance(key, RSAPublicKey)
    scheme, signature = parse_certificate_verify(trace.message("server", "CertificateVerify")[4:])
    content = server_content(schedule.transcript_hash())
    verify(key, scheme, signature, content)
    with pytest.raises(HandshakeError, match="decrypt_error"):
        verify(key, scheme, bytes((signature[0] ^ 1,)) + signature[1:], content)
    with pytest.raises(HandshakeError, match="illegal_parameter"):
        verify(key, 0x0403, signature, content)


def test_client_and_server_prove_themselves_in_the_trace_of_section_6(trace_of: Any) -> None:
    trace = trace_of(6)
    schedule = schedule_of(trace)
    client_secret, server_secret = schedule.derive(b"c hs traffic"), schedule.derive(b"s hs traffic")
    flight = ("EncryptedExtensions", "CertificateRequest", "Certificate", "CertificateVerify", "Finished")
    contents = {"server": server_content, "client": client_content}
    for who, names, secret in (("server", flight, server_secret), ("client", flight[2:], client_secret)):
        for name in names:
            message = trace.message(who, name)
            if name == "CertificateRequest":
                assert 0x0804 in messages.parse_certificate_request(message[4:])
            elif name == "CertificateVerify":
                leaf = parse_certificate(trace.message(who, "Certificate")[4:], ())[0]
                key: Any = load_der_x509_certificate(leaf).public_key()
                scheme, signature = parse_certificate_verify(message[4:])
                verify(key, scheme, signature, contents[who](schedule.transcript_hash()))
            elif name == "Finished":
                assert messages.encode_finished(schedule.verify_data(secret)) == message
            schedule.add_message(message)
        if who == "server":
            schedule.enter_master()
            assert schedule.derive(b"c ap traffic") == trace.secret('derive secret "tls13 c ap')
            assert schedule.derive(b"s ap traffic") == trace.secret('derive secret "tls13 s ap')
    assert schedule.derive(b"res master") == trace.secret('derive secret "tls13 res', who="client")


def test_the_trace_s_client_hello_is_parsed(trace: Any) -> None:
    hello = parse_client_hello(trace.message("client", "ClientHello")[4:])
    assert hello.server_name == "server"
    assert hello.suites == (0x1301, 0x1303, 0x1302)
    assert hello.key_shares is not None
    assert list(hello.key_shares) == [0x001D]
    assert hello.alpn is None
    assert hello.transport_parameters is None
