"""What heads do and what they have learned: gates by channel and class, and matrices as images."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from matplotlib import colormaps
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.ticker import MaxNLocator

from eca_ablate.report.gates import Gates
from eca_ablate.report.style import PAGE, look_of, plain

CLASSES = 4  # as many as the paper's picture has
BLOCKS = 3
SIDE = 64  # channels of a matrix that are shown: in more of them a band of three is no longer seen


def two_heads(found: Sequence[Gates]) -> list[Gates]:
    """Return the two networks to set side by side, of one seed: SE and ECA where they are, else the first two labels.

    One if there is only one label, or no seed that two labels share.
    """
    labels = list(dict.fromkeys(one.label for one in found))
    heads = {one.label: one.head for one in found}
    left = next((label for label in labels if heads[label] == "se"), labels[0])
    others = [label for label in labels if label != left]
    right = next((label for label in others if heads[label] == "eca"), others[0] if others else left)
    seeds = [{one.seed for one in found if one.label == label} for label in (left, right)]
    seed = min(seeds[0] & seeds[1], default=min(seeds[0]))
    chosen = {one.label: one for one in found if one.seed == seed}
    return [chosen[label] for label in dict.fromkeys((left, right)) if label in chosen]


def last_blocks(blocks: Sequence[str]) -> list[str]:
    """Return the last blocks, of the last stage only."""
    stage = blocks[-1].rpartition(".")[0]
    return [block for block in blocks if block.rpartition(".")[0] == stage][-BLOCKS:]


def stage_ends(blocks: Sequence[str]) -> list[str]:
    """Return the last block of each stage."""
    return list({block.rpartition(".")[0]: block for block in blocks}.values())


def gate_size(heads: Sequence[Gates]) -> tuple[float, float]:
    """Return width and height in inches."""
    return PAGE, 0.7 + 1.35 * len(last_blocks(list(heads[0].gates)))


def draw_gates(figure: Figure, heads: Sequence[Gates]) -> None:
    """Draw the mean gate of every channel for some classes, and over all classes: a column a head, a row a block.

    Args:
        figure: to fill.
        heads: what `two_heads` returned.
    """
    blocks = last_blocks(list(heads[0].gates))
    known = np.flatnonzero(heads[0].images)
    shown = known[np.linspace(0, len(known) - 1, min(CLASSES, len(known))).round().astype(int)]
    colours = [colormaps["cividis"](x) for x in np.linspace(0.15, 0.95, len(shown))]
    grid = figure.subplots(len(blocks), len(heads), sharex=True, sharey="row", squeeze=False)
    for column, one in enumerate(heads):
        for axes, block in zip(grid[:, column], blocks, strict=True):
            axes.grid(True, axis="y")
            gates = one.gates.get(block)
            if gates is None:
                continue
            for colour, label in zip(colours, shown, strict=True):
                axes.plot(gates[label], color=colour, linewidth=0.7)
            axes.plot(np.average(gates[known], axis=0, weights=one.images[known]), color=look_of(one.head).colour)
            axes.margins(x=0.01)
            axes.yaxis.set_major_locator(MaxNLocator(nbins=4))
            if column == 0:
                axes.set_ylabel(f"{plain(block, 16)}\nmean gate")
        grid[0, column].set_title(f"{plain(one.label)}, seed {one.seed}", loc="left")
        grid[-1, column].set_xlabel("channel")
    handles = [
        *(
            Line2D([], [], color=look_of(one.head).colour, label=f"all classes, {plain(one.label, 20)}")
            for one in heads
        ),
        *(
            Line2D([], [], color=colour, linewidth=0.7, label=f"class {label}")
            for colour, label in zip(colours, shown, strict=True)
        ),
    ]
    figure.legend(handles=handles, loc="outside lower center", ncols=len(handles), columnspacing=1.2)


def linear_heads(found: Sequence[Gates]) -> list[Gates]:
    """Return the first seed of each label that has matrices."""
    first: dict[str, Gates] = {}
    for one in found:
        if one.matrices and (one.label not in first or one.seed < first[one.label].seed):
            first[one.label] = one
    return list(first.values())


def matrix_size(heads: Sequence[Gates]) -> tuple[float, float]:
    """Return width and height in inches."""
    columns = len(stage_ends(list(heads[0].matrices)))
    return min(PAGE, 0.9 + 1.75 * columns), 0.3 + 1.6 * len(heads)


def draw_matrices(figure: Figure, heads: Sequence[Gates]) -> None:
    """Draw W as an image, zero in white: a row a head with a scale of its own, a column the last block of a stage.

    Args:
        figure: to fill.
        heads: what `linear_heads` returned.
    """
    blocks = stage_ends(list(heads[0].matrices))
    grid = figure.subplots(len(heads), len(blocks), squeeze=False)
    for row, one in enumerate(heads):
        parts = [one.matrices[block][:SIDE, :SIDE] for block in blocks if block in one.matrices]
        far = max((float(np.abs(part).max()) for part in parts), default=0.0) or 1.0
        image = None
        for axes, block in zip(grid[row], blocks, strict=True):
            axes.spines[["top", "right"]].set_visible(True)
            if block not in one.matrices:
                axes.remove()
                continue
            matrix = one.matrices[block]
            side = min(SIDE, len(matrix))
            image = axes.imshow(matrix[:side, :side], cmap="RdBu_r", vmin=-far, vmax=far, interpolation="nearest")
            axes.set_xticks([0, side - 1])
            axes.set_yticks([0, side - 1])
            axes.tick_params(length=0, pad=2)
            if row == 0:
                axes.set_title(f"{plain(block, 16)}, C = {len(matrix)}", pad=4)
        grid[row, 0].set_ylabel(plain(one.label, 20))
        if image is not None:
            figure.colorbar(image, ax=list(grid[row]), fraction=0.04, pad=0.02, ticks=MaxNLocator(nbins=3))
