"""Migration between our endpoint and aioquic's: its client moved by a NAT, our client by itself."""

import pytest

from stack.events import PathChanged, PathValidated
from tests.interop.aioquic_memory import CLIENT, MILLISECOND, SERVER, content, make_pair, seeded_loss

pytestmark = pytest.mark.peer("aioquic")

DATA = content(300_000, 9)
SECOND_ADDRESS = ("10.0.1.1", 1111)


@pytest.mark.parametrize("loss", [0, 0.03])
@pytest.mark.parametrize("address", [("10.0.0.1", 50_001), ("10.9.9.9", 50_000)])
@pytest.mark.requirement("rfc9000:9.3:1")
def test_aioquics_client_may_be_rebound_during_a_transfer(address: tuple[str, int], loss: float) -> None:
    pair = make_pair("server", drop=seeded_loss(loss, 4))
    pair.handshake()
    upload, download = pair.theirs.open(), pair.ours.open()
    pair.theirs.send(upload, DATA)
    pair.ours.send(download, DATA)
    pair.link.settle(30 * MILLISECOND)
    pair.theirs.address = address
    pair.run(lambda: upload in pair.ours.finished and download in pair.theirs.finished)
    assert pair.ours.received[upload] == DATA
    assert pair.theirs.received[download] == DATA
    assert pair.ours.connection.path.remote == address
    assert PathValidated(SERVER, address) in pair.ours.events


@pytest.mark.parametrize("probe", [True, False])
@pytest.mark.parametrize("loss", [0, 0.03])
def test_our_client_moves_during_a_transfer_with_aioquics_server(probe: bool, loss: float) -> None:
    pair = make_pair("client", drop=seeded_loss(loss, 4))
    pair.handshake()
    pair.link.settle(100 * MILLISECOND)
    upload, download = pair.ours.open(), pair.theirs.open()
    pair.ours.send(upload, DATA)
    pair.theirs.send(download, DATA)
    pair.link.settle(30 * MILLISECOND)
    pair.ours.connection.migrate(SECOND_ADDRESS, pair.link.now, probe)
    pair.run(lambda: upload in pair.theirs.finished and download in pair.ours.finished)
    assert pair.theirs.received[upload] == DATA
    assert pair.ours.received[download] == DATA
    assert pair.ours.connection.path.local == SECOND_ADDRESS
    assert PathChanged(SECOND_ADDRESS, SERVER) in pair.ours.events
    assert PathChanged(CLIENT, SERVER) not in pair.ours.events, "and it did not go back"
