"""The generic netlink family `handshake`: what consumers and agents say to one another (linux/handshake.h).

An agent that is told READY asks with ACCEPT for a request, does the handshake on the socket that comes with the answer,
and reports with DONE.
"""

from dataclasses import dataclass
from enum import IntEnum
from typing import Final, TypeVar

from quicsim.agent.netlink import (
    NLM_F_REQUEST,
    Attribute,
    Message,
    NetlinkError,
    decode_attributes,
    decode_message,
    encode_attribute,
    encode_message,
    encode_s32,
    encode_string,
    encode_u32,
    nest_of,
    s32_of,
    string_of,
    u32_of,
)

FAMILY: Final = 0x20  # the message type; a kernel assigns one when the family is registered, here it is fixed
VERSION: Final = 1

READY: Final = 1
ACCEPT: Final = 2
DONE: Final = 3

_ACCEPT_NAMES: Final = {
    1: "sockfd",
    2: "handler-class",
    3: "message-type",
    4: "timeout",
    5: "auth-mode",
    6: "peer-identity",
    7: "certificate",
    8: "peername",
    9: "keyring",
}
_X509_NAMES: Final = {1: "cert", 2: "privkey"}
_DONE_NAMES: Final = {1: "status", 2: "sockfd", 3: "remote-auth"}


class HandlerClass(IntEnum):
    """Which kind of agent a request is for."""

    NONE = 0
    TLSHD = 1


class MessageType(IntEnum):
    """Which side of the handshake the agent takes."""

    CLIENT_HELLO = 1
    SERVER_HELLO = 2


class AuthMode(IntEnum):
    """How this side proves itself, and takes the peer's proof."""

    UNAUTH = 1
    PSK = 2
    X509 = 3


@dataclass(frozen=True, slots=True)
class Certificate:
    """Serial numbers of a certificate and of its private key, in the agent's keys."""

    cert: int
    privkey: int


@dataclass(frozen=True, slots=True)
class Ready:
    """To agents of a class: there is a request."""

    handler_class: HandlerClass


@dataclass(frozen=True, slots=True)
class AcceptRequest:
    """From an agent of a class: give me the oldest request."""

    handler_class: HandlerClass


@dataclass(frozen=True, slots=True)
class AcceptReply:
    """A request. `sockfd` is its number at the consumer, which DONE repeats; the socket itself comes beside it."""

    sockfd: int
    message_type: MessageType
    auth_mode: AuthMode
    timeout_ms: int = 0  # 0: as long as it takes
    peer_identities: tuple[int, ...] = ()
    certificates: tuple[Certificate, ...] = ()
    peername: str | None = None
    keyring: int = 0


@dataclass(frozen=True, slots=True)
class Done:
    """How a request ended: a positive errno, 0 for success, None where the agent says nothing."""

    sockfd: int
    status: int | None = 0
    remote_auth: tuple[int, ...] = ()


Body = Ready | AcceptRequest | AcceptReply | Done
Enum = TypeVar("Enum", bound=IntEnum)


def encode(body: Body, sequence: int) -> bytes:
    """Return the bytes of a message."""
    if isinstance(body, Ready):
        return _message(READY, 0, sequence, encode_u32(2, body.handler_class))
    if isinstance(body, AcceptRequest):
        return _message(ACCEPT, NLM_F_REQUEST, sequence, encode_u32(2, body.handler_class))
    if isinstance(body, AcceptReply):
        return _message(ACCEPT, 0, sequence, _accept_reply(body))
    attributes = [] if body.status is None else [encode_u32(1, body.status)]
    attributes.append(encode_s32(2, body.sockfd))
    attributes += [encode_u32(3, serial) for serial in body.remote_auth]
    return _message(DONE, NLM_F_REQUEST, sequence, b"".join(attributes))


def _message(command: int, flags: int, sequence: int, body: bytes) -> bytes:
    return encode_message(Message(FAMILY, flags, sequence, command, VERSION, body))


def _accept_reply(reply: AcceptReply) -> bytes:
    attributes = [encode_s32(1, reply.sockfd), encode_u32(3, reply.message_type)]
    if reply.timeout_ms:
        attributes.append(encode_u32(4, reply.timeout_ms))
    if reply.keyring:
        attributes.append(encode_u32(9, reply.keyring))
    attributes.append(encode_u32(5, reply.auth_mode))
    attributes += [encode_u32(6, serial) for serial in reply.peer_identities]
    for certificate in reply.certificates:
        pair = encode_s32(1, certificate.cert) + encode_s32(2, certificate.privkey)
        attributes.append(encode_attribute(7, pair, nested=True))
    if reply.peername is not None:
        attributes.append(encode_string(8, reply.peername))
    return b"".join(attributes)


def decode(data: bytes) -> tuple[Message, Body | None]:
    """Parse a message: its header, and what it says, None for an NLMSG_ERROR. Raises NetlinkError."""
    message = decode_message(data)
    if message.kind != FAMILY:
        if message.body or message.command:
            raise NetlinkError(f"nlmsg_type = {message.kind}: must be {FAMILY}, the handshake family, or NLMSG_ERROR")
        return message, None
    if message.version != VERSION:
        raise NetlinkError(f"version = {message.version} of the handshake family: must be {VERSION}")
    if message.command == READY:
        return message, Ready(_handler_class(message.body, "READY"))
    if message.command == ACCEPT and message.flags & NLM_F_REQUEST:
        return message, AcceptRequest(_handler_class(message.body, "ACCEPT"))
    if message.command == ACCEPT:
        return message, _decode_accept_reply(message.body)
    if message.command == DONE:
        return message, _decode_done(message.body)
    raise NetlinkError(f"command {message.command} of the handshake family: must be READY 1, ACCEPT 2 or DONE 3")


def _handler_class(body: bytes, where: str) -> HandlerClass:
    table = _Table(body, where, {2: _ACCEPT_NAMES[2]})
    return table.enum(2, HandlerClass)


def _decode_accept_reply(body: bytes) -> AcceptReply:
    table = _Table(body, "ACCEPT", _ACCEPT_NAMES, repeated=(6, 7))
    certificates = []
    for attribute in table.all(7):
        pair = _Table(attribute, "ACCEPT.certificate", _X509_NAMES)
        certificates.append(Certificate(s32_of(pair.one(1), "cert"), s32_of(pair.one(2), "privkey")))
    return AcceptReply(
        s32_of(table.one(1), "ACCEPT.sockfd"),
        table.enum(3, MessageType),
        table.enum(5, AuthMode),
        table.number(4),
        tuple(u32_of(attribute, "ACCEPT.peer-identity") for attribute in table.all(6)),
        tuple(certificates),
        string_of(table.one(8), "ACCEPT.peername") if table.all(8) else None,
        table.number(9),
    )


def _decode_done(body: bytes) -> Done:
    table = _Table(body, "DONE", _DONE_NAMES, repeated=(3,))
    status = u32_of(table.one(1), "DONE.status") if table.all(1) else None
    serials = tuple(u32_of(attribute, "DONE.remote-auth") for attribute in table.all(3))
    return Done(s32_of(table.one(2), "DONE.sockfd"), status, serials)


class _Table:
    """Attributes by type; those that may not repeat don't."""

    def __init__(
        self, body: bytes | Attribute, where: str, names: dict[int, str], repeated: tuple[int, ...] = ()
    ) -> None:
        self._where = where
        self._names = names
        self._found: dict[int, list[Attribute]] = {}
        for attribute in decode_attributes(body, where) if isinstance(body, bytes) else nest_of(body, where):
            kind = attribute.kind
            if kind not in names:
                known = ", ".join(f"{number} {name}" for number, name in names.items())
                raise NetlinkError(f"{where} has attribute {kind}: must be one of {known}")
            same = self._found.setdefault(kind, [])
            if same and kind not in repeated:
                raise NetlinkError(f"{where} has {names[kind]} twice")
            same.append(attribute)

    def all(self, kind: int) -> list[Attribute]:
        return self._found.get(kind, [])

    def one(self, kind: int) -> Attribute:
        if kind not in self._found:
            raise NetlinkError(f"{self._where} has no {self._names[kind]}: must have one")
        return self._found[kind][0]

    def number(self, kind: int) -> int:
        """An optional number, 0 by default."""
        return u32_of(self.one(kind), f"{self._where}.{self._names[kind]}") if self.all(kind) else 0

    def enum(self, kind: int, values: type[Enum]) -> Enum:
        name = f"{self._where}.{self._names[kind]}"
        value = u32_of(self.one(kind), name)
        try:
            return values(value)
        except ValueError:
            known = ", ".join(f"{item.value} {item.name.lower()}" for item in values)
            raise NetlinkError(f"{name} = {value}: must be one of {known}") from None
