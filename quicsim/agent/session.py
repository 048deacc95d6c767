"""One handshake in the agent: our own TLS engine at one end of a request's socket."""

import errno
import socket
from collections.abc import Callable
from dataclasses import dataclass
from typing import Final

from quicsim.agent import frames
from quicsim.agent.channel import Channel, ChannelError, Watcher
from quicsim.agent.frames import Frame, FrameError
from quicsim.agent.keylog import EXPORTER
from quicsim.agent.keys import Keys, NoKey
from quicsim.agent.messages import AcceptReply, AuthMode, Done, MessageType
from stack.errors import ConfigError
from stack.randomness import Randomness
from stack.tls import engine as tls
from stack.tls.alerts import HandshakeError
from stack.tls.config import CLIENT_SUITES, ClientTls, ServerTls
from stack.tls.extensions import CLIENT_HELLO
from stack.tls.extensions import EARLY_DATA as EARLY_DATA_EXTENSION
from stack.tls.handshake import HEADER_SIZE
from stack.tls.hello import ClientHello, parse_client_hello
from stack.tls.messages import SIZE_LIMITS
from stack.tls.schedule import SUITES
from stack.tls.server import ServerHandshake
from stack.tls.tickets import TicketOffice

TICKETS: Final = 1  # that a server sends
NS_PER_MS: Final = 1_000_000
NS_PER_S: Final = 1_000_000_000


@dataclass(frozen=True, slots=True)
class Means:
    """What the handshakes of an agent have in common; `clock` gives ns."""

    keys: Keys
    office: TicketOffice
    rng: Randomness
    clock: Callable[[], int]
    deterministic: bool


class Session:
    """A request's handshake, from the options of its socket to the ticket.

    `finished` is called once, with the answer for the consumer. All is read from the socket when it is ready; what
    comes before a value that was asked for waits for it.
    """

    def __init__(
        self,
        endpoint: socket.socket,
        watcher: Watcher,
        request: AcceptReply,
        means: Means,
        finished: Callable[["Session", Done, str], None],
    ) -> None:
        self._request = request
        self._means = means
        self._keys = means.keys
        self._clock = means.clock
        self._finished = finished
        self._is_client = request.message_type is MessageType.CLIENT_HELLO
        self._engine: tls.Engine | None = None
        self._wanted: set[int] = set()  # options that were asked for
        self._options: dict[int, bytes] = {}
        self._next: Callable[[], None] = _nothing  # what to do when they have come
        self._held: list[Frame] = []  # messages that came in the meantime
        self._hello: bytearray | None = None if self._is_client else bytearray()  # until the ClientHello is whole
        self._last_secret: tls.NewSecret | None = None
        self._ended = False
        self._tickets_until: int | None = None
        self.deadline = None if not request.timeout_ms else self._clock() + request.timeout_ms * NS_PER_MS
        self._channel = Channel(endpoint, watcher, self._on_ready)
        more = (frames.SESSION_TICKET, frames.TRANSPORT_PARAM_EXT) if self._is_client else ()
        self._ask(self._make_engine, frames.ALPN, frames.CONFIG, frames.EARLY_DATA, *more)

    def close(self) -> None:
        """The consumer is gone."""
        self._ended = True
        self._channel.close()
        if self._engine is not None:
            self._engine.close()

    def timeout(self) -> None:
        """The deadline has come: of the handshake, or of a client's wait for a ticket."""
        if self._tickets_until is not None:
            self._finish(0)
        else:
            self._finish(errno.ETIMEDOUT, f"not complete within {self._request.timeout_ms} ms")

    # The socket

    def _on_ready(self) -> None:
        try:
            while not self._ended and (received := self._channel.receive()) is not None:
                for each in received[1]:
                    each.close()
                self._on_frame(frames.decode_frame(received[0]))
        except (FrameError, ChannelError) as error:
            self._finish(errno.EPROTO, str(error))
        except NoKey as error:
            self._finish(errno.ENOKEY, str(error))
        except ConfigError as error:
            self._finish(errno.EINVAL, str(error))
        if self._channel.ended and not self._ended:
            self._finish(0 if self._tickets_until is not None else errno.ECONNRESET, "the socket was closed")

    def _on_frame(self, frame: Frame) -> None:
        if frame.operation == frames.REPLY and frame.about in self._wanted:
            self._wanted.remove(frame.about)
            self._options[frame.about] = frame.data
        elif frame.operation == frames.MESSAGE:
            self._held.append(frame)
        else:
            raise FrameError(f"operation {frame.operation} about {frame.about}: must be a message, or an answer")
        if not self._wanted:
            self._proceed()

    def _ask(self, then: Callable[[], None], *options: int) -> None:
        """Ask for options, and go on with `then` when all have come."""
        self._next = then
        self._wanted.update(options)
        for option in options:
            self._send(frames.GET, option)

    def _proceed(self) -> None:
        following, self._next = self._next, _nothing
        following()
        while self._held and not self._wanted and not self._ended:
            frame = self._held.pop(0)
            self._on_message(frames.LEVEL_OF[frame.about], frame.data)

    def _send(self, operation: int, about: int = 0, data: bytes = b"", flags: int = 0) -> None:
        self._channel.send(frames.encode_frame(Frame(operation, about, data, flags)))

    # The handshake

    def _make_engine(self) -> None:
        config = frames.decode_config(self._options[frames.CONFIG])
        alpn = tuple(name for name in self._options[frames.ALPN].decode(errors="replace").split(",") if name)
        if self._is_client:
            self._engine = self._client(config, alpn)
        else:
            self._engine = self._server(config, alpn)
        self._engine.set_context(config.version.to_bytes(4))
        self._engine.start(self._clock())
        self._take_events()

    def _client(self, config: frames.SocketConfig, alpn: tuple[str, ...]) -> tls.Engine:
        request = self._request
        factory = ClientTls(
            trust=self._keys.trust_of(request),
            alpn=alpn,
            suites=frames.suites_of(config) or CLIENT_SUITES,
            groups=self._keys.policy.groups,
            key_shares=self._keys.policy.key_shares,
            credentials=self._keys.credentials_of(request) if request.auth_mode is AuthMode.X509 else None,
            session=self._options[frames.SESSION_TICKET] or None,
            tickets=config.receive_session_ticket > 0,
            early_data=self._early_data_is_wanted,
            deterministic=self._means.deterministic,
            psks=self._keys.psks_of(request) if request.auth_mode is AuthMode.PSK else (),
        )
        return factory.client(request.peername, self._options[frames.TRANSPORT_PARAM_EXT], self._means.rng)

    def _server(self, config: frames.SocketConfig, alpn: tuple[str, ...]) -> tls.Engine:
        request = self._request
        with_keys = request.auth_mode is AuthMode.PSK
        asks = config.certificate_request and not with_keys
        factory = ServerTls(
            credentials=None if with_keys else self._keys.credentials_of(request),
            alpn=alpn,
            suites=frames.suites_of(config) or tuple(SUITES),
            groups=self._keys.policy.groups,
            deterministic=self._means.deterministic,
            client_auth=("none", "request", "require")[config.certificate_request if asks else 0],
            client_trust=self._keys.trust_of(request) if asks else None,
            tickets=TICKETS,
            early_data=self._early_data_is_wanted,
            psks=self._keys.psks_of(request) if with_keys else (),
        )
        engine = ServerHandshake(
            factory, self._means.office, lambda _: self._options[frames.TRANSPORT_PARAM_EXT], self._means.rng
        )
        engine.allow_early_data(lambda *_: self._early_data_is_wanted)
        return engine

    @property
    def _early_data_is_wanted(self) -> bool:
        """What the consumer said last; a server's consumer knows by then whether it fits the session."""
        return self._options[frames.EARLY_DATA] == b"\x01"

    def _on_message(self, level: int, data: bytes) -> None:
        if self._hello is None or level != tls.INITIAL:
            self._feed(level, data)
            return
        self._hello += data
        if self._has_hello(self._hello):
            self._on_hello(bytes(self._hello))

    @staticmethod
    def _has_hello(data: bytearray) -> bool:
        """Whether a whole ClientHello is there, or something that the engine will refuse."""
        if data[0] != CLIENT_HELLO:
            return True
        if len(data) < HEADER_SIZE:
            return False
        length = int.from_bytes(data[1:HEADER_SIZE])
        return length > SIZE_LIMITS[CLIENT_HELLO] or len(data) >= HEADER_SIZE + length

    def _on_hello(self, data: bytes) -> None:
        """Get what depends on the ClientHello before the engine needs it.

        That is our transport parameters, and whether 0-RTT goes with them that came with a session of other ones.
        """
        self._hello = None
        end = HEADER_SIZE + int.from_bytes(data[1:HEADER_SIZE])
        try:
            hello = parse_client_hello(data[HEADER_SIZE:end])
        except HandshakeError:
            hello = None
        if hello is None or hello.transport_parameters is None:
            self._feed(tls.INITIAL, data)  # it says what is wrong
            return
        self._send(frames.SET, frames.TRANSPORT_PARAM_EXT, hello.transport_parameters)
        remembered = self._remembered_parameters(hello)
        if remembered is not None:
            self._send(frames.SET, frames.REMEMBERED_PARAMETERS, remembered)
        self._ask(lambda: self._feed(tls.INITIAL, data), frames.TRANSPORT_PARAM_EXT, frames.EARLY_DATA)

    def _remembered_parameters(self, hello: ClientHello) -> bytes | None:
        """Return what we announced in the session that 0-RTT comes with, None without 0-RTT."""
        if EARLY_DATA_EXTENSION not in hello.extensions or hello.psk is None or not self._early_data_is_wanted:
            return None
        ticket = self._means.office.open(hello.psk.identities[0][0], self._clock())
        return None if ticket is None else ticket.transport_parameters

    def _feed(self, level: int, data: bytes) -> None:
        assert self._engine is not None
        self._engine.feed(level, data, self._clock())
        self._take_events()

    def _take_events(self) -> None:
        assert self._engine is not None
        while not self._ended and (event := self._engine.next_event()) is not None:
            self._on_event(event)

    def _on_event(self, event: tls.Event) -> None:
        if isinstance(event, tls.HandshakeBytes):
            self._send(frames.MESSAGE, frames.LEVELS[event.level], event.data)
        elif isinstance(event, tls.NewSecret):
            if (event.level, event.direction) == (tls.APPLICATION, tls.READ):
                self._last_secret = event  # its arrival completes the handshake
            else:
                self._send(frames.SET, frames.CRYPTO_SECRET, frames.encode_secret(event))
        elif isinstance(event, tls.PeerTransportParameters):
            if self._is_client:
                self._send(frames.SET, frames.TRANSPORT_PARAM_EXT, event.data)
        elif isinstance(event, tls.HandshakeInfo):
            name = (event.server_name or "").encode()
            self._send(frames.SET, frames.PEER_NAME, name, frames.RESUMED if event.resumed else 0)
            self._send(frames.SET, frames.ALPN, (event.alpn or "").encode())
        elif isinstance(event, tls.EarlyData):
            self._send(frames.SET, frames.EARLY_DATA, bytes((event.accepted,)))
        elif isinstance(event, tls.Completed):
            self._complete(event)
        elif isinstance(event, tls.KeyLog):
            if event.label == EXPORTER:  # the consumer knows the others, and has their names
                self._send(frames.SET, frames.EXPORTER_SECRET, event.secret)
        elif isinstance(event, tls.SessionTicket):
            self._send(frames.SET, frames.SESSION_TICKET, event.blob)
            self._finish(0)
        elif isinstance(event, tls.Alert):
            self._send(frames.ALERT, event.description, event.reason.encode(), int(event.protocol_violation))
            self._finish(errno.EACCES, event.reason)

    def _complete(self, completed: tls.Completed) -> None:
        if completed.peer_certificates:
            certificates = frames.encode_certificates(completed.peer_certificates)
            self._send(frames.SET, frames.PEER_CERTIFICATES, certificates)
        assert self._last_secret is not None
        self._send(frames.SET, frames.CRYPTO_SECRET, frames.encode_secret(self._last_secret))
        self._last_secret = None
        # The version may have changed, and sessions belong to one
        self._ask(self._bring_tickets, frames.CONFIG)

    def _bring_tickets(self) -> None:
        """A server sends a ticket; a client that wants one waits for it."""
        assert self._engine is not None
        config = frames.decode_config(self._options[frames.CONFIG])
        self._engine.set_context(config.version.to_bytes(4))
        if not self._is_client:
            self._engine.send_ticket(self._clock())
            self._take_events()
        if self._is_client and config.receive_session_ticket:
            self._tickets_until = self.deadline = self._clock() + config.receive_session_ticket * NS_PER_S
        else:
            self._finish(0)

    def _finish(self, error: int, reason: str = "") -> None:
        """End with a positive errno or 0."""
        if self._ended:
            return
        self._send(frames.CLOSE, 0, frames.encode_close(error, reason))
        self.close()
        identities = self._request.peer_identities
        known = identities if len(identities) == 1 and not error else ()
        self._finished(self, Done(self._request.sockfd, error, known), reason)


def _nothing() -> None:
    """There is nothing to go on with."""
