"""ngtcp2's example programs with GnuTLS, from Debian: gtlsserver and gtlsclient."""

import shlex
import shutil
from ipaddress import ip_address
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
_RESUMED: Final = 'rm -f session.pem parameters.txt; first=$1; shift; fetch "$first"; fetch "$@"'
_CONNECTIONS: Final = {  # what the shell does; elsewhere it fetches all on one
    "resumption": _RESUMED,
    "zerortt": _RESUMED,
    "multiconnect": 'for each; do fetch "$each"; done',
}
_LATE_CHALLENGE: Final = (
    "ngtcp2 0.12's server at times acknowledges what comes from a new address before it challenges that"
)
_PATIENCE: Final = "--handshake-timeout=60s"


class Ngtcp2(Peer):
    """ngtcp2 0.12: HTTP/3 only, of version 2 just a draft.

    For "connectionmigration" the parameters of a server's setting are its preferred address, such as "127.0.0.2:4434".
    """

    name: ClassVar = "ngtcp2"
    protocols: ClassVar = (H3,)
    testcases: ClassVar = {Role.CLIENT: _BOTH | {"keyupdate"}, Role.SERVER: _BOTH | {"connectionmigration"}}
    limits: ClassVar = {Role.SERVER: dict.fromkeys(("BP", "BA"), _LATE_CHALLENGE)}

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
    """The program in a shell: more than once where several connections are asked for, and with 1 for what did not come.

    gtlsclient exits with 0 in any case. The URLs are the shell's arguments, since they may be thousands.
    """
    program = [_program("gtlsclient") or "gtlsclient", *_QUIET, _PATIENCE, *_WINDOWS, "--exit-on-all-streams-close"]
    if testcase == "chacha20":
        program.append(_CHACHA20)
    if testcase == "keyupdate":
        program.append("--key-update=5ms")
    if testcase in ("resumption", "zerortt"):
        program += ["--session-file=session.pem", "--tp-file=parameters.txt"]
    if testcase == "resumption":
        program.append("--disable-early-data")
    if testcase == "zerortt":
        program.append("--no-pmtud")  # its probes count as payload of 1-RTT packets, of which little is allowed
    name = urlsplit(setting.requests[0]).hostname if setting.requests else None
    if name is not None and not _is_address(name):
        program.append(f"--sni={name}")
    downloads = str(setting.downloads.resolve())
    program += [f"--download={downloads}", setting.host, str(setting.port)]
    script = f"""set -e
fetch() {{
    {shlex.join(program)} "$@"
    for url; do test -f {shlex.quote(downloads)}/"${{url##*/}}"; done
}}
{_CONNECTIONS.get(testcase, 'fetch "$@"')}"""
    return "sh", "-c", script, "sh", *setting.requests


def _is_address(name: str) -> bool:
    try:
        ip_address(name)
    except ValueError:
        return False
    return True
