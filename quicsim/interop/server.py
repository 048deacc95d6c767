"""Our server for the test cases of the interop runner, on any net."""

from pathlib import Path
from typing import Any, Final

from quicsim import hq
from quicsim.files import Files, Served
from quicsim.interop.cases import HQ
from quicsim.net import Net
from stack.tls.certificates import Credentials
from stack.tls.schedule import CHACHA20_POLY1305_SHA256
from stack.wire.versions import VERSION_1, VERSION_2

_TICKETS: Final[dict[str, Any]] = {"tickets": 2}
OPTIONS: Final[dict[str, dict[str, Any]]] = {
    "handshake": {},
    "transfer": {},
    "multiplexing": {},
    "chacha20": {"suites": (CHACHA20_POLY1305_SHA256,)},
    "retry": {"retry": "always"},
    "resumption": _TICKETS,
    "zerortt": _TICKETS | {"early_data": True},
    "http3": {},
    "multiconnect": {},
    "keyupdate": {},
    "ecn": {},
    "ipv6": {},
    "v2": {"versions": (VERSION_2, VERSION_1)},
    "rebind-port": {},
    "rebind-addr": {},
    "connectionmigration": {},
}
TESTCASES: Final = frozenset(OPTIONS)


async def serve(
    net: Net,
    testcase: str,
    root: Path,
    credentials: Credentials,
    *,
    port: int,
    protocol: str = HQ,
    **options: Any,
) -> None:
    """Serve the files below `root` for ever, as `testcase` asks for; `options` go to `Net.listen`."""
    listener = await net.listen(port, credentials, alpn=(protocol,), **{"retry": "never"} | OPTIONS[testcase] | options)
    if protocol == HQ:
        await hq.serve(net, listener, root, _ignore)
    else:
        from quicsim import h3  # an extra, which only this needs

        await h3.Server(net, h3.file_handler(net, Files(root), _ignore)).serve(listener)


def _ignore(_: Served) -> None:
    """Nobody wants to know what was served."""
