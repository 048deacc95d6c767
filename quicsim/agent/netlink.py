"""Generic netlink messages and their attributes, as bytes (linux/netlink.h, linux/genetlink.h).

Numbers are in the byte order of this machine. Parsing is strict: lengths must fit, padding must be zero, nests must
carry NLA_F_NESTED and nothing else may.
"""

import struct
from dataclasses import dataclass
from typing import Final

NLA_F_NESTED: Final = 0x8000
NLA_F_NET_BYTEORDER: Final = 0x4000
NLM_F_REQUEST: Final = 0x1
NLMSG_ERROR: Final = 2

_MESSAGE: Final = struct.Struct("=IHHII")  # length, type, flags, sequence number, port
_GENERIC: Final = struct.Struct("=BBH")  # command, version, reserved
_ATTRIBUTE: Final = struct.Struct("=HH")  # length with this header, type
_U32: Final = struct.Struct("=I")
_S32: Final = struct.Struct("=i")


class NetlinkError(Exception):
    """Bytes that are no message, or not the one expected: what, where, and what would be right."""


@dataclass(frozen=True, slots=True)
class Attribute:
    """One attribute: its type without flags, and its payload."""

    kind: int
    payload: bytes
    nested: bool = False


@dataclass(frozen=True, slots=True)
class Message:
    """One generic netlink message; `body` are its attributes, or the error number of an NLMSG_ERROR."""

    kind: int  # the family, or NLMSG_ERROR
    flags: int
    sequence: int
    command: int = 0
    version: int = 0
    body: bytes = b""
    error: int = 0  # negative errno; 0 is an acknowledgment


def encode_message(message: Message) -> bytes:
    """Return the bytes of a message of a family."""
    size = _MESSAGE.size + _GENERIC.size + len(message.body)
    header = _MESSAGE.pack(size, message.kind, message.flags, message.sequence, 0)
    return header + _GENERIC.pack(message.command, message.version, 0) + message.body


def encode_error(request: bytes, error: int) -> bytes:
    """Return the NLMSG_ERROR that answers `request` with the negative errno `error`."""
    _, _, _, sequence, _ = _MESSAGE.unpack_from(request)
    size = _MESSAGE.size + _S32.size + _MESSAGE.size
    return _MESSAGE.pack(size, NLMSG_ERROR, 0, sequence, 0) + _S32.pack(error) + request[: _MESSAGE.size]


def decode_message(data: bytes) -> Message:
    """Parse one message, which must be all of `data`. Raises NetlinkError."""
    if len(data) < _MESSAGE.size + _GENERIC.size:
        raise NetlinkError(f"a message of {len(data)} bytes: must have {_MESSAGE.size + _GENERIC.size} or more")
    size, kind, flags, sequence, _ = _MESSAGE.unpack_from(data)
    if size != len(data):
        raise NetlinkError(f"nlmsg_len = {size}: must be the {len(data)} bytes that came")
    if kind == NLMSG_ERROR:
        if size < _MESSAGE.size + _S32.size + _MESSAGE.size:
            raise NetlinkError(f"NLMSG_ERROR has {size} bytes: must hold an error and the request's header")
        (error,) = _S32.unpack_from(data, _MESSAGE.size)
        if error > 0:
            raise NetlinkError(f"NLMSG_ERROR says {error}: must be 0 or a negative errno")
        return Message(kind, flags, sequence, error=error)
    command, version, reserved = _GENERIC.unpack_from(data, _MESSAGE.size)
    if reserved:
        raise NetlinkError(f"genlmsghdr.reserved = {reserved}: must be 0")
    return Message(kind, flags, sequence, command, version, data[_MESSAGE.size + _GENERIC.size :])


def encode_attribute(kind: int, payload: bytes, nested: bool = False) -> bytes:
    """Return one attribute, padded to four bytes."""
    size = _ATTRIBUTE.size + len(payload)
    return _ATTRIBUTE.pack(size, kind | NLA_F_NESTED * nested) + payload + bytes(-size % 4)


def encode_u32(kind: int, value: int) -> bytes:
    """Return an attribute with an unsigned number."""
    return encode_attribute(kind, _U32.pack(value))


def encode_s32(kind: int, value: int) -> bytes:
    """Return an attribute with a signed number."""
    return encode_attribute(kind, _S32.pack(value))


def encode_string(kind: int, value: str) -> bytes:
    """Return an attribute with text, which ends with a zero byte."""
    return encode_attribute(kind, value.encode() + b"\0")


def decode_attributes(data: bytes, where: str) -> list[Attribute]:
    """Parse attributes, which must be all of `data`; `where` names them in errors. Raises NetlinkError."""
    found = []
    at = 0
    while at < len(data):
        if len(data) - at < _ATTRIBUTE.size:
            raise NetlinkError(f"{where}: {len(data) - at} bytes at {at}: must be an attribute of 4 or more")
        size, kind = _ATTRIBUTE.unpack_from(data, at)
        padded = size + -size % 4
        if not _ATTRIBUTE.size <= size <= padded <= len(data) - at:
            raise NetlinkError(f"{where}: nla_len = {size} at {at}: must be from 4 to the {len(data) - at} bytes left")
        if any(data[at + size : at + padded]):
            raise NetlinkError(f"{where}: the attribute at {at} has padding that is not zero")
        if kind & NLA_F_NET_BYTEORDER:
            raise NetlinkError(f"{where}: attribute {kind & 0x3FFF} at {at} is in network byte order: must not be")
        nested = bool(kind & NLA_F_NESTED)
        found.append(Attribute(kind & 0x3FFF, data[at + _ATTRIBUTE.size : at + size], nested))
        at += padded
    return found


def u32_of(attribute: Attribute, name: str) -> int:
    """Return an attribute's unsigned number. Raises NetlinkError."""
    return _number(attribute, name, _U32)


def s32_of(attribute: Attribute, name: str) -> int:
    """Return an attribute's signed number. Raises NetlinkError."""
    return _number(attribute, name, _S32)


def string_of(attribute: Attribute, name: str) -> str:
    """Return an attribute's text. Raises NetlinkError."""
    payload = attribute.payload
    if attribute.nested or payload.find(b"\0") != len(payload) - 1:
        raise NetlinkError(f"{name}: must be text that ends with its only zero byte")
    try:
        return payload[:-1].decode()
    except UnicodeDecodeError:
        raise NetlinkError(f"{name} = {payload[:-1]!r}: must be UTF-8") from None


def nest_of(attribute: Attribute, name: str) -> list[Attribute]:
    """Return the attributes inside one. Raises NetlinkError."""
    if not attribute.nested:
        raise NetlinkError(f"{name}: must carry NLA_F_NESTED")
    return decode_attributes(attribute.payload, name)


def _number(attribute: Attribute, name: str, layout: struct.Struct) -> int:
    if attribute.nested or len(attribute.payload) != layout.size:
        raise NetlinkError(f"{name} has {len(attribute.payload)} bytes: must be a number of {layout.size}")
    (value,) = layout.unpack(attribute.payload)
    return int(value)
