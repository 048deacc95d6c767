"""The paths of a connection, and the frames that validate them (RFC 9000 sections 8.2 and 9)."""

from collections.abc import Callable
from typing import TYPE_CHECKING, Final, Protocol

from stack.limits import MAX_PATH_RESPONSES, MAX_PATHS
from stack.observer import Address
from stack.path.connection_ids import RemoteConnectionIds
from stack.path.path import Path
from stack.recovery.acknowledgments import NEVER
from stack.wire.frames import PATH_DATA_LENGTH
from stack.wire.varint import Truncated

if TYPE_CHECKING:
    from stack.dispatch import ReceivedPacket

KEEP_PTOS: Final = 3  # how long a path that is not used any more still receives what was under way on it


class PathWatcher(Protocol):
    """Learns how validations end, and of paths that come and go."""

    def on_validated(self, path: Path, now: int) -> None:
        """The peer receives at the path's remote address, and full-sized datagrams."""

    def on_failed(self, path: Path, now: int) -> None:
        """No answer came in time."""

    def on_added(self, path: Path, now: int) -> None:
        """The path belongs to the connection now."""

    def on_dropped(self, path: Path, now: int) -> None:
        """The path is forgotten."""


class Paths:
    """All paths; `active` is the one that new packets take.

    `owed` tells the sender that a path owes a PATH_CHALLENGE or PATH_RESPONSE; `timer_at` when `on_timeout` is due.
    """

    __slots__ = (
        "_remote_ids",
        "_watcher",
        "active",
        "all",
        "make",
        "owed",
        "pto_ns",
        "several",
        "timer_at",
        "validating",
    )

    def __init__(
        self,
        first: Path,
        make: Callable[[Address, Address], Path],
        remote_ids: RemoteConnectionIds,
        pto_ns: Callable[[], int],
    ) -> None:
        """`make` returns a fresh path for a local and a remote address; `pto_ns` gives the current PTO."""
        self.active = first
        self.all = [first]
        self.several = False
        self.validating = False
        self.make = make
        self.pto_ns = pto_ns
        self._remote_ids = remote_ids
        self._watcher: PathWatcher | None = None
        self.owed = False
        self.timer_at = NEVER

    def watch(self, watcher: PathWatcher) -> None:
        """Tell `watcher` what happens to paths."""
        self._watcher = watcher

    def find(self, local: Address, remote: Address) -> Path | None:
        """The path between two addresses, if there is one."""
        for path in self.all:
            if path.local == local and path.remote == remote:
                return path
        return None

    def add(self, path: Path, now: int) -> bool:
        """Make `path` one of the connection's, with a connection ID of its own; false when there is none for it."""
        if path in self.all:
            return True
        spare = self._remote_ids.assign()
        if spare is not None:
            path.remote_id = spare
        elif not self._may_share(path):
            return False
        if len(self.all) >= MAX_PATHS:
            idle = [other for other in self.all if other is not self.active]
            self.drop(min(idle, key=lambda other: (other.validated, other.drop_at)), now)
        self.all.append(path)
        self.several = True
        if self._watcher is not None:
            self._watcher.on_added(path, now)
        return True

    def _may_share(self, path: Path) -> bool:
        """Whether the active path's ID may go to another address (rfc9000:9.5:4): the peer did not change its own."""
        active = self.active
        return path.local == active.local and path.destination_cid == active.destination_cid

    def drop(self, path: Path, now: int) -> None:
        """Forget a path, and retire its connection ID unless another path has the same."""
        self.all.remove(path)
        self.several = len(self.all) > 1
        path.validation.stop()
        path.drop_at = NEVER
        if all(other.remote_id is not path.remote_id for other in self.all):
            self._remote_ids.release(path.remote_id)
        if self._watcher is not None:
            self._watcher.on_dropped(path, now)
        self._set_timer()

    def activate(self, path: Path) -> None:
        """Send on `path` from now on."""
        self.active = path
        self._remote_ids.active = path.remote_id
        path.drop_at = NEVER
        self._set_timer()

    def expire(self, path: Path, now: int) -> None:
        """Forget a path that is not used any more, when what was under way on it must have come.

        Later calls do not put that off: a path is kept no longer for moves that do not concern it.
        """
        path.drop_at = min(path.drop_at, now + KEEP_PTOS * max(path.rtt.pto_ns(0), self.pto_ns()))
        self._set_timer()

    # Validation

    def validate(self, path: Path, now: int) -> None:
        """Start the validation of a path, or its full-sized second part."""
        path.validation.start(self.pto_ns(), now)
        self.owed = True
        self._set_timer()

    def on_challenge_frame(self, payload: bytes, position: int, frame_type: int, packet: "ReceivedPacket") -> int:
        """PATH_CHALLENGE: owe the echo of its data on the same path (rfc9000:8.2.2:1, rfc9000:8.2.2:3)."""
        end = position + PATH_DATA_LENGTH
        if end > len(payload):
            raise Truncated("PATH_CHALLENGE ends inside its data")
        path = packet.path
        if len(path.responses) < MAX_PATH_RESPONSES and self.add(path, packet.now):
            path.responses.append(payload[position:end])
            self.owed = True
        return end

    def on_response_frame(self, payload: bytes, position: int, frame_type: int, packet: "ReceivedPacket") -> int:
        """PATH_RESPONSE: on whatever path it comes, it validates the one that its challenge took (rfc9000:8.2.2:4).

        One that answers nothing is ignored (rfc9000:19.18:1 leaves the choice).
        """
        end = position + PATH_DATA_LENGTH
        if end > len(payload):
            raise Truncated("PATH_RESPONSE ends inside its data")
        data = payload[position:end]
        for path in self.all:
            full_sized = path.validation.on_response(data)
            if full_sized is not None:
                path.validated = True
                if full_sized:
                    path.validation.stop()
                    self._set_timer()
                    if self._watcher is not None:
                        self._watcher.on_validated(path, packet.now)
                else:
                    self.validate(path, packet.now)  # rfc9000:8.2.1:6, rfc9000:8.2.3:1
                break
        return end

    # Time

    def on_timeout(self, now: int) -> None:
        """Send the next challenge, give up a validation, or forget a path."""
        for path in list(self.all):
            if path not in self.all:
                continue
            validation = path.validation
            if validation.fails_at <= now:
                validation.stop()
                if self._watcher is not None:
                    self._watcher.on_failed(path, now)
            elif validation.resend_at <= now:
                validation.on_due()
                self.owed = True
            elif path.drop_at <= now:
                self.drop(path, now)
        self._set_timer()

    def on_sent(self) -> None:
        """The sender has sent what it could of what is owed."""
        self.owed = any(path.validation.owed or path.responses for path in self.all)
        self._set_timer()

    def on_received(self, now: int) -> None:
        """Something came while a path is being validated."""
        for path in self.all:
            path.validation.adapt(path.rtt, now)
        self._set_timer()

    def _set_timer(self) -> None:
        self.validating = any(path.validation.under_way for path in self.all)
        self.timer_at = min(min(path.drop_at, path.validation.resend_at, path.validation.fails_at) for path in self.all)
