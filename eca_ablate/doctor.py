"""What this machine can do, and what is wrong with it."""

from __future__ import annotations

import os
import shutil
from typing import Any, get_args

import torch

from eca_ablate import __version__, allocator
from eca_ablate.config import DataConfig, DataName
from eca_ablate.data import describe
from eca_ablate.data.cache import cache_folder
from eca_ablate.machine import best_device, cpu_name, device_name, native_bf16
from eca_ablate.provenance import code_version, versions


def examine() -> dict[str, Any]:
    """Return facts about this machine and a list of problems, each with its way out."""
    facts: dict[str, Any] = {
        "eca_ablate": __version__,
        "code_version": code_version(),
        **versions(),
        "cpu": cpu_name(),
        "cores": len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count(),
        "device": device_name(),
        "device_kind": best_device().type,
        "native_bf16": native_bf16(),
        "precision_auto": "bf16" if native_bf16() else "fp32",
        "allocator": _allocator(),
    }
    problems: list[str] = []
    for check in (_training, _cache):
        check(facts, problems)
    facts["data"] = {name: _prepared(name) for name in get_args(DataName) if name != "imagefolder"}
    return {"ok": not problems, "problems": problems, "facts": facts}


def _allocator() -> dict[str, Any]:
    """Tune it as a run does, and look whether that had its effect."""
    tuned = allocator.tune()
    set_by_user = {name: os.environ[name] for name in allocator.ENVIRONMENT if name in os.environ}
    return {"tuned": tuned, "keeps_large_blocks": allocator.keeps_large_blocks(), **set_by_user}


def _training(facts: dict[str, Any], problems: list[str]) -> None:
    """Do one convolution forward and backward on the device, in the precision that `auto` would take."""
    try:
        device = best_device()
        layer = torch.nn.Conv2d(3, 8, 3).to(device)
        with torch.autocast(device.type, dtype=torch.bfloat16, enabled=facts["native_bf16"]):
            layer(torch.ones(2, 3, 8, 8, device=device)).sum().backward()
    except RuntimeError as error:
        problems.append(f"a convolution on {facts['device']} failed: {error}; check that torch fits the driver")


def _cache(facts: dict[str, Any], problems: list[str]) -> None:
    folder = cache_folder()
    facts["cache"] = str(folder)
    try:
        folder.mkdir(parents=True, exist_ok=True)
        probe = folder / f".probe-{os.getpid()}"
        probe.write_bytes(b"0")
        probe.unlink()
    except OSError as error:
        problems.append(f"cannot write to the cache folder {folder}: {error.strerror}; set ECA_ABLATE_CACHE to another")
        return
    free = shutil.disk_usage(folder).free
    facts["cache_free_gb"] = round(free / 1e9, 1)
    if free < 2e9:
        problems.append(f"less than 2 GB are free below {folder}; set ECA_ABLATE_CACHE to a larger disk")


def _prepared(name: DataName) -> bool:
    return describe(DataConfig(name=name)).prepared
