"""Traces against the drafts' own schema (CDDL), where the drafts' texts are at hand."""

import copy
import json
import os
import re
import struct
from functools import cache
from pathlib import Path

import pycddl
import pytest

from links import Delay, Loss, Rate, TailDrop
from quicsim import Simulation
from quicsim import test_certificate as credentials
from quicsim.applications import bulk_client, bulk_server
from quicsim.qlog import Profile, QlogObserver
from stack.observer import PacketInfo, RecoveryMetrics
from stack.wire import frames as wire

DRAFTS = Path(__file__).parents[3] / "shared" / "rfc" / "text"
MAIN_SCHEMA = DRAFTS / "draft-ietf-quic-qlog-main-schema.txt"
QUIC_EVENTS = DRAFTS / "draft-ietf-quic-qlog-quic-events.txt"

RULE_START = re.compile(r"   [$A-Za-z][\w$-]*\s+/?/?=(\s|$)")
RULE_LINE = re.compile(r"\s*$|   [\s}\];]|" + RULE_START.pattern)

# What the validator can't do as written, said in a way that it can. Its regular expressions are not anchored, it takes
# negative numbers for sized ones, knows only the first of the choices in an array, and does not unwrap groups; and a
# token of 16 bytes has 32 hexadecimal digits.
REWRITTEN = {
    'hexstring = text .regexp "([0-9a-f]{2})*"': 'hexstring = text .regexp "^([0-9a-f]{2})*$"',
    "StatelessResetToken = hexstring .size 16": 'StatelessResetToken = text .regexp "^[0-9a-f]{32}$"',
    "uint8 = uint .size 1": "uint8 = 0..255",
    "uint16 = uint .size 2": "uint16 = 0..65535",
    "uint32 = uint .size 4": "uint32 = 0..4294967295",
    "uint64 = uint .size 8": "uint64 = 0..18446744073709551615",
    'ECN = "Not-ECT" / "ECT(1)" / "ECT(0)" / "CE"': 'ECN = text .regexp "^(Not-ECT|ECT[(][01][)]|CE)$"',
    "~LogFile": "file_schema: text\n serialization_format: text\n ? title: text\n ? description: text",
}

# The members that the dual profile adds for viewers of qlog 0.3.
FOR_VIEWERS = {
    '       frame_type: "stream"\n': '       frame_type: "stream"\n       ? length: uint64\n',
    "* $$quic-parametersset-extension": "? owner: Initiator",
    "* $$quic-connectionclosed-extension": "? owner: Initiator",
    "       trace: TraceSeq\n": '       trace: TraceSeq\n       qlog_version: "0.3"\n       qlog_format: "JSON-SEQ"\n',
}


class Trace:
    """A trace's file, kept in memory."""

    def __init__(self):
        self.text = ""

    def write(self, text):
        self.text += text

    def close(self):
        assert self.text.endswith("\n")

    def records(self):
        return [json.loads(record) for record in self.text.split("\x1e")[1:]]


def rules_of(text):
    """Return the CDDL rules in the text of a draft."""
    lines = iter(text.splitlines())
    line = next(lines, None)
    rules = []
    while line is not None:
        if not RULE_START.match(line):
            line = next(lines, None)
            continue
        while (
            line is not None
            and "Figure " not in line
            and re.match(r"\s*$|   (\s|[}\];]|[$A-Za-z][\w$-]*\s+/?/?=)", line)
        ):
            rules.append(line)
            line = next(lines, None)
    return "\n".join(rules)


@cache
def rules(profile):
    """Return the rules of both drafts, as far as `profile` goes."""
    if not DRAFTS.is_dir():
        message = f"needs the texts of the qlog drafts in {DRAFTS}"
        if os.environ.get("QUICSIM_NO_SKIP") == "1":
            pytest.fail(message, pytrace=False)
        pytest.skip(message)
    main = MAIN_SCHEMA.read_text()
    body = main[main.index("\n1.  Introduction") :]
    examples = slice(body.index("\n8.2.  Extending the Data Field"), body.index("\n8.3.  Event Importance"))
    text = rules_of(body.replace(body[examples], "")) + "\n" + rules_of(QUIC_EVENTS.read_text())
    for written, meant in (REWRITTEN | (FOR_VIEWERS if profile is Profile.DUAL else {})).items():
        assert written in text, written
        text = text.replace(written, meant)
    return text


@cache
def schema(rule, profile):
    return pycddl.Schema(f"start = {rule}\n{rules(profile)}")


@cache
def rule_named(name, profile):
    """Return the rule whose name is `name` but for its case."""
    names = re.findall(r"^   ([A-Za-z][\w]*) =", rules(profile), re.MULTILINE)
    return next(rule for rule in names if rule.lower() == name.lower())


def cbor(value):
    """Encode what JSON can hold; the validator takes nothing else."""
    if value is None or isinstance(value, bool):
        return {None: b"\xf6", True: b"\xf5", False: b"\xf4"}[value]
    if isinstance(value, int):
        return cbor_head(0, value) if value >= 0 else cbor_head(1, -1 - value)
    if isinstance(value, float):
        return b"\xfb" + struct.pack(">d", value)
    if isinstance(value, str):
        return cbor_head(3, len(value.encode())) + value.encode()
    if isinstance(value, list):
        return cbor_head(4, len(value)) + b"".join(map(cbor, value))
    items = b"".join(cbor(key) + cbor(item) for key, item in value.items())
    return cbor_head(5, len(value)) + items


def cbor_head(major, number):
    if number < 24:
        return bytes([major << 5 | number])
    size = next(size for size in (1, 2, 4, 8) if number < 256**size)
    return bytes([major << 5 | 24 + size.bit_length() - 1]) + number.to_bytes(size)


def validate(record, profile):
    """Check a record of a trace: the header, or an event with its data and each of its frames."""
    if "name" not in record:
        schema("QlogFileSeq", profile).validate_cbor(cbor(record))
        return
    namespace, _, event = record["name"].partition(":")
    if profile is Profile.DUAL and namespace == "recovery":
        namespace, event = "quic", f"recovery_{event}"
    assert type(record["time"]) is float
    rule = rule_named(namespace + event.replace("_", ""), profile)
    schema(rule, profile).validate_cbor(cbor(record["data"]))
    for frame in record["data"].get("frames", ()):
        rule = rule_named(frame["frame_type"].replace("_", "") + "frame", profile)
        schema(rule, profile).validate_cbor(cbor(frame))


def opened(profile, **options):
    """Return an observer and the traces that it has opened, by name."""
    traces = {}
    observer = QlogObserver("host", lambda name: traces.setdefault(name, Trace()), profile=profile, **options)
    return observer, traces


PAYLOAD = b"".join(
    (
        bytes(3),
        b"\x01",
        wire.encode_ack([(7, 9), (5, 5), (0, 3)], 12, (1, 2, 3)),
        wire.encode_reset_stream(4, 17, 1000),
        wire.encode_stop_sending(4, 17),
        wire.encode_crypto_header(0, 2) + b"ab",
        wire.encode_new_token(b"token"),
        wire.encode_stream_header(0, 0, 2, False) + b"ab",
        wire.encode_stream_header(0, 2, 2, True) + b"cd",
        wire.encode_max_data(5),
        wire.encode_max_stream_data(0, 5),
        wire.encode_max_streams(5, True),
        wire.encode_data_blocked(5),
        wire.encode_stream_data_blocked(0, 5),
        wire.encode_streams_blocked(5, False),
        wire.encode_new_connection_id(1, 0, b"12345678", bytes(16)),
        wire.encode_retire_connection_id(0),
        wire.encode_path_challenge(b"12345678"),
        wire.encode_path_response(b"12345678"),
        wire.encode_connection_close(10, 6, b"why"),
        wire.encode_connection_close(0x128, 0, b"alert"),
        wire.encode_connection_close(3, None, b"\xff"),
        wire.encode_handshake_done(),
        wire.encode_immediate_ack(),
        wire.encode_ack_frequency(1, 10, 25_000, 3),
        wire.encode_datagram_header(2) + b"ab",
    )
)


def packet(packet_type="1RTT", number=5, payload=PAYLOAD, **fields):
    long = packet_type != "1RTT"
    values = {
        "version": 1 if long else 0,
        "destination_cid": b"destinat",
        "source_cid": b"source" if long else b"",
        "token": b"",
        "key_phase": 0,
        "spin": 0,
        "size": len(payload) + 40,
    } | fields
    return PacketInfo(packet_type=packet_type, packet_number=number, payload=payload, **values)


def metrics(window, **fields):
    values = {
        "min_rtt_ns": 50_000_000,
        "smoothed_rtt_ns": 51_234_567,
        "latest_rtt_ns": 52_000_001,
        "rttvar_ns": 1,
        "pto_count": 0,
        "bytes_in_flight": 2400,
        "ssthresh": None,
        "packets_in_flight": 2,
        "pacing_rate": None,
    } | fields
    return RecoveryMetrics(congestion_window=window, **values)


def tell_everything(observer):
    """Call every hook that a trace has an event for."""
    trace = observer.connection(0, "server", b"original")
    trace.connection_started(0, ("10.0.0.1", 4433), ("10.0.0.2", 50_000), b"scid", b"dcid")
    trace.version_selected(1, 1)
    trace.alpn_selected(1, "quicsim")
    parameters = {
        "original_destination_connection_id": b"original",
        "stateless_reset_token": bytes(16),
        "max_idle_timeout": 30_000,
        "disable_active_migration": True,
        "ack_delay_exponent": 4,
        "preferred_address": None,
        "version_information": (1, (1,)),
    }
    trace.parameters_set(2, "local", parameters)
    trace.parameters_set(2, "remote", {"initial_max_data": 1 << 40, "disable_1rtt_encryption": True})
    trace.key_updated(3, "server_1rtt_secret", "tls", 0)
    trace.key_discarded(3, "client_initial_secret")
    trace.connection_state(3, "handshaking", "established")
    trace.connection_state(3, "established", "confirmed")
    trace.datagrams_sent(4, [1200, 300], 2)
    trace.datagram_received(4, 1200, 0)
    trace.packet_sent(5, packet())
    trace.packet_sent(5, packet("retry", -1, b"", token=b"retry token"))
    trace.packet_sent(5, packet("version_negotiation", -1, bytes((0, 0, 0, 1)), version=0))
    trace.packet_received(6, packet("initial", 0, token=b"token"))
    trace.packet_received(6, packet("1RTT", 1, b"\x40\x40undecodable"))
    for trigger in ("decryption_failure", "unknown_connection_id", "something else"):
        trace.packet_dropped(7, "1RTT", 33, trigger)
    trace.packet_buffered(7, "handshake", 1200)
    trace.packets_acked(8, "1RTT", [1, 2, 3])
    for trigger in ("reordering_threshold", "time_threshold", "pto_expired"):
        trace.packet_lost(8, "1RTT", 4, 1200, trigger)
    trace.metrics_updated(9, metrics(12_000))
    trace.metrics_updated(10, metrics(13_200, ssthresh=6000, pacing_rate=10**7))
    trace.congestion_state(10, "slow_start", "recovery")
    for old, new in (("testing", "unknown"), ("unknown", "capable"), ("capable", "failed")):
        trace.ecn_state(10, old, new)
    trace.mtu_updated(10, 1200, 1452, False)
    trace.mtu_updated(11, 1452, 1452, True)
    trace.path_assigned(11, 1, ("10.0.0.1", 4433), ("2001:db8::2", 50_001))
    for state in ("probing_started", "probing_successful", "probing_abandoned"):
        trace.migration_state(11, state, 1)
    for state in ("migration_started", "migration_complete", "migration_abandoned"):
        trace.migration_state(11, state, 0)
    trace.packet_sent(11, packet()._replace(path=1))
    trace.packet_received(11, packet("1RTT", 1)._replace(path=1))
    trace.metrics_updated(11, metrics(12_000, path=1))
    trace.path_dropped(11, 1)
    trace.loss_timer(11, "set", "pto", "1RTT", 100_000_011)
    trace.loss_timer(12, "cancelled", "ack", "handshake", None)
    for side, states in {
        "sending": ("send", "data_sent", "data_recvd", "reset_sent", "reset_recvd"),
        "receiving": ("recv", "size_known", "data_recvd", "data_read", "reset_recvd", "reset_read"),
    }.items():
        for state in states:
            trace.stream_state(13, 4, side, states[0], state)
    trace.data_blocked(14, None, 1000)
    trace.data_blocked(14, 4, 1000)
    trace.connection_closed(15, "local", 10, False, "broken", "error")
    trace.connection_state(16, "closing", "closed")
    return trace


@pytest.mark.parametrize("profile", [Profile.RFC, Profile.DUAL])
def test_every_event_has_the_form_that_the_drafts_define(profile):
    observer, traces = opened(profile, scenario={"seed": 7})
    tell_everything(observer)
    (trace,) = traces.values()
    for record in trace.records():
        validate(record, profile)
    frames = [f["frame_type"] for r in trace.records() for f in r.get("data", {}).get("frames", ())]
    assert len(set(frames)) == 21 + 1  # all of them, and an unknown one
    unknown = [r["data"]["unknown_parameters"] for r in trace.records() if "unknown_parameters" in r.get("data", ())]
    assert unknown == [[{"id": 0xBAAD}]]


@pytest.mark.parametrize(
    ("code", "application", "expected"),
    [
        (0x0A, False, {"connection_error": "protocol_violation"}),
        (0x128, False, {"connection_error": "crypto_error_0x128"}),
        (0x11, False, {"connection_error": "unknown", "error_code": 0x11}),
        (77, True, {"application_error": "unknown", "error_code": 77}),
        (None, False, {}),
    ],
)
def test_ends_of_all_kinds_have_the_form_that_the_drafts_define(code, application, expected):
    observer, traces = opened(Profile.RFC)
    trace = observer.connection(0, "client", b"original")
    trace.connection_closed(1, "remote", code, application, "", "idle_timeout" if code is None else "unclear")
    (_, record) = next(iter(traces.values())).records()
    validate(record, Profile.RFC)
    trigger = "idle_timeout" if code is None else "unspecified"
    assert record["data"] == {"initiator": "remote", "trigger": trigger} | expected


def test_the_traces_of_a_lossy_transfer_have_the_form_that_the_drafts_define():
    observer, traces = opened(Profile.RFC)
    simulation = Simulation(3, observer=lambda host: observer)
    down = [Rate("10Mbps"), TailDrop("20kB"), Delay("10ms"), Loss(0.02)]
    simulation.link("a", "b", [Delay("10ms")], down)
    simulation.spawn("b", bulk_server, credentials())
    simulation.run(simulation.spawn("a", bulk_client, "b", trust=credentials(), size=100_000))
    assert len(traces) == 2
    for trace in traces.values():
        for record in trace.records():
            validate(record, Profile.RFC)


def first(records, name):
    return copy.deepcopy(next(record for record in records if record.get("name") == name))


@pytest.mark.parametrize(
    ("name", "change"),
    [
        ("quic:packet_sent", lambda data: data["header"].update(packet_type="2RTT")),
        ("quic:packet_sent", lambda data: data["header"].update(packet_number=-1)),
        ("quic:packet_sent", lambda data: data["header"].update(dcid="0g")),
        ("quic:packet_sent", lambda data: data.pop("header")),
        ("quic:packet_sent", lambda data: data.update(unheard_of=1)),
        ("quic:packet_sent", lambda data: data["frames"][5].update(raw=[])),
        ("quic:packet_sent", lambda data: data["frames"][2].update(acked_ranges=[[1, 2, 3]])),
        ("quic:packet_sent", lambda data: data["frames"][7].pop("stream_id")),
        ("quic:recovery_metrics_updated", lambda data: data.update(smoothed_rtt="51")),
        ("quic:recovery_metrics_updated", lambda data: data.update(congestion_window=1.5)),
        ("quic:ecn_state_updated", lambda data: data.update(new="good")),
        ("quic:mtu_updated", lambda data: data.update(new=-1)),
        ("quic:timer_updated", lambda data: data.update(event_type="started")),
        ("quic:tuple_assigned", lambda data: data.update(tuple_id=1)),
        ("quic:tuple_assigned", lambda data: data["tuple_local"].update(port_v4=-1)),
        ("quic:migration_state_updated", lambda data: data.update(new="probing")),
        ("quic:stream_state_updated", lambda data: data.update(new="recv")),
        ("quic:parameters_set", lambda data: data.update(stateless_reset_token="00")),
        ("quic:packet_lost", lambda data: data.update(trigger="bad luck")),
    ],
)
def test_the_check_notices_what_is_wrong(name, change):
    observer, traces = opened(Profile.RFC)
    tell_everything(observer)
    (trace,) = traces.values()
    record = first(trace.records(), name)
    validate(record, Profile.RFC)
    change(record["data"])
    with pytest.raises((pycddl.ValidationError, StopIteration)):
        validate(record, Profile.RFC)


def test_the_check_notices_what_is_wrong_with_a_header():
    observer, traces = opened(Profile.RFC)
    observer.connection(0, "client", b"original")
    (trace,) = traces.values()
    (header,) = trace.records()
    validate(header, Profile.RFC)
    header["trace"]["vantage_point"]["type"] = "bystander"
    with pytest.raises(pycddl.ValidationError):
        validate(header, Profile.RFC)
