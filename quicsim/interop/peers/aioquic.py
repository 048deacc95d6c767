"""aioquic, from PyPI."""

import sys
from importlib.util import find_spec
from pathlib import Path
from typing import ClassVar, Final

from quicsim.interop.peers.peer import H3, HQ, Peer, Role, Setting

_ENDPOINT: Final = Path(__file__).with_name("asyncio_endpoint.py")
_BOTH: Final = frozenset(
    ("handshake", "transfer", "chacha20", "retry", "resumption", "zerortt", "http3", "multiconnect", "v2")
)


class Aioquic(Peer):
    """aioquic: no ECN, no migration by the client."""

    name: ClassVar = "aioquic"
    protocols: ClassVar = (HQ, H3)
    testcases: ClassVar = {Role.CLIENT: _BOTH | {"keyupdate"}, Role.SERVER: _BOTH}

    def missing(self) -> str | None:
        """See `Peer`."""
        return None if find_spec(self.name) else f"{self.name} (pip install {self.name})"

    def argv(self, role: Role, testcase: str, setting: Setting) -> tuple[str, ...]:
        """See `Peer`."""
        return sys.executable, "-P", str(_ENDPOINT), self.name
