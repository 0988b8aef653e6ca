"""Pictures of gates and matrices: which heads and blocks they show, and that any results can be drawn."""

from __future__ import annotations

import warnings
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from made_rows import make_row

from eca_ablate.report import Gates, load, load_gates, write_pictures, write_rows
from eca_ablate.report.gate_figures import last_blocks, linear_heads, stage_ends, two_heads

BLOCKS = ("layer1.0", "layer1.1", "layer2.0", "layer2.1")
HEADS = (("Vanilla", "none"), ("SE", "se"), ("SE-Var2", "se_var2"), ("ECA (k=3)", "eca"))


def arrays(head: str, seed: int = 0, channels: tuple[int, ...] = (4, 4, 8, 8), classes: int = 10) -> dict[str, Any]:
    chance = np.random.default_rng(seed)
    found: dict[str, Any] = {"blocks": np.array(BLOCKS), "images": np.full(classes, 36)}
    for i, c in enumerate(channels):
        found[f"gate_{i}"] = chance.uniform(size=(classes, c)).astype(np.float32)
        if head != "se":
            found[f"matrix_{i}"] = np.diag(chance.normal(size=c)).astype(np.float16)
    return found


def made(folder: Path, heads: Any = HEADS, seeds: tuple[int, ...] = (1, 0), **changes: Any) -> Path:
    rows = [make_row(label, seed, head=head, row=i) for i, (label, head) in enumerate(heads) for seed in seeds]
    write_rows(folder, rows)
    (folder / "gates").mkdir(exist_ok=True)
    for row in rows:
        if row["head"] != "none":
            np.savez(folder / "gates" / f"{row['key']}.npz", **arrays(row["head"], row["seed"], **changes))
    return folder


def names(folder: Path) -> list[str]:
    """Draw all figures; return the names of those of the heads."""
    with warnings.catch_warnings(action="error"):
        written = [picture.name for picture in write_pictures(folder, load(folder))]
    return [name for name in written if name in ("gates", "matrices")]


def test_what_is_loaded_is_what_was_measured(tmp_path: Path) -> None:
    found = load_gates(made(tmp_path))
    assert [(one.label, one.head, one.seed) for one in found] == [
        (label, head, seed) for label, head in HEADS[1:] for seed in (0, 1)
    ]
    expected = arrays("eca", 1)
    assert np.array_equal(found[-1].gates["layer2.0"], expected["gate_2"])
    assert np.array_equal(found[-1].matrices["layer2.0"], expected["matrix_2"])
    assert found[0].matrices == {}


def test_se_and_eca_stand_side_by_side_of_one_seed(tmp_path: Path) -> None:
    found = load_gates(made(tmp_path))
    assert [(one.label, one.seed) for one in two_heads(found)] == [("SE", 0), ("ECA (k=3)", 0)]
    some = [one for one in found if (one.head, one.seed) != ("se", 0)]
    assert [(one.label, one.seed) for one in two_heads(some)] == [("SE", 1), ("ECA (k=3)", 1)]
    without = [one for one in found if one.head != "se"]
    assert [one.label for one in two_heads(without)] == ["SE-Var2", "ECA (k=3)"]
    assert [one.label for one in two_heads(without[:2])] == ["SE-Var2"]
    apart = [one for one in found if one.seed == (one.head == "eca")]
    assert len(two_heads(apart)) == 1


def test_the_blocks_that_are_shown() -> None:
    blocks = [f"layer{stage}.{block}" for stage in (1, 2, 3, 4) for block in range(6 if stage == 3 else 4)]
    assert last_blocks(blocks) == ["layer4.1", "layer4.2", "layer4.3"]
    assert stage_ends(blocks) == ["layer1.3", "layer2.3", "layer3.5", "layer4.3"]


def test_matrices_are_of_each_linear_head_once(tmp_path: Path) -> None:
    assert [(one.label, one.seed) for one in linear_heads(load_gates(made(tmp_path)))] == [
        ("SE-Var2", 0),
        ("ECA (k=3)", 0),
    ]


def test_pictures_are_drawn_and_are_the_same_again(tmp_path: Path) -> None:
    made(tmp_path)
    contents = []
    for _ in range(2):
        assert names(tmp_path) == ["gates", "matrices"]
        files = [f"{name}.{end}" for name in ("gates", "matrices") for end in ("svg", "png")]
        contents.append({name: (tmp_path / "figures" / name).read_bytes() for name in files})
    assert contents[0] == contents[1]


def test_se_alone_has_no_matrices(tmp_path: Path) -> None:
    assert names(made(tmp_path, [("SE", "se")])) == ["gates"]


@pytest.mark.parametrize("changes", [{"channels": (70, 70, 2, 2)}, {"classes": 2}])
def test_any_labels_and_sizes_can_be_drawn(tmp_path: Path, changes: dict[str, Any]) -> None:
    heads = [("$\\frac{<b>\n中" + "x" * 90, "eca"), ("b", "mine")]
    assert names(made(tmp_path, heads, seeds=(3,), **changes)) == ["gates", "matrices"]


def test_a_class_without_images_is_not_drawn(tmp_path: Path) -> None:
    made(tmp_path, seeds=(0,))
    for path in (tmp_path / "gates").iterdir():
        found = dict(np.load(path))
        found["images"][[0, 9]] = 0
        for name in found:
            if name.startswith("gate_"):
                found[name][[0, 9]] = np.nan
        np.savez(path, **found)
    assert names(tmp_path) == ["gates", "matrices"]
    assert isinstance(load_gates(tmp_path)[0], Gates)
