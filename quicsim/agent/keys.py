"""What an agent has, from TOML: certificates with their keys, pre-shared keys and roots, each by a serial number.

[[certificate]]
cert = 1                   # serial numbers, as in tls_handshake_args
privkey = 2
cert_file = "server.pem"   # chain, leaf first; paths are relative to this file
key_file = "server-key.pem"

[[psk]]
serial = 7
identity = "alice"
key = "00112233445566778899aabbccddeeff"
hash = "sha256"

[[trust]]
keyring = 0                # what requests name that name none
roots = "ca.pem"           # or: pinned = "server.pem"

[policy]                   # of all handshakes
groups = ["x25519mlkem768", "x25519"]
key_shares = 2             # in a ClientHello: of the first groups
"""

import tomllib
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Final

from quicsim.agent.messages import AcceptReply, AuthMode
from quicsim.certificates import load_authorities, load_credentials, load_pinned
from stack.errors import ConfigError
from stack.tls.certificates import Authorities, Credentials, Pinned
from stack.tls.config import DEFAULT_GROUPS
from stack.tls.groups import GROUPS, P256, P384, X25519, X25519MLKEM768
from stack.tls.psk import ExternalPsk

NOBODY: Final = Pinned(())
GROUP_NAMES: Final = {"x25519": X25519, "p256": P256, "p384": P384, "x25519mlkem768": X25519MLKEM768}

_FIELDS: Final[dict[str, dict[str, type]]] = {
    "certificate": {"cert": int, "privkey": int, "cert_file": str, "key_file": str},
    "psk": {"serial": int, "identity": str, "key": str, "hash": str},
    "trust": {"keyring": int, "roots": str, "pinned": str},
}


class NoKey(Exception):
    """A request names a key that the agent does not have."""


@dataclass(frozen=True, slots=True)
class Policy:
    """What an agent negotiates; see `groups` and `key_shares` of `ClientTls`. Raises ConfigError."""

    groups: tuple[int, ...] = DEFAULT_GROUPS
    key_shares: int = 1

    def __post_init__(self) -> None:
        if not self.groups or len(set(self.groups)) != len(self.groups) or not set(self.groups) <= GROUPS.keys():
            known = ", ".join(name for name, group in GROUP_NAMES.items() if group in GROUPS)
            raise ConfigError(f"groups: must be one or more of {known}, none twice")
        if not 1 <= self.key_shares <= len(self.groups):
            raise ConfigError(f"key_shares = {self.key_shares}: must be from 1 to the {len(self.groups)} groups")


@dataclass(frozen=True)
class Keys:
    """An agent's keys, and what it does with them. The first certificate is the one of requests that name none."""

    certificates: dict[tuple[int, int], Credentials] = field(default_factory=dict)
    psks: dict[int, ExternalPsk] = field(default_factory=dict)
    trust: dict[int, Authorities | Pinned] = field(default_factory=dict)
    policy: Policy = Policy()
    wall_clock: Callable[[], datetime] | None = None  # when certificates must be valid; None: when `trust` says

    def credentials_of(self, request: AcceptReply) -> Credentials:
        """Return what a request's side proves itself with. Raises NoKey."""
        if not request.certificates:
            for credentials in self.certificates.values():
                return credentials
            raise NoKey("the agent has no certificate")
        named = request.certificates[0]
        try:
            return self.certificates[named.cert, named.privkey]
        except KeyError:
            raise NoKey(f"the agent has no certificate {named.cert} with private key {named.privkey}") from None

    def psks_of(self, request: AcceptReply) -> tuple[ExternalPsk, ...]:
        """Return a request's pre-shared keys, all that there are if it names none. Raises NoKey."""
        missing = [serial for serial in request.peer_identities if serial not in self.psks]
        if missing or not self.psks:
            raise NoKey("the agent has no pre-shared key" + (f" {missing[0]}" if missing else ""))
        return tuple(self.psks[serial] for serial in request.peer_identities or self.psks)

    def trust_of(self, request: AcceptReply) -> Authorities | Pinned:
        """Return whom a request's side trusts; nobody's certificate where keys do it. Raises NoKey."""
        if request.auth_mode is AuthMode.PSK:
            return NOBODY
        trust = self.trust.get(request.keyring)
        if trust is None:
            raise NoKey(f"the agent has no keyring {request.keyring} to verify certificates with")
        if isinstance(trust, Authorities) and self.wall_clock is not None:
            return replace(trust, at=self.wall_clock())
        return trust


def load_keys(path: Path) -> Keys:
    """Read a TOML file and the PEM files that it names. Raises ConfigError."""
    try:
        tables = tomllib.loads(path.read_text())
    except OSError as error:
        raise ConfigError(f"{path} can't be read: {error.strerror}") from None
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise ConfigError(f"{path} is not TOML: {error}") from None
    keys = Keys(policy=_policy(tables.pop("policy", {}), f"{path}: policy"), wall_clock=_this_minute)
    for kind, entries in tables.items():
        if kind not in _FIELDS or not isinstance(entries, list):
            raise ConfigError(f"{path}: {kind}: must be [[certificate]], [[psk]], [[trust]] or [policy]")
        for index, entry in enumerate(entries):
            where = f"{path}: {kind}[{index}]"
            _check(entry, _FIELDS[kind], where)
            try:
                _add(keys, kind, entry, path.parent)
            except ConfigError as error:
                raise ConfigError(f"{where}: {error}") from None
    return keys


def _this_minute() -> datetime:
    """The time, in steps that let verified chains be remembered for a while."""
    return datetime.now(UTC).replace(second=0, microsecond=0)


def _check(entry: Any, known: dict[str, type], where: str) -> None:
    if not isinstance(entry, dict):
        raise ConfigError(f"{where}: must be a table")
    for name, value in entry.items():
        if name not in known:
            raise ConfigError(f"{where}.{name}: must be one of {', '.join(known)}")
        if type(value) is not known[name]:
            raise ConfigError(f"{where}.{name} = {value!r}: must be of type {known[name].__name__}")


def _policy(table: Any, where: str) -> Policy:
    _check(table, {"groups": list, "key_shares": int}, where)
    try:
        fields = dict(table)
        if "groups" in fields:
            fields["groups"] = tuple(GROUP_NAMES.get(str(name).lower(), 0) for name in fields["groups"])
        return Policy(**fields)
    except ConfigError as error:
        raise ConfigError(f"{where}.{error}") from None


def _add(keys: Keys, kind: str, entry: dict[str, Any], directory: Path) -> None:
    if kind == "certificate":
        _require(entry, "cert", "privkey", "cert_file", "key_file")
        credentials = load_credentials(directory / entry["cert_file"], directory / entry["key_file"])
        _put(keys.certificates, (entry["cert"], entry["privkey"]), credentials)
    elif kind == "psk":
        _require(entry, "serial", "identity", "key")
        try:
            key = bytes.fromhex(entry["key"])
        except ValueError:
            raise ConfigError("key: must be hexadecimal digits, two for each byte") from None
        _put(keys.psks, entry["serial"], ExternalPsk(entry["identity"].encode(), key, entry.get("hash", "sha256")))
    else:
        if ("roots" in entry) == ("pinned" in entry):
            raise ConfigError("must have either roots or pinned")
        keyring = entry.get("keyring", 0)
        if "roots" in entry:
            _put(keys.trust, keyring, load_authorities(directory / entry["roots"], _this_minute()))
        else:
            _put(keys.trust, keyring, load_pinned(directory / entry["pinned"]))


def _require(entry: dict[str, Any], *names: str) -> None:
    missing = [name for name in names if name not in entry]
    if missing:
        raise ConfigError(f"must have {', '.join(missing)}")


def _put(table: dict[Any, Any], serial: Any, value: Any) -> None:
    if serial in table:
        raise ConfigError(f"serial {serial}: must not be there twice")
    table[serial] = value
