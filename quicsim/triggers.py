"""Things that happen when something else does: a handshake is confirmed, so many bytes are sent."""

from collections.abc import Callable
from typing import Final

from links import Datagram
from links.units import size_in_bytes
from quicsim.host import SENT
from quicsim.observers import Silent
from stack.lifecycle import State
from stack.observer import ConnectionObserver, Observer

Happen = Callable[[int], object]  # called with the time in ns


class OnConfirmed(Observer):
    """Calls `happen(now)` once, when the first handshake of those it sees is confirmed (RFC 9001 section 4.1.2)."""

    def __init__(self, happen: Happen) -> None:
        self._happen: Happen | None = happen

    def connection(self, now: int, role: str, original_destination_cid: bytes) -> ConnectionObserver | None:
        """Look at another connection, unless it has happened."""
        return None if self._happen is None else _Confirmation(self)

    def confirmed(self, now: int) -> None:
        """A handshake is confirmed."""
        happen, self._happen = self._happen, None
        if happen is not None:
            happen(now)


class _Confirmation(Silent):
    def __init__(self, trigger: OnConfirmed) -> None:
        self._trigger: Final = trigger

    def connection_state(self, now: int, old: str, new: str) -> None:
        if new == State.CONFIRMED.value:
            self._trigger.confirmed(now)


class OnSent:
    """A tap that calls `happen(now)` once, when the host has sent `size` bytes of UDP payload (or text with a unit)."""

    def __init__(self, size: int | str, happen: Happen) -> None:
        self._left = size_in_bytes(size)
        self._happen: Happen | None = happen

    def __call__(self, host: str, now: int, direction: str, datagram: Datagram) -> None:
        if direction == SENT and self._happen is not None:
            self._left -= datagram.size
            if self._left <= 0:
                happen, self._happen = self._happen, None
                happen(now)
