"""What the interop runner checks, on the decrypted traces of both hosts and on the files that came.

A check takes the evidence of a run and raises CheckFailed with a sentence for people; it may return one about what was
wrong, though the runner lets it pass. As in the runner, what an end has
sent is looked at in the trace of its own host, where nothing is lost or damaged yet.
"""

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from quicsim.interop.trace import Packet, Trace
from stack.observer import Address
from stack.tls.extensions import CERTIFICATE
from stack.wire import header as wire
from stack.wire.decoded_frames import AckFrame, CryptoFrame, PathChallengeFrame, PathResponseFrame
from stack.wire.ecn import CE, ECT_0, ECT_1
from stack.wire.versions import VERSION_1, VERSION_2

MIN_SECURE_ID: Final = 8  # bytes of a connection ID that proves an address (RFC 9000 section 8.1)


class CheckFailed(Exception):
    """What was seen is not what the test case asks for."""


@dataclass(frozen=True, slots=True)
class Evidence:
    """A run: both traces, and the files named `files`, as the server had them and as the client got them."""

    client: Trace
    server: Trace
    www: Path
    downloads: Path
    files: tuple[str, ...]


Check = Callable[[Evidence], str | None]


def files_arrived(evidence: Evidence) -> None:
    """Every file came, byte for byte."""
    for name in evidence.files:
        got = evidence.downloads / name
        if not got.is_file():
            raise CheckFailed(f"file {name} did not come")
        if got.read_bytes() != (evidence.www / name).read_bytes():
            raise CheckFailed(f"file {name} came with other contents")


def handshakes(number: int) -> Check:
    """There were exactly so many: the server's Initial packets have so many different source connection IDs."""

    def check(evidence: Evidence) -> None:
        found = len({packet.source_cid for packet in evidence.server.select(wire.INITIAL, False)})
        if found != number:
            raise CheckFailed(f"{found} handshakes, not {number}")

    return check


def only_version_1(evidence: Evidence) -> None:
    """The server's Initial packets are of version 1."""
    _only_version(VERSION_1, evidence.server.select(wire.INITIAL, False), "the server's Initial packets")


def no_retry(evidence: Evidence) -> None:
    """The server did not ask for a proof of the client's address."""
    if evidence.client.select(wire.RETRY, False):
        raise CheckFailed("the server sent a Retry packet")


def client_hello_repeated(evidence: Evidence) -> None:
    """The client sent its ClientHello more than once."""
    sent = sum(
        any(frame.offset == 0 for frame in packet.having(CryptoFrame))
        for packet in evidence.client.select(wire.INITIAL, True)
    )
    if sent < 2:
        raise CheckFailed(f"{sent} ClientHellos, not 2 or more")


def only_suite(suite: int) -> Check:
    """The client offered this cipher suite and no other."""

    def check(evidence: Evidence) -> None:
        offered = {each for handshake in evidence.client.handshakes for each in handshake.hello.suites}
        if offered != {suite}:
            raise CheckFailed(f"the client offered the cipher suites {_hex(offered)}, not just 0x{suite:04x}")

    return check


def stream_limit_at_most(limit: int) -> Check:
    """The server let the client open no more than so many bidirectional streams at first."""

    def check(evidence: Evidence) -> None:
        known = [each.server_parameters for each in evidence.client.handshakes if each.server_parameters is not None]
        if not known:
            raise CheckFailed("the server's transport parameters can't be read")
        largest = max(each.initial_max_streams_bidi for each in known)
        if largest > limit:
            raise CheckFailed(f"the server let {largest} streams be opened, more than {limit}")

    return check


def retry_token_used(evidence: Evidence) -> None:
    """The client came back with the token of a Retry, and went on counting its packets."""
    tokens = {packet.token for packet in evidence.client.select(wire.RETRY, False)}
    if not tokens:
        raise CheckFailed("the server sent no Retry packet")
    before = -1
    for packet in evidence.client.select(wire.INITIAL, True):
        if not packet.token:
            before = max(before, packet.packet_number)
        elif packet.packet_number <= before:
            raise CheckFailed(f"the client used packet number {packet.packet_number} again after the Retry")
        elif packet.token in tokens:
            return
    raise CheckFailed("no Initial packet of the client has the token of the Retry")


def resumed(evidence: Evidence) -> None:
    """The first of two handshakes has a Certificate, the second has none."""
    found = evidence.client.handshakes
    if len(found) != 2 or not all(each.server_messages for each in found):
        raise CheckFailed(f"{sum(bool(each.server_messages) for each in found)} handshakes can be read, not 2")
    first, second = (CERTIFICATE in each.server_messages for each in found)
    if not first:
        raise CheckFailed("the server sent no Certificate in the first handshake")
    if second:
        raise CheckFailed("the server sent a Certificate in the second handshake")


def early_data_sent(limit: int) -> Check:
    """The client sent 0-RTT packets, and no more than `limit` bytes of payload in 1-RTT packets."""

    def check(evidence: Evidence) -> None:
        if not any(packet.payload_size for packet in evidence.client.select(wire.ZERO_RTT, True)):
            raise CheckFailed("the client sent no 0-RTT packets")
        size = sum(packet.payload_size for packet in evidence.client.select(wire.ONE_RTT, True))
        if size > limit:
            raise CheckFailed(f"the client sent {size} bytes in 1-RTT packets, more than {limit}")

    return check


def keys_updated(evidence: Evidence) -> None:
    """Both ends sent packets of key phase 1."""
    for end, trace, from_client in (("client", evidence.client, True), ("server", evidence.server, False)):
        packets = _decrypted(trace.select(wire.ONE_RTT, from_client), f"the {end}'s 1-RTT packets")
        if not any(packet.key_phase for packet in packets):
            raise CheckFailed(f"the {end} sent no packet of key phase 1")


def ecn_used(evidence: Evidence) -> None:
    """Both ends marked packets, reported marks, and none was marked CE."""
    for end, trace, from_client in (("client", evidence.client, True), ("server", evidence.server, False)):
        packets = [packet for packet in trace.packets if packet.from_client == from_client]
        marks = {packet.ecn for packet in packets}
        if not marks & {ECT_0, ECT_1}:
            raise CheckFailed(f"the {end} marked no packet ECT(0) or ECT(1)")
        if CE in marks:
            raise CheckFailed(f"the {end} sent packets marked CE")
        acks = (frame for packet in packets for frame in packet.having(AckFrame))
        if all(frame.ecn_counts is None for frame in acks):
            raise CheckFailed(f"the {end} sent no ACK frame with ECN counts")


def long_chain_sent(size: int) -> Check:
    """The server's handshake was of `size` bytes at least, as one with the long certificate chain is."""

    def check(evidence: Evidence) -> None:
        ends = [
            frame.offset + len(frame.data)
            for packet in evidence.server.select(wire.HANDSHAKE, False)
            for frame in packet.having(CryptoFrame)
        ]
        if max(ends, default=0) < size:
            raise CheckFailed(f"the server's handshake has {max(ends, default=0)} bytes, fewer than {size}")

    return check


def amplification_limit_obeyed(evidence: Evidence) -> str | None:
    """Until the client's address was proven, the server sent less than four times what it had received.

    RFC 9000 section 8.1 allows three times; of more than that, the runner's tolerance, a remark tells.
    """
    own_ids = {
        packet.source_cid
        for packet in evidence.server.select(wire.INITIAL, False)
        if len(packet.source_cid) >= MIN_SECURE_ID
    }
    received = sent = 0
    counted = -1
    remark = None
    for packet in evidence.server.packets:
        is_new = packet.datagram != counted
        counted = packet.datagram
        if packet.from_client:
            if packet.packet_type == wire.HANDSHAKE or packet.destination_cid in own_ids:
                return remark
            received += packet.datagram_size if is_new else 0
        elif is_new:
            sent += packet.datagram_size
            said = f"the server sent {sent} bytes to an unproven address after receiving {received}"
            if sent >= 4 * received:
                raise CheckFailed(said)
            if sent > 3 * received:
                remark = f"{said}: more than three times, but less than four"
    raise CheckFailed("the client did not prove its address")


def no_ipv4(evidence: Evidence) -> None:
    """The server sent nothing over IPv4."""
    found = sum(not packet.from_client and ":" not in packet.source[0] for packet in evidence.server.packets)
    if found:
        raise CheckFailed(f"the server sent {found} packets over IPv4")


def upgraded_to_version_2(evidence: Evidence) -> None:
    """The client began in version 1; the server answered in version 2, and the handshake went on in it."""
    initial = {packet.version for packet in evidence.client.select(wire.INITIAL, True)}
    if VERSION_1 not in initial:
        raise CheckFailed(f"the client's Initial packets have the versions {_hex(initial)}, not version 1")
    answered = {packet.version for packet in evidence.server.select(wire.INITIAL, False)}
    if VERSION_2 not in answered:
        raise CheckFailed(f"the server's Initial packets have the versions {_hex(answered)}, not version 2")
    _only_version(VERSION_2, evidence.client.select(wire.HANDSHAKE, True), "the client's Handshake packets")
    _only_version(VERSION_2, evidence.server.select(wire.HANDSHAKE, False), "the server's Handshake packets")


def new_paths_validated(evidence: Evidence) -> None:
    """The server's first packet on each new path has a PATH_CHALLENGE, and the client answered all of these."""
    packets = [packet for packet in evidence.server.packets if not packet.from_client]
    _decrypted([packet for packet in packets if packet.packet_type == wire.ONE_RTT], "the server's 1-RTT packets")
    challenges: set[bytes] = set()
    paths: set[tuple[Address, Address]] = set()
    for packet in packets:
        if packet.path in paths:
            continue
        if paths:
            found = {frame.data for frame in packet.having(PathChallengeFrame)}
            if not found:
                raise CheckFailed(f"the server's first packet to {_path(packet)} has no PATH_CHALLENGE")
            challenges |= found
        paths.add(packet.path)
    if len(paths) < 2:
        raise CheckFailed("the server saw no other path than the first")
    responses = {
        frame.data
        for packet in evidence.client.packets
        if packet.from_client
        for frame in packet.having(PathResponseFrame)
    }
    if challenges - responses:
        raise CheckFailed(f"the client did not answer {len(challenges - responses)} of {len(challenges)} challenges")


def several_client_addresses(evidence: Evidence) -> None:
    """The server sent to more than one IP address of the client's."""
    found = {packet.destination[0] for packet in evidence.server.packets if not packet.from_client}
    if len(found) < 2:
        raise CheckFailed(f"the server saw only the client's address {', '.join(found) or '(none)'}")


def new_connection_id_on_new_path(evidence: Evidence) -> None:
    """The client's first packet on a new path is for another connection ID than those before."""
    paths: set[tuple[Address, Address]] = set()
    used: set[bytes] = set()
    for packet in evidence.client.packets:
        if not packet.from_client:
            continue
        if paths and packet.path not in paths and packet.destination_cid in used:
            raise CheckFailed(f"the client's first packet on {_path(packet)} has a connection ID that was used before")
        paths.add(packet.path)
        used.add(packet.destination_cid)
    if len(paths) < 2:
        raise CheckFailed("the client did not migrate")


def goodput(evidence: Evidence) -> float:
    """Return kbit/s of file contents, from the server's first 1-RTT packet at the client to its last."""
    times = [packet.at for packet in evidence.client.select(wire.ONE_RTT, False)]
    if len(times) < 2 or times[0] == times[-1]:
        raise CheckFailed("the server sent no 1-RTT packets to measure")
    size = sum((evidence.www / name).stat().st_size for name in evidence.files)
    return 8 * size / ((times[-1] - times[0]) / 1e6)


def _only_version(version: int, packets: Iterable[Packet], whose: str) -> None:
    found = {packet.version for packet in packets}
    if found != {version}:
        raise CheckFailed(f"{whose} have the versions {_hex(found)}, not just 0x{version:x}")


def _decrypted(packets: list[Packet], whose: str) -> list[Packet]:
    if all(packet.frames is None for packet in packets):
        raise CheckFailed(f"{whose} can't be decrypted")
    return packets


def _path(packet: Packet) -> str:
    client, server = packet.path
    return f"{client[0]}:{client[1]} - {server[0]}:{server[1]}"


def _hex(numbers: Iterable[int]) -> str:
    return ", ".join(f"0x{number:x}" for number in sorted(numbers)) or "(none)"
