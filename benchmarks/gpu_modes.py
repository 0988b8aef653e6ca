"""How a small network is trained fastest on one GPU: eager, compiled, as CUDA graphs, or in several processes at once.

Run:      python benchmarks/gpu_modes.py
Writes:   gpu_modes.csv, and the number of processes that was fastest as `workers`

ResNet-20 of width 2 with ECA (k=3), batch 128, 32 pixels, channels last, one batch that lies on the device.
"""

from __future__ import annotations

import statistics
import subprocess
import sys
import time
from collections.abc import Callable
from typing import Any

import record
import timing
import torch
from torch import nn

from eca_ablate.backbones import build_backbone
from eca_ablate.heads import build_head
from eca_ablate.machine import best_device, native_bf16

BATCH = 128
MODES: dict[str, dict[str, Any] | None] = {
    "eager": None,
    "torch.compile": {},
    "torch.compile, CUDA graphs": {"mode": "reduce-overhead"},
}
PROCESSES = (1, 2, 4, 8)


def trainer(options: dict[str, Any] | None, width: float) -> Callable[[], None]:
    """Return one step of training of a fresh network."""
    device = best_device()
    torch.manual_seed(0)
    net: Any = build_backbone("resnet20", 10, width=width, make_head=lambda c: build_head("eca", c, kernel_size=3))
    net = net.to(device, memory_format=torch.channels_last)
    optimizer = torch.optim.SGD(net.parameters(), lr=1e-3, momentum=0.9, nesterov=True, weight_decay=5e-4)
    pixels = torch.randn(BATCH, 3, 32, 32, device=device).to(memory_format=torch.channels_last)
    labels = torch.randint(0, 10, (BATCH,), device=device)
    called: Callable[[torch.Tensor], torch.Tensor] = net if options is None else torch.compile(net, **options)

    def step() -> None:
        torch.compiler.cudagraph_mark_step_begin()
        with torch.autocast(device.type, dtype=torch.bfloat16, enabled=native_bf16()):
            loss = nn.functional.cross_entropy(called(pixels), labels)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()

    return step


def be_one_process(mode: str, width: float, seconds: float) -> None:
    """Say when ready, train for some seconds when told, and print images a second."""
    step = trainer(MODES[mode], width)
    for _ in range(5):
        step()
    timing.synchronise()
    print("ready", flush=True)
    sys.stdin.readline()
    steps, began = 0, time.perf_counter()
    while time.perf_counter() - began < seconds:
        step()
        steps += 1
        if steps % 20 == 0:
            timing.synchronise()
    timing.synchronise()
    print(steps * BATCH / (time.perf_counter() - began), flush=True)


def together(count: int, mode: str, width: float, seconds: float) -> float:
    """Return images a second of so many processes together."""
    command = [sys.executable, __file__, "--be", mode, "--width", str(width), "--seconds", str(seconds)]
    crew = [subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) for _ in range(count)]
    for process in crew:
        assert process.stdout is not None
        if process.stdout.readline().strip() != "ready":
            raise RuntimeError(f"a process of mode `{mode}` did not begin")
    for process in crew:
        assert process.stdin is not None
        process.stdin.write("go\n")
        process.stdin.flush()
    return sum(float(process.communicate()[0]) for process in crew)


def main() -> None:
    """Measure the modes in turns, then processes, and write what was found."""
    parser = record.options(__doc__.partition("\n")[0] if __doc__ else "")
    parser.add_argument("--be", choices=list(MODES), help="be one of several processes (for the benchmark itself)")
    parser.add_argument("--width", type=float, default=2.0)
    parser.add_argument("--seconds", type=float, default=8.0, help="of several processes at once")
    given = parser.parse_args()
    if given.be:
        be_one_process(given.be, given.width, given.seconds)
        return
    width, rounds = (0.25, 1) if given.quick else (given.width, 10)
    modes = ["eager"] if given.quick else list(MODES)
    shared = {"network": f"resnet20, width {width:g}, ECA (k=3)", "batch": BATCH, "bf16": native_bf16()}
    steps = {mode: trainer(MODES[mode], width) for mode in modes}
    times = timing.alternate(steps, rounds, warmup=1 if given.quick else 12, at_least=0 if given.quick else 0.5)
    rows: list[dict[str, Any]] = []
    for mode in modes:
        speeds = [BATCH / seconds for seconds in times[mode]]
        to_eager = timing.ratios(times, "eager", mode)
        figures = {**timing.spread(speeds, "images_per_s", 4), **timing.spread(to_eager, "speed_to_eager")}
        rows.append({**shared, "mode": mode, "processes": 1, **figures})
    alone = statistics.median(BATCH / seconds for seconds in times["eager"])
    speeds_of: dict[tuple[str, int], list[float]] = {}
    for _ in range(1 if given.quick else 3):
        for mode in modes:
            for count in PROCESSES[:2] if given.quick else PROCESSES:
                speed = together(count, mode, width, 1.0 if given.quick else given.seconds)
                speeds_of.setdefault((mode, count), []).append(speed)
    for (mode, count), speeds in speeds_of.items():
        figures = {
            **timing.spread(speeds, "images_per_s", 4),
            **timing.spread([speed / alone for speed in speeds], "speed_to_eager"),
        }
        rows.append({**shared, "mode": f"{mode}, processes at once", "processes": count, **figures})
    record.write(given.out / "gpu_modes.csv", [{**row, **record.conditions()} for row in rows])
    eager = {count: statistics.median(speeds) for (mode, count), speeds in speeds_of.items() if mode == "eager"}
    (given.out / "workers").write_text(f"{max(eager, key=lambda count: eager[count])}\n")  # a run is eager today
    print(timing.table(rows, ("mode", "processes", "images_per_s", "speed_to_eager")))


if __name__ == "__main__":
    main()
