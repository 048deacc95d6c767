"""The simulation as a whole: exact, repeatable, and clear about what went wrong."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

import quicsim
from links import Datagram, Delay, Element, Loss, LossIf, Rate, TailDrop
from quicsim import Net, Simulation
from stack.errors import ConnectionClosed

MS = 1_000_000


async def server(net: Net) -> None:
    listener = await net.listen(4433, quicsim.test_certificate())
    conn = await listener.accept()
    stream = await conn.accept_stream()
    size = int.from_bytes(await stream.read_exactly(8))
    await stream.write(bytes(size), end=True)


async def client(net: Net, host: str, size: int = 4 << 20) -> int:
    conn = await net.connect(host, 4433, trust=quicsim.test_certificate())
    stream = await conn.open_stream()
    await stream.write(size.to_bytes(8), end=True)
    return len(await stream.read_all())


def lossy(seed: int = 7, size: int = 100_000, extra: tuple[Element, ...] = ()) -> Simulation:
    sim = Simulation(seed=seed)
    sim.link(
        "alice",
        "bob",
        up=[Rate("2Mbps"), TailDrop(32_000), Delay("25ms"), *extra],
        down=[Rate("10Mbps"), TailDrop(64_000), Delay("25ms"), Loss(0.01)],
    )
    sim.spawn("bob", server)
    assert sim.run(sim.spawn("alice", client, "bob", size)) == size
    return sim


def test_the_example_transfers_everything_through_a_lossy_bottleneck() -> None:
    sim = lossy(size=4 << 20)
    down = sim.links["alice-bob"].down
    assert down.lost == down.sent - down.delivered > 0
    assert sim.now > (4 << 20) * 8 * 100  # at 10 Mbit/s a bit takes 100 ns


def test_same_seed_same_run_other_seed_other_run() -> None:
    one, again, other = lossy(1), lossy(1), lossy(2)
    assert (one.digest, one.now) == (again.digest, again.now)
    assert one.digest != other.digest


def test_the_digest_does_not_depend_on_the_hash_seed() -> None:
    code = "import test_simulation; print(test_simulation.lossy().digest)"
    path = os.pathsep.join([str(Path(__file__).parent), *sys.path])

    def digest(hash_seed: str) -> str:
        environment = {"PYTHONHASHSEED": hash_seed, "PYTHONPATH": path}
        run = subprocess.run([sys.executable, "-c", code], env=environment, capture_output=True, text=True, check=True)
        return run.stdout.strip()

    assert digest("1") == digest("2") == lossy().digest


def test_the_digest_tells_fates_apart() -> None:
    def digest(*elements: Element) -> str:
        sim = Simulation()
        link = sim.link("alice", "bob", up=elements)
        for number in range(3):
            link.up.send(Datagram(b"payload", ("10.0.0.1", 1), ("10.0.0.2", 2), number=number), 0)
        sim.run()
        return sim.digest

    second = LossIf(lambda it: it.id == 1, reason="one")
    other_reason = LossIf(lambda it: it.id == 1, reason="another")
    digests = [digest(), digest(Delay(1)), digest(second), digest(other_reason)]
    assert len(set(digests)) == 4
    assert digest() == digests[0]


def test_a_handshake_takes_two_one_way_delays_at_the_client() -> None:
    sim = Simulation()
    sim.link("alice", "bob", up=[Delay("25ms")], down=[Delay("25ms")])
    sim.spawn("bob", server)

    async def connect(net: Net) -> int:
        await net.connect("bob", 4433, trust=quicsim.test_certificate())
        return net.now

    assert sim.run(sim.spawn("alice", connect)) == 50 * MS


def test_hosts_get_addresses_in_order_of_mention_or_as_asked() -> None:
    sim = Simulation()
    sim.host("first")
    sim.host("second", addresses=["192.0.2.7", "2001:db8::7"])
    sim.link("third", "second")
    assert [host.addresses for host in sim.hosts.values()] == [
        ("10.0.0.1",),
        ("192.0.2.7", "2001:db8::7"),
        ("10.0.0.3",),
    ]
    with pytest.raises(ValueError, match=r"address 192\.0\.2\.7: host second has it"):
        sim.host("fourth", addresses=["192.0.2.7"])
    with pytest.raises(ValueError, match=r"host first has the addresses 10\.0\.0\.1 already"):
        sim.host("first", addresses=["192.0.2.1"])
    with pytest.raises(ValueError, match="must join two hosts or routers that no link joins yet"):
        sim.link("second", "third")


def test_a_host_can_be_reached_by_name_and_by_each_address() -> None:
    sim = Simulation()
    sim.host("alice", addresses=["192.0.2.1", "2001:db8::1"])
    sim.host("bob", addresses=["192.0.2.2", "2001:db8::2"])
    sim.link("alice", "bob")

    async def accepting(net: Net) -> None:
        listener = await net.listen(4433, quicsim.test_certificate())
        while True:
            await listener.accept()

    async def addresses(net: Net) -> list[str]:
        names = ("bob", "192.0.2.2", "2001:db8::2")
        return [
            (await net.connect(name, 4433, trust=quicsim.test_certificate(), server_name="localhost")).path.remote[0]
            for name in names
        ]

    sim.spawn("bob", accepting)
    assert sim.run(sim.spawn("alice", addresses)) == ["192.0.2.2", "192.0.2.2", "2001:db8::2"]


def test_a_tap_sees_what_a_host_sends_and_receives() -> None:
    seen: list[tuple[str, int, str, int]] = []
    sim = Simulation()
    sim.link("alice", "bob", up=[Delay("10ms")], down=[Delay("15ms")])
    sim.tap("alice", lambda host, now, direction, it: seen.append((host, now, direction, it.size)))
    sim.spawn("bob", server)
    sim.run(sim.spawn("alice", client, "bob", 10))
    assert seen[0] == ("alice", 0, "sent", 1200)
    assert seen[1] == ("alice", 25 * MS, "received", 1200)


def test_a_failing_application_surfaces_with_the_seed() -> None:
    sim = Simulation(seed=99)

    async def failing(net: Net) -> None:
        await net.sleep("3ms")
        raise KeyError("original")

    with pytest.raises(KeyError, match="original") as caught:
        sim.run(sim.spawn("alice", failing))
    assert caught.value.__notes__ == ["in the simulation with seed 99, at 3000000 ns"]


def test_a_failing_application_that_nobody_awaits_ends_the_run() -> None:
    sim = Simulation()

    async def failing(net: Net) -> None:
        await net.sleep(1)
        raise KeyError("original")

    sim.spawn("alice", failing)
    with pytest.raises(KeyError, match="original"):
        sim.run()


def test_a_deadlock_names_the_waiting() -> None:
    sim = Simulation()
    with pytest.raises(quicsim.DeadlockError, match="server on bob waits for a connection on port 4433"):
        sim.run(sim.spawn("bob", server))


def test_run_until_a_time() -> None:
    sim = Simulation()
    sim.link("alice", "bob", up=[Delay("1s")], down=[Delay("1s")])
    sim.spawn("bob", server)
    task = sim.spawn("alice", client, "bob", 10)
    assert sim.run(until="1.5s") is None
    assert sim.now == 1_500 * MS
    with pytest.raises(TimeoutError, match="client on alice is not done at 1600000000 ns: waits for the handshake"):
        sim.run(task, until="1.6s")
    assert sim.run(task) == 10


def test_a_host_without_a_way_there_is_refused() -> None:
    sim = Simulation()
    sim.link("alice", "bob")
    sim.host("carol")
    with pytest.raises(ValueError, match="host 'dave': must be one of alice, bob, carol"):
        sim.run(sim.spawn("alice", client, "dave"))
    with pytest.raises(ValueError, match="host 'carol': no link leads there from alice"):
        sim.run(sim.spawn("alice", client, "carol"))


def test_nobody_listening_is_noticed_by_the_client_alone() -> None:
    sim = Simulation()
    sim.link("alice", "bob", up=[Delay("1ms")], down=[Delay("1ms")])
    with pytest.raises(ConnectionClosed):
        sim.run(sim.spawn("alice", client, "bob"))
    assert sim.hosts["bob"].unreachable > 1


def test_observers_are_asked_for_once_per_host() -> None:
    asked: list[str] = []

    def observer(host: str) -> None:
        asked.append(host)

    sim = Simulation(observer=observer)
    sim.link("alice", "bob")
    sim.spawn("bob", server)
    sim.run(sim.spawn("alice", client, "bob", 10))
    sim.spawn("alice", client, "bob", 10)
    sim.run(until=sim.now + 1)
    assert asked == ["bob", "alice"]
