"""How figures look: sizes, fonts and colours for print, and files that are the same bytes for the same input."""

from __future__ import annotations

import io
from collections.abc import Callable, Mapping
from functools import cache
from pathlib import Path
from types import MappingProxyType
from typing import Any, NamedTuple

import matplotlib.style
from matplotlib import font_manager
from matplotlib.axes import Axes
from matplotlib.colors import Colormap, LinearSegmentedColormap
from matplotlib.figure import Figure

from eca_ablate.files import write_atomically

COLUMN = 3.5  # inches: one column of a two-column paper
PAGE = 7.0  # both columns
DPI = 300
_SHOWN = 120  # pixels an inch in a notebook, of screens that may be finer
GREY = "#6b6b6b"
FAINT = "#d9d9d9"


class Look(NamedTuple):
    """Colour and marker of a head: either alone tells it from the others."""

    colour: str
    marker: str


# The same head looks the same in every figure. Colours of Okabe and Ito; for their yellow, too pale on paper, wine red.
LOOKS: Mapping[str, Look] = MappingProxyType(
    {
        "none": Look("#000000", "s"),
        "se": Look("#D55E00", "^"),
        "se_var1": Look("#56B4E9", "v"),
        "se_var2": Look("#CC79A7", "<"),
        "se_var3": Look("#882255", ">"),
        "se_gc": Look("#E69F00", "D"),
        "eca_ns": Look("#009E73", "P"),
        "eca": Look("#0072B2", "o"),
    }
)
_OTHER = Look(GREY, "X")

# Marks of points without a value.
MARKS: Mapping[str, str] = MappingProxyType({"pruned": "2", "diverged": "x", "waiting": "."})

_STYLE: Mapping[str, Any] = MappingProxyType(
    {
        "font.family": ["DejaVu Sans"],  # comes with matplotlib, so that a figure is the same everywhere
        "font.size": 8,
        "axes.labelsize": 8,
        "axes.titlesize": 8,
        "xtick.labelsize": 7,
        "ytick.labelsize": 7,
        "legend.fontsize": 7,
        "legend.frameon": False,
        "legend.handlelength": 1.6,
        "axes.linewidth": 0.6,
        "axes.edgecolor": "#333333",
        "axes.axisbelow": True,
        "axes.spines.top": False,
        "axes.spines.right": False,
        "axes.formatter.useoffset": False,
        "grid.color": "#e4e4e4",
        "grid.linewidth": 0.5,
        "xtick.major.width": 0.6,
        "ytick.major.width": 0.6,
        "lines.linewidth": 1.2,
        "lines.markersize": 4.5,
        "hatch.linewidth": 0.5,
        "text.parse_math": False,  # a label may hold a dollar sign
        "figure.constrained_layout.use": True,
        "savefig.dpi": DPI,
        "svg.fonttype": "path",
        "svg.hashsalt": "eca_ablate",
    }
)


def look_of(head: str) -> Look:
    """Return colour and marker of a head."""
    return LOOKS.get(head, _OTHER)


def scale(direction: str = "maximize") -> Colormap:
    """Return the colours of a quantity, dark where it is good: ColorBrewer's YlGnBu without its darkest end."""
    colours = ["#FFFFD9", "#EDF8B1", "#C7E9B4", "#7FCDBB", "#41B6C4", "#1D91C0", "#225EA8"]
    found = LinearSegmentedColormap.from_list("eca_ablate", colours)
    return found if direction == "maximize" else found.reversed()


class Drawing(NamedTuple):
    """A figure that is still to be drawn: a notebook shows it, and `save` writes it.

    Args:
        draw: fills the figure.
        width: in inches.
        height: in inches.
    """

    draw: Callable[[Figure], None]
    width: float
    height: float

    def save(self, path: str | Path) -> None:
        """Write it as SVG and as PNG; the path is without an ending."""
        save(Path(path), self.draw, self.width, self.height)

    def _repr_png_(self) -> tuple[bytes, dict[str, int]]:
        # No SVG: two of them in one notebook would share the names of their letters.
        content = _render(self.draw, self.width, self.height, "png")["png"]
        return content, {"width": round(_SHOWN * self.width), "height": round(_SHOWN * self.height)}


def save(path: Path, draw: Callable[[Figure], None], width: float, height: float) -> None:
    """Draw a figure in this style and write it as SVG and as PNG.

    The user's own settings of matplotlib take no part, and neither file holds a date or a version.

    Args:
        path: without an ending.
        draw: fills the figure.
        width: in inches.
        height: in inches.
    """
    for ending, content in _render(draw, width, height, "svg", "png").items():
        write_atomically(path.with_suffix(f".{ending}"), content)


def plain(text: str, longest: int = 40) -> str:
    """Make a text from outside fit to be drawn: one line, not too long, and only letters that the font has."""
    known = _letters()
    text = "".join(char if char.isprintable() and ord(char) in known else "□" for char in text)
    return text if len(text) <= longest else text[: longest - 1] + "…"


def legend_below(axes: Axes, columns: int, handles: list[Any] | None = None) -> None:
    """Put the legend under the axes, where it hides no data."""
    if handles is None:
        handles = axes.get_legend_handles_labels()[0]
    if handles:
        axes.figure.legend(handles=handles, loc="outside lower center", ncols=columns, columnspacing=1.2)


_METADATA = {"svg": {"Date": None, "Creator": None}, "png": {"Software": None}}


def _render(draw: Callable[[Figure], None], width: float, height: float, *endings: str) -> dict[str, bytes]:
    with matplotlib.style.context(dict(_STYLE), after_reset=True):
        figure = Figure(figsize=(width, height))
        draw(figure)
        contents = {}
        for ending in endings:
            content = io.BytesIO()
            figure.savefig(content, format=ending, metadata=_METADATA[ending])
            contents[ending] = content.getvalue()
        return contents


@cache
def _letters() -> frozenset[int]:
    path = font_manager.findfont("DejaVu Sans", fallback_to_default=True)
    return frozenset(font_manager.get_font(path).get_charmap())
