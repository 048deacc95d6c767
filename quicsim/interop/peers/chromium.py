"""Chromium, from Debian."""

import shutil
import sys
from pathlib import Path
from typing import ClassVar, Final

from quicsim.interop.peers.peer import H3, Peer, Role, Setting

_ENDPOINT: Final = Path(__file__).with_name("chromium_endpoint.py")
_OWN_MOVES: Final = (
    "Chromium at times also tries another port of its own accord, and the queue may take the server's challenge to that"
)


class Chromium(Peer):
    """Chromium: a client of HTTP/3, as people use it. Its files pass through the text of a page."""

    name: ClassVar = "chromium"
    protocols: ClassVar = (H3,)
    testcases: ClassVar = {Role.CLIENT: frozenset(("handshake", "transfer", "retry", "http3"))}
    limits: ClassVar = {
        Role.CLIENT: {
            "A": "Chromium's ClientHello with its post-quantum key takes two datagrams; the network drops the second "
            "and the five with which Chromium repeats it, before it gives up after 4 s",
            **dict.fromkeys(("BP", "BA"), _OWN_MOVES),
        }
    }

    def missing(self) -> str | None:
        """See `Peer`."""
        return None if shutil.which("chromium") else "Chromium (apt-get install chromium)"

    def argv(self, role: Role, testcase: str, setting: Setting) -> tuple[str, ...]:
        """See `Peer`."""
        return sys.executable, "-P", str(_ENDPOINT)
