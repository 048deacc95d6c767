"""What the fields of a message must look like (RFC 9114 sections 4.2 and 4.3); everything else is malformed."""

import re
from collections.abc import Callable
from typing import Final

from quicsim.h3.errors import Code, H3StreamError
from quicsim.h3.qpack import Fields

_NAME: Final = re.compile(rb"[!#$%&'*+.^_`|~0-9a-z-]+")  # a token of RFC 9110, without capital letters
_VALUE: Final = re.compile(rb"(?:[^\0\r\n\t ](?:[^\0\r\n]*[^\0\r\n\t ])?)?")
_DIGITS: Final = re.compile(rb"[0-9]{1,18}")
_STATUS: Final = re.compile(rb"[1-9][0-9][0-9]")
_CONNECTION_SPECIFIC: Final = frozenset(
    {b"connection", b"keep-alive", b"proxy-connection", b"transfer-encoding", b"upgrade"}
)
_OF_REQUESTS: Final = (b":method", b":scheme", b":authority", b":path")
_OF_RESPONSES: Final = (b":status",)

Check = Callable[[Fields], None]


def check_request(fields: Fields) -> None:
    """Raises H3StreamError (H3_MESSAGE_ERROR) unless these can be the header fields of a request."""
    pseudo, regular = _split(fields, _OF_REQUESTS)
    hosts = [value for name, value in regular if name == b"host"]
    authority = pseudo.get(b":authority")
    if any(value != b"trailers" for name, value in regular if name == b"te"):  # rfc9114:4.2:4
        raise _malformed("te may be trailers, and nothing else")
    if pseudo.get(b":method") == b"CONNECT":  # RFC 9114 section 4.4
        if authority is None or b":scheme" in pseudo or b":path" in pseudo:
            raise _malformed("CONNECT must have :authority, and neither :scheme nor :path")
        return
    for name in (b":method", b":scheme", b":path"):  # rfc9114:4.3.1:6
        if not pseudo.get(name):
            raise _malformed(f"{name.decode()} must be there, and not be empty")
    if pseudo[b":scheme"] in (b"http", b"https"):
        named = [value for value in (authority, *hosts) if value is not None]
        if not named or not all(named):  # rfc9114:4.3.1:7, rfc9114:4.3.1:8
            raise _malformed(":authority or host must be there, and not be empty")
        if len(set(named)) > 1:  # rfc9114:4.3.1:9
            raise _malformed(":authority and host must be the same")


def check_response(fields: Fields) -> None:
    """Raises H3StreamError (H3_MESSAGE_ERROR) unless these can be the header fields of a response."""
    pseudo, regular = _split(fields, _OF_RESPONSES)
    if any(name == b"te" for name, _ in regular):
        raise _malformed("te is for requests")
    if not _STATUS.fullmatch(pseudo.get(b":status", b"")):  # rfc9114:4.3.2:1
        raise _malformed(":status must be there, and have three digits")


def check_trailers(fields: Fields) -> None:
    """Raises H3StreamError (H3_MESSAGE_ERROR) unless these can be the trailer fields of a message."""
    _split(fields, ())  # rfc9114:4.3:3


def content_length(fields: Fields) -> int | None:
    """How long the content says it is; None when it does not. Raises H3StreamError when that makes no sense."""
    values = {value for name, value in fields if name == b"content-length"}
    if not values:
        return None
    value = values.pop()
    if values or not _DIGITS.fullmatch(value):
        raise _malformed("content-length must be one number")
    return int(value)


def _split(fields: Fields, allowed: tuple[bytes, ...]) -> tuple[dict[bytes, bytes], Fields]:
    """Return pseudo-header fields and the others, all of which may be in a message."""
    pseudo: dict[bytes, bytes] = {}
    regular: Fields = []
    for name, value in fields:
        if not _VALUE.fullmatch(value):  # rfc9114:10.3:2
            raise _malformed(f"the value of {name!r} has characters that it may not have")
        if name.startswith(b":"):
            if name not in allowed:  # rfc9114:4.3:2, rfc9114:4.3:4
                raise _malformed(f"{name!r} must not be here")
            if regular:  # rfc9114:4.3:6
                raise _malformed(f"{name!r} must come before all other fields")
            if name in pseudo:
                raise _malformed(f"{name!r} comes twice")
            pseudo[name] = value
        elif not _NAME.fullmatch(name):  # rfc9114:4.2:2, rfc9114:10.3:1
            raise _malformed(f"{name!r} is no name of a field")
        elif name in _CONNECTION_SPECIFIC:  # rfc9114:4.2:3
            raise _malformed(f"{name!r} belongs to other versions of HTTP")
        else:
            regular.append((name, value))
    return pseudo, regular


def _malformed(reason: str) -> H3StreamError:
    return H3StreamError(Code.H3_MESSAGE_ERROR, reason)  # rfc9114:4.1.2:2
