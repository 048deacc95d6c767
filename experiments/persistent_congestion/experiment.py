"""The example of RFC 9002 section 7.6.3: packets lost over seven seconds, between two probe timeouts."""

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, Final

import quicsim
from links import Datagram, Delay, LossIf
from quicsim import plot
from quicsim.experiments import Case, Check, Experiment, Measured, RecoveryObserver, Result
from quicsim.plot.curves import STEPS

if TYPE_CHECKING:
    from matplotlib.figure import Figure

_SECOND: Final = 1_000_000_000  # ns
_PTO_S: Final = 2  # by the delay that the server may take: 200 ms + 1 ms + 1799 ms
_RTT: Final = "200ms"
_MAX_ACK_DELAY_MS: Final = 1_799
_SLOW_ACK_MS: Final = 15_000
_PACKETS: Final = 7  # that the application sends, one each second: #1 to #7; #8 and #9 are probes
_WARM_UP: Final = 40  # round trips without any variation, until rttvar is below a quarter of a millisecond
_DATAGRAM: Final = 1200
_SOURCE: Final = "RFC 9002 section 7.6.3"


def measure(acknowledged: int) -> Measured:
    """Send #1 to #7, one each second, and lose #2 to #8 but `acknowledged` (0: none).

    Returns when each packet was sent and when it was declared lost, in s after #1, and the window after #9's ACK.
    """
    sent: list[int] = []
    started: list[int] = []

    def loses(datagram: Datagram) -> bool:
        if not started or datagram.sent_at < started[0]:
            return False
        sent.append(datagram.sent_at)
        return 2 <= len(sent) <= 8 and len(sent) != acknowledged

    logs = RecoveryObserver("client")
    sim = quicsim.Simulation(seed=1, observer=logs.observer, check=True)
    sim.link("alice", "bob", up=[Delay("100ms"), LossIf(loses)], down=[Delay("100ms")])
    options: dict[str, Any] = {"max_datagram_frame_size": 65_535, "skip_packet_numbers": False}

    async def server(net: quicsim.Net) -> None:
        listener = await net.listen(4433, quicsim.test_certificate(), max_ack_delay_ms=_MAX_ACK_DELAY_MS, **options)
        connection = await listener.accept()
        while True:  # what is sent back takes the ACK along at once
            connection.send_datagram(await connection.receive_datagram())

    async def client(net: quicsim.Net) -> None:
        trust = quicsim.test_certificate()
        # ACKs wait for the next packet, so that there are no others
        connection = await net.connect("bob", 4433, trust=trust, max_ack_delay_ms=_SLOW_ACK_MS, **options)
        for _ in range(_WARM_UP):
            connection.send_datagram(b"warming up")
            await connection.receive_datagram()
            await net.sleep("1s")
        started.append(net.now)
        for number in range(_PACKETS):
            connection.send_datagram(bytes((number,)))
            await net.sleep("1s")
        await net.sleep("8s")

    sim.spawn("bob", server)
    sim.run(sim.spawn("alice", client))
    (log,) = logs.logs
    (start,) = started

    def since(times: Sequence[int]) -> list[float]:
        return [(int(at) - start) / _SECOND for at in times]

    until = start + 13 * _SECOND
    return {
        "sent": since([at for at in sent if at < start + 12.1 * _SECOND]),
        "lost": since([at for at in log.lost["time"] if at < until]),
        "window": [log.at(start + tenth * _SECOND // 10) for tenth in range(130)],
        "before": log.at(start),
        "after": log.at(until),
    }


def judge(results: Sequence[Result]) -> list[Check]:
    """#2 to #8 are lost with the ACK of #9 at 12.2 s; it is persistent only if nothing between was acknowledged."""
    checks = []
    for result in results:
        acknowledged, measured = result.case["acknowledged"], result.measured
        if acknowledged:
            name = f"#{acknowledged} acknowledged: window above 2 datagrams, bytes"
            checks.append(Check.between(name, measured["after"], 2 * _DATAGRAM + 1, None, _SOURCE))
            continue
        checks.append(Check.exact("#1 to #9 sent at (s)", measured["sent"], [0, 1, 2, 3, 4, 5, 6, 8, 12], _SOURCE))
        checks.append(Check.exact("#2 to #8 declared lost at (s)", measured["lost"], [12.2] * 7, _SOURCE))
        checks.append(Check.note("window before, bytes", measured["before"]))
        checks.append(Check.exact("window after, bytes: 2 datagrams", measured["after"], 2 * _DATAGRAM, _SOURCE))
    return checks


def draw(results: Sequence[Result]) -> "dict[str, Figure]":
    """The window with nothing acknowledged between, and with one packet."""
    curves = [
        plot.Curve(
            [tenth / 10 for tenth in range(130)],
            [window / 1000 for window in result.measured["window"]],
            f"#{number} acknowledged" if (number := result.case["acknowledged"]) else "nothing acknowledged",
            STEPS,
        )
        for result in results
        if result.case["acknowledged"] in (0, 5)
    ]
    panel = plot.Panel(curves, "congestion window (kB)", "time since #1 (s)")
    return {"window": plot.curves("Losses over seven seconds, PTO 2 s", [panel])}


EXPERIMENT: Final = Experiment(
    claim="Losses over more than three probe timeouts, with nothing acknowledged between them, bring the window down "
    "to two datagrams; one packet acknowledged between them, and it is an ordinary loss.",
    cases=[Case({"acknowledged": number}, quick=number in (0, 5)) for number in (0, 3, 4, 5, 6, 7)],
    measure=measure,
    judge=judge,
    draw=draw,
)
