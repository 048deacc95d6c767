"""Transport parameters against RFC 9000 sections 7.4 and 18, RFC 9221, RFC 9287 and RFC 9368."""

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from stack.errors import TRANSPORT_PARAMETER_ERROR, TransportError
from stack.wire.parameters import (
    PreferredAddress,
    TransportParameters,
    decode_transport_parameters,
    encode_transport_parameters,
)
from stack.wire.varint import MAX_VARINT, encode_varint

TOKEN = bytes(range(16))
CIDS = st.binary(max_size=20)
VARINTS = st.integers(0, MAX_VARINT)
PORTS = st.integers(0, 65_535)
PREFERRED = st.builds(
    PreferredAddress,
    st.none() | st.tuples(st.ip_addresses(v=4).filter(int).map(str), PORTS),
    st.none() | st.tuples(st.ip_addresses(v=6).filter(int).map(str), PORTS),
    st.binary(min_size=1, max_size=20),
    st.binary(min_size=16, max_size=16),
)
VERSIONS = st.integers(1, (1 << 32) - 1)
OF_EITHER: dict[str, st.SearchStrategy[Any]] = {
    "max_idle_timeout": VARINTS,
    "max_udp_payload_size": st.integers(1200, MAX_VARINT),
    "initial_max_data": VARINTS,
    "initial_max_stream_data_bidi_local": VARINTS,
    "initial_max_stream_data_bidi_remote": VARINTS,
    "initial_max_stream_data_uni": VARINTS,
    "initial_max_streams_bidi": st.integers(0, 1 << 60),
    "initial_max_streams_uni": st.integers(0, 1 << 60),
    "ack_delay_exponent": st.integers(0, 20),
    "max_ack_delay": st.integers(0, (1 << 14) - 1),
    "disable_active_migration": st.booleans(),
    "active_connection_id_limit": st.integers(2, MAX_VARINT),
    "initial_source_connection_id": st.none() | CIDS,
    "max_datagram_frame_size": VARINTS,
    "reset_stream_at": st.booleans(),
    "grease_quic_bit": st.booleans(),
    "disable_1rtt_encryption": st.booleans(),
    "min_ack_delay": st.none() | VARINTS,
    "version_information": st.none()
    | st.lists(VERSIONS, min_size=1).flatmap(lambda all_: st.tuples(st.sampled_from(all_), st.just(tuple(all_)))),
}
OF_SERVER: dict[str, st.SearchStrategy[Any]] = {
    "original_destination_connection_id": st.none() | CIDS,
    "stateless_reset_token": st.none() | st.binary(min_size=16, max_size=16),
    "preferred_address": st.none() | PREFERRED,
    "retry_source_connection_id": st.none() | CIDS,
}
CLIENTS = st.fixed_dictionaries({}, optional=OF_EITHER).map(lambda values: TransportParameters(**values))
SERVERS = st.fixed_dictionaries({}, optional=OF_EITHER | OF_SERVER).map(lambda values: TransportParameters(**values))


def entry(identifier: int, value: bytes) -> bytes:
    return encode_varint(identifier) + encode_varint(len(value)) + value


def decoded_or_code(data: bytes, from_client: bool) -> TransportParameters | int:
    try:
        return decode_transport_parameters(data, from_client)
    except TransportError as error:
        return error.code


def assert_refused(data: bytes, from_client: bool = False, match: str | None = None) -> None:
    with pytest.raises(TransportError, match=match) as caught:
        decode_transport_parameters(data, from_client)
    assert caught.value.code == TRANSPORT_PARAMETER_ERROR


@given(SERVERS)
def test_round_trip_from_a_server(parameters: TransportParameters) -> None:
    assert decode_transport_parameters(encode_transport_parameters(parameters), False) == parameters


@given(CLIENTS)
def test_round_trip_from_a_client(parameters: TransportParameters) -> None:
    assert decode_transport_parameters(encode_transport_parameters(parameters), True) == parameters


def test_absent_parameters_have_the_defaults_of_the_rfc() -> None:
    parameters = decode_transport_parameters(b"", from_client=False)
    assert parameters == TransportParameters()
    assert encode_transport_parameters(parameters) == b""
    assert parameters.as_dict() == {
        "max_idle_timeout": 0,
        "max_udp_payload_size": 65_527,
        "initial_max_data": 0,
        "initial_max_stream_data_bidi_local": 0,
        "initial_max_stream_data_bidi_remote": 0,
        "initial_max_stream_data_uni": 0,
        "initial_max_streams_bidi": 0,
        "initial_max_streams_uni": 0,
        "ack_delay_exponent": 3,
        "max_ack_delay": 25,
        "disable_active_migration": False,
        "active_connection_id_limit": 2,
        "max_datagram_frame_size": 0,
        "reset_stream_at": False,
        "grease_quic_bit": False,
        "disable_1rtt_encryption": False,
    }
    assert parameters.preferred_address is None


def test_the_wire_image_of_each_parameter() -> None:
    wire = {
        "original_destination_connection_id": (b"\xaa\xbb", "0002aabb"),
        "max_idle_timeout": (30_000, "010480007530"),
        "stateless_reset_token": (TOKEN, "0210" + TOKEN.hex()),
        "max_udp_payload_size": (1472, "030245c0"),
        "initial_max_data": (1, "040101"),
        "initial_max_stream_data_bidi_local": (2, "050102"),
        "initial_max_stream_data_bidi_remote": (3, "060103"),
        "initial_max_stream_data_uni": (4, "070104"),
        "initial_max_streams_bidi": (5, "080105"),
        "initial_max_streams_uni": (6, "090106"),
        "ack_delay_exponent": (0, "0a0100"),
        "max_ack_delay": (0, "0b0100"),
        "disable_active_migration": (True, "0c00"),
        "preferred_address": (
            PreferredAddress(("192.0.2.1", 443), ("2001:db8::1", 8443), b"\xcc", TOKEN),
            "0d2ac000020101bb" + "20010db8000000000000000000000001" + "20fb01cc" + TOKEN.hex(),
        ),
        "active_connection_id_limit": (7, "0e0107"),
        "initial_source_connection_id": (b"", "0f00"),
        "retry_source_connection_id": (b"\xdd", "1001dd"),
        "version_information": ((1, (1, 0x6B3343CF)), "110c00000001000000016b3343cf"),
        "max_datagram_frame_size": (65_535, "20048000ffff"),
        "reset_stream_at": (True, "1d00"),
        "grease_quic_bit": (True, "6ab200"),
        "disable_1rtt_encryption": (True, "8000baad00"),
        "min_ack_delay": (1_000, "c0000000ff04de1b0243e8"),
    }
    for name, (value, expected) in wire.items():
        parameters = TransportParameters()
        assert hasattr(parameters, name)
        setattr(parameters, name, value)
        assert encode_transport_parameters(parameters).hex() == expected, name
    assert set(wire) == set(OF_EITHER) | set(OF_SERVER)


@pytest.mark.parametrize("family", ["ipv4", "ipv6"])
def test_a_preferred_address_may_offer_one_family_only(family: str) -> None:
    hosts: dict[str, tuple[str, int]] = {"ipv4": ("192.0.2.1", 443), "ipv6": ("2001:db8::1", 443)}
    ipv4, ipv6 = (hosts[name] if name == family else None for name in hosts)
    parameters = TransportParameters(preferred_address=PreferredAddress(ipv4, ipv6, b"c", TOKEN))
    assert decode_transport_parameters(encode_transport_parameters(parameters), False) == parameters


@pytest.mark.requirement("rfc9000:7.4.2:1")
@given(st.integers(0x6AB3, MAX_VARINT).filter(lambda identifier: identifier != 0xFF04DE1B), st.binary(max_size=40))
def test_unknown_parameters_are_ignored(identifier: int, value: bytes) -> None:
    data = entry(identifier, value) + entry(0x0E, b"\x05")
    assert decode_transport_parameters(data, True) == TransportParameters(active_connection_id_limit=5)


@pytest.mark.requirement("rfc9000:7.4:3")
@pytest.mark.parametrize("identifier", [0x01, 0x0C, 0x7ABC])
def test_duplicates_are_refused(identifier: int) -> None:
    value = b"" if identifier == 0x0C else b"\x07"
    assert_refused(entry(identifier, value) * 2, match="twice")


@given(SERVERS, st.data())
def test_a_truncation_is_refused_unless_it_falls_between_parameters(
    parameters: TransportParameters, data: st.DataObject
) -> None:
    encoded = encode_transport_parameters(parameters)
    cut = encoded[: data.draw(st.integers(0, len(encoded)))]
    result = decoded_or_code(cut, from_client=False)
    if isinstance(result, TransportParameters):
        assert encode_transport_parameters(result) == cut
    else:
        assert result == TRANSPORT_PARAMETER_ERROR


@given(st.binary(max_size=60), st.booleans())
def test_any_bytes_decode_or_are_refused(data: bytes, from_client: bool) -> None:
    result = decoded_or_code(data, from_client)
    assert isinstance(result, TransportParameters) or result == TRANSPORT_PARAMETER_ERROR


@pytest.mark.requirement("rfc9000:4.6:1")
@pytest.mark.requirement("rfc9000:7.4:1")
@pytest.mark.requirement("rfc9000:18.2:9")
@pytest.mark.parametrize(
    ("name", "identifier", "allowed", "refused"),
    [
        ("max_udp_payload_size", 0x03, 1200, 1199),
        ("initial_max_streams_bidi", 0x08, 1 << 60, (1 << 60) + 1),
        ("initial_max_streams_uni", 0x09, 1 << 60, (1 << 60) + 1),
        ("ack_delay_exponent", 0x0A, 20, 21),
        ("max_ack_delay", 0x0B, (1 << 14) - 1, 1 << 14),
        ("active_connection_id_limit", 0x0E, 2, 1),
    ],
)
def test_integers_out_of_range_are_refused(name: str, identifier: int, allowed: int, refused: int) -> None:
    parameters = decode_transport_parameters(entry(identifier, encode_varint(allowed)), True)
    assert getattr(parameters, name) == allowed
    assert_refused(entry(identifier, encode_varint(refused)), match=f"{name}: {refused} is not from")


@pytest.mark.requirement("rfc9000:7.4:1")
@pytest.mark.requirement("rfc9287:3:1")
@pytest.mark.parametrize(
    ("identifier", "value"),
    [
        (0x00, bytes(21)),
        (0x01, b""),
        (0x01, b"\x40"),
        (0x01, b"\x00\x00"),
        (0x02, bytes(15)),
        (0x02, bytes(17)),
        (0x0C, b"\x00"),
        (0x0F, bytes(21)),
        (0x10, bytes(21)),
        (0x2AB2, b"\x01"),
    ],
    ids=lambda value: value.hex() if isinstance(value, bytes) else hex(value),
)
def test_values_of_a_wrong_length_are_refused(identifier: int, value: bytes) -> None:
    assert_refused(entry(identifier, value))


@pytest.mark.requirement("rfc9000:18.2:7")
@pytest.mark.parametrize("cid_length", [0, 21])
def test_a_preferred_address_needs_a_connection_id_of_1_to_20_bytes(cid_length: int) -> None:
    value = bytes(24) + bytes([cid_length]) + bytes(cid_length) + TOKEN
    assert_refused(entry(0x0D, value), match="connection ID")


@pytest.mark.parametrize("length", [0, 24, 25, 40, 41, 43])
def test_a_preferred_address_of_a_wrong_length_is_refused(length: int) -> None:
    value = (bytes(24) + b"\x01\xcc" + bytes(30))[:length]
    assert_refused(entry(0x0D, value), match="preferred_address")


@pytest.mark.requirement("rfc9000:18.2:11")
@pytest.mark.parametrize(
    "parameters",
    [
        TransportParameters(original_destination_connection_id=b"12345678"),
        TransportParameters(stateless_reset_token=TOKEN),
        TransportParameters(preferred_address=PreferredAddress(("192.0.2.1", 1), None, b"c", TOKEN)),
        TransportParameters(retry_source_connection_id=b"12345678"),
    ],
    ids=["original_destination_connection_id", "token", "preferred_address", "retry_source_connection_id"],
)
def test_a_client_may_not_send_what_is_the_servers(parameters: TransportParameters) -> None:
    assert_refused(encode_transport_parameters(parameters), from_client=True, match="client must not")


@pytest.mark.requirement("rfc9368:4:4")
@pytest.mark.requirement("rfc9368:4:5")
@pytest.mark.parametrize("value", ["", "000001", "0000000100", "00000000", "0000000100000000"])
def test_malformed_version_information_is_refused(value: str) -> None:
    assert_refused(entry(0x11, bytes.fromhex(value)), match="version_information")


@pytest.mark.requirement("rfc9368:4:6")
def test_a_client_must_list_the_version_it_chose() -> None:
    data = encode_transport_parameters(TransportParameters(version_information=(1, (2, 3))))
    assert decode_transport_parameters(data, from_client=False).version_information == (1, (2, 3))
    assert_refused(data, from_client=True, match="chosen version")
