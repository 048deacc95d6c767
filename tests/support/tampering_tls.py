"""A TLS engine factory whose handshake messages are changed on their way out, unknown to the engine that made them."""

from collections import deque
from collections.abc import Callable
from typing import Any

from stack.randomness import Randomness
from stack.tls.engine import Engine, Event, HandshakeBytes, LocalTransportParameters

Change = Callable[[int, int, bytes], tuple[int, bytes]]
"""Of the encryption level, the type and the whole of a message; returns its new level and what is sent instead."""


class TamperingTls:
    """Makes the engines of `factory`, and lets `change` see each message that they send before the transport does."""

    def __init__(self, factory: Any, change: Change) -> None:
        self._factory = factory
        self._change = change

    def client(
        self, server_name: str | None, transport_parameters: LocalTransportParameters, rng: Randomness
    ) -> Engine:
        engine: Engine = _Tampering(self._factory.client(server_name, transport_parameters, rng), self._change)
        return engine

    def server(self, transport_parameters: LocalTransportParameters, rng: Randomness) -> Engine:
        engine: Engine = _Tampering(self._factory.server(transport_parameters, rng), self._change)
        return engine


class _Tampering:
    def __init__(self, engine: Engine, change: Change) -> None:
        self._engine = engine
        self._change = change
        self._events: deque[Event] = deque()

    def __getattr__(self, name: str) -> Any:
        return getattr(self._engine, name)

    def next_event(self) -> Event | None:
        while not self._events:
            event = self._engine.next_event()
            if not isinstance(event, HandshakeBytes):
                return event
            position = 0
            while position < len(event.data):
                end = position + 4 + int.from_bytes(event.data[position + 1 : position + 4])
                message = event.data[position:end]
                self._events.append(HandshakeBytes(*self._change(event.level, message[0], message)))
                position = end
        return self._events.popleft()
