"""`quicsim plan`: whether a plan can be used, and what it describes."""

from collections.abc import Iterator
from pathlib import Path
from typing import Annotated

import typer

from quicsim.commands.exits import BAD_INPUT, Failure
from quicsim.outputs import OutputDirectory
from quicsim.plan import Plan, PlanError, build_network, load_plan, sweep_runs
from quicsim.plan.elements import ElementPlan, element_text
from quicsim.series import NS_PER_S
from quicsim.simulation import Simulation

app = typer.Typer(no_args_is_help=True, help="Check plans, and show what they describe.")

PlanFile = Annotated[Path, typer.Argument(help="The plan, a TOML file.", show_default=False)]
Settings = Annotated[
    list[str] | None,
    typer.Option("--set", metavar="KEY=VALUE", help="Set a value of the plan, such as links.0.down.3.loss=0.02."),
]


@app.command()
def check(plan: PlanFile, settings: Settings = None) -> None:
    """Say what is wrong with a plan, where, and what would be right; its sweep's runs are checked too."""
    loaded = loaded_plan(plan, settings or [])
    _check_network(plan, loaded)
    try:
        runs = sweep_runs(plan, settings or []) if loaded.sweep else []
    except PlanError as error:
        raise Failure(BAD_INPUT, str(error)) from None
    more = f", {len(runs)} runs to sweep" if runs else ""
    print(f"{plan}: ok: {len(loaded.hosts)} hosts, {len(loaded.routers)} routers, {len(loaded.links)} links{more}")


@app.command()
def show(
    plan: PlanFile,
    settings: Settings = None,
    out: Annotated[
        Path | None, typer.Option(help="The picture, a PNG file.", show_default="build/plans/NAME.png")
    ] = None,
) -> None:
    """Describe a plan in text, and its network in a picture."""
    from quicsim import plot  # here: it takes a second to import, and `check` draws nothing

    loaded = loaded_plan(plan, settings or [])
    for line in description(loaded):
        print(line)
    path = out or Path("build", "plans", f"{loaded.name}.png")
    with OutputDirectory(path.parent).binary(path.name) as file:
        plot.save(plot.topology(loaded), file.write)
    print(f"picture: {path}")


def loaded_plan(path: Path, settings: list[str]) -> Plan:
    """Return the plan in a file. Raises Failure for one that can't be used."""
    try:
        return load_plan(path, settings)
    except PlanError as error:
        raise Failure(BAD_INPUT, str(error)) from None


def _check_network(path: Path, plan: Plan) -> None:
    """Build the plan's network, and see whether links lead to all servers. Raises Failure."""
    simulation = Simulation()
    place = ""
    try:
        build_network(plan, simulation)
        for i, application in enumerate(plan.applications):
            place = f"applications.{i}: "
            simulation.resolve(application.server, simulation.hosts[application.client])
        for i, flow in enumerate(plan.traffic):
            place = f"traffic.{i}: "
            flow.build(simulation)
    except ValueError as error:
        raise Failure(BAD_INPUT, f"{path}: {place}{error}") from None


def description(plan: Plan) -> Iterator[str]:
    """Yield the lines that describe a plan."""
    yield f"{plan.name}, seed {plan.seed}: {plan.description}".removesuffix(": ")
    for name, host in plan.hosts.items():
        addresses = f" {', '.join(host.addresses)}" if host.addresses else ""
        options = "".join(f" {key}={value}" for key, value in host.stack.items())
        yield f"host {name}{addresses}{options}"
    for router in plan.routers:
        yield f"router {router}"
    for nat in plan.nats:
        yield f"NAT of {nat.inside}: {', '.join(nat.outside)}"
    for link in plan.links:
        cost = f", cost {link.cost}" if link.cost != 1 else ""
        yield f"link {link.between[0]} - {link.between[1]}{cost}"
        yield f"  up   {_elements(link.up)}"
        yield f"  down {_elements(link.down)}"
    for application in plan.applications:
        arguments = "".join(f" {key}={value}" for key, value in application.arguments.items())
        start = f" from {application.start / NS_PER_S:g} s" if application.start else ""
        yield f"application {application.kind}: {application.client} of {application.server}{arguments}{start}"
    for flow in plan.traffic:
        arguments = "".join(f" {key}={value}" for key, value in flow.arguments.items())
        stop = "" if flow.stop is None else f" to {flow.stop / NS_PER_S:g} s"
        time = f" from {flow.start / NS_PER_S:g} s{stop}"
        yield f"traffic {flow.kind}: {flow.source} to {flow.destination}{arguments}{time}"
    for action in plan.actions:
        yield f"action {action.do}"
    for path, values in plan.sweep.items():
        yield f"sweep {path}: {', '.join(str(value) for value in values)}"


def _elements(elements: list[ElementPlan]) -> str:
    return ", ".join(element_text(element) for element in elements) or "nothing"
