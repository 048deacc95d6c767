"""A path's anti-amplification credit, and pacing (RFC 9000 section 8, RFC 9002 section 7.7)."""

import pytest

from tests.support.pair import Pair
from tests.support.paths import make_path


@pytest.mark.requirement("rfc9000:8:1")
@pytest.mark.requirement("rfc9000:8.1:2")
def test_credit_is_three_times_what_was_received() -> None:
    path = make_path(validated=False)
    assert path.amplification_blocked()
    path.bytes_received = 1200
    assert path.amplification_credit() == 3600
    path.bytes_sent = 3500
    assert path.amplification_blocked()
    path.validated = True
    assert not path.amplification_blocked()


def test_the_quota_is_the_smaller_of_window_and_pacing() -> None:
    path = make_path(pacing=True, initial_rtt_ns=100_000_000)
    assert path.send_quota(0) == 12_000
    path.bytes_in_flight = 11_000
    assert path.send_quota(0) == 1_000
    assert path.paced_until() is None, "the window has no room either"
    path.bytes_in_flight = 0
    assert path.pacer is not None
    path.pacer.on_sent(12_000, 0)
    assert path.send_quota(0) == 0
    # slow start: twice 12,000 bytes in 100 ms
    assert path.paced_until() == 5_000_000


@pytest.mark.requirement("rfc9002:7.2:2")
def test_another_datagram_size_makes_another_initial_window() -> None:
    path = make_path(validated=True)
    path.set_datagram_size(1400)
    assert path.send_quota(0) == 14_000


def test_without_pacing_the_window_alone_counts() -> None:
    path = make_path()
    assert path.send_quota(0) == 12_000
    assert path.pacing_rate() is None
    assert path.paced_until() is None


@pytest.mark.requirement("rfc9002:7.2:3")
def test_a_peer_that_takes_only_smaller_datagrams_gets_the_initial_window_of_that_size() -> None:
    pair = Pair(client={"max_udp_payload_size": 1300}, server={"datagram_size": 1800})
    _, server = pair.established()
    assert server.path.datagram_size == 1300
    assert server.path.congestion.congestion_window == 13_000
