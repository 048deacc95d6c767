"""Which path a connection uses: its own moves, the peer's, and the server's preferred address (RFC 9000 section 9)."""

from typing import TYPE_CHECKING, Final

from stack.errors import NO_VIABLE_PATH, MigrationError
from stack.events import PathChanged, PathFailed, PathValidated
from stack.observer import Address
from stack.path.path import Path
from stack.path.paths import Paths
from stack.sent_frame import SentFrame
from stack.wire.decoded_frames import (
    NewConnectionIdFrame,
    PaddingFrame,
    PathChallengeFrame,
    PathResponseFrame,
    decode_frames,
)
from stack.wire.frames import PING
from stack.wire.parameters import PreferredAddress

if TYPE_CHECKING:
    from stack.connection import Connection

_PROBING_FRAMES: Final = (PathChallengeFrame, PathResponseFrame, NewConnectionIdFrame, PaddingFrame)  # section 9.1
_PING_KEY: Final = 0


def is_probing(payload: bytes) -> bool:
    """Whether a packet with these frames only probes a path (RFC 9000 section 9.1)."""
    return all(isinstance(frame, _PROBING_FRAMES) for frame in decode_frames(payload))


def same_family(one: Address, other: Address) -> bool:
    """Whether both addresses are of IPv4, or both of IPv6."""
    return (":" in one[0]) == (":" in other[0])


def is_loopback(address: Address) -> bool:
    """Whether datagrams to this address stay in the host."""
    return address[0] == "::1" or address[0].startswith("127.")


class Migration:
    """Decides when the connection changes its path; `Paths` holds the paths and validates them."""

    __slots__ = ("_connection", "_fallback", "_left_at", "_original_remote", "_paths", "_preferred", "_waiting")

    def __init__(self, connection: "Connection", paths: Paths) -> None:
        self._connection = connection
        self._paths = paths
        self._original_remote = paths.active.remote
        self._fallback: Path | None = None  # the last validated path, while the active one is not validated
        # Paths to change to as soon as they are validated; of several the first that can be, is taken
        self._waiting: list[Path] = []
        self._preferred: PreferredAddress | None = None  # of the server, while it was not tried
        self._left_at: tuple[Address, int] | None = None  # server: its address that is not used any more, since when

    # This side moves

    def migrate(self, local: Address, probe: bool, now: int) -> None:
        """Move to another local address: once the path is validated, or at once (RFC 9000 sections 9.1 and 9.2).

        Raises MigrationError.
        """
        connection, paths = self._connection, self._paths
        parameters = connection.parameters.peer
        if not connection.handshake_confirmed or parameters is None:
            raise MigrationError("the handshake is not confirmed yet")  # rfc9000:9:1
        if local == paths.active.local:
            raise MigrationError(f"{local} is the address in use")
        if not connection.is_client:
            raise MigrationError("only clients migrate; a server announces a preferred address")
        on_preferred = paths.active.remote != self._original_remote
        if parameters.disable_active_migration and not on_preferred:
            raise MigrationError("the server has disabled active migration")  # rfc9000:9:2, rfc9000:18.2:3
        if connection.remote_ids.current == b"":
            raise MigrationError("the server uses no connection IDs, so that observers could link the paths")
        targets = [paths.active.remote] if same_family(local, paths.active.remote) else []
        preferred = self._preferred_remote(local)
        if preferred is not None and preferred not in targets:
            targets.insert(0, preferred)  # rfc9000:9.6.3:1, rfc9000:9.6.3:6
        if not targets:
            raise MigrationError(f"the server has no address of the family of {local}")
        added = [path for path in (self._add(local, target, now) for target in targets) if path is not None]
        if not added:
            # rfc9000:9.5:2
            raise MigrationError("the server has given no spare connection ID yet")
        self._abandon_waiting(now)
        if probe:
            self._waiting = added
        for path in added:
            self._validate(path, now)
        if not probe:
            self._change(added[-1], now)

    def on_confirmed(self, now: int) -> None:
        """A client now validates a path to the server's preferred address (rfc9000:9.6.1:2, rfc9000:9.6.2:1)."""
        connection = self._connection
        parameters = connection.parameters.peer
        if not connection.is_client or parameters is None or parameters.preferred_address is None:
            return
        self._preferred = parameters.preferred_address
        if not connection.config.use_preferred_address:
            return
        local = self._paths.active.local
        remote = self._preferred_remote(local)
        if remote is None or (is_loopback(remote) and not is_loopback(local)):
            return  # rfc9000:21.5.6:2
        path = self._add(local, remote, now)
        if path is not None:
            self._waiting = [path]
            self._validate(path, now)

    def _preferred_remote(self, local: Address) -> Address | None:
        preferred = self._preferred
        if preferred is None:
            return None
        return preferred.ipv6 if ":" in local[0] else preferred.ipv4

    def _add(self, local: Address, remote: Address, now: int) -> Path | None:
        paths = self._paths
        path = paths.find(local, remote)
        if path is None:
            path = paths.make(local, remote)
            if not paths.add(path, now):
                return None
        return path

    def _abandon_waiting(self, now: int) -> None:
        for path in self._waiting:
            if path in self._paths.all and path is not self._paths.active:
                self._paths.drop(path, now)
        self._waiting = []

    # The peer moves

    def arrival(self, local: Address, remote: Address) -> Path | None:
        """The path of a datagram that did not come on the active one; None when it must be dropped.

        A client knows the addresses of its server (rfc9000:9:7, rfc9000:9.6:1); a server's client may appear anywhere
        once the handshake is confirmed. The path is remembered only when an authentic packet asks for that.
        """
        path = self._paths.find(local, remote)
        if path is None and not self._connection.is_client and self._connection.handshake_confirmed:
            path = self._paths.make(local, remote)
        return path

    def refuses(self, path: Path, packet_number: int) -> bool:
        """Whether a packet came too late to an address that the server has left (rfc9000:9.6.2:4)."""
        left = self._left_at
        return left is not None and path.local == left[0] and packet_number > left[1]

    def on_packet(self, path: Path, packet_number: int, payload: bytes, now: int) -> None:
        """An authentic 1-RTT packet was processed that did not come on the active path."""
        paths, connection = self._paths, self._connection
        if connection.is_client:
            return  # a server does not move but by its preferred address
        known = path in paths.all
        if is_probing(payload):
            if known and not path.validated and not path.validation.under_way:
                self._validate(path, now)  # rfc9000:9.6.3:5
            return
        # An attacker can delay and repeat packets, but none that he sends is the newest: RFC 9000 section 9.3.3
        if packet_number != connection.spaces[2].acks.largest_received or not paths.add(path, now):
            return
        if not path.validated and not path.validation.under_way:
            self._validate(path, now)  # rfc9000:9:4, rfc9000:9.3:1
        if path.local != paths.active.local and not path.validated:
            self._waiting = [path]  # rfc9000:9.6.2:2
            return
        self._follow(path, now)

    def _follow(self, path: Path, now: int) -> None:
        """A server sends to where its client is now."""
        old = self._paths.active
        if path.local != old.local:
            self._left_at = (old.local, self._connection.spaces[2].acks.largest_received)
        elif old.validated and not old.validation.under_way:  # else each turn of a peer would cost a full datagram
            self._validate(old, now)  # rfc9000:9.3.3:1
        self._change(path, now)

    # How it ends

    def on_added(self, path: Path, now: int) -> None:
        """Packets with the path's addresses belong to this connection."""
        trace = self._connection.trace
        if trace is not None:
            trace.path_assigned(now, path.number, path.local, path.remote)
        self._connection.endpoint.watch_path(self._connection, path.local, path.remote)

    def on_dropped(self, path: Path, now: int) -> None:
        """They do no more."""
        if self._connection.trace is not None:
            self._connection.trace.path_dropped(now, path.number)
        if path is self._fallback:
            self._fallback = None
        if path in self._waiting:
            self._waiting.remove(path)
        self._connection.endpoint.unwatch_path(self._connection, path.local, path.remote)
        self._connection.recovery.forget_path(path, now)

    def on_validated(self, path: Path, now: int) -> None:
        """A path works: use it if it waited for that, and forget those that are not needed any more."""
        paths, connection = self._paths, self._connection
        connection.emit(PathValidated(path.local, path.remote))
        self._trace(now, "migration_complete" if path is paths.active else "probing_successful", path)
        if self._waiting and path is self._waiting[0]:
            self._waiting.pop(0)
            self._abandon_waiting(now)  # rfc9000:9.6.3:2
            if connection.is_client:
                self._change(path, now)  # rfc9000:9.6.1:3
            else:
                self._follow(path, now)
        if path is paths.active:
            self._fallback = None
            if not connection.is_client:
                connection.new_tokens.offer(now)  # rfc9000:9.3:4
            for other in paths.all:
                if other is not path and not other.validation.under_way and other not in self._waiting:
                    paths.expire(other, now)
        elif path not in self._waiting and path is not self._fallback:
            paths.expire(path, now)

    def on_failed(self, path: Path, now: int) -> None:
        """A path does not work: stay with, or go back to, the last validated one (rfc9000:9.3.2:1, rfc9000:9.6.1:4)."""
        paths, connection = self._paths, self._connection
        connection.emit(PathFailed(path.local, path.remote))
        self._trace(now, "migration_abandoned" if path is paths.active else "probing_abandoned", path)
        if path is paths.active:
            fallback = self._fallback
            if fallback is None:
                self._end(path, now)
                return
            self._change(fallback, now)
            self._fallback = None
        first = bool(self._waiting) and path is self._waiting[0]
        paths.drop(path, now)
        if first and self._waiting and not self._waiting[0].validation.under_way:
            self.on_validated(self._waiting[0], now)  # rfc9000:9.6.3:3 this one was validated meanwhile

    def _end(self, path: Path, now: int) -> None:
        """No path is left: say so if datagrams of some size do get through, else leave silently (rfc9000:9.3.2:2)."""
        closing = self._connection.closing
        reason = "no path to the peer is left"
        if path.validated:
            closing.close(NO_VIABLE_PATH, reason, False, now)
        else:
            closing.abandon(NO_VIABLE_PATH, reason, now)
            closing.expires_at = now

    def _change(self, path: Path, now: int) -> None:
        """Send on another path from now on."""
        paths, connection = self._paths, self._connection
        old = paths.active
        if path is old:
            return
        if old.validated:
            self._fallback = old
        if path.local == old.local and path.remote[0] == old.remote[0]:
            self._retain_estimates(old, path)
        paths.activate(path)
        connection.discover_mtu(path)
        self._trace(now, "migration_started", path)
        if path.validated and not path.validation.under_way:
            self._trace(now, "migration_complete", path)
            paths.expire(old, now)
        connection.recovery.on_path_changed(now)
        if connection.is_client:
            connection.control.owe(self, _PING_KEY)  # the server follows only what is no probe
        connection.emit(PathChanged(path.local, path.remote))

    def _validate(self, path: Path, now: int) -> None:
        self._trace(now, "probing_started", path)
        self._paths.validate(path, now)

    def _trace(self, now: int, state: str, path: Path) -> None:
        if self._connection.trace is not None:
            self._connection.trace.migration_state(now, state, path.number)

    def _retain_estimates(self, old: Path, new: Path) -> None:
        """Only the port changed, as NATs do: go on with the window and round-trip time (rfc9000:9.4:3)."""
        new.take_over(old)
        for packet in self._connection.spaces[2].sent:
            if packet.path is old:
                packet.path = new

    # The PING that tells the server

    def write_frame(self, key: int) -> bytes:
        """PING."""
        return bytes((PING,))

    def on_acked(self, sent: SentFrame, now: int) -> None:
        """The server has seen it."""

    def on_lost(self, sent: SentFrame, now: int) -> None:
        """It must see it."""
        self._connection.control.owe(self, sent[1])
