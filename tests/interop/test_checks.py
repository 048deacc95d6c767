"""Each check of the interop cases finds what it looks for: a true trace passes, a doctored one fails."""

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest

from quicsim.interop import checks
from quicsim.interop.cases import BY_ABBREVIATION, Case
from quicsim.interop.checks import Check, CheckFailed, Evidence
from quicsim.interop.trace import Handshake, Packet, Trace
from quicsim.interop.virtual import VirtualRun
from stack.tls.extensions import CERTIFICATE
from stack.wire import header as wire
from stack.wire.decoded_frames import AckFrame, CryptoFrame, PathChallengeFrame, PathResponseFrame, PingFrame
from stack.wire.ecn import CE, NOT_ECT
from stack.wire.versions import VERSION_1, VERSION_2

SMALLER = {  # what has the same packets with fewer bytes
    "U": (100_000,),
    "BP": (2_000_000,),
    "BA": (2_000_000,),
    "CM": (100_000,),
    "M": (32,) * 3,
}
Doctor = Callable[[Packet], Packet | None]


@pytest.fixture(scope="module")
def evidence(tmp_path_factory: pytest.TempPathFactory) -> Callable[[str], Evidence]:
    """Return the evidence of a case's run, made once."""
    known: dict[str, Evidence] = {}

    def of(abbreviation: str) -> Evidence:
        if abbreviation not in known:
            case: Case = BY_ABBREVIATION[abbreviation]
            case = replace(case, files=SMALLER.get(abbreviation, case.files))
            run = VirtualRun(case, 1, tmp_path_factory.mktemp(case.name) / "run")
            run.run()
            known[abbreviation] = run.evidence()
        return known[abbreviation]

    return of


def doctored(evidence: Evidence, doctor: Doctor) -> Evidence:
    """Return evidence with each packet of both traces changed, or left out where `doctor` returns None."""

    def of(trace: Trace) -> Trace:
        packets = (doctor(packet) for packet in trace.packets)
        return trace._replace(packets=tuple(packet for packet in packets if packet is not None))

    return replace(evidence, client=of(evidence.client), server=of(evidence.server))


def refused(check: Check, evidence: Evidence) -> str:
    """Return what the check says against the evidence."""
    with pytest.raises(CheckFailed) as caught:
        check(evidence)
    return str(caught.value)


def of_type(packet_type: int, from_client: bool | None = None) -> Callable[[Packet], bool]:
    return lambda packet: packet.packet_type == packet_type and from_client in (None, packet.from_client)


def changed(where: Callable[[Packet], bool], **fields: object) -> Doctor:
    return lambda packet: packet._replace(**fields) if where(packet) else packet


def without(where: Callable[[Packet], bool]) -> Doctor:
    return lambda packet: None if where(packet) else packet


def without_frames(kind: type, from_client: bool | None = None) -> Doctor:
    def doctor(packet: Packet) -> Packet:
        if packet.frames is None or from_client not in (None, packet.from_client):
            return packet
        return packet._replace(frames=tuple(frame for frame in packet.frames if not isinstance(frame, kind)))

    return doctor


Of = Callable[[str], Evidence]


def test_a_file_that_is_missing_or_differs_is_found(evidence: Of, tmp_path: Path) -> None:
    true = evidence("H")
    checks.files_arrived(true)
    other = replace(true, downloads=tmp_path)
    assert "did not come" in refused(checks.files_arrived, other)
    (tmp_path / true.files[0]).write_bytes(bytes(1024))
    assert "other contents" in refused(checks.files_arrived, other)


def test_handshakes_are_counted(evidence: Of) -> None:
    checks.handshakes(2)(evidence("R"))
    assert refused(checks.handshakes(1), evidence("R")) == "2 handshakes, not 1"
    none = doctored(evidence("R"), without(of_type(wire.INITIAL)))
    assert refused(checks.handshakes(2), none) == "0 handshakes, not 2"


def test_another_version_is_found(evidence: Of) -> None:
    checks.only_version_1(evidence("H"))
    assert "0x6b3343cf" in refused(checks.only_version_1, evidence("V2"))
    assert "(none)" in refused(checks.only_version_1, doctored(evidence("H"), without(of_type(wire.INITIAL))))


def test_a_retry_is_found(evidence: Of) -> None:
    checks.no_retry(evidence("H"))
    assert refused(checks.no_retry, evidence("S")) == "the server sent a Retry packet"


def test_a_single_client_hello_is_found(evidence: Of) -> None:
    checks.client_hello_repeated(evidence("LR"))
    assert refused(checks.client_hello_repeated, evidence("H")) == "1 ClientHellos, not 2 or more"


def test_other_cipher_suites_are_found(evidence: Of) -> None:
    assert "0x1301, 0x1302, 0x1303" in refused(checks.only_suite(0x1303), evidence("H"))
    empty = evidence("H").client._replace(handshakes=())
    assert "(none)" in refused(checks.only_suite(0x1303), replace(evidence("H"), client=empty))


def test_a_limit_of_too_many_streams_is_found(evidence: Of) -> None:
    true = evidence("M")
    checks.stream_limit_at_most(1000)(true)
    assert "100 streams" in refused(checks.stream_limit_at_most(99), true)
    unread = true.client._replace(handshakes=(Handshake(true.client.handshakes[0].hello),))
    assert "can't be read" in refused(checks.stream_limit_at_most(1000), replace(true, client=unread))


def test_a_retry_without_its_token_is_found(evidence: Of) -> None:
    true = evidence("S")
    checks.retry_token_used(true)
    assert "no Retry packet" in refused(checks.retry_token_used, evidence("H"))
    client_initial = of_type(wire.INITIAL, True)
    other = doctored(true, changed(lambda packet: client_initial(packet) and bool(packet.token), token=b"other"))
    assert "token" in refused(checks.retry_token_used, other)
    reset = doctored(true, changed(client_initial, packet_number=0))
    assert "packet number 0 again" in refused(checks.retry_token_used, reset)


def test_a_handshake_that_does_not_resume_is_found(evidence: Of) -> None:
    true = evidence("R")
    checks.resumed(true)

    def with_messages(*messages: set[int]) -> Evidence:
        handshakes = [
            replace(handshake, server_messages=own)
            for handshake, own in zip(true.client.handshakes, messages, strict=False)
        ]
        return replace(true, client=true.client._replace(handshakes=tuple(handshakes)))

    assert "in the second" in refused(checks.resumed, with_messages({8, CERTIFICATE}, {8, CERTIFICATE}))
    assert "no Certificate in the first" in refused(checks.resumed, with_messages({8}, {8}))
    assert "1 handshakes can be read" in refused(checks.resumed, with_messages({8, CERTIFICATE}, set()))
    assert "1 handshakes can be read" in refused(checks.resumed, with_messages({8, CERTIFICATE}))


def test_requests_that_do_not_go_as_early_data_are_found(evidence: Of) -> None:
    true = evidence("Z")
    checks.early_data_sent(5000)(true)
    assert "no 0-RTT" in refused(checks.early_data_sent(5000), evidence("R"))
    size = sum(packet.payload_size for packet in true.client.select(wire.ONE_RTT, True))
    checks.early_data_sent(size)(true)
    assert f"{size} bytes" in refused(checks.early_data_sent(size - 1), true)


@pytest.mark.parametrize(("end", "from_client"), [("client", True), ("server", False)])
def test_keys_that_are_not_updated_are_found(evidence: Of, end: str, from_client: bool) -> None:
    true = evidence("U")
    checks.keys_updated(true)
    old = doctored(true, changed(of_type(wire.ONE_RTT, from_client), key_phase=0))
    assert refused(checks.keys_updated, old) == f"the {end} sent no packet of key phase 1"
    unread = doctored(true, changed(of_type(wire.ONE_RTT, from_client), frames=None))
    assert "can't be decrypted" in refused(checks.keys_updated, unread)


@pytest.mark.parametrize(("end", "from_client"), [("client", True), ("server", False)])
def test_an_end_that_leaves_ecn_out_is_found(evidence: Of, end: str, from_client: bool) -> None:
    true = evidence("E")
    checks.ecn_used(true)

    def own(packet: Packet) -> bool:
        return packet.from_client == from_client

    assert f"the {end} marked no packet" in refused(checks.ecn_used, doctored(true, changed(own, ecn=NOT_ECT)))
    one = true.client.packets[0] if from_client else next(p for p in true.server.packets if not p.from_client)
    marked = doctored(true, changed(lambda packet: packet == one, ecn=CE))
    assert "marked CE" in refused(checks.ecn_used, marked)

    def no_counts(packet: Packet) -> Packet:
        if not own(packet):
            return packet
        frames = tuple(f._replace(ecn_counts=None) if isinstance(f, AckFrame) else f for f in packet.frames or ())
        return packet._replace(frames=frames)

    assert f"the {end} sent no ACK frame" in refused(checks.ecn_used, doctored(true, no_counts))


def test_a_short_certificate_chain_is_found(evidence: Of) -> None:
    checks.long_chain_sent(7500)(evidence("A"))
    assert "fewer than 7500" in refused(checks.long_chain_sent(7500), evidence("H"))
    none = doctored(evidence("A"), without_frames(CryptoFrame))
    assert "has 0 bytes" in refused(checks.long_chain_sent(7500), none)


def test_a_server_that_sends_too_much_is_found(evidence: Of) -> None:
    true = evidence("A")
    assert checks.amplification_limit_obeyed(true) is None
    first = next(packet.datagram for packet in true.server.packets if not packet.from_client)

    def larger(size: int) -> Evidence:
        return doctored(true, changed(lambda p: p.datagram == first and not p.from_client, datagram_size=size))

    assert "unproven address" in refused(checks.amplification_limit_obeyed, larger(4000))
    assert checks.amplification_limit_obeyed(larger(1300)) == (
        "the server sent 3688 bytes to an unproven address after receiving 1200: "
        "more than three times, but less than four"
    )
    unproven = true.server._replace(packets=true.server.packets[:2])
    assert "did not prove" in refused(checks.amplification_limit_obeyed, replace(true, server=unproven))


def test_ipv4_is_found(evidence: Of) -> None:
    checks.no_ipv4(evidence("6"))
    assert "over IPv4" in refused(checks.no_ipv4, evidence("H"))


def test_a_handshake_that_stays_in_version_1_is_found(evidence: Of) -> None:
    check, true = checks.upgraded_to_version_2, evidence("V2")
    check(true)
    assert "server's Initial" in refused(check, evidence("H"))
    initial = doctored(true, changed(of_type(wire.INITIAL, True), version=VERSION_2))
    assert "client's Initial" in refused(check, initial)
    for from_client, end in ((True, "client"), (False, "server")):
        old = doctored(true, changed(of_type(wire.HANDSHAKE, from_client), version=VERSION_1))
        assert f"the {end}'s Handshake packets" in refused(check, old)


@pytest.mark.parametrize("abbreviation", ["BP", "BA", "CM"])
def test_a_path_that_is_not_validated_is_found(evidence: Of, abbreviation: str) -> None:
    check, true = checks.new_paths_validated, evidence(abbreviation)
    check(true)
    assert "has no PATH_CHALLENGE" in refused(check, doctored(true, without_frames(PathChallengeFrame, False)))
    assert "did not answer" in refused(check, doctored(true, without_frames(PathResponseFrame, True)))
    assert "can't be decrypted" in refused(check, doctored(true, changed(of_type(wire.ONE_RTT), frames=None)))
    assert "no other path" in refused(check, evidence("H"))


def test_a_single_client_address_is_found(evidence: Of) -> None:
    checks.several_client_addresses(evidence("BA"))
    assert "193.167.0.1" in refused(checks.several_client_addresses, evidence("BP"))


def test_a_connection_id_that_is_used_on_two_paths_is_found(evidence: Of) -> None:
    check, true = checks.new_connection_id_on_new_path, evidence("CM")
    check(true)
    assert "did not migrate" in refused(check, evidence("H"))
    same = doctored(true, changed(of_type(wire.ONE_RTT, True), destination_cid=b"12345678"))
    assert "used before" in refused(check, same)


def test_goodput_is_that_of_the_file_between_the_first_and_the_last_packet(evidence: Of) -> None:
    true = evidence("U")
    template = next(packet for packet in true.client.packets if of_type(wire.ONE_RTT, False)(packet))
    packets = tuple(template._replace(at=at, frames=(PingFrame(),)) for at in (5 * 10**9, 6 * 10**9, 9 * 10**9))
    measured = replace(true, client=true.client._replace(packets=packets))
    assert checks.goodput(measured) == pytest.approx(8 * 100_000 / 4000)
    single = replace(true, client=true.client._replace(packets=packets[:1]))
    with pytest.raises(CheckFailed, match="no 1-RTT packets"):
        checks.goodput(single)
