"""What crosses the socket of one handshake: frames between a QUIC socket and its agent.

A frame is a header of eight bytes (operation, level or option, flags, length) and its data. Levels, options and structs
are those of the in-kernel QUIC's socket API, in the byte order of this machine; options from 128 on are our own.
"""

import struct
from dataclasses import dataclass
from typing import Final

from stack.crypto.packet_protection import (
    TLS_AES_128_CCM_SHA256,
    TLS_AES_128_GCM_SHA256,
    TLS_AES_256_GCM_SHA384,
    TLS_CHACHA20_POLY1305_SHA256,
)
from stack.tls import engine as tls

# Operations
MESSAGE: Final = 1  # handshake messages of a level
GET: Final = 2  # from the agent: an option's value, please
SET: Final = 3  # from the agent: an option's value
REPLY: Final = 4  # to the agent: the value it asked for
ALERT: Final = 5  # from the agent: description and reason; the handshake failed
CLOSE: Final = 6  # from the agent: no more will come; the data is a positive errno or 0, and what it means

# Options
CONFIG: Final = 9
ALPN: Final = 11  # names joined by commas
SESSION_TICKET: Final = 12
CRYPTO_SECRET: Final = 13
TRANSPORT_PARAM_EXT: Final = 14
PEER_NAME: Final = 128  # ours: the server name that the client asked for; flag 1 if a session was resumed
PEER_CERTIFICATES: Final = 129  # ours: DER, leaf first, each behind its length in 32 bits
EARLY_DATA: Final = 130  # ours: a byte, 1: 0-RTT is wanted (to the agent), or accepted (from it)
REMEMBERED_PARAMETERS: Final = 131  # ours: a server's transport parameters in the session that 0-RTT came with
EXPORTER_SECRET: Final = 132  # ours: what keying material is exported from

PROTOCOL_VIOLATION: Final = 1  # flag of an ALERT: QUIC has an error of its own for it
RESUMED: Final = 1  # flag of a PEER_NAME

# The socket API's numbers by the engine's level
LEVELS: Final = {tls.APPLICATION: 0, tls.INITIAL: 1, tls.HANDSHAKE: 2, tls.EARLY: 3}
LEVEL_OF: Final = {number: level for level, number in LEVELS.items()}
CIPHERS: Final = {
    TLS_AES_128_GCM_SHA256: 51,
    TLS_AES_256_GCM_SHA384: 52,
    TLS_AES_128_CCM_SHA256: 53,
    TLS_CHACHA20_POLY1305_SHA256: 54,
}
_SUITE_OF: Final = {number: suite for suite, number in CIPHERS.items()}

_HEADER: Final = struct.Struct("=BBHI")
_SECRET: Final = struct.Struct("=BBHI48s")
_CONFIG: Final = struct.Struct("=IIIIBBBBB3xI")
_ERRNO: Final = struct.Struct("=I")
_LENGTH: Final = struct.Struct("=I")


class FrameError(Exception):
    """The other end does not keep to the framing: what came, and what would be right."""


@dataclass(frozen=True, slots=True)
class Frame:
    """One frame; `about` is the level of a MESSAGE, in the socket API's numbers, and else the option."""

    operation: int
    about: int = 0
    data: bytes = b""
    flags: int = 0


def encode_frame(frame: Frame) -> bytes:
    """Return a frame's bytes."""
    return _HEADER.pack(frame.operation, frame.about, frame.flags, len(frame.data)) + frame.data


def decode_frame(data: bytes) -> Frame:
    """Parse a frame, which must be all of `data`. Raises FrameError."""
    if len(data) < _HEADER.size:
        raise FrameError(f"a frame of {len(data)} bytes: must have {_HEADER.size} or more")
    operation, about, flags, length = _HEADER.unpack_from(data)
    if not MESSAGE <= operation <= CLOSE:
        raise FrameError(f"operation {operation}: must be from {MESSAGE} to {CLOSE}")
    if length != len(data) - _HEADER.size:
        raise FrameError(f"a frame says {length} bytes of data: must be the {len(data) - _HEADER.size} that came")
    if operation == MESSAGE and about not in LEVEL_OF:
        raise FrameError(f"a message of level {about}: must be from 0 to 3")
    return Frame(operation, about, data[_HEADER.size :], flags)


def encode_secret(secret: tls.NewSecret) -> bytes:
    """Return a secret as the option CRYPTO_SECRET has it."""
    send = secret.direction == tls.WRITE
    return _SECRET.pack(send, LEVELS[secret.level], 0, CIPHERS[secret.suite], secret.secret)


def decode_secret(data: bytes) -> tls.NewSecret:
    """Parse the option CRYPTO_SECRET. Raises FrameError."""
    if len(data) != _SECRET.size:
        raise FrameError(f"CRYPTO_SECRET has {len(data)} bytes: must have {_SECRET.size}")
    send, level, _, cipher, secret = _SECRET.unpack(data)
    if send > 1 or level not in LEVEL_OF or cipher not in _SUITE_OF:
        raise FrameError(f"CRYPTO_SECRET: send {send}, level {level}, type {cipher}: must be 0..1, 0..3, 51..54")
    suite = _SUITE_OF[cipher]
    length = 48 if suite == TLS_AES_256_GCM_SHA384 else 32
    return tls.NewSecret(LEVEL_OF[level], tls.WRITE if send else tls.READ, suite, secret[:length])


@dataclass(frozen=True, slots=True)
class SocketConfig:
    """What an agent wants to know of the option CONFIG; the other fields of the struct are zero."""

    version: int
    payload_cipher: int = 0  # 51 to 54, or 0: any
    receive_session_ticket: int = 0  # seconds that a client waits for a ticket; 0: it wants none
    certificate_request: int = 0  # by a server: 0 none, 1 request, 2 require


def encode_config(config: SocketConfig) -> bytes:
    """Return the option CONFIG."""
    ticket, request = config.receive_session_ticket, config.certificate_request
    return _CONFIG.pack(config.version, 0, 0, config.payload_cipher, 0, 0, 0, ticket, request, 0)


def decode_config(data: bytes) -> SocketConfig:
    """Parse the option CONFIG. Raises FrameError."""
    if len(data) != _CONFIG.size:
        raise FrameError(f"CONFIG has {len(data)} bytes: must have {_CONFIG.size}")
    version, _, _, cipher, _, _, _, ticket, request, _ = _CONFIG.unpack(data)
    if cipher and cipher not in _SUITE_OF:
        raise FrameError(f"CONFIG.payload_cipher_type = {cipher}: must be 0 or 51 to 54")
    if request > 2:
        raise FrameError(f"CONFIG.certificate_request = {request}: must be from 0 to 2")
    return SocketConfig(version, cipher, ticket, request)


def suites_of(config: SocketConfig) -> tuple[int, ...]:
    """Return the cipher suites that a CONFIG allows; none if it leaves the choice."""
    return (_SUITE_OF[config.payload_cipher],) if config.payload_cipher else ()


def encode_certificates(certificates: tuple[bytes, ...]) -> bytes:
    """Return the option PEER_CERTIFICATES."""
    return b"".join(_LENGTH.pack(len(der)) + der for der in certificates)


def decode_certificates(data: bytes) -> tuple[bytes, ...]:
    """Parse the option PEER_CERTIFICATES. Raises FrameError."""
    found = []
    at = 0
    while at < len(data):
        if len(data) - at < _LENGTH.size:
            raise FrameError(f"PEER_CERTIFICATES ends at {at}: must have a length there")
        (length,) = _LENGTH.unpack_from(data, at)
        at += _LENGTH.size
        if length > len(data) - at:
            raise FrameError(f"PEER_CERTIFICATES says {length} bytes at {at}: must be at most {len(data) - at}")
        found.append(data[at : at + length])
        at += length
    return tuple(found)


def encode_close(error: int, reason: str) -> bytes:
    """Return the data of a CLOSE."""
    return _ERRNO.pack(error) + reason.encode()


def decode_close(data: bytes) -> tuple[int, str]:
    """Parse the data of a CLOSE: a positive errno, or 0, and a sentence. Raises FrameError."""
    if len(data) < _ERRNO.size:
        raise FrameError(f"CLOSE has {len(data)} bytes: must have {_ERRNO.size} or more")
    (error,) = _ERRNO.unpack_from(data)
    return int(error), data[_ERRNO.size :].decode(errors="replace")
