"""A row as a run leaves it, to be varied by the tests."""

from __future__ import annotations

import json
from typing import Any


def make_row(label: str = "SE", seed: int = 0, **changes: Any) -> dict[str, Any]:
    row: dict[str, Any] = {
        "row": 0,
        "label": label,
        "head": "se",
        "options": "{}",
        "formula": "2C²/r",
        "shared_with": "[]",
        "key": f"key-{changes.get('network', 'net-' + label)}-{seed}",
        "network": f"net-{label}",
        "seed": seed,
        "status": "done",
        "experiment": "table2_digits",
        "data": "digits",
        "data_n_train": 1293,
        "data_n_validation": 144,
        "data_n_test": 360,
        "image_size": 32,
        "num_classes": 10,
        "fingerprint": "0f1e2d3c",
        "backbone": "resnet20",
        "stem": "cifar",
        "width": 1.0,
        "kernel_sizes": "",
        "blocks": json.dumps([{"name": "se"}] * 9),
        "head_weights": 2016,
        "weights": 274_042,
        "macs": 40_812_345,
        "epochs": 30,
        "val_top1": 95.5,
        "val_top5": 99.5,
        "val_loss": 0.125,
        "test_top1": 94.0,
        "test_top5": 99.0,
        "test_loss": 0.25,
        "train_loss": 0.0625,
        "seconds": 41.5,
        "images_per_second": 934.7,
        "device": "Intel Xeon",
        "precision": "fp32",
        "threads": 1,
        "recipe": json.dumps(
            {
                "batch_size": 128,
                "lr": 0.1,
                "schedule": "cosine",
                "momentum": 0.9,
                "nesterov": True,
                "weight_decay": 0.0005,
                "label_smoothing": 0.0,
                "warmup_epochs": 0.0,
                "augment": "crop",
                "flip": False,
            }
        ),
        "python": "3.12.3",
        "torch": "2.11.0",
        "torchvision": "0.26.0",
        "lightning": "2.6.4",
        "torchmetrics": "1.9.0",
        "optuna": "5.0.0",
        "eca_ablate": "0.1.0",
        "code_version": "4aeeaad",
        "semantics": 1,
        "finished_at": "2026-01-02T03:04:05+00:00",
    }
    return {**row, **changes}
