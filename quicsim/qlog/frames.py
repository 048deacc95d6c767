"""Frames as qlog describes them (draft-ietf-quic-qlog-quic-events section 8.13)."""

from collections.abc import Callable
from typing import Any, Final

from quicsim.decoded import decoded_frames
from stack.errors import CRYPTO_ERROR, NAMES, VERSION_NEGOTIATION_ERROR, TransportError
from stack.wire import decoded_frames as wire
from stack.wire.frames import ACK_FREQUENCY, IMMEDIATE_ACK

_TRANSPORT_ERRORS: Final = {code: name.lower() for code, name in NAMES.items() if code != VERSION_NEGOTIATION_ERROR}

Fields = dict[str, object]


class FrameWriter:
    """Turns the plaintext of packets into qlog's frames.

    `viewer` adds what readers of qlog 0.3 need: `length` in STREAM frames, and two numbers in each range.
    """

    def __init__(self, viewer: bool) -> None:
        self._viewer: Final = viewer

    def frames(self, payload: bytes, ack_delay_exponent: int) -> list[Fields]:
        """Return the frames of `payload`; one of type "unknown" when they can't be decoded.

        `ack_delay_exponent` is what the packet's sender announced.
        """
        try:
            decoded = decoded_frames(payload)
        except TransportError as error:
            return [
                {
                    "frame_type": "unknown",
                    "frame_type_bytes": error.frame_type,
                    "raw": {"length": len(payload)},
                }
            ]
        return [
            self._stream(frame)
            if type(frame) is wire.StreamFrame
            else self._ack(frame, ack_delay_exponent)
            if type(frame) is wire.AckFrame
            else _WRITERS[type(frame)](frame)
            for frame in decoded
        ]

    def _stream(self, frame: wire.StreamFrame) -> Fields:
        length = len(frame.data)
        fields: Fields = {"frame_type": "stream", "stream_id": frame.stream_id, "offset": frame.offset}
        if frame.fin:
            fields["fin"] = True
        if self._viewer:
            fields["length"] = length
        fields["raw"] = {"length": length}
        return fields

    def _ack(self, frame: wire.AckFrame, exponent: int) -> Fields:
        fields: Fields = {
            "frame_type": "ack",
            "ack_delay": (frame.delay << exponent) / 1000,  # µs to ms
            "acked_ranges": [
                [first, last] if self._viewer or first != last else [first] for first, last in frame.ranges
            ],
        }
        if frame.ecn_counts is not None:
            fields["ect0"], fields["ect1"], fields["ce"] = frame.ecn_counts
        return fields


def error_fields(code: int, application: bool) -> tuple[str, Fields]:
    """Return qlog's name of an error code, and beside it `error_code` where that name says nothing."""
    if not application:
        if CRYPTO_ERROR <= code <= CRYPTO_ERROR + 0xFF:
            return f"crypto_error_0x{code:x}", {}
        if code in _TRANSPORT_ERRORS:
            return _TRANSPORT_ERRORS[code], {}
    return "unknown", {"error_code": code}


def _connection_close(frame: wire.ConnectionCloseFrame) -> Fields:
    error, code = error_fields(frame.code, frame.application)
    fields: Fields = {
        "frame_type": "connection_close",
        "error_space": "application" if frame.application else "transport",
        "error": error,
        **code,
    }
    try:
        fields["reason"] = frame.reason.decode()
    except UnicodeDecodeError:
        fields["reason_bytes"] = frame.reason.hex()
    if frame.frame_type:
        fields["trigger_frame_type"] = frame.frame_type
    return fields


def _stream_type(unidirectional: bool) -> str:
    return "unidirectional" if unidirectional else "bidirectional"


_WRITERS: Final[dict[type, Callable[[Any], Fields]]] = {
    wire.PaddingFrame: lambda f: {
        "frame_type": "padding",
        "raw": {"length": f.length, "payload_length": f.length},
    },
    wire.PingFrame: lambda _: {"frame_type": "ping"},
    wire.ResetStreamFrame: lambda f: {
        "frame_type": "reset_stream",
        "stream_id": f.stream_id,
        "error": "unknown",
        "error_code": f.code,
        "final_size": f.final_size,
    },
    wire.ResetStreamAtFrame: lambda f: {
        "frame_type": "reset_stream_at",
        "stream_id": f.stream_id,
        "error": "unknown",
        "error_code": f.code,
        "final_size": f.final_size,
        "reliable_size": f.reliable_size,
    },
    wire.StopSendingFrame: lambda f: {
        "frame_type": "stop_sending",
        "stream_id": f.stream_id,
        "error": "unknown",
        "error_code": f.code,
    },
    wire.CryptoFrame: lambda f: {
        "frame_type": "crypto",
        "offset": f.offset,
        "raw": {"length": len(f.data)},
    },
    wire.NewTokenFrame: lambda f: {
        "frame_type": "new_token",
        "token": {"raw": {"length": len(f.token), "data": f.token.hex()}},
    },
    wire.MaxDataFrame: lambda f: {"frame_type": "max_data", "maximum": f.maximum},
    wire.MaxStreamDataFrame: lambda f: {
        "frame_type": "max_stream_data",
        "stream_id": f.stream_id,
        "maximum": f.maximum,
    },
    wire.MaxStreamsFrame: lambda f: {
        "frame_type": "max_streams",
        "stream_type": _stream_type(f.unidirectional),
        "maximum": f.maximum,
    },
    wire.DataBlockedFrame: lambda f: {"frame_type": "data_blocked", "limit": f.limit},
    wire.StreamDataBlockedFrame: lambda f: {
        "frame_type": "stream_data_blocked",
        "stream_id": f.stream_id,
        "limit": f.limit,
    },
    wire.StreamsBlockedFrame: lambda f: {
        "frame_type": "streams_blocked",
        "stream_type": _stream_type(f.unidirectional),
        "limit": f.limit,
    },
    wire.NewConnectionIdFrame: lambda f: {
        "frame_type": "new_connection_id",
        "sequence_number": f.sequence_number,
        "retire_prior_to": f.retire_prior_to,
        "connection_id": f.connection_id.hex(),
        "stateless_reset_token": f.stateless_reset_token.hex(),
    },
    wire.RetireConnectionIdFrame: lambda f: {
        "frame_type": "retire_connection_id",
        "sequence_number": f.sequence_number,
    },
    wire.PathChallengeFrame: lambda f: {"frame_type": "path_challenge", "data": f.data.hex()},
    wire.PathResponseFrame: lambda f: {"frame_type": "path_response", "data": f.data.hex()},
    wire.ConnectionCloseFrame: _connection_close,
    wire.HandshakeDoneFrame: lambda _: {"frame_type": "handshake_done"},
    # qlog has no names for these two
    wire.ImmediateAckFrame: lambda _: {"frame_type": "unknown", "frame_type_bytes": IMMEDIATE_ACK},
    wire.AckFrequencyFrame: lambda _: {"frame_type": "unknown", "frame_type_bytes": ACK_FREQUENCY},
    wire.DatagramFrame: lambda f: {"frame_type": "datagram", "raw": {"length": len(f.data)}},
}
