"""Which header fields make a message, and which make it malformed (RFC 9114 sections 4.2 and 4.3)."""

import pytest

from quicsim.h3.errors import H3StreamError
from quicsim.h3.fields import check_request, check_response, check_trailers, content_length
from quicsim.h3.qpack import Fields

METHOD, SCHEME, AUTHORITY, PATH = GET = [
    (b":method", b"GET"),
    (b":scheme", b"https"),
    (b":authority", b"bob"),
    (b":path", b"/"),
]
OK = [(b":status", b"200")]


@pytest.mark.parametrize(
    "fields",
    [
        GET,
        [*GET, (b"te", b"trailers"), (b"x-empty", b""), (b"x", b"inner \t space\xff")],
        [METHOD, SCHEME, PATH, (b"host", b"bob")],
        [*GET, (b"host", b"bob")],
        [(b":method", b"CONNECT"), (b":authority", b"bob:1")],
        [METHOD, (b":scheme", b"urn"), PATH],
    ],
)
def test_requests_that_are_well_formed(fields: Fields) -> None:
    check_request(fields)


@pytest.mark.parametrize(
    "fields",
    [
        pytest.param([METHOD, AUTHORITY, PATH], marks=pytest.mark.requirement("rfc9114:4.3.1:6")),
        pytest.param([SCHEME, AUTHORITY, PATH], marks=pytest.mark.requirement("rfc9114:4.3.1:6")),
        pytest.param([METHOD, SCHEME, AUTHORITY, (b":path", b"")], marks=pytest.mark.requirement("rfc9114:4.3.1:5")),
        pytest.param([*GET, PATH], marks=pytest.mark.requirement("rfc9114:4.3.1:6")),
        pytest.param([METHOD, SCHEME, PATH], marks=pytest.mark.requirement("rfc9114:4.3.1:7")),
        pytest.param([METHOD, SCHEME, PATH, (b"host", b"")], marks=pytest.mark.requirement("rfc9114:4.3.1:8")),
        pytest.param([*GET, (b"host", b"eve")], marks=pytest.mark.requirement("rfc9114:4.3.1:9")),
        pytest.param([*GET, *OK], marks=pytest.mark.requirement("rfc9114:4.3:2")),
        pytest.param([*GET, (b":protocol", b"websocket")], marks=pytest.mark.requirement("rfc9114:4.3:4")),
        pytest.param([METHOD, (b"a", b"b"), SCHEME, AUTHORITY, PATH], marks=pytest.mark.requirement("rfc9114:4.3:6")),
        pytest.param([*GET, (b"Upper", b"a")], marks=pytest.mark.requirement("rfc9114:4.2:2")),
        pytest.param([*GET, (b"connection", b"close")], marks=pytest.mark.requirement("rfc9114:4.2:3")),
        pytest.param([*GET, (b"transfer-encoding", b"chunked")], marks=pytest.mark.requirement("rfc9114:4.1:7")),
        pytest.param([*GET, (b"te", b"gzip")], marks=pytest.mark.requirement("rfc9114:4.2:4")),
        pytest.param([*GET, (b"a b", b"")], marks=pytest.mark.requirement("rfc9114:10.3:1")),
        pytest.param([*GET, (b"", b"")], marks=pytest.mark.requirement("rfc9114:10.3:1")),
        pytest.param([*GET, (b"a", b"b\r\nc: d")], marks=pytest.mark.requirement("rfc9114:10.3:2")),
        pytest.param([*GET, (b"a", b"\0")], marks=pytest.mark.requirement("rfc9114:10.3:2")),
        pytest.param([*GET, (b"a", b" b")], marks=pytest.mark.requirement("rfc9114:10.3:2")),
        pytest.param([*GET, (b"a", b"b\t")], marks=pytest.mark.requirement("rfc9114:10.3:2")),
        pytest.param([(b":method", b"CONNECT"), AUTHORITY, PATH], marks=pytest.mark.requirement("rfc9114:4.4:1")),
        pytest.param([(b":method", b"CONNECT")], marks=pytest.mark.requirement("rfc9114:4.4:1")),
    ],
)
def test_requests_that_are_malformed(fields: Fields) -> None:
    with pytest.raises(H3StreamError, match="H3_MESSAGE_ERROR"):
        check_request(fields)


@pytest.mark.parametrize(
    "fields",
    [
        pytest.param([], marks=pytest.mark.requirement("rfc9114:4.3.2:1")),
        [(b":status", b"20")],
        [(b":status", b"2000")],
        [*OK, *OK],
        pytest.param([*OK, METHOD], marks=pytest.mark.requirement("rfc9114:4.3:2")),
        [*OK, (b"te", b"trailers")],
    ],
)
def test_responses_that_are_malformed(fields: Fields) -> None:
    check_response([*OK, (b"a", b"b")])
    with pytest.raises(H3StreamError, match="H3_MESSAGE_ERROR"):
        check_response(fields)


@pytest.mark.requirement("rfc9114:4.3:3")
def test_trailers_have_no_pseudo_header_fields() -> None:
    check_trailers([(b"a", b"b")])
    with pytest.raises(H3StreamError):
        check_trailers(OK)


def test_the_length_of_the_content_is_one_number() -> None:
    assert content_length(GET) is None
    assert content_length([(b"content-length", b"7"), (b"content-length", b"7")]) == 7
    for values in ([b"7", b"8"], [b""], [b"-1"], [b"+1"], [b"1" * 30]):
        with pytest.raises(H3StreamError):
            content_length([(b"content-length", value) for value in values])
