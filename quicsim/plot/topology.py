"""A plan's network as a picture: hosts, routers, NATs, links and what flows between them."""

from collections import deque
from typing import Final

from matplotlib.axes import Axes
from matplotlib.figure import Figure

from quicsim.plan import Plan
from quicsim.plan.elements import ElementPlan, element_text
from quicsim.plot.style import BLUE, GREEN, GREY, ORANGE, PURPLE, SKY, VERMILION, legend, panels

_MOST_ELEMENTS: Final = 4  # of a direction, in a label
_COLUMN: Final = 3.0  # distance of columns
_ROW: Final = 1.0


def topology(plan: Plan) -> Figure:
    """Plot the network of a plan from left to right, as far as each node is from the first client.

    Routers are round, hosts square; a link says what its elements are in both directions, an arrow what flows.
    """
    places = _places(plan)
    columns, rows = ([place[axis] for place in places.values()] for axis in (0, 1))
    figure, (axes,) = panels(f"{plan.name}: {plan.description}" if plan.description else plan.name, 1)
    figure.set_size_inches(max(9.0, 1.1 * (max(columns) + 2)), 1.6 + 1.1 * (max(rows) - min(rows) + 1))
    axes.axis("off")
    axes.set_xlim(min(columns) - _COLUMN / 3, max(columns) + _COLUMN / 3)
    axes.set_ylim(min(rows) - _ROW * 0.8, max(rows) + _ROW * 0.8)
    _draw_links(axes, plan, places)
    _draw_flows(axes, plan, places)
    for name, (x, y) in places.items():
        is_router = name in plan.routers
        box = {"boxstyle": "circle" if is_router else "round", "edgecolor": GREY, "linewidth": 1.2}
        box["facecolor"] = "#e8e8e8" if is_router else "white"
        axes.text(x, y, _node_label(plan, name), ha="center", va="center", fontsize=8, zorder=4, bbox=box)
    for artist in axes.texts:
        artist.set_in_layout(False)  # they are where they are, and the axes take all the room
    return figure


def _places(plan: Plan) -> dict[str, tuple[float, float]]:
    """Return where each node is: its column by its distance from the first client, in its row near its neighbours."""
    owner = {address: name for name, host in plan.hosts.items() for address in host.addresses}
    neighbours: dict[str, list[str]] = {name: [] for name in (*plan.hosts, *plan.routers)}
    for link in plan.links:
        one, other = (owner.get(end, end) for end in link.between)
        neighbours[one].append(other)
        neighbours[other].append(one)
    columns: dict[str, int] = {}
    for start in _starts(plan, neighbours):
        if start in columns:
            continue
        columns[start] = 0
        waiting = deque([start])
        while waiting:
            name = waiting.popleft()
            for other in neighbours[name]:
                if other not in columns:
                    columns[other] = columns[name] + 1
                    waiting.append(other)
    _align(plan, neighbours, columns)
    members: dict[int, list[str]] = {}
    for name in columns:
        members.setdefault(columns[name], []).append(name)
    places: dict[str, tuple[float, float]] = {}
    for column in sorted(members):
        names = members[column]
        heights = {name: [places[other][1] for other in neighbours[name] if other in places] or [0.0] for name in names}
        names.sort(key=lambda name: -sum(heights[name]) / len(heights[name]))
        middle = (len(names) - 1) / 2
        for row, name in enumerate(names):
            places[name] = (column * _COLUMN, (middle - row) * _ROW)
    return places


def _starts(plan: Plan, neighbours: dict[str, list[str]]) -> list[str]:
    """Return nodes to begin with at the left: clients and sources, then whatever none of them reaches."""
    clients = [application.client for application in plan.applications]
    return [*clients[:1], *[flow.source for flow in plan.traffic[:1]], *neighbours]


def _align(plan: Plan, neighbours: dict[str, list[str]], columns: dict[str, int]) -> None:
    """Where routers go on behind the first one, put the other hosts at the first one beside the client."""
    if any(columns[router] == 2 for router in plan.routers):
        for name in plan.hosts:
            if columns[name] == 2 and all(columns[other] == 1 for other in neighbours[name]):
                columns[name] = 0


def _node_label(plan: Plan, name: str) -> str:
    if name in plan.routers:
        return name
    lines = [name, *plan.hosts[name].addresses]
    behind = (name, *plan.hosts[name].addresses)
    lines += [f"NAT {', '.join(nat.outside)}" for nat in plan.nats if nat.inside in behind]
    return "\n".join(lines)


def _draw_links(axes: Axes, plan: Plan, places: dict[str, tuple[float, float]]) -> None:
    owner = {address: name for name, host in plan.hosts.items() for address in host.addresses}
    drawn: dict[frozenset[str], int] = {}
    for link in plan.links:
        one, other = (owner.get(end, end) for end in link.between)
        again = drawn.get(frozenset((one, other)), 0)
        drawn[frozenset((one, other))] = again + 1
        (x1, y1), (x2, y2) = places[one], places[other]
        bend = 0.0 if not again else 0.28 * ((again + 1) // 2) * (1 if again % 2 else -1)
        axes.annotate(
            "",
            xy=(x2, y2),
            xytext=(x1, y1),
            zorder=1,
            arrowprops={"arrowstyle": "-", "linewidth": 2.0, "color": GREY, "connectionstyle": f"arc3,rad={bend}"},
        )
        middle = ((x1 + x2) / 2 + bend * (y2 - y1) / 2, (y1 + y2) / 2 - bend * (x2 - x1) / 2)
        if label := _link_label(link.up, link.down, x1 > x2):
            box = {"boxstyle": "round,pad=0.15", "facecolor": "white", "edgecolor": "none", "alpha": 0.85}
            axes.text(*middle, label, ha="center", va="center", fontsize=6.5, color="#333333", zorder=3, bbox=box)


def _link_label(up: list[ElementPlan], down: list[ElementPlan], backwards: bool) -> str:
    there, back = ("←", "→") if backwards else ("→", "←")
    lines = []
    if up and [str(one) for one in up] == [str(one) for one in down]:
        lines.append(f"↔ {_elements(up)}")
    else:
        lines += [f"{arrow} {_elements(way)}" for arrow, way in ((there, up), (back, down)) if way]
    return "\n".join(lines)


def _elements(elements: list[ElementPlan]) -> str:
    shown = [element_text(element) for element in elements[:_MOST_ELEMENTS]]
    return ", ".join([*shown, "…"] if len(elements) > _MOST_ELEMENTS else shown)


def _draw_flows(axes: Axes, plan: Plan, places: dict[str, tuple[float, float]]) -> None:
    """Draw an arc from each application's client to its server, and for traffic from source to destination."""
    owner = {address: name for name, host in plan.hosts.items() for address in host.addresses}
    colours = {"bulk": BLUE, "echo": SKY, "requests": GREEN, "datagrams": PURPLE, "tcp": VERMILION}
    flows = [(a.client, a.server, f"{a.kind} (application)", colours.get(a.kind, BLUE)) for a in plan.applications]
    flows += [
        (t.source, owner.get(t.destination, t.destination), f"{t.kind} (traffic)", colours.get(t.kind, ORANGE))
        for t in plan.traffic
    ]
    labelled: set[str] = set()
    for number, (start, end, label, colour) in enumerate(dict.fromkeys(flows)):
        bend = (-1) ** number * (0.16 + 0.06 * (number // 2))
        axes.annotate(
            "",
            xy=places[end],
            xytext=places[start],
            zorder=2,
            arrowprops={
                "arrowstyle": "->",
                "linestyle": "--",
                "color": colour,
                "linewidth": 1.2,
                "connectionstyle": f"arc3,rad={bend}",
                "shrinkA": 22,
                "shrinkB": 22,
            },
        )
        axes.plot([], [], "--", color=colour, linewidth=1.2, label=None if label in labelled else label)
        labelled.add(label)
    legend(axes)
