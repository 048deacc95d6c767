"""Test cases with our stack on both sides, in virtual time: same case and seed, same bytes."""

from datetime import UTC, datetime
from functools import partial
from importlib.util import find_spec
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any, Final

from links import Datagram, Nat
from quicsim import traffic
from quicsim.interop import checks, server
from quicsim.interop.cases import H3, Case
from quicsim.interop.checks import CheckFailed, Evidence
from quicsim.interop.client import Client, Request, TransferFailed
from quicsim.interop.dissect import dissect
from quicsim.interop.material import Material, make_certificates, make_files
from quicsim.interop.results import Result, Status
from quicsim.interop.rig import FIRST_REBINDING, REBINDING_PERIOD
from quicsim.interop.trace import Recording
from quicsim.outputs import OutputDirectory
from quicsim.simulation import Simulation

OURS: Final = "quicsim"
PORT: Final = 443

CLIENT: Final = "client"
SERVER: Final = "server"
_IPV4: Final = {CLIENT: ["193.167.0.100"], SERVER: ["193.167.100.100"]}
_IPV6: Final = {CLIENT: ["fd00:cafe:cafe::100"], SERVER: ["fd00:cafe:cafe:100::100"]}
_SECOND: Final = "193.167.100.110"
_OUTSIDE: Final = [f"193.167.0.{last}" for last in range(1, 100)]
_BEGIN: Final = datetime(2026, 1, 1, tzinfo=UTC)


class VirtualRun:
    """One run of a case; `client` and `server` are what was recorded at the two hosts.

    `options` go to both ends' endpoints, `directory` gets the files; it must not have any yet.
    """

    def __init__(self, case: Case, seed: int, directory: Path, **options: Any) -> None:
        self.case: Final = case
        self.client: Final = Recording(CLIENT)
        self.server: Final = Recording(SERVER)
        self.simulation: Final = Simulation(seed, observer={CLIENT: self.client, SERVER: self.server}.__getitem__)
        self.material: Final[Material] = make_files(case, directory, self.simulation.random("files"))
        self._options = options
        self._build()

    def _build(self) -> None:
        simulation, network = self.simulation, self.case.network
        addresses = _IPV6 if network.ipv6 else _IPV4
        simulation.host(CLIENT, addresses[CLIENT])
        simulation.host(SERVER, addresses[SERVER] + ([_SECOND] if network.second_address else []))
        if network.rebind:
            nat = simulation.nat(CLIENT, _OUTSIDE)
            simulation.at(FIRST_REBINDING, self._rebind, nat, 1)
        simulation.link(CLIENT, SERVER, network.up(), network.down())
        simulation.tap(CLIENT, partial(_record, self.client))
        simulation.tap(SERVER, partial(_record, self.server))
        if self.case.cross_traffic:
            traffic.Tcp(simulation, SERVER, CLIENT, congestion="cubic")

    def _rebind(self, nat: Nat, number: int) -> None:
        nat.rebind(_OUTSIDE[number % len(_OUTSIDE)] if self.case.network.rebind == "address" else None)
        self.simulation.at(self.simulation.now + REBINDING_PERIOD, self._rebind, nat, number + 1)

    def run(self) -> None:
        """Fetch the files. Raises TransferFailed, also when it takes too long."""
        case, simulation = self.case, self.simulation
        issued = make_certificates(case, simulation.random("certificates"), _BEGIN)
        preferred = {"preferred_address_v4": (_SECOND, PORT)} if case.network.second_address else {}
        options = {"port": PORT, "protocol": case.protocol, **preferred, **self._options}
        simulation.spawn(SERVER, server.serve, case.server, self.material.www, issued.credentials, **options)
        client = Client(
            testcase=case.client,
            requests=tuple(Request("server4", PORT, f"/{name}", name) for name in self.material.names),
            out=OutputDirectory(self.material.downloads),
            trust=issued.authorities(_BEGIN),
            protocol=case.protocol,
            host=SERVER,
            port=PORT,
            options=self._options,
        )
        try:
            simulation.run(simulation.spawn(CLIENT, client.run), until=f"{case.timeout_s}s")
        except TimeoutError:
            raise TransferFailed(f"not done after {case.timeout_s} s") from None

    def evidence(self) -> Evidence:
        """What was seen."""
        return Evidence(
            dissect(self.client, at_client=True),
            dissect(self.server, at_client=False),
            self.material.www,
            self.material.downloads,
            self.material.names,
        )


def _record(recording: Recording, host: str, now: int, direction: str, datagram: Datagram) -> None:
    """Record what is no cross traffic."""
    if PORT in (datagram.source[1], datagram.destination[1]):
        recording.datagram(host, now, direction, datagram)


def run_case(case: Case, seed: int = 1, **options: Any) -> Result:
    """Run a case as often as it asks for, with seeds from `seed` on, and check it."""
    if case.protocol == H3 and find_spec("pylsqpack") is None:
        return Result(OURS, OURS, case, Status.UNSUPPORTED, "HTTP/3 is an extra: pip install 'quicsim[h3]'")
    goodputs: list[float] = []
    remarks: dict[str, None] = {}
    duration = 0.0
    try:
        for repetition in range(case.repetitions):
            with TemporaryDirectory(prefix="quicsim-") as directory:
                run = VirtualRun(case, seed + repetition, Path(directory), **options)
                run.run()
                duration += run.simulation.now / 1e9
                evidence = run.evidence()
                remarks |= dict.fromkeys(filter(None, [check(evidence) for check in case.all_checks]))
                if case.measured:
                    goodputs.append(checks.goodput(evidence))
    except (CheckFailed, TransferFailed) as failure:
        return Result(OURS, OURS, case, Status.FAILED, str(failure), duration_s=duration)
    return Result(OURS, OURS, case, Status.PASSED, "; ".join(remarks), tuple(goodputs), duration)
