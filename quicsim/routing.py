"""Shortest ways through the routers of a simulated network (Dijkstra 1959, as networkx has it)."""

from collections.abc import Iterable
from functools import cached_property
from typing import TYPE_CHECKING, Any, Final, NamedTuple

from links import Pipeline

if TYPE_CHECKING:
    import networkx


class Attachment(NamedTuple):
    """A link between an address and a router: its cost, and its two directions."""

    router: str
    cost: int
    to_router: Pipeline
    from_router: Pipeline


class Routing:
    """Knows the links of routers, and by them the ways between addresses.

    A way's length is the sum of its links' costs. Of ways of equal length it is always the same one that is taken:
    among an address's own links the one made first.
    """

    def __init__(self) -> None:
        self._between: Final[dict[tuple[str, str], Pipeline]] = {}  # neighbouring routers
        self._uplinks: Final[dict[str, list[Attachment]]] = {}  # of what comes from an address
        self._attachments: Final[dict[str, list[Attachment]]] = {}  # of what goes to an address
        self._ends: Final[dict[str, str]] = {}  # by a link's name, the router that it leads to
        self._trees: Final[dict[str, tuple[dict[str, list[str]], dict[str, int]]]] = {}  # by router they lead to

    @cached_property
    def _routers(self) -> "networkx.Graph[str]":
        import networkx  # it takes a fifth of the time to import quicsim, and few simulations have routers

        return networkx.Graph()

    def add(self, router: str) -> None:
        """There is a router of this name."""
        self._routers.add_node(router)

    def join(self, one: str, other: str, cost: int, there: Pipeline, back: Pipeline) -> None:
        """Two routers have a link."""
        self._routers.add_edge(one, other, weight=cost)
        self._between[one, other], self._between[other, one] = there, back
        self._ends[there.name], self._ends[back.name] = other, one
        self._trees.clear()

    def attach(self, inside: Iterable[str], outside: Iterable[str], attachment: Attachment) -> None:
        """Addresses of a host have a link to a router; NATs before them make `outside` of `inside`."""
        self._ends[attachment.to_router.name] = attachment.router
        for address in inside:
            self._uplinks.setdefault(address, []).append(attachment)
        for address in outside:
            self._attachments.setdefault(address, []).append(attachment)

    def routers_of(self, address: str) -> list[str]:
        """Return the routers to which an address of a host has links."""
        return [uplink.router for uplink in self._uplinks.get(address, ())]

    def way_from(self, source: str, destination: str) -> Pipeline | None:
        """Return the first link of the way from one address to another, None if there is no way."""
        best: tuple[int, Pipeline] | None = None
        for attachment in self._uplinks.get(source, ()):
            last = self._last(attachment.router, destination)
            if last is not None and (best is None or attachment.cost + last[0] < best[0]):
                best = attachment.cost + last[0], attachment.to_router
        return None if best is None else best[1]

    def way_through(self, router: str, destination: str) -> Pipeline | None:
        """Return the link on which a router puts what goes to an address, None if there is no way."""
        last = self._last(router, destination)
        if last is None:
            return None
        attachment = last[1]
        if attachment.router == router:
            return attachment.from_router
        towards, _ = self._tree(attachment.router)
        return self._between[router, towards[router][0]]

    def way(self, source: str, destination: str) -> list[Pipeline]:
        """Return all links of the way from one address to another, in order; none if there is no way."""
        links = []
        link = self.way_from(source, destination)
        while link is not None:
            links.append(link)
            router = self._ends.get(link.name)
            link = None if router is None else self.way_through(router, destination)
        return links

    def _last(self, router: str, destination: str) -> tuple[int, Attachment] | None:
        """Return how far it is from a router to an address, and by which link of the address the way ends."""
        best: tuple[int, Attachment] | None = None
        for attachment in self._attachments.get(destination, ()):
            distance = self._tree(attachment.router)[1].get(router)
            if distance is not None and (best is None or distance + attachment.cost < best[0]):
                best = distance + attachment.cost, attachment
        return best

    def _tree(self, router: str) -> tuple[dict[str, list[str]], dict[str, int]]:
        """Return the neighbours that are nearer to `router`, and the distances to it, of all that reach it."""
        tree: Any = self._trees.get(router)
        if tree is None:
            import networkx

            tree = self._trees[router] = networkx.dijkstra_predecessor_and_distance(self._routers, router)
        return tree  # type: ignore[no-any-return]  # networkx has no types
