"""The heads of the paper's Table 2, by name."""

from __future__ import annotations

import inspect
from collections.abc import Mapping
from typing import Any

from eca_ablate.errors import one_of
from eca_ablate.heads.base import ChannelHead, Cost, Head, NoHead
from eca_ablate.heads.eca import ECA, ECANS
from eca_ablate.heads.se import SE, SEGC, SEVar1, SEVar2, SEVar3

__all__ = ["HEADS", "ChannelHead", "Cost", "Head", "build_head", "head_class", "head_label", "head_options"]

HEADS: dict[str, type[Head]] = {
    "none": NoHead,
    "se": SE,
    "se_var1": SEVar1,
    "se_var2": SEVar2,
    "se_var3": SEVar3,
    "se_gc": SEGC,
    "eca_ns": ECANS,
    "eca": ECA,
}

_SHORT = {"kernel_size": "k", "reduction": "r", "groups": "G", "group_channels": "C/G", "gamma": "γ"}


def head_class(name: str) -> type[Head]:
    """Return the class of a head.

    Raises:
        ValueError: if there is no such head, listing those there are.
    """
    if name not in HEADS:
        raise ValueError(one_of("head", name, HEADS))
    return HEADS[name]


def head_options(name: str) -> list[str]:
    """Return the names of the options that a head takes."""
    parameters = list(inspect.signature(head_class(name).from_options).parameters.values())
    if parameters[-1].kind is inspect.Parameter.VAR_KEYWORD:  # inherited: the constructor's
        parameters = list(inspect.signature(head_class(name)).parameters.values())
    return [parameter.name for parameter in parameters if parameter.name != "channels"]


def build_head(name: str, channels: int, **options: Any) -> Head:
    """Build a head for a map of this many channels.

    Args:
        name: a key of `HEADS`.
        channels: C, of the map.
        **options: of the head, as an experiment file writes them: `reduction`; `groups` or `group_channels`;
            `kernel_size`, or `gamma`, `b` and `rounding`.

    Raises:
        ValueError: for an unknown head or option, or a value that does not fit the channels.
    """
    allowed = head_options(name)
    for option in options:
        if option not in allowed:
            problem = one_of("option", option, allowed) if allowed else f"it has none, but got `{option}`"
            raise ValueError(f"`{name}`: {problem}")
    return head_class(name).from_options(channels, **options)


def head_label(name: str, options: Mapping[str, Any]) -> str:
    """Return what a table calls a head that was given no label: its title, and the options as written."""
    title = head_class(name).title
    if name == "eca" and not options:
        return f"{title} (adaptive)"
    values = {option: "-".join(map(str, v)) if isinstance(v, (list, tuple)) else v for option, v in options.items()}
    shown = ", ".join(f"{_SHORT.get(option, option)}={value}" for option, value in values.items())
    return f"{title} ({shown})" if shown else title
