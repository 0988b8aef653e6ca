"""What every benchmark writes beside its figures: the machine, the versions and the conditions, as CSV."""

from __future__ import annotations

import argparse
import csv
import os
import sys
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from functools import cache
from pathlib import Path
from typing import Any

from eca_ablate import allocator

AS_IT_IS = "BENCHMARK_ALLOCATOR_AS_IT_IS"  # in the environment of a process that stands for other people's programs
if AS_IT_IS not in os.environ:
    allocator.tune()  # before torch is imported

import torch  # noqa: E402

from eca_ablate.machine import best_device, device_name, native_bf16  # noqa: E402
from eca_ablate.provenance import code_version, versions  # noqa: E402

RESULTS = Path(__file__).resolve().parent.parent / "results" / "benchmarks"


def options(description: str) -> argparse.ArgumentParser:
    """Return the parser of a benchmark with what all of them take."""
    parser = argparse.ArgumentParser(description=description, allow_abbrev=False)
    parser.add_argument("--quick", action="store_true", help="smallest sizes: shows that it runs, measures nothing")
    parser.add_argument("--out", type=Path, default=RESULTS, metavar="DIR", help="folder of the CSV files")
    return parser


def conditions(threads: int | None = None) -> dict[str, Any]:
    """Return the machine and what could change a figure on it; threads of the CPU are by default all there are."""
    return {
        "device": device_name(),
        "cores": len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count(),
        "threads": threads or torch.get_num_threads(),
        "native_bf16": native_bf16(),
        "keeps_large_blocks": allocator.keeps_large_blocks(),
        **{name: versions()[name] for name in ("python", "torch", "torchvision", "lightning")},
        "code_version": code_version(),
        "measured_at": datetime.now(UTC).isoformat(timespec="seconds"),
    }


@cache
def on_gpu() -> bool:
    """Say whether figures are a GPU's; found out once, since asking takes a part of what is timed."""
    return best_device().type == "cuda"


def write(path: Path, rows: Sequence[Mapping[str, Any]]) -> None:
    """Write rows of the same columns, and print them."""
    path.parent.mkdir(parents=True, exist_ok=True)
    part = path.with_suffix(".part")
    with part.open("w", newline="", encoding="utf-8") as file:
        writer = csv.DictWriter(file, list(rows[0]), lineterminator="\n")
        writer.writeheader()
        writer.writerows(rows)
    part.replace(path)
    print(f"{len(rows)} rows in {path}", file=sys.stderr)


def read(path: Path) -> list[dict[str, str]]:
    """Return the rows of a file, none if it is absent."""
    if not path.exists():
        return []
    with path.open(newline="", encoding="utf-8") as file:
        return list(csv.DictReader(file))
