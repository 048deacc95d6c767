"""What of GnuTLS is used: the declarations of its C interface, and the library itself, loaded when first needed."""

import ctypes
from ctypes import POINTER, c_char_p, c_int, c_long, c_size_t, c_uint, c_void_p
from functools import cache
from typing import Any, Final

from stack.errors import ConfigError, QuicError

SONAME: Final = "libgnutls.so.30"
PACKAGE: Final = "libgnutls30"  # of Debian
OLDEST: Final = "3.7.2"  # flag NO_END_OF_EARLY_DATA

# Flags of gnutls_init
SERVER: Final = 1
CLIENT: Final = 1 << 1
NO_TICKETS: Final = 1 << 10
KEY_SHARE_TOP: Final = (1 << 11, 1 << 12, 1 << 13)  # shares of one, two and three groups
ENABLE_EARLY_DATA: Final = 1 << 20
NO_AUTO_SEND_TICKET: Final = 1 << 21
NO_END_OF_EARLY_DATA: Final = 1 << 22

# Kinds of credentials
CERTIFICATE: Final = 1
PSK: Final = 4

# gnutls_alpn_set_protocols
ALPN_MANDATORY: Final = 1
ALPN_SERVER_PRECEDENCE: Final = 2

# gnutls_session_ext_register: parsed also when resuming, in ClientHello and EncryptedExtensions of TLS
EXT_MANDATORY: Final = 3
EXT_IN_TLS_HELLOS: Final = 1 << 1 | 1 << 4 | 1 << 7

# Other enumerations
NAME_DNS: Final = 1
FORMAT_PEM: Final = 1
PSK_KEY_RAW: Final = 0
CERT_REQUEST: Final = 1
CERT_REQUIRE: Final = 2

# Results
EMPTY: Final = -1251  # GNUTLS_E_INT_RET_0: what a callback returns that wants an extension without a body
REFUSED: Final = -59  # GNUTLS_E_INTERNAL_ERROR: what a callback returns that has failed


class Datum(ctypes.Structure):
    """gnutls_datum_t: bytes that somebody else owns."""

    _fields_ = (("data", c_void_p), ("size", c_uint))

    def bytes(self) -> bytes:
        """Return a copy."""
        return ctypes.string_at(self.data, self.size) if self.size else b""


def datum(data: bytes) -> Datum:
    """Return a datum that keeps `data` alive."""
    result = Datum(ctypes.cast(c_char_p(data), c_void_p), len(data))
    result.owner = data
    return result


# Callbacks; the session comes first
SecretFunction = ctypes.CFUNCTYPE(c_int, c_void_p, c_int, c_void_p, c_void_p, c_size_t)
ReadFunction = ctypes.CFUNCTYPE(c_int, c_void_p, c_int, c_int, c_void_p, c_size_t)
AlertFunction = ctypes.CFUNCTYPE(c_int, c_void_p, c_int, c_int, c_int)
KeyLogFunction = ctypes.CFUNCTYPE(c_int, c_void_p, c_char_p, POINTER(Datum))
VerifyFunction = ctypes.CFUNCTYPE(c_int, c_void_p)
ExtensionReceiveFunction = ctypes.CFUNCTYPE(c_int, c_void_p, c_void_p, c_size_t)
ExtensionSendFunction = ctypes.CFUNCTYPE(c_int, c_void_p, c_void_p)
PskServerFunction = ctypes.CFUNCTYPE(c_int, c_void_p, POINTER(Datum), POINTER(Datum))
# Of a register against replays, not of a session: pointer, time_t, key and data, which are structures
AddFunction = ctypes.CFUNCTYPE(c_int, c_void_p, c_long, POINTER(Datum), POINTER(Datum))

_MALLOC: Final = ctypes.CFUNCTYPE(c_void_p, c_size_t)
_FREE: Final = ctypes.CFUNCTYPE(None, c_void_p)

# Name -> result, arguments
_FUNCTIONS: Final[dict[str, tuple[Any, tuple[Any, ...]]]] = {
    "check_version": (c_char_p, (c_char_p,)),
    "strerror": (c_char_p, (c_int,)),
    "error_is_fatal": (c_int, (c_int,)),
    "error_to_alert": (c_int, (c_int, POINTER(c_int))),
    # Sessions
    "init": (c_int, (POINTER(c_void_p), c_uint)),
    "deinit": (None, (c_void_p,)),
    "priority_set_direct": (c_int, (c_void_p, c_char_p, POINTER(c_char_p))),
    "credentials_set": (c_int, (c_void_p, c_int, c_void_p)),
    "server_name_set": (c_int, (c_void_p, c_int, c_void_p, c_size_t)),
    "alpn_set_protocols": (c_int, (c_void_p, POINTER(Datum), c_uint, c_uint)),
    "alpn_get_selected_protocol": (c_int, (c_void_p, POINTER(Datum))),
    "session_ext_register": (
        c_int,
        (c_void_p, c_char_p, c_int, c_int, c_void_p, c_void_p, c_void_p, c_void_p, c_void_p, c_uint),
    ),
    "buffer_append_data": (c_int, (c_void_p, c_void_p, c_size_t)),
    # The handshake
    "handshake_set_timeout": (None, (c_void_p, c_uint)),
    "handshake_set_secret_function": (None, (c_void_p, c_void_p)),
    "handshake_set_read_function": (None, (c_void_p, c_void_p)),
    "alert_set_read_function": (None, (c_void_p, c_void_p)),
    "session_set_keylog_function": (None, (c_void_p, c_void_p)),
    "session_set_verify_function": (None, (c_void_p, c_void_p)),
    "handshake": (c_int, (c_void_p,)),
    "handshake_write": (c_int, (c_void_p, c_int, c_char_p, c_size_t)),
    "cipher_get": (c_int, (c_void_p,)),
    "auth_get_type": (c_int, (c_void_p,)),
    "session_is_resumed": (c_int, (c_void_p,)),
    "session_get_random": (None, (c_void_p, POINTER(Datum), POINTER(Datum))),
    "certificate_get_peers": (POINTER(Datum), (c_void_p, POINTER(c_uint))),
    "certificate_server_set_request": (None, (c_void_p, c_int)),
    "prf_rfc5705": (c_int, (c_void_p, c_size_t, c_char_p, c_size_t, c_char_p, c_size_t, c_char_p)),
    # Resumption
    "session_set_data": (c_int, (c_void_p, c_char_p, c_size_t)),
    "session_get_data2": (c_int, (c_void_p, POINTER(Datum))),
    "session_ticket_enable_server": (c_int, (c_void_p, POINTER(Datum))),
    "session_ticket_send": (c_int, (c_void_p, c_uint, c_uint)),
    "db_set_cache_expiration": (None, (c_void_p, c_int)),
    "record_set_max_early_data_size": (c_int, (c_void_p, c_size_t)),
    "anti_replay_init": (c_int, (POINTER(c_void_p),)),
    "anti_replay_deinit": (None, (c_void_p,)),
    "anti_replay_set_window": (None, (c_void_p, c_uint)),
    "anti_replay_set_add_function": (None, (c_void_p, c_void_p)),
    "anti_replay_enable": (None, (c_void_p, c_void_p)),
    # Credentials
    "certificate_allocate_credentials": (c_int, (POINTER(c_void_p),)),
    "certificate_free_credentials": (None, (c_void_p,)),
    "certificate_set_x509_key_mem2": (
        c_int,
        (c_void_p, POINTER(Datum), POINTER(Datum), c_int, c_char_p, c_uint),
    ),
    "psk_allocate_client_credentials": (c_int, (POINTER(c_void_p),)),
    "psk_free_client_credentials": (None, (c_void_p,)),
    "psk_set_client_credentials2": (c_int, (c_void_p, POINTER(Datum), POINTER(Datum), c_int)),
    "psk_allocate_server_credentials": (c_int, (POINTER(c_void_p),)),
    "psk_free_server_credentials": (None, (c_void_p,)),
    "psk_set_server_credentials_function2": (None, (c_void_p, c_void_p)),
}


class Library:
    """GnuTLS's functions, as attributes without their prefix `gnutls_`."""

    def __init__(self, loaded: Any) -> None:
        for name, (result, arguments) in _FUNCTIONS.items():
            function = getattr(loaded, f"gnutls_{name}")
            function.restype, function.argtypes = result, arguments
            setattr(self, name, function)
        # These two are variables that hold the functions
        self.malloc = ctypes.cast(c_void_p.in_dll(loaded, "gnutls_malloc"), _MALLOC)
        self.free = ctypes.cast(c_void_p.in_dll(loaded, "gnutls_free"), _FREE)

    def __getattr__(self, name: str) -> Any:
        """Only for what is not there; it tells type checkers that the functions may be anything."""
        raise AttributeError(name)

    def check(self, result: int, what: str) -> int:
        """Return `result` unless it tells of an error. Raises QuicError saying `what` failed and why."""
        if result < 0:
            raise QuicError(f"GnuTLS: {what} failed: {self.explain(result)}")
        return result

    def explain(self, result: int) -> str:
        """Return GnuTLS's text for an error."""
        text: bytes = self.strerror(result)
        return text.decode()

    def take(self, owned: Datum) -> bytes:
        """Return what a datum holds that is ours to free, and free it."""
        data = owned.bytes()
        self.free(owned.data)
        return data


@cache
def load() -> Library:
    """Return the library. Raises ConfigError if it is not installed, or too old."""
    try:
        loaded = ctypes.CDLL(SONAME)
        check_version = loaded.gnutls_check_version
        check_version.restype, check_version.argtypes = _FUNCTIONS["check_version"]
        version, recent = check_version(None).decode(), check_version(OLDEST.encode()) is not None
    except (OSError, AttributeError) as error:
        raise ConfigError(f"GnuTLS can't be loaded ({error}): install {SONAME}, on Debian package {PACKAGE}") from None
    if not recent:
        raise ConfigError(f"GnuTLS {version} is too old: must be {OLDEST} or newer, on Debian package {PACKAGE}")
    return Library(loaded)
