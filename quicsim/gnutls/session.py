"""One session of GnuTLS: a handle, and the callbacks by which GnuTLS tells what happens."""

import ctypes
from collections.abc import Callable
from ctypes import byref, c_uint, c_void_p
from typing import Any, Final, Protocol
from weakref import WeakValueDictionary

from quicsim.gnutls import library
from quicsim.gnutls.library import Datum, datum, load
from stack.errors import QuicError
from stack.tls.alerts import HandshakeError
from stack.tls.extensions import QUIC_TRANSPORT_PARAMETERS
from stack.tls.schedule import (
    AES_128_CCM_SHA256,
    AES_128_GCM_SHA256,
    AES_256_GCM_SHA384,
    CHACHA20_POLY1305_SHA256,
)

# gnutls_cipher_algorithm_t
_SUITES: Final = {
    10: AES_128_GCM_SHA256,
    11: AES_256_GCM_SHA384,
    23: CHACHA20_POLY1305_SHA256,
    19: AES_128_CCM_SHA256,
}
_ANY_AGE_MS: Final = 1 << 31
_CHANGE_CIPHER_SPEC: Final = 254  # pseudo type of a message that is none of TLS 1.3


class Handler(Protocol):
    """Whom a session tells what happens. What a method raises ends the handshake and comes out of `Session.run`."""

    def on_secret(self, level: int, read: bytes | None, write: bytes | None) -> None:
        """Traffic secrets of a level."""

    def on_message(self, level: int, kind: int, message: bytes) -> None:
        """A message to send, header included. GnuTLS tells HelloRetryRequest from ServerHello by its `kind`."""

    def on_key_log(self, label: str, secret: bytes) -> None:
        """A secret for the key log."""

    def local_parameters(self) -> bytes:
        """Return our transport parameters."""
        ...

    def verify(self, chain: tuple[bytes, ...]) -> None:
        """Check the peer's certificates, none if it has sent an empty list. Raises HandshakeError."""

    def psk(self, identity: bytes) -> bytes | None:
        """Return the key that a client calls so."""
        ...


_sessions: WeakValueDictionary[int, "Session"] = WeakValueDictionary()


class Session:
    """A handle of GnuTLS, freed by `close` or with this object. Methods raise QuicError for what should not fail."""

    def __init__(self, flags: int, priority: str, handler: Handler) -> None:
        """`flags` of gnutls_init, `priority` a priority string."""
        self._library = lib = load()
        self._handler = handler
        self._error: BaseException | None = None  # what a callback raised
        self._alert: int | None = None
        self._keep: list[Any] = []  # credentials, which must outlive the handle
        self._handle = c_void_p()
        lib.check(lib.init(byref(self._handle), flags), "gnutls_init")
        assert self._handle.value is not None
        _sessions[self._handle.value] = self
        lib.check(lib.priority_set_direct(self._handle, priority.encode(), None), f"priority {priority}")
        lib.handshake_set_timeout(self._handle, 0)
        lib.handshake_set_secret_function(self._handle, _ON_SECRET)
        lib.handshake_set_read_function(self._handle, _ON_MESSAGE)
        lib.alert_set_read_function(self._handle, _ON_ALERT)
        lib.session_set_keylog_function(self._handle, _ON_KEY_LOG)
        lib.session_set_verify_function(self._handle, _ON_VERIFY)
        registered = lib.session_ext_register(
            self._handle,
            b"QUIC Transport Parameters",
            QUIC_TRANSPORT_PARAMETERS,
            library.EXT_MANDATORY,
            _ON_EXTENSION,
            _ON_EXTENSION_WANTED,
            None,
            None,
            None,
            library.EXT_IN_TLS_HELLOS,
        )
        lib.check(registered, "gnutls_session_ext_register")

    def __del__(self) -> None:
        self.close()

    def close(self) -> None:
        """Free the handle; not from within a callback."""
        handle, self._handle = self._handle, c_void_p()
        if handle.value is not None:
            _sessions.pop(handle.value, None)
            self._library.deinit(handle)

    # What is negotiated

    def use(self, kind: int, credentials: "Credentials") -> None:
        """Prove and check identities with `credentials` of a `kind`."""
        self._keep.append(credentials)
        self._library.check(self._library.credentials_set(self._handle, kind, credentials.pointer), "credentials")

    def set_server_name(self, name: str) -> None:
        """Send a client's server_name."""
        data = name.encode()
        result = self._library.server_name_set(self._handle, library.NAME_DNS, data, len(data))
        self._library.check(result, "gnutls_server_name_set")

    def set_protocols(self, names: tuple[str, ...]) -> None:
        """Offer application protocols, or choose from them, the first one that the client offers."""
        protocols = [datum(name.encode()) for name in names]
        flags = library.ALPN_MANDATORY | library.ALPN_SERVER_PRECEDENCE
        array = (Datum * len(names))(*protocols)
        result = self._library.alpn_set_protocols(self._handle, array, len(names), flags)
        self._library.check(result, "gnutls_alpn_set_protocols")

    def request_certificate(self, required: bool) -> None:
        """Ask a client for a certificate."""
        request = library.CERT_REQUIRE if required else library.CERT_REQUEST
        self._library.certificate_server_set_request(self._handle, request)

    def set_ticket_key(self, key: bytes) -> None:
        """Open and seal a server's tickets with a key of 64 bytes."""
        result = self._library.session_ticket_enable_server(self._handle, byref(datum(key)))
        self._library.check(result, "gnutls_session_ticket_enable_server")

    def set_ticket_lifetime(self, seconds: int) -> None:
        """How long a server's tickets are valid."""
        self._library.db_set_cache_expiration(self._handle, seconds)

    def set_max_early_data(self, size: int) -> None:
        """What a server's tickets allow of 0-RTT, in bytes."""
        result = self._library.record_set_max_early_data_size(self._handle, size)
        self._library.check(result, "gnutls_record_set_max_early_data_size")

    def accept_early_data(self, replays: "Replays") -> None:
        """Take a client's 0-RTT if it resumes."""
        self._keep.append(replays)
        self._library.anti_replay_enable(self._handle, replays.pointer)

    def resume(self, data: bytes) -> None:
        """Resume what another session's `data` tells."""
        self._library.check(self._library.session_set_data(self._handle, data, len(data)), "gnutls_session_set_data")

    # The handshake

    def run(self) -> bool:
        """Go on with the handshake as far as possible; true when it is complete.

        Raises HandshakeError, and whatever the handler raised.
        """
        return self._finish(self._library.handshake(self._handle))

    def feed(self, level: int, message: bytes) -> None:
        """Take in one message of the peer. Errors as of `run`."""
        self._finish(self._library.handshake_write(self._handle, level, message, len(message)))

    def send_tickets(self, count: int) -> None:
        """Make a server's tickets."""
        self._finish(self._library.session_ticket_send(self._handle, count, 0))

    def _finish(self, result: int) -> bool:
        error, self._error = self._error, None
        if error is not None:
            raise error
        lib = self._library
        if result < 0 and lib.error_is_fatal(result):
            alert = self._alert
            if alert is None:
                alert = lib.error_to_alert(result, byref(ctypes.c_int()))
            raise HandshakeError(alert, f"GnuTLS: {lib.explain(result)}")
        return result == 0

    # What came of it

    @property
    def suite(self) -> int:
        """The cipher suite that was chosen."""
        return _SUITES[self._library.cipher_get(self._handle)]

    @property
    def protocol(self) -> str | None:
        """The application protocol."""
        chosen = Datum()
        if self._library.alpn_get_selected_protocol(self._handle, byref(chosen)) < 0:
            return None
        return chosen.bytes().decode()

    @property
    def resumed(self) -> bool:
        """Whether a ticket was used."""
        return bool(self._library.session_is_resumed(self._handle))

    @property
    def by_psk(self) -> bool:
        """Whether an external key proves both ends."""
        return bool(self._library.auth_get_type(self._handle) == library.PSK)

    @property
    def client_random(self) -> bytes:
        """ClientHello's random."""
        client, server = Datum(), Datum()
        self._library.session_get_random(self._handle, byref(client), byref(server))
        return client.bytes()

    @property
    def peer_certificates(self) -> tuple[bytes, ...]:
        """The peer's chain as DER, leaf first; empty if it has shown none."""
        count = c_uint()
        first = self._library.certificate_get_peers(self._handle, byref(count))
        return tuple(first[index].bytes() for index in range(count.value)) if first else ()

    @property
    def data(self) -> bytes:
        """What another session needs to resume this one."""
        owned = Datum()
        self._library.check(self._library.session_get_data2(self._handle, byref(owned)), "gnutls_session_get_data2")
        return self._library.take(owned)

    def export(self, label: bytes, context: bytes, length: int) -> bytes:
        """Return keying material (RFC 8446 section 7.5)."""
        out = ctypes.create_string_buffer(max(length, 1))
        sizes = len(label), label, len(context), context, length
        self._library.check(self._library.prf_rfc5705(self._handle, *sizes, out), "gnutls_prf_rfc5705")
        return out.raw[:length]


class Credentials:
    """Credentials of GnuTLS, freed with this object."""

    def __init__(self, kind: str) -> None:
        """`kind` as GnuTLS's functions to allocate and to free them spell it, such as "psk_%s_client_credentials"."""
        lib = load()
        self.pointer = c_void_p()
        self._free = getattr(lib, kind.replace("%s", "free"))
        lib.check(getattr(lib, kind.replace("%s", "allocate"))(byref(self.pointer)), kind)

    def __del__(self) -> None:
        if self.pointer.value is not None:
            self._free(self.pointer)


class Replays:
    """GnuTLS's register against replays, without which it accepts no 0-RTT; freed with this object.

    It lets everything pass: a server's engine has looked before (`quicsim.gnutls.tickets`). GnuTLS refuses tickets that
    are older than this object.
    """

    def __init__(self) -> None:
        lib = load()
        self.pointer = c_void_p()
        self._free = lib.anti_replay_deinit
        lib.check(lib.anti_replay_init(byref(self.pointer)), "gnutls_anti_replay_init")
        lib.anti_replay_set_window(self.pointer, _ANY_AGE_MS)
        lib.anti_replay_set_add_function(self.pointer, _ON_TICKET_USED)

    def __del__(self) -> None:
        if self.pointer.value is not None:
            self._free(self.pointer)


# Callbacks. An exception may not leave them, so it waits until GnuTLS returns.


def _guarded(function: Callable[..., int | None]) -> Callable[..., int]:
    def call(pointer: int, *arguments: Any) -> int:
        session = _sessions.get(pointer)
        if session is None:
            return library.REFUSED
        try:
            return function(session, *arguments) or 0
        except BaseException as error:
            session._error = session._error or error
            return library.REFUSED

    return call


def _on_secret(session: Session, level: int, read: int | None, write: int | None, size: int) -> None:
    secrets = [ctypes.string_at(secret, size) if secret else None for secret in (read, write)]
    session._handler.on_secret(level, *secrets)


def _on_message(session: Session, level: int, kind: int, data: int, size: int) -> None:
    if kind != _CHANGE_CIPHER_SPEC:
        session._handler.on_message(level, kind, ctypes.string_at(data, size))


def _on_alert(session: Session, level: int, severity: int, description: int) -> None:
    if session._alert is None:
        session._alert = description


def _on_key_log(session: Session, label: bytes, secret: Any) -> None:
    session._handler.on_key_log(label.decode(), secret.contents.bytes())


def _on_verify(session: Session) -> None:
    session._handler.verify(session.peer_certificates)


def _on_extension(session: Session, data: int, size: int) -> None:
    """The peer's transport parameters; the engine has read them in the message already."""


def _on_extension_wanted(session: Session, buffer: int) -> int:
    data = session._handler.local_parameters()
    if session._library.buffer_append_data(buffer, data, len(data)) < 0:
        raise QuicError("GnuTLS: out of memory")
    return len(data) or library.EMPTY


def _on_psk_wanted(session: Session, identity: Any, key: Any) -> int:
    """A server looks for a client's key; `library.PskServerFunction` for credentials."""
    found = session._handler.psk(identity.contents.bytes())
    if found is None:
        return -1
    key.contents.data = session._library.malloc(len(found))
    key.contents.size = len(found)
    ctypes.memmove(key.contents.data, found, len(found))
    return 0


_ON_SECRET: Final = library.SecretFunction(_guarded(_on_secret))
_ON_MESSAGE: Final = library.ReadFunction(_guarded(_on_message))
_ON_ALERT: Final = library.AlertFunction(_guarded(_on_alert))
_ON_KEY_LOG: Final = library.KeyLogFunction(_guarded(_on_key_log))
_ON_VERIFY: Final = library.VerifyFunction(_guarded(_on_verify))
_ON_EXTENSION: Final = library.ExtensionReceiveFunction(_guarded(_on_extension))
_ON_EXTENSION_WANTED: Final = library.ExtensionSendFunction(_guarded(_on_extension_wanted))
ON_PSK_WANTED: Final = library.PskServerFunction(_guarded(_on_psk_wanted))
_ON_TICKET_USED: Final = library.AddFunction(lambda register, expires, key, data: 0)
