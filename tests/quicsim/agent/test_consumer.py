"""The consumer's functions: what they refuse, the queue, completion and cancellation."""

import errno
import random
import socket
from collections.abc import Callable, Iterator
from dataclasses import replace
from typing import Any

import pytest

from quicsim.agent import frames
from quicsim.agent.consumer import Handshakes, TlsHandshakeArgs
from quicsim.agent.factory import LocalAgent
from quicsim.agent.keys import Keys
from quicsim.agent.messages import (
    AcceptReply,
    AcceptRequest,
    Body,
    Done,
    HandlerClass,
    MessageType,
    Ready,
    decode,
    encode,
)
from quicsim.agent.watchers import PollWatcher


class Bench:
    """Handshakes with a hand-made agent at the other end of the control socket."""

    def __init__(self, max_pending: int = 50) -> None:
        self.watcher = PollWatcher()
        ours, self.agent = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        self.agent.settimeout(5)
        self.handshakes = Handshakes(ours, self.watcher, max_pending)
        self.done: list[tuple[Any, int, int]] = []
        self.sockets: list[socket.socket] = []

    def args(self, data: object = None, **fields: Any) -> TlsHandshakeArgs:
        ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        self.sockets += (ours, theirs)
        return TlsHandshakeArgs(theirs, lambda *ended: self.done.append(ended), data, **fields)

    def submit(self, data: object = None) -> TlsHandshakeArgs:
        args = self.args(data)
        assert self.handshakes.tls_client_hello_anon(args) == 0
        return args

    def say(self, body: Body) -> None:
        self.agent.send(encode(body, 1))
        self.watcher.run()

    def hear(self) -> tuple[int, Body | None]:
        """The next message to the agent: its error and body; sockets with it are kept."""
        data, descriptors, _, _ = socket.recv_fds(self.agent, 10_000, 1)
        self.sockets += [socket.socket(fileno=descriptor) for descriptor in descriptors]
        message, body = decode(data)
        return message.error, body

    def accept(self) -> AcceptReply:
        """Take the oldest request, which READY has told of."""
        self.say(AcceptRequest(HandlerClass.TLSHD))
        bodies: list[Body | None] = []
        while not bodies or bodies[-1] == Ready(HandlerClass.TLSHD):
            bodies.append(self.hear()[1])
        assert isinstance(bodies[-1], AcceptReply)
        return bodies[-1]

    def close(self) -> None:
        self.handshakes.close()
        self.agent.close()
        for each in self.sockets:
            each.close()


@pytest.fixture
def bench() -> Iterator[Bench]:
    made = Bench()
    yield made
    made.close()


def test_requests_are_taken_in_order_and_each_is_completed_once(bench: Bench) -> None:
    for data in ("a", "b"):
        bench.submit(data)
    first, second = bench.accept(), bench.accept()
    assert (first.sockfd, second.sockfd) == (1, 2)
    bench.say(Done(2, 0, (7,)))
    bench.say(Done(1, errno.EACCES))
    assert bench.done == [("b", 0, 7), ("a", -errno.EACCES, 0)]
    bench.say(Done(1, 0))
    assert bench.hear() == (-errno.EBADF, None)
    assert len(bench.done) == 2


def test_a_request_says_what_it_was_given(bench: Bench) -> None:
    args = bench.args(peername="host", timeout_ms=9, keyring=3, my_cert=4, my_privkey=5, my_peerids=(6, 7))
    assert bench.handshakes.tls_client_hello_x509(args) == 0
    request = bench.accept()
    assert (request.peername, request.timeout_ms, request.keyring) == ("host", 9, 3)
    assert [(each.cert, each.privkey) for each in request.certificates] == [(4, 5)]
    assert request.peer_identities == ()
    again = replace(args, sock=bench.sockets[0])
    assert bench.handshakes.tls_client_hello_psk(again) == 0
    assert bench.accept().peer_identities == (6, 7)


def test_the_socket_that_comes_with_a_request_is_the_one_that_was_given(bench: Bench) -> None:
    args = bench.submit()
    bench.accept()
    ours, passed = bench.sockets[0], bench.sockets[-1]
    passed.send(b"hello")
    assert ours.recv(10) == b"hello"
    assert args.sock.fileno() == -1  # ours is closed: when the agent goes, the other end sees it


def test_who_asks_without_need_is_told_to_try_again(bench: Bench) -> None:
    bench.say(AcceptRequest(HandlerClass.TLSHD))
    assert bench.hear() == (-errno.EAGAIN, None)


def test_a_request_is_not_for_agents_of_another_class(bench: Bench) -> None:
    bench.submit()
    assert bench.hear() == (0, Ready(HandlerClass.TLSHD))
    bench.say(AcceptRequest(HandlerClass.NONE))
    assert bench.hear() == (-errno.EAGAIN, None)


def test_a_message_that_is_none_is_invalid(bench: Bench) -> None:
    bench.agent.send(encode(Done(1), 1)[:-1])
    bench.watcher.run()
    assert bench.hear() == (-errno.EINVAL, None)


@pytest.mark.parametrize(
    "fields", [{"timeout_ms": -1}, {"my_cert": 1 << 31}, {"peername": "a\0b"}, {"my_peerids": (-1,)}]
)
def test_arguments_that_can_not_be_meant_are_invalid(bench: Bench, fields: dict[str, Any]) -> None:
    assert bench.handshakes.tls_client_hello_x509(bench.args(**fields)) == -errno.EINVAL


@pytest.mark.parametrize("count", [0, 6])
def test_a_client_has_one_to_five_keys(bench: Bench, count: int) -> None:
    assert bench.handshakes.tls_client_hello_psk(bench.args(my_peerids=(7,) * count)) == -errno.EINVAL


def test_a_closed_socket_is_invalid(bench: Bench) -> None:
    args = bench.args()
    args.sock.close()
    assert bench.handshakes.tls_client_hello_anon(args) == -errno.EINVAL


def test_a_socket_has_one_request_at_a_time(bench: Bench) -> None:
    args = bench.submit()
    assert bench.handshakes.tls_server_hello_x509(args) == -errno.EBUSY


@pytest.mark.parametrize(("asked", "granted"), [(1, 3), (5, 5), (99, 50)])
def test_the_queue_is_bounded_by_three_to_fifty(asked: int, granted: int) -> None:
    bench = Bench(asked)
    for number in range(granted):
        bench.submit(number)
    assert bench.handshakes.tls_client_hello_anon(bench.args()) == -errno.EAGAIN
    bench.accept()
    bench.submit()
    bench.close()


def test_the_agent_going_ends_what_it_has_and_what_waits(bench: Bench) -> None:
    bench.submit("taken")
    bench.accept()
    bench.submit("waiting")
    bench.agent.close()
    bench.watcher.run()
    assert bench.done == [("taken", -errno.EIO, 0), ("waiting", -errno.ESRCH, 0)]
    assert bench.handshakes.tls_client_hello_anon(bench.args()) == -errno.ESRCH


def test_no_status_means_an_input_output_error(bench: Bench) -> None:
    bench.submit()
    bench.say(Done(bench.accept().sockfd, None))
    assert bench.done == [(None, -errno.EIO, 0)]


def test_cancelling_a_waiting_request_wins(bench: Bench) -> None:
    args = bench.submit()
    assert bench.hear() == (0, Ready(HandlerClass.TLSHD))
    assert bench.handshakes.tls_handshake_cancel(args.sock)
    bench.say(AcceptRequest(HandlerClass.TLSHD))
    assert bench.hear() == (-errno.EAGAIN, None)
    assert bench.done == []
    assert not bench.handshakes.tls_handshake_cancel(args.sock)


def test_cancelling_an_accepted_request_wins_until_it_is_done(bench: Bench) -> None:
    first, second = bench.submit("first"), bench.submit("second")
    numbers = bench.accept().sockfd, bench.accept().sockfd
    assert bench.handshakes.tls_handshake_cancel(first.sock)
    for number in numbers:
        bench.say(Done(number, 0))
    assert bench.done == [("second", 0, 0)]
    assert not bench.handshakes.tls_handshake_cancel(second.sock)


@pytest.mark.parametrize(
    ("method", "message_type"),
    [
        ("tls_client_hello_anon", MessageType.CLIENT_HELLO),
        ("tls_server_hello_x509", MessageType.SERVER_HELLO),
        ("tls_server_hello_psk", MessageType.SERVER_HELLO),
    ],
)
def test_each_function_asks_for_its_side(bench: Bench, method: str, message_type: MessageType) -> None:
    submit: Callable[[TlsHandshakeArgs], int] = getattr(bench.handshakes, method)
    assert submit(bench.args()) == 0
    assert bench.accept().message_type is message_type


def test_a_consumer_that_breaks_the_framing_gets_a_protocol_error() -> None:
    local = LocalAgent(Keys(), random.Random(1), lambda: 0, (log := []).append)
    ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    done: list[int] = []
    args = TlsHandshakeArgs(theirs, lambda data, status, peer: done.append(status))
    assert local.handshakes.tls_server_hello_x509(args) == 0
    while local.watcher.run():
        pass
    ours.send(frames.encode_frame(frames.Frame(frames.SET, frames.ALPN)))
    while local.watcher.run():
        pass
    assert done == [-errno.EPROTO]
    assert log == ["request 1: EPROTO: operation 3 about 11: must be a message, or an answer"]
    ours.close()
    local.close()
