"""Transport parameters (RFC 9000 section 18, RFC 9221 section 3, RFC 9287 section 3, RFC 9368 section 3).

The fields of `TransportParameters` are the table: identifier, name, type, default, limits and who may send it
stand in one place, and encoding, decoding and checks follow from it.
"""

from collections.abc import Callable
from dataclasses import dataclass, field, fields
from ipaddress import IPv4Address, IPv6Address
from typing import Any, Final, NamedTuple

from stack.errors import TRANSPORT_PARAMETER_ERROR, TransportError
from stack.wire.header import MAX_CID_LENGTH
from stack.wire.varint import MAX_VARINT, Truncated, decode_varint, encode_varint

STATELESS_RESET_TOKEN_LENGTH: Final = 16
MAX_STREAMS: Final = 1 << 60  # of either kind, in parameters and frames: rfc9000:4.6:1


class PreferredAddress(NamedTuple):
    """Where the server wants the client to move (RFC 9000 section 18.2); None for a family not offered."""

    ipv4: tuple[str, int] | None
    ipv6: tuple[str, int] | None
    connection_id: bytes
    stateless_reset_token: bytes


VersionInformation = tuple[int, tuple[int, ...]]  # chosen version, available versions


class _Row(NamedTuple):
    """How one parameter is written and read; `decode` raises ValueError saying what is wrong."""

    identifier: int
    encode: Callable[[Any], bytes]
    decode: Callable[[bytes], Any]
    server_only: bool


def _parameter(
    identifier: int,
    encode: Callable[[Any], bytes],
    decode: Callable[[bytes], Any],
    default: object = None,
    server_only: bool = False,
) -> Any:
    return field(default=default, metadata={"row": _Row(identifier, encode, decode, server_only)})


def _integer(identifier: int, default: int | None = 0, minimum: int = 0, maximum: int = MAX_VARINT) -> Any:
    def decode(data: bytes) -> int:
        value, end = decode_varint(data, 0)
        if end != len(data):
            raise ValueError(f"{len(data) - end} bytes follow the integer")
        if not minimum <= value <= maximum:
            raise ValueError(f"{value} is not from {minimum} to {maximum}")
        return value

    return _parameter(identifier, encode_varint, decode, default)


def _flag(identifier: int) -> Any:
    def decode(data: bytes) -> bool:
        if data:
            raise ValueError(f"it has {len(data)} bytes and must have none")
        return True

    return _parameter(identifier, lambda _: b"", decode, default=False)


def _octets(identifier: int, shortest: int, longest: int, server_only: bool = False) -> Any:
    def decode(data: bytes) -> bytes:
        if not shortest <= len(data) <= longest:
            raise ValueError(f"it has {len(data)} bytes and must have {shortest} to {longest}")
        return data

    return _parameter(identifier, bytes, decode, server_only=server_only)


_SMALLEST_RESERVED: Final = 1 << 16  # of the numbers of reserved parameters that take four bytes
_PREFERRED_CID_OFFSET: Final = 4 + 2 + 16 + 2  # both addresses with their ports


def _encode_preferred_address(value: PreferredAddress) -> bytes:
    host4, port4 = value.ipv4 or ("0.0.0.0", 0)
    host6, port6 = value.ipv6 or ("::", 0)
    return b"".join(
        (
            IPv4Address(host4).packed,
            port4.to_bytes(2),
            IPv6Address(host6).packed,
            port6.to_bytes(2),
            len(value.connection_id).to_bytes(1),
            value.connection_id,
            value.stateless_reset_token,
        )
    )


def _decode_preferred_address(data: bytes) -> PreferredAddress:
    cid_start = _PREFERRED_CID_OFFSET + 1
    if len(data) < cid_start:
        raise ValueError("it ends inside the addresses")
    cid_end = cid_start + data[_PREFERRED_CID_OFFSET]
    if not 1 <= cid_end - cid_start <= MAX_CID_LENGTH:  # rfc9000:18.2:7
        length = cid_end - cid_start
        raise ValueError(f"its connection ID has {length} bytes and must have 1 to {MAX_CID_LENGTH}")
    if len(data) != cid_end + STATELESS_RESET_TOKEN_LENGTH:
        raise ValueError(f"it has {len(data)} bytes and must have {cid_end + STATELESS_RESET_TOKEN_LENGTH}")
    ipv4 = (str(IPv4Address(data[0:4])), int.from_bytes(data[4:6])) if any(data[0:6]) else None
    ipv6 = (str(IPv6Address(data[6:22])), int.from_bytes(data[22:24])) if any(data[6:24]) else None
    return PreferredAddress(ipv4, ipv6, data[cid_start:cid_end], data[cid_end:])


def _encode_version_information(value: VersionInformation) -> bytes:
    chosen, available = value
    return b"".join(version.to_bytes(4) for version in (chosen, *available))


def _decode_version_information(data: bytes) -> VersionInformation:
    if not data or len(data) % 4:  # rfc9368:4:4
        raise ValueError(f"it has {len(data)} bytes and must have a positive multiple of 4")
    versions = tuple(int.from_bytes(data[offset : offset + 4]) for offset in range(0, len(data), 4))
    if 0 in versions:  # rfc9368:4:5
        raise ValueError("it contains version 0")
    return versions[0], versions[1:]


@dataclass(slots=True, kw_only=True)
class TransportParameters:
    """What one endpoint tells its peer in the TLS handshake; names and defaults as in RFC 9000 section 18.2.

    Durations are in milliseconds, sizes and limits in bytes. A connection ID or token that is absent is None.
    """

    original_destination_connection_id: bytes | None = _octets(0x00, 0, MAX_CID_LENGTH, server_only=True)
    max_idle_timeout: int = _integer(0x01)
    stateless_reset_token: bytes | None = _octets(
        0x02, STATELESS_RESET_TOKEN_LENGTH, STATELESS_RESET_TOKEN_LENGTH, server_only=True
    )
    max_udp_payload_size: int = _integer(0x03, default=65_527, minimum=1200)
    initial_max_data: int = _integer(0x04)
    initial_max_stream_data_bidi_local: int = _integer(0x05)
    initial_max_stream_data_bidi_remote: int = _integer(0x06)
    initial_max_stream_data_uni: int = _integer(0x07)
    initial_max_streams_bidi: int = _integer(0x08, maximum=MAX_STREAMS)
    initial_max_streams_uni: int = _integer(0x09, maximum=MAX_STREAMS)
    ack_delay_exponent: int = _integer(0x0A, default=3, maximum=20)
    max_ack_delay: int = _integer(0x0B, default=25, maximum=(1 << 14) - 1)
    disable_active_migration: bool = _flag(0x0C)
    preferred_address: PreferredAddress | None = _parameter(  # noqa: RUF009 - makes a field
        0x0D, _encode_preferred_address, _decode_preferred_address, server_only=True
    )
    active_connection_id_limit: int = _integer(0x0E, default=2, minimum=2)  # rfc9000:18.2:9
    initial_source_connection_id: bytes | None = _octets(0x0F, 0, MAX_CID_LENGTH)
    retry_source_connection_id: bytes | None = _octets(0x10, 0, MAX_CID_LENGTH, server_only=True)
    version_information: VersionInformation | None = _parameter(  # noqa: RUF009 - makes a field
        0x11, _encode_version_information, _decode_version_information
    )
    reset_stream_at: bool = _flag(0x1D)  # draft-ietf-quic-reliable-stream-reset section 3
    max_datagram_frame_size: int = _integer(0x20)
    grease_quic_bit: bool = _flag(0x2AB2)  # rfc9287:3:1
    disable_1rtt_encryption: bool = _flag(0xBAAD)  # draft-banks-quic-disable-encryption
    # In microseconds; None: the endpoint takes no ACK_FREQUENCY (draft-ietf-quic-ack-frequency section 3)
    min_ack_delay: int | None = _integer(0xFF04DE1B, default=None)

    def as_dict(self) -> dict[str, object]:
        """Return the values by name, for observers; without what is absent and has no default."""
        values = ((name, getattr(self, name)) for name in _ROWS)
        return {name: value for name, value in values if value is not None}


_ROWS: Final[dict[str, _Row]] = {entry.name: entry.metadata["row"] for entry in fields(TransportParameters)}
_BY_IDENTIFIER: Final = {row.identifier: (name, row) for name, row in _ROWS.items()}
_ENCODING: Final = [
    (entry.name, entry.default, encode_varint(_ROWS[entry.name].identifier), _ROWS[entry.name].encode)
    for entry in fields(TransportParameters)
]


def encode_transport_parameters(parameters: TransportParameters) -> bytes:
    """Return the contents of the quic_transport_parameters extension; what equals its default is left out.

    Raises ValueError for an integer that no variable-length integer can hold.
    """
    parts: list[bytes] = []
    for name, default, identifier, encode in _ENCODING:
        value = getattr(parameters, name)
        if value != default:
            data = encode(value)
            parts += (identifier, encode_varint(len(data)), data)
    return b"".join(parts)


def encode_reserved_parameter(bits: int, data: bytes) -> bytes:
    """Return a parameter that exists to be ignored (RFC 9000 section 18.1); 16 random `bits` choose which.

    The size depends only on that of `data`.
    """
    identifier = 31 * (_SMALLEST_RESERVED + bits) + 27
    return b"".join((encode_varint(identifier), encode_varint(len(data)), data))


def decode_transport_parameters(data: bytes, from_client: bool) -> TransportParameters:
    """Parse what the peer sent, ignoring unknown parameters; `from_client` forbids what only servers send.

    Raises TransportError (TRANSPORT_PARAMETER_ERROR) for a duplicate, a truncated parameter, or a value that
    its definition does not allow.
    """
    values: dict[str, Any] = {}
    seen: set[int] = set()
    position, size = 0, len(data)
    while position < size:
        try:
            identifier, position = decode_varint(data, position)
            length, position = decode_varint(data, position)
        except Truncated as error:
            raise TransportError(TRANSPORT_PARAMETER_ERROR, str(error)) from None
        end = position + length
        if end > size:
            raise _invalid(_name(identifier), f"its {length} bytes exceed the {size - position} that are left")
        if identifier in seen:  # rfc9000:7.4:3
            raise _invalid(_name(identifier), "it appears twice")
        seen.add(identifier)
        known = _BY_IDENTIFIER.get(identifier)  # none for an unknown one: rfc9000:7.4.2:1
        if known is not None:
            name, row = known
            values[name] = _decode_value(name, row, data[position:end], from_client)
        position = end
    parameters = TransportParameters(**values)
    if from_client:
        _check_client_versions(parameters.version_information)
    return parameters


def _name(identifier: int) -> str:
    known = _BY_IDENTIFIER.get(identifier)
    return f"parameter 0x{identifier:x}" if known is None else known[0]


def _decode_value(name: str, row: _Row, data: bytes, from_client: bool) -> object:
    if from_client and row.server_only:  # rfc9000:18.2:11
        raise _invalid(name, "a client must not send it")
    try:
        return row.decode(data)  # rfc9000:7.4:1
    except ValueError as error:
        raise _invalid(name, str(error)) from None


def _check_client_versions(versions: VersionInformation | None) -> None:
    if versions is not None and versions[0] not in versions[1]:  # rfc9368:4:6
        raise _invalid("version_information", "the chosen version is not among the available ones")


def _invalid(name: str, reason: str) -> TransportError:
    return TransportError(TRANSPORT_PARAMETER_ERROR, f"{name}: {reason}")
