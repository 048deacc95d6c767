"""Caddy, a web server on quic-go, from Debian."""

import shutil
from dataclasses import replace
from pathlib import Path
from typing import ClassVar, Final

from quicsim.interop.peers.peer import H3, Command, Peer, Role, Setting
from quicsim.interop.peers.quicgo import LIMITS

_CONFIGURATION: Final = Path(__file__).with_name("Caddyfile")


class Caddy(Peer):
    """Caddy 2.6: a server of HTTP/3, as people run it; it writes no key log, and asks for no Retry."""

    name: ClassVar = "caddy"
    protocols: ClassVar = (H3,)
    testcases: ClassVar = {
        Role.SERVER: frozenset(("handshake", "transfer", "chacha20", "resumption", "zerortt", "http3", "multiconnect"))
    }
    limits: ClassVar = LIMITS

    def missing(self) -> str | None:
        """See `Peer`."""
        return None if shutil.which("caddy") else "Caddy (apt-get install caddy)"

    def argv(self, role: Role, testcase: str, setting: Setting) -> tuple[str, ...]:
        """See `Peer`."""
        return "caddy", "run", "--config", str(_CONFIGURATION), "--adapter", "caddyfile"

    def command(self, role: Role, testcase: str, setting: Setting) -> Command:
        """See `Peer`; Caddy keeps what it writes in the log directory."""
        command = super().command(role, testcase, setting)
        home = str(setting.logs.resolve())
        names = ("HOME", "XDG_CONFIG_HOME", "XDG_DATA_HOME")
        return replace(command, env={**command.env, **dict.fromkeys(names, home)})
