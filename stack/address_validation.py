"""Who may start a connection at a server: tokens, Retry and refusal, all without state (RFC 9000 section 8.1)."""

from typing import Final, NamedTuple

from stack.config import Config
from stack.crypto.packet_protection import (
    TAG_LENGTH,
    TLS_AES_128_GCM_SHA256,
    initial_secrets,
    make_keys,
    protect_packet,
)
from stack.crypto.retry import encode_retry
from stack.crypto.tokens import NEW_TOKEN, RETRY_TOKEN, SpentTokens, Token, TokenSealer
from stack.errors import CONNECTION_REFUSED, INVALID_TOKEN
from stack.limits import HALF_OPEN_BEFORE_RETRY
from stack.observer import Address
from stack.randomness import Randomness
from stack.wire import header as wire
from stack.wire.frames import encode_connection_close
from stack.wire.versions import VERSIONS

RETRY_CID_LENGTH: Final = 8  # bytes of the Source Connection ID of a Retry, at least


class Admitted(NamedTuple):
    """A first Initial packet that may make a connection; `token` proved the client's address if it is not None."""

    original_destination_cid: bytes
    retry_source_cid: bytes | None = None  # None: there was no Retry
    token: Token | None = None


class AddressValidation:
    """Judges first Initial packets by their tokens, and makes the tokens."""

    __slots__ = ("_own_sealer", "_policy", "_rng", "_secret", "_spent")

    def __init__(self, config: Config, secret: bytes, rng: Randomness) -> None:
        """`secret` is the endpoint's, of 32 bytes."""
        self._policy = config.retry
        self._rng = rng
        self._secret = secret
        self._own_sealer: TokenSealer | None = None
        self._spent = SpentTokens()

    @property
    def _sealer(self) -> TokenSealer:
        """Made when it is needed first, which a client's never is."""
        if self._own_sealer is None:
            self._own_sealer = TokenSealer(self._secret, self._rng)
        return self._own_sealer

    def new_token(self, address: Address, version: int, now: int) -> bytes:
        """Return a token for a NEW_TOKEN frame to a client at `address` (RFC 9000 section 8.1.3)."""
        return self._sealer.seal(Token(NEW_TOKEN, now, address), version)

    def judge(self, header: wire.LongHeader, source: Address, half_open: int, now: int) -> Admitted | bytes:
        """Return how the Initial packet with `header` is admitted, or the datagram to answer instead.

        `half_open` is the number of connections whose handshake is not complete.
        """
        token = self._sealer.open(header.token, header.version) if header.token else None  # rfc9000:8.1.3:14
        if token is not None:
            valid = token.is_valid(source, now)
            if token.purpose == RETRY_TOKEN:
                if valid and token.retry_source_cid == header.destination_cid:
                    return Admitted(token.original_destination_cid, token.retry_source_cid, token)
                # rfc9000:8.1.2:2 it would not take another Retry
                return _close(header, INVALID_TOKEN, b"the Retry token is not valid here and now")
            if valid and self._spent.may_spend(token, now):
                return Admitted(header.destination_cid, token=token)  # rfc9000:8.1.3:16
        # rfc9000:8.1.3:15 an invalid token is as good as none
        if self._policy == "always" or (self._policy == "load" and half_open >= HALF_OPEN_BEFORE_RETRY):
            return self._retry(header, source, now)
        return Admitted(header.destination_cid)

    @staticmethod
    def refuse(header: wire.LongHeader) -> bytes:
        """Return the answer to a client whom the server does not want now (rfc9000:5.2.2:5)."""
        return _close(header, CONNECTION_REFUSED, b"no new connections now")

    def redeem(self, admitted: Admitted) -> None:
        """The connection was made: a token of a NEW_TOKEN frame is spent (rfc9000:8.1.4:8).

        One of a Retry lives so short, and fits so little, that it needs no memory: its connection ID leads to the
        connection that it has made (rfc9000:8.1.4:6).
        """
        if admitted.token is not None and admitted.token.purpose == NEW_TOKEN:
            self._spent.spend(admitted.token)

    def _retry(self, header: wire.LongHeader, source: Address, now: int) -> bytes:
        original = header.destination_cid
        # Of another length than the client's, so another: rfc9000:17.2.5.1:1
        retry_cid = self._rng.randbytes(RETRY_CID_LENGTH + (len(original) == RETRY_CID_LENGTH))
        token = self._sealer.seal(Token(RETRY_TOKEN, now, source, original, retry_cid), header.version)
        version = VERSIONS[header.version]
        return encode_retry(version, header.source_cid, retry_cid, token, original, self._rng.getrandbits(4))


def _close(header: wire.LongHeader, code: int, reason: bytes) -> bytes:
    """An Initial packet that closes the connection before there is one."""
    version = VERSIONS[header.version]
    _, secret = initial_secrets(version, header.destination_cid)
    frame = encode_connection_close(code, 0, reason)
    length = len(frame) + TAG_LENGTH
    start = wire.encode_long_header(version, wire.INITIAL, header.source_cid, header.destination_cid, b"", length, 0, 1)
    return protect_packet(make_keys(TLS_AES_128_GCM_SHA256, secret, version), start, 1, 0, frame)
