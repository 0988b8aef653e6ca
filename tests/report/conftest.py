"""Rows of a run, and of all of Table 2."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

import pytest
from made_rows import make_row

TABLE2: tuple[tuple[str, str, dict[str, Any], str, str, int], ...] = (
    ("Vanilla", "none", {}, "0", "", 0),
    ("SE", "se", {}, "2C²/r", "", 2016),
    ("SE-Var1", "se_var1", {}, "0", "", 0),
    ("SE-Var2", "se_var2", {}, "C", "", 336),
    ("SE-Var3", "se_var3", {}, "C²", "", 16_128),
    ("SE-GC1", "se_gc", {"groups": 16}, "C²/16", "", 1008),
    ("SE-GC2", "se_gc", {"group_channels": 16}, "16C", "", 5376),
    ("SE-GC3", "se_gc", {"group_channels": 8}, "8C", "", 2688),
    ("ECA-NS", "eca_ns", {"kernel_size": 3}, "kC", "3-3-3", 1008),
    ("ECA (k=3)", "eca", {"kernel_size": 3}, "k", "3-3-3", 27),
)
ADAPTIVE = {"row": 10, "label": "ECA (adaptive)", "head": "eca", "options": {"gamma": 2, "b": 1}, "formula": "k"}


def make_table2(seeds: int = 3) -> list[dict[str, Any]]:
    """Table 2 on ResNet-20, where adaptive ECA is ECA with k = 3: ten networks, eleven labels."""
    rows = []
    for at, (label, head, options, formula, sizes, count) in enumerate(TABLE2):
        for seed in range(seeds):
            rows.append(
                make_row(
                    label,
                    seed,
                    row=at,
                    head=head,
                    options=json.dumps(options),
                    formula=formula,
                    kernel_sizes=sizes,
                    head_weights=count,
                    weights=272_026 + count,
                    macs=40_812_345 + 10 * count,
                    test_top1=97.5 + 0.1 * at + 0.28 * ((seed + at) % 3),
                    test_top5=99.7 + 0.07 * seed,
                    shared_with=json.dumps([ADAPTIVE]) if label == "ECA (k=3)" else "[]",
                )
            )
    return rows


@pytest.fixture(scope="session")
def row() -> Callable[..., dict[str, Any]]:
    """Make one row of SE, with changes."""
    return make_row


@pytest.fixture
def table2() -> list[dict[str, Any]]:
    return make_table2()
