"""The benchmarks run and write the columns that docs/performance.md speaks of; no time is asserted."""

from __future__ import annotations

import csv
import os
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from torch import nn

from eca_ablate.backbones import build_backbone, heads_of
from eca_ablate.cost import train_step
from eca_ablate.heads import HEADS, build_head

BENCHMARKS = Path(__file__).resolve().parent.parent / "benchmarks"
CONDITIONS = {"device", "cores", "threads", "keeps_large_blocks", "torch", "code_version", "measured_at"}
COLUMNS = {
    "head_op": {"head", "implementation", "direction", "layout", "precision", "ms", "to_timm_eca", "to_bound"},
    "train_loop": {"network", "loop", "precision", "images_per_s", "to_bare", "to_lightning", "to_timm"},
    "suite": {"suite", "images", "start_s", "total_s", "one_worker_s", "compute_s", "share_outside", "report_s"},
    "overhead": {"backbone", "label", "train_ratio", "train_ratio_paper", "infer_ratio", "peak_ratio", "extra_maps"},
    "scale": {"varied", "heads", "seeds", "workers", "image_size", "start_s", "training_s", "to_base"},
    "gpu_modes": {"mode", "processes", "images_per_s", "speed_to_eager"},
    "precision": {"images", "n", "mean", "sd", "low_90", "high_90", "margin", "p_equivalence", "verdict"},
}


@pytest.mark.slow
@pytest.mark.parametrize("name", COLUMNS)
def test_a_benchmark_runs_and_names_the_machine(name: str, tmp_path: Path) -> None:
    done = subprocess.run(
        [sys.executable, str(BENCHMARKS / f"{name}.py"), "--quick", "--out", str(tmp_path)],
        capture_output=True,
        text=True,
        timeout=280,
        env={**os.environ, "OMP_NUM_THREADS": "1"},
    )
    assert done.returncode == 0, done.stderr[-3000:]
    with (tmp_path / f"{name}.csv").open(newline="", encoding="utf-8") as file:
        rows = list(csv.DictReader(file))
    assert rows
    assert set(rows[0]) >= COLUMNS[name] | CONDITIONS
    assert rows[0]["device"]


def test_every_benchmark_is_tested() -> None:
    scripts = {path.stem for path in BENCHMARKS.glob("*.py") if "def main()" in path.read_text(encoding="utf-8")}
    assert scripts == {*COLUMNS, "gpu_check"}


@pytest.mark.slow
def test_the_check_of_the_heads_on_this_device() -> None:
    command = [sys.executable, str(BENCHMARKS / "gpu_check.py"), "--quick"]
    done = subprocess.run(command, capture_output=True, text=True, timeout=280)
    assert done.returncode == 0, done.stdout + done.stderr
    assert done.stdout.count(": right") == 2 * len(HEADS)


def test_the_script_for_a_gpu_is_sound_and_says_how_it_is_called() -> None:
    script = str(BENCHMARKS / "gpu.sh")
    subprocess.run(["bash", "-n", script], check=True)
    done = subprocess.run(["bash", script], capture_output=True, text=True)
    assert done.returncode == 2
    assert "benchmarks/gpu.sh DIR" in done.stderr


@pytest.fixture(scope="module")
def memory() -> object:
    """Return the benchmarks' counter of living tensors."""
    sys.path.insert(0, str(BENCHMARKS))
    try:
        import memory
    finally:
        sys.path.remove(str(BENCHMARKS))
    return memory


def test_the_peak_of_living_tensors(memory: object) -> None:
    a = torch.randn(1000)

    def step() -> None:
        b = a * 2
        c = b + 1
        del b
        (c.view(10, 100) * 3).view(-1)

    assert memory.peak_bytes(step, torch.device("cpu")) == 2 * a.nbytes  # type: ignore[attr-defined]


@pytest.mark.parametrize("name", [name for name in HEADS if name != "none"])
def test_a_head_keeps_at_most_one_map_more_than_the_backbone(name: str, memory: object) -> None:
    x = torch.randn(8, 3, 64, 64).to(memory_format=torch.channels_last)

    def peak(head: str) -> tuple[int, int]:
        options = {"groups": 4} if head == "se_gc" else {"reduction": 4} if head == "se" else {}
        net: nn.Module = build_backbone(
            "resnet20", 10, make_head=lambda channels: build_head(head, channels, **options)
        )
        entered: list[int] = []
        for module in heads_of(net):
            module.register_forward_pre_hook(lambda _, inputs: entered.append(inputs[0].nbytes))
        train_step(net, x)
        maps = sum(entered)
        return memory.peak_bytes(lambda: train_step(net, x), x.device), maps  # type: ignore[attr-defined]

    vanilla, _ = peak("none")
    with_heads, maps = peak(name)
    assert maps > 0
    assert with_heads - vanilla <= 1.02 * maps  # vectors and weights are the rest
