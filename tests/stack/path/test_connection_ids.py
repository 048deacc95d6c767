"""Connection IDs, those we issue and those the peer gives (RFC 9000 sections 5.1, 19.15 and 19.16)."""

import random

import pytest

from stack.control import ControlFrames
from stack.dispatch import ReceivedPacket
from stack.errors import CONNECTION_ID_LIMIT_ERROR, FRAME_ENCODING_ERROR, PROTOCOL_VIOLATION, TransportError
from stack.limits import MAX_ISSUED_CONNECTION_IDS, RETIREMENTS_PER_CONNECTION_ID
from stack.path.connection_ids import LocalConnectionIds, RemoteConnectionIds, stateless_reset_token
from stack.path.spin_bit import SpinBit
from stack.sent_frame import SentFrame
from stack.wire.decoded_frames import Frame, NewConnectionIdFrame, RetireConnectionIdFrame, decode_frames
from stack.wire.frames import encode_new_connection_id, encode_retire_connection_id
from tests.support.loss_bench import LossBench

KEY = b"k" * 32
TOKEN = bytes(range(16))


def packet(destination_cid: bytes) -> ReceivedPacket:
    bench = LossBench()
    return ReceivedPacket(bench.spaces[2], bench.path, destination_cid, 0)


PACKET = packet(b"elsewhere")


def sent_by(control: ControlFrames) -> tuple[list[Frame], list[SentFrame]]:
    parts: list[bytes | bytearray] = []
    sent: list[SentFrame] = []
    control.write(10_000, parts, sent)
    payload = b"".join(parts)
    return (decode_frames(payload) if payload else []), sent


class Local:
    """IDs that we issue."""

    def __init__(self, first: bytes = b"firstcid", rng: random.Random | None = None) -> None:
        self.rng = random.Random(5) if rng is None else rng
        self.control = ControlFrames()
        self.routed: dict[bytes, None] = {first: None}
        self.ids = LocalConnectionIds(
            first,
            KEY,
            self.control,
            lambda: self.rng.randbytes(len(first)),
            self.route,
            lambda cid: self.routed.pop(cid),
        )

    def route(self, connection_id: bytes) -> bool:
        free = connection_id not in self.routed
        self.routed[connection_id] = None
        return free

    def issued(self) -> list[NewConnectionIdFrame]:
        return [frame for frame in sent_by(self.control)[0] if isinstance(frame, NewConnectionIdFrame)]

    def retire(self, sequence: int, destination_cid: bytes = b"elsewhere") -> int | None:
        """The peer retires an ID; returns the code of the error that it causes."""
        frame = encode_retire_connection_id(sequence)
        try:
            assert self.ids.on_retire_frame(frame, 1, frame[0], packet(destination_cid)) == len(frame)
        except TransportError as error:
            return error.code
        return None


@pytest.mark.requirement("rfc9000:5.1.1:1")
@pytest.mark.requirement("rfc9000:5.1.1:2")
@pytest.mark.requirement("rfc9000:5.1.1:4")
@pytest.mark.parametrize(("limit", "count"), [(2, 1), (3, 2), (8, MAX_ISSUED_CONNECTION_IDS - 1), (1 << 60, 3)])
def test_ids_are_issued_up_to_the_peers_limit_and_ours(limit: int, count: int) -> None:
    local = Local()
    local.ids.issue(limit)
    frames = local.issued()
    assert [frame.sequence_number for frame in frames] == list(range(1, count + 1))
    assert list(local.routed) == [b"firstcid"] + [frame.connection_id for frame in frames]


class Spy(random.Random):
    """Keeps what it gave."""

    def __init__(self, seed: int) -> None:
        super().__init__(seed)
        self.given: list[bytes] = []

    def randbytes(self, n: int) -> bytes:
        self.given.append(super().randbytes(n))
        return self.given[-1]


@pytest.mark.requirement("rfc9000:5.1:1")
def test_ids_are_nothing_but_random_bytes() -> None:
    spy = Spy(3)
    local = Local(rng=spy)
    local.ids.issue(8)
    local.ids.reserve()
    assert list(local.routed)[1:] == spy.given
    assert all(len(each) == 8 for each in spy.given)


@pytest.mark.requirement("rfc9000:5.1.2:8")
@pytest.mark.requirement("rfc9000:19.15:6")
def test_the_peer_is_never_asked_to_retire_ids() -> None:
    """Retire Prior To stays 0, and so below every sequence number."""
    local = Local()
    local.ids.issue(4)
    for sequence in range(8):
        for key in local.ids.by_sequence:
            if key:
                frame = local.ids.write_frame(key)
                assert frame[:3] == bytes((0x18, key, 0))
        assert local.retire(sequence) is None


@pytest.mark.requirement("rfc9000:5.1:2")
@pytest.mark.requirement("rfc9000:10.3.2:5")
def test_ids_and_tokens_differ_and_tokens_follow_from_the_key() -> None:
    local = Local()
    local.ids.issue(4)
    frames = local.issued()
    assert len({frame.connection_id for frame in frames}) == len({f.stateless_reset_token for f in frames}) == 3
    for frame in frames:
        assert frame.stateless_reset_token == stateless_reset_token(KEY, frame.connection_id)
        assert frame.stateless_reset_token != stateless_reset_token(b"x" * 32, frame.connection_id)


@pytest.mark.requirement("rfc9000:5.1.1:7")
def test_a_retired_id_is_replaced_and_no_longer_routed() -> None:
    local = Local()
    local.ids.issue(2)
    (frame,) = local.issued()
    assert local.retire(0) is None
    assert b"firstcid" not in local.routed
    (replacement,) = local.issued()
    assert replacement.sequence_number == 2
    assert list(local.routed) == [frame.connection_id, replacement.connection_id]
    assert local.retire(0) is None, "said again, it changes nothing"
    assert local.issued() == []


@pytest.mark.requirement("rfc9000:19.16:1")
def test_retiring_what_was_never_issued_is_a_protocol_violation() -> None:
    local = Local()
    assert local.retire(1) == PROTOCOL_VIOLATION
    local.ids.issue(2)
    local.issued()
    assert local.retire(2) == PROTOCOL_VIOLATION


@pytest.mark.requirement("rfc9000:19.16:3")
def test_retiring_the_id_in_use_is_a_protocol_violation() -> None:
    local = Local()
    local.ids.issue(2)
    local.issued()
    assert local.retire(0, destination_cid=b"firstcid") == PROTOCOL_VIOLATION


@pytest.mark.requirement("rfc9000:19.15:2")
@pytest.mark.requirement("rfc9000:19.16:4")
@pytest.mark.parametrize("sequence", [0, 1])
def test_with_empty_ids_there_is_nothing_to_issue_or_to_retire(sequence: int) -> None:
    local = Local(b"")
    local.ids.issue(8)
    assert local.issued() == []
    assert local.retire(sequence, destination_cid=b"") == PROTOCOL_VIOLATION


def test_a_lost_id_is_told_again_unless_it_was_retired() -> None:
    local = Local()
    local.ids.issue(3)
    frames, sent = sent_by(local.control)
    assert local.retire(1) is None
    for each in sent:
        each[0].on_lost(each, 0)
    assert [frame.sequence_number for frame in local.issued()] == [3, 2]
    assert isinstance(frames[0], NewConnectionIdFrame)


class Remote:
    """IDs that the peer gives us."""

    def __init__(self, first: bytes = b"peer0", limit: int = 4) -> None:
        self.control = ControlFrames()
        self.ids = RemoteConnectionIds(first, limit, self.control, lambda: SpinBit(random.Random(1), False, False))

    def new(self, sequence: int, retire_prior_to: int = 0, cid: bytes | None = None) -> int | None:
        """The peer issues an ID; returns the code of the error that it causes."""
        frame = encode_new_connection_id(sequence, retire_prior_to, b"peer%d" % sequence if cid is None else cid, TOKEN)
        try:
            assert self.ids.on_new_frame(frame, 1, frame[0], PACKET) == len(frame)
        except TransportError as error:
            return error.code
        return None

    def retired(self) -> list[int]:
        frames = sent_by(self.control)[0]
        return [frame.sequence_number for frame in frames if isinstance(frame, RetireConnectionIdFrame)]


@pytest.mark.requirement("rfc9000:5.1.1:6")
def test_more_ids_than_announced_are_refused() -> None:
    remote = Remote(limit=4)
    assert [remote.new(sequence) for sequence in (1, 2, 3)] == [None] * 3
    assert remote.new(4) == CONNECTION_ID_LIMIT_ERROR


@pytest.mark.requirement("rfc9000:5.1.1:5")
@pytest.mark.requirement("rfc9000:5.1.2:4")
def test_retire_prior_to_makes_room_in_the_same_frame() -> None:
    remote = Remote(limit=2)
    assert remote.new(1) is None
    assert remote.new(2, retire_prior_to=1) is None
    assert remote.ids.current == b"peer1"
    assert remote.retired() == [0]
    assert remote.new(4, retire_prior_to=4) is None
    assert remote.ids.current == b"peer4"
    assert sorted(remote.retired()) == [1, 2]


@pytest.mark.requirement("rfc9000:19.15:4")
def test_repetition_changes_nothing() -> None:
    remote = Remote(limit=3)
    for _ in range(3):
        assert [remote.new(sequence) for sequence in (1, 2)] == [None, None]
    assert remote.retired() == []
    assert remote.ids.current == b"peer0"


@pytest.mark.requirement("rfc9000:19.15:5")
def test_an_id_that_changes_is_refused() -> None:
    remote = Remote()
    remote.new(1)
    assert remote.new(1, cid=b"other") == PROTOCOL_VIOLATION
    assert remote.new(0, cid=b"other") == PROTOCOL_VIOLATION


@pytest.mark.requirement("rfc9000:19.15:8")
def test_a_smaller_retire_prior_to_is_ignored() -> None:
    remote = Remote()
    remote.new(2, retire_prior_to=2)
    assert remote.retired() == [0]
    assert remote.new(3, retire_prior_to=1) is None
    assert remote.retired() == []
    assert remote.ids.current == b"peer2"


@pytest.mark.requirement("rfc9000:19.15:9")
@pytest.mark.requirement("rfc9000:5.1.2:7")
def test_an_id_that_comes_after_its_retirement_is_retired_at_once() -> None:
    remote = Remote()
    remote.new(3, retire_prior_to=3)
    assert remote.retired() == [0]
    assert remote.new(1) is None
    assert remote.retired() == [1]
    assert remote.ids.current == b"peer3"


@pytest.mark.requirement("rfc9000:19.15:7")
def test_retiring_beyond_itself_is_refused() -> None:
    assert Remote().new(1, retire_prior_to=2) == FRAME_ENCODING_ERROR


@pytest.mark.requirement("rfc9000:19.15:1")
@pytest.mark.parametrize("length", [0, 21, 255])
def test_lengths_out_of_bounds_are_refused(length: int) -> None:
    assert Remote().new(1, cid=b"x" * length) == FRAME_ENCODING_ERROR


@pytest.mark.requirement("rfc9000:19.15:3")
def test_a_peer_with_empty_ids_must_not_issue_any() -> None:
    assert Remote(first=b"").new(1) == PROTOCOL_VIOLATION


@pytest.mark.requirement("rfc9000:5.1.2:5")
@pytest.mark.requirement("rfc9000:5.1.2:6")
@pytest.mark.parametrize("limit", [2, 7, 100])
def test_a_flood_of_retirements_closes_the_connection(limit: int) -> None:
    """The peer never acknowledges our RETIRE_CONNECTION_ID frames and makes us owe more and more."""
    remote = Remote(limit=limit)
    results = [remote.new(sequence, retire_prior_to=sequence) for sequence in range(1, 500)]
    allowed = results.index(CONNECTION_ID_LIMIT_ERROR)
    assert allowed == RETIREMENTS_PER_CONNECTION_ID * limit >= 2 * limit
    assert results[:allowed] == [None] * allowed


def test_acknowledged_retirements_are_forgotten() -> None:
    remote = Remote(limit=4)
    for sequence in range(1, 40 * RETIREMENTS_PER_CONNECTION_ID):
        assert remote.new(sequence, retire_prior_to=sequence) is None
        for sent in sent_by(remote.control)[1]:
            sent[0].on_acked(sent, 0)


def test_a_lost_retirement_is_told_again() -> None:
    remote = Remote()
    remote.new(1, retire_prior_to=1)
    (sent,) = sent_by(remote.control)[1]
    sent[0].on_lost(sent, 0)
    assert remote.retired() == [0]
