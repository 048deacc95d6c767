"""1-RTT packets in the clear where both ends announce it, for measurements (draft-banks-quic-disable-encryption)."""

from typing import Any

import pytest

from quicsim.certificates import test_certificate
from stack.crypto.packet_protection import TAG_LENGTH
from stack.errors import TRANSPORT_PARAMETER_ERROR, TransportError
from stack.events import NewSession
from stack.tls.config import ClientTls, ServerTls
from stack.wire.decoded_frames import CryptoFrame, StreamFrame
from stack.wire.parameters import TransportParameters, decode_transport_parameters, encode_transport_parameters
from stack.wire.versions import VERSION_1, VERSION_2
from tests.support.pair import MS, Pair

CLEAR = {"disable_1rtt_encryption": True}
DATA = b"for everybody to read, and to change; " * 500


def clear_datagrams(pair: Pair, to_server: bool) -> list[bytes]:
    """What anybody on the way sees who knows nothing but the data."""
    return [one.payload for one in pair.sent if one.to_server == to_server and DATA[:300] in one.payload]


@pytest.mark.parametrize("version", [VERSION_1, VERSION_2])
def test_both_ends_together_send_in_the_clear(version: int) -> None:
    both: dict[str, Any] = CLEAR | {"versions": (version,)}
    pair = Pair(client=both, server=both)
    client, server = pair.established()
    assert not client.parameters.encrypted
    assert not server.parameters.encrypted
    assert pair.transfer(client, server, DATA)[1] == DATA
    assert pair.transfer(server, client, DATA)[1] == DATA
    assert clear_datagrams(pair, to_server=True)
    assert clear_datagrams(pair, to_server=False)


@pytest.mark.parametrize("who", ["client", "server", "nobody"])
def test_everything_is_encrypted_unless_both_want_it_otherwise(who: str) -> None:
    pair = Pair(**{} if who == "nobody" else {who: CLEAR})
    client, server = pair.established()
    assert client.parameters.encrypted
    assert server.parameters.encrypted
    assert pair.transfer(client, server, DATA)[1] == DATA
    assert pair.transfer(server, client, DATA)[1] == DATA
    assert not clear_datagrams(pair, to_server=True)
    assert not clear_datagrams(pair, to_server=False)


def test_only_1_rtt_packets_are_in_the_clear() -> None:
    pair = Pair(client=CLEAR, server=CLEAR)
    client, server = pair.established()
    certificate = test_certificate().certificates[0]
    crypto = [
        frame.data
        for packet in pair.recorder_of(server).sent
        if packet.packet_type == "handshake"
        for frame in packet.frames
        if isinstance(frame, CryptoFrame)
    ]
    assert certificate in b"".join(crypto)
    assert not any(certificate[100:200] in datagram.payload for datagram in pair.sent)
    assert client.handshake_confirmed


def test_no_byte_is_kept_for_a_tag() -> None:
    def most_of_a_stream(**fields: Any) -> int:
        """Bytes of a stream in the fullest packet of a full datagram."""
        pair = Pair(client=fields, server=fields)
        client, server = pair.established()
        pair.transfer(client, server, DATA)
        packets = [packet for packet in pair.recorder_of(client).sent if packet.size == 1200]
        frames = [frame for packet in packets for frame in packet.frames if isinstance(frame, StreamFrame)]
        return max(len(frame.data) for frame in frames)

    assert most_of_a_stream(**CLEAR) == most_of_a_stream() + TAG_LENGTH


def test_losses_are_repaired_and_keys_updated_as_ever() -> None:
    pair = Pair(client=CLEAR, server=CLEAR)
    client, server = pair.established()
    pair.drop = lambda datagram: datagram.number % 10 == 0
    assert pair.transfer(client, server, DATA)[1] == DATA
    assert client.stats.packets_lost
    pair.drop = None
    pair.run_for(1000 * MS)
    client.update_keys(pair.now)
    assert pair.transfer(server, client, DATA)[1] == DATA
    assert pair.recorder_of(client).received[-1].key_phase == 1


def test_paths_are_validated_with_full_datagrams() -> None:
    pair = Pair(client=CLEAR, server=CLEAR)
    client, server = pair.established()
    pair.rebind(("198.51.100.7", 999))
    start = len(pair.sent)
    assert pair.transfer(client, server, DATA)[1] == DATA
    assert server.path.remote == ("198.51.100.7", 999)
    assert server.path.validated
    assert max(len(one.payload) for one in pair.sent[start:] if not one.to_server) == 1200


def test_what_ends_before_its_frames_is_dropped() -> None:
    pair = Pair(client=CLEAR, server=CLEAR)
    client, server = pair.established()
    before = server.stats.packets_received
    packet = pair.craft(client, b"\x01")
    assert len(packet) == 1 + 8 + 4 + 1
    for size in range(9, len(packet)):
        pair.deliver(packet[:size], to_server=True)
    assert server.stats.packets_received == before
    pair.deliver(packet, to_server=True)
    assert server.stats.packets_received == before + 1
    assert pair.transfer(client, server, DATA)[1] == DATA


def test_early_data_is_encrypted() -> None:
    tls = ServerTls(test_certificate(), tickets=1, early_data=True)
    first = Pair(client=CLEAR, server=CLEAR | {"tls": tls})
    first.established()
    (session,) = [event.session for event in first.client_events if isinstance(event, NewSession)]
    resuming = ClientTls(test_certificate(), session=session, early_data=True)
    pair = Pair(client=CLEAR | {"tls": resuming}, server=CLEAR | {"tls": tls})
    pair.now = first.now + MS
    client = pair.connect()
    stream_id = client.open_stream()
    assert stream_id is not None
    client.write(stream_id, DATA[:1000], True)
    pair.run(lambda: client.handshake_confirmed)
    assert "0RTT" in [packet.packet_type for packet in pair.recorder_of(client).sent]
    assert not clear_datagrams(pair, to_server=True)
    assert not client.parameters.encrypted


def test_the_parameter_is_empty() -> None:
    encoded = encode_transport_parameters(TransportParameters(disable_1rtt_encryption=True))
    assert encoded == bytes.fromhex("8000baad 00")
    assert decode_transport_parameters(encoded, from_client=True).disable_1rtt_encryption
    with pytest.raises(TransportError, match="disable_1rtt_encryption") as raised:
        decode_transport_parameters(bytes.fromhex("8000baad 01 01"), from_client=False)
    assert raised.value.code == TRANSPORT_PARAMETER_ERROR
