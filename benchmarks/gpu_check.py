"""Do the heads compute on this device what their formula says? Values and gradients, before anything is timed.

Run:      python benchmarks/gpu_check.py

Every channel head, channels last and contiguous, against `x * gate(x)` differentiated by autograd: gradcheck in
float64, float32 and bf16 autocast by value, and once through torch.compile. The exit code is 1 if one of them differs.
"""

from __future__ import annotations

import sys
from itertools import product

import record
import torch
from formula import LAYOUTS, Plain
from torch import Tensor, nn

from eca_ablate.heads import HEADS, ChannelHead, build_head
from eca_ablate.machine import best_device, native_bf16

TOLERANCE = {"fp32": 1e-4, "bf16": 4e-2, "compiled": 1e-4}  # of the largest value


def gradients(module: nn.Module, x: Tensor, weight: Tensor, bf16: bool) -> list[Tensor]:
    """Return the output and the gradients of map and weights."""
    leaf = x.detach().clone(memory_format=torch.preserve_format).requires_grad_()
    with torch.autocast(x.device.type, dtype=torch.bfloat16, enabled=bf16):
        y = module(leaf)
    return [y, *torch.autograd.grad(y, [leaf, *module.parameters()], weight.to(y.dtype))]


def distance(got: list[Tensor], wanted: list[Tensor]) -> float:
    """Return the largest difference as a share of the largest value."""
    return max(
        float((a.float() - b.float()).abs().max() / b.float().abs().max().clamp_min(1e-6))
        for a, b in zip(got, wanted, strict=True)
    )


def check(name: str, layout: str, quick: bool) -> list[str]:
    """Return what is wrong with a head in a layout."""
    device, wrong = best_device(), []
    torch.manual_seed(0)
    options = {"groups": 4} if name == "se_gc" else {"reduction": 4} if name == "se" else {}
    head = build_head(name, 32, **options).to(device)
    if not isinstance(head, ChannelHead):
        return []
    small = torch.randn(2, 32, 3, 3, device=device, dtype=torch.float64).to(memory_format=LAYOUTS[layout])
    if not torch.autograd.gradcheck(head.double(), small.requires_grad_(), raise_exception=False):
        wrong.append("gradcheck")
    head.float()
    x, weight = (torch.randn(8, 32, 14, 14, device=device).to(memory_format=LAYOUTS[layout]) for _ in range(2))
    kinds = ["fp32", *(["bf16"] if native_bf16() else []), *([] if quick else ["compiled"])]
    for kind in kinds:
        torch._dynamo.reset()
        module = torch.compile(head) if kind == "compiled" else head
        mapped = x.bfloat16() if kind == "bf16" else x
        far = distance(
            gradients(module, mapped, weight, kind == "bf16"), gradients(Plain(head), mapped, weight, kind == "bf16")
        )
        if not far <= TOLERANCE[kind]:
            wrong.append(f"{kind}: {far:.2g} > {TOLERANCE[kind]}")
    return wrong


def main() -> None:
    """Check every head, and say what is wrong."""
    given = record.options(__doc__.partition("\n")[0] if __doc__ else "").parse_args()
    torch.backends.cuda.matmul.allow_tf32 = torch.backends.cudnn.allow_tf32 = False
    found = {f"{name}, {layout}": check(name, layout, given.quick) for name, layout in product(HEADS, LAYOUTS)}
    for case, wrong in found.items():
        print(f"{case}: {'; '.join(wrong) or 'right'}")
    sys.exit(any(found.values()))


if __name__ == "__main__":
    main()
