"""HTTP/3 (RFC 9114) over a net's connections, with pylsqpack for QPACK: `pip install 'quicsim[h3]'`."""

from typing import Final

from quicsim.h3.client import Client, Response, fetch
from quicsim.h3.errors import Code, GoingAway, H3ConnectionError, H3Error, H3StreamError, code_name
from quicsim.h3.files import file_handler
from quicsim.h3.server import Handler, Request, Server

ALPN: Final = "h3"
OK: Final = 200  # the status of a response that has what was asked for

__all__ = [
    "ALPN",
    "OK",
    "Client",
    "Code",
    "GoingAway",
    "H3ConnectionError",
    "H3Error",
    "H3StreamError",
    "Handler",
    "Request",
    "Response",
    "Server",
    "code_name",
    "fetch",
    "file_handler",
]
