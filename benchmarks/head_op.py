"""What a head costs by itself: every head, forward and forward with backward, on the maps of ResNet-50.

Run:      python benchmarks/head_op.py
Writes:   results/benchmarks/head_op.csv

Each is compared with timm's EcaModule and SEModule, with the plain formula `x * gate(x)` in eager mode and, where there
is a C++ compiler, under torch.compile (ECA, channels last), and with a bound: reading the map twice and writing it once
forward, and reading three and writing one map backward, at the speed of copying this map between buffers that exist.
"""

from __future__ import annotations

import shutil
import statistics
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager
from itertools import product
from typing import Any

import record
import timing
import torch
from formula import LAYOUTS, Plain
from timm.layers import EcaModule, SEModule
from torch import Tensor, nn

from eca_ablate.heads import HEADS, ChannelHead, build_head
from eca_ablate.machine import best_device

SHAPES = ((256, 56), (512, 28), (1024, 14), (2048, 7))  # channels and side after the stages of ResNet-50
TRAFFIC = {"forward": 3, "forward_backward": 7}  # maps read and written; a copy is two


def modules(channels: int, compiled: bool) -> Iterator[tuple[str, str, nn.Module]]:
    """Yield head, implementation and module; each head's own weights are drawn from the same seed."""
    for name in HEADS:
        torch.manual_seed(0)
        head = build_head(name, channels, **({"groups": 16} if name == "se_gc" else {}))
        if isinstance(head, ChannelHead):
            yield name, "eca_ablate", head
            yield name, "plain", Plain(head)
            if compiled and name == "eca":
                yield name, "plain, torch.compile", torch.compile(Plain(head), dynamic=False)  # type: ignore[misc]
    yield "eca", "timm", EcaModule(channels)
    yield "se", "timm", SEModule(channels, rd_ratio=1 / 16)


def steps_of(module: nn.Module, x: Tensor, gradient: Tensor, precision: str) -> dict[str, Callable[[], object]]:
    """Return what is timed: inference, and a training step's forward and backward."""
    weights = [weight for weight in module.parameters() if weight.requires_grad]
    leaf = x.detach().requires_grad_()

    def autocast() -> AbstractContextManager[Any]:
        return torch.autocast(x.device.type, dtype=torch.bfloat16, enabled=precision == "bf16")

    def forward() -> None:
        with torch.no_grad(), autocast():
            module(x)

    def forward_backward() -> None:
        with autocast():
            y = module(leaf)
        torch.autograd.grad(y, [leaf, *weights], gradient)

    return {"forward": forward, "forward_backward": forward_backward}


def measure(
    shape: tuple[int, int], layout: str, precision: str, batch: int, rounds: int, compiled: bool
) -> Iterator[dict[str, Any]]:
    """Yield one row for every head, implementation and direction at one shape."""
    channels, side = shape
    device, dtype = best_device(), torch.bfloat16 if precision == "bf16" else torch.float32
    x, gradient, out = (
        torch.randn(batch, channels, side, side, device=device, dtype=dtype).to(memory_format=LAYOUTS[layout])
        for _ in range(3)
    )
    steps: dict[str, Callable[[], object]] = {"copy": lambda: out.copy_(x)}
    torch._dynamo.reset()
    for name, kind, module in modules(channels, compiled and layout == "channels_last"):
        for direction, step in steps_of(module.to(device), x, gradient, precision).items():
            steps[f"{name}/{kind}/{direction}"] = step
    times = timing.alternate(steps, rounds, at_least=0.01)
    copied = 2 * x.numel() * x.element_size() / statistics.median(times["copy"])
    for key in times.keys() - {"copy"}:
        name, kind, direction = key.split("/")
        bound = [TRAFFIC[direction] / 2 * copy for copy in times["copy"]]
        own = "timm" if name in ("eca", "se") else None  # timm has no others
        yield {
            "head": name,
            "implementation": kind,
            "direction": direction,
            "channels": channels,
            "side": side,
            "batch": batch,
            "layout": layout,
            "precision": precision,
            "map_mb": round(x.numel() * x.element_size() / 1e6, 1),
            "rounds": rounds,
            **timing.spread([1e3 * value for value in times[key]], "ms"),
            **timing.spread(timing.ratios(times, key, f"eca/timm/{direction}"), "to_timm_eca"),
            "to_timm_own": timing.spread(timing.ratios(times, key, f"{name}/{own}/{direction}"), "x")["x"]
            if own
            else "",
            "to_plain": timing.spread(timing.ratios(times, key, f"{name}/plain/{direction}"), "x")["x"],
            **timing.spread([a / b for a, b in zip(times[key], bound, strict=True)], "to_bound"),
            "copy_gb_per_s": round(copied / 1e9, 2),
        }


def main() -> None:
    """Measure every shape, layout and precision, and write the rows."""
    parser = record.options(__doc__.partition("\n")[0] if __doc__ else "")
    parser.add_argument("--batch-size", type=int, metavar="N", help="images (default: 16; on a GPU 128)")
    parser.add_argument("--rounds", type=int, default=11, metavar="N")
    given = parser.parse_args()
    batch = given.batch_size or (2 if given.quick else 128 if record.on_gpu() else 16)
    shapes = SHAPES[-1:] if given.quick else SHAPES
    compiled = record.on_gpu() or shutil.which("c++") is not None
    rows: list[dict[str, Any]] = []
    for shape, layout, precision in product(shapes, LAYOUTS, ("fp32", "bf16")):
        measured = measure(shape, layout, precision, batch, 1 if given.quick else given.rounds, compiled)
        rows += sorted(measured, key=lambda row: (row["direction"], row["head"], row["implementation"]))
        record.write(given.out / "head_op.csv", [{**row, **record.conditions()} for row in rows])
    shown = [row for row in rows if row["head"] == "eca" and row["layout"] == "channels_last"]
    columns = ("channels", "side", "precision", "direction", "implementation", "ms", "to_timm_eca", "to_bound")
    print(timing.table(shown, columns))


if __name__ == "__main__":
    main()
