"""How far a datagram may be overtaken, and for how long, before it is declared lost."""

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, Final

import quicsim
from links import Datagram, Delay, Element, LossIf, Rate, Reorder, ReorderDepth
from quicsim import plot
from quicsim.experiments import Case, Check, Experiment, Measured, RecoveryObserver, Result
from quicsim.plot.curves import POINTS

if TYPE_CHECKING:
    from matplotlib.figure import Figure

_MS: Final = 1_000_000  # ns
_SECOND: Final = 1_000 * _MS
_RTT_MS: Final = 100
_FULL: Final = 1_100  # bytes: datagrams that are larger are full of stream data
_PACKETS: Final = "RFC 9002 section 6.1.1: kPacketThreshold 3"
_TIME: Final = "RFC 9002 section 6.1.2: kTimeThreshold 9/8"

# What happens to the chosen datagram
_REORDER: Final = "overtaken"
_DELAY: Final = "delayed"
_DROP: Final = "dropped"


class _Nth:
    """A predicate for link elements: true for the `number`-th full datagram of the answer. `sent_at` tells when."""

    def __init__(self, number: int) -> None:
        self._left = number
        self.sent_at = 0

    def __call__(self, datagram: Datagram) -> bool:
        if datagram.size < _FULL or datagram.sent_at < _SECOND:
            return False
        self._left -= 1
        if self._left == 0:
            self.sent_at = datagram.sent_at
        return self._left == 0


def measure(what: str, amount: float, number: int, datagrams: int) -> Measured:
    """Download an answer of `datagrams` full ones, to the `number`-th of which something happens.

    `amount` is how many others overtake it, or by how many ms it is held back. Returns how many packets were declared
    lost, and after how long, in ms.
    """
    chosen = _Nth(number)
    element: Element = LossIf(chosen)
    if what == _REORDER:
        element = ReorderDepth(chosen, int(amount))
    elif what == _DELAY:
        element = Reorder(chosen, f"{amount}ms")
    logs = RecoveryObserver()
    sim = quicsim.Simulation(seed=1, observer=logs.observer, check=True)
    delay = f"{_RTT_MS // 2}ms"
    sim.link("alice", "bob", up=[Delay(delay)], down=[Delay(delay), Rate("1Gbps"), element])
    options: dict[str, Any] = {"max_ack_delay_ms": 0, "pacing": False}  # each packet is acknowledged at once
    payload = 1_150 * datagrams

    async def server(net: quicsim.Net) -> None:
        listener = await net.listen(4433, quicsim.test_certificate(), **options)
        stream = await (await listener.accept()).accept_stream()
        await stream.read_all()
        await stream.write(bytes(payload), end=True)

    async def client(net: quicsim.Net) -> int:
        connection = await net.connect("bob", 4433, trust=quicsim.test_certificate(), **options)
        stream = await connection.open_stream()
        await net.sleep("1s")
        await stream.write(b"go", end=True)
        return len(await stream.read_all())

    sim.spawn("bob", server)
    assert sim.run(sim.spawn("alice", client)) == payload
    sim.run(until=sim.now + _SECOND)  # what was late comes too
    (log,) = logs.logs
    lost = [int(at) for at in log.lost["time"]]
    return {"lost": len(lost), "after_ms": [(at - chosen.sent_at) / _MS for at in lost], "pto": len(log.probe_timeouts)}


def judge(results: Sequence[Result]) -> list[Check]:
    """Three overtaking packets, or nine eighths of the round trip."""
    checks = []
    for result in results:
        what, amount, lost = result.case["what"], result.case["amount"], result.measured["lost"]
        if what == _REORDER:
            spurious = 1 if amount >= 3 else 0
            name = f"overtaken by {amount} packets within RTT/8: declared lost"
            checks.append(Check.exact(name, lost, spurious, _PACKETS))
        elif what == _DELAY:
            spurious = 1 if amount > _RTT_MS / 8 else 0
            name = f"overtaken by 2 packets, {amount} ms late at RTT {_RTT_MS} ms: declared lost"
            checks.append(Check.exact(name, lost, spurious, _TIME))
        elif result.case["number"] + 3 <= result.case["datagrams"]:
            name = "dropped, many follow: declared lost after"
            # With the ACK of the third one after it, which leaves at the same time and then takes 0.03 ms of the link
            after = result.measured["after_ms"]
            checks.append(Check.absolute(name, after[0], _RTT_MS, 0.1, "ms", _PACKETS))
        else:
            name = "dropped, two follow: declared lost after"
            after = result.measured["after_ms"]
            checks.append(Check.absolute(name, after[0], _RTT_MS * 9 / 8, 0.1, "ms", _TIME))
            checks.append(Check.exact("probe timeouts", result.measured["pto"], 0, _TIME))
    return checks


def draw(results: Sequence[Result]) -> "dict[str, Figure]":
    """Spurious losses over depth and over delay."""
    panels = []
    for what, label in ((_REORDER, "overtaken by so many packets"), (_DELAY, "ms later than without reordering")):
        rows = sorted((row.case["amount"], row.measured["lost"]) for row in results if row.case["what"] == what)
        curve = plot.Curve([amount for amount, _ in rows], [lost for _, lost in rows], "", POINTS)
        panels.append(plot.Panel([curve], "declared lost", label))
    return {"reordering": plot.curves("One datagram is overtaken: is it declared lost?", panels)}


def _cases() -> list[Case]:
    def case(what: str, amount: float, number: int, datagrams: int) -> Case:
        arguments = {"what": what, "amount": amount, "number": number, "datagrams": datagrams}
        return Case(arguments, quick=True)

    depths = [case(_REORDER, depth, 20, 170) for depth in range(1, 6)]
    # The last but two, so that no more than two overtake it
    delays = [case(_DELAY, delay, 7, 9) for delay in (5, 10, 12, 13, 20)]
    return [*depths, *delays, case(_DROP, 0, 20, 170), case(_DROP, 0, 7, 9)]


EXPERIMENT: Final = Experiment(
    claim="A packet is declared lost when the third one after it is acknowledged, or nine eighths of a round trip "
    "after it was sent; reordering below both is taken for what it is.",
    cases=_cases(),
    measure=measure,
    judge=judge,
    draw=draw,
)
