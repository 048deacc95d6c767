"""Slow start: how it grows, and how HyStart++ ends it before the queue overflows."""

from collections.abc import Sequence
from itertools import pairwise
from typing import TYPE_CHECKING, Any, Final

import quicsim
from links import Datagram, Delay, Rate, Reorder, TailDrop
from quicsim import plot
from quicsim.experiments import Case, Check, Experiment, Measured, RecoveryObserver, Result
from quicsim.plot.curves import STEPS

if TYPE_CHECKING:
    from matplotlib.figure import Figure

    from links import Element

_MS: Final = 1_000_000  # ns
_SECOND: Final = 1_000 * _MS
_DATAGRAM: Final = 1200  # bytes
_INITIAL: Final = 10  # datagrams
_STEP_ROUND: Final = 3  # the round whose datagrams are the first that take longer
_CSS_ROUNDS: Final = 5
# Of 80 datagrams in that round seven add themselves, and those from the eighth sample on a quarter
_FIRST: Final = round((80 + 7 + 73 / 4) / 80, 2)
_DOUBLING: Final = "slow start: IW (2ⁿ − 1) acknowledged after n rounds"
_EXIT: Final = "RFC 9406 section 4.2: by max(4 ms, min(lastRoundMinRTT / 8, 16 ms)) longer"
_CSS: Final = "RFC 9406 section 4.2: five rounds of a quarter of the growth, the one it begins in included"
_QUEUE: Final = "RFC 9406 section 1: fewer losses at the end of slow start; none if the queue bears five rounds more"
_DEEP: Final = 8  # bandwidth-delay products

# What is looked at
_ROUNDS: Final = "rounds"
_DELAY: Final = "delay"
_BOTTLENECK: Final = "bottleneck"


def measure(what: str, rtt_ms: int, later_ms: int, hystart: bool, queue_bdps: int = 0) -> Measured:
    """Download over a round trip of `rtt_ms` that takes `later_ms` more from the fourth round on.

    For "bottleneck" there is a link of 20 Mbit/s with a queue of `queue_bdps` bandwidth-delay products, else no limit.
    Returns the window at the end of each round, and what had been sent by then, both in datagrams, and the losses.
    """
    started = 0

    def is_late(datagram: Datagram) -> bool:
        return started > 0 and datagram.sent_at >= started + (_STEP_ROUND * rtt_ms + rtt_ms // 2) * _MS

    down: list[Element] = [Delay(f"{rtt_ms / 2}ms")]
    if what == _BOTTLENECK:
        down += [Rate("20Mbps"), TailDrop(20_000 // 8 * rtt_ms * queue_bdps)]
    if later_ms:
        down.append(Reorder(is_late, f"{later_ms}ms"))  # all of them, so that none overtakes another
    logs = RecoveryObserver()
    sim = quicsim.Simulation(seed=1, observer=logs.observer)
    sim.link("alice", "bob", up=[Delay(f"{rtt_ms / 2}ms")], down=down)
    unlimited = 1 << 30
    receiving: dict[str, Any] = {
        "initial_max_data": unlimited,
        "initial_max_stream_data_bidi_local": unlimited,
        "max_ack_delay_ms": 0,
    }
    sending: dict[str, Any] = {
        "congestion": "cubic",
        "hystart": hystart,
        "send_buffer": unlimited,
        "pacing": what == _BOTTLENECK,
    }
    size = 3_000_000 if what == _BOTTLENECK else 1_500_000

    async def server(net: quicsim.Net) -> None:
        listener = await net.listen(4433, quicsim.test_certificate(), **sending)
        stream = await (await listener.accept()).accept_stream()
        await stream.read_all()
        await stream.write(bytes(size), end=True)

    async def client(net: quicsim.Net) -> None:
        nonlocal started
        connection = await net.connect("bob", 4433, trust=quicsim.test_certificate(), **receiving)
        stream = await connection.open_stream()
        await net.sleep("1s")
        started = net.now
        await stream.write(b"go", end=True)
        await stream.read_all()

    sim.spawn("bob", server)
    sim.run(sim.spawn("alice", client))
    (log,) = logs.logs
    first = started + rtt_ms * _MS // 2  # when the answer begins
    rounds = [first + (number * rtt_ms + max(number - _STEP_ROUND, 0) * later_ms) * _MS for number in range(14)]
    rounds = [at for at in rounds if at + _MS < sim.now]
    return {
        "window": [log.at(at + _MS // 2) / _DATAGRAM for at in rounds],
        "sent": [log.sent_at(at - 1) - log.sent_at(first - 1) for at in rounds],
        "lost": len(log.lost),
        "series": [log.at(at) / _DATAGRAM for at in range(first, sim.now, 5 * _MS)],
    }


def _threshold(rtt_ms: float) -> float:
    """By how much longer a round's shortest round trip must be, in ms."""
    return max(4.0, min(rtt_ms / 8, 16.0))


def judge(results: Sequence[Result]) -> list[Check]:
    """Doubling; the threshold; five rounds of a quarter of the growth; a queue that does not overflow."""
    checks = []
    for row in results:
        what, rtt, later = row.case["what"], row.case["rtt_ms"], row.case["later_ms"]
        window = row.measured["window"]
        if what == _ROUNDS:
            for rounds in (1, 3, 5, 7):
                expected = _INITIAL * (2**rounds - 1)
                name = f"sent in {rounds} rounds, datagrams"
                checks.append(Check.absolute(name, row.measured["sent"][rounds], expected, 1, "", _DOUBLING))
        elif what == _DELAY:
            growth = [round(after / before, 2) for before, after in pairwise(window)][_STEP_ROUND:]
            name = f"RTT {rtt} ms, {later} ms more: growth in each round"
            if later < _threshold(rtt):
                checks.append(Check.exact(name, growth[:3], [2.0] * 3, _EXIT))
            else:
                checks.append(Check.exact(name, growth[:_CSS_ROUNDS], [_FIRST, *[1.25] * (_CSS_ROUNDS - 1)], _CSS))
                checks.append(Check.between("and in the one after those", growth[_CSS_ROUNDS], 1, 1.1, _CSS))
    lost = {
        (row.case["queue_bdps"], row.case["hystart"]): row.measured["lost"]
        for row in results
        if row.case["what"] == _BOTTLENECK
    }
    for queue, on in lost:
        if on:
            name = f"20 Mbit/s, queue {queue} BDP: packets lost with HyStart++, and without"
            checks.append(Check.note(name, [lost[queue, True], lost[queue, False]], _QUEUE))
            most = 0 if queue >= _DEEP else lost[queue, False] / 2
            checks.append(Check.between("with HyStart++", lost[queue, True], None, most, _QUEUE))
    return checks


def draw(results: Sequence[Result]) -> "dict[str, Figure]":
    """Windows with the bottleneck, with and without HyStart++."""
    curves = []
    for row in results:
        if row.case["what"] == _BOTTLENECK:
            series = row.measured["series"]
            name = "HyStart++" if row.case["hystart"] else "without"
            label = f"{name}, queue {row.case['queue_bdps']} BDP ({row.measured['lost']} lost)"
            curves.append(plot.Curve([index / 200 for index in range(len(series))], series, label, STEPS))
    panel = plot.Panel(curves, "window (datagrams)")
    return {"window": plot.curves("CUBIC's first slow start, 20 Mbit/s, 40 ms", [panel])}


def _cases() -> list[Case]:
    def case(what: str, rtt_ms: int, later_ms: int, hystart: bool, queue_bdps: int = 0, quick: bool = False) -> Case:
        arguments = {"what": what, "rtt_ms": rtt_ms, "later_ms": later_ms, "hystart": hystart, "queue_bdps": queue_bdps}
        return Case(arguments, quick)

    steps = [(20, 3), (20, 5), (100, 12), (100, 13), (200, 15), (200, 17)]
    return [
        case(_ROUNDS, 100, 0, False, quick=True),
        *[case(_DELAY, rtt, later, True, quick=rtt == 100) for rtt, later in steps],
        *[case(_BOTTLENECK, 40, 0, on, bdps) for bdps in (2, _DEEP) for on in (False, True)],
    ]


EXPERIMENT: Final = Experiment(
    claim="Slow start doubles the window each round; HyStart++ notices when round trips grow by an eighth, "
    "goes on for five rounds with a quarter of the growth, and so loses far less when the queue is full.",
    cases=_cases(),
    measure=measure,
    judge=judge,
    draw=draw,
)
