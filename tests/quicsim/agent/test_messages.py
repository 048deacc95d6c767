"""The bytes of the generic netlink family `handshake`."""

import contextlib
import errno
import sys

import pytest
from hypothesis import given
from hypothesis import strategies as st

from quicsim.agent.messages import (
    AcceptReply,
    AcceptRequest,
    AuthMode,
    Body,
    Certificate,
    Done,
    HandlerClass,
    MessageType,
    Ready,
    decode,
    encode,
)
from quicsim.agent.netlink import NetlinkError, encode_error

HEADER = "{size} 2000 {flags} 05000000 00000000 {command} 01 0000"

needs_little_endian = pytest.mark.skipif(sys.byteorder != "little", reason="netlink has the machine's byte order")


def hexed(size: int, flags: int, command: int, attributes: str) -> bytes:
    header = HEADER.format(size=size.to_bytes(4, "little").hex(), flags=f"{flags:02x}00", command=f"{command:02x}")
    return bytes.fromhex(header + attributes)


VECTORS: dict[str, tuple[Body, bytes]] = {
    "ready": (Ready(HandlerClass.TLSHD), hexed(28, 0, 1, "0800 0200 01000000")),
    "accept": (AcceptRequest(HandlerClass.TLSHD), hexed(28, 1, 2, "0800 0200 01000000")),
    "request": (
        AcceptReply(
            7,
            MessageType.CLIENT_HELLO,
            AuthMode.X509,
            timeout_ms=500,
            peer_identities=(9, 10),
            certificates=(Certificate(3, 4),),
            peername="ab",
            keyring=6,
        ),
        hexed(
            104,
            0,
            2,
            "0800 0100 07000000  0800 0300 01000000  0800 0400 f4010000  0800 0900 06000000  0800 0500 03000000"
            "0800 0600 09000000  0800 0600 0a000000  1400 0780 0800 0100 03000000 0800 0200 04000000"
            "0700 0800 616200 00",
        ),
    ),
    "done": (
        Done(7, errno.EACCES, (9,)),
        hexed(44, 1, 3, "0800 0100 0d000000  0800 0200 07000000  0800 0300 09000000"),
    ),
    "done without status": (Done(7, None), hexed(28, 1, 3, "0800 0200 07000000")),
}


@needs_little_endian
@pytest.mark.parametrize("name", VECTORS)
def test_messages_have_these_bytes(name: str) -> None:
    body, expected = VECTORS[name]
    assert encode(body, 5).hex() == expected.hex()
    message, decoded = decode(expected)
    assert decoded == body
    assert message.sequence == 5


def test_an_error_repeats_the_header_of_its_request() -> None:
    request = encode(AcceptRequest(HandlerClass.TLSHD), 5)
    error = encode_error(request, -errno.EAGAIN)
    message, body = decode(error)
    assert (message.error, message.sequence, body) == (-errno.EAGAIN, 5, None)
    assert error.endswith(request[:16])


U32 = st.integers(0, 2**32 - 1)
S32 = st.integers(-(2**31), 2**31 - 1)
NAMES = st.text(st.characters(exclude_characters="\0", exclude_categories=("Cs",)), max_size=40)
BODIES: st.SearchStrategy[Body] = st.one_of(
    st.builds(Ready, st.sampled_from(HandlerClass)),
    st.builds(AcceptRequest, st.sampled_from(HandlerClass)),
    st.builds(
        AcceptReply,
        S32,
        st.sampled_from(MessageType),
        st.sampled_from(AuthMode),
        U32,
        st.lists(U32, max_size=5).map(tuple),
        st.lists(st.builds(Certificate, S32, S32), max_size=3).map(tuple),
        st.none() | NAMES,
        U32,
    ),
    st.builds(Done, S32, st.none() | U32, st.lists(U32, max_size=5).map(tuple)),
)


@given(BODIES, U32)
def test_what_is_encoded_is_decoded(body: Body, sequence: int) -> None:
    message, decoded = decode(encode(body, sequence))
    assert (decoded, message.sequence) == (body, sequence)


@given(BODIES, st.data())
def test_a_changed_message_is_decoded_or_refused(body: Body, data: st.DataObject) -> None:
    encoded = bytearray(encode(body, 1))
    encoded[data.draw(st.integers(0, len(encoded) - 1))] = data.draw(st.integers(0, 255))
    with contextlib.suppress(NetlinkError):
        decode(bytes(encoded))


@given(st.binary(max_size=120))
def test_any_bytes_are_decoded_or_refused(data: bytes) -> None:
    with pytest.raises(NetlinkError):
        decode(data)


@needs_little_endian
@pytest.mark.parametrize(
    ("data", "reason"),
    [
        (hexed(27, 0, 1, "0800 0200 01000000"), "nlmsg_len = 27: must be the 28 bytes that came"),
        (hexed(28, 0, 1, "0900 0200 01000000"), "READY: nla_len = 9 at 0: must be from 4 to the 8 bytes left"),
        (hexed(28, 0, 1, "0800 0100 01000000"), "READY has attribute 1: must be one of 2 handler-class"),
        (hexed(28, 0, 1, "0800 0200 07000000"), "READY.handler-class = 7: must be one of 0 none, 1 tlshd"),
        (hexed(36, 0, 1, "0800 0200 01000000 0800 0200 01000000"), "READY has handler-class twice"),
        (hexed(20, 1, 2, ""), "ACCEPT has no handler-class: must have one"),
        (hexed(28, 1, 3, "0800 0100 00000000"), "DONE has no sockfd: must have one"),
        (hexed(28, 1, 3, "0600 0200 0700 0000"), "DONE.sockfd has 2 bytes: must be a number of 4"),
        (hexed(28, 1, 3, "0600 0200 0700 0100"), "DONE: the attribute at 0 has padding that is not zero"),
        (hexed(28, 1, 3, "0800 0240 00000007"), "DONE: attribute 2 at 0 is in network byte order: must not be"),
        (hexed(28, 1, 4, "0800 0200 07000000"), "command 4 of the handshake family"),
    ],
)
def test_what_is_wrong_is_said(data: bytes, reason: str) -> None:
    with pytest.raises(NetlinkError) as refused:
        decode(data)
    assert str(refused.value).startswith(reason)


@needs_little_endian
def test_a_certificate_must_be_a_nest() -> None:
    body, encoded = VECTORS["request"]
    assert isinstance(body, AcceptReply)
    flat = encoded.replace(bytes.fromhex("14000780"), bytes.fromhex("14000700"))
    with pytest.raises(NetlinkError, match=r"ACCEPT\.certificate: must carry NLA_F_NESTED"):
        decode(flat)
