"""What tshark makes of captures of everything that QUIC connections do.

tshark 4.0.17 follows key updates, changes of version, migration, HelloRetryRequest, resumption and 0-RTT. What it can't
do: it does not decrypt AES-128-CCM, it takes a ClientHello that is sent again after a Retry for a retransmission, and a
packet of the key phase before that comes late for another key update, so that it can't decrypt what follows.
"""

from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest

import quicsim
from links import Delay, EcnMark, Element, Loss, Rate, Reorder, TailDrop
from quicsim.applications import DEFAULT_PORT, bulk_client, bulk_server, datagrams_client, datagrams_server
from stack.tls.groups import P256, X25519, X25519MLKEM768
from stack.wire.versions import VERSION_1, VERSION_2
from tests.support.tshark import capture, check, dissect, values

pytestmark = pytest.mark.peer("tshark")

V1, V2 = "0x00000001", "0x6b3343cf"
WIFI, LTE, SERVER = "10.0.1.1", "10.0.2.1", "10.0.9.1"
CLIENT_HELLO, SERVER_HELLO, CERTIFICATE = "1", "2", "11"
PATH_CHALLENGE, PATH_RESPONSE, DATAGRAM = "26", "27", ("48", "49")
NOT_ECT, ECT_0, CE = "0", "2", "3"


def way() -> list[Element]:
    return [Rate("10Mbps"), Delay("10ms")]


def bulk(directory: Path, size: int = 30_000, **fields: Any) -> dict[str, Path]:
    """Capture a download of `size` bytes; other arguments as of `capture`."""
    options = {"size": size, **fields.pop("client_options", {})}
    fields = {"up": way(), "down": way(), **fields}
    return capture(directory, bulk_server, bulk_client, client_options=options, **fields)


async def connect(net: quicsim.Net, host: str, options: dict[str, Any]) -> quicsim.Connection:
    return await net.connect(host, DEFAULT_PORT, **options)


async def fetch(conn: quicsim.Connection, size: int) -> None:
    """Ask a `bulk_server` for that many bytes."""
    stream = await conn.open_stream()
    await stream.write(b"\0" + size.to_bytes(8), end=True)
    assert len(await stream.read_all()) == size


@pytest.mark.parametrize(
    ("client", "server", "versions"),
    [
        ((VERSION_2,), (VERSION_2,), [V2]),
        ((VERSION_1, VERSION_2), (VERSION_2, VERSION_1), [V1, V2]),
    ],
    ids=["2", "from 1 to 2"],
)
def test_version_2(tmp_path: Path, client: tuple[int, ...], server: tuple[int, ...], versions: list[str]) -> None:
    files = bulk(tmp_path, client_options={"versions": client}, server_options={"versions": server})
    for path in files.values():
        seen = values(check(path), "quic.version")
        assert [seen[0], seen[-1]] == [versions[0], versions[-1]]
        assert set(seen) == set(versions)


def test_version_negotiation(tmp_path: Path) -> None:
    asked = {"versions": (VERSION_2, VERSION_1), "original_version": VERSION_2}
    files = bulk(tmp_path, client_options=asked, server_options={"versions": (VERSION_1,)})
    frames = check(files["client"], without_frames=1)
    assert V1 in values(frames, "quic.supported_version")


@pytest.mark.parametrize("version", [VERSION_1, VERSION_2])
def test_retry(tmp_path: Path, version: int) -> None:
    options = {"versions": (version,)}
    files = bulk(tmp_path, client_options=options, server_options={**options, "retry": "always"})
    frames = check(files["client"], without_frames=1, remarks=1)
    assert frames[2]["_ws.expert.message"] == ["This QUIC frame has a reused stream offset (retransmission?)"]
    (tag,) = values(frames, "quic.retry_integrity_tag")
    assert len(bytes.fromhex(tag.replace(":", ""))) == 16
    assert frames[2]["quic.token"]


def test_key_updates(tmp_path: Path) -> None:
    """Several, because keys may not protect more packets, on a link that loses some.

    The link keeps their order: tshark 4.0.17 takes a packet of the phase before that comes late for another update.
    """
    limit = {"confidentiality_limit": 256}
    down = [Rate("2Mbps"), TailDrop("10kB"), Delay("10ms"), Loss(0.01)]
    files = bulk(tmp_path, 600_000, down=down, client_options=limit, server_options=limit)
    for path in files.values():
        bits = values([frame for frame in check(path) if frame["ip.src"] == [SERVER]], "quic.key_phase")
        assert sum(old != new for old, new in pairwise(bits)) >= 3


@pytest.mark.parametrize("probe", [True, False], ids=["probed", "at once"])
def test_migration_between_two_addresses(tmp_path: Path, probe: bool) -> None:
    async def moving(net: quicsim.Net, host: str, **options: Any) -> None:
        conn = await connect(net, host, options)
        await fetch(conn, 20_000)
        await conn.migrate(LTE, probe=probe)
        await fetch(conn, 20_000)
        conn.close()

    files = capture(tmp_path, bulk_server, moving, addresses=(WIFI, LTE), up=way(), down=way())
    for path in files.values():
        frames = check(path)
        types = {
            address: {kind for frame in frames if address in frame["ip.src"] for kind in frame["quic.frame_type"]}
            for address in (WIFI, LTE, SERVER)
        }
        assert {PATH_CHALLENGE, PATH_RESPONSE} <= types[LTE] & types[SERVER]
        assert {frame["ip.dst"][0] for frame in frames if frame["ip.src"] == [SERVER]} == {WIFI, LTE}


def test_a_nat_shows_different_addresses_on_its_two_sides(tmp_path: Path) -> None:
    files = bulk(tmp_path, nat=("198.51.100.1",))
    inside, outside = (check(files[name]) for name in ("client", "server"))
    assert set(values(inside, "ip.src")) == {"10.0.0.1", SERVER}
    assert set(values(outside, "ip.src")) == {"198.51.100.1", SERVER}


def test_ipv6(tmp_path: Path) -> None:
    frames = check(bulk(tmp_path, addresses=("2001:db8::1",))["server"])
    assert set(values(frames, "ipv6.src")) == {"2001:db8::1", "2001:db8:9::1"}


def test_datagrams(tmp_path: Path) -> None:
    files = capture(
        tmp_path, datagrams_server, datagrams_client, client_options={"count": 20, "size": 500}, up=way(), down=way()
    )
    for path in files.values():
        frames = check(path)
        assert sum(kind in DATAGRAM for kind in values(frames, "quic.frame_type")) == 40
        assert sum(len(bytes.fromhex(data.replace(":", ""))) for data in values(frames, "quic.dg")) == 40 * 500


def test_ecn_marks(tmp_path: Path) -> None:
    """As they were sent in the server's capture, as they arrived in the client's, and as its ACKs count them."""
    down = [Rate("2Mbps"), EcnMark("5ms"), TailDrop("100kB"), Delay("10ms")]
    files = bulk(tmp_path, 200_000, down=down)
    at_client = check(files["client"])
    sent, arrived = (
        [frame for frame in frames if frame["ip.src"] == [SERVER]] for frames in (check(files["server"]), at_client)
    )
    assert set(values(sent, "ip.dsfield.ecn")) == {NOT_ECT, ECT_0}  # unmarked until marks are known to arrive
    marked = values(arrived, "ip.dsfield.ecn").count(CE)
    assert marked > 5
    told = values([frame for frame in at_client if frame["ip.src"] != [SERVER]], "quic.ack.ecn_ce_count")
    assert 0 < max(map(int, told)) <= marked


def test_hello_retry_request(tmp_path: Path) -> None:
    files = bulk(tmp_path, client_options={"groups": (X25519, P256)}, server_options={"groups": (P256,)})
    kinds = values(check(files["client"]), "tls.handshake.type")
    assert kinds[:4] == [CLIENT_HELLO, SERVER_HELLO, CLIENT_HELLO, SERVER_HELLO]


def test_a_client_hello_of_two_packets(tmp_path: Path) -> None:
    groups = {"groups": (X25519MLKEM768, X25519)}
    files = bulk(tmp_path, client_options=groups, server_options=groups, up=[*way(), Reorder(0.3, "1ms")])
    for path in files.values():
        frames = check(path)
        assert values(frames, "tls.handshake.type").count(CLIENT_HELLO) == 1


@pytest.mark.parametrize("early_data", [False, True], ids=["1-RTT", "0-RTT"])
def test_resumption(tmp_path: Path, early_data: bool) -> None:
    async def twice(net: quicsim.Net, host: str, **options: Any) -> None:
        first = await connect(net, host, options)
        session = await first.session()
        first.close()
        await first.wait_closed()
        second = await connect(net, host, {**options, "session": session, "early_data": early_data})
        await fetch(second, 20_000)
        second.close()

    tickets = {"tickets": 1, "early_data": early_data}
    files = capture(tmp_path, bulk_server, twice, server_options=tickets, up=way(), down=way())
    for path in files.values():
        frames = check(path)
        assert values(frames, "tls.handshake.type").count(CERTIFICATE) == 1
        zero_rtt = "1"
        assert (zero_rtt in values(frames, "quic.long.packet_type")) is early_data


@pytest.mark.parametrize("suite", [0x1301, 0x1302, 0x1303])
def test_suites(tmp_path: Path, suite: int) -> None:
    frames = check(bulk(tmp_path, client_options={"suites": (suite,)}, down=[*way(), Loss(0.1)])["server"])
    assert f"0x{suite:04x}" in values(frames, "tls.handshake.ciphersuite")


def test_a_capture_of_aes_ccm_is_whole_though_not_decrypted(tmp_path: Path) -> None:
    """tshark 4.0.17 fails with "Invalid state"; a later one may decrypt it."""
    frames = dissect(bulk(tmp_path, client_options={"suites": (0x1304,)})["client"])
    assert values(frames, "_ws.malformed") == []
    assert "0x1304" in values(frames, "tls.handshake.ciphersuite")
