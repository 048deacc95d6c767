"""`quicsim relay`: a link of a simulated network between real programs."""

import asyncio
import contextlib
import json
import signal
import socket
from collections.abc import Callable, Iterable, Iterator, Sequence
from ipaddress import ip_address
from pathlib import Path
from typing import Annotated, Final

import typer

from links import Datagram, Element
from links.profiles import PROFILES
from links.units import nanoseconds
from quicsim.applications import DEFAULT_PORT
from quicsim.commands.exits import BAD_INPUT, FAILED, UNREACHABLE, Failure, of_writing
from quicsim.commands.options import host_and_port
from quicsim.outputs import OutputDirectory
from quicsim.pcapng import HostCapture
from quicsim.plan import PlanError, load_plan, parse_elements
from quicsim.plan.errors import choose
from quicsim.relay import CLIENT_SIDE, SERVER_SIDE, Rebind, Relay, Setup, rebind_every, run_first, setup_of
from quicsim.relay.relay import IDLE_TIMEOUT
from stack.observer import Address

_LOOPBACK: Final = {4: "127.0.0.1", 6: "::1"}


def relay(
    server: Annotated[str, typer.Argument(metavar="HOST[:PORT]", help="The server.", show_default=False)],
    listen: Annotated[
        str | None,
        typer.Option(metavar="HOST[:PORT]", help="Where clients send to.", show_default="loopback, a free port"),
    ] = None,
    up: Annotated[
        str | None, typer.Option(help='Elements to the server: "rate=10Mbps, taildrop(packets=25), delay=15ms".')
    ] = None,
    down: Annotated[str | None, typer.Option(help="Elements to the clients.")] = None,
    both: Annotated[str | None, typer.Option(help="Elements of each way, in place of --up and --down.")] = None,
    profile: Annotated[str | None, typer.Option(help=f"An access network: {', '.join(PROFILES)}.")] = None,
    plan: Annotated[
        Path | None, typer.Option(help="Take a link, its NAT and the NAT's rebindings from a plan.")
    ] = None,
    link: Annotated[
        str | None,
        typer.Option(help="The plan's link, such as client-server, clients first.", show_default="its only one"),
    ] = None,
    settings: Annotated[
        list[str] | None, typer.Option("--set", metavar="KEY=VALUE", help="Set a value of the plan, as in `run`.")
    ] = None,
    seed: Annotated[int | None, typer.Option(help="Of all randomness.", show_default="the plan's, or 1")] = None,
    outside: Annotated[
        list[str] | None,
        typer.Option(help="Address of this machine that the server sees; repeatable.", show_default="by the routes"),
    ] = None,
    rebind: Annotated[
        str | None,
        typer.Option(
            metavar="FIRST[,PERIOD]",
            help='When the NAT rebinds, such as "1s,5s" after the first datagram: new ports, and the next --outside.',
        ),
    ] = None,
    idle: Annotated[
        str | None,
        typer.Option(
            help="Idle time after which the NAT forgets a client.", show_default=f"the plan's, or {IDLE_TIMEOUT}"
        ),
    ] = None,
    pcap: Annotated[
        Path | None,
        typer.Option(metavar="DIR", help="Directory for client.pcapng and server.pcapng: what each side sees."),
    ] = None,
    keylog: Annotated[
        list[Path] | None,
        typer.Option(help="Key log that a program writes, to be put into the captures at the end; repeatable."),
    ] = None,
    interval: Annotated[
        float | None, typer.Option(min=0.1, help="Seconds between counters; SIGUSR1 prints them too.")
    ] = None,
    duration: Annotated[float | None, typer.Option("--time", min=0.1, help="Seconds until the end.")] = None,
    realtime: Annotated[
        bool,
        typer.Option("--realtime", help="Run before other programs: exact on a busy machine too; needs root."),
    ] = False,
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON, an object a line.")] = False,
) -> None:
    """Put a link between UDP clients and a server, in real time: delay, rate, queues, loss, NAT rebinding and the rest.

    Clients use the address that it prints in place of the server's. Ctrl-C and SIGTERM end it; it prints the counters
    of each element then.
    """
    if keylog and pcap is None:
        raise Failure(BAD_INPUT, "--keylog: is for the captures, and there is no --pcap")
    if realtime:
        try:
            run_first()
        except OSError as error:
            raise Failure(FAILED, f"--realtime: needs root, or CAP_SYS_NICE: {error.strerror}") from None
    remote = _resolve(server, DEFAULT_PORT)
    near = _resolve(listen, 0) if listen is not None else (_LOOPBACK[ip_address(remote[0]).version], 0)
    setup = _setup(up, down, both, profile, plan, link, settings or [])
    captures = None if pcap is None else _Captures()
    directory = None if pcap is None else OutputDirectory(pcap)
    try:
        addresses = _outside(outside or [], setup, remote)
        relaying = Relay(
            server=remote,
            listen=near,
            seed=setup.seed if seed is None else seed,
            rebinds=_rebinds(rebind, addresses) if rebind is not None else setup.rebinds(addresses),
            tap=captures,
            outside=addresses,
            idle_timeout=idle or (setup.nat.idle_timeout if setup.nat is not None else IDLE_TIMEOUT),
            network=setup.network,
        )
    except ValueError as error:
        raise Failure(BAD_INPUT, str(error)) from None
    except OSError as error:
        raise Failure(UNREACHABLE, error.strerror or str(error)) from None
    asyncio.run(_run(relaying, remote, interval, duration, _print_json if as_json else _print_lines))
    if captures is not None and directory is not None:
        try:
            captures.save(directory, keylog or [])
        except OSError as error:
            raise of_writing(pcap, error) from None
        if captures.failure is not None:
            raise of_writing(pcap, captures.failure)


def _resolve(text: str, default_port: int) -> Address:
    host, port = host_and_port(text, default_port)
    try:
        found = socket.getaddrinfo(host, port, type=socket.SOCK_DGRAM)
    except socket.gaierror as error:
        raise Failure(UNREACHABLE, f"{host}: {error.strerror}") from None
    address = found[0][4]
    return str(address[0]), int(address[1])


def _setup(
    up: str | None,
    down: str | None,
    both: str | None,
    profile: str | None,
    plan: Path | None,
    link: str | None,
    settings: Sequence[str],
) -> Setup:
    """Return the link that the options ask for. Raises Failure."""
    given = (up is not None or down is not None, both is not None, profile is not None, plan is not None)
    if given.count(True) > 1:
        raise Failure(BAD_INPUT, "--up and --down, --both, --profile, --plan: must be one of them at most")
    if plan is None and (link is not None or settings):
        raise Failure(BAD_INPUT, "--link and --set: are for a plan, and there is no --plan")
    if plan is not None:
        try:
            return setup_of(load_plan(plan, settings), link)
        except PlanError as error:
            raise Failure(BAD_INPUT, str(error)) from None
    if profile is not None:
        if profile not in PROFILES:
            raise Failure(BAD_INPUT, f"--profile: {choose('profile', profile, PROFILES)}")
        return Setup.of_elements(*PROFILES[profile]())
    if both is not None:
        return Setup.of_elements(_elements("--both", both), _elements("--both", both))
    return Setup.of_elements(_elements("--up", up or ""), _elements("--down", down or ""))


def _elements(option: str, text: str) -> list[Element]:
    try:
        return [element.build() for element in parse_elements(text)]
    except ValueError as error:
        raise Failure(BAD_INPUT, f"{option}: {error}") from None


def _outside(given: Sequence[str], setup: Setup, server: Address) -> Sequence[str]:
    """Return the addresses that stand for those of the plan's NAT. Raises Failure."""
    needed = len(setup.nat.outside) if setup.nat is not None else 1
    if not given and needed > 1 and ip_address(server[0]).is_loopback and ":" not in server[0]:
        return [f"127.0.0.{number}" for number in range(1, needed + 1)]
    if len(given) < needed and (given or needed > 1):
        raise Failure(
            BAD_INPUT,
            f"--outside: the plan's NAT has {needed} addresses: must be given for each, one of this machine's",
        )
    return given


def _rebinds(text: str, addresses: Sequence[str]) -> Iterator[Rebind]:
    first, comma, rest = text.partition(",")
    try:
        start, period = nanoseconds(first), nanoseconds(rest) if comma else None
        if period == 0:
            raise ValueError("the period must be positive")
    except ValueError as error:
        raise Failure(BAD_INPUT, f'--rebind {text}: must be such as "1s" or "1s,5s": {error}') from None
    return rebind_every(start, period, addresses)


async def _run(
    relay: Relay,
    server: Address,
    interval: float | None,
    duration: float | None,
    show: Callable[[Relay], None],
) -> None:
    loop = asyncio.get_running_loop()
    ended = asyncio.Event()
    for number in (signal.SIGINT, signal.SIGTERM):
        loop.add_signal_handler(number, ended.set)
    loop.add_signal_handler(signal.SIGUSR1, show, relay)
    try:
        relay.start()
    except OSError as error:
        raise Failure(FAILED, error.strerror or str(error)) from None
    near, far = (f"[{host}]:{port}" if ":" in host else f"{host}:{port}" for host, port in (relay.address, server))
    if show is _print_json:
        print(json.dumps({"listen": near, "server": far}), flush=True)
    else:
        print(f"relaying {near} to {far}; Ctrl-C ends it", flush=True)
    deadline = None if duration is None else loop.time() + duration
    while not ended.is_set():
        left = None if deadline is None else max(deadline - loop.time(), 0)
        wait = min((each for each in (left, interval) if each is not None), default=None)
        with contextlib.suppress(TimeoutError):
            await asyncio.wait_for(ended.wait(), wait)
        if deadline is not None and loop.time() >= deadline:
            break
        if not ended.is_set():
            show(relay)
    relay.close()
    show(relay)


def _print_lines(relay: Relay) -> None:
    for line in relay.counters.lines():
        print(line)
    print(flush=True, end="")


def _print_json(relay: Relay) -> None:
    print(json.dumps(relay.counters.as_dict()), flush=True)


class _Captures:
    """Captures both sides of a relay, until the first failure, such as a full disk.

    Each is a file of its own: Wireshark takes what it finds on both sides for one connection and can't decrypt it.
    """

    def __init__(self) -> None:
        self.failure: OSError | None = None
        self._sides: Final = {CLIENT_SIDE: HostCapture("client"), SERVER_SIDE: HostCapture("server")}

    def __call__(self, side: str, now: int, direction: str, datagram: Datagram) -> None:
        """Take a datagram; fits the `tap` of a Relay."""
        if self.failure is None:
            try:
                self._sides[side].datagram(side, now, direction, datagram)
            except OSError as error:
                self.failure = error

    def save(self, directory: OutputDirectory, key_logs: Iterable[Path]) -> None:
        """Write both files, with the secrets that are in the key logs by now. Raises OSError."""
        for side, name in ((CLIENT_SIDE, "client.pcapng"), (SERVER_SIDE, "server.pcapng")):
            for log in key_logs:
                with contextlib.suppress(FileNotFoundError):  # no program has written it
                    self._sides[side].add_key_log(log.read_text(encoding="utf-8", errors="replace"))
            with directory.binary(name) as file:
                self._sides[side].save(file.write)
