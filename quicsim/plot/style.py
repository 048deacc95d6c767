"""What all figures share: size, colours, axes, and files that are the same every time."""

from collections.abc import Callable, Sequence
from io import BytesIO
from typing import Final

from matplotlib.artist import Artist
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure

# Okabe and Ito's palette, which people with any colour vision can tell apart.
BLUE: Final = "#0072B2"
ORANGE: Final = "#E69F00"
GREEN: Final = "#009E73"
VERMILION: Final = "#D55E00"
GREY: Final = "#777777"
PURPLE: Final = "#CC79A7"
SKY: Final = "#56B4E9"

_PATH_COLOURS: Final = (BLUE, ORANGE, GREEN, PURPLE, VERMILION, SKY)  # by number, and again from the first

_WIDTH: Final = 9.0  # inches
_PANEL_HEIGHT: Final = 2.9  # inches
_DOTS_PER_INCH: Final = 120


class Plot(Figure):
    """A figure that a notebook shows by itself, whatever matplotlib backend it set up."""

    def _repr_png_(self) -> bytes:
        """Jupyter's hook: the figure as PNG."""
        image = BytesIO()
        save(self, image.write)
        return image.getvalue()


def path_colour(path: int) -> str:
    """The colour of the path of this number."""
    return _PATH_COLOURS[path % len(_PATH_COLOURS)]


def panels(title: str, count: int, *, share_time: bool = True) -> tuple[Figure, list[Axes]]:
    """Return a figure with `count` panels above one another, which share the time axis unless told otherwise."""
    figure = Plot(figsize=(_WIDTH, 0.5 + _PANEL_HEIGHT * count), dpi=_DOTS_PER_INCH, layout="constrained")
    FigureCanvasAgg(figure)
    grid = figure.subplots(count, 1, sharex=share_time, squeeze=False)
    axes = [row[0] for row in grid]
    figure.suptitle(title, fontsize=11)
    for one in axes:
        one.grid(True, color="#dddddd", linewidth=0.6)
        one.set_axisbelow(True)
        one.spines[["top", "right"]].set_visible(False)
    axes[-1].set_xlabel("time (s)")
    return figure, axes


def legend(axes: Axes, *, columns: int = 4, handles: Sequence[Artist] | None = None) -> None:
    """Put the legend above the panel, where it hides nothing; of `handles` instead of what is labelled, if given."""
    axes.legend(
        handles=handles,
        loc="lower left",
        bbox_to_anchor=(0.0, 1.0),
        ncols=columns,
        frameon=False,
        borderaxespad=0.2,
        fontsize="small",
        handlelength=1.6,
    )


def save(figure: Figure, write: Callable[[bytes], object]) -> None:
    """Write a figure as PNG. Nothing in it depends on the day or the version of a program's name."""
    image = BytesIO()
    figure.savefig(image, format="png", dpi=_DOTS_PER_INCH, metadata={"Software": None})
    write(image.getvalue())
