"""OpenSSL's TLS 1.3 as a peer of the TLS engines: a record layer between its bytes and an engine's messages.

libssl is called through ctypes, because the standard library's `ssl` can't add the quic_transport_parameters extension.
"""

import ctypes
import ctypes.util
from collections.abc import Callable
from pathlib import Path
from typing import Any

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESCCM, AESGCM, ChaCha20Poly1305
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat
from cryptography.x509 import load_der_x509_certificate

from stack.crypto.hkdf import hkdf_expand_label
from stack.tls.certificates import Credentials
from stack.tls.engine import APPLICATION, HANDSHAKE, INITIAL, READ, WRITE, Engine, Event, HandshakeBytes, NewSecret
from stack.tls.psk import ExternalPsk
from stack.tls.schedule import SUITES

ALERT, HANDSHAKE_RECORD, APPLICATION_DATA = 21, 22, 23

_MIDDLEBOX_COMPAT = 1 << 20
_SET_SIGALGS, _SET_GROUPS, _SET_MIN_VERSION = 98, 92, 123
_VERIFY_REQUIRE = 3
_CLIENT_HELLO_AND_ENCRYPTED_EXTENSIONS = 0x80 | 0x400

_ADD = ctypes.CFUNCTYPE(
    ctypes.c_int,
    ctypes.c_void_p,
    ctypes.c_uint,
    ctypes.c_uint,
    ctypes.POINTER(ctypes.c_char_p),
    ctypes.POINTER(ctypes.c_size_t),
    ctypes.c_void_p,
    ctypes.c_size_t,
    ctypes.c_void_p,
    ctypes.c_void_p,
)
_PARSE = ctypes.CFUNCTYPE(
    ctypes.c_int,
    ctypes.c_void_p,
    ctypes.c_uint,
    ctypes.c_uint,
    ctypes.POINTER(ctypes.c_char),
    ctypes.c_size_t,
    ctypes.c_void_p,
    ctypes.c_size_t,
    ctypes.c_void_p,
    ctypes.c_void_p,
)
_ALPN = ctypes.CFUNCTYPE(
    ctypes.c_int,
    ctypes.c_void_p,
    ctypes.POINTER(ctypes.c_void_p),
    ctypes.POINTER(ctypes.c_ubyte),
    ctypes.c_void_p,
    ctypes.c_uint,
    ctypes.c_void_p,
)
_VERIFY = ctypes.CFUNCTYPE(ctypes.c_int, ctypes.c_int, ctypes.c_void_p)
_KEYLOG = ctypes.CFUNCTYPE(None, ctypes.c_void_p, ctypes.c_char_p)
_PSK_CLIENT = ctypes.CFUNCTYPE(
    ctypes.c_uint, ctypes.c_void_p, ctypes.c_void_p, ctypes.c_void_p, ctypes.c_uint, ctypes.c_void_p, ctypes.c_uint
)
_PSK_SERVER = ctypes.CFUNCTYPE(ctypes.c_uint, ctypes.c_void_p, ctypes.c_char_p, ctypes.c_void_p, ctypes.c_uint)


def load() -> Any:
    """Return libssl and libcrypto, None where they are not installed."""
    names = ctypes.util.find_library("ssl"), ctypes.util.find_library("crypto")
    if None in names:
        return None
    ssl, crypto = (ctypes.CDLL(name) for name in names)
    for function in ("SSL_CTX_new", "SSL_new", "TLS_client_method", "TLS_server_method", "SSL_get1_session"):
        getattr(ssl, function).restype = ctypes.c_void_p
    for function in ("BIO_new", "BIO_s_mem"):
        getattr(crypto, function).restype = ctypes.c_void_p
    return ssl, crypto


class OpenSsl:
    """One side of a connection; `PARAMETERS` are its transport parameters."""

    PARAMETERS = b"openssl's"

    def __init__(
        self,
        is_client: bool,
        directory: Path,
        *,
        credentials: Credentials | None = None,
        suites: str = "TLS_AES_128_GCM_SHA256",
        groups: str = "X25519:P-256:P-384",
        signatures: str = "",
        client_auth: bool = False,
        psk: ExternalPsk | None = None,
        early_data: bool = False,
        session: int | None = None,
    ) -> None:
        """`session` is that of another client (`session`), to resume; tickets may allow `early_data`."""
        self._ssl, self._crypto = load()
        self.log: dict[str, bytes] = {}
        self.peer_parameters = b""
        self._keep: list[Any] = []  # callbacks, for as long as they may be called
        ssl = self._ssl
        method = ssl.TLS_client_method() if is_client else ssl.TLS_server_method()
        self._context = context = ctypes.c_void_p(ssl.SSL_CTX_new(ctypes.c_void_p(method)))
        ssl.SSL_CTX_ctrl(context, _SET_MIN_VERSION, ctypes.c_long(0x0304), None)
        ssl.SSL_CTX_clear_options(context, ctypes.c_uint64(_MIDDLEBOX_COMPAT))
        assert ssl.SSL_CTX_set_ciphersuites(context, suites.encode())
        assert ssl.SSL_CTX_ctrl(context, _SET_GROUPS, ctypes.c_long(0), groups.encode())
        if signatures:
            assert ssl.SSL_CTX_ctrl(context, _SET_SIGALGS, ctypes.c_long(0), signatures.encode())
        if credentials is not None:
            self._use(credentials, directory)
        if client_auth:
            ssl.SSL_CTX_set_verify(context, _VERIFY_REQUIRE, self._callback(_VERIFY, lambda ok, store: 1))
        if not is_client:
            ssl.SSL_CTX_set_session_id_context(context, b"test", 4)
        ssl.SSL_CTX_set_keylog_callback(context, self._callback(_KEYLOG, self._on_keylog))
        ssl.SSL_CTX_set_max_early_data(context, ctypes.c_uint32(0xFFFFFFFF if early_data else 0))
        self._add_parameters()
        self._set_alpn(is_client)
        if psk is not None:
            self._set_psk(psk, is_client)
        self._is_client = is_client
        self.reconnect(session)

    def reconnect(self, session: int | None = None) -> None:
        """Begin another connection, with the same keys for tickets."""
        ssl, crypto = self._ssl, self._crypto
        self.log.clear()
        self.peer_parameters = b""
        self._connection = ctypes.c_void_p(ssl.SSL_new(self._context))
        self._in, self._out = (ctypes.c_void_p(crypto.BIO_new(ctypes.c_void_p(crypto.BIO_s_mem()))) for _ in range(2))
        ssl.SSL_set_bio(self._connection, self._in, self._out)
        if session is not None:
            assert ssl.SSL_set_session(self._connection, ctypes.c_void_p(session))
        (ssl.SSL_set_connect_state if self._is_client else ssl.SSL_set_accept_state)(self._connection)

    def _callback(self, kind: Any, function: Callable[..., Any]) -> Any:
        made = kind(function)
        self._keep.append(made)
        return made

    def _use(self, credentials: Credentials, directory: Path) -> None:
        key, chain = directory / "key.pem", directory / "chain.pem"
        key.write_bytes(credentials.private_key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()))
        pem = [load_der_x509_certificate(der).public_bytes(Encoding.PEM) for der in credentials.certificates]
        chain.write_bytes(b"".join(pem))
        assert self._ssl.SSL_CTX_use_certificate_chain_file(self._context, str(chain).encode()) == 1
        assert self._ssl.SSL_CTX_use_PrivateKey_file(self._context, str(key).encode(), 1) == 1

    def _add_parameters(self) -> None:
        def add(connection: Any, kind: Any, where: Any, out: Any, length: Any, *others: Any) -> int:
            out[0] = self.PARAMETERS
            length[0] = len(self.PARAMETERS)
            return 1

        def parse(connection: Any, kind: Any, where: Any, data: Any, length: int, *others: Any) -> int:
            self.peer_parameters = ctypes.string_at(data, length)
            return 1

        added = self._ssl.SSL_CTX_add_custom_ext(
            self._context,
            57,
            _CLIENT_HELLO_AND_ENCRYPTED_EXTENSIONS,
            self._callback(_ADD, add),
            None,
            None,
            self._callback(_PARSE, parse),
            None,
        )
        assert added == 1

    def _set_alpn(self, is_client: bool) -> None:
        name = b"\x07quicsim"
        if is_client:
            self._ssl.SSL_CTX_set_alpn_protos(self._context, name, len(name))
            return
        chosen = ctypes.create_string_buffer(b"quicsim")
        self._keep.append(chosen)

        def select(connection: Any, out: Any, length: Any, *others: Any) -> int:
            out[0] = ctypes.addressof(chosen)
            length[0] = 7
            return 0

        self._ssl.SSL_CTX_set_alpn_select_cb(self._context, self._callback(_ALPN, select), None)

    def _set_psk(self, psk: ExternalPsk, is_client: bool) -> None:
        def client(connection: Any, hint: Any, identity: int, room: int, key: int, key_room: int) -> int:
            ctypes.memmove(identity, psk.identity + b"\0", len(psk.identity) + 1)
            ctypes.memmove(key, psk.key, len(psk.key))
            return len(psk.key)

        def server(connection: Any, identity: bytes, key: int, room: int) -> int:
            if identity != psk.identity:
                return 0
            ctypes.memmove(key, psk.key, len(psk.key))
            return len(psk.key)

        if is_client:
            self._ssl.SSL_CTX_set_psk_client_callback(self._context, self._callback(_PSK_CLIENT, client))
        else:
            self._ssl.SSL_CTX_set_psk_server_callback(self._context, self._callback(_PSK_SERVER, server))

    def _on_keylog(self, connection: Any, line: bytes) -> None:
        label, _, secret = line.decode().split(" ")
        self.log[label] = bytes.fromhex(secret)

    def receive(self, data: bytes) -> bytes:
        """Take records in, and return those that go out."""
        if data:
            self._crypto.BIO_write(self._in, data, len(data))
        self._ssl.SSL_do_handshake(self._connection)
        if self.complete:
            self._ssl.SSL_read(self._connection, ctypes.create_string_buffer(1), 1)  # handles tickets
        sent = b""
        buffer = ctypes.create_string_buffer(1 << 16)
        while (length := self._crypto.BIO_read(self._out, buffer, len(buffer))) > 0:
            sent += buffer.raw[:length]
        return sent

    @property
    def complete(self) -> bool:
        return bool(self._ssl.SSL_is_init_finished(self._connection))

    @property
    def resumed(self) -> bool:
        return bool(self._ssl.SSL_session_reused(self._connection))

    @property
    def session(self) -> int:
        """A pointer to the session, to be given to another client."""
        session: int = self._ssl.SSL_get1_session(self._connection)
        return session

    def export(self, label: bytes, context: bytes, length: int) -> bytes:
        out = ctypes.create_string_buffer(length)
        arguments = label, ctypes.c_size_t(len(label)), context, ctypes.c_size_t(len(context)), 1
        assert self._ssl.SSL_export_keying_material(self._connection, out, ctypes.c_size_t(length), *arguments) == 1
        return out.raw


class _Keys:
    """Record protection of one secret (RFC 8446 section 5.2)."""

    def __init__(self, suite: int, secret: bytes) -> None:
        name = SUITES[suite]
        kind: Any = {0x1303: ChaCha20Poly1305, 0x1304: AESCCM}.get(suite, AESGCM)
        self.aead = kind(hkdf_expand_label(name, secret, b"key", b"", 16 if suite in (0x1301, 0x1304) else 32))
        self.iv = int.from_bytes(hkdf_expand_label(name, secret, b"iv", b"", 12))
        self.number = 0

    def seal(self, content: bytes, kind: int) -> bytes:
        header = b"\x17\x03\x03" + (len(content) + 17).to_bytes(2)
        sealed: bytes = self.aead.encrypt(self.nonce(), content + bytes((kind,)), header)
        self.number += 1
        return header + sealed

    def open(self, record: bytes) -> tuple[int, bytes] | None:
        try:
            inner = self.aead.decrypt(self.nonce(), record[5:], record[:5]).rstrip(b"\x00")
        except InvalidTag:
            return None
        self.number += 1
        return inner[-1], inner[:-1]

    def nonce(self) -> bytes:
        return (self.iv ^ self.number).to_bytes(12)


class Wire:
    """An engine and OpenSSL, and the record layer that the engine does not have."""

    def __init__(self, engine: Engine, peer: OpenSsl, now: int = 0) -> None:
        self.engine, self.peer, self.now = engine, peer, now
        self.events: list[Event] = []
        self.alerts: list[int] = []  # OpenSSL's
        self._keys: dict[tuple[int, int], _Keys] = {}
        self._out = b""

    def run(self, size: int = 1 << 20) -> None:
        """Carry bytes between both until neither has more; the engine gets them in pieces of `size`."""
        self.engine.start(self.now)
        self._take()
        data, self._out = self._out, b""
        while True:
            self._deliver(self.peer.receive(data), size)
            self._take()
            data, self._out = self._out, b""
            if not data:
                return

    def _take(self) -> None:
        while (event := self.engine.next_event()) is not None:
            self.events.append(event)
            if isinstance(event, NewSecret):
                self._keys[event.level, event.direction] = _Keys(event.suite, event.secret)
            elif isinstance(event, HandshakeBytes) and event.level == INITIAL:
                self._out += b"\x16\x03\x03" + len(event.data).to_bytes(2) + event.data
            elif isinstance(event, HandshakeBytes):
                self._out += self._keys[event.level, WRITE].seal(event.data, HANDSHAKE_RECORD)

    def _deliver(self, data: bytes, size: int) -> None:
        while data:
            end = 5 + int.from_bytes(data[3:5])
            record, data = data[:end], data[end:]
            level, kind, content = self._open(record)
            if kind == ALERT:
                self.alerts.append(content[1])
            elif kind == HANDSHAKE_RECORD:
                for start in range(0, len(content), size):
                    self.engine.feed(level, content[start : start + size], self.now)
                self._take()

    def _open(self, record: bytes) -> tuple[int, int, bytes]:
        if record[0] != APPLICATION_DATA:
            return INITIAL, record[0], record[5:]
        for level in (HANDSHAKE, APPLICATION):
            keys = self._keys.get((level, READ))
            opened = keys.open(record) if keys else None
            if opened is not None:
                return level, *opened
        raise AssertionError("a record that no key opens")
