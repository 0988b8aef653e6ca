"""The parts of a configuration: data, backbone and recipe."""

from __future__ import annotations

import math
from dataclasses import dataclass, fields, replace
from typing import Any, Literal, get_args

from eca_ablate.errors import ConfigError, one_of

DataName = Literal["digits", "cifar10", "cifar100", "tiny_imagenet", "imagenette", "imagefolder"]
BackboneName = Literal[
    "resnet20",
    "resnet32",
    "resnet56",
    "resnet110",
    "resnet18",
    "resnet34",
    "resnet50",
    "resnet101",
    "resnet152",
]
Decay = Literal["all", "no_norm_bias"]
Schedule = Literal["cosine", "one_cycle", "step"]
Augment = Literal["auto", "none", "crop", "resized_crop"]
Precision = Literal["auto", "fp32", "bf16"]
_CHOICES = {
    "decay": get_args(Decay),
    "schedule": get_args(Schedule),
    "augment": get_args(Augment),
    "precision": get_args(Precision),
}
CIFAR_BACKBONES = ("resnet20", "resnet32", "resnet56", "resnet110")


def require(holds: bool, path: str, message: str) -> None:
    """Raise a ConfigError for that path unless it holds."""
    if not holds:
        raise ConfigError(path, message)


def _as_floats(config: Any) -> None:
    """Make 1 and 1.0 the same value, and so the same key, in every field declared `float`."""
    for item in fields(config):
        if item.type == "float":
            object.__setattr__(config, item.name, float(getattr(config, item.name)) + 0.0)  # and -0.0 is 0.0


@dataclass(frozen=True)
class DataConfig:
    """Which images, and how they are split.

    Args:
        name: the data set; `imagefolder` is any class-per-folder tree of your own.
        root: the folder of an `imagefolder`, `~` allowed; not part of a run's key, its content is.
        image_size: side in pixels that images are resized to; by default the data set's own (96 for `imagefolder`).
        classes: keep these classes only, by folder or class name.
        fraction: keep this share of every class's training images (validation included); test stays whole.
        validation: share of every class's training images that is held out for choices; without effect on a tree
            that has train, validation and test folders of its own.
        stream: decode images while training instead of keeping them all on the device (ImageNet's size).
    """

    name: DataName = "digits"
    root: str | None = None
    image_size: int | None = None
    classes: tuple[str, ...] | None = None
    fraction: float = 1.0
    validation: float = 0.1
    stream: bool = False

    def __post_init__(self) -> None:
        _as_floats(self)
        require(self.name in get_args(DataName), "data.name", one_of("data set", self.name, get_args(DataName)))
        if self.name == "imagefolder":
            require(
                bool(self.root),
                "data.root",
                "`imagefolder` needs the folder of the images: `--data.root DIR`",
            )
        else:
            require(
                self.root is None,
                "data.root",
                f"only `imagefolder` takes a folder, but data.name is `{self.name}`",
            )
        size = self.image_size
        require(
            size is None or 8 <= size <= 1024,
            "data.image_size",
            f"must be within 8 to 1024 pixels, but got {size}",
        )
        require(
            self.classes is None or len(set(self.classes)) >= 2,
            "data.classes",
            f"needs at least two different classes, but got {list(self.classes or ())}",
        )
        require(0 < self.fraction <= 1, "data.fraction", f"`0 < fraction <= 1` must hold, but got {self.fraction}")
        require(
            0 < self.validation < 1,
            "data.validation",
            f"`0 < validation < 1` must hold, but got {self.validation}; choices are made on validation images",
        )
        require(
            not self.stream or self.name == "imagefolder",
            "data.stream",
            f"only `imagefolder` streams, but data.name is `{self.name}`, which fits on a device",
        )


@dataclass(frozen=True)
class BackboneConfig:
    """Which network the heads are put into.

    Args:
        name: `resnet20` to `resnet110` are the CIFAR ResNets, `resnet18` to `resnet152` torchvision's.
        stem: `imagenet` (7×7, stride 2, max-pooling) or `cifar` (3×3, stride 1); by default `cifar` for the CIFAR
            ResNets, which have no other, and `imagenet` for torchvision's.
        width: multiplies the channels of a CIFAR ResNet (16, 32, 64 at width 1).
    """

    name: BackboneName = "resnet20"
    stem: Literal["imagenet", "cifar"] | None = None
    width: float = 1.0

    def __post_init__(self) -> None:
        _as_floats(self)
        names = get_args(BackboneName)
        require(self.name in names, "backbone.name", one_of("backbone", self.name, names))
        require(
            self.stem in (None, "imagenet", "cifar"),
            "backbone.stem",
            one_of("stem", self.stem, ["imagenet", "cifar"]),
        )
        if self.name in CIFAR_BACKBONES:
            require(
                self.stem != "imagenet",
                "backbone.stem",
                f"`{self.name}` is a CIFAR ResNet and has only the `cifar` stem; take resnet18 for an `imagenet` stem",
            )
            width = 16 * self.width
            require(
                math.isfinite(width) and width >= 1 and width == int(width),
                "backbone.width",
                f"16 × width must be a whole number of channels, at least 1, but got width {self.width}",
            )
        else:
            require(
                self.width == 1,
                "backbone.width",
                f"only {', '.join(CIFAR_BACKBONES)} have a width, but got {self.width} for `{self.name}`",
            )

    def resolve(self) -> BackboneConfig:
        """Fill in the stem."""
        return replace(self, stem=self.stem or ("cifar" if self.name in CIFAR_BACKBONES else "imagenet"))


@dataclass(frozen=True)
class Recipe:
    """Everything about training that is neither head, backbone nor data. SGD throughout.

    Args:
        epochs: passes over the training images.
        batch_size: images a step; the last, smaller batch of an epoch is left out.
        lr: peak learning rate.
        momentum: of SGD.
        nesterov: Nesterov's form of it.
        weight_decay: L2 penalty.
        decay: `all` weights (as the official code does), or `no_norm_bias`: all but those of normalisation and biases.
        schedule: `cosine` to zero, `one_cycle` (up over the first 30 %, then down), or `step` (the paper's).
        step_epochs: with `step`, epochs between two drops (paper: 30).
        step_factor: with `step`, what a drop multiplies the rate by (paper: 0.1).
        warmup_epochs: linear rise of the rate before `cosine` or `step` begins.
        label_smoothing: mass spread over the other classes.
        augment: `crop` (pad by an eighth, crop), `resized_crop` (area 8 % to 100 %), `none`; `auto` takes `crop` up
            to 64 pixels and `resized_crop` above.
        flip: mirror every second image; by default where mirrored images keep their meaning (not for digits).
        precision: `fp32`, `bf16` (autocast), or `auto`: bf16 where the machine computes in it natively.
    """

    epochs: int = 30
    batch_size: int = 128
    lr: float = 0.1
    momentum: float = 0.9
    nesterov: bool = True
    weight_decay: float = 5e-4
    decay: Decay = "all"
    schedule: Schedule = "cosine"
    step_epochs: int = 30
    step_factor: float = 0.1
    warmup_epochs: float = 0.0
    label_smoothing: float = 0.0
    augment: Augment = "auto"
    flip: bool | None = None
    precision: Precision = "auto"

    def __post_init__(self) -> None:
        _as_floats(self)
        for name, allowed in _CHOICES.items():
            value = getattr(self, name)
            require(value in allowed, f"recipe.{name}", one_of(name, value, allowed))
        for name, least in (("epochs", 1), ("batch_size", 1), ("step_epochs", 1)):
            value = getattr(self, name)
            require(value >= least, f"recipe.{name}", f"`{name} >= {least}` must hold, but got {value}")
        for name, low, high in (
            ("lr", 0, math.inf),
            ("weight_decay", None, math.inf),
            ("momentum", None, 1),
            ("label_smoothing", None, 1),
            ("step_factor", 0, math.inf),
            ("warmup_epochs", None, self.epochs),
        ):
            value = getattr(self, name)
            above = value >= 0 if low is None else value > low
            require(
                above and value < high,
                f"recipe.{name}",
                f"`{'0 <=' if low is None else '0 <'} {name} < {high}` must hold, but got {value}",
            )
        require(
            self.momentum > 0 or not self.nesterov,
            "recipe.nesterov",
            "Nesterov's form needs a momentum above 0, but got momentum 0; set `nesterov: false`",
        )
        require(
            self.schedule != "one_cycle" or self.warmup_epochs == 0,
            "recipe.warmup_epochs",
            f"`one_cycle` has its own rise, so it must be 0, but got {self.warmup_epochs}",
        )
