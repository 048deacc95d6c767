"""What an attacker changes in packets that everybody on the path can read and make (RFC 9001 section 7)."""

import pytest

from stack.crypto.packet_protection import (
    TLS_AES_128_GCM_SHA256,
    initial_secrets,
    make_keys,
    protect_packet,
    unprotect_header,
)
from stack.events import HandshakeCompleted
from stack.wire.decoded_frames import CryptoFrame, decode_frames
from stack.wire.header import parse_long_header
from stack.wire.versions import VERSION_1, VERSIONS
from tests.support.pair import SECOND, Datagram, Pair


def tampered(datagram: Datagram, original_cid: bytes, position: int, flip: int) -> bytes:
    """A datagram with the bits `flip` changed in its first packet, an Initial with one CRYPTO frame, protected again.

    They are in byte `position` of the CRYPTO data, counted round and round.
    """
    data = datagram.payload
    secrets = initial_secrets(VERSIONS[VERSION_1], original_cid)
    keys = make_keys(TLS_AES_128_GCM_SHA256, secrets[0 if datagram.to_server else 1], VERSIONS[VERSION_1])
    *_, packet_number_offset, end = parse_long_header(data, 0, True)
    unprotected = unprotect_header(keys.header, data, 0, packet_number_offset, end, -1)
    assert unprotected is not None
    first, number, payload_start, header = unprotected
    payload = keys.protection.open(number, header, data[payload_start:end])
    assert payload is not None
    (crypto,) = [frame for frame in decode_frames(payload) if isinstance(frame, CryptoFrame)]
    changed = bytearray(crypto.data)
    changed[position % len(changed)] ^= flip
    payload = payload.replace(crypto.data, bytes(changed), 1)
    return protect_packet(keys, header, (first & 3) + 1, number, payload) + data[end:]


@pytest.mark.requirement("rfc9001:7:1")
@pytest.mark.parametrize("to_server", [True, False], ids=["ClientHello", "ServerHello"])
def test_no_connection_comes_of_a_hello_that_was_changed_on_the_way(to_server: bool) -> None:
    """What Initial packets carry is relied upon only when Finished has proved that both ends saw the same.

    What is made anew without a change does lead to a connection.
    """
    for position, flip in [(0, 0), *((position, 4) for position in range(0, 400, 11 if to_server else 3))]:
        pair = Pair(drop=lambda datagram: datagram.to_server == to_server and datagram.number == 0)
        client = pair.connect()
        pair.run_until(2 * pair.delay_ns)
        target = next(datagram for datagram in pair.sent if datagram.to_server == to_server)
        pair.deliver(tampered(target, client.original_destination_cid, position, flip), to_server)
        pair.run_until(60 * SECOND)  # the true bytes come again, but those that came first count
        events = pair.client_events + pair.server_events
        completed = [event for event in events if isinstance(event, HandshakeCompleted)]
        assert len(completed) == (0 if flip else 2), position
