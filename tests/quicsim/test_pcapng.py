"""Captures, read by a parser of its own, and by tshark."""

import struct

import pytest
from hypothesis import given
from hypothesis import strategies as st

from links import Datagram, Delay, Loss, Rate, TailDrop
from quicsim import Simulation
from quicsim import test_certificate as credentials
from quicsim.applications import bulk_client, bulk_server
from quicsim.pcapng import HostCapture, ip_packet
from tests.support.tshark import tshark

ALICE = ("10.0.0.1", 50_000)
BOB = ("10.0.0.2", 4433)


def blocks(data):
    """Parse a little-endian pcapng file into (type, body), checking lengths."""
    offset = 0
    while offset < len(data):
        kind, length = struct.unpack_from("<II", data, offset)
        assert length % 4 == 0
        assert struct.unpack_from("<I", data, offset + length - 4) == (length,)
        yield kind, data[offset + 8 : offset + length - 4]
        offset += length
    assert offset == len(data)


def options(data):
    """Parse the options of a block to {code: value}."""
    offset = 0
    found = {}
    while True:
        code, length = struct.unpack_from("<HH", data, offset)
        if code == 0:
            assert offset + 4 == len(data)
            return found
        found[code] = data[offset + 4 : offset + 4 + length]
        offset += 4 + length + -length % 4


def ones_complement_sum(data):
    total = sum(struct.unpack(f">{len(data) // 2}H", data[: len(data) & ~1]))
    if len(data) % 2:
        total += data[-1] << 8
    while total >> 16:
        total = (total & 0xFFFF) + (total >> 16)
    return total


def saved(capture):
    file = bytearray()
    capture.save(file.extend)
    return bytes(file)


def test_a_capture_begins_with_section_interface_and_secrets():
    capture = HostCapture("alice")
    capture.datagram("alice", 1, "sent", Datagram(b"first", ALICE, BOB))
    connection = capture.connection(2, "client", b"odcid")
    connection.secret(2, "CLIENT_HANDSHAKE_TRAFFIC_SECRET", b"\x01" * 32, b"\x02" * 32)
    capture.connection(2, "server", b"odcid").secret(
        3, "CLIENT_HANDSHAKE_TRAFFIC_SECRET", b"\x01" * 32, b"\x02" * 32
    )  # the same one
    connection.secret(4, "CLIENT_TRAFFIC_SECRET_0", b"\x01" * 32, b"\x03" * 48)
    section, interface, secrets, packet = blocks(saved(capture))
    assert section[0] == 0x0A0D0D0A
    assert section[1][:16] == struct.pack("<IHHq", 0x1A2B3C4D, 1, 0, -1)
    assert interface[0] == 1
    assert struct.unpack_from("<HHI", interface[1]) == (101, 0, 0)
    assert options(interface[1][8:]) == {2: b"alice", 9: b"\x09"}
    assert secrets[0] == 10
    kind, length = struct.unpack_from("<II", secrets[1])
    assert kind == 0x544C534B
    assert secrets[1][8 : 8 + length].decode().splitlines() == [
        f"CLIENT_HANDSHAKE_TRAFFIC_SECRET {'01' * 32} {'02' * 32}",
        f"CLIENT_TRAFFIC_SECRET_0 {'01' * 32} {'03' * 48}",
    ]
    assert packet[0] == 6


@pytest.mark.parametrize(("direction", "flags"), [("received", 1), ("sent", 2)])
def test_packets_have_their_time_in_nanoseconds_and_their_direction(direction, flags):
    now = (7 << 32) + 123_456_789
    capture = HostCapture("alice")
    capture.datagram("alice", now, direction, Datagram(b"x" * 5, ALICE, BOB))
    *_, (_, body) = blocks(saved(capture))
    interface, high, low, size, original = struct.unpack_from("<IIIII", body)
    assert (interface, high << 32 | low, size, original) == (0, now, 33, 33)
    assert body[20:53] == ip_packet(ALICE, BOB, b"x" * 5)
    assert options(body[20 + 36 :]) == {2: struct.pack("<I", flags)}


@given(payload=st.binary(max_size=1500), port=st.integers(1, 65_535), ecn=st.integers(0, 3))
def test_ipv4_headers_and_both_checksums_are_right(payload, port, ecn):
    packet = ip_packet(("192.0.2.1", port), ("198.51.100.7", 4433), payload, ecn)
    header, udp = packet[:20], packet[20:]
    assert header[0] == 0x45
    assert header[1] == ecn
    assert int.from_bytes(header[2:4]) == len(packet)
    assert header[9] == 17
    assert header[12:] == bytes((192, 0, 2, 1, 198, 51, 100, 7))
    assert ones_complement_sum(header) == 0xFFFF
    assert struct.unpack_from(">HHH", udp) == (port, 4433, 8 + len(payload))
    assert udp[6:8] != b"\0\0"
    assert udp[8:] == payload
    assert ones_complement_sum(header[12:] + struct.pack(">HH", 17, len(udp)) + udp) == 0xFFFF


@given(payload=st.binary(max_size=1500), ecn=st.integers(0, 3))
def test_ipv6_headers_and_the_checksum_are_right(payload, ecn):
    packet = ip_packet(("2001:db8::1", 9), ("2001:db8::2", 4433), payload, ecn)
    header, udp = packet[:40], packet[40:]
    assert int.from_bytes(header[:4]) == 6 << 28 | ecn << 20
    assert struct.unpack_from(">HBB", header, 4) == (len(udp), 17, 64)
    assert ones_complement_sum(header[8:] + struct.pack(">II", len(udp), 17) + udp) == 0xFFFF


def test_addresses_of_two_families_are_refused():
    with pytest.raises(ValueError, match="same IP version"):
        ip_packet(("2001:db8::1", 9), BOB, b"")


@pytest.fixture(scope="module")
def captures(tmp_path_factory):
    """Capture files of both hosts of a transfer with losses from its first packets on."""
    directory = tmp_path_factory.mktemp("captures")
    hosts = {"client": HostCapture("client"), "server": HostCapture("server")}
    simulation = Simulation(11, observer=hosts.__getitem__)
    down = [Rate("10Mbps"), TailDrop("20kB"), Delay("10ms"), Loss(0.1)]
    simulation.link("client", "server", [Delay("10ms"), Loss(0.1)], down)
    for name, capture in hosts.items():
        simulation.tap(name, capture.datagram)
    simulation.spawn("server", bulk_server, credentials())
    simulation.run(simulation.spawn("client", bulk_client, "server", trust=credentials(), size=100_000))
    simulation.run(until=simulation.now + 10**10)
    files = {}
    for name, capture in hosts.items():
        files[name] = directory / f"{name}.pcapng"
        files[name].write_bytes(saved(capture))
    return files


@pytest.mark.peer("tshark")
@pytest.mark.parametrize("host", ["client", "server"])
def test_tshark_decrypts_all_and_finds_nothing_wrong(captures, host):
    path = captures[host]
    total = len(tshark(path, "-T", "fields", "-e", "frame.number"))
    assert total == sum(kind == 6 for kind, _ in blocks(path.read_bytes()))
    assert tshark(path, "-Y", "_ws.malformed || quic.decryption_failed") == []
    assert tshark(path, "-Y", "_ws.expert && quic") == []
    assert len(tshark(path, "-Y", "ip.checksum.status == 1 && udp.checksum.status == 1")) == total
    decrypted = tshark(path, "-Y", "quic.frame_type", "-T", "fields", "-e", "frame.number")
    assert len(decrypted) == total
    assert tshark(path, "-Y", "tls.handshake.type == 11", "-T", "fields", "-e", "frame.number")


@pytest.mark.peer("tshark")
def test_tshark_reads_the_stream_data(captures):
    wanted = ("-Y", "ip.src == 10.0.0.2 && quic.stream.length", "-T", "fields", "-e", "quic.stream.length")
    lines = tshark(captures["client"], *wanted)
    assert sum(int(length) for line in lines for length in line.split(",")) >= 100_000
