"""Test cases between two programs in real time: a relay is the network, and what passes it is what is checked."""

import asyncio
import contextlib
import itertools
import os
import shutil
import signal
import socket
import time
from collections.abc import AsyncIterator
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from random import Random
from typing import Final

from links import Datagram
from quicsim.authority import CA_CERTIFICATE, write_files
from quicsim.authority import CERTIFICATE as ISSUED_CHAIN
from quicsim.authority import KEY as ISSUED_KEY
from quicsim.host import RECEIVED, SENT
from quicsim.interop import checks
from quicsim.interop.cases import Case
from quicsim.interop.checks import CheckFailed, Evidence
from quicsim.interop.dissect import dissect
from quicsim.interop.endpoints import OURS, STAYING
from quicsim.interop.material import Material, make_certificates, make_files
from quicsim.interop.peers import UNSUPPORTED, Peer, Role, Setting
from quicsim.interop.peers.peer import CERTIFICATE, KEY, ROOT
from quicsim.interop.results import Result, Status
from quicsim.interop.rig import FIRST_REBINDING, REBINDING_PERIOD, Network
from quicsim.interop.trace import Recording
from quicsim.relay import CLIENT_SIDE, SERVER_SIDE, Relay, running_first
from quicsim.simulation import Link, Simulation
from quicsim.traffic import Tcp
from stack.observer import Address

_LOCALHOST: Final = {False: "127.0.0.1", True: "::1"}
_SECOND: Final = "127.0.0.2"
_OUTSIDE: Final = [f"127.0.0.{last}" for last in range(11, 31)]
_START: Final = 20.0  # seconds that a server may take until it listens
_GRACE: Final = 5.0  # seconds that a client may take to start and to end, and a server to end
_POLL: Final = 0.02


class NotThere(Exception):
    """One of the two does not have the test case."""


@dataclass(frozen=True, slots=True)
class Pair:
    """A client and a server."""

    client: Peer
    server: Peer


async def run_case(pair: Pair, case: Case, directory: Path, seed: int = 1, *, realtime: bool = False) -> Result:
    """Run a case as often as it asks for and check it; what the programs say and a capture stay in `directory`.

    With `realtime` the relay runs before other programs, and fails where that is not allowed.
    """
    names = (pair.client.name, pair.server.name)
    goodputs: list[float] = []
    remarks: dict[str, None] = {}
    started_at = time.monotonic()
    try:
        case = replace(case, protocol=_protocol(pair, case))
        for repetition in range(case.repetitions):
            evidence = await _run_once(pair, case, directory / str(repetition + 1), seed + repetition, realtime)
            remarks |= dict.fromkeys(filter(None, [check(evidence) for check in case.all_checks]))
            if case.measured:
                goodputs.append(checks.goodput(evidence))
    except NotThere as reason:
        return Result(*names, case, Status.UNSUPPORTED, str(reason))
    except (CheckFailed, OSError, RuntimeError) as failure:  # the latter two: a program can't be run, or built
        why = "; ".join([str(failure), *_limits(pair, case)])
        return Result(*names, case, Status.FAILED, why, duration_s=time.monotonic() - started_at)
    return Result(*names, case, Status.PASSED, "; ".join(remarks), tuple(goodputs), time.monotonic() - started_at)


def _limits(pair: Pair, case: Case) -> list[str]:
    """What is known of why a case can't pass."""
    ends = ((pair.client, Role.CLIENT), (pair.server, Role.SERVER))
    known = (peer.limits.get(role, {}).get(case.abbreviation) for peer, role in ends)
    return [f"known: {each}" for each in known if each is not None]


def _protocol(pair: Pair, case: Case) -> str:
    """Return what the two speak with each other. Raises NotThere."""
    for peer, role, testcase in (
        (pair.client, Role.CLIENT, case.client),
        (pair.server, Role.SERVER, case.server),
    ):
        if role not in peer.roles:
            raise NotThere(f"{peer.name} is no {role}")
        if not peer.supports(testcase, role):
            raise NotThere(f"{peer.name} does not have the test case {testcase} as {role}")
        missing = peer.missing()
        if missing:
            raise NotThere(f"not installed: {missing}")
    if case.network.second_address and pair.client.name in STAYING:
        raise NotThere(f"{pair.client.name} does not move to the address that a server prefers")
    if case.network.second_address and pair.server.name != OURS:
        raise NotThere(f"{pair.server.name} announces only its own address, for which no relay can stand")
    common = [protocol for protocol in pair.client.protocols if protocol in pair.server.protocols]
    if case.protocol in common:
        return case.protocol
    if not common or case.name == "http3":
        raise NotThere(f"{pair.client.name} and {pair.server.name} have no common protocol for it")
    return common[0]


class _Rig:
    """What one run needs: directories, files, certificates, ports, recordings."""

    def __init__(self, case: Case, directory: Path, seed: int) -> None:
        shutil.rmtree(directory, ignore_errors=True)
        rng = Random(seed)
        self.case: Final = case
        self.directory: Final = directory
        self.seed: Final = seed
        self.host: Final = _LOCALHOST[case.network.ipv6]
        self.material: Final[Material] = make_files(case, directory, rng)
        self.recordings: Final = {CLIENT_SIDE: Recording("client"), SERVER_SIDE: Recording("server")}
        self.connected: Final = asyncio.Event()  # the client has sent a 1-RTT packet
        for name in ("certs", Role.CLIENT.value, Role.SERVER.value):
            (directory / name).mkdir()
        issued = make_certificates(case, rng).files()
        names = {CA_CERTIFICATE: ROOT, ISSUED_CHAIN: CERTIFICATE, ISSUED_KEY: KEY}
        write_files(directory / "certs", {new: issued[old] for old, new in names.items()})

    def setting(self, role: Role, port: int, parameters: str = "", *requests: str) -> Setting:
        """Return where an endpoint runs."""
        logs = self.directory / role.value
        material = self.material
        return Setting(
            host=self.host,
            port=port,
            www=material.www,
            downloads=material.downloads,
            certs=self.directory / "certs",
            logs=logs,
            keylog=logs / "keys.log",
            protocol=self.case.protocol,
            requests=requests,
            parameters=parameters,
        )

    def tap(self, side: str, at: int, direction: str, datagram: Datagram) -> None:
        """Record what passes the relay as the host on that side of it sees it."""
        self.recordings[side].datagram(side, at, SENT if direction == RECEIVED else RECEIVED, datagram)
        if side == CLIENT_SIDE and direction == RECEIVED and _has_short_header(datagram.payload):
            self.connected.set()

    def save(self) -> None:
        """Write what was recorded, with the secrets of both programs, into captures."""
        logs = [self.directory / role.value / "keys.log" for role in Role]
        lines = [line for log in logs if log.exists() for line in log.read_text(errors="replace").splitlines()]
        for recording in self.recordings.values():
            recording.add_secrets(lines)
            with (self.directory / f"{recording.host}.pcapng").open("wb") as file:
                recording.save(file.write)

    def evidence(self) -> Evidence:
        """Dissect what was saved."""
        material = self.material
        return Evidence(
            dissect(self.recordings[CLIENT_SIDE], at_client=True),
            dissect(self.recordings[SERVER_SIDE], at_client=False),
            material.www,
            material.downloads,
            material.names,
        )


async def _run_once(pair: Pair, case: Case, directory: Path, seed: int, realtime: bool) -> Evidence:
    rig = _Rig(case, directory, seed)
    try:
        with running_first() if realtime else contextlib.nullcontext():
            await _exchange(pair, case, rig)
    finally:
        rig.save()
    return rig.evidence()


async def _exchange(pair: Pair, case: Case, rig: _Rig) -> None:
    """Let the client fetch the files from the server, through the relay. Raises CheckFailed and NotThere."""
    server: Address = (rig.host, _free_port(rig.host))
    also: list[tuple[Address, Address]] = []
    parameters = ""
    if case.network.second_address:
        near, far = (_SECOND, _free_port(_SECOND)), (_SECOND, _free_port(_SECOND))
        also = [(near, far)]
        parameters = f"preferred={near[0]}:{near[1]} listen={far[0]}:{far[1]}"
    async with _started(pair.server, Role.SERVER, rig.setting(Role.SERVER, server[1], parameters), case) as serving:
        await _until_bound(serving, server, pair.server.name)
        relay = Relay(
            server=server,
            listen=(rig.host, 0),
            seed=rig.seed,
            tap=rig.tap,
            outside=[rig.host] if case.network.rebind != "address" else _OUTSIDE,
            nat_on_arrival=True,
            also=also,
            network=partial(_network, case),
        )
        async with relay, _rebinding(relay, case.network, rig.connected):
            urls = [f"https://localhost:{relay.address[1]}/{name}" for name in rig.material.names]
            setting = rig.setting(Role.CLIENT, relay.address[1], "", *urls)
            await _fetch(pair.client, setting, case)


def _network(case: Case, simulation: Simulation) -> Link:
    """Make a case's link, and the cross traffic on it."""
    link = simulation.link("client", "server", case.network.up(), case.network.down())
    if case.cross_traffic:
        Tcp(simulation, "server", "client", congestion="cubic")
    return link


@contextlib.asynccontextmanager
async def _rebinding(relay: Relay, network: Network, connected: asyncio.Event) -> AsyncIterator[None]:
    """Rebind the relay's NAT as a network asks for, while the block runs.

    Its time begins when the client is `connected`: QUIC has no means against a NAT that rebinds before (RFC 9000
    section 9), and a busy machine may take long for a handshake.
    """
    rebinding = asyncio.create_task(_rebind(relay, network, connected)) if network.rebind else None
    try:
        yield
    finally:
        if rebinding is not None:
            rebinding.cancel()


async def _rebind(relay: Relay, network: Network, connected: asyncio.Event) -> None:
    await connected.wait()
    await asyncio.sleep(FIRST_REBINDING / 1e9)
    for address in itertools.cycle([*_OUTSIDE[1:], _OUTSIDE[0]]):
        relay.rebind(address if network.rebind == "address" else None)
        await asyncio.sleep(REBINDING_PERIOD / 1e9)


async def _fetch(peer: Peer, setting: Setting, case: Case) -> None:
    """Run a client to its end. Raises CheckFailed and NotThere."""
    async with _started(peer, Role.CLIENT, setting, case) as process:
        try:
            code = await asyncio.wait_for(process.wait(), case.timeout_s + _GRACE)
        except TimeoutError:
            raise CheckFailed(f"the client was not done after {case.timeout_s} s") from None
    if code == UNSUPPORTED:
        raise NotThere(f"{peer.name} says that it does not have the test case {case.client}")
    if code:
        raise CheckFailed(f"the client failed with exit code {code}{_last_words(setting.logs)}")


@contextlib.asynccontextmanager
async def _started(peer: Peer, role: Role, setting: Setting, case: Case) -> AsyncIterator[asyncio.subprocess.Process]:
    """Start an endpoint in a process group of its own; it has ended when the block has."""
    command = peer.command(role, case.client if role is Role.CLIENT else case.server, setting)
    with (setting.logs / "output.txt").open("wb") as output:
        process = await asyncio.create_subprocess_exec(
            *command.argv,
            env=dict(command.env),
            cwd=command.cwd,
            stdin=asyncio.subprocess.DEVNULL,
            stdout=output,
            stderr=output,
            start_new_session=True,
        )
    try:
        yield process
    finally:
        for number in (signal.SIGTERM, signal.SIGKILL):
            _signal_group(process, number)
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(process.wait(), _GRACE)
                break


def _signal_group(process: asyncio.subprocess.Process, number: signal.Signals) -> None:
    """Send a signal to a process and those that it has started."""
    with contextlib.suppress(ProcessLookupError):
        os.killpg(process.pid, number)


async def _until_bound(process: asyncio.subprocess.Process, address: Address, name: str) -> None:
    """Wait until a server has its port. Raises CheckFailed and NotThere."""
    until = time.monotonic() + _START
    while _is_free(address):
        if process.returncode == UNSUPPORTED:
            raise NotThere(f"{name} says that it does not have the test case as server")
        if process.returncode is not None:
            raise CheckFailed(f"the server ended with exit code {process.returncode} before it listened")
        if time.monotonic() > until:
            raise CheckFailed(f"the server did not listen after {_START:.0f} s")
        await asyncio.sleep(_POLL)


def _is_free(address: Address) -> bool:
    family = socket.AF_INET6 if ":" in address[0] else socket.AF_INET
    with socket.socket(family, socket.SOCK_DGRAM) as probe:
        try:
            probe.bind(address)
        except OSError:
            return False
    return True


def _free_port(host: str) -> int:
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    with socket.socket(family, socket.SOCK_DGRAM) as probe:
        probe.bind((host, 0))
        port: int = probe.getsockname()[1]
        return port


def _has_short_header(payload: bytes) -> bool:
    """Whether a datagram begins with a 1-RTT packet (RFC 9000 section 17.3)."""
    return bool(payload) and payload[0] < 0x80


def _last_words(logs: Path) -> str:
    """The last line that an endpoint printed, for people."""
    lines = (logs / "output.txt").read_text(errors="replace").strip().splitlines()
    return f": {lines[-1][:200]}" if lines else ""
