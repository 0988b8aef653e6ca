"""Which image belongs to which split: a fixed rule, independent of seed, library versions and platform.

The images of a class are ranked by sha256("domain/class/key") and the first ones are taken. Each decision has its
own domain, so that decisions are independent; a smaller share takes a prefix of what a larger one takes, so that
shares are nested.
"""

from __future__ import annotations

import hashlib
from collections.abc import Sequence

import numpy as np

from eca_ablate.config import DataConfig
from eca_ablate.data.dataset import Indices, Listing, Split
from eca_ablate.errors import ConfigError, DataError, one_of

TEST_SHARE = 0.2  # held out of every class of a data set that names no test split


def ranked(domain: str, name: str, keys: Sequence[str]) -> list[int]:
    """Return the positions of `keys` in the fixed order that `domain` gives to the class `name`."""

    def rank(position: int) -> tuple[bytes, str]:
        text = f"{domain}/{name}/{keys[position]}"
        return hashlib.sha256(text.encode("utf-8", "surrogateescape")).digest(), keys[position]

    return sorted(range(len(keys)), key=rank)


def take(domain: str, name: str, keys: Sequence[str], share: float, least: int = 1) -> tuple[list[int], list[int]]:
    """Divide one class in two.

    Args:
        domain: what is being decided; the same domain decides the same way.
        name: the class.
        keys: of its images.
        share: between 0 and 1.
        least: how many to take at least.

    Returns:
        The positions of the first max(least, round(share * n)) by rank, and those of the others; both ascending.
    """
    order = ranked(domain, name, keys)
    count = max(least, round(share * len(keys)))
    return sorted(order[:count]), sorted(order[count:])


def choose_classes(classes: Sequence[str], chosen: Sequence[str] | None) -> tuple[str, ...]:
    """Return the classes to keep, in the data set's own order.

    Raises:
        ConfigError: if a chosen class does not exist.
    """
    if chosen is None:
        return tuple(classes)
    for name in chosen:
        if name not in classes:
            raise ConfigError("data.classes", one_of("class", name, classes))
    return tuple(name for name in classes if name in set(chosen))


def divide(listing: Listing, config: DataConfig) -> dict[Split, Indices]:
    """Apply `config.classes`, `fraction` and `validation` to a listing.

    Validation is held out before `fraction` thins both it and the rest, so a smaller fraction never moves an image
    from one split to another.

    Returns:
        Ascending positions in the listing for each split; disjoint.

    Raises:
        ConfigError: if a chosen class is unknown or the fraction leaves a class without training images.
        DataError: if a class has too few images to be divided.
    """
    kept = set(choose_classes(listing.classes, config.classes))
    has = set(listing.parts)
    members: dict[Split, list[list[int]]] = {
        split: [[] for _ in listing.classes] for split in (Split.TRAIN, Split.VALIDATION, Split.TEST)
    }
    for position, (label, part) in enumerate(zip(listing.labels.tolist(), listing.parts, strict=True)):
        members[part][label].append(position)
    result: dict[Split, list[int]] = {split: [] for split in members}
    for label, name in enumerate(listing.classes):
        if name not in kept:
            continue
        train, validation, test = (members[split][label] for split in members)
        total = len(train)
        needed = 1 + (Split.TEST not in has) + (Split.VALIDATION not in has)
        if total < needed:
            raise DataError(
                f"class `{name}` has {total} training images, but at least {needed} are needed to hold some out; "
                f"add images or leave the class out with data.classes"
            )
        if Split.TEST not in has:
            test, train = _part(listing, "test", name, train, TEST_SHARE)
        if Split.VALIDATION not in has:
            validation, train = _part(listing, "validation", name, train, config.validation)
        if not train:
            raise ConfigError(
                "data.validation",
                f"a share of {config.validation} leaves no training image of class `{name}`, which has {total}",
            )
        if config.fraction < 1:
            before = len(train)
            train, _ = _part(listing, "fraction", name, train, config.fraction, least=0)
            validation, _ = _part(listing, "fraction", name, validation, config.fraction)
            if not train:
                raise ConfigError(
                    "data.fraction",
                    f"`round(fraction * images) >= 1` must hold for every class, but {config.fraction} of the "
                    f"{before} training images of `{name}` rounds to 0; take at least {1 / before:.2g}",
                )
        for split, chosen in zip(members, (train, validation, test), strict=True):
            result[split] += chosen
    return {split: np.array(sorted(chosen), dtype=np.int64) for split, chosen in result.items()}


def _part(
    listing: Listing, domain: str, name: str, positions: list[int], share: float, least: int = 1
) -> tuple[list[int], list[int]]:
    """Divide positions of the listing, never leaving less than one on the other side of a held-out share."""
    first, rest = take(domain, name, [listing.keys[position] for position in positions], share, least)
    return [positions[i] for i in first], [positions[i] for i in rest]
