"""Observers made of others: several in the place of one, and a base for those that need few hooks."""

from collections.abc import Callable, Sequence
from typing import Any, Final, cast

from stack.observer import ConnectionObserver, Observer


class Silent:
    """A ConnectionObserver that looks at nothing: the base of those that care about a few hooks only."""

    def ignore(self, *arguments: Any, **named: Any) -> None:
        """Do nothing, whatever the hook."""

    connection_started = version_selected = alpn_selected = parameters_set = secret = key_updated = ignore
    key_discarded = connection_state = datagrams_sent = datagram_received = packet_sent = ignore
    packet_received = packet_dropped = packet_buffered = packets_acked = packet_lost = ignore
    metrics_updated = congestion_state = loss_timer = stream_state = data_blocked = connection_closed = ignore
    packets_forgotten = data_moved = path_assigned = path_dropped = migration_state = ecn_state = mtu_updated = ignore
    spurious_loss = recovery_parameters = ignore


_HOOKS: Final = tuple(name for name, value in vars(Silent).items() if value is Silent.ignore and name != "ignore")


class Observers(Observer):
    """An Observer that shows everything to several others, in order."""

    def __init__(self, observers: Sequence[Observer]) -> None:
        self._observers: Final = tuple(observers)

    def connection(self, now: int, role: str, original_destination_cid: bytes) -> ConnectionObserver | None:
        """Return what shows a connection to those who want to see it; None when nobody does."""
        watching = [
            watcher
            for observer in self._observers
            if (watcher := observer.connection(now, role, original_destination_cid)) is not None
        ]
        if len(watching) > 1:
            return cast(ConnectionObserver, _FanOut(watching))  # it has every hook of the protocol
        return watching[0] if watching else None


class _FanOut:
    """Has each hook of ConnectionObserver; it calls those observers that do not ignore the hook."""

    def __init__(self, observers: Sequence[ConnectionObserver]) -> None:
        for hook in _HOOKS:
            calls = [
                getattr(observer, hook)
                for observer in observers
                if getattr(type(observer), hook, None) is not Silent.ignore
            ]
            setattr(self, hook, calls[0] if len(calls) == 1 else _each(calls))


def _each(calls: Sequence[Callable[..., None]]) -> Callable[..., None]:
    def call(*arguments: object) -> None:
        for one in calls:
            one(*arguments)

    return call
