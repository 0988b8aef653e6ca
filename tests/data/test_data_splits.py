"""The fixed rule: disjoint, exhaustive, nested, and the same everywhere and for ever."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from eca_ablate.config import DataConfig
from eca_ablate.data.dataset import Listing, Split
from eca_ablate.data.splits import divide, ranked, take
from eca_ablate.errors import ConfigError, DataError

shares = st.floats(0.01, 0.99)


def listing(labels: list[int], parts: list[Split] | None = None) -> Listing:
    return Listing(
        classes=tuple(f"class{i}" for i in range(max(labels) + 1)),
        labels=np.array(labels, dtype=np.int64),
        parts=tuple(parts or [Split.TRAIN] * len(labels)),
        keys=tuple(str(i) for i in range(len(labels))),
    )


def test_the_rule_never_changes() -> None:
    """Published results depend on it: if this fails, `SEMANTICS` must be raised."""
    assert ranked("validation", "cat", [str(i) for i in range(10)]) == [5, 2, 3, 8, 9, 7, 1, 4, 6, 0]


@given(n=st.integers(1, 200), share=shares, name=st.text(max_size=5))
def test_take_divides_and_is_nested(n: int, share: float, name: str) -> None:
    keys = [f"a/{i}.png" for i in range(n)]
    first, rest = take("test", name, keys, share)
    assert sorted(first + rest) == list(range(n))
    assert len(first) == max(1, round(share * n))
    smaller, _ = take("test", name, keys, share / 2)
    assert set(smaller) <= set(first)


@given(n=st.integers(2, 60), data=st.data())
def test_take_follows_the_keys_and_not_their_positions(n: int, data: st.DataObject) -> None:
    keys = [str(i) for i in range(n)]
    shuffled = data.draw(st.permutations(keys))
    assert {keys[i] for i in take("d", "c", keys, 0.3)[0]} == {shuffled[i] for i in take("d", "c", shuffled, 0.3)[0]}


@given(
    sizes=st.lists(st.integers(10, 60), min_size=2, max_size=4),
    validation=st.floats(0.05, 0.5),
    fraction=st.floats(0.2, 1),
)
def test_divide(sizes: list[int], validation: float, fraction: float) -> None:
    images = listing([label for label, size in enumerate(sizes) for _ in range(size)])
    whole = divide(images, DataConfig(validation=validation))
    part = divide(images, DataConfig(validation=validation, fraction=fraction))
    assert np.array_equal(np.sort(np.concatenate(list(whole.values()))), np.arange(sum(sizes)))
    assert np.array_equal(part[Split.TEST], whole[Split.TEST])
    for split in (Split.TRAIN, Split.VALIDATION):
        assert set(part[split]) <= set(whole[split])  # and so an image never changes sides
    smaller = divide(images, DataConfig(validation=validation, fraction=fraction * 0.9))
    for split in (Split.TRAIN, Split.VALIDATION):
        assert set(smaller[split]) <= set(part[split])
    for label, size in enumerate(sizes):
        of_class = {split: int((images.labels[where] == label).sum()) for split, where in whole.items()}
        assert of_class[Split.TEST] == round(0.2 * size)
        assert of_class[Split.VALIDATION] == max(1, round(validation * (size - round(0.2 * size))))
        assert all((images.labels[where] == label).any() for where in part.values())


def test_named_splits_stay_as_they_are() -> None:
    parts = [Split.TRAIN, Split.VALIDATION, Split.TEST] * 4
    images = listing([0, 0, 0, 1, 1, 1] * 2, parts)
    result = divide(images, DataConfig())
    for split, where in result.items():
        assert where.tolist() == [i for i, part in enumerate(parts) if part is split]


def test_classes_are_chosen_and_do_not_disturb_each_other() -> None:
    images = listing([0, 1, 2] * 10)
    whole = divide(images, DataConfig())
    two = divide(images, DataConfig(classes=("class2", "class0")))
    for split, where in two.items():
        assert where.tolist() == [i for i in whole[split].tolist() if images.labels[i] != 1]


def test_errors() -> None:
    with pytest.raises(ConfigError, match=r"data.classes: unknown class 'clas1'.*class1"):
        divide(listing([0, 1] * 9), DataConfig(classes=("class0", "clas1")))
    with pytest.raises(DataError, match="class `class1` has 2 training images, but at least 3"):
        divide(listing([0, 0, 0, 1, 1]), DataConfig())
    with pytest.raises(ConfigError, match=r"data.fraction.*0.01 of the 7 training images.*at least 0.14"):
        divide(listing([0, 1] * 10), DataConfig(fraction=0.01))
    with pytest.raises(ConfigError, match=r"data\.validation: a share of 0.99"):
        divide(listing([0, 1] * 10), DataConfig(validation=0.99))
