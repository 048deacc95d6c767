"""The agent: takes requests from consumers and does their handshakes, many at a time in one process."""

import errno
import socket
from collections import deque
from collections.abc import Callable
from typing import Final

from quicsim.agent.channel import Channel, ChannelError, Watcher
from quicsim.agent.keys import Keys
from quicsim.agent.messages import AcceptReply, AcceptRequest, Done, HandlerClass, Ready, decode, encode
from quicsim.agent.netlink import NetlinkError
from quicsim.agent.session import Means, Session
from stack.randomness import Randomness
from stack.tls.tickets import TicketOffice

MAX_SESSIONS: Final = 256  # handshakes at a time; further requests wait in their consumer's queue, which is bounded

Log = Callable[[str], None]


class Agent:
    """Serves any number of consumers.

    `clock` gives ns; `log` gets a line for each handshake that failed, but not for those that their consumer took back.
    `deterministic` as in `stack.tls.config.ServerTls`: for simulations only. All handshakes share one office for
    tickets, so that any of them can resume any session, and no ticket serves 0-RTT twice.
    """

    def __init__(
        self,
        keys: Keys,
        watcher: Watcher,
        rng: Randomness,
        clock: Callable[[], int],
        log: Log,
        max_sessions: int = MAX_SESSIONS,
        *,
        deterministic: bool = False,
    ) -> None:
        self.watcher = watcher
        self.log = log
        self.means = Means(keys, TicketOffice(None), rng, clock, deterministic)
        self._max_sessions = max_sessions
        self._consumers: dict[_Consumer, None] = {}
        self._turns: deque[_Consumer] = deque()  # a consumer as often as it has requests for us

    def attach(self, control: socket.socket) -> None:
        """Serve the consumer at the other end of `control`, until it goes."""
        consumer = _Consumer(self, control)
        self._consumers[consumer] = None

    def close(self) -> None:
        """Leave all consumers; their handshakes end."""
        for consumer in list(self._consumers):
            self.detach(consumer)

    def deadline(self) -> int | None:
        """When `timeout` must be called, or None."""
        deadlines = [session.deadline for session in self._sessions() if session.deadline is not None]
        return min(deadlines, default=None)

    def timeout(self) -> None:
        """End the handshakes whose time is up."""
        now = self.means.clock()
        for session in self._sessions():
            if session.deadline is not None and session.deadline <= now:
                session.timeout()

    def _sessions(self) -> list[Session]:
        return [session for consumer in self._consumers for session in consumer.sessions]

    # What consumers' connections call

    def on_request(self, consumer: "_Consumer") -> None:
        """A consumer has a request."""
        self._turns.append(consumer)
        self.take_requests()

    def take_requests(self) -> None:
        """Ask for as many requests as we can do at once."""
        busy = sum(len(consumer.sessions) + consumer.asked for consumer in self._consumers)
        while self._turns and busy < self._max_sessions:
            busy += 1
            self._turns.popleft().ask()

    def detach(self, consumer: "_Consumer") -> None:
        """A consumer is gone."""
        self._consumers.pop(consumer, None)
        self._turns = deque(each for each in self._turns if each is not consumer)
        consumer.close()


class _Consumer:
    """The control socket of one consumer, and the handshakes that it asked for."""

    def __init__(self, agent: Agent, control: socket.socket) -> None:
        self._agent = agent
        self._sequence = 0
        self.asked = 0  # answers that are to come
        self.sessions: dict[Session, None] = {}
        self._channel = Channel(control, agent.watcher, self._on_ready)

    def ask(self) -> None:
        """Ask for a request."""
        self.asked += 1
        self._sequence += 1
        self._send(encode(AcceptRequest(HandlerClass.TLSHD), self._sequence))

    def close(self) -> None:
        for session in list(self.sessions):
            session.close()
        self.sessions.clear()
        self._channel.close()

    def _on_ready(self) -> None:
        try:
            while (received := self._channel.receive()) is not None:
                self._on_message(*received)
        except (ChannelError, NetlinkError) as error:
            self._agent.log(f"a consumer is dropped: {error}")
            self._channel.ended = True
        if self._channel.ended:
            self._agent.detach(self)

    def _on_message(self, data: bytes, sockets: list[socket.socket]) -> None:
        try:
            message, body = decode(data)
            if (len(sockets) == 1) != isinstance(body, AcceptReply):
                raise NetlinkError(f"{len(sockets)} sockets came: must be one with a request, and none else")
        except NetlinkError:
            for each in sockets:
                each.close()
            raise
        if isinstance(body, Ready):
            if body.handler_class is HandlerClass.TLSHD:
                self._agent.on_request(self)
        elif isinstance(body, AcceptReply):
            self.asked -= 1
            self._begin(sockets[0], body)
        elif message.error == -errno.EAGAIN:
            self.asked -= 1  # cancelled in the meantime
            self._agent.take_requests()

    def _begin(self, endpoint: socket.socket, request: AcceptReply) -> None:
        session = Session(endpoint, self._agent.watcher, request, self._agent.means, self._on_finished)
        self.sessions[session] = None

    def _on_finished(self, session: Session, done: Done, reason: str) -> None:
        self.sessions.pop(session, None)
        status = done.status or 0
        if status not in (0, errno.ECONNRESET):
            self._agent.log(f"request {done.sockfd}: {errno.errorcode.get(status, status)}: {reason}")
        self._sequence += 1
        self._send(encode(done, self._sequence))
        self._agent.take_requests()

    def _send(self, data: bytes) -> None:
        try:
            self._channel.send(data)
        except ChannelError as error:
            self._agent.log(f"a consumer is dropped: {error}")
            self._agent.detach(self)
