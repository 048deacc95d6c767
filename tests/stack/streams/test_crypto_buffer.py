"""How much CRYPTO data waits for a gap to fill: TLS says how many bytes, and there is a bound on pieces."""

from typing import Any

import pytest

from quicsim.certificates import test_certificate
from stack.errors import CRYPTO_BUFFER_EXCEEDED
from stack.limits import MAX_CRYPTO_PIECES
from stack.randomness import Randomness
from stack.tls.config import ClientTls
from stack.tls.engine import Engine, LocalTransportParameters
from stack.wire.frames import encode_crypto_header
from tests.support.pair import Pair

ROOM = 5000


class ModestEngine:
    """An engine that wants no more than ROOM bytes to wait for it."""

    def __init__(self, engine: Engine) -> None:
        self._engine = engine

    def __getattr__(self, name: str) -> Any:
        return ROOM if name == "crypto_buffer" else getattr(self._engine, name)


class ModestTls:
    """A factory of modest engines, for clients."""

    def client(
        self, server_name: str | None, transport_parameters: LocalTransportParameters, rng: Randomness
    ) -> Engine:
        tls = ClientTls(trust=test_certificate())
        engine: Any = ModestEngine(tls.client(server_name, transport_parameters, rng))
        return engine  # type: ignore[no-any-return]  # it has what an Engine has

    def server(self, transport_parameters: LocalTransportParameters, rng: Randomness) -> Engine:
        raise NotImplementedError


def crypto(offset: int, data: bytes) -> bytes:
    return encode_crypto_header(offset, len(data)) + data


@pytest.mark.requirement("rfc9000:4:1")
def test_tls_says_how_much_may_wait_for_it() -> None:
    pair = Pair(client={"tls": ModestTls()})
    client, server = pair.established()
    taken = client.spaces[2].crypto.received
    pair.inject(server, crypto(taken + ROOM - 1, b"x"))
    assert client.closing.ended is None
    pair.inject(server, crypto(taken + ROOM, b"x"))
    assert client.closing.ended is not None
    assert client.closing.ended.code == CRYPTO_BUFFER_EXCEEDED


def test_crypto_data_in_tiny_pieces_closes_the_connection() -> None:
    pair = Pair()
    client, server = pair.established()
    taken = client.spaces[2].crypto.received
    for number in range(1, MAX_CRYPTO_PIECES + 1):
        pair.inject(server, crypto(taken + 2 * number, b"x"))
    assert client.closing.ended is None
    pair.inject(server, crypto(taken + 2 * MAX_CRYPTO_PIECES + 2, b"x"))
    assert client.closing.ended is not None
    assert client.closing.ended.code == CRYPTO_BUFFER_EXCEEDED
