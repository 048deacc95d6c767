"""What is sent in packets of which encryption level, and which messages are never sent (RFC 9001 sections 4 to 8)."""

from typing import Any

import pytest

from quicsim.certificates import test_certificate
from stack.connection import Connection
from stack.crypto import packet_protection
from stack.errors import ConfigError
from stack.tls.certificates import Pinned
from stack.tls.config import ClientTls, ServerTls
from stack.tls.engine import APPLICATION, HANDSHAKE, INITIAL
from stack.tls.groups import P256, X25519
from stack.tls.schedule import SUITES
from stack.wire.decoded_frames import AckFrame, CryptoFrame, PingFrame, StreamFrame
from tests.support.pair import MS, Pair

PING = b"\x01" + bytes(4)
CREDENTIALS = test_certificate()
CLIENT_HELLO, SERVER_HELLO, NEW_SESSION_TICKET, ENCRYPTED_EXTENSIONS = 1, 2, 4, 8
CERTIFICATE, CERTIFICATE_REQUEST, CERTIFICATE_VERIFY, FINISHED = 11, 13, 15, 20


def messages(pair: Pair, connection: Connection) -> dict[str, list[int]]:
    """The types of the TLS messages that a connection has sent, by packet type."""
    streams: dict[str, bytearray] = {}
    for packet in pair.recorder_of(connection).sent:
        for frame in packet.frames:
            if isinstance(frame, CryptoFrame):
                stream = streams.setdefault(packet.packet_type, bytearray())
                assert frame.offset <= len(stream)
                stream[frame.offset : frame.offset + len(frame.data)] = frame.data
    return {packet_type: list(types(bytes(stream))) for packet_type, stream in streams.items()}


def types(stream: bytes) -> list[int]:
    """The types of the messages that a stream of them is made of."""
    found, position = list[int](), 0
    while position < len(stream):
        found.append(stream[position])
        position += 4 + int.from_bytes(stream[position + 1 : position + 4])
    assert position == len(stream)
    return found


@pytest.mark.requirement("rfc9001:4.4:4")
@pytest.mark.requirement("rfc9001:6:2")
@pytest.mark.parametrize("client_auth", ["none", "request", "require"])
@pytest.mark.parametrize("retried", [False, True], ids=["", "HelloRetryRequest"])
def test_each_message_has_its_level_and_no_other_is_sent(client_auth: str, retried: bool) -> None:
    """Not a KeyUpdate when the keys are updated, nor a CertificateRequest after the handshake."""
    asks = client_auth != "none"
    groups = (X25519, P256) if retried else (X25519,)
    client_tls = ClientTls(CREDENTIALS, credentials=CREDENTIALS, groups=groups)
    server_tls = ServerTls(
        CREDENTIALS,
        groups=groups[::-1],
        enforce_groups=True,
        client_auth=client_auth,
        client_trust=Pinned(CREDENTIALS.certificates) if asks else None,
        tickets=2,
    )
    pair = Pair(client={"tls": client_tls}, server={"tls": server_tls})
    client, server = pair.established()
    for end in (client, server, client):
        end.update_keys(pair.now)
        pair.transfer(client, server, bytes(5_000))
        pair.transfer(server, client, bytes(5_000))
        pair.settle()
    assert client.key_phases.write == server.key_phases.write == 3
    proof = [CERTIFICATE, CERTIFICATE_VERIFY]
    assert messages(pair, client) == {
        "initial": [CLIENT_HELLO] * (1 + retried),
        "handshake": [*proof * asks, FINISHED],
    }
    assert messages(pair, server) == {
        "initial": [SERVER_HELLO] * (1 + retried),
        "handshake": [ENCRYPTED_EXTENSIONS, *[CERTIFICATE_REQUEST] * asks, *proof, FINISHED],
        "1RTT": [NEW_SESSION_TICKET] * 2,
    }


@pytest.mark.requirement("rfc9001:4.9:2")
def test_what_is_new_goes_with_the_newest_keys_while_older_ones_repeat_what_was_theirs() -> None:
    """The client's Finished gets lost twice, so that both ends keep Handshake keys beside their 1-RTT keys."""
    pair = Pair(server={"tls": ServerTls(CREDENTIALS, tickets=1)})
    client = pair.connect()
    pair.run_for(10 * MS)
    server = pair.server_connection
    assert server is not None
    pair.drop = lambda datagram: datagram.to_server and pair.now < 300 * MS
    for _ in range(30):
        for end in (client, server):
            if end.spaces[2].write_keys is not None:
                stream_id = end.open_stream(unidirectional=True)
                if stream_id is not None:
                    end.write(stream_id, b"new", True)
        pair.run_for(20 * MS)
    assert client.handshake_confirmed
    sent = pair.recorder_of(client).sent
    finished = [p for p in sent if p.packet_type == "handshake" and any(type(f) is CryptoFrame for f in p.frames)]
    assert len(finished) > 1
    assert len({frame for packet in finished for frame in packet.frames if isinstance(frame, CryptoFrame)}) == 1
    for end in (client, server):
        seen: set[object] = set()
        newest = 0
        for packet in pair.recorder_of(end).sent:
            level = ("initial", "handshake", "1RTT").index(packet.packet_type)
            fresh = {f for f in packet.frames if isinstance(f, CryptoFrame | StreamFrame)} - seen
            assert not fresh or level >= newest, packet
            newest = max(newest, level if fresh else 0)
            seen |= fresh
        assert newest == 2
    assert messages(pair, server)["1RTT"] == [NEW_SESSION_TICKET]


def answers(pair: Pair, connection: Connection) -> list[tuple[str, list[type]]]:
    """The packets that a connection sends now: their types and those of their frames, but for PADDING."""
    before = len(pair.recorder_of(connection).sent)
    pair.flush()
    sent = pair.recorder_of(connection).sent[before:]
    return [(p.packet_type, [type(f) for f in p.frames if type(f) in (AckFrame, PingFrame)]) for p in sent]


@pytest.mark.requirement("rfc9001:4.1.4:2")
def test_a_client_that_waits_for_handshake_keys_answers_initial_packets() -> None:
    pair = Pair(chain=4, drop=lambda datagram: not datagram.to_server)
    client = pair.connect()
    pair.run_for(10 * MS)
    server = pair.server_connection
    assert server is not None
    flight = [datagram.payload for datagram in pair.sent if not datagram.to_server]
    pair.deliver(flight[1], to_server=False)
    assert [kind for _, kind in pair.recorder_of(client).buffered] == ["handshake"]
    pair.inject(server, PING, INITIAL)
    assert answers(pair, client) == [("initial", [AckFrame])]
    pair.deliver(flight[0], to_server=False)
    assert client.handshake_complete


@pytest.mark.requirement("rfc9001:4.1.4:2")
def test_a_server_that_waits_for_the_keys_of_application_data_answers_handshake_packets() -> None:
    pair = Pair(drop=lambda datagram: datagram.to_server and datagram.number > 0)
    client = pair.connect()
    pair.run_for(20 * MS)
    server = pair.server_connection
    assert server is not None
    pair.inject(client, PING, APPLICATION)
    assert [kind for _, kind in pair.recorder_of(server).buffered] == ["1RTT"]
    pair.inject(client, PING, HANDSHAKE)
    assert ("handshake", [AckFrame]) in answers(pair, server)


@pytest.mark.requirement("rfc9001:5.3:1")
@pytest.mark.parametrize("suite", SUITES)
def test_every_suite_that_can_be_negotiated_protects_headers(suite: int) -> None:
    tls = ClientTls(CREDENTIALS, suites=(suite,))
    pair = Pair(client={"tls": tls}, server={"tls": ServerTls(CREDENTIALS, suites=(suite,))})
    client, server = pair.established()
    assert pair.transfer(client, server, bytes(5_000))[1] == bytes(5_000)
    keys = client.spaces[2].write_keys
    assert keys is not None
    assert keys.protection.suite == suite
    row = packet_protection.SUITES[suite]
    assert len(row.header_protection(bytes(row.key_length))(bytes(16))) >= 5


@pytest.mark.requirement("rfc9001:5.3:1")
@pytest.mark.parametrize("tls", [ClientTls, ServerTls])
def test_a_suite_without_header_protection_can_not_be_offered_or_chosen(tls: Any) -> None:
    """TLS_AES_128_CCM_8_SHA256 has none; what a server does with a client that has nothing else: alert 40."""
    with pytest.raises(ConfigError, match="0x1305"):
        tls(CREDENTIALS, suites=(0x1301, 0x1305))
