"""The traces' form as files: records, times, profiles, limits."""

import json

import pytest

from quicsim.qlog import Profile, QlogObserver
from stack.observer import PacketInfo, RecoveryMetrics
from stack.wire.frames import encode_ack, encode_stream_header


class Trace:
    def __init__(self):
        self.text = ""
        self.closed = False

    def write(self, text):
        assert not self.closed
        self.text += text

    def close(self):
        self.closed = True

    @property
    def records(self):
        return [json.loads(record) for record in self.text.split("\x1e")[1:]]

    def events(self, name):
        return [record for record in self.records if record.get("name") == name]


class Traces:
    """An observer of the host "alice", and what it writes."""

    def __init__(self, profile=Profile.DUAL, **options):
        self.files = {}
        self.observer = QlogObserver("alice", self.open, profile=profile, title="a run", **options)

    def open(self, name):
        self.files[name] = trace = Trace()
        return trace

    def start(self, role="client", cid=b"\x83\x94"):
        return self.observer.connection(0, role, cid), list(self.files.values())[-1]


def stream_packet(number=0, ack_delay=None):
    payload = encode_stream_header(4, 100, 3, True) + b"abc"
    if ack_delay is not None:
        payload = encode_ack([(3, 3), (0, 1)], ack_delay) + payload
    return PacketInfo("1RTT", number, 0, b"\x01\x02", b"", b"", 0, 0, 60, payload)


def recovery(**fields):
    values = {
        "min_rtt_ns": 0,
        "smoothed_rtt_ns": 333_000_000,
        "latest_rtt_ns": 0,
        "rttvar_ns": 166_500_000,
        "pto_count": 0,
        "congestion_window": 12_000,
        "bytes_in_flight": 0,
        "ssthresh": None,
        "packets_in_flight": 0,
        "pacing_rate": None,
    }
    return RecoveryMetrics(**(values | fields))


def test_each_connection_has_a_file_named_after_host_connection_and_role():
    traces = Traces()
    traces.start("client", b"\x83\x94")
    traces.start("server", b"\x01\x02")
    assert list(traces.files) == ["alice_8394_client.sqlog", "alice_0102_server.sqlog"]


def test_records_are_json_text_sequences():
    connection, trace = Traces().start()[0:2]
    connection.packet_sent(1, stream_packet())
    for record in trace.text.split("\x1e")[1:]:
        assert record.endswith("\n")
        assert "\n" not in record[:-1]
        json.loads(record)
    assert trace.text.startswith("\x1e{")
    assert trace.text.isascii()


def test_readers_of_both_generations_find_what_they_look_for_in_the_first_bytes():
    _, trace = Traces(Profile.DUAL).start()
    assert '"file_schema":"urn:ietf:params:qlog:file:sequential"' in trace.text[:256]
    assert '"serialization_format":"application/qlog+json-seq"' in trace.text[:256]
    assert '"qlog_version":"0.3"' in trace.text[:1024]
    assert '"qlog_format":"JSON-SEQ"' in trace.text[:1024]


@pytest.mark.parametrize("profile", Profile)
def test_the_header_says_whose_trace_it_is_and_what_its_times_mean(profile):
    _, trace = Traces(profile).start("server", b"\xaa\xbb")
    (header,) = trace.records
    assert header["title"] == "a run"
    assert header["trace"]["vantage_point"] == {"name": "alice", "type": "server"}
    common = header["trace"]["common_fields"]
    assert common["group_id"] == "aabb"
    assert common["time_format"] == "relative_to_epoch"
    assert common["reference_time"] == {"clock_type": "monotonic", "epoch": "unknown"}


@pytest.mark.parametrize(
    ("now", "text"),
    [
        (0, "0.0"),
        (1, "1e-06"),
        (12_345_678, "12.345678"),
        (41_859_312_001, "41859.312001"),
        (86_400 * 10**9 + 1, "86400000.000001"),
    ],
)
def test_times_are_exact_milliseconds(now, text):
    connection, trace = Traces().start()
    connection.alpn_selected(now, "x")
    assert f'{{"time":{text},' in trace.text


def test_the_dual_profile_has_new_names_with_old_categories_and_repeats_the_metrics():
    connection, trace = Traces(Profile.DUAL).start()
    connection.packet_sent(5, stream_packet())
    connection.metrics_updated(6, recovery())
    connection.parameters_set(7, "remote", {"initial_max_data": 9})
    named = [(record["name"], record.get("category")) for record in trace.records[1:]]
    assert named == [
        ("quic:packet_sent", "transport"),
        ("quic:recovery_metrics_updated", "recovery"),
        ("recovery:metrics_updated", "recovery"),
        ("quic:parameters_set", "transport"),
    ]
    (stream,) = trace.records[1]["data"]["frames"]
    assert stream == {
        "frame_type": "stream",
        "stream_id": 4,
        "offset": 100,
        "fin": True,
        "length": 3,
        "raw": {"length": 3},
    }
    assert trace.records[2]["data"] == trace.records[3]["data"]
    assert trace.records[4]["data"] == {"initiator": "remote", "owner": "remote", "initial_max_data": 9}


def test_the_rfc_profile_has_nothing_but_what_the_drafts_define():
    connection, trace = Traces(Profile.RFC).start()
    connection.packet_sent(5, stream_packet())
    connection.metrics_updated(6, recovery())
    connection.parameters_set(7, "local", {"initial_max_data": 9})
    header, packet, metrics, parameters = trace.records
    assert "qlog_version" not in header
    assert [set(record) for record in (packet, metrics, parameters)] == [{"time", "name", "data"}] * 3
    assert packet["data"]["frames"][0]["raw"] == {"length": 3}
    assert "length" not in packet["data"]["frames"][0]
    assert parameters["data"] == {"initiator": "local", "initial_max_data": 9}


def test_the_qvis_profile_has_old_names_only():
    connection, trace = Traces(Profile.QVIS).start()
    connection.packet_sent(5, stream_packet())
    connection.metrics_updated(6, recovery())
    connection.loss_timer(7, "set", "pto", "1RTT", 1_000_007)
    header, *events = trace.records
    assert header["qlog_version"] == "0.3"
    assert "file_schema" not in header
    names = ["transport:packet_sent", "recovery:metrics_updated", "recovery:loss_timer_updated"]
    assert [event["name"] for event in events] == names
    assert events[2]["data"]["delta"] == 1.0


def test_only_metrics_that_changed_are_written():
    connection, trace = Traces(Profile.RFC).start()
    connection.metrics_updated(1, recovery())
    connection.metrics_updated(2, recovery(bytes_in_flight=1200, smoothed_rtt_ns=50_000_001))
    connection.metrics_updated(3, recovery(bytes_in_flight=1200, smoothed_rtt_ns=50_000_001))
    connection.metrics_updated(4, recovery(bytes_in_flight=1200, smoothed_rtt_ns=50_000_001, ssthresh=6000))
    _, *updates = [record["data"] for record in trace.events("quic:recovery_metrics_updated")]
    assert updates == [{"bytes_in_flight": 1200, "smoothed_rtt": 50.000001}, {"ssthresh": 6000}]


def test_ack_delays_count_in_the_unit_that_their_sender_announced():
    connection, trace = Traces(Profile.RFC).start()
    connection.parameters_set(1, "local", {"ack_delay_exponent": 0})
    connection.parameters_set(1, "remote", {"ack_delay_exponent": 10})
    connection.packet_sent(2, stream_packet(0, ack_delay=7))
    connection.packet_received(3, stream_packet(0, ack_delay=7))
    (sent,), (received,) = trace.events("quic:packet_sent"), trace.events("quic:packet_received")
    assert sent["data"]["frames"][0]["ack_delay"] == 0.007
    assert received["data"]["frames"][0]["ack_delay"] == 7.168


def test_ranges_of_one_packet_have_one_number_unless_a_viewer_needs_two():
    for profile, ranges in ((Profile.RFC, [[3], [0, 1]]), (Profile.DUAL, [[3, 3], [0, 1]])):
        connection, trace = Traces(profile).start()
        connection.packet_sent(2, stream_packet(0, ack_delay=7))
        assert trace.events("quic:packet_sent")[0]["data"]["frames"][0]["acked_ranges"] == ranges


def test_ecn_codepoints_are_written_when_they_change():
    connection, trace = Traces(Profile.RFC).start()
    for now, ecn in enumerate((2, 2, 3)):
        connection.datagrams_sent(now, [1200, 1200], ecn)
    sent = [record["data"].get("ecn") for record in trace.events("quic:udp_datagrams_sent")]
    assert sent == [["ECT(0)"] * 2, None, ["CE"] * 2]


def test_a_trace_stops_with_a_warning_at_its_limit():
    connection, trace = Traces(Profile.RFC, limit=2000).start()
    for number in range(100):
        connection.packet_sent(number, stream_packet(number))
    assert len(trace.text) < 3000
    assert [record["name"] for record in trace.records[-2:]] == ["quic:packet_sent", "loglevel:warning"]
    assert "2000 bytes" in trace.records[-1]["data"]["message"]


@pytest.mark.parametrize("closed_first", [True, False])
def test_a_trace_is_closed_when_its_connection_is_over(closed_first):
    connection, trace = Traces().start()
    hooks = [
        lambda: connection.connection_closed(1, "local", None, False, "", "idle_timeout"),
        lambda: connection.connection_state(1, "confirmed", "closed"),
    ]
    first, second = hooks if closed_first else reversed(hooks)
    first()
    assert not trace.closed
    second()
    assert trace.closed
    connection.packet_dropped(2, "1RTT", 30, "duplicate")  # goes nowhere


def test_closing_the_observer_closes_what_is_open():
    traces = Traces()
    connection, trace = traces.start()
    traces.observer.close()
    assert trace.closed
    connection.alpn_selected(5, "x")


def test_frames_that_can_not_be_decoded_do_not_disturb():
    connection, trace = Traces(Profile.RFC).start()
    packet = stream_packet()._replace(payload=b"\x06\x00\x7f")
    connection.packet_received(1, packet)
    (event,) = trace.events("quic:packet_received")
    assert event["data"]["frames"] == [{"frame_type": "unknown", "frame_type_bytes": 6, "raw": {"length": 3}}]


def test_ipv6_addresses_are_named_as_such():
    connection, trace = Traces(Profile.RFC).start()
    connection.connection_started(0, ("2001:db8::1", 4433), ("2001:db8::2", 50_000), b"\x01", b"\x02")
    (event,) = trace.events("quic:connection_started")
    assert event["data"]["local"] == {"ip_v6": "2001:db8::1", "port_v6": 4433, "connection_ids": ["01"]}


def test_paths_are_tuples_and_what_happens_on_a_further_one_says_so():
    connection, trace = Traces(Profile.RFC).start()
    connection.path_assigned(1, 1, ("10.0.0.1", 1), ("2001:db8::2", 2))
    connection.packet_sent(2, stream_packet())
    connection.packet_sent(3, stream_packet()._replace(path=1))
    connection.packet_received(4, stream_packet()._replace(path=1))
    connection.migration_state(5, "migration_started", 1)
    connection.path_dropped(6, 1)
    assigned, abandoned = (record["data"] for record in trace.events("quic:tuple_assigned"))
    assert assigned == {
        "tuple_id": "1",
        "tuple_remote": {"ip_v6": "2001:db8::2", "port_v6": 2},
        "tuple_local": {"ip_v4": "10.0.0.1", "port_v4": 1},
    }
    assert abandoned == {"tuple_id": "1"}
    assert [record.get("tuple") for record in trace.events("quic:packet_sent")] == [None, "1"]
    assert [record.get("tuple") for record in trace.events("quic:packet_received")] == ["1"]
    (moved,) = trace.events("quic:migration_state_updated")
    assert moved["data"] == {"new": "migration_started", "tuple_id": "1"}


def test_each_path_has_metrics_of_its_own():
    connection, trace = Traces(Profile.RFC).start()
    for path in (0, 1, 0, 1):
        connection.metrics_updated(1, recovery(path=path))
    connection.metrics_updated(2, recovery(path=1, pto_count=1))
    written = trace.events("quic:recovery_metrics_updated")
    assert [record.get("tuple") for record in written] == [None, "1", "1"]
    assert written[0]["data"] == written[1]["data"]
    assert written[2]["data"] == {"pto_count": 1}
