"""Captures of simulated connections, and what tshark says of them."""

import os
import shutil
import subprocess
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import pytest

from links import Element
from quicsim import Simulation, test_certificate
from quicsim.pcapng import HostCapture


def capture(
    directory: Path,
    server: Any,
    client: Any,
    *,
    server_options: dict[str, Any] | None = None,
    client_options: dict[str, Any] | None = None,
    addresses: Iterable[str] = (),
    up: Iterable[Element],
    down: Iterable[Element],
    nat: Iterable[str] = (),
    seed: int = 11,
) -> dict[str, Path]:
    """Run two applications and return the capture files of hosts "client" and "server".

    `addresses` are the client's; `nat`, if any, those outside of a NAT before it.
    """
    hosts = {"client": HostCapture("client"), "server": HostCapture("server")}
    simulation = Simulation(seed, observer=hosts.__getitem__)
    simulation.host("client", addresses)
    simulation.host("server", ["2001:db8:9::1" if any(":" in address for address in addresses) else "10.0.9.1"])
    if nat:
        simulation.nat("client", nat)
    simulation.link("client", "server", up, down)
    for name, each in hosts.items():
        simulation.tap(name, each.datagram)
    simulation.spawn("server", server, test_certificate(), **(server_options or {}))
    options = {"trust": test_certificate(), **(client_options or {})}
    simulation.run(simulation.spawn("client", client, "server", **options))
    simulation.run(until=simulation.now + 10**10)
    files = {}
    for name, each in hosts.items():
        files[name] = directory / f"{name}.pcapng"
        with files[name].open("wb") as file:
            each.save(file.write)
    return files


def tshark(path: Path, *arguments: str, port: int = 4433) -> list[str]:
    """Return the lines that tshark prints; skip, or with QUICSIM_NO_SKIP=1 fail, where there is none."""
    if shutil.which("tshark") is None:
        if os.environ.get("QUICSIM_NO_SKIP") == "1":
            pytest.fail("needs tshark, which is not installed", pytrace=False)
        pytest.skip("needs tshark, which is not installed")
    command = ["tshark", "-n", "-r", str(path), "-d", f"udp.port=={port},quic", "-o", "udp.check_checksum:TRUE"]
    command += ["-o", "ip.check_checksum:TRUE", *arguments]
    return subprocess.run(command, capture_output=True, text=True, check=True, timeout=60).stdout.splitlines()


Frame = dict[str, list[str]]
"""The values of each field of `FIELDS` in one frame of a file, in order."""

FIELDS = (
    "_ws.malformed",
    "_ws.expert.message",
    "ip.src",
    "ip.dst",
    "ip.dsfield.ecn",
    "ip.checksum.status",
    "ipv6.src",
    "ipv6.dst",
    "udp.srcport",
    "udp.checksum.status",
    "quic.decryption_failed",
    "quic.frame_type",
    "quic.version",
    "quic.supported_version",
    "quic.token",
    "quic.retry_integrity_tag",
    "quic.key_phase",
    "quic.long.packet_type",
    "quic.ack.ecn_ce_count",
    "quic.dg",
    "tls.handshake.type",
    "tls.handshake.ciphersuite",
)


def dissect(path: Path, port: int = 4433) -> list[Frame]:
    """What tshark finds in each frame of a file."""
    options = [option for name in FIELDS for option in ("-e", name)]
    lines = tshark(path, "-T", "fields", "-E", "aggregator=|", *options, port=port)
    rows = [dict(zip(FIELDS, line.split("\t"), strict=True)) for line in lines]
    return [{name: value.split("|") if value else [] for name, value in row.items()} for row in rows]


def values(frames: list[Frame], name: str) -> list[str]:
    """All values of one field, in their order."""
    return [value for frame in frames for value in frame[name]]


def check(path: Path, *, without_frames: int = 0, remarks: int | None = 0, port: int = 4433) -> list[Frame]:
    """Return what `dissect` finds: nothing is malformed, all checksums are right and all packets are decrypted.

    `without_frames` datagrams hold a packet that has none, and tshark has `remarks` to make, None for any.
    """
    frames = dissect(path, port)
    assert frames
    assert values(frames, "_ws.malformed") == values(frames, "quic.decryption_failed") == []
    messages = values(frames, "_ws.expert.message")
    assert remarks is None or len(messages) == remarks, messages
    assert sum(not frame["quic.frame_type"] for frame in frames) == without_frames
    for frame in frames:
        assert frame["udp.checksum.status"] == ["1"]
        assert frame["ip.checksum.status"] == ([] if frame["ipv6.src"] else ["1"])
    return frames
