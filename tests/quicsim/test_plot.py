"""Figures: what they show, and that their files never differ."""

import struct
import subprocess
import sys

import pytest

from links import Delay, Rate
from quicsim import Simulation, plot
from quicsim import test_certificate as credentials
from quicsim.applications import bulk_client, bulk_server
from quicsim.metrics import MetricsObserver
from quicsim.series import Series
from stack.observer import PacketInfo, RecoveryMetrics
from stack.wire.frames import encode_stream_header

MS = 1_000_000


def stream_packet(number, offset):
    payload = encode_stream_header(0, offset, 1000, False) + bytes(1000)
    return PacketInfo("1RTT", number, 0, b"", b"", b"", 0, 0, 1030, payload)


@pytest.fixture(scope="module")
def transfer():
    """Metrics of a sender and a receiver, and a queue: 1000 packets, of which each 50th is lost and sent again."""
    sender, receiver, queue = MetricsObserver("server"), MetricsObserver("client"), Series("queued_bytes")
    out, into = sender.connection(0, "server", b"\x01"), receiver.connection(0, "client", b"\x01")
    window = 12_000
    for number in range(1000):
        now = number * 10 * MS
        out.packet_sent(now, stream_packet(number, number * 1000))
        queue.append(now, number % 60 * 1000)
        window += 100
        if number % 50 == 49:
            out.packet_lost(now + 50 * MS, "1RTT", number, 1030, "time_threshold")
            out.packet_sent(now + 5 * MS, stream_packet(number, number * 1000))
            window //= 2
        into.packet_received(now + 25 * MS, stream_packet(number, number * 1000))
        out.metrics_updated(
            now + 5 * MS,
            RecoveryMetrics(50 * MS, 51 * MS, 52 * MS, MS, 0, window, window - 500, window // 2, 9, None),
        )
    return sender.connections[0], receiver.connections[0], queue


def figures(transfer):
    sender, receiver, queue = transfer
    return {
        "congestion": plot.congestion(sender),
        "sequence": plot.sequence(sender, receiver),
        "throughput": plot.throughput(receiver, queue, capacity=10_000_000, queue_limit=64_000),
    }


def labels(axes):
    return [text.get_text() for text in axes.get_legend().get_texts()]


def png(figure):
    parts = []
    plot.save(figure, parts.append)
    return b"".join(parts)


def test_axes_say_what_they_show_in_which_unit(transfer):
    named = {name: [axes.get_ylabel() for axes in figure.axes] for name, figure in figures(transfer).items()}
    assert named["congestion"] == ["window (kB)", "round-trip time (ms)"]
    assert named["sequence"] == ["stream offset (MB)", "stream offset (MB)"]
    assert named["throughput"] == ["goodput (Mbit/s)", "queue length (kB)"]
    for figure in figures(transfer).values():
        assert figure.axes[-1].get_xlabel() == "time (s)"


def test_the_congestion_figure_has_window_flight_and_losses(transfer):
    window, rtt = plot.congestion(transfer[0]).axes
    assert labels(window) == [
        "bytes in flight",
        "congestion window",
        "slow start threshold",
        "packet declared lost (20)",
    ]
    assert labels(rtt) == ["latest RTT", "smoothed RTT"]


def test_the_sequence_figure_marks_what_was_sent_again(transfer):
    axes = plot.sequence(transfer[0], transfer[1]).axes[0]
    assert labels(axes) == ["sent", "received by client (total)", "sent again (20 frames)"]


def test_the_throughput_figure_has_the_links_capacity_and_the_queues_limit(transfer):
    goodput, queue = figures(transfer)["throughput"].axes
    assert "link capacity (10 Mbit/s)" in labels(goodput)
    assert "queue limit (64 kB)" in labels(queue)


def test_the_throughput_figure_does_without_a_queue(transfer):
    assert len(plot.throughput(transfer[1]).axes) == 1


def test_legends_lie_outside_of_the_data(transfer):
    for figure in figures(transfer).values():
        png(figure)  # which lays it out
        for axes in figure.axes:
            if axes.get_legend() is not None:
                assert axes.get_legend().get_window_extent().y0 >= axes.get_window_extent().y1 - 1


def test_the_same_figure_gives_the_same_file_which_names_no_program(transfer):
    for (name, one), other in zip(figures(transfer).items(), figures(transfer).values(), strict=True):
        image = png(one)
        assert image == png(other), name
        assert chunks(image) == {b"IHDR", b"pHYs", b"IDAT", b"IEND"}


def chunks(image):
    """Return the kinds of chunks in a PNG file."""
    kinds, offset = set(), 8
    while offset < len(image):
        length, kind = struct.unpack_from(">I4s", image, offset)
        kinds.add(kind)
        offset += length + 12
    return kinds


def test_a_connection_that_never_was_can_be_plotted():
    observer = MetricsObserver("alice")
    observer.connection(0, "client", b"")
    (nothing,) = observer.connections
    for figure in (plot.congestion(nothing), plot.sequence(nothing, nothing), plot.throughput(nothing)):
        assert png(figure)


def test_pyplot_is_left_alone():
    code = "import sys, quicsim.plot; sys.exit('matplotlib.pyplot' in sys.modules)"
    subprocess.run([sys.executable, "-c", code], check=True, timeout=60)


@pytest.fixture(scope="module")
def moved():
    """Metrics of a client and a server whose client behind a NAT gets another port in the middle of a download."""
    observers = {"client": MetricsObserver("client"), "server": MetricsObserver("server")}
    simulation = Simulation(1, observer=observers.get)
    nat = simulation.nat("client", ["198.51.100.1"])
    simulation.link("client", "server", [Delay("10ms")], [Rate("10Mbps"), Delay("10ms")])
    simulation.spawn("server", bulk_server, credentials())
    simulation.at("300ms", nat.rebind)
    simulation.run(simulation.spawn("client", bulk_client, "server", trust=credentials(), size=1 << 20))
    return observers["client"].connections[0], observers["server"].connections[0]


def test_the_figure_of_paths_has_a_curve_for_each(moved):
    _, server = moved
    figure = plot.paths(server)
    rate, window, rtt = figure.axes
    assert [axes.get_ylabel() for axes in figure.axes] == [
        "sent (Mbit/s)",
        "congestion window (kB)",
        "smoothed RTT (ms)",
    ]
    assert labels(rate) == [
        "path 0: 198.51.100.1:20000 – 10.0.0.2:4433",
        "path 1: 198.51.100.1:20001 – 10.0.0.2:4433",
    ]
    assert len(window.lines) == len(rtt.lines) == 2 + len(server.paths.changes)
    assert png(figure) == png(plot.paths(server))


def test_the_figure_of_a_validation_has_challenges_responses_and_the_limit(moved):
    client, server = moved
    (change,) = server.paths.changes
    figure = plot.path_validation(client, server, change)
    messages, credit = figure.axes
    assert [label.get_text() for label in messages.get_yticklabels()] == ["server", "client"]
    assert labels(messages)[:2] == ["PATH_CHALLENGE", "PATH_RESPONSE"]
    assert labels(messages)[-1] == "path 1: 198.51.100.1:20001 – 10.0.0.2:4433"
    arrows = [text for text in messages.texts if text.arrow_patch is not None]
    assert len(arrows) >= 2
    assert labels(credit) == [
        "3 × bytes received on the path",
        "bytes sent on the path",
        "address validated",
        "path validated",
    ]
    assert png(figure) == png(plot.path_validation(client, server, change))
