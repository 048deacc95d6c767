"""quic-go 0.29, from Debian, with a program of ours that Go builds here at its first use."""

import os
import shutil
import subprocess
from hashlib import sha256
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import ClassVar, Final

from quicsim.interop.peers.peer import H3, HQ, Peer, Role, Setting

_SOURCE: Final = Path(__file__).parent / "quicgo" / "main.go"
_LIBRARIES: Final = Path("/usr/share/gocode")
_BOTH: Final = frozenset(
    ("handshake", "transfer", "chacha20", "retry", "resumption", "zerortt", "http3", "multiconnect")
)
# Its connections write to the address that the first packet came from, as long as they live
_NO_MIGRATION: Final = "quic-go 0.29 follows no client to another address"
LIMITS: Final = {Role.SERVER: {"BP": _NO_MIGRATION, "BA": _NO_MIGRATION}}
_BUILD_TIMEOUT: Final = 300  # seconds


class QuicGo(Peer):
    """quic-go 0.29: no ECN, of version 2 just a draft, no migration."""

    name: ClassVar = "quic-go"
    protocols: ClassVar = (HQ, H3)
    testcases: ClassVar = {Role.CLIENT: _BOTH | {"keyupdate"}, Role.SERVER: _BOTH}
    limits: ClassVar = LIMITS

    def missing(self) -> str | None:
        """See `Peer`."""
        if shutil.which("go") and (_LIBRARIES / "src/github.com/lucas-clemente/quic-go").is_dir():
            return None
        return "quic-go (apt-get install golang-go golang-github-lucas-clemente-quic-go-dev)"

    def argv(self, role: Role, testcase: str, setting: Setting) -> tuple[str, ...]:
        """See `Peer`. The first call builds the program; raises RuntimeError when that fails."""
        return (str(program()),)


def program() -> Path:
    """Return the program in the user's cache directory, built anew when its source has changed."""
    caches = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache")
    directory = caches / "quicsim" / "peers"
    built = directory / f"quicgo-{sha256(_SOURCE.read_bytes()).hexdigest()[:16]}"
    if built.exists():
        return built
    directory.mkdir(parents=True, exist_ok=True)
    with TemporaryDirectory(dir=directory) as temporary:
        new = Path(temporary, "quicgo")
        result = subprocess.run(
            ["go", "build", "-o", str(new), str(_SOURCE)],
            env={**os.environ, "GO111MODULE": "off", "GOPATH": f"{temporary}:{_LIBRARIES}", "GOFLAGS": ""},
            capture_output=True,
            text=True,
            timeout=_BUILD_TIMEOUT,
            check=False,
        )
        if result.returncode != 0:
            raise RuntimeError(f"{_SOURCE}: can't be built:\n{result.stderr}")
        new.replace(built)
    return built
