"""What a client and a server engine share: reassembly, states, the event queue, secrets and the exporter."""

import hmac
from collections.abc import Callable
from typing import Final

from stack.crypto.hkdf import HASH_LENGTH
from stack.errors import QuicError
from stack.limits import MAX_CRYPTO_BUFFER
from stack.randomness import Randomness
from stack.tls.alerts import DECODE_ERROR, DECRYPT_ERROR, UNEXPECTED_MESSAGE, HandshakeError
from stack.tls.engine import (
    APPLICATION,
    EARLY,
    HANDSHAKE,
    LEVEL_NAMES,
    READ,
    WRITE,
    Alert,
    Event,
    HandshakeBytes,
    KeyLog,
    LocalTransportParameters,
    NewSecret,
)
from stack.tls.extensions import CERTIFICATE_REQUEST, MESSAGE_NAMES
from stack.tls.messages import SIZE_LIMITS
from stack.tls.schedule import SUITES, KeySchedule
from stack.tls.states import TRANSITIONS, State

HEADER_SIZE: Final = 4
MAX_LABEL_SIZE: Final = 249  # bytes: with "tls13 " it must fit an 8-bit length


def check_export(label: bytes, length: int, limit: int) -> None:
    """Check what an exporter is asked for, `limit` being the bytes that it gives at once. Raises QuicError."""
    if len(label) > MAX_LABEL_SIZE or not 0 <= length <= limit:
        raise QuicError(f"an exporter takes a label of up to {MAX_LABEL_SIZE} bytes and gives up to {limit} bytes")


class Handshake:
    """One side of a handshake, without its message handlers."""

    __slots__ = (
        "_buffer",
        "_client_random",
        "_client_secret",
        "_context",
        "_events",
        "_exporter_secret",
        "_now",
        "_peer_certificates",
        "_prefix",
        "_rng",
        "_schedule",
        "_server_name",
        "_server_secret",
        "_state",
        "_suite",
        "_transport_parameters",
    )

    def __init__(
        self,
        state: State,
        server_name: str | None,
        transport_parameters: LocalTransportParameters,
        rng: Randomness,
    ) -> None:
        self._state = state
        self._server_name = server_name
        self._transport_parameters = transport_parameters
        self._rng = rng
        self._events: list[Event] = []
        self._buffer = bytearray()  # the peer's bytes that are not a whole message yet
        self._suite = 0
        self._schedule = KeySchedule("sha256")  # replaced when the suite is known
        self._client_random = b""
        self._client_secret = b""  # handshake traffic secrets, for the two Finished
        self._server_secret = b""
        self._exporter_secret = b""
        self._context = b""  # of sessions
        self._now = 0
        self._prefix = b""  # of the transcript: what stands for a first ClientHello, and the HelloRetryRequest
        self._peer_certificates: tuple[bytes, ...] = ()

    @property
    def waiting(self) -> bool:
        """False: this engine answers at once."""
        return False

    @property
    def crypto_buffer(self) -> int:
        """What this engine's largest messages, certificate chains, fit into many times."""
        return MAX_CRYPTO_BUFFER

    def set_waker(self, waker: Callable[[], None]) -> None:
        """Nothing to do: this engine answers at once."""

    def set_context(self, context: bytes) -> None:
        """Bind sessions to `context`, of up to 255 bytes: they are resumed only in an equal one."""
        self._context = context

    def allow_early_data(
        self, check: Callable[[bytes, bytes], bool], remember: Callable[[bytes], bytes] | None = None
    ) -> None:
        """Accept 0-RTT, as a server, only if `check(remembered, present)` of our transport parameters is true.

        Tickets keep what `remember` makes of them. Without a check they have to be the same.
        """

    def start(self, now: int) -> None:
        """A server does nothing; a client makes its ClientHello."""

    def feed(self, level: int, data: bytes, now: int) -> None:
        """Take in-order CRYPTO bytes of one level, split anywhere.

        Whatever a peer sends leads to events, at worst to one Alert, after which the engine is dead. An
        exception of the callable that makes the local transport parameters passes through and ends the engine
        without an Alert.
        """
        if self._state is State.ENDED or not data:
            return
        self._now = now
        try:
            self._receive(level, data)
        except HandshakeError as alert:
            level = TRANSITIONS[self._state].level
            self._events.append(Alert(level, alert.description, alert.reason, alert.protocol_violation))
            self._forget()
        except BaseException:
            self._forget()
            raise

    def next_event(self) -> Event | None:
        """Return the oldest event not yet taken, or None."""
        return self._events.pop(0) if self._events else None

    def send_ticket(self, now: int) -> None:
        """Nothing, at a client."""

    def export_keying_material(self, label: bytes, context: bytes, length: int) -> bytes:
        """Return `length` bytes bound to this connection (RFC 8446 section 7.5).

        Raises QuicError before completion, after close, or for a label or length that the function can't
        take.
        """
        if self._state not in (State.CLIENT_CONNECTED, State.SERVER_CONNECTED):
            raise QuicError("keying material can be exported only when the handshake is complete")
        check_export(label, length, self._export_limit)
        return self._export(label, context, length)

    @property
    def _export_limit(self) -> int:
        """Bytes that can be exported at once."""
        return 255 * HASH_LENGTH[SUITES[self._suite]]

    def _export(self, label: bytes, context: bytes, length: int) -> bytes:
        # rfc8446:7.5:1
        return self._schedule.export(self._exporter_secret, label, context, length)

    def close(self) -> None:
        """Forget keys, buffers and events."""
        self._events.clear()
        self._forget()

    def _forget(self) -> None:
        # rfc8446:6:3
        self._state = State.ENDED
        self._buffer.clear()
        self._prefix = b""
        self._client_secret = self._server_secret = self._exporter_secret = b""
        self._schedule = KeySchedule("sha256")

    def _receive(self, level: int, data: bytes) -> None:
        """Cut the bytes into messages; handle those that the state accepts."""
        row = TRANSITIONS[self._state]
        if level != row.level:
            raise HandshakeError(
                UNEXPECTED_MESSAGE,
                f"handshake bytes at level {LEVEL_NAMES[level]}, expected at {LEVEL_NAMES[row.level]}",
                protocol_violation=level < row.level,  # rfc9001:4.1.3:1 rfc9001:4.1.3:2
            )
        buffer = self._buffer
        buffer += data
        while buffer:
            row = TRANSITIONS[self._state]
            kind = buffer[0]
            following = row.accepts.get(kind)
            if following is None:
                # rfc8446:4:2 rfc8446:4.1.2:3 rfc8446:4.5:3 rfc9001:6:3
                name = MESSAGE_NAMES.get(kind, f"a message of type {kind}")
                # rfc9001:4.4:5
                authenticates_late = kind == CERTIFICATE_REQUEST and level == APPLICATION
                raise HandshakeError(
                    UNEXPECTED_MESSAGE,
                    f"{name} is not expected: {self._state.value}",
                    protocol_violation=authenticates_late,
                )
            if len(buffer) < HEADER_SIZE:
                return
            end = HEADER_SIZE + int.from_bytes(buffer[1:HEADER_SIZE])
            if end > HEADER_SIZE + SIZE_LIMITS[kind]:
                raise HandshakeError(DECODE_ERROR, f"a {MESSAGE_NAMES[kind]} of {end} bytes is too long")
            if len(buffer) < end:
                return
            if len(buffer) > end and any(TRANSITIONS[state].level != level for state in following):
                # rfc8446:5.1:6 rfc9001:4.1.3:3
                raise HandshakeError(
                    UNEXPECTED_MESSAGE, f"{MESSAGE_NAMES[kind]} must be the last of its level", protocol_violation=True
                )
            message = bytes(buffer[:end])
            del buffer[:end]
            state = self._handle(kind, message) or following[0]
            assert state in following
            self._state = state

    def _handle(self, kind: int, message: bytes) -> State | None:
        """Handle one message that the state accepts, header included.

        Return the state that it leads to; None is the table's first.
        """
        raise NotImplementedError

    def _local_parameters(self, peer: bytes) -> bytes:
        """Return what we announce to a peer that announced `peer`."""
        parameters = self._transport_parameters
        return parameters if isinstance(parameters, bytes) else parameters(peer)

    def _send(self, level: int, messages: bytes) -> None:
        self._events.append(HandshakeBytes(level, messages))

    def _log(self, label: str, secret: bytes) -> None:
        self._events.append(KeyLog(label, self._client_random, secret))

    def _secret(self, level: int, direction: int, secret: bytes) -> None:
        self._events.append(NewSecret(level, direction, self._suite, secret))

    def _enter_early(self, schedule: KeySchedule, suite: int, direction: int) -> None:
        """Give out the secret of 0-RTT packets; the transcript must reach to the ClientHello."""
        secret = schedule.derive(b"c e traffic")
        self._log("CLIENT_EARLY_TRAFFIC_SECRET", secret)
        self._events.append(NewSecret(EARLY, direction, suite, secret))

    def _enter_handshake(self, shared_secret: bytes, client: bool) -> None:
        """Give out the handshake traffic secrets; the transcript must reach to ServerHello."""
        schedule = self._schedule
        schedule.add_shared_secret(shared_secret)
        self._client_secret = schedule.derive(b"c hs traffic")
        self._server_secret = schedule.derive(b"s hs traffic")
        self._log("CLIENT_HANDSHAKE_TRAFFIC_SECRET", self._client_secret)
        self._log("SERVER_HANDSHAKE_TRAFFIC_SECRET", self._server_secret)
        self._secret(HANDSHAKE, WRITE, self._client_secret if client else self._server_secret)
        self._secret(HANDSHAKE, READ, self._server_secret if client else self._client_secret)

    def _enter_application(self) -> tuple[bytes, bytes]:
        """Return the client's and the server's application secret; the transcript must end with Finished."""
        schedule = self._schedule
        schedule.enter_master()
        client_secret = schedule.derive(b"c ap traffic")
        server_secret = schedule.derive(b"s ap traffic")
        self._exporter_secret = schedule.derive(b"exp master")
        self._log("CLIENT_TRAFFIC_SECRET_0", client_secret)
        self._log("SERVER_TRAFFIC_SECRET_0", server_secret)
        self._log("EXPORTER_SECRET", self._exporter_secret)
        return client_secret, server_secret

    def _check_finished(self, body: bytes, base_secret: bytes) -> None:
        """Check the peer's Finished over the transcript before it."""
        expected = self._schedule.verify_data(base_secret)
        if len(body) != len(expected):
            raise HandshakeError(DECODE_ERROR, f"Finished must have {len(expected)} bytes, not {len(body)}")
        if not hmac.compare_digest(body, expected):
            # rfc8446:4.4.4:1
            raise HandshakeError(DECRYPT_ERROR, "the peer's Finished is wrong")
