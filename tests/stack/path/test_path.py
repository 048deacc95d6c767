"""A path's anti-amplification credit, pacing, and answers to PATH_CHALLENGE (RFC 9000 section 8)."""

import pytest

from stack.control import ControlFrames
from stack.dispatch import ReceivedPacket
from stack.limits import MAX_PATH_RESPONSES
from stack.path.path import Path
from stack.path.validation import PathValidation
from stack.sent_frame import SentFrame
from stack.wire.frames import PathResponseFrame, decode_frames, encode_path_challenge, encode_path_response
from stack.wire.varint import Truncated
from tests.support.loss_bench import LossBench
from tests.support.pair import Pair


def make_path(*, validated: bool = False, pacing: bool = False) -> Path:
    return Path(
        ("10.0.0.1", 1),
        ("10.0.0.2", 2),
        datagram_size=1200,
        congestion="new_reno",
        initial_rtt_ns=100_000_000,
        pacing=pacing,
        validated=validated,
    )


@pytest.mark.requirement("rfc9000:8:1")
@pytest.mark.requirement("rfc9000:8.1:2")
def test_credit_is_three_times_what_was_received() -> None:
    path = make_path()
    assert path.amplification_blocked()
    path.bytes_received = 1200
    assert path.amplification_credit() == 3600
    path.bytes_sent = 3500
    assert path.amplification_blocked()
    path.validated = True
    assert not path.amplification_blocked()


def test_the_quota_is_the_smaller_of_window_and_pacing() -> None:
    path = make_path(pacing=True, validated=True)
    assert path.send_quota(0) == 12_000
    path.bytes_in_flight = 11_000
    assert path.send_quota(0) == 1_000
    assert path.paced_until() is None, "the window has no room either"
    path.bytes_in_flight = 0
    assert path.pacer is not None
    path.pacer.on_sent(12_000, 0)
    assert path.send_quota(0) == 0
    # slow start: twice 12,000 bytes in 100 ms
    assert path.paced_until() == 5_000_000


@pytest.mark.requirement("rfc9002:7.2:2")
def test_another_datagram_size_makes_another_initial_window() -> None:
    path = make_path(validated=True)
    path.set_datagram_size(1400)
    assert path.send_quota(0) == 14_000


def test_without_pacing_the_window_alone_counts() -> None:
    path = make_path(validated=True)
    assert path.send_quota(0) == 12_000
    assert path.pacing_rate() is None
    assert path.paced_until() is None


class Answers:
    """PathValidation with its control frames."""

    def __init__(self) -> None:
        self.control = ControlFrames()
        self.validation = PathValidation(self.control)
        bench = LossBench()
        self.packet = ReceivedPacket(bench.spaces[2], bench.path, b"", 0)

    def challenge(self, data: bytes) -> None:
        frame = encode_path_challenge(data)
        assert self.validation.on_challenge_frame(frame, 1, frame[0], self.packet) == len(frame)

    def responses(self) -> tuple[list[bytes], list[SentFrame]]:
        parts: list[bytes | bytearray] = []
        sent: list[SentFrame] = []
        self.control.write(10_000, parts, sent)
        frames = decode_frames(b"".join(parts)) if parts else []
        return [frame.data for frame in frames if isinstance(frame, PathResponseFrame)], sent


@pytest.mark.requirement("rfc9000:8.2.2:1")
@pytest.mark.requirement("rfc9000:19.17:1")
@pytest.mark.requirement("rfc9000:8.2.2:7")
def test_each_challenge_is_echoed_once_even_if_the_answer_is_lost() -> None:
    answers = Answers()
    for challenge in (b"12345678", b"abcdefgh", b"12345678"):
        answers.challenge(challenge)
    data, sent = answers.responses()
    assert data == [b"12345678", b"abcdefgh", b"12345678"]
    for each in sent:
        each[0].on_lost(each, 0)
    assert answers.responses()[0] == []


def test_a_flood_of_challenges_is_answered_in_part() -> None:
    answers = Answers()
    for number in range(1000):
        answers.challenge(number.to_bytes(8))
    data, sent = answers.responses()
    assert len(data) == MAX_PATH_RESPONSES
    for each in sent:
        each[0].on_acked(each, 0)
    answers.challenge(b"12345678")
    assert answers.responses()[0] == [b"12345678"]


@pytest.mark.requirement("rfc9000:19.18:1")
def test_a_response_to_nothing_is_ignored_and_a_short_one_refused() -> None:
    answers = Answers()
    frame = encode_path_response(b"12345678")
    assert answers.validation.on_response_frame(frame, 1, frame[0], answers.packet) == len(frame)
    with pytest.raises(Truncated):
        answers.validation.on_response_frame(frame[:-1], 1, frame[0], answers.packet)
    with pytest.raises(Truncated):
        answers.validation.on_challenge_frame(frame[:-1], 1, frame[0], answers.packet)


@pytest.mark.requirement("rfc9002:7.2:3")
def test_a_peer_that_takes_only_smaller_datagrams_gets_the_initial_window_of_that_size() -> None:
    pair = Pair(client={"max_udp_payload_size": 1300}, server={"datagram_size": 1800})
    _, server = pair.established()
    assert server.path.datagram_size == 1300
    assert server.path.congestion.congestion_window == 13_000


@pytest.mark.requirement("rfc9000:9:3")
def test_packets_from_another_address_are_dropped_since_migration_is_disabled() -> None:
    pair = Pair()
    client, server = pair.established()
    stream_id = client.open_stream()
    assert stream_id is not None
    client.write(stream_id, b"hello", end=True)
    received = server.stats.datagrams_received
    for transmit in pair.client.transmit(pair.now):
        pair.server.receive(transmit.payload, ("10.9.9.9", 1), transmit.destination, 0, pair.now)
    assert server.stats.datagrams_received == received
    assert stream_id not in server.streams.streams
