"""The frames between a QUIC socket and its agent."""

import sys

import pytest
from hypothesis import given
from hypothesis import strategies as st

from quicsim.agent import frames
from quicsim.agent.frames import Frame, FrameError, SocketConfig
from stack.tls import engine as tls

needs_little_endian = pytest.mark.skipif(sys.byteorder != "little", reason="structs have the machine's byte order")

SECRETS = st.builds(
    lambda level, direction, suite, data: tls.NewSecret(level, direction, suite, data[: 48 if suite == 0x1302 else 32]),
    st.integers(0, 3),
    st.integers(0, 1),
    st.sampled_from([0x1301, 0x1302, 0x1303, 0x1304]),
    st.binary(min_size=48, max_size=48),
)


@needs_little_endian
def test_a_frame_has_these_bytes() -> None:
    frame = Frame(frames.MESSAGE, frames.LEVELS[tls.HANDSHAKE], b"abc", 5)
    assert frames.encode_frame(frame) == bytes.fromhex("01 02 0500 03000000") + b"abc"


@needs_little_endian
def test_a_secret_has_the_layout_of_the_socket_option() -> None:
    secret = tls.NewSecret(tls.APPLICATION, tls.WRITE, 0x1303, bytes(range(32)))
    assert frames.encode_secret(secret) == bytes.fromhex("01 00 0000 36000000") + bytes(range(32)) + bytes(16)


@needs_little_endian
def test_the_configuration_has_the_layout_of_the_socket_option() -> None:
    config = SocketConfig(0x6B3343CF, 53, 4, 2)
    expected = "cf43336b 00000000 00000000 35000000 000000 04 02 000000 00000000"
    assert frames.encode_config(config) == bytes.fromhex(expected)


@given(SECRETS)
def test_secrets_survive(secret: tls.NewSecret) -> None:
    assert frames.decode_secret(frames.encode_secret(secret)) == secret


@given(st.lists(st.binary(max_size=50)).map(tuple))
def test_certificates_survive(certificates: tuple[bytes, ...]) -> None:
    assert frames.decode_certificates(frames.encode_certificates(certificates)) == certificates


@given(st.integers(0, 2**32 - 1), st.sampled_from([0, 51, 54]), st.integers(0, 255), st.integers(0, 2))
def test_configurations_survive(version: int, cipher: int, ticket: int, request: int) -> None:
    config = SocketConfig(version, cipher, ticket, request)
    assert frames.decode_config(frames.encode_config(config)) == config


@given(st.integers(1, 6), st.integers(0, 3), st.binary(max_size=50), st.integers(0, 65_535))
def test_frames_survive(operation: int, about: int, data: bytes, flags: int) -> None:
    frame = Frame(operation, about, data, flags)
    assert frames.decode_frame(frames.encode_frame(frame)) == frame


@needs_little_endian
@pytest.mark.parametrize(
    ("data", "reason"),
    [
        ("01 00 0000 000000", "a frame of 7 bytes: must have 8 or more"),
        ("07 00 0000 00000000", "operation 7: must be from 1 to 6"),
        ("01 00 0000 02000000 00", "a frame says 2 bytes of data: must be the 1 that came"),
        ("01 04 0000 00000000", "a message of level 4: must be from 0 to 3"),
    ],
)
def test_what_is_wrong_with_a_frame_is_said(data: str, reason: str) -> None:
    with pytest.raises(FrameError) as refused:
        frames.decode_frame(bytes.fromhex(data))
    assert str(refused.value) == reason
