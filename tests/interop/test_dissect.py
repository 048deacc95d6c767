"""Recordings read by our own dissector: it sees what tshark sees, and what it can't read it says."""

from collections import Counter
from dataclasses import replace
from pathlib import Path

import pytest

from quicsim.interop.cases import BY_ABBREVIATION
from quicsim.interop.dissect import dissect
from quicsim.interop.trace import Recording, Trace
from quicsim.interop.virtual import VirtualRun
from stack.wire import header as wire
from stack.wire.decoded_frames import AckFrame, StreamFrame
from tests.support.tshark import tshark

SMALLER = {"U": (60_000,), "C20": (60_000,), "BA": (1_400_000,), "CM": (60_000,), "C1": (1024,) * 8, "L1": (1024,) * 8}
# As tshark names long packet types: of version 1
LONG_TYPES = {"0": wire.INITIAL, "1": wire.ZERO_RTT, "2": wire.HANDSHAKE, "3": wire.RETRY}


def run(abbreviation: str, directory: Path) -> VirtualRun:
    case = BY_ABBREVIATION[abbreviation]
    virtual = VirtualRun(replace(case, files=SMALLER.get(abbreviation, case.files)), 1, directory / "run")
    virtual.run()
    return virtual


def as_tshark_sees(recording: Recording, directory: Path) -> tuple[Counter[int], Counter[str]]:
    """The number of packets of each type, and the packet numbers of each."""
    path = directory / f"{recording.host}.pcapng"
    with path.open("wb") as file:
        recording.save(file.write)
    fields = ("quic.long.packet_type", "quic.short", "quic.packet_number")
    options = [option for name in fields for option in ("-e", name)]
    lines = tshark(path, "-d", "udp.port==443,quic", "-T", "fields", "-E", "aggregator=|", *options)
    types: Counter[int] = Counter()
    numbers: Counter[str] = Counter()
    for line in lines:
        long_types, short, packet_numbers = line.split("\t")
        types.update(LONG_TYPES[each] for each in long_types.split("|") if each)
        types.update(wire.ONE_RTT for each in short.split("|") if each)
        numbers.update(each for each in packet_numbers.split("|") if each)
    return types, numbers


def as_we_see(trace: Trace) -> tuple[Counter[int], Counter[str]]:
    types = Counter(packet.packet_type for packet in trace.packets)
    numbers = Counter(str(packet.packet_number) for packet in trace.packets if packet.packet_number >= 0)
    return types, numbers


@pytest.mark.parametrize("abbreviation", ["H", "S", "R", "Z", "U", "C20", "BA", "CM", "A"])
def test_we_see_what_tshark_sees(abbreviation: str, tmp_path: Path) -> None:
    virtual = run(abbreviation, tmp_path)
    for recording, at_client in ((virtual.client, True), (virtual.server, False)):
        assert as_we_see(dissect(recording, at_client)) == as_tshark_sees(recording, tmp_path)


@pytest.mark.parametrize("abbreviation", ["H", "S", "R", "Z", "U", "BA", "CM", "V2", "L1"])
def test_every_packet_is_decrypted_at_the_host_that_sent_it(abbreviation: str, tmp_path: Path) -> None:
    virtual = run(abbreviation, tmp_path)
    for recording, at_client in ((virtual.client, True), (virtual.server, False)):
        packets = [packet for packet in dissect(recording, at_client).packets if packet.packet_type != wire.RETRY]
        assert packets
        assert all(packet.frames is not None for packet in packets)


def test_damaged_packets_have_no_frames(tmp_path: Path) -> None:
    virtual = run("C1", tmp_path)
    sent = dissect(virtual.client, at_client=True)
    received = dissect(virtual.server, at_client=False)
    assert all(packet.frames is not None for packet in sent.select(wire.INITIAL, True))
    assert any(packet.frames is None for packet in received.select(wire.INITIAL, True))
    assert len(sent.handshakes) == 8


def test_without_secrets_only_initial_packets_are_read(tmp_path: Path) -> None:
    virtual = run("H", tmp_path)
    recording = Recording("client")
    recording.sightings.extend(virtual.client.sightings)
    packets = dissect(recording, at_client=True).packets
    assert {packet.packet_type for packet in packets if packet.frames is not None} == {wire.INITIAL}
    assert {packet.packet_type for packet in packets if packet.frames is None} == {wire.HANDSHAKE, wire.ONE_RTT}


def test_secrets_may_come_from_a_key_log(tmp_path: Path) -> None:
    virtual = run("H", tmp_path)
    recording = Recording("client")
    recording.sightings.extend(virtual.client.sightings)
    recording.add_secrets(["# a comment", "", *virtual.server.key_log.splitlines(keepends=True), "not a line of it"])
    assert dissect(recording, at_client=True) == dissect(virtual.client, at_client=True)


def test_what_went_over_a_stream_can_be_read(tmp_path: Path) -> None:
    virtual = run("H", tmp_path)
    packets = dissect(virtual.server, at_client=False).packets
    frames = [frame for packet in packets if packet.packet_type == wire.ONE_RTT for frame in packet.frames or ()]
    assert {type(frame) for frame in frames} >= {AckFrame, StreamFrame}
    requests = [frame.data for packet in packets if packet.from_client for frame in packet.having(StreamFrame)]
    assert requests == [f"GET /{virtual.material.names[0]}\r\n".encode()]
    answers = b"".join(f.data for packet in packets if not packet.from_client for f in packet.having(StreamFrame))
    assert answers == (virtual.material.www / virtual.material.names[0]).read_bytes()


def test_what_is_no_quic_is_a_packet_without_frames(tmp_path: Path) -> None:
    virtual = run("H", tmp_path)
    recording = Recording("client")
    first = virtual.client.sightings[0]
    for payload in (b"", b"\0" * 10, b"\x40", b"\xc0\0\0\0\1", first.payload[:300], b"\x00" + first.payload[1:]):
        recording.sightings.append(first._replace(payload=payload))
    packets = dissect(recording, at_client=True).packets
    assert [packet.frames for packet in packets] == [None] * len(packets)


def test_padding_behind_the_last_packet_is_no_packet(tmp_path: Path) -> None:
    virtual = run("H", tmp_path)
    first = virtual.client.sightings[0]
    recording = Recording("client")
    recording.sightings.append(first._replace(payload=first.payload + bytes(50)))
    (packet,) = dissect(recording, at_client=True).packets
    assert packet.datagram_size == len(first.payload) + 50
    assert packet.frames is not None
