"""The device a run trains on, and what it can do."""

from __future__ import annotations

import platform
from dataclasses import replace
from functools import cache
from pathlib import Path

import torch

from eca_ablate.config import Recipe
from eca_ablate.errors import UserError


def best_device() -> torch.device:
    """Return the accelerator if there is one, and else the CPU."""
    if torch.cuda.is_available():
        return torch.device("cuda")
    return torch.device("mps" if torch.backends.mps.is_available() else "cpu")


@cache
def cpu_name() -> str:
    """Return the processor's model name."""
    cpuinfo = Path("/proc/cpuinfo")
    if cpuinfo.exists():
        for line in cpuinfo.read_text().splitlines():
            if line.startswith("model name"):
                return line.partition(":")[2].strip()
    return platform.processor() or platform.machine()


def device_name() -> str:
    """Return the name of the device a run trains on."""
    device = best_device()
    return torch.cuda.get_device_name(device) if device.type == "cuda" else f"{cpu_name()} ({device.type.upper()})"


def out_of_memory(error: BaseException) -> bool:
    """Say whether an error means that the device, or the machine, had no memory left."""
    if isinstance(error, torch.OutOfMemoryError | MemoryError):
        return True
    return isinstance(error, RuntimeError) and "can't allocate memory" in str(error)  # PyTorch's words on the CPU


def native_bf16() -> bool:
    """Say whether the device multiplies in bfloat16 itself instead of imitating it."""
    device = best_device()
    if device.type == "cuda":
        return bool(torch.cuda.is_bf16_supported(including_emulation=False))
    if device.type == "mps":
        return False
    able = torch.cpu.get_capabilities()
    return any(bool(able.get(name)) for name in ("avx512_bf16", "amx_bf16", "bf16", "arm_bf16"))


def resolve_precision(recipe: Recipe) -> Recipe:
    """Turn `precision: auto` into what this machine computes fastest: `bf16` where it is native, else `fp32`."""
    if recipe.precision != "auto":
        return recipe
    return replace(recipe, precision="bf16" if native_bf16() else "fp32")


def require_precision(recipe: Recipe) -> None:
    """Refuse a run that this machine would compute otherwise than planned.

    Raises:
        UserError: if the plan says bf16 and the device has none.
    """
    if recipe.precision == "bf16" and not native_bf16():
        raise UserError(
            f"the plan says precision `bf16`, which {device_name()} does not compute natively; run it on a machine "
            "that does, or plan anew with `--recipe.precision fp32 --out DIR`"
        )
