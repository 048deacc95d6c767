"""The TLS engine that leaves the handshake to an agent; see `stack.tls.engine.Engine`."""

import errno
import os
import socket
from collections import deque
from collections.abc import Callable
from operator import eq
from typing import TYPE_CHECKING

from quicsim.agent import frames
from quicsim.agent.channel import Channel, ChannelError
from quicsim.agent.consumer import TlsHandshakeArgs
from quicsim.agent.frames import Frame, FrameError
from quicsim.agent.keylog import EXPORTER, HelloRandom
from quicsim.agent.late import LateMessages
from stack.crypto.hkdf import HASH_LENGTH
from stack.errors import ConfigError, QuicError
from stack.limits import MAX_CRYPTO_BUFFER
from stack.tls import engine as tls
from stack.tls.alerts import INTERNAL_ERROR, UNEXPECTED_MESSAGE
from stack.tls.handshake import check_export
from stack.tls.schedule import SUITES, KeySchedule
from stack.tls.session import Session, decode_session

if TYPE_CHECKING:
    from quicsim.agent.factory import AgentTls


class AgentEngine:
    """One handshake, one side, done by an agent.

    Handshake messages go to the agent's socket as they come; what the agent sends becomes events when the transport
    takes them. The waker is called when there is something to take.
    """

    def __init__(
        self,
        factory: "AgentTls",
        is_client: bool,
        server_name: str | None,
        transport_parameters: tls.LocalTransportParameters,
    ) -> None:
        self._factory = factory
        self._is_client = is_client
        self._server_name = server_name
        self._parameters = transport_parameters
        self._local = b""  # our transport parameters, as soon as they are known
        self._context = b""
        self._session: Session | None = None  # that the agent may resume
        self._check_parameters: Callable[[bytes, bytes], bool] = eq
        self._remembered: bytes | None = None  # what a server announced in the session that 0-RTT came with
        self._waker: Callable[[], None] | None = None
        self._busy = False  # the transport is taking events: it need not be woken
        self._inbox: deque[bytes] = deque()
        self._events: deque[tls.Event] = deque()
        self._channel: Channel | None = None
        self._theirs: socket.socket | None = None
        self._status: int | None = None  # what the request ended with
        self._random = HelloRandom()
        self._late = LateMessages(is_client)
        self._alpn: str | None = None
        self._peer_name: str | None = None
        self._resumed = False
        self._certificates: tuple[bytes, ...] = ()
        self._suite = 0
        self._exporter_secret = b""
        self._complete = False
        self._ended = False  # failed, or closed

    @property
    def waiting(self) -> bool:
        """Whether the agent has the next word: until the handshake is complete, it may have it at any time."""
        return not self._ended and not self._complete and not self._events

    @property
    def crypto_buffer(self) -> int:
        """What the agent's engine takes."""
        return MAX_CRYPTO_BUFFER

    def set_waker(self, waker: Callable[[], None]) -> None:
        """Call `waker` when the agent has answered."""
        self._waker = waker

    def set_context(self, context: bytes) -> None:
        """The version that sessions belong to: the agent asks for it."""
        self._context = context

    def allow_early_data(
        self, check: Callable[[bytes, bytes], bool], remember: Callable[[bytes], bytes] | None = None
    ) -> None:
        """The agent of a server accepts 0-RTT only if `check` of our transport parameters, then and now, is true."""
        self._check_parameters = check

    def start(self, now: int) -> None:
        """Submit the request. Without an agent, or with too many requests before, an Alert follows."""
        if self._is_client and not isinstance(self._parameters, bytes):
            self._local = self._parameters(b"")
        elif isinstance(self._parameters, bytes):
            self._local = self._parameters
        handshakes = self._factory.handshakes
        ours, self._theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        self._channel = Channel(ours, handshakes.watcher, self._on_ready)
        args = TlsHandshakeArgs(
            self._theirs,
            self._on_done,
            peername=self._server_name if self._is_client else None,
            timeout_ms=self._factory.timeout_ms,
            keyring=self._factory.keyring,
            my_cert=self._factory.my_cert,
            my_privkey=self._factory.my_privkey,
            my_peerids=self._factory.my_peerids,
        )
        error = self._factory.submit(args, self._is_client)
        if error:
            self._fail(-error)

    def feed(self, level: int, data: bytes, now: int) -> None:
        """Pass handshake bytes on to the agent."""
        if self._ended or not data:
            return
        if level == tls.INITIAL and not self._is_client:
            self._random.add(data)
        if self._complete and level != tls.APPLICATION:
            # rfc9001:4.1.3:2
            self._alert(UNEXPECTED_MESSAGE, "handshake bytes of a level that is over", protocol_violation=True)
            return
        if level == tls.APPLICATION and (reason := self._late.refuse(data)) is not None:
            self._alert(UNEXPECTED_MESSAGE, reason)
            return
        try:
            self._send(frames.MESSAGE, frames.LEVELS[level], data)
        except ChannelError as error:
            self._alert(INTERNAL_ERROR, f"handshake agent: {error}")

    def next_event(self) -> tls.Event | None:
        """Return the oldest event not yet taken, or None. Exceptions of the transport's parameters pass through."""
        self._busy = True
        try:
            while not self._events:
                if self._inbox:
                    self._on_packet(self._inbox.popleft())
                elif not self._factory.handshakes.watcher.run():
                    self._check_end()
                    break
        except (FrameError, ChannelError) as error:
            self._alert(INTERNAL_ERROR, f"handshake agent: {error}")
        finally:
            self._busy = False
        return self._events.popleft() if self._events else None

    def send_ticket(self, now: int) -> None:
        """Nothing to do: the agent sends one of its own accord."""

    def export_keying_material(self, label: bytes, context: bytes, length: int) -> bytes:
        """Return keying material from the agent's secret for it; see `stack.tls.handshake.Handshake`."""
        if not self._complete or self._ended:
            raise QuicError("keying material can be exported only when the handshake is complete")
        hash_name = SUITES[self._suite]
        check_export(label, length, 255 * HASH_LENGTH[hash_name])
        return KeySchedule(hash_name).export(self._exporter_secret, label, context, length)

    def close(self) -> None:
        """Take the request back, unless it is over."""
        self._ended = True
        self._events.clear()
        self._exporter_secret = b""
        self._forget()

    # The agent

    def _on_ready(self) -> None:
        """Take from the socket all that is there; it becomes events when the transport is there too."""
        channel = self._channel
        if channel is None:
            return
        try:
            while (received := channel.receive()) is not None:
                for each in received[1]:
                    each.close()
                self._inbox.append(received[0])
        except ChannelError:
            channel.ended = True
        self._wake()

    def _on_done(self, data: object, status: int, peer_id: int) -> None:
        self._status = status
        self._on_ready()  # what the agent said before comes first

    def _wake(self) -> None:
        if not self._busy and not self._ended and self._waker is not None:
            self._waker()

    def _on_packet(self, data: bytes) -> None:
        frame = frames.decode_frame(data)
        if self._ended:
            return
        if frame.operation == frames.MESSAGE:
            self._on_message(frames.LEVEL_OF[frame.about], frame.data)
        elif frame.operation == frames.GET:
            self._send(frames.REPLY, frame.about, self._option(frame.about))
        elif frame.operation == frames.SET:
            self._on_set(frame)
        elif frame.operation == frames.ALERT:
            violation = bool(frame.flags & frames.PROTOCOL_VIOLATION)
            self._alert(frame.about, frame.data.decode(errors="replace"), protocol_violation=violation)
        elif frame.operation == frames.CLOSE:
            self._on_close(*frames.decode_close(frame.data))
        else:
            raise FrameError("a reply came: an agent must ask, set, say or close something")

    def _on_message(self, level: int, data: bytes) -> None:
        if level == tls.INITIAL and self._is_client:
            self._random.add(data)
        self._events.append(tls.HandshakeBytes(level, data))

    def _option(self, option: int) -> bytes:
        factory = self._factory
        if option == frames.ALPN:
            return ",".join(factory.alpn).encode()
        if option == frames.SESSION_TICKET:
            return self._session_to_resume() if self._is_client else b""
        if option == frames.TRANSPORT_PARAM_EXT:
            return self._local
        if option == frames.CONFIG:
            return frames.encode_config(
                frames.SocketConfig(
                    int.from_bytes(self._context[:4]),
                    payload_cipher=frames.CIPHERS[factory.suite] if factory.suite else 0,
                    receive_session_ticket=factory.receive_session_ticket if self._is_client else 0,
                    certificate_request=0 if self._is_client else factory.certificate_request,
                )
            )
        if option == frames.EARLY_DATA:
            fits = self._remembered is None or self._check_parameters(self._remembered, self._local)
            return bytes((factory.early_data and fits,))
        raise FrameError(f"the agent wants option {option}: there is no such")

    def _session_to_resume(self) -> bytes:
        """Return the session's blob in the first connection that could resume it: its ticket is shown only once."""
        blob = self._factory.session
        if blob is None:
            return b""
        session = decode_session(blob)
        if (session.server_name, session.context) != (self._server_name, self._context):
            return b""
        if not self._factory.use.take():
            return b""
        self._session = session
        return blob

    def _on_set(self, frame: Frame) -> None:
        option, data = frame.about, frame.data
        if option == frames.TRANSPORT_PARAM_EXT:
            if not isinstance(self._parameters, bytes) and not self._is_client:
                self._local = self._parameters(data)  # before the transport acts on the client's
            self._events.append(tls.PeerTransportParameters(data))
        elif option == frames.CRYPTO_SECRET:
            self._on_secret(frames.decode_secret(data))
        elif option == frames.ALPN:
            self._alpn = data.decode(errors="replace") or None
            self._events.append(tls.HandshakeInfo(self._alpn, self._peer_name, self._resumed))
        elif option == frames.PEER_NAME:
            self._peer_name = data.decode(errors="replace") or None
            self._resumed = bool(frame.flags & frames.RESUMED)
        elif option == frames.PEER_CERTIFICATES:
            self._certificates = frames.decode_certificates(data)
        elif option == frames.EARLY_DATA:
            self._events.append(tls.EarlyData(data == b"\x01"))
        elif option == frames.REMEMBERED_PARAMETERS:
            self._remembered = data
        elif option == frames.EXPORTER_SECRET:
            self._exporter_secret = data
            self._events.append(tls.KeyLog(EXPORTER, self._random.value, data))
        elif option == frames.SESSION_TICKET:
            try:
                session = decode_session(data)
            except ConfigError as error:
                raise FrameError(f"the agent sets a session: {error}") from None
            self._events.append(tls.SessionTicket(data, session.early_data, session.lifetime))
        else:
            raise FrameError(f"the agent sets option {option}: there is no such")

    def _on_secret(self, secret: tls.NewSecret) -> None:
        if (secret.level, secret.direction) == (tls.EARLY, tls.WRITE):
            if self._session is None:
                raise FrameError("the agent sets a secret for 0-RTT: must have a session that it resumes")
            self._events.append(tls.RememberedParameters(self._session.transport_parameters, self._session.alpn))
        self._suite = secret.suite
        label = self._random.label(secret, self._is_client)
        self._events.append(tls.KeyLog(label, self._random.value, secret.secret))
        self._events.append(secret)
        if (secret.level, secret.direction) == (tls.APPLICATION, tls.READ):
            self._complete = True
            self._events.append(tls.Completed(self._certificates))

    def _on_close(self, error: int, reason: str) -> None:
        if error and not self._complete:
            self._fail(error, reason)
        self._forget()

    def _check_end(self) -> None:
        """The agent has nothing more to say: is that the end?"""
        if self._ended or self._complete:
            return
        if self._status:
            self._fail(-self._status)
        elif self._channel is not None and self._channel.ended:
            self._alert(INTERNAL_ERROR, "handshake agent: it has gone")

    def _fail(self, error: int, reason: str = "") -> None:
        name = errno.errorcode.get(error, f"error {error}")
        why = {errno.ESRCH: "there is none", errno.EAGAIN: "its queue is full", errno.EIO: "it has gone"}.get(error)
        self._alert(INTERNAL_ERROR, f"handshake agent: {reason or why or os.strerror(error)} ({name})")

    def _alert(self, description: int, reason: str, *, protocol_violation: bool = False) -> None:
        if not self._ended:
            self._ended = True
            self._events.append(tls.Alert(tls.INITIAL, description, reason, protocol_violation))
            self._forget()

    def _send(self, operation: int, about: int, data: bytes) -> None:
        if self._channel is not None:
            self._channel.send(frames.encode_frame(Frame(operation, about, data)))

    def _forget(self) -> None:
        """Let go of the sockets."""
        if self._theirs is not None:
            self._factory.handshakes.tls_handshake_cancel(self._theirs)
            self._theirs.close()
            self._theirs = None
        if self._channel is not None:
            self._channel.close()
            self._channel = None
        self._inbox.clear()
