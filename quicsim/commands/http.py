"""HTTP/3 for commands: an extra, which may be missing."""

import importlib
from collections.abc import Callable, Coroutine
from typing import Any, Final

from quicsim.commands.exits import BAD_INPUT, FAILED, NOT_FOUND, UNREACHABLE, Failure
from quicsim.connection import Connection
from quicsim.net import Net
from stack.errors import StreamReset

H3_ALPN: Final = "h3"
H3_NO_ERROR: Final = 0x100  # how HTTP/3 calls a proper end
_NOT_TO_BE_HAD: Final = (403, 404, 410)  # status codes

Fetch = Callable[[str, str, Callable[[bytes], object]], Coroutine[Any, Any, int]]
"""Fetches a URL, whose path is given too, and hands over what comes; returns how many bytes that was."""


def require_h3() -> None:
    """Raises Failure where what `quicsim.h3` needs is not installed."""
    try:
        importlib.import_module("quicsim.h3")
    except ImportError as error:
        raise Failure(BAD_INPUT, f"--h3: {error}") from None


def h3_fetcher(net: Net, conn: Connection, host: str, port: int) -> Fetch:
    """Return what fetches URLs of one server over HTTP/3; it raises Failure when it has no such file."""
    from quicsim import h3

    name = f"[{host}]" if ":" in host else host
    client = h3.Client(net, conn, name if port == 443 else f"{name}:{port}")

    async def fetch(url: str, path: str, write: Callable[[bytes], object]) -> int:
        try:
            response, size = await h3.fetch(client, path, write)
        except h3.GoingAway as error:
            raise Failure(UNREACHABLE, f"{url}: {error}") from None
        except h3.H3StreamError as error:
            raise Failure(FAILED, f"{url}: the response can't be used: {error}") from None
        except StreamReset as error:
            raise Failure(NOT_FOUND, f"{url}: given up by the server: {h3.code_name(error.code)}") from None
        if response.status != h3.OK:
            code = NOT_FOUND if response.status in _NOT_TO_BE_HAD else FAILED
            where = f", {location}" if (location := response.field("location")) is not None else ""
            raise Failure(code, f"{url}: the server answers {response.phrase}{where}")
        return size

    return fetch
