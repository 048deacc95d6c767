"""The handshake's states and what moves them: RFC 8446 appendices A.1 (client) and A.2 (server)."""

import enum
from typing import Final, NamedTuple

from stack.tls.engine import APPLICATION, HANDSHAKE, INITIAL
from stack.tls.extensions import (
    CERTIFICATE,
    CERTIFICATE_REQUEST,
    CERTIFICATE_VERIFY,
    CLIENT_HELLO,
    ENCRYPTED_EXTENSIONS,
    FINISHED,
    NEW_SESSION_TICKET,
    SERVER_HELLO,
)


class State(enum.Enum):
    """What an engine waits for."""

    CLIENT_START = "client start"
    CLIENT_WAIT_SERVER_HELLO = "client waits for ServerHello"
    CLIENT_WAIT_SECOND_SERVER_HELLO = "client waits for ServerHello after HelloRetryRequest"
    CLIENT_WAIT_ENCRYPTED_EXTENSIONS = "client waits for EncryptedExtensions"
    CLIENT_WAIT_CERTIFICATE_OR_REQUEST = "client waits for Certificate or CertificateRequest"
    CLIENT_WAIT_CERTIFICATE = "client waits for Certificate"
    CLIENT_WAIT_CERTIFICATE_VERIFY = "client waits for CertificateVerify"
    CLIENT_WAIT_FINISHED = "client waits for Finished"
    CLIENT_CONNECTED = "client connected"
    SERVER_START = "server start"
    SERVER_WAIT_SECOND_CLIENT_HELLO = "server waits for the second ClientHello"
    SERVER_WAIT_CERTIFICATE = "server waits for Certificate"
    SERVER_WAIT_CERTIFICATE_VERIFY = "server waits for CertificateVerify"
    SERVER_WAIT_FINISHED = "server waits for Finished"
    SERVER_CONNECTED = "server connected"
    ENDED = "failed or closed"


class Row(NamedTuple):
    """Encryption level of the peer's next message, and the states that each acceptable message can lead to.

    The first one is the usual one.
    """

    level: int
    accepts: dict[int, tuple[State, ...]]


TRANSITIONS: Final[dict[State, Row]] = {
    State.CLIENT_START: Row(INITIAL, {}),
    State.CLIENT_WAIT_SERVER_HELLO: Row(
        INITIAL,
        {SERVER_HELLO: (State.CLIENT_WAIT_ENCRYPTED_EXTENSIONS, State.CLIENT_WAIT_SECOND_SERVER_HELLO)},
    ),
    State.CLIENT_WAIT_SECOND_SERVER_HELLO: Row(INITIAL, {SERVER_HELLO: (State.CLIENT_WAIT_ENCRYPTED_EXTENSIONS,)}),
    State.CLIENT_WAIT_ENCRYPTED_EXTENSIONS: Row(
        HANDSHAKE, {ENCRYPTED_EXTENSIONS: (State.CLIENT_WAIT_CERTIFICATE_OR_REQUEST, State.CLIENT_WAIT_FINISHED)}
    ),
    State.CLIENT_WAIT_CERTIFICATE_OR_REQUEST: Row(
        HANDSHAKE,
        {
            CERTIFICATE: (State.CLIENT_WAIT_CERTIFICATE_VERIFY,),
            CERTIFICATE_REQUEST: (State.CLIENT_WAIT_CERTIFICATE,),
        },
    ),
    State.CLIENT_WAIT_CERTIFICATE: Row(HANDSHAKE, {CERTIFICATE: (State.CLIENT_WAIT_CERTIFICATE_VERIFY,)}),
    State.CLIENT_WAIT_CERTIFICATE_VERIFY: Row(HANDSHAKE, {CERTIFICATE_VERIFY: (State.CLIENT_WAIT_FINISHED,)}),
    State.CLIENT_WAIT_FINISHED: Row(HANDSHAKE, {FINISHED: (State.CLIENT_CONNECTED,)}),
    State.CLIENT_CONNECTED: Row(APPLICATION, {NEW_SESSION_TICKET: (State.CLIENT_CONNECTED,)}),
    State.SERVER_START: Row(
        INITIAL,
        {
            CLIENT_HELLO: (
                State.SERVER_WAIT_FINISHED,
                State.SERVER_WAIT_CERTIFICATE,
                State.SERVER_WAIT_SECOND_CLIENT_HELLO,
            )
        },
    ),
    State.SERVER_WAIT_SECOND_CLIENT_HELLO: Row(
        INITIAL, {CLIENT_HELLO: (State.SERVER_WAIT_FINISHED, State.SERVER_WAIT_CERTIFICATE)}
    ),
    State.SERVER_WAIT_CERTIFICATE: Row(
        HANDSHAKE, {CERTIFICATE: (State.SERVER_WAIT_CERTIFICATE_VERIFY, State.SERVER_WAIT_FINISHED)}
    ),
    State.SERVER_WAIT_CERTIFICATE_VERIFY: Row(HANDSHAKE, {CERTIFICATE_VERIFY: (State.SERVER_WAIT_FINISHED,)}),
    State.SERVER_WAIT_FINISHED: Row(HANDSHAKE, {FINISHED: (State.SERVER_CONNECTED,)}),
    State.SERVER_CONNECTED: Row(APPLICATION, {}),
    State.ENDED: Row(APPLICATION, {}),
}
