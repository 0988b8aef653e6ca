"""The table of a search: one row a distinct network, ranked on validation, with the points that lead to it."""

from __future__ import annotations

import csv
import io
import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import pandas as pd

from eca_ablate.files import write_atomically
from eca_ablate.report.cells import to_text
from eca_ablate.report.columns import COLUMNS
from eca_ablate.report.markdown import escape_markdown, markdown_table
from eca_ablate.report.networks import Network, best_two, rank_networks
from eca_ablate.report.notes import provenance
from eca_ablate.report.points import POINTS_FILE, SearchFacts, SearchPoint, load_facts, load_points
from eca_ablate.report.rows import SEARCH_FILE, load

_NONE = "–"
NETWORKS = (
    "rank",
    "label",
    "head",
    "kernel_sizes",
    "state",
    "points",
    "below_one",
    "n",
    "mean",
    "std",
    "metric",
    "seeds",
    "params",
    "network",
)


class Searched(NamedTuple):
    """All that the files of a search hold; `networks` are ranked."""

    points: list[SearchPoint]
    networks: list[Network]
    runs: pd.DataFrame
    facts: SearchFacts


def read_search(folder: str | Path) -> Searched | None:
    """Return the search of a results folder; None if it has no `points.csv`.

    Raises:
        UserError: if `points.csv` or `search_runs.csv` is there but cannot be used.
    """
    folder = Path(folder)
    if not (folder / POINTS_FILE).exists():
        return None
    points, facts = load_points(folder), load_facts(folder)
    runs = load(folder, SEARCH_FILE) if (folder / SEARCH_FILE).exists() else no_runs()
    return Searched(points, rank_networks(points, runs, facts), runs, facts)


def write_search(folder: str | Path, command: str = "") -> Path | None:
    """Write `networks.md`, `networks.csv` and the figures of a search beside its `points.csv`.

    Args:
        folder: of the results.
        command: that made them, for the table's footer.

    Returns:
        The path of `networks.md`, which reads well in a terminal too; None if the folder has no `points.csv`.

    Raises:
        UserError: if `points.csv` or `search_runs.csv` is there but cannot be used.
    """
    searched = read_search(folder)
    if searched is None:
        return None
    from eca_ablate.report.figures import write_figures  # only here: it takes matplotlib, which the tables do without

    table = write_networks(folder, searched, command)
    write_figures(Path(folder), searched.points, searched.networks, searched.facts)
    return table


def write_networks(folder: str | Path, searched: Searched, command: str = "") -> Path:
    """Write `networks.md`, whose path is returned, and `networks.csv`."""
    folder = Path(folder)
    write_atomically(folder / "networks.csv", networks_csv(searched.networks, searched.facts))
    markdown = networks_markdown(searched.networks, searched.runs, searched.facts, command)
    write_atomically(folder / "networks.md", markdown)
    return folder / "networks.md"


def no_runs() -> pd.DataFrame:
    """Return the frame of a search without any finished run."""
    return pd.DataFrame({name: pd.Series(dtype="object") for name in COLUMNS} | {"shared": pd.Series(dtype=bool)})


def networks_csv(networks: Sequence[Network], facts: SearchFacts) -> str:
    """Return one line a network, with every digit and all of its points."""
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(NETWORKS)
    for one in networks:
        line: Mapping[str, Any] = {
            "rank": one.rank,
            "label": one.label,
            "head": one.head,
            "kernel_sizes": one.kernel_sizes,
            "state": one.state,
            "points": len(one.points),
            "below_one": sum(point.below_one for point in one.points),
            "n": one.n,
            "mean": one.mean,
            "std": one.std,
            "metric": facts.metric,
            "seeds": ", ".join(map(str, one.seeds)),
            "params": [point.params for point in one.points],
            "network": one.network,
        }
        writer.writerow([to_text(line[name]) for name in NETWORKS])
    return text.getvalue()


def networks_markdown(networks: Sequence[Network], runs: pd.DataFrame, facts: SearchFacts, command: str = "") -> str:
    """Return the table and its notes; the columns are padded, so that the text can be read unrendered."""
    header, lines, left = networks_body(networks, facts)
    notes = [f"- {escape_markdown(note)}" for note in search_notes(networks, facts)]
    where = [f"- {escape_markdown(fact)}" for fact in search_provenance(networks, runs, facts, command)]
    table = markdown_table(header, lines, left)
    return "\n".join([*table, "", "How to read it:", "", *notes, "", "Where it comes from:", "", *where, ""])


def networks_body(
    networks: Sequence[Network], facts: SearchFacts
) -> tuple[tuple[str, ...], list[list[str]], tuple[str, ...]]:
    """Return the header of the table, the cells under it as plain text, and the columns that are aligned left."""
    by_rule = any(_pair(point) for one in networks for point in one.points)
    proposed = "(γ, b)" if by_rule else "Proposed as"
    header = ("Rank", "Network", "k", proposed, "Points", "n", _heading(facts), "State")
    lines = [
        [
            _NONE if one.rank is None else str(one.rank),
            one.label,
            one.kernel_sizes or _NONE,
            compact(one.points),
            str(len(one.points)),
            str(one.n),
            _spread(one, facts),
            one.state,
        ]
        for one in networks
    ]
    return header, lines, ("Network", proposed, "State")


def compact(points: Sequence[SearchPoint]) -> str:
    """Return the points of one network in the width of a column: all of up to two, else the first and how many."""
    texts = list(dict.fromkeys(describe(point) for point in points))
    if len(texts) <= 2:
        return ", ".join(texts)
    kind = "pairs" if all(_pair(point) for point in points) else "ways"
    return f"{texts[0]} … {len(texts)} {kind}"


def describe(point: SearchPoint) -> str:
    """Return what was proposed: `(γ, b)`, one k for each stage as `3-5-5`, the rest by name."""
    options = point.options()
    parts = []
    if pair := _pair(point):
        parts.append(f"({pair[0]:g}, {pair[1]:g})".replace("-", "−"))
        options = {name: value for name, value in options.items() if name not in ("gamma", "b")}
    stages = [name for name in options if name.startswith("kernel_size_")]
    if stages:
        parts.append("k " + "-".join(str(options[name]) for name in sorted(stages, key=_stage)))
        options = {name: value for name, value in options.items() if name not in stages}
    for name, value in options.items():
        shown = f"{value:.4g}" if isinstance(value, float) else str(value)
        parts.append(shown if name == "kernel_size" and isinstance(value, str) else f"{_short(name)}={shown}")
    return ", ".join(parts) or point.head("")


def search_notes(networks: Sequence[Network], facts: SearchFacts) -> list[str]:
    """Return what a reader must know before believing the first row."""
    ranked = [one for one in networks if one.rank is not None]
    fresh = ", ".join(map(str, facts.fresh_seeds))
    seeds = f" (seed{'s' if len(facts.fresh_seeds) > 1 else ''} {fresh})" if fresh else ""
    notes = [
        f"Ranks are by {facts.metric} on validation, the mean over the runs that are done; the winner's test "
        f"accuracy is in table.md, from seeds that no choice has seen{seeds}."
    ]
    if len(ranked) > 1:
        notes.append(
            f"The best of {len(ranked)} networks is partly the luckiest: its validation figure is too favourable."
        )
    if pair := best_two(networks):
        notes += _margin(*pair, facts)
    if any(one.n > 1 for one in networks):
        notes.append("± is the sample standard deviation over the seeds, no confidence interval.")
    seeds_of = {one.seeds for one in ranked if one.n}
    if len(seeds_of) > 1:
        notes.append("Incomplete: not every ranked network has the same seeds, and such rows do not compare.")
    for state, why in (
        ("pruned", "given up by the search before all of its runs were done"),
        ("diverged", "the loss of at least one run stopped being a number"),
        ("waiting", "not finished yet"),
    ):
        count = sum(one.state == state for one in networks)
        if count:
            notes.append(f"{state.capitalize()}, and therefore without a rank: {count} ({why}).")
    below = sum(point.below_one for one in networks for point in one.points)
    if below:
        every = sum(len(one.points) for one in networks)
        notes.append(
            f"In {below} of {every} points the rule's t lies between −1 and 1 in some stage: k = 1 there, no "
            "cross-channel interaction."
        )
    if not networks:
        notes.append("No point has been proposed yet.")
    return notes


def search_provenance(
    networks: Sequence[Network], runs: pd.DataFrame, facts: SearchFacts, command: str = ""
) -> list[str]:
    """Return the search itself, and then data, recipe, hardware, versions and code of its runs."""
    count = sum(len(one.points) for one in networks)
    space = json.dumps(facts.space, ensure_ascii=False) if facts.space else ""
    said = [
        facts.head,
        f"space {space}" if space else "",
        f"sampler {facts.sampler}" if facts.sampler else "",
        f"pruner {facts.pruner}",
        f"{facts.trials} trials" if facts.trials is not None else "",
        f"{facts.metric} to {facts.direction}",
        f"{_plural(count, 'point')}, {_plural(len(networks), 'distinct network')}",
    ]
    search = f"Search: {'; '.join(part for part in said if part)}"
    if runs.empty:
        return [search, "Runs: none is finished yet", *([f"Command: {command}"] if command else [])]
    searched = [name.removeprefix("recipe.") for name in _names(networks) if name.startswith("recipe.")]
    shown = runs.assign(recipe=[_without(text, searched) for text in runs["recipe"]])
    return [search, *provenance(shown, command)]


def _margin(best: Network, second: Network, facts: SearchFacts) -> list[str]:
    if best.mean is None or second.mean is None:
        return []
    gap = abs(best.mean - second.mean)
    unit = " points" if facts.percent else ""
    lead = f"{best.label} and {second.label} differ by {facts.shown(gap)}{unit}"
    spreads = [one.std for one in (best, second) if one.std is not None]
    if not spreads:
        return [f"{lead}; with one run each no spread is known, so their order may be chance."]
    if gap < max(spreads):
        return [f"{lead}, less than the spread over their seeds ({facts.shown(max(spreads))}): it may be chance."]
    return []


def _plural(count: int, name: str) -> str:
    return f"{count} {name}{'s' if count != 1 else ''}"


def _heading(facts: SearchFacts) -> str:
    return facts.axis[0].upper() + facts.axis[1:]


def _spread(one: Network, facts: SearchFacts) -> str:
    if one.mean is None:
        return _NONE
    return facts.shown(one.mean) + ("" if one.std is None else f" ± {facts.shown(one.std)}")


def _pair(point: SearchPoint) -> tuple[float, float] | None:
    options = point.options()
    gamma, b = options.get("gamma"), options.get("b")
    if isinstance(gamma, bool) or isinstance(b, bool):
        return None
    return (gamma, b) if isinstance(gamma, int | float) and isinstance(b, int | float) else None


def _short(name: str) -> str:
    return {"gamma": "γ", "kernel_size": "k"}.get(name, name.removeprefix("recipe."))


def _stage(name: str) -> tuple[int, str]:
    return (len(name), name)


def _names(networks: Sequence[Network]) -> set[str]:
    return {name for one in networks for point in one.points for name in point.params}


def _without(text: str, searched: Sequence[str]) -> str:
    """Return a recipe with the word `searched` for what differs because the search varied it."""
    recipe = json.loads(text or "{}")
    if isinstance(recipe, dict):
        recipe |= {name: "(searched)" for name in searched if name in recipe}
    return json.dumps(recipe)
