"""What an endpoint makes of its peer's transport parameters (RFC 9000 sections 7.3, 7.4 and 18.2)."""

import random

import pytest

from stack.errors import TRANSPORT_PARAMETER_ERROR, ConfigError
from stack.events import ConnectionEnded
from stack.wire.parameters import (
    TransportParameters,
    decode_transport_parameters,
)
from stack.wire.varint import encode_varint
from tests.support.lying_tls import Change, LyingTls, setting
from tests.support.pair import MS, SECOND, Pair


def appending(identifier: int, data: bytes) -> Change:
    return lambda encoded: encoded + encode_varint(identifier) + encode_varint(len(data)) + data


def pair_with(liar: str, change: Change) -> Pair:
    """A pair whose client or server lies."""
    fields = {"tls": LyingTls(change)}
    return Pair(client=fields) if liar == "client" else Pair(server=fields)


def refusal(liar: str, change: Change) -> ConnectionEnded:
    """Connect with a client or server that lies; return how the other end closes."""
    pair = pair_with(liar, change)
    client = pair.connect()
    pair.run_for(100 * MS)
    judge = pair.server_connection if liar == "client" else client
    assert judge is not None
    assert judge.closing.ended is not None
    assert not judge.closing.ended.remote
    return judge.closing.ended


BOTH = [
    pytest.param(setting(initial_source_connection_id=b"wrong"), marks=pytest.mark.requirement("rfc9000:7.3:4")),
    pytest.param(setting(initial_source_connection_id=None), marks=pytest.mark.requirement("rfc9000:7.3:3")),
    pytest.param(setting(max_udp_payload_size=1199), marks=pytest.mark.requirement("rfc9000:7.4:1")),
    pytest.param(setting(ack_delay_exponent=21), marks=pytest.mark.requirement("rfc9000:7.4:1")),
    pytest.param(setting(max_ack_delay=1 << 14), marks=pytest.mark.requirement("rfc9000:7.4:1")),
    pytest.param(setting(active_connection_id_limit=1), marks=pytest.mark.requirement("rfc9000:18.2:9")),
    pytest.param(setting(initial_max_streams_bidi=(1 << 60) + 1), marks=pytest.mark.requirement("rfc9000:4.6:1")),
    pytest.param(appending(0x04, b"\x01"), marks=pytest.mark.requirement("rfc9000:7.4:3")),
]


@pytest.mark.requirement("rfc9000:7.3:2")
@pytest.mark.parametrize("liar", ["client", "server"])
@pytest.mark.parametrize("change", BOTH)
def test_impossible_parameters_are_refused_by_either_side(liar: str, change: Change) -> None:
    ended = refusal(liar, change)
    assert (ended.code, ended.application) == (TRANSPORT_PARAMETER_ERROR, False)


@pytest.mark.requirement("rfc9000:7.3:4")
@pytest.mark.parametrize(
    "change",
    [
        setting(original_destination_connection_id=b"not yours"),
        pytest.param(setting(original_destination_connection_id=None), marks=pytest.mark.requirement("rfc9000:7.3:3")),
        setting(retry_source_connection_id=b"no Retry was sent"),
    ],
)
def test_a_client_checks_what_only_a_server_sends(change: Change) -> None:
    assert refusal("server", change).code == TRANSPORT_PARAMETER_ERROR


@pytest.mark.requirement("rfc9000:18.2:11")
@pytest.mark.parametrize(
    "change",
    [
        setting(original_destination_connection_id=b"12345678"),
        setting(stateless_reset_token=bytes(16)),
        setting(retry_source_connection_id=b"12345678"),
    ],
)
def test_a_server_refuses_what_only_servers_send(change: Change) -> None:
    assert refusal("client", change).code == TRANSPORT_PARAMETER_ERROR


@pytest.mark.requirement("rfc9000:7.4.2:1")
@pytest.mark.parametrize("liar", ["client", "server"])
def test_unknown_parameters_are_ignored(liar: str) -> None:
    pair_with(liar, appending(31 * 7 + 27, random.Random(1).randbytes(9))).established()


def test_each_side_knows_what_the_other_announced() -> None:
    pair = Pair(
        client={"initial_max_data": 12_345, "ack_delay_exponent": 7, "max_ack_delay_ms": 11},
        server={"initial_max_streams_uni": 5, "active_connection_id_limit": 3},
    )
    client, server = pair.established()
    seen = server.parameters.peer
    assert seen is not None
    assert (seen.initial_max_data, seen.ack_delay_exponent, seen.max_ack_delay) == (12_345, 7, 11)
    assert server.recovery.timer.max_ack_delay_ns == 11 * MS
    assert pair.recorder_of(client).remote_parameters["initial_max_streams_uni"] == 5
    assert pair.recorder_of(client).remote_parameters["active_connection_id_limit"] == 3


@pytest.mark.requirement("rfc9000:7.4:2")
@pytest.mark.requirement("rfc9000:18.2:1")
@pytest.mark.requirement("rfc9000:18.2:10")
def test_what_is_sent_decodes_to_what_the_rfc_asks_of_each_side() -> None:
    sent: list[TransportParameters] = []

    def look(encoded: bytes) -> bytes:
        sent.append(decode_transport_parameters(encoded, from_client=not sent))
        return encoded

    tls = LyingTls(look)
    pair = Pair(client={"tls": tls}, server={"tls": tls})
    client, server = pair.established()
    from_client, from_server = sent
    assert from_client.stateless_reset_token is from_client.original_destination_connection_id is None
    assert from_client.retry_source_connection_id is from_client.preferred_address is None
    assert from_client.initial_source_connection_id == client.local_ids.first
    assert from_server.initial_source_connection_id == server.local_ids.first
    assert from_server.original_destination_connection_id == pair.sent[0].payload[6:14]
    assert len(from_server.stateless_reset_token or b"") == 16


@pytest.mark.parametrize("exponent", [0, 20])
def test_acknowledgment_delays_are_scaled_as_announced(exponent: int) -> None:
    """A delayed ACK must not look like a longer round trip, whatever its unit."""
    pair = Pair(server={"ack_delay_exponent": exponent, "max_ack_delay_ms": 2000}, delay_ns=10 * MS)
    client, _ = pair.established()
    stream_id = client.open_stream()
    assert stream_id is not None
    client.write(stream_id, b"x")
    sent_at = pair.now
    pair.run(lambda: client.path.bytes_in_flight == 0 or pair.now > sent_at + 10 * SECOND)
    assert pair.now == sent_at + 20 * MS + 2000 * MS
    rtt = client.path.rtt
    assert rtt.latest_rtt_ns == 2020 * MS
    # 2^20 µs is a coarse unit: only 1.05 s of the 2 s can be told
    reported = 2000 * MS if exponent == 0 else (1 << 20) * 1000
    assert rtt.smoothed_rtt_ns == pytest.approx((7 * 20 * MS + 2020 * MS - reported) / 8, abs=MS)


@pytest.mark.requirement("rfc9000:18.2:8")
@pytest.mark.parametrize("limit", [-1, 0, 1])
def test_fewer_than_two_connection_ids_are_never_announced(limit: int) -> None:
    with pytest.raises(ConfigError, match=f"active_connection_id_limit = {limit}: must be from 2"):
        Pair(client={"active_connection_id_limit": limit})


@pytest.mark.requirement("rfc9000:18.2:2")
def test_the_announced_ack_delay_allows_for_late_timers() -> None:
    pair = Pair(server={"max_ack_delay_ms": 25, "timer_delay_ms": 3})
    client, server = pair.established()
    assert client.recovery.timer.max_ack_delay_ns == 28 * MS
    stream_id = client.open_stream()
    assert stream_id is not None
    client.write(stream_id, b"hello")
    pair.flush()
    asked_at = pair.now + pair.delay_ns
    pair.settle(100 * MS)
    acks = [packet.at for packet in pair.recorder_of(server).sent if packet.at > asked_at - MS]
    assert acks[0] == asked_at + 25 * MS, "and we do not use it ourselves"
