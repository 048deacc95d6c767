"""How commands end: exit codes, and which failure gets which."""

import contextlib
import errno
from collections.abc import Iterator
from typing import Final

from rich.console import Console

from stack.errors import CONNECTION_REFUSED, CRYPTO_ERROR, ConfigError, ConnectionClosed, QuicError, StreamReset
from stack.tls import alerts

OK: Final = 0
FAILED: Final = 1  # the run itself failed, for none of the reasons below
BAD_INPUT: Final = 2  # a plan or an argument can't be used
UNREACHABLE: Final = 3  # no such host, no way to it, nobody listens there, or the server refuses connections
CERTIFICATE: Final = 4  # the server's certificate is not to be trusted
TIMEOUT: Final = 5  # no answer
NOT_FOUND: Final = 6  # the server has no such file, or gave it up midway
DISK_FULL: Final = 7
INTERRUPTED: Final = 130

_OF_CERTIFICATES: Final = {
    CRYPTO_ERROR + alert
    for alert in (
        alerts.BAD_CERTIFICATE,
        alerts.UNSUPPORTED_CERTIFICATE,
        alerts.CERTIFICATE_EXPIRED,
        alerts.UNKNOWN_CA,
    )
}
_NO_ROOM: Final = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)

errors: Final = Console(stderr=True, soft_wrap=True, highlight=False, markup=False, emoji=False)


class Failure(Exception):
    """A command can't do what it was asked for: the exit code, and a sentence for people."""

    def __init__(self, code: int, message: str) -> None:
        super().__init__(message)
        self.code = code


@contextlib.contextmanager
def connecting(server: str) -> Iterator[None]:
    """Raise Failure for what `Net.connect` raises, or the connection to `server` later."""
    try:
        yield
    except ConnectionClosed as error:
        raise _of_connection(server, error) from None
    except ConfigError as error:
        raise Failure(BAD_INPUT, f"{server}: {error}") from None
    except QuicError as error:
        raise Failure(FAILED, f"{server}: {error}") from None
    except OSError as error:
        raise Failure(UNREACHABLE, error.strerror or str(error)) from None


def _of_connection(server: str, error: ConnectionClosed) -> Failure:
    if error.idle:
        return Failure(TIMEOUT, f"{server}: no answer: {error}")
    if error.application and not error.remote:
        # No command closes before it is done: the network has said that nobody is there
        return Failure(UNREACHABLE, f"{server}: unreachable or closed")
    if not error.application and not error.remote and error.code in _OF_CERTIFICATES:
        return Failure(CERTIFICATE, f"{server}: the certificate is not trusted: {error.reason}")
    if not error.application and error.code == CONNECTION_REFUSED:
        return Failure(UNREACHABLE, f"{server}: {error}")
    return Failure(FAILED, f"{server}: {error}")


def of_stream(url: str, error: StreamReset) -> Failure:
    """The server gave a stream up."""
    return Failure(NOT_FOUND, f"{url}: not there, or given up by the server: {error}")


def of_writing(path: object, error: OSError) -> Failure:
    """A file can't be written."""
    return Failure(DISK_FULL if error.errno in _NO_ROOM else FAILED, f"{path}: can't be written: {error.strerror}")
