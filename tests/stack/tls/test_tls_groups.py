"""Groups, suites and signatures beyond the usual ones."""

import random
from typing import Any

import pytest
from cryptography.hazmat.primitives.asymmetric.rsa import RSAPrivateKey
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

from quicsim.certificates import test_certificate
from stack.tls import codec, extensions, mlkem
from stack.tls.certificates import Credentials
from stack.tls.config import ClientTls, ServerTls
from stack.tls.engine import INITIAL, Completed, Event, HandshakeBytes, NewSecret
from stack.tls.groups import GROUPS, HAS_MLKEM, P256, P384, X25519, X25519MLKEM768
from stack.tls.schedule import SUITES
from tests.support.pair import Pair

needs_mlkem = pytest.mark.skipif(not HAS_MLKEM, reason="cryptography has no ML-KEM")


def run(tls: Any, seed: int = 1, kind: str = "p256", deterministic: bool = True, **fields: Any) -> tuple[Any, ...]:
    credentials = fields.pop("credentials", None) or tls.credentials(kind)
    client = ClientTls(credentials, **fields).client("localhost", b"client", random.Random(seed))
    fields.pop("signatures", None)
    fields.pop("key_shares", None)
    config = ServerTls(credentials, deterministic=deterministic, **fields)
    events: tuple[Any, ...] = tls.exchange(client, config.server(b"server", random.Random(seed + 1)))
    return events


def complete(events: tuple[list[Event], ...]) -> bool:
    secrets = [{event.secret for event in side if isinstance(event, NewSecret)} for side in events]
    return len(secrets[0]) == 4 and secrets[0] == secrets[1] and isinstance(events[0][-1], Completed)


@pytest.mark.parametrize("suite", SUITES)
@pytest.mark.parametrize("group", GROUPS)
def test_every_suite_and_group_completes(tls: Any, suite: int, group: int) -> None:
    assert complete(run(tls, suites=(suite,), groups=(group,)))


@needs_mlkem
def test_the_hybrid_group_is_exact_in_a_seeded_run(tls: Any) -> None:
    groups = (X25519MLKEM768, X25519)
    assert run(tls, groups=groups) == run(tls, groups=groups)
    assert run(tls, groups=groups) != run(tls, groups=groups, seed=2)
    assert complete(run(tls, groups=groups, deterministic=False))


@needs_mlkem
def test_encapsulation_in_python_is_what_the_library_decapsulates() -> None:
    from cryptography.hazmat.primitives.asymmetric.mlkem import MLKEM768PrivateKey

    rng = random.Random(11)
    for _ in range(5):
        private = MLKEM768PrivateKey.from_seed_bytes(rng.randbytes(64))
        secret, ciphertext = mlkem.encapsulate(private.public_key().public_bytes_raw(), rng.randbytes(32))
        assert private.decapsulate(ciphertext) == secret


@needs_mlkem
@pytest.mark.parametrize("deterministic", [True, False])
@pytest.mark.parametrize(
    "share",
    [b"", bytes(1215), bytes(1217), b"\xff" * 1216, GROUPS[P256].offer(random.Random(1)).public],
    ids=["empty", "short", "long", "not reduced", "another group's"],
)
def test_a_bad_hybrid_share_is_an_illegal_parameter(tls: Any, share: bytes, deterministic: bool) -> None:
    change: dict[int, bytes | None] = {
        10: codec.vector16(codec.numbers((X25519MLKEM768,))),
        51: codec.vector16(extensions.encode_key_share(X25519MLKEM768, share or b"\0")),
    }
    config = ServerTls(tls.credentials("p256"), groups=(X25519MLKEM768,), deterministic=deterministic)
    server = config.server(b"server", random.Random(1))
    server.feed(INITIAL, tls.client_hello(change), 0)
    assert tls.alerts(tls.drain(server)) == [47]


@needs_mlkem
def test_a_hybrid_answer_of_a_wrong_length_is_an_illegal_parameter(tls: Any) -> None:
    offer = GROUPS[X25519MLKEM768].offer(random.Random(1))
    answer, secret = GROUPS[X25519MLKEM768].answer(offer.public, random.Random(2))
    assert offer.accept(answer) == secret
    with pytest.raises(Exception, match="illegal_parameter"):
        offer.accept(answer[:-1])


@needs_mlkem
def test_a_client_hello_of_two_packets_connects() -> None:
    groups = (X25519MLKEM768, X25519)
    credentials = test_certificate()
    pair = Pair(
        client={"tls": ClientTls(credentials, groups=groups, key_shares=2)},
        server={"tls": ServerTls(credentials, groups=groups, deterministic=True)},
    )
    connection, _ = pair.established()
    first_flight = [datagram for datagram in pair.sent if datagram.to_server and datagram.at < pair.delay_ns + 1]
    assert len(first_flight) == 2
    assert connection.handshake_confirmed


@pytest.mark.requirement("rfc8446:9.1:3")
def test_p256_and_x25519_are_offered_by_default(tls: Any) -> None:
    assert ClientTls(tls.credentials("p256")).groups == (X25519, P256, P384)


@pytest.mark.parametrize("suite", SUITES)
def test_a_transfer_with_every_suite(suite: int) -> None:
    credentials = test_certificate()
    tls = {"suites": (suite,)}
    pair = Pair(
        client={"tls": ClientTls(credentials, **tls)},
        server={"tls": ServerTls(credentials, **tls)},  # type: ignore[arg-type]
    )
    connection, _ = pair.established()
    assert connection.handshake_confirmed


def pss_credentials(tls: Any) -> Credentials:
    """Credentials of an RSA key whose certificate says RSASSA-PSS, with a signature that nobody checks."""
    key: RSAPrivateKey = tls.key("rsa")
    certificate = tls.certificate(key)
    plain = bytes.fromhex("300d06092a864886f70d0101010500")
    spki = key.public_key().public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo)
    assert spki.count(plain) == 1
    changed = spki.replace(plain, bytes.fromhex("300b06092a864886f70d01010a"))
    changed = changed[:2] + (len(changed) - 4).to_bytes(2) + changed[4:]
    whole = certificate.public_bytes(Encoding.DER)
    body = certificate.tbs_certificate_bytes
    shorter = body.replace(spki, changed)
    shorter = shorter[:2] + (len(shorter) - 4).to_bytes(2) + shorter[4:]
    whole = whole.replace(body, shorter)
    whole = whole[:2] + (len(whole) - 4).to_bytes(2) + whole[4:]
    return Credentials((whole,), key)


@pytest.mark.requirement("rfc8446:4.2.3:10")
@pytest.mark.parametrize("deterministic", [True, False])
@pytest.mark.parametrize("scheme", [0x0809, 0x080A, 0x080B])
def test_a_pss_key_signs_with_the_pss_schemes(tls: Any, scheme: int, deterministic: bool) -> None:
    credentials = pss_credentials(tls)
    assert credentials.schemes == (0x0809, 0x080A, 0x080B)
    assert complete(run(tls, credentials=credentials, signatures=(scheme,), deterministic=deterministic))


@pytest.mark.requirement("rfc8446:4.2.3:8")
@pytest.mark.parametrize(("pss", "scheme"), [(True, 0x0804), (False, 0x0809)])
def test_a_key_does_not_sign_with_the_schemes_of_the_other_kind_of_rsa_key(tls: Any, pss: bool, scheme: int) -> None:
    credentials = pss_credentials(tls) if pss else tls.credentials("rsa")
    assert scheme not in credentials.schemes
    _, server_events = run(tls, credentials=credentials, signatures=(scheme,))
    assert tls.alerts(server_events) == [40]
    client = ClientTls(credentials).client("localhost", b"client", random.Random(1))
    events = tls.rogue_server(credentials, scheme=scheme).talk_to(client)
    assert isinstance(events[0], HandshakeBytes)
    assert tls.alerts(events) == [47]
