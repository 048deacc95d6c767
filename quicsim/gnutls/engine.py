"""What a client's and a server's GnuTLS engine share.

The messages are cut and their order checked as for the stack's own engine, whose states they share: GnuTLS gets whole
messages only, and none that QUIC forbids. By itself it would take a KeyUpdate, and do without ALPN or transport
parameters.
"""

from typing import Final

from quicsim.gnutls.session import Session
from stack.randomness import Randomness
from stack.tls.engine import EARLY, READ, WRITE, HandshakeBytes, KeyLog, LocalTransportParameters
from stack.tls.handshake import Handshake
from stack.tls.states import TRANSITIONS, State

MAX_EXPORT: Final = 255 * 32  # bytes of keying material, whatever the suite


class GnuTlsEngine(Handshake):
    """One side of a handshake, without what is only a client's or a server's."""

    __slots__ = ("_local", "_session", "_verified")

    def __init__(
        self,
        state: State,
        server_name: str | None,
        transport_parameters: LocalTransportParameters,
        rng: Randomness,
    ) -> None:
        super().__init__(state, server_name, transport_parameters, rng)
        self._session: Session | None = None  # made when it is known what it must be like
        self._local = b""  # our transport parameters
        self._verified = False  # whether certificates were looked at

    @property
    def _export_limit(self) -> int:
        return MAX_EXPORT

    def _export(self, label: bytes, context: bytes, length: int) -> bytes:
        return self._gnutls.export(label, context, length)

    def _forget(self) -> None:
        super()._forget()
        session, self._session = self._session, None
        if session is not None:
            session.close()

    @property
    def _gnutls(self) -> Session:
        """The session, once it was made."""
        assert self._session is not None
        return self._session

    def _pass(self, message: bytes) -> bool:
        """Let GnuTLS handle a message of the handshake; true if that completes it."""
        session = self._gnutls
        session.feed(TRANSITIONS[self._state].level, message)
        return session.run()

    # What GnuTLS tells

    def on_secret(self, level: int, read: bytes | None, write: bytes | None) -> None:
        """Secrets of a level."""
        if level == EARLY:
            self._on_early_secret(read or write or b"")
            return
        self._suite = self._gnutls.suite
        for direction, secret in ((WRITE, write), (READ, read)):
            if secret is not None:
                self._secret(level, direction, secret)

    def _on_early_secret(self, secret: bytes) -> None:
        """The secret of 0-RTT packets; GnuTLS may make one although there are none."""
        raise NotImplementedError

    def on_message(self, level: int, kind: int, message: bytes) -> None:
        """A message to send."""
        self._events.append(HandshakeBytes(level, message))

    def on_key_log(self, label: str, secret: bytes) -> None:
        """A secret for the key log."""
        self._events.append(KeyLog(label, self._gnutls.client_random, secret))

    def local_parameters(self) -> bytes:
        """Our transport parameters."""
        return self._local

    def verify(self, chain: tuple[bytes, ...]) -> None:
        """Check the peer's certificates. Raises HandshakeError."""
        raise NotImplementedError

    def psk(self, identity: bytes) -> bytes | None:
        """A server's key with a name; a client's is among its credentials."""
        return None
