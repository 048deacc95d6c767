"""Sessions and tokens that servers gave, kept in a file from one run of a command to the next."""

import base64
import json
import os
import time
from pathlib import Path
from typing import Any, Final

from quicsim.commands.exits import BAD_INPUT, Failure, of_writing
from stack.events import NewToken

# Ages of sessions are told by a clock that starts anew with the machine. The difference to the clock of the wall tells
# whether it has; the latter may be set a little meanwhile.
_MAX_CLOCK_CHANGE: Final = 30 * 10**9  # ns
_FORMAT: Final = 1


class SessionFile:
    """A JSON file with the newest session and token of each server, which serve one connection. It is a secret."""

    def __init__(self, path: Path) -> None:
        """Read what is there; a missing file is an empty one. Raises Failure for one that is something else."""
        self._path = path
        self._servers: dict[str, dict[str, Any]] = {}
        self._tokens: dict[str, dict[str, Any]] = {}
        try:
            content = json.loads(path.read_bytes())
            if content["format"] != _FORMAT:
                raise ValueError
            for name, entry in content["servers"].items():
                base64.b64decode(entry["session"], validate=True)
                self._servers[name] = {key: entry[key] for key in ("session", "version", "clock")}
            for name, entry in content.get("tokens", {}).items():
                base64.b64decode(entry["token"], validate=True)
                self._tokens[name] = {key: entry[key] for key in ("token", "version", "address", "port")}
        except FileNotFoundError:
            return
        except OSError as error:
            raise Failure(BAD_INPUT, f"{path}: can't be read: {error.strerror}") from None
        except (ValueError, KeyError, TypeError, AttributeError):
            raise Failure(BAD_INPUT, f"{path}: must be a file that --session has made, or none") from None

    def take(self, server: str, version: int) -> bytes | None:
        """Return, and forget, the session of `server` in a QUIC version, None if there is none from this boot."""
        entry = self._servers.get(server)
        if entry is None or entry["version"] != version or abs(entry["clock"] - _clock()) > _MAX_CLOCK_CHANGE:
            return None
        del self._servers[server]
        return base64.b64decode(entry["session"])

    def put(self, server: str, version: int, session: bytes) -> None:
        """Keep a session in place of an older one."""
        text = base64.b64encode(session).decode()
        self._servers[server] = {"session": text, "version": version, "clock": _clock()}

    def take_token(self, server: str, version: int) -> NewToken | None:
        """Return, and forget, the token of `server` in a QUIC version; None if there is none."""
        entry = self._tokens.get(server)
        if entry is None or entry["version"] != version:
            return None
        del self._tokens[server]
        return NewToken(base64.b64decode(entry["token"]), version, (entry["address"], entry["port"]))

    def put_token(self, server: str, token: NewToken) -> None:
        """Keep a token in place of an older one."""
        text = base64.b64encode(token.token).decode()
        address, port = token.server
        self._tokens[server] = {"token": text, "version": token.version, "address": address, "port": port}

    def save(self) -> None:
        """Write the file, readable by its owner alone. Raises Failure."""
        part = self._path.with_name(f".{self._path.name}.part")
        try:
            descriptor = os.open(part, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
            with os.fdopen(descriptor, "w", encoding="ascii") as file:
                json.dump({"format": _FORMAT, "servers": self._servers, "tokens": self._tokens}, file, indent=1)
                file.write("\n")
            part.replace(self._path)
        except OSError as error:
            raise of_writing(self._path, error) from None


def _clock() -> int:
    return time.time_ns() - time.monotonic_ns()
