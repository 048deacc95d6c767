"""Retry between our endpoint and aioquic's, both roles."""

import pytest

from stack.wire.header import RETRY, parse_long_header
from tests.interop.aioquic_memory import Drop, make_pair, seeded_loss

pytestmark = pytest.mark.peer("aioquic")


def watching(retries: list[bytes]) -> Drop:
    """Lose nothing, and note the Retry packets."""

    def drop(by_client: bool, index: int, data: bytes) -> bool:
        if data[0] & 0x80 and parse_long_header(data, 0, True).packet_type == RETRY:
            retries.append(data)
        return False

    return drop


@pytest.mark.requirement("rfc9000:8.1.2:1")
@pytest.mark.requirement("rfc9000:7.3:1")
def test_aioquic_connects_to_our_server_through_a_retry() -> None:
    retries: list[bytes] = []
    pair = make_pair("server", drop=watching(retries), config={"retry": "always", "new_token": True})
    pair.handshake()
    assert len(retries) == 1
    assert pair.ours.connection.path.validated
    stream_id = pair.client.open()
    pair.client.send(stream_id, b"x" * 20_000)
    pair.run(lambda: stream_id in pair.server.finished)
    assert pair.server.received[stream_id] == b"x" * 20_000


@pytest.mark.parametrize("seed", [None, 1, 2, 3])
@pytest.mark.requirement("rfc9000:8.1.2:1")
@pytest.mark.requirement("rfc9000:17.2.5.1:3")
def test_we_connect_to_aioquics_server_through_a_retry(seed: int | None) -> None:
    retries: list[bytes] = []
    lose = (lambda by_client, index, data: False) if seed is None else seeded_loss(0.1, seed)
    note = watching(retries)
    pair = make_pair("client", drop=lambda *datagram: bool(note(*datagram)) or lose(*datagram), their_retry=True)
    pair.handshake()
    assert retries
    assert pair.ours.connection.retry_source_cid == bytes(range(8))
    stream_id = pair.client.open()
    pair.client.send(stream_id, b"x" * 20_000)
    pair.run(lambda: stream_id in pair.server.finished)
    assert pair.server.received[stream_id] == b"x" * 20_000
