"""Address validation of new connections: Retry and NEW_TOKEN (RFC 9000 sections 8.1, 17.2.5 and 19.7)."""

import random

import pytest

from stack.address_validation import AddressValidation
from stack.config import Config
from stack.connection import Connection
from stack.crypto.retry import encode_retry
from stack.errors import INVALID_TOKEN, TRANSPORT_PARAMETER_ERROR, ConfigError
from stack.events import ConnectionEnded, NewToken
from stack.limits import HALF_OPEN_BEFORE_RETRY, MAX_NEW_TOKENS, NEW_TOKEN_LIFETIME_NS, RETRY_TOKEN_LIFETIME_NS
from stack.wire.decoded_frames import CryptoFrame, NewTokenFrame
from stack.wire.frames import encode_new_token
from stack.wire.header import INITIAL, RETRY, LongHeader, parse_long_header
from stack.wire.versions import VERSION_1, VERSION_2, VERSIONS
from tests.support.lying_tls import LyingTls, setting
from tests.support.pair import CLIENT_ADDRESS, MS, SERVER_ADDRESS, Datagram, Pair

LONG_CHAIN = 20  # certificates: a flight far above three times 1200 bytes
ALWAYS = {"retry": "always"}


def parse(data: bytes) -> LongHeader:
    """The long header that begins a datagram, whatever its fixed bit."""
    return parse_long_header(data, 0, True)


def headers(pair: Pair, to_server: bool) -> list[LongHeader]:
    """The long headers that begin the datagrams of one direction."""
    data = [datagram.payload for datagram in pair.sent if datagram.to_server == to_server]
    return [parse(each) for each in data if each[0] & 0x80]


def retries(pair: Pair) -> list[bytes]:
    datagrams = [datagram.payload for datagram in pair.sent if not datagram.to_server]
    return [data for data in datagrams if data[0] & 0x80 and parse(data).packet_type == RETRY]


def first_initial(pair: Pair) -> tuple[Connection, bytes]:
    """Start a connection; return it and its first datagram, which gets lost."""
    pair.drop = lambda datagram: True
    connection = pair.connect()
    pair.flush()
    pair.drop = None
    return connection, pair.sent[-1].payload


def answer(pair: Pair, data: bytes, source: tuple[str, int] = CLIENT_ADDRESS) -> list[bytes]:
    """What the server answers at once to a datagram."""
    pair.server.receive(data, source, SERVER_ADDRESS, 0, pair.now)
    return [transmit.payload for transmit in pair.server.transmit(pair.now)]


def initial_with_retry_token(pair: Pair) -> tuple[Connection, bytes]:
    """A client that took a Retry, and the datagram with its token, which gets lost."""
    client, data = first_initial(pair)
    (retry,) = answer(pair, data)
    pair.drop = lambda datagram: True
    pair.deliver(retry, to_server=False)
    pair.flush()
    pair.drop = None
    return client, pair.sent[-1].payload


@pytest.mark.requirement("rfc9000:8.1.2:1")
@pytest.mark.requirement("rfc9000:17.2.5.1:3")
@pytest.mark.requirement("rfc9000:17.2.5.3:1")
@pytest.mark.requirement("rfc9000:17.2.5.3:4")
@pytest.mark.requirement("rfc9000:17.2.5.2:5")
@pytest.mark.requirement("rfc9000:7.3:1")
def test_a_connection_with_retry_starts_again_with_the_token() -> None:
    pair = Pair(server=ALWAYS)
    client, server = pair.established()
    (retry,) = retries(pair)
    parsed = parse(retry)
    first, *others = [header for header in headers(pair, to_server=True) if header.packet_type == INITIAL]
    assert others
    assert first.token == b""
    assert first.destination_cid != parsed.source_cid
    assert all(header.token == parsed.token for header in others)
    assert others[0].destination_cid == parsed.source_cid
    assert all(header.source_cid == first.source_cid for header in others)
    initials = [packet for packet in pair.recorder_of(client).sent if packet.packet_type == "initial"]
    assert [packet.number for packet in initials] == list(range(len(initials)))
    hellos = [[frame for frame in packet.frames if isinstance(frame, CryptoFrame)] for packet in initials[:2]]
    assert hellos[0] == hellos[1]
    seen = [(packet.packet_type, packet.number, packet.size) for packet in pair.recorder_of(client).received]
    assert seen[0] == ("retry", -1, len(retry))
    parameters = pair.recorder_of(client).remote_parameters
    assert parameters["retry_source_connection_id"] == parsed.source_cid
    assert parameters["original_destination_connection_id"] == first.destination_cid
    assert pair.transfer(client, server, b"x" * 50_000)[1] == b"x" * 50_000


@pytest.mark.requirement("rfc9000:8.1.3:16")
def test_a_validated_address_lifts_the_amplification_limit() -> None:
    """The server's whole flight, above three times what arrived, goes in the first round trip after the Retry."""
    pair = Pair(server=ALWAYS, chain=LONG_CHAIN, drop=lambda datagram: datagram.to_server and datagram.number > 1)
    pair.connect()
    pair.run_for(100 * MS)
    assert pair.server_connection is not None
    assert pair.server_connection.path.validated
    assert sum(len(datagram.payload) for datagram in pair.sent if not datagram.to_server) > 2 * 3600


@pytest.mark.requirement("rfc9000:8.1:2")
@pytest.mark.requirement("rfc9000:17.2.5.1:5")
def test_a_retry_is_one_small_datagram_and_takes_no_state() -> None:
    pair = Pair(server=ALWAYS)
    _, data = first_initial(pair)
    for _ in range(3):
        (retry,) = answer(pair, data)
        assert len(retry) < 200
    assert pair.server.connections == {}
    assert pair.server_connection is None


def test_retry_begins_under_load_unless_it_is_switched_off() -> None:
    pair = Pair()
    for _ in range(HALF_OPEN_BEFORE_RETRY):
        _, data = first_initial(pair)
        answer(pair, data)
    assert len(pair.server.connections) == HALF_OPEN_BEFORE_RETRY
    _, data = first_initial(pair)
    (retry,) = answer(pair, data)
    assert parse(retry).packet_type == RETRY
    never = Pair(server={"retry": "never"})
    never.established()
    assert retries(never) == []


def test_another_policy_is_a_configuration_error() -> None:
    with pytest.raises(ConfigError, match="retry = 'sometimes'"):
        Pair(server={"retry": "sometimes"})


@pytest.mark.requirement("rfc9000:17.2.5.2:1")
@pytest.mark.requirement("rfc9000:17.2.5.2:2")
@pytest.mark.parametrize("seed", range(20))
def test_a_connection_with_retry_survives_loss_and_duplication(seed: int) -> None:
    rng = random.Random(seed)
    pair = Pair(server=ALWAYS, seed=seed)

    twice: list[Datagram] = []

    def drop(datagram: Datagram) -> bool:
        if rng.random() < 0.3:
            twice.append(datagram)  # and at once, so that they also come out of order
        return rng.random() < 0.3

    pair.drop = drop
    client = pair.connect()
    while not client.handshake_confirmed:
        assert pair.step()
        for datagram in twice:
            pair.deliver(datagram.payload, datagram.to_server)
        twice.clear()
        pair.flush()
    pair.drop = None
    pair.settle()
    assert pair.server_connection is not None
    data = rng.randbytes(20_000)
    assert pair.transfer(client, pair.server_connection, data)[1] == data
    used = {header.token for header in headers(pair, to_server=True)} - {b""}
    assert len(used) == 1


@pytest.mark.requirement("rfc9000:17.2.5.2:3")
@pytest.mark.requirement("rfc9000:17.2.5:1")
def test_a_tampered_retry_is_ignored_and_the_true_one_taken() -> None:
    pair = Pair(server=ALWAYS)
    client, data = first_initial(pair)
    (retry,) = answer(pair, data)
    for position in range(len(retry)):
        pair.deliver(retry[:position] + bytes((retry[position] ^ 0x40,)) + retry[position + 1 :], to_server=False)
        assert client.retry_source_cid is None
    pair.deliver(retry, to_server=False)
    assert client.retry_source_cid == parse(retry).source_cid


@pytest.mark.requirement("rfc9000:17.2.5.2:4")
@pytest.mark.requirement("rfc9000:17.2.5.1:2")
@pytest.mark.parametrize("fault", ["empty token", "same connection ID", "token without end"])
def test_a_retry_that_is_wrong_in_itself_is_ignored(fault: str) -> None:
    pair = Pair()
    client, data = first_initial(pair)
    header = parse(data)
    token = {"empty token": b"", "token without end": bytes(1100)}.get(fault, b"token")
    source = header.destination_cid if fault == "same connection ID" else b"retrycid"
    version = VERSIONS[header.version]
    pair.deliver(encode_retry(version, header.source_cid, source, token, header.destination_cid, 0), to_server=False)
    assert client.retry_source_cid is None
    right = encode_retry(version, header.source_cid, b"retrycid", b"token", header.destination_cid, 0)
    pair.deliver(right, to_server=False)
    assert client.retry_source_cid == b"retrycid"


@pytest.mark.requirement("rfc9000:17.2.5.2:1")
@pytest.mark.requirement("rfc9000:17.2.5.2:2")
@pytest.mark.parametrize("policy", ["always", "never"])
def test_a_retry_after_another_packet_is_ignored(policy: str) -> None:
    pair = Pair(server={"retry": policy})
    client = pair.connect()
    pair.run(lambda: client.handshake_complete)
    before = client.retry_source_cid
    late = encode_retry(client.version, client.local_ids.first, b"latecid!", b"t", client.original_destination_cid, 0)
    pair.deliver(late, to_server=False)
    assert client.retry_source_cid == before
    pair.run(lambda: client.handshake_confirmed)


@pytest.mark.requirement("rfc9000:7.3:4")
@pytest.mark.parametrize("claimed", [None, b"other"])
def test_a_client_checks_the_connection_id_of_the_retry(claimed: bytes | None) -> None:
    lying = LyingTls(setting(retry_source_connection_id=claimed))
    pair = Pair(server={"tls": lying, **ALWAYS})
    client = pair.connect()
    pair.run_for(200 * MS)
    assert client.closing.ended is not None
    assert client.closing.ended.code == TRANSPORT_PARAMETER_ERROR


@pytest.mark.requirement("rfc9000:7.3:4")
def test_a_client_refuses_to_be_told_of_a_retry_that_there_was_not() -> None:
    pair = Pair(server={"tls": LyingTls(setting(retry_source_connection_id=b"invented"))})
    client = pair.connect()
    pair.run_for(200 * MS)
    assert client.closing.ended is not None
    assert client.closing.ended.code == TRANSPORT_PARAMETER_ERROR


# Tokens that are not valid


@pytest.mark.requirement("rfc9000:8.1.2:2")
@pytest.mark.requirement("rfc9000:8.1.3:14")
@pytest.mark.requirement("rfc9000:8.1.4:7")
def test_an_expired_retry_token_closes_the_connection() -> None:
    pair = Pair(server=ALWAYS, client={"max_idle_timeout_ms": 0})
    client, data = initial_with_retry_token(pair)
    pair.now += RETRY_TOKEN_LIFETIME_NS
    (refusal,) = answer(pair, data)
    assert pair.server.connections == {}
    pair.deliver(refusal, to_server=False)
    ended = client.closing.ended
    assert ended is not None
    assert (ended.code, ended.remote) == (INVALID_TOKEN, True)


@pytest.mark.requirement("rfc9000:8.1.4:3")
@pytest.mark.parametrize("source", [("10.0.0.1", 50_001), ("10.9.9.9", 50_000)])
def test_a_retry_token_from_another_address_makes_no_connection(source: tuple[str, int]) -> None:
    pair = Pair(server=ALWAYS)
    _, data = initial_with_retry_token(pair)
    (refusal,) = answer(pair, data, source)
    assert len(refusal) < 200
    assert pair.server.connections == {}
    answer(pair, data)
    assert len(pair.server.connections) == 1


@pytest.mark.requirement("rfc9000:8.1.4:6")
def test_a_replayed_retry_token_leads_to_the_connection_it_made_or_nowhere() -> None:
    pair = Pair(server=ALWAYS)
    client, data = initial_with_retry_token(pair)
    answer(pair, data)
    answer(pair, data)
    assert len(pair.server.connections) == 1
    other = Pair.craft(client, bytes(1200), 0, token=client.handshake.token, destination_cid=b"elsewhere")
    (refusal,) = answer(pair, other)
    assert len(refusal) < 200
    assert len(pair.server.connections) == 1


# NEW_TOKEN


def tokens_of(pair: Pair) -> list[NewToken]:
    return [event for event in pair.client_events if isinstance(event, NewToken)]


def with_token(token: bytes, *, retry: str = "always", **fields: object) -> tuple[Pair, Connection]:
    """A pair whose client starts a second connection with `token`."""
    pair = Pair(server={"retry": retry, "new_token": True}, **fields)  # type: ignore[arg-type]  # fields of Pair
    return pair, pair.client.connect(CLIENT_ADDRESS, SERVER_ADDRESS, 0, "localhost", of_version_1(token))


def of_version_1(token: bytes) -> NewToken:
    """A token, perhaps of no use, as if the server had given it."""
    return NewToken(token, VERSION_1, SERVER_ADDRESS)


def again(pair: Pair, token: bytes, local: tuple[str, int] = CLIENT_ADDRESS) -> list[bytes]:
    """What the server answers at once to a new connection of another client with `token`."""
    other = Pair(seed=pair.now + len(pair.server.connections) + 7)
    other.client.connect(local, SERVER_ADDRESS, pair.now, "localhost", of_version_1(token))
    (transmit,) = other.client.transmit(pair.now)
    return answer(pair, transmit.payload, local)


def is_retry(datagrams: list[bytes]) -> bool:
    return [parse(data).packet_type for data in datagrams] == [RETRY]


def pair_with_token() -> tuple[Pair, bytes]:
    pair = Pair(server={"retry": "always", "new_token": True})
    pair.established()
    (event,) = tokens_of(pair)
    return pair, event.token


@pytest.mark.requirement("rfc9000:8.1.3:1")
@pytest.mark.requirement("rfc9000:8.1.3:2")
@pytest.mark.requirement("rfc9000:8.1.3:9")
@pytest.mark.parametrize("local", [CLIENT_ADDRESS, ("10.0.0.1", 50_007)])
def test_a_token_of_an_earlier_connection_spares_the_retry(local: tuple[str, int]) -> None:
    pair, token = pair_with_token()
    answers = again(pair, token, local)
    assert parse(answers[0]).packet_type == INITIAL
    assert len(pair.server.connections) == 2


@pytest.mark.requirement("rfc9000:21.3:1")
@pytest.mark.requirement("rfc9000:8.1.4:8")
@pytest.mark.requirement("rfc9000:8.1.3:15")
def test_a_token_is_taken_once() -> None:
    pair, token = pair_with_token()
    again(pair, token)
    assert is_retry(again(pair, token))


@pytest.mark.requirement("rfc9000:8.1.4:4")
@pytest.mark.requirement("rfc9000:8.1.4:5")
def test_a_token_from_another_host_is_as_good_as_none() -> None:
    pair, token = pair_with_token()
    assert is_retry(again(pair, token, ("10.0.0.77", 50_000)))


@pytest.mark.requirement("rfc9000:8.1.3:5")
@pytest.mark.requirement("rfc9000:8.1.3:15")
def test_an_expired_or_forged_token_is_as_good_as_none() -> None:
    pair, token = pair_with_token()
    assert is_retry(again(pair, bytes(len(token))))
    assert is_retry(again(pair, token[:-1] + bytes((token[-1] ^ 1,))))
    pair.now += NEW_TOKEN_LIFETIME_NS
    assert is_retry(again(pair, token))


@pytest.mark.requirement("rfc9000:8.1.4:5")
def test_a_forged_token_does_not_lift_the_amplification_limit() -> None:
    pair, _ = with_token(bytes(70), retry="never", chain=LONG_CHAIN)
    pair.drop = lambda datagram: datagram.to_server and datagram.number > 0
    pair.run_for(500 * MS)
    assert sum(len(datagram.payload) for datagram in pair.sent if not datagram.to_server) <= 3600


@pytest.mark.requirement("rfc9000:8.1.3:2")
@pytest.mark.requirement("rfc9000:8.1.3:3")
def test_a_retry_replaces_a_token_that_the_server_does_not_take() -> None:
    pair, client = with_token(bytes(70))
    pair.run(lambda: client.handshake_confirmed)
    assert [header.token for header in headers(pair, to_server=True)][:2] == [
        bytes(70),
        parse(retries(pair)[0]).token,
    ]


@pytest.mark.requirement("rfc9000:8.1.3:7")
@pytest.mark.parametrize("seed", range(5))
def test_a_lost_new_token_is_repeated_and_told_once(seed: int) -> None:
    rng = random.Random(seed)
    pair = Pair(server={"new_token": True}, drop=lambda datagram: rng.random() < 0.4)
    client = pair.connect()
    pair.run(lambda: client.handshake_confirmed)
    pair.run(lambda: bool(tokens_of(pair)))
    pair.drop = None
    pair.settle()
    (event,) = tokens_of(pair)
    assert pair.server_connection is not None
    sent = pair.recorder_of(pair.server_connection).sent_frames(NewTokenFrame)
    assert set(sent) == {NewTokenFrame(event.token)}
    assert event.version == client.version.number


def test_a_server_that_gives_tokens_without_end_is_not_listened_to() -> None:
    pair = Pair()
    _, server = pair.established()
    for number in range(3 * MAX_NEW_TOKENS):
        pair.inject(server, encode_new_token(b"token %d" % number) * 2)
    assert [event.token for event in tokens_of(pair)] == [b"token %d" % number for number in range(MAX_NEW_TOKENS)]
    assert not any(isinstance(event, ConnectionEnded) for event in pair.client_events)


@pytest.mark.requirement("rfc9001:9.2:2")
@pytest.mark.parametrize("opaque", [b"\0", b"\xff" * 300, bytes(range(256))])
def test_whatever_a_token_says_is_given_back_as_it_came(opaque: bytes) -> None:
    pair = Pair()
    _, server = pair.established()
    pair.inject(server, encode_new_token(opaque))
    (event,) = tokens_of(pair)
    pair.client.connect(("10.0.0.1", 50_001), SERVER_ADDRESS, pair.now, "localhost", event)
    (transmit,) = pair.client.transmit(pair.now)
    assert parse(transmit.payload).token == opaque


@pytest.mark.requirement("rfc9000:8.1.3:13")
def test_a_client_uses_a_token_once() -> None:
    pair, token = pair_with_token()
    pair.client.connect(CLIENT_ADDRESS, SERVER_ADDRESS, pair.now, "localhost", of_version_1(token))
    with pytest.raises(ConfigError, match="token: was used"):
        pair.client.connect(CLIENT_ADDRESS, SERVER_ADDRESS, pair.now, "localhost", of_version_1(token))


@pytest.mark.requirement("rfc9000:8.1.3:10")
def test_a_client_shows_a_token_to_its_server_only() -> None:
    pair, token = pair_with_token()
    (event,) = tokens_of(pair)
    assert event.server == SERVER_ADDRESS
    with pytest.raises(ConfigError, match="must be from the server at"):
        pair.client.connect(CLIENT_ADDRESS, ("10.0.0.3", 4433), pair.now, "localhost", of_version_1(token))


@pytest.mark.requirement("rfc9369:5:1")
@pytest.mark.parametrize(("original", "later"), [(VERSION_1, VERSION_2), (VERSION_2, VERSION_1)])
@pytest.mark.parametrize("upgrade", [False, True])
def test_a_token_serves_connections_of_its_version_only(original: int, later: int, upgrade: bool) -> None:
    """After compatible negotiation it is the negotiated version that counts."""
    preferred = (later, original) if upgrade else (original, later)
    pair = Pair(client={"original_version": original}, server={"new_token": True, "versions": preferred})
    pair.established()
    (event,) = tokens_of(pair)
    assert event.version == (later if upgrade else original)
    wrong = original if upgrade else later
    other = Pair(client={"original_version": wrong})
    with pytest.raises(ConfigError, match="token: is of a connection in version"):
        other.client.connect(CLIENT_ADDRESS, SERVER_ADDRESS, pair.now, "localhost", event)
    right = Pair(client={"original_version": event.version})
    right.client.connect(CLIENT_ADDRESS, SERVER_ADDRESS, pair.now, "localhost", event)
    right.flush()
    assert parse(right.sent[0].payload).token == event.token


@pytest.mark.requirement("rfc9000:8.1.3:12")
def test_the_token_of_a_retry_is_for_its_own_connection_alone() -> None:
    pair = Pair(server=ALWAYS)
    client, _ = pair.established()
    assert client.handshake.token
    start = len(pair.sent)
    other = pair.connect()
    pair.flush()
    assert parse(pair.sent[start].payload).token == b""
    pair.run(lambda: other.handshake_confirmed)
    assert len(retries(pair)) == 2


@pytest.mark.requirement("rfc9000:17.2.5.1:1")
@pytest.mark.parametrize("length", range(8, 21))
def test_the_connection_id_of_a_retry_is_another_than_the_clients(length: int) -> None:
    """Even if the server's random source gives just the bytes that the client has sent."""

    class Echo(random.Random):
        def randbytes(self, n: int) -> bytes:
            return b"s" * n

    judge = AddressValidation(Config(tls=LyingTls(lambda encoded: encoded), retry="always"), bytes(32), Echo(1))
    header = LongHeader(INITIAL, VERSION_1, b"s" * length, b"client", b"", 0, 1200)
    answered = judge.judge(header, CLIENT_ADDRESS, 0, 0)
    assert isinstance(answered, bytes)
    assert parse(answered).source_cid != header.destination_cid
