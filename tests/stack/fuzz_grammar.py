"""Frames as a grammar of encoders with values around every limit; packets of them, perhaps damaged."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Final, NamedTuple

from hypothesis import strategies as st

from stack.wire import frames
from stack.wire.varint import MAX_VARINT, encode_varint
from tests.stack.fuzz_pair import DATAGRAM_LIMIT, STREAM_LIMIT, STREAM_WINDOW, WINDOW, client_hello

Change = Callable[[bytes, list[tuple[bool, bytes]]], bytes]  # (data, other datagrams) -> damaged data


@dataclass(frozen=True)
class Truncate:
    length: int

    def __call__(self, data: bytes, others: list[tuple[bool, bytes]]) -> bytes:
        return data[: self.length % len(data)]


@dataclass(frozen=True)
class Flip:
    bits: tuple[int, ...]

    def __call__(self, data: bytes, others: list[tuple[bool, bytes]]) -> bytes:
        changed = bytearray(data)
        for bit in self.bits:
            changed[bit // 8 % len(data)] ^= 1 << bit % 8
        return bytes(changed)


@dataclass(frozen=True)
class Splice:
    """The beginning of a datagram and the end of another; one after the other when both cuts are 0."""

    other: int
    cut: int
    start: int

    def __call__(self, data: bytes, others: list[tuple[bool, bytes]]) -> bytes:
        _, tail = others[self.other % len(others)]
        return data[: len(data) - self.cut % len(data)] + tail[self.start % len(tail) :]


SMALL: Final = st.integers(0, 12)
VALUES: Final = (
    SMALL
    | st.sampled_from(
        [63, 64, 16_383, 16_384, STREAM_WINDOW, STREAM_WINDOW + 1, WINDOW, WINDOW + 1, 1 << 30, 1 << 60, MAX_VARINT]
    )
    | st.integers(0, MAX_VARINT)
)
STREAM_IDS: Final = SMALL | st.integers(0, 4 * STREAM_LIMIT + 8) | VALUES
DATA: Final = st.binary(max_size=40) | st.builds(bytes, st.integers(0, 900))
RAW: Final = st.binary(max_size=24)
RARELY: Final = st.integers(0, 15).map(lambda value: value == 15)


def _ack(largest: int, pairs: list[tuple[int, int]], ecn: bool) -> bytes:
    """An ACK frame whose ranges may go below zero."""
    fields = [largest, 5, max(len(pairs) - 1, 0), pairs[0][1] if pairs else 0]
    for gap, length in pairs[1:]:
        fields += (gap, length)
    return (b"\x03" if ecn else b"\x02") + b"".join(map(encode_varint, fields + [1, 2, 3] * ecn))


def _stream(stream_id: int, offset: int, data: bytes, fin: bool, last: bool) -> bytes:
    return frames.encode_stream_header(stream_id, offset, len(data), fin, last) + data


def _datagram(data: bytes, last: bool) -> bytes:
    return frames.encode_datagram_header(len(data), last) + data


def _crypto(offset: int, data: bytes) -> bytes:
    return frames.encode_crypto_header(offset, len(data)) + data


def _crypto_part(start: int, length: int) -> bytes:
    """A piece of a true ClientHello."""
    hello = client_hello()
    return _crypto(start % len(hello), hello[start % len(hello) :][:length])


def _new_token(token: bytes) -> bytes:
    return b"\x07" + encode_varint(len(token)) + token


def _ack_below(largest: int, length: int) -> bytes:
    """An ACK frame of packets that were probably sent."""
    return frames.encode_ack([(max(largest - length, 0), largest)], 5)


def _new_ids(sequences: list[int], retired: int) -> bytes:
    """NEW_CONNECTION_ID frames, the same ID every time for a sequence number."""
    return b"".join(
        frames.encode_new_connection_id(sequence, min(retired, sequence), bytes((sequence,)) * 8, bytes(16))
        for sequence in sequences
    )


def _streams(count: int, kind: int, offset: int, data: bytes) -> bytes:
    """STREAM frames at the same offset of a kind's streams after the first; `kind` is the two low bits of their IDs."""
    return b"".join(_stream(index << 2 | kind, offset, data, False, False) for index in range(1, count + 1))


def _reset_at(stream_id: int, code: int, one: int, other: int) -> bytes:
    return frames.encode_reset_stream_at(stream_id, code, max(one, other), min(one, other))


# Anything that parses, and then some, in Initial and Handshake packets
STRANGE_EARLY: Final = (
    st.builds(bytes, st.integers(1, 40)),
    st.builds(_ack, SMALL | VALUES, st.lists(st.tuples(SMALL, SMALL), max_size=5), st.booleans()),
    st.builds(_crypto, VALUES, DATA),
    st.builds(_crypto_part, st.just(0) | st.integers(0, 400), st.integers(0, 600)),
    st.builds(frames.encode_connection_close, VALUES, VALUES, RAW),
    RAW,
)
# The same in 1-RTT packets
STRANGE_LATE: Final = (
    *STRANGE_EARLY,
    st.builds(frames.encode_reset_stream, STREAM_IDS, VALUES, VALUES),
    st.builds(frames.encode_reset_stream_at, STREAM_IDS, SMALL, VALUES, VALUES),
    st.builds(frames.encode_stop_sending, STREAM_IDS, VALUES),
    st.builds(_new_token, RAW),
    st.builds(_stream, STREAM_IDS, VALUES, DATA, st.booleans(), st.booleans()),
    st.builds(frames.encode_max_data, VALUES),
    st.builds(frames.encode_max_stream_data, STREAM_IDS, VALUES),
    st.builds(frames.encode_max_streams, VALUES, st.booleans()),
    st.builds(frames.encode_stream_data_blocked, STREAM_IDS, VALUES),
    st.builds(frames.encode_streams_blocked, VALUES, st.booleans()),
    st.builds(
        frames.encode_new_connection_id,
        SMALL | VALUES,
        SMALL,
        st.binary(max_size=21),
        st.binary(min_size=16, max_size=16),
    ),
    st.builds(frames.encode_retire_connection_id, SMALL | VALUES),
    st.builds(frames.encode_connection_close, VALUES, st.none(), RAW),
    st.just(frames.encode_handshake_done()),
    st.builds(_datagram, st.builds(bytes, st.integers(0, 2 * DATAGRAM_LIMIT)), st.booleans()),
)
# What leaves a connection open, mostly
PLAUSIBLE_EARLY: Final = (
    st.just(b"\x01"),
    st.builds(_ack_below, st.integers(0, 1), st.integers(0, 1)),
    st.builds(_crypto, st.integers(2000, 80_000), DATA),
)


def plausible_late(opener: int) -> tuple[st.SearchStrategy[bytes], ...]:
    """Frames of a peer whose own streams have `opener` as bit 0 of their IDs, most of them in order."""
    own = st.integers(0, 2 * STREAM_LIMIT - 1).map(lambda index: index << 1 | opener)  # of both kinds
    readable = own | st.just(1 - opener)
    writable = st.integers(0, STREAM_LIMIT - 1).map(lambda index: index << 2 | opener) | st.sampled_from([0, 1])
    offset = st.integers(0, 2000) | st.integers(STREAM_WINDOW - 100, STREAM_WINDOW + 10)
    path_data = st.binary(min_size=8, max_size=8)
    return (
        st.just(b"\x01"),
        st.builds(_ack_below, st.integers(0, 6), st.integers(0, 6)),
        st.builds(_stream, readable, offset, DATA, RARELY, st.booleans()),
        st.builds(_streams, st.integers(1, STREAM_LIMIT + 1), st.sampled_from([opener, opener | 2]), offset, DATA),
        st.builds(frames.encode_reset_stream, readable, VALUES, offset),
        st.builds(_reset_at, readable, SMALL, offset, SMALL | offset),
        st.builds(frames.encode_stop_sending, writable, VALUES),
        st.builds(frames.encode_max_data, VALUES),
        st.builds(frames.encode_max_stream_data, writable, VALUES),
        st.builds(frames.encode_max_streams, st.integers(0, 1 << 60), st.booleans()),
        st.builds(frames.encode_data_blocked, VALUES),
        st.builds(frames.encode_stream_data_blocked, readable, VALUES),
        st.builds(frames.encode_streams_blocked, st.integers(0, 1 << 60), st.booleans()),
        st.builds(_new_ids, st.lists(st.integers(4, 14), max_size=8, unique=True), st.just(0) | SMALL),
        st.builds(frames.encode_retire_connection_id, st.integers(1, 4)),
        st.builds(lambda data, count: frames.encode_path_challenge(data) * count, path_data, st.integers(1, 20)),
        st.builds(frames.encode_path_response, path_data),
        st.builds(_datagram, st.builds(bytes, st.integers(0, DATAGRAM_LIMIT - 3)), RARELY),
    )


Frames = st.SearchStrategy[bytes]
DAMAGE: Final = st.builds(Truncate, st.integers(0, 1300)) | st.builds(
    Flip, st.lists(st.integers(0, 400), min_size=1, max_size=2).map(tuple)
)


class Packet(NamedTuple):
    """A packet to be sealed, and what the receiving application does when it has arrived."""

    frames: list[bytes]
    damage: Change | None
    skipped: int  # packet numbers left out before it
    number_length: int
    reserved: bool  # whether a reserved bit of the header is set
    action: int  # what the application does next

    def payload(self) -> bytes:
        payload = b"".join(self.frames)
        if self.damage is not None and payload:
            payload = self.damage(payload, [])
        return payload + bytes(max(4 - self.number_length - len(payload), 0))


def packets(plausible: tuple[Frames, ...], strange: tuple[Frames, ...]) -> st.SearchStrategy[list[Packet]]:
    """Up to four packets, most frames `plausible`, at most one of each packet `strange`, few packets damaged."""
    good = st.lists(st.one_of(*plausible), max_size=5)
    bad = st.builds(lambda first, odd, last: [*first, odd, *last], good, st.one_of(*strange), good)
    rest = (st.sampled_from([0, 0, 0, 0, 1, 5, 100]), st.integers(2, 4))
    action = st.integers(0, 3)
    return st.lists(
        st.one_of(
            st.builds(Packet, good, st.none(), *rest, st.just(False), action),
            st.builds(Packet, good, st.none(), *rest, st.just(False), action),
            st.builds(Packet, bad, st.none(), *rest, st.just(False), action),
            st.builds(Packet, good | bad, DAMAGE, *rest, RARELY, action),
        ),
        min_size=1,
        max_size=4,
    )
