"""Reserved transport parameters, sent to be ignored (RFC 9000 sections 7.4.2 and 18.1)."""

import pytest

from stack.wire.parameters import decode_transport_parameters, encode_reserved_parameter
from stack.wire.varint import decode_varint
from tests.support.lying_tls import LyingTls
from tests.support.pair import Pair


def identifiers(encoded: bytes) -> list[int]:
    position, found = 0, []
    while position < len(encoded):
        identifier, position = decode_varint(encoded, position)
        length, position = decode_varint(encoded, position)
        found.append(identifier)
        position += length
    return found


def announced(seed: int, greased: bool) -> tuple[bytes, bytes]:
    """What client and server announce, in the order of the handshake; the connection must come about."""
    seen: list[bytes] = []

    def note(encoded: bytes) -> bytes:
        seen.append(encoded)
        return encoded

    fields = {"tls": LyingTls(note), "grease_transport_parameters": greased}
    pair = Pair(client=fields, server=fields, seed=seed)
    client, server = pair.established()
    assert pair.transfer(client, server, b"data")[1] == b"data"
    client_sent, server_sent = seen
    return client_sent, server_sent


@pytest.mark.requirement("rfc9000:7.4.2:1")
def test_both_ends_announce_one_that_the_other_ignores() -> None:
    used = set()
    for seed in range(5):
        for encoded in announced(seed, True):
            reserved = [number for number in identifiers(encoded) if number % 31 == 27]
            assert len(reserved) == 1
            used.update(reserved)
    assert len(used) == 10


def test_none_is_announced_when_that_is_turned_off() -> None:
    for encoded in announced(1, False):
        assert not [number for number in identifiers(encoded) if number % 31 == 27]


@pytest.mark.requirement("rfc9000:7.4.2:1")
@pytest.mark.parametrize("bits", [0, 1, 0xFFFF])
def test_every_reserved_parameter_has_the_same_size_and_no_meaning(bits: int) -> None:
    encoded = encode_reserved_parameter(bits, b"anything")
    assert len(encoded) == 4 + 1 + 8
    assert identifiers(encoded)[0] % 31 == 27
    assert decode_transport_parameters(encoded, from_client=True) == decode_transport_parameters(b"", from_client=True)
