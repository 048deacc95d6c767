"""The consumer's API of the in-kernel handshake service, and its end of the control socket.

A consumer submits a request with the socket that an agent is to do a handshake on. Requests wait in one queue, agents
take them in order, and each ends with exactly one call of its `done`, unless it is cancelled before.
"""

import errno
import socket
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from quicsim.agent.channel import Channel, ChannelError, Watcher
from quicsim.agent.messages import (
    AcceptReply,
    AcceptRequest,
    AuthMode,
    Certificate,
    Done,
    HandlerClass,
    MessageType,
    Ready,
    decode,
    encode,
)
from quicsim.agent.netlink import NetlinkError, encode_error

MIN_PENDING: Final = 3
MAX_PENDING: Final = 50
MAX_PEER_IDS: Final = 5
NO_PEER_ID: Final = 0

_MESSAGE_HEADER: Final = 16  # bytes of a message that an error can answer

# Called with `data`, 0 or a negative errno, and the serial number of the peer's identity or NO_PEER_ID
DoneCallback = Callable[[Any, int, int], None]


@dataclass(frozen=True, slots=True)
class TlsHandshakeArgs:
    """What a request says. Serial numbers name keys of the agent; 0 is none, or the agent's default."""

    sock: socket.socket  # the agent's end; closed here once the agent has it
    done: DoneCallback
    data: Any = None
    peername: str | None = None  # of the server, for SNI and its certificate
    timeout_ms: int = 0  # 0: as long as it takes
    keyring: int = 0
    my_cert: int = 0
    my_privkey: int = 0
    my_peerids: tuple[int, ...] = ()  # pre-shared keys, in order of preference


class _Request:
    """A request that is waiting or with an agent."""

    __slots__ = ("args", "reply")

    def __init__(self, args: TlsHandshakeArgs, reply: AcceptReply) -> None:
        self.args = args
        self.reply = reply


class Handshakes:
    """One namespace of handshake requests, and the agent that takes them.

    Its functions return 0 or a negative errno: EINVAL for arguments that can't be meant, EAGAIN while `max_pending`
    requests wait, EBUSY for a socket that has a request already, ESRCH without an agent. An agent that vanishes ends
    waiting requests with ESRCH and those that it has with EIO.
    """

    def __init__(self, control: socket.socket, watcher: Watcher, max_pending: int = MAX_PENDING) -> None:
        """`control` is connected to an agent. `max_pending` is brought into the range of 3 to 50."""
        self.watcher = watcher
        self._control = Channel(control, watcher, self._on_control)
        self._max_pending = min(max(max_pending, MIN_PENDING), MAX_PENDING)
        self._pending: deque[_Request] = deque()
        self._accepted: dict[int, _Request] = {}  # by the number that DONE repeats
        self._by_socket: dict[socket.socket, _Request] = {}
        self._next_number = 1
        self._sequence = 0

    @classmethod
    def connect(cls, path: Path | str, watcher: Watcher, max_pending: int = MAX_PENDING) -> "Handshakes":
        """Connect to the agent that listens at `path`. Raises OSError."""
        control = socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        try:
            control.connect(str(path))
        except OSError as error:
            control.close()
            raise OSError(error.errno, f"{path}: no handshake agent: {error.strerror}") from None
        return cls(control, watcher, max_pending)

    def close(self) -> None:
        """Leave the agent; requests end as if it had vanished."""
        self._control.ended = True
        self._on_agent_gone()
        self._control.close()

    # The consumer's functions

    def tls_client_hello_anon(self, args: TlsHandshakeArgs) -> int:
        """Speak as a client that proves nothing about itself; the server's certificate is verified all the same."""
        return self._submit(args, MessageType.CLIENT_HELLO, AuthMode.UNAUTH)

    def tls_client_hello_x509(self, args: TlsHandshakeArgs) -> int:
        """Speak as a client with a certificate."""
        return self._submit(args, MessageType.CLIENT_HELLO, AuthMode.X509)

    def tls_client_hello_psk(self, args: TlsHandshakeArgs) -> int:
        """Speak as a client with one to five pre-shared keys."""
        if not 1 <= len(args.my_peerids) <= MAX_PEER_IDS:
            return -errno.EINVAL
        return self._submit(args, MessageType.CLIENT_HELLO, AuthMode.PSK)

    def tls_server_hello_x509(self, args: TlsHandshakeArgs) -> int:
        """Answer a client with a certificate."""
        return self._submit(args, MessageType.SERVER_HELLO, AuthMode.X509)

    def tls_server_hello_psk(self, args: TlsHandshakeArgs) -> int:
        """Answer a client that shares a key with us."""
        return self._submit(args, MessageType.SERVER_HELLO, AuthMode.PSK)

    def tls_handshake_cancel(self, sock: socket.socket) -> bool:
        """Take a request back. True: its `done` will not be called; false: it was called, or there is none."""
        request = self._by_socket.pop(sock, None)
        if request is None:
            return False
        if request in self._pending:
            self._pending.remove(request)
        else:
            del self._accepted[request.reply.sockfd]
        return True

    def _submit(self, args: TlsHandshakeArgs, message_type: MessageType, auth_mode: AuthMode) -> int:
        numbers = (args.timeout_ms, args.keyring, args.my_cert, args.my_privkey, *args.my_peerids)
        if args.sock.fileno() < 0 or not all(0 <= number < 1 << 31 for number in numbers):
            return -errno.EINVAL
        if args.peername is not None and "\0" in args.peername:
            return -errno.EINVAL
        if len(self._pending) >= self._max_pending:
            return -errno.EAGAIN
        if args.sock in self._by_socket:
            return -errno.EBUSY
        if self._control.ended:
            return -errno.ESRCH
        number, self._next_number = self._next_number, self._next_number + 1
        with_certificate = auth_mode is AuthMode.X509 and args.my_cert
        request = _Request(
            args,
            AcceptReply(
                number,
                message_type,
                auth_mode,
                args.timeout_ms,
                args.my_peerids if auth_mode is AuthMode.PSK else (),
                (Certificate(args.my_cert, args.my_privkey),) if with_certificate else (),
                args.peername,
                args.keyring,
            ),
        )
        self._pending.append(request)
        self._by_socket[args.sock] = request
        self._sequence += 1
        self._control.send(encode(Ready(HandlerClass.TLSHD), self._sequence))
        return 0

    # The agent

    def _on_control(self) -> None:
        try:
            while (received := self._control.receive()) is not None:
                data, sockets = received
                for each in sockets:
                    each.close()  # an agent has none for us
                self._on_message(data)
        except ChannelError:
            self._control.ended = True
        if self._control.ended:
            self._on_agent_gone()
            self._control.close()

    def _on_message(self, data: bytes) -> None:
        try:
            message, body = decode(data)
        except NetlinkError:
            if len(data) >= _MESSAGE_HEADER:
                self._control.send(encode_error(data, -errno.EINVAL))
            return
        if isinstance(body, AcceptRequest):
            if not self._pending or body.handler_class is not HandlerClass.TLSHD:
                self._control.send(encode_error(data, -errno.EAGAIN))
                return
            request = self._pending.popleft()
            self._accepted[request.reply.sockfd] = request
            self._control.send(encode(request.reply, message.sequence), request.args.sock)
            request.args.sock.close()
        elif isinstance(body, Done):
            finished = self._accepted.pop(body.sockfd, None)
            if finished is None:
                self._control.send(encode_error(data, -errno.EBADF))  # cancelled, or never accepted
                return
            status = errno.EIO if body.status is None else body.status
            self._finish(finished, -status, body.remote_auth[0] if body.remote_auth else NO_PEER_ID)
        elif body is not None:
            self._control.send(encode_error(data, -errno.EOPNOTSUPP))

    def _finish(self, request: _Request, status: int, peer_id: int) -> None:
        self._by_socket.pop(request.args.sock, None)
        request.args.done(request.args.data, status, peer_id)

    def _on_agent_gone(self) -> None:
        waiting, accepted = list(self._pending), list(self._accepted.values())
        self._pending.clear()
        self._accepted.clear()
        for request in accepted:
            self._finish(request, -errno.EIO, NO_PEER_ID)
        for request in waiting:
            self._finish(request, -errno.ESRCH, NO_PEER_ID)
