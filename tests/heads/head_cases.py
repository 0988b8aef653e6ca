"""What every head of the registry is tested with: a new head needs an entry in `CASES` and in `ROWS`."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import Tensor

from eca_ablate.heads import HEADS, ChannelHead, build_head
from eca_ablate.heads.base import Head

# Channels and options that every test of the contract runs with.
CASES: dict[str, list[tuple[int, dict[str, Any]]]] = {
    "none": [(6, {})],
    "se": [(32, {}), (8, {"reduction": 2}), (5, {"reduction": 1})],
    "se_var1": [(7, {}), (1, {})],
    "se_var2": [(7, {}), (1, {})],
    "se_var3": [(7, {}), (1, {})],
    "se_gc": [(32, {"groups": 16}), (32, {"group_channels": 16}), (6, {"groups": 1}), (6, {"group_channels": 1})],
    "eca_ns": [(8, {}), (8, {"kernel_size": 5}), (6, {"kernel_size": 1}), (4, {"kernel_size": 7})],
    "eca": [(16, {}), (8, {"kernel_size": 5}), (6, {"kernel_size": 1}), (4, {"kernel_size": 7}), (8, {"gamma": 1})],
}
# How many entries each row of a parameter's matrix has: the n of its initial bound 1/√n.
ROWS: dict[str, dict[str, Callable[[Any], int]]] = {
    "none": {},
    "se": {"squeeze": lambda head: head.channels, "excite": lambda head: head.channels // head.reduction},
    "se_var1": {},
    "se_var2": {"weight": lambda _: 1},
    "se_var3": {"weight": lambda head: head.channels},
    "se_gc": {"weight": lambda head: head.channels // head.groups},
    "eca_ns": {"weight": lambda head: head.kernel_size},
    "eca": {"conv.weight": lambda head: head.kernel_size},
}
NOT_LINEAR = {"se"}

ALL = [(name, channels, options) for name in HEADS for channels, options in CASES.get(name, [])]
CHANNEL = [case for case in ALL if issubclass(HEADS[case[0]], ChannelHead)]
LINEAR = [case for case in CHANNEL if case[0] not in NOT_LINEAR]


def identify(value: object) -> str:
    return str(value).replace("'", "").replace(" ", "")


def over(cases: list[tuple[str, int, dict[str, Any]]]) -> pytest.MarkDecorator:
    return pytest.mark.parametrize(("name", "channels", "options"), cases, ids=identify)


def build(name: str, channels: int, options: dict[str, Any], dtype: torch.dtype = torch.float64) -> Any:
    torch.manual_seed(0)
    return build_head(name, channels, **options).to(dtype)


def maps(channels: int, batch: int = 5, dtype: torch.dtype = torch.float64) -> Tensor:
    generator = torch.Generator().manual_seed(1)
    return torch.randn(batch, channels, 3, 4, generator=generator, dtype=torch.float64).to(dtype)


def same(one: Head, other: Head, channels: int) -> None:
    x = maps(channels)
    torch.testing.assert_close(one(x), other(x))
