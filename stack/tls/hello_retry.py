"""What a HelloRetryRequest asks for and what it changes (RFC 8446 sections 4.1.2, 4.1.4, 4.4.1)."""

import hashlib
from collections.abc import Container
from typing import Final

from stack.tls import extensions
from stack.tls.alerts import ILLEGAL_PARAMETER, HandshakeError
from stack.tls.hello import ClientHello, HelloRetryRequest
from stack.tls.messages import encode_message

_MESSAGE_HASH: Final = 254

# Extensions in which a second ClientHello may differ from the first.
_MAY_CHANGE: Final = (
    extensions.KEY_SHARE,
    extensions.EARLY_DATA,
    extensions.COOKIE,
    extensions.PRE_SHARED_KEY,
    extensions.PADDING,
)


def message_hash(hash_name: str, client_hello: bytes) -> bytes:
    """Return the message that stands for the first ClientHello in the transcript (section 4.4.1)."""
    return encode_message(_MESSAGE_HASH, hashlib.new(hash_name, client_hello).digest())


def check_retry(
    retry: HelloRetryRequest, suites: tuple[int, ...], groups: tuple[int, ...], shares: Container[int]
) -> None:
    """Check a HelloRetryRequest against our ClientHello's suites, groups and key shares (their groups).

    Raises HandshakeError illegal_parameter.
    """
    if retry.suite not in suites:
        # rfc8446:4.1.4:8
        raise HandshakeError(ILLEGAL_PARAMETER, f"the server chose suite 0x{retry.suite:04x}, not offered")
    if retry.group is None:
        if retry.cookie is None:
            # rfc8446:4.1.4:5
            raise HandshakeError(ILLEGAL_PARAMETER, "HelloRetryRequest would change nothing")
    elif retry.group not in groups:
        # rfc8446:4.2.8:10
        raise HandshakeError(ILLEGAL_PARAMETER, f"the server asks for group 0x{retry.group:04x}, not offered")
    elif retry.group in shares:
        raise HandshakeError(ILLEGAL_PARAMETER, f"the server asks for group 0x{retry.group:04x}, whose share it has")


def check_second_hello(first: ClientHello, second: ClientHello, group: int) -> None:
    """Check that a client changed its ClientHello as a HelloRetryRequest for `group` asked, and nothing else.

    Raises HandshakeError illegal_parameter.
    """
    # rfc8446:4.1.2:2
    if (first.random, first.suites, _constant(first)) != (second.random, second.suites, _constant(second)):
        raise HandshakeError(ILLEGAL_PARAMETER, "the second ClientHello differs from the first in more than it may")
    if list(second.key_shares or ()) != [group]:
        # rfc8446:4.2.8:11
        raise HandshakeError(ILLEGAL_PARAMETER, f"the second ClientHello must have one share, of group 0x{group:04x}")
    if extensions.EARLY_DATA in second.extensions:
        # rfc8446:4.2.10:6
        raise HandshakeError(ILLEGAL_PARAMETER, "the second ClientHello may not offer early data")
    if extensions.COOKIE in second.extensions:
        raise HandshakeError(ILLEGAL_PARAMETER, "the second ClientHello has a cookie, but none was sent")


def _constant(hello: ClientHello) -> dict[int, bytes]:
    return {kind: body for kind, body in hello.extensions.items() if kind not in _MAY_CHANGE}
