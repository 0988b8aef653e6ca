"""k = |log2(C)/γ + b/γ|_odd: the paper's figures, and the words "nearest odd number" as a second witness."""

from __future__ import annotations

import math
from fractions import Fraction

import pytest
from hypothesis import given
from hypothesis import strategies as st

from eca_ablate.kernel_size import RELEASED, adaptive_kernel_size

CHANNELS = (8, 16, 24, 32, 64, 96, 128, 160, 256, 320, 512, 1024, 1280, 2048)
CODE = (3, 3, 3, 3, 3, 3, 5, 5, 5, 5, 5, 5, 5, 7)
NEAREST = (1, 3, 3, 3, 3, 3, 3, 5, 5, 5, 5, 5, 5, 5)

BASIC = (64, 128, 256, 512)
BOTTLENECK = (256, 512, 1024, 2048)
CIFAR = (16, 32, 64)
# Residual blocks a stage, channels, and the weights of all ECA heads by `code`, by `nearest`, and as released.
NETS = {
    "resnet18": ((2, 2, 2, 2), BASIC, 36, 32, 44),
    "resnet34": ((3, 4, 6, 3), BASIC, 74, 66, 72),
    "resnet50": ((3, 4, 6, 3), BOTTLENECK, 86, 80, 80),
    "resnet101": ((3, 4, 23, 3), BOTTLENECK, 171, 165, 157),
    "resnet152": ((3, 8, 36, 3), BOTTLENECK, 256, 250, 234),
}

channel_counts = st.integers(1, 2**20)
gammas = st.floats(0.05, 50)
offsets = st.floats(-50, 50)
roundings = st.sampled_from(["code", "nearest"])


def nearest_odd(t: float, ties_up: bool) -> int:
    """Search the odd numbers around t in exact arithmetic."""
    exact = Fraction(abs(t))
    odd = [k for k in range(max(1, int(exact) - 4), int(exact) + 5) if k % 2]
    return min(odd, key=lambda k: (abs(k - exact), -k if ties_up else k))


def sizes(channels: tuple[int, ...], gamma: float = 2, b: float = 1, rounding: str = "code") -> tuple[int, ...]:
    return tuple(adaptive_kernel_size(c, gamma, b, rounding) for c in channels)  # type: ignore[arg-type]


def test_known_kernel_sizes() -> None:
    assert sizes(CHANNELS) == CODE
    assert sizes(CHANNELS, rounding="nearest") == NEAREST


def test_the_defaults_are_the_papers() -> None:
    assert all(
        adaptive_kernel_size(c) == adaptive_kernel_size(c, gamma=2, b=1, rounding="code") for c in range(1, 4097)
    )


def test_ties_are_all_that_the_roundings_disagree_about() -> None:
    differ = [c for c in range(1, 4097) if sizes((c,)) != sizes((c,), rounding="nearest")]
    assert differ == [8, 128, 2048]


def test_rounding_to_the_nearest_integer_would_be_another_rule() -> None:
    """`round()` instead of `int()` before the plus one gives 5 at 64 and 96 channels, and 7 at 1024."""
    assert sizes((64, 96, 1024)) == (3, 3, 5)


@given(channel_counts, gammas, offsets)
def test_both_roundings_give_the_nearest_odd_number(channels: int, gamma: float, b: float) -> None:
    t = (math.log2(channels) + b) / gamma
    assert adaptive_kernel_size(channels, gamma, b, "code") == nearest_odd(t, ties_up=True)
    assert adaptive_kernel_size(channels, gamma, b, "nearest") == nearest_odd(t, ties_up=False)


@given(st.integers(0, 12), st.integers(0, 12), st.sampled_from([0.5, 1, 2, 4]))
def test_ties_go_up_by_code_and_down_by_nearest(doublings: int, b: int, gamma: float) -> None:
    t = (doublings + b) / gamma
    code, nearest = (adaptive_kernel_size(2**doublings, gamma, b, rounding) for rounding in ("code", "nearest"))
    assert code - nearest == (2 if t % 2 == 0 and t > 0 else 0)


@given(channel_counts, gammas, offsets, roundings)
def test_kernel_size_is_odd_and_positive(channels: int, gamma: float, b: float, rounding: str) -> None:
    (k,) = sizes((channels,), gamma, b, rounding)
    assert isinstance(k, int)
    assert k >= 1
    assert k % 2 == 1


@given(channel_counts, channel_counts, gammas, st.floats(0, 50), roundings)
def test_more_channels_never_narrow_the_kernel(one: int, other: int, gamma: float, b: float, rounding: str) -> None:
    fewer, more = sorted((one, other))
    assert sizes((fewer,), gamma, b, rounding) <= sizes((more,), gamma, b, rounding)


def test_the_absolute_value_is_taken() -> None:
    assert adaptive_kernel_size(1, gamma=1, b=-7) == adaptive_kernel_size(1, gamma=1, b=7) == 7


@pytest.mark.parametrize("net", NETS)
def test_weights_of_whole_networks(net: str) -> None:
    blocks, channels, code, nearest, released = NETS[net]

    def total(ks: tuple[int, ...]) -> int:
        return sum(n * k for n, k in zip(blocks, ks, strict=True))

    assert total(sizes(channels)) == code
    assert total(sizes(channels, rounding="nearest")) == nearest
    assert total(RELEASED[f"released_{net}"]) == released


def test_the_released_mobilenet_has_31_weights() -> None:
    """One, two, three, four, three, three and one blocks a stage; k = 1 below 96 channels."""
    released = RELEASED["released_mobilenet_v2"]
    assert sum(n * k for n, k in zip((1, 2, 3, 4, 3, 3, 1), released, strict=True)) == 31
    assert released == tuple(1 if c < 96 else 3 for c in (16, 24, 32, 64, 96, 160, 320))


@pytest.mark.parametrize(
    ("gamma", "b", "ks", "total"),
    [
        (1, 0, (9, 9, 11, 11), 162),
        (1, 1, (9, 11, 11, 13), 176),
        (1, 2, (11, 11, 13, 13), 194),
        (2, 0, (5, 5, 5, 5), 80),
        (2, 1, (5, 5, 5, 7), 86),
        (2, 2, (5, 5, 7, 7), 98),
        (3, 0, (3, 3, 3, 3), 48),
        (3, 1, (3, 3, 3, 5), 54),
        (3, 2, (3, 3, 5, 5), 66),
        (4, 0, (3, 3, 3, 3), 48),
        (4, 1, (3, 3, 3, 3), 48),
        (4, 2, (3, 3, 3, 3), 48),
    ],
)
def test_gamma_and_b_on_resnet50(gamma: float, b: float, ks: tuple[int, ...], total: int) -> None:
    assert sizes(BOTTLENECK, gamma, b) == ks
    assert sum(n * k for n, k in zip((3, 4, 6, 3), ks, strict=True)) == total


@pytest.mark.parametrize(("channels", "networks"), [(BASIC, 23), (BOTTLENECK, 26), (CIFAR, 13)])
def test_a_fine_grid_of_gamma_and_b_gives_few_networks(channels: tuple[int, ...], networks: int) -> None:
    grid = [(1 + i / 4, -4 + j / 2) for i in range(13) for j in range(17)]  # γ from 1 to 4, b from -4 to 4
    assert len(grid) == 221
    assert len({sizes(channels, gamma, b) for gamma, b in grid}) == networks


def test_cifar_resnets_have_the_same_k_in_every_stage() -> None:
    assert sizes(CIFAR) == (3, 3, 3)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"channels": 0}, "`channels >= 1` must hold, but got 0"),
        ({"channels": 64, "gamma": 0}, "`gamma > 0` must hold, but got 0; the paper uses 2"),
        ({"channels": 64, "gamma": -1}, "`gamma > 0` must hold, but got -1"),
        ({"channels": 64, "gamma": math.nan}, "`gamma > 0` must hold, but got nan"),
        ({"channels": 64, "gamma": math.inf}, "`gamma > 0` must hold, but got inf"),
        ({"channels": 64, "gamma": 1e-320}, "`gamma`"),
        ({"channels": 64, "b": math.nan}, "`b` must be finite, but got nan; the paper uses 1"),
        ({"channels": 64, "b": -math.inf}, "`b` must be finite, but got -inf"),
        ({"channels": 64, "rounding": "neerest"}, "`rounding` must be `code` or `nearest`, but got 'neerest'"),
    ],
)
def test_errors_state_the_invariant_and_the_value(arguments: dict[str, object], message: str) -> None:
    with pytest.raises(ValueError) as error:
        adaptive_kernel_size(**arguments)  # type: ignore[arg-type]
    assert message in str(error.value)


def test_presets_cannot_be_changed() -> None:
    with pytest.raises(TypeError):
        RELEASED["released_resnet18"] = (3, 3, 3, 3)  # type: ignore[index]
