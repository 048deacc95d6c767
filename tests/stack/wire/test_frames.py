"""Frames against RFC 9000 section 19 and RFC 9221 section 4."""

from collections.abc import Callable

import pytest
from hypothesis import given
from hypothesis import strategies as st

from stack.errors import FRAME_ENCODING_ERROR, TransportError
from stack.wire import decoded_frames as d
from stack.wire import frames as f
from stack.wire.varint import MAX_VARINT, decode_varint, encode_varint

V = st.integers(0, MAX_VARINT)
DATA = st.binary(max_size=80)
TOKEN = st.binary(min_size=16, max_size=16)
COUNTS = st.integers(0, 1 << 60)


@st.composite
def acks(draw: st.DrawFn) -> d.AckFrame:
    edges = sorted(draw(st.sets(st.integers(0, 1 << 40), min_size=1, max_size=12)), reverse=True)
    ranges: list[tuple[int, int]] = []
    high = edges[0] * 3 + draw(st.integers(0, 1000))
    for edge in edges:  # ranges stay apart because edges are three numbers apart after scaling
        low = edge * 3
        if low > high:
            continue
        ranges.append((low, high))
        high = low - 2
    return d.AckFrame(ranges[0][1], draw(V), tuple(ranges), draw(st.none() | st.tuples(V, V, V)))


@st.composite
def connection_ids(draw: st.DrawFn) -> d.NewConnectionIdFrame:
    sequence_number = draw(V)
    retired = draw(st.integers(0, sequence_number))
    return d.NewConnectionIdFrame(sequence_number, retired, draw(st.binary(min_size=1, max_size=20)), draw(TOKEN))


CLOSES = st.builds(d.ConnectionCloseFrame, st.just(False), V, V, DATA) | st.builds(
    d.ConnectionCloseFrame, st.just(True), V, st.none(), DATA
)
OFFSETS = st.integers(0, MAX_VARINT - 80)

# Each frame: values of it and the encoder that writes them.
CASES: dict[type[d.Frame], tuple[st.SearchStrategy[d.Frame], Callable[..., bytes]]] = {
    d.PaddingFrame: (st.builds(d.PaddingFrame, st.integers(1, 40)), lambda x: bytes(x.length)),
    d.PingFrame: (st.just(d.PingFrame()), lambda _: bytes([f.PING])),
    d.AckFrame: (acks(), lambda x: f.encode_ack(x.ranges, x.delay, x.ecn_counts)),
    d.ResetStreamFrame: (st.builds(d.ResetStreamFrame, V, V, V), lambda x: f.encode_reset_stream(*x)),
    d.ResetStreamAtFrame: (
        st.builds(lambda *x: d.ResetStreamAtFrame(x[0], x[1], max(x[2:]), min(x[2:])), V, V, V, V),
        lambda x: f.encode_reset_stream_at(*x),
    ),
    d.StopSendingFrame: (st.builds(d.StopSendingFrame, V, V), lambda x: f.encode_stop_sending(*x)),
    d.CryptoFrame: (
        st.builds(d.CryptoFrame, OFFSETS, DATA),
        lambda x: f.encode_crypto_header(x.offset, len(x.data)) + x.data,
    ),
    d.NewTokenFrame: (
        st.builds(d.NewTokenFrame, st.binary(min_size=1, max_size=80)),
        lambda x: f.encode_new_token(x.token),
    ),
    d.StreamFrame: (
        st.builds(d.StreamFrame, V, OFFSETS, DATA, st.booleans()),
        lambda x: f.encode_stream_header(x.stream_id, x.offset, len(x.data), x.fin) + x.data,
    ),
    d.MaxDataFrame: (st.builds(d.MaxDataFrame, V), lambda x: f.encode_max_data(x.maximum)),
    d.MaxStreamDataFrame: (st.builds(d.MaxStreamDataFrame, V, V), lambda x: f.encode_max_stream_data(*x)),
    d.MaxStreamsFrame: (
        st.builds(d.MaxStreamsFrame, st.booleans(), COUNTS),
        lambda x: f.encode_max_streams(x.maximum, x.unidirectional),
    ),
    d.DataBlockedFrame: (st.builds(d.DataBlockedFrame, V), lambda x: f.encode_data_blocked(x.limit)),
    d.StreamDataBlockedFrame: (
        st.builds(d.StreamDataBlockedFrame, V, V),
        lambda x: f.encode_stream_data_blocked(*x),
    ),
    d.StreamsBlockedFrame: (
        st.builds(d.StreamsBlockedFrame, st.booleans(), COUNTS),
        lambda x: f.encode_streams_blocked(x.limit, x.unidirectional),
    ),
    d.NewConnectionIdFrame: (connection_ids(), lambda x: f.encode_new_connection_id(*x)),
    d.RetireConnectionIdFrame: (
        st.builds(d.RetireConnectionIdFrame, V),
        lambda x: f.encode_retire_connection_id(x.sequence_number),
    ),
    d.PathChallengeFrame: (
        st.builds(d.PathChallengeFrame, st.binary(min_size=8, max_size=8)),
        lambda x: f.encode_path_challenge(x.data),
    ),
    d.PathResponseFrame: (
        st.builds(d.PathResponseFrame, st.binary(min_size=8, max_size=8)),
        lambda x: f.encode_path_response(x.data),
    ),
    d.ConnectionCloseFrame: (CLOSES, lambda x: f.encode_connection_close(x.code, x.frame_type, x.reason)),
    d.HandshakeDoneFrame: (st.just(d.HandshakeDoneFrame()), lambda _: f.encode_handshake_done()),
    d.ImmediateAckFrame: (st.just(d.ImmediateAckFrame()), lambda _: f.encode_immediate_ack()),
    d.AckFrequencyFrame: (
        st.builds(d.AckFrequencyFrame, V, V, V, V),
        lambda x: f.encode_ack_frequency(*x),
    ),
    d.DatagramFrame: (
        st.builds(d.DatagramFrame, DATA),
        lambda x: f.encode_datagram_header(len(x.data)) + x.data,
    ),
}
ANY_FRAME = st.one_of([values for values, _ in CASES.values()])


def encode(frame: d.Frame) -> bytes:
    return CASES[type(frame)][1](frame)


def assert_malformed(payload: bytes, match: str | None = None) -> TransportError:
    with pytest.raises(TransportError, match=match) as caught:
        d.decode_frames(payload)
    assert caught.value.code == FRAME_ENCODING_ERROR
    return caught.value


def test_every_kind_of_frame_has_a_case() -> None:
    assert set(CASES) == set(d.Frame.__args__)


@pytest.mark.parametrize("kind", list(CASES), ids=lambda kind: kind.__name__)
@given(data=st.data())
def test_round_trip(kind: type[d.Frame], data: st.DataObject) -> None:
    frame = data.draw(CASES[kind][0])
    assert d.decode_frames(encode(frame)) == [frame]


@given(st.lists(ANY_FRAME, max_size=6))
def test_frames_follow_one_another(frames: list[d.Frame]) -> None:
    payload = b"".join(encode(frame) for frame in frames)
    apart: list[d.Frame] = []
    for frame in frames:  # PADDING next to PADDING is one run
        if isinstance(frame, d.PaddingFrame) and apart and isinstance(apart[-1], d.PaddingFrame):
            apart[-1] = d.PaddingFrame(apart[-1].length + frame.length)
        else:
            apart.append(frame)
    assert d.decode_frames(payload) == apart


UNENDING = (d.PaddingFrame,)  # any part of a run is a run


@pytest.mark.parametrize("kind", [kind for kind in CASES if kind not in UNENDING], ids=lambda kind: kind.__name__)
@given(data=st.data())
def test_every_truncation_is_malformed(kind: type[d.Frame], data: st.DataObject) -> None:
    encoded = encode(data.draw(CASES[kind][0]))
    cut = data.draw(st.integers(0, len(encoded) - 1))
    if cut:
        frame_type, type_end = decode_varint(encoded, 0)
        assert assert_malformed(encoded[:cut]).frame_type == (frame_type if cut >= type_end else 0)
    else:
        assert d.decode_frames(b"") == []


@given(st.binary(max_size=60))
def test_any_bytes_decode_or_are_malformed(payload: bytes) -> None:
    try:
        d.decode_frames(payload)
    except TransportError as error:
        code = error.code
    else:
        return
    assert code == FRAME_ENCODING_ERROR


def test_the_wire_image_of_frames() -> None:
    images = {
        f.encode_ack([(5, 9), (1, 2)], 3): "02090301040101",
        f.encode_ack([(0, 0)], 0, (1, 2, 3)): "0300000000010203",
        f.encode_stream_header(4, 0, 5, fin=False): "0a0405",
        f.encode_stream_header(4, 64, 5, fin=True): "0f04404005",
        f.encode_stream_header(4, 0, 5, fin=False, last=True): "0804",
        f.encode_stream_header(4, 64, 5, fin=True, last=True): "0d044040",
        f.encode_crypto_header(0, 241): "060040f1",
        f.encode_max_streams(8, unidirectional=True): "1308",
        f.encode_connection_close(0x0A, 0x06, b"no"): "1c0a06026e6f",
        f.encode_connection_close(0x0A, None, b""): "1d0a00",
        f.encode_datagram_header(3): "3103",
        f.encode_datagram_header(3, last=True): "30",
    }
    assert {encoded.hex(): expected for encoded, expected in images.items()} == {
        expected: expected for expected in images.values()
    }


@given(V, OFFSETS, DATA, st.booleans())
def test_the_last_stream_frame_reaches_to_the_end(stream_id: int, offset: int, data: bytes, fin: bool) -> None:
    payload = f.encode_max_data(1) + f.encode_stream_header(stream_id, offset, len(data), fin, last=True) + data
    assert d.decode_frames(payload)[1:] == [d.StreamFrame(stream_id, offset, data, fin)]


@given(DATA)
def test_the_last_datagram_frame_reaches_to_the_end(data: bytes) -> None:
    assert d.decode_frames(f.encode_datagram_header(len(data), last=True) + data) == [d.DatagramFrame(data)]


@pytest.mark.requirement("rfc9000:12.4:4")
@pytest.mark.parametrize("payload", ["20", "2f", "32", "40ff", "4001", "ff"])
def test_an_unknown_frame_type_is_malformed(payload: str) -> None:
    assert_malformed(bytes.fromhex("01" + payload), match="unknown frame type at 1")


@pytest.mark.requirement("rfc9000:19.3.1:1")
@pytest.mark.parametrize("ack", ["0200000001", "020500000" + "6", "0205000102" + "0300", "0205000102" + "0003"])
def test_an_ack_range_below_0_is_malformed(ack: str) -> None:
    assert_malformed(bytes.fromhex(ack), match="below packet number 0")


def test_an_ack_that_announces_countless_ranges_ends_with_the_payload() -> None:
    assert_malformed(b"\x02" + encode_varint(MAX_VARINT) + b"\0" + encode_varint(MAX_VARINT) + b"\0")


@pytest.mark.requirement("rfc9000:19.6:1")
@pytest.mark.requirement("rfc9000:19.8:2")
@pytest.mark.parametrize(
    "header", [f.encode_crypto_header(MAX_VARINT, 1), f.encode_stream_header(0, MAX_VARINT, 1, fin=False)]
)
def test_data_beyond_the_last_offset_is_malformed(header: bytes) -> None:
    assert_malformed(header + b"x", match="beyond")


@pytest.mark.requirement("rfc9000:19.7:2")
def test_an_empty_token_is_malformed() -> None:
    assert_malformed(f.encode_new_token(b""), match="empty")


@pytest.mark.requirement("rfc9000:19.11:1")
@pytest.mark.requirement("rfc9000:19.14:2")
@pytest.mark.parametrize("unidirectional", [False, True])
@pytest.mark.parametrize("encoder", [f.encode_max_streams, f.encode_streams_blocked])
def test_more_than_2_to_the_60_streams_are_malformed(
    encoder: Callable[[int, bool], bytes], unidirectional: bool
) -> None:
    assert len(d.decode_frames(encoder(1 << 60, unidirectional))) == 1
    assert_malformed(encoder((1 << 60) + 1, unidirectional), match="exceed 2\\^60")


@pytest.mark.requirement("rfc9000:19.15:1")
@pytest.mark.parametrize("length", [0, 21, 255])
def test_a_new_connection_id_must_have_1_to_20_bytes(length: int) -> None:
    assert_malformed(f.encode_new_connection_id(1, 0, bytes(length), bytes(16)), match="1 to 20")


@pytest.mark.requirement("rfc9000:19.15:7")
def test_retiring_beyond_the_own_sequence_number_is_malformed() -> None:
    assert_malformed(f.encode_new_connection_id(1, 2, bytes(8), bytes(16)), match="retire_prior_to")
