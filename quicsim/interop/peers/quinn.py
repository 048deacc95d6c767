"""quinn, as Deno has it, with a program of ours."""

import shutil
import sys
from dataclasses import replace
from pathlib import Path
from typing import ClassVar, Final

from quicsim.interop.peers.peer import HQ, Command, Peer, Role, Setting

_SOURCE: Final = Path(__file__).with_name("quinn.ts")
_BOTH: Final = frozenset(("handshake", "transfer", "resumption", "zerortt", "ecn", "multiconnect"))


class Quinn(Peer):
    """quinn 0.11 in Deno 2: version 1, no key log, no HTTP/3; its client verifies the certificate with ca.pem."""

    name: ClassVar = "quinn"
    protocols: ClassVar = (HQ,)
    testcases: ClassVar = {Role.CLIENT: _BOTH | {"retry"}, Role.SERVER: _BOTH | {"chacha20"}}
    limits: ClassVar = {
        Role.CLIENT: {
            "A": "quinn's verifier (webpki) takes no chain of nine certificates",
            "Z": "quinn's probes of the path's MTU count as payload of 1-RTT packets",
        }
    }

    def missing(self) -> str | None:
        """See `Peer`."""
        return None if _deno() else "Deno (pip install deno)"

    def argv(self, role: Role, testcase: str, setting: Setting) -> tuple[str, ...]:
        """See `Peer`."""
        return _deno() or "deno", "run", "--quiet", "--no-check", "--unstable-net", "--allow-all", str(_SOURCE)

    def command(self, role: Role, testcase: str, setting: Setting) -> Command:
        """See `Peer`; Deno keeps what it writes in the log directory, and asks nobody for updates."""
        command = super().command(role, testcase, setting)
        own = {"DENO_DIR": str(setting.logs.resolve() / "deno"), "DENO_NO_UPDATE_CHECK": "1"}
        return replace(command, env={**command.env, **own})


def _deno() -> str | None:
    """The program, which pip puts beside Python's own."""
    return shutil.which("deno", path=str(Path(sys.executable).parent)) or shutil.which("deno")
