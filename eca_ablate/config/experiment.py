"""What a user writes: one question, and the heads it compares."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from eca_ablate.config.parts import BackboneConfig, DataConfig, Recipe, require
from eca_ablate.errors import one_of
from eca_ablate.space import Search

# The rows of the paper's Table 2, and the adaptive ECA of its Table 3.
TABLE2: tuple[dict[str, Any], ...] = (
    {"name": "none", "label": "Vanilla"},
    {"name": "se", "label": "SE"},
    {"name": "se_var1", "label": "SE-Var1"},
    {"name": "se_var2", "label": "SE-Var2"},
    {"name": "se_var3", "label": "SE-Var3"},
    {"name": "se_gc", "groups": 16, "label": "SE-GC1"},
    {"name": "se_gc", "group_channels": 16, "label": "SE-GC2"},
    {"name": "se_gc", "group_channels": 8, "label": "SE-GC3"},
    {"name": "eca_ns", "kernel_size": 3, "label": "ECA-NS"},
    {"name": "eca", "kernel_size": 3, "label": "ECA (k=3)"},
    {"name": "eca", "gamma": 2, "b": 1, "label": "ECA (adaptive)"},
)
HEAD_LISTS: Mapping[str, tuple[dict[str, Any], ...]] = {"table2": TABLE2}


@dataclass(frozen=True)
class Experiment:
    """One question: the heads to compare, on which data and backbone, by which recipe, with how many seeds.

    Args:
        data: the images.
        backbone: the network the heads are put into.
        recipe: how it is trained.
        seeds: how many (0, 1, 2 ...), or a list of them. Every head gets the same ones: differences are paired.
        heads: `table2` (the default), or a list of names and mappings with a `name`, its options and a `label`.
        search: instead of `heads`, a space to look through.
        threads: CPU threads of one run. Part of the configuration, since rounding follows it; `--workers` does not
            change it.
    """

    data: DataConfig = field(default_factory=DataConfig)
    backbone: BackboneConfig = field(default_factory=BackboneConfig)
    recipe: Recipe = field(default_factory=Recipe)
    seeds: int | list[int] = 3
    heads: str | list[str | dict[str, Any]] | None = None
    search: Search | None = None
    threads: int = 1

    def __post_init__(self) -> None:
        require(self.threads >= 1, "threads", f"`threads >= 1` must hold, but got {self.threads}")
        if isinstance(self.seeds, int):
            require(self.seeds >= 1, "seeds", f"at least one seed is needed, but got {self.seeds}")
        else:
            require(len(self.seeds) > 0, "seeds", "at least one seed is needed, but got an empty list")
            require(
                len(set(self.seeds)) == len(self.seeds),
                "seeds",
                f"each seed counts once, but got {self.seeds}",
            )
            require(
                min(self.seeds) >= 0 and max(self.seeds) < 2**63,
                "seeds",
                f"seeds are whole numbers from 0, below 2^63, but got {self.seeds}",
            )
        require(
            self.search is None or self.heads is None,
            "heads",
            "an experiment compares `heads` or goes on a `search`, but this one has both; take one of them out",
        )
        if self.heads is None:
            return
        if isinstance(self.heads, str):
            require(self.heads in HEAD_LISTS, "heads", one_of("list of heads", self.heads, HEAD_LISTS))
        require(len(self.heads) > 0, "heads", "at least one head is needed, but got an empty list")

    def seed_list(self) -> list[int]:
        """Return the seeds themselves."""
        return list(range(self.seeds)) if isinstance(self.seeds, int) else list(self.seeds)

    def head_specs(self) -> list[dict[str, Any]]:
        """Return the heads as mappings with a `name`, options and perhaps a `label`; names are checked by the plan."""
        written = "table2" if self.heads is None else self.heads
        heads = HEAD_LISTS[written] if isinstance(written, str) else written
        return [{"name": head} if isinstance(head, str) else dict(head) for head in heads]
