"""The QUIC interop runner's goodput measurement, on its network."""

from collections.abc import Sequence
from pathlib import Path
from typing import Final

from quicsim.experiments import Case, Check, Experiment, Measured, Result, run_plan
from quicsim.observers import Silent
from stack.observer import ConnectionObserver, Observer, PacketInfo

PLAN: Final = Path(__file__).with_name("plan.toml")
_SIZE: Final = 10 << 20  # bytes
_PAYLOAD: Final = {1252: 9493, 1200: 9472}  # kbit/s: the most that datagrams of this size can carry
_LEAST: Final = 9300  # kbit/s
_SOURCE: Final = "interop runner: 8 · 10485760 / (last − first 1-RTT packet); best published 9401"


class _Arrivals(Silent, Observer):
    """When the client got its first and its last 1-RTT packet."""

    def __init__(self) -> None:
        self.first: int | None = None
        self.last = 0

    def connection(self, now: int, role: str, original_destination_cid: bytes) -> ConnectionObserver:
        """Watch every connection."""
        return self

    def packet_received(self, now: int, packet: PacketInfo) -> None:
        if packet.packet_type == "1RTT":
            self.first = now if self.first is None else self.first
            self.last = now


def measure(congestion: str, datagram_size: int) -> Measured:
    """Download 10 MiB; return the goodput as the interop runner defines it, in kbit/s."""
    arrivals = _Arrivals()
    settings = [f"stack.congestion='{congestion}'", f"stack.datagram_size={datagram_size}", "check=true"]
    run_plan(PLAN, settings, lambda host: arrivals if host == "client" else None)
    return {"kbps": 8 * _SIZE / ((arrivals.last - (arrivals.first or 0)) / 1e9) / 1000}


def judge(results: Sequence[Result]) -> list[Check]:
    """Between what is asked of a good sender and what the link carries."""
    return [
        Check.between(
            f"{row.case['congestion']}, datagrams of {row.case['datagram_size']} bytes: goodput",
            row.measured["kbps"],
            _LEAST if row.case["datagram_size"] == 1252 else 8500,
            _PAYLOAD[row.case["datagram_size"]],
            _SOURCE,
            "kbit/s",
        )
        for row in results
    ]


EXPERIMENT: Final = Experiment(
    claim="On the interop runner's network a download of 10 MiB gets 9.3 Mbit/s or more of the 9.49 that fit.",
    cases=[
        Case({"congestion": "new_reno", "datagram_size": 1252}),
        Case({"congestion": "cubic", "datagram_size": 1252}, quick=True),
        Case({"congestion": "cubic", "datagram_size": 1200}),
    ],
    measure=measure,
    judge=judge,
)
