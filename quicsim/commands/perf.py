"""`quicsim perf`: throughput, requests and datagrams between two machines."""

import json
import resource
import time
from functools import partial
from statistics import quantiles
from typing import Annotated, Any, Final

import typer

from quicsim import perf
from quicsim.applications import DEFAULT_PORT
from quicsim.commands.exits import BAD_INPUT, Failure, connecting
from quicsim.commands.options import (
    REAL_NETWORK,
    Ca,
    Congestion,
    Insecure,
    KeyLogFile,
    Pin,
    Qlog,
    Timeout,
    connection_options,
    host_and_port,
    recorded_net,
)
from quicsim.commands.serve import Cert, Host, Key, Port, credentials, run_server
from quicsim.net import together
from quicsim.perf import Load, Measurement, Mode
from quicsim.real.net import RealNet
from stack.tls.certificates import Credentials

NS_PER_S: Final = 10**9
NS_PER_MS: Final = 10**6
_OTHER_FILES: Final = 100
_KEEP_ALIVE: Final[dict[str, Any]] = {"keep_alive_ms": 10_000}  # a connection may have to wait for the others

app = typer.Typer(no_args_is_help=True, help="Measure throughput, requests and datagrams (ALPN perf).")


@app.command()
def server(
    port: Port = DEFAULT_PORT,
    host: Host = None,
    cert: Cert = None,
    key: Key = None,
    congestion: Congestion = "new_reno",
    qlog: Qlog = None,
    keylog: KeyLogFile = None,
) -> None:
    """Serve `quicsim perf client` until Ctrl-C, and print a line for each connection that has ended."""
    shown = credentials(cert, key)
    with recorded_net("server", qlog, keylog) as net:
        run_server(net, _serve, shown, host=host, port=port, congestion=congestion)


async def _serve(net: RealNet, shown: Credentials, **options: Any) -> None:
    listener = await net.listen(credentials=shown, alpn=(perf.ALPN,), **REAL_NETWORK, **perf.TAKE_DATAGRAMS, **options)
    print(f"measuring on UDP port {listener.address[1]}; Ctrl-C ends it", flush=True)
    cpu_before = time.process_time()

    def show(served: perf.Served) -> None:
        nonlocal cpu_before
        cpu = time.process_time()
        print(
            f"{served.client[0]}:{served.client[1]}: {served.duration_ns / NS_PER_S:.3f} s, received "
            f"{served.received:,} bytes, sent {served.sent:,} bytes, CPU {cpu - cpu_before:.3f} s",
            flush=True,
        )
        cpu_before = cpu

    await perf.serve(net, listener, show)


@app.command()
def client(
    address: Annotated[str, typer.Argument(metavar="HOST[:PORT]", show_default=False)],
    mode: Annotated[Mode, typer.Option(help="What to measure.")] = Mode.DOWNLOAD,
    seconds: Annotated[float, typer.Option("--time", min=0.001, help="How long, in seconds.")] = 10.0,
    size: Annotated[
        int | None, typer.Option("--bytes", min=1, help="How many bytes instead, of all streams.", show_default=False)
    ] = None,
    count: Annotated[
        int | None, typer.Option(min=1, help="How many requests or datagrams instead.", show_default=False)
    ] = None,
    streams: Annotated[int, typer.Option(min=1, help="Streams at a time, of each connection.")] = 1,
    connections: Annotated[
        int, typer.Option(min=1, help="Connections, each with all of this, once they are all there.")
    ] = 1,
    handshakes: Annotated[int, typer.Option(min=1, help="Handshakes at a time.")] = 32,
    request_size: Annotated[int, typer.Option(min=8, help="Bytes of a request.")] = 100,
    response_size: Annotated[int, typer.Option(min=0, help="Bytes of a response.")] = 1_000,
    datagram_size: Annotated[int, typer.Option(min=8, help="Bytes of a datagram.")] = 1_000,
    rate: Annotated[float, typer.Option(min=0.001, help="Datagrams per second.")] = 1_000.0,
    interval: Annotated[float, typer.Option(min=0.01, help="Seconds between two lines.")] = 1.0,
    as_json: Annotated[bool, typer.Option("--json", help="Print the result as JSON, and nothing else.")] = False,
    insecure: Insecure = False,
    ca: Ca = None,
    pin: Pin = None,
    timeout: Timeout = 30.0,
    congestion: Congestion = "new_reno",
    qlog: Qlog = None,
    keylog: KeyLogFile = None,
) -> None:
    """Measure against `quicsim perf server`. Bytes are those of the application; exit codes as for `quicsim get`."""
    host, port = host_and_port(address, DEFAULT_PORT)
    if (size is not None and mode not in (Mode.DOWNLOAD, Mode.UPLOAD)) or (
        count is not None and mode not in (Mode.REQUESTS, Mode.DATAGRAMS)
    ):
        raise Failure(BAD_INPUT, f"--mode {mode}: ends with --time, or with --bytes (streams) or --count (the others)")
    load = Load(
        mode=mode,
        duration_ns=round(seconds * NS_PER_S),
        size=size,
        count=count,
        streams=streams,
        request_size=request_size,
        response_size=response_size,
        datagram_size=datagram_size,
        interval_ns=round(NS_PER_S / rate),
    )
    options = connection_options(insecure, ca, pin, timeout) | {"congestion": congestion}
    allow_open_files(connections)
    every_ns = None if as_json else round(interval * NS_PER_S)
    with recorded_net("client", qlog, keylog) as net:
        result = net.run(_measure, host, port, load, (connections, handshakes), every_ns, options)
    print(json.dumps(result) if as_json else _text(result))


async def _measure(
    net: RealNet,
    host: str,
    port: int,
    load: Load,
    connections: tuple[int, int],
    every_ns: int | None,
    options: dict[str, Any],
) -> dict[str, Any]:
    """Put the load on as many connections as are wanted, so many handshakes at a time, and return the figures."""
    number, handshakes = connections
    parts = [Measurement() for _ in range(number)]
    connect = partial(net.connect, host, port, alpn=(perf.ALPN,), **perf.TAKE_DATAGRAMS, **_KEEP_ALIVE, **options)
    with connecting(f"{host}:{port}"):
        started_at, cpu_before = net.now, time.process_time()
        conns = await perf.connect_all(net, connect, parts, handshakes)
        connected_at, cpu_connected = net.now, time.process_time()
        try:
            if every_ns is not None:
                net.spawn(perf.intervals, perf.Sum(parts), every_ns, _show_interval)
            jobs = [partial(perf.measure, net, conn, load, part) for conn, part in zip(conns, parts, strict=True)]
            await together(net, *jobs)
        finally:
            for conn in conns:
                conn.close()
    cpu_after = time.process_time()
    rtt = conns[0].path.rtt
    return _result(load, perf.Sum(parts).total()) | {
        "connections": number,
        "connecting_seconds": (connected_at - started_at) / NS_PER_S,
        "connecting_cpu_seconds": cpu_connected - cpu_before,
        "cpu_seconds": cpu_after - cpu_connected,
        "packets_sent": sum(conn.stats.packets_sent for conn in conns),
        "packets_received": sum(conn.stats.packets_received for conn in conns),
        "packets_lost": sum(conn.stats.packets_lost for conn in conns),
        "smoothed_rtt_ms": rtt.smoothed_rtt_ns / NS_PER_MS,
        "min_rtt_ms": rtt.min_rtt_ns / NS_PER_MS,
    }


def allow_open_files(connections: int) -> None:
    """Each connection has a socket of its own: raise the limit of open files as far as need be. Raises Failure."""
    needed = connections + _OTHER_FILES
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if hard != resource.RLIM_INFINITY and needed > hard:
        raise Failure(BAD_INPUT, f"--connections {connections}: must be {hard - _OTHER_FILES} at most (ulimit -Hn)")
    if soft != resource.RLIM_INFINITY and needed > soft:
        resource.setrlimit(resource.RLIMIT_NOFILE, (needed, hard))


def _show_interval(since: int, until: int, size: int) -> None:
    rate = 8_000 * size / (until - since)  # bits per µs
    print(f"{since / NS_PER_S:7.2f} - {until / NS_PER_S:7.2f} s  {size:>14,} bytes  {rate:10.2f} Mbit/s", flush=True)


def _result(load: Load, measurement: Measurement) -> dict[str, Any]:
    result: dict[str, Any] = {
        "mode": load.mode.value,
        "handshake_ms": measurement.handshake_ns / NS_PER_MS,
        "seconds": measurement.duration_ns / NS_PER_S,
        "bytes": measurement.size,
        "bits_per_second": measurement.bits_per_second,
    }
    if load.mode in (Mode.REQUESTS, Mode.DATAGRAMS):
        answered = len(measurement.latencies_ns)
        result |= {"sent": measurement.sent, "answered": answered}
        if answered > 1:
            cuts = quantiles(measurement.latencies_ns, n=100)
            result["latency_ms"] = {f"p{percent}": cuts[percent - 1] / NS_PER_MS for percent in (50, 90, 99)}
    if load.mode is not Mode.DATAGRAMS:
        result["streams"] = load.streams
    return result


def _text(result: dict[str, Any]) -> str:
    text = ""
    if result["connections"] > 1:
        text += f"{result['connections']:,} connections in {result['connecting_seconds']:.3f} s\n"
    text += (
        f"{result['mode']}: {result['bytes']:,} bytes in {result['seconds']:.3f} s, "
        f"{result['bits_per_second'] / 1e6:.2f} Mbit/s, CPU {result['cpu_seconds']:.3f} s, "
        f"handshake {result['handshake_ms']:.2f} ms, {result['packets_lost']} packets lost"
    )
    if "answered" in result:
        text += f"\n{result['answered']:,} of {result['sent']:,} answered"
    if latencies := result.get("latency_ms"):
        text += ", latency " + ", ".join(f"{name} {value:.2f} ms" for name, value in latencies.items())
    return text
