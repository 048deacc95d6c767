"""ngtcp2's example programs with GnuTLS, from Debian: gtlsserver and gtlsclient."""

import shlex
import shutil
from collections.abc import Sequence
from ipaddress import ip_address
from pathlib import Path
from typing import ClassVar, Final
from urllib.parse import urlsplit

from quicsim.interop.peers.peer import CERTIFICATE, H3, KEY, Peer, Role, Setting

_BOTH: Final = frozenset(
    ("handshake", "transfer", "chacha20", "retry", "resumption", "zerortt", "http3", "ecn", "multiconnect")
)
_QUIET: Final = ("--quiet", "--no-quic-dump", "--no-http-dump")
# Small enough that a client on the rig always has a window update under way: gtlsclient sends nothing else that the
# server must acknowledge, and when a NAT rebinds, it is the client that has to notice and send first
_WINDOWS: Final = tuple(
    f"--{name}=96K" for name in ("max-data", "max-window", "max-stream-data-bidi-local", "max-stream-window")
)
_CHACHA20: Final = "--ciphers=NORMAL:-VERS-ALL:+VERS-TLS1.3:-CIPHER-ALL:+CHACHA20-POLY1305"
_PATIENCE: Final = "--handshake-timeout=60s"


class Ngtcp2(Peer):
    """ngtcp2 0.12: HTTP/3 only, of version 2 just a draft.

    For "connectionmigration" the parameters of a server's setting are its preferred address, such as "127.0.0.2:4434".
    """

    name: ClassVar = "ngtcp2"
    protocols: ClassVar = (H3,)
    testcases: ClassVar = {Role.CLIENT: _BOTH | {"keyupdate"}, Role.SERVER: _BOTH | {"connectionmigration"}}

    def missing(self) -> str | None:
        """See `Peer`."""
        found = _program("gtlsserver") and _program("gtlsclient")
        return None if found else "ngtcp2 (apt-get install ngtcp2-client ngtcp2-server)"

    def argv(self, role: Role, testcase: str, setting: Setting) -> tuple[str, ...]:
        """See `Peer`."""
        return (_server if role is Role.SERVER else _client)(testcase, setting)


def _program(name: str) -> str | None:
    return shutil.which(name) or shutil.which(name, path="/usr/sbin")  # which not everybody searches


def _server(testcase: str, setting: Setting) -> tuple[str, ...]:
    options = [*_QUIET, _PATIENCE, f"--htdocs={setting.www.resolve()}"]
    if testcase == "retry":
        options.append("--validate-addr")
    if testcase == "connectionmigration":
        version = ip_address(setting.host).version
        options.append(f"--preferred-ipv{version}-addr={setting.parameters}")
    certs = setting.certs.resolve()
    return (
        *(_program("gtlsserver") or "gtlsserver", *options),
        *(setting.host, str(setting.port), str(certs / KEY), str(certs / CERTIFICATE)),
    )


def _client(testcase: str, setting: Setting) -> tuple[str, ...]:
    """One program after the other in a shell where several connections are asked for; each must leave its files."""
    options = [*_QUIET, _PATIENCE, *_WINDOWS]
    groups: list[Sequence[str]] = [setting.requests]
    if testcase == "chacha20":
        options.append(_CHACHA20)
    if testcase == "keyupdate":
        options.append("--key-update=5ms")
    if testcase in ("resumption", "zerortt"):
        groups = [setting.requests[:1], setting.requests[1:]]
        options += ["--session-file=session.pem", "--tp-file=parameters.txt"]
        if testcase == "resumption":
            options.append("--disable-early-data")
    if testcase == "multiconnect":
        groups = [(url,) for url in setting.requests]
    script = " && ".join(f"{shlex.join(_fetch(urls, options, setting))} && {_came(urls, setting)}" for urls in groups)
    return "sh", "-c", script


def _fetch(urls: Sequence[str], options: Sequence[str], setting: Setting) -> list[str]:
    name = urlsplit(urls[0]).hostname or ""
    return [
        *(_program("gtlsclient") or "gtlsclient", *options, "--exit-on-all-streams-close"),
        *([f"--sni={name}"] if name.strip("0123456789.:") else []),
        *(f"--download={setting.downloads.resolve()}", setting.host, str(setting.port), *urls),
    ]


def _came(urls: Sequence[str], setting: Setting) -> str:
    """Say in shell whether all files are there: gtlsclient exits with 0 in any case."""
    paths = [str(setting.downloads.resolve() / Path(urlsplit(url).path).name) for url in urls]
    return f"ls {shlex.join(paths)} >/dev/null"
