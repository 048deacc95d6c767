"""Curves of any kind, for experiments: panels above one another, in the style of all figures."""

from collections.abc import Sequence
from typing import Final, NamedTuple

import numpy as np
from matplotlib.figure import Figure

from quicsim.plot.style import GREY, legend, panels, path_colour

LINE: Final = "line"
STEPS: Final = "steps"
POINTS: Final = "points"
EXPECTED: Final = "expected"  # dashed and grey: what theory says

Values = Sequence[float] | np.ndarray[tuple[int], np.dtype[np.generic]]


class Curve(NamedTuple):
    """Values over others; `kind` is LINE, STEPS, POINTS or EXPECTED, an empty `label` keeps it out of the legend."""

    x: Values
    y: Values
    label: str = ""
    kind: str = LINE
    colour: int | None = None  # by number; None: the next one


class Panel(NamedTuple):
    """One pair of axes; `log` names those that are logarithmic: "", "x", "y" or "xy"."""

    curves: Sequence[Curve]
    y_label: str
    x_label: str = "time (s)"
    log: str = ""


def curves(title: str, shown: Sequence[Panel]) -> Figure:
    """Plot panels of curves; panels that have the same label on the x axis share it."""
    shared = len({panel.x_label for panel in shown}) == 1
    figure, axes = panels(title, len(shown), share_time=shared)
    for one, panel in zip(axes, shown, strict=True):
        number = 0
        for curve in panel.curves:
            colour = GREY if curve.kind == EXPECTED else path_colour(number if curve.colour is None else curve.colour)
            number += curve.kind != EXPECTED and curve.colour is None
            label = curve.label or "_"  # which legends leave out
            if curve.kind == POINTS:
                one.plot(curve.x, curve.y, "o", color=colour, markersize=5, label=label)
            elif curve.kind == STEPS:
                one.step(curve.x, curve.y, where="post", color=colour, linewidth=1.2, label=label)
            else:
                dashes = "--" if curve.kind == EXPECTED else "-"
                one.plot(curve.x, curve.y, dashes, color=colour, linewidth=1.2, label=label)
        if "x" in panel.log:
            one.set_xscale("log")
        if "y" in panel.log:
            one.set_yscale("log")
        else:
            one.set_ylim(bottom=0)
        one.set_ylabel(panel.y_label)
        if not shared or one is axes[-1]:
            one.set_xlabel(panel.x_label)
        if any(curve.label for curve in panel.curves):
            legend(one, columns=3)
    return figure
