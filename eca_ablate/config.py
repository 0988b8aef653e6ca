"""What a user writes (`Experiment`) and what it comes down to (`RunConfig`); frozen, and free of torch.

An experiment asks one question. A run is one training: a pure function of its `RunConfig`, and `RunConfig.key()` is
its name in the study, in `runs.csv` and on disk.
"""

from __future__ import annotations

import hashlib
import json
import math
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field, fields, replace
from typing import Any, Literal, get_args

from eca_ablate.errors import ConfigError, one_of
from eca_ablate.space import Search

# Raised whenever the same configuration would train differently than before, so that old rows are not reused.
SEMANTICS = 1

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

# The rows of the paper's Table 2, and the adaptive ECA of its Table 3.
TABLE2: tuple[dict[str, Any], ...] = (
    {"name": "none", "label": "Vanilla"},
    {"name": "se", "label": "SE"},
    {"name": "se_var1", "label": "SE-Var1"},
    {"name": "se_var2", "label": "SE-Var2"},
    {"name": "se_var3", "label": "SE-Var3"},
    {"name": "se_gc", "groups": 16, "label": "SE-GC1"},
    {"name": "se_gc", "group_channels": 16, "label": "SE-GC2"},
    {"name": "se_gc", "group_channels": 8, "label": "SE-GC3"},
    {"name": "eca_ns", "kernel_size": 3, "label": "ECA-NS"},
    {"name": "eca", "kernel_size": 3, "label": "ECA (k=3)"},
    {"name": "eca", "gamma": 2, "b": 1, "label": "ECA (adaptive)"},
)
HEAD_LISTS: Mapping[str, tuple[dict[str, Any], ...]] = {"table2": TABLE2}


def _require(holds: bool, path: str, message: str) -> None:
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
        _require(self.name in get_args(DataName), "data.name", one_of("data set", self.name, get_args(DataName)))
        if self.name == "imagefolder":
            _require(
                bool(self.root),
                "data.root",
                "`imagefolder` needs the folder of the images: `--data.root DIR`",
            )
        else:
            _require(
                self.root is None,
                "data.root",
                f"only `imagefolder` takes a folder, but data.name is `{self.name}`",
            )
        size = self.image_size
        _require(
            size is None or 8 <= size <= 1024,
            "data.image_size",
            f"must be within 8 to 1024 pixels, but got {size}",
        )
        _require(
            self.classes is None or len(set(self.classes)) >= 2,
            "data.classes",
            f"needs at least two different classes, but got {list(self.classes or ())}",
        )
        _require(0 < self.fraction <= 1, "data.fraction", f"`0 < fraction <= 1` must hold, but got {self.fraction}")
        _require(
            0 < self.validation < 1,
            "data.validation",
            f"`0 < validation < 1` must hold, but got {self.validation}; choices are made on validation images",
        )
        _require(
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
        _require(self.name in names, "backbone.name", one_of("backbone", self.name, names))
        _require(
            self.stem in (None, "imagenet", "cifar"),
            "backbone.stem",
            one_of("stem", self.stem, ["imagenet", "cifar"]),
        )
        if self.name in CIFAR_BACKBONES:
            _require(
                self.stem != "imagenet",
                "backbone.stem",
                f"`{self.name}` is a CIFAR ResNet and has only the `cifar` stem; take resnet18 for an `imagenet` stem",
            )
            width = 16 * self.width
            _require(
                math.isfinite(width) and width >= 1 and width == int(width),
                "backbone.width",
                f"16 × width must be a whole number of channels, at least 1, but got width {self.width}",
            )
        else:
            _require(
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
            _require(value in allowed, f"recipe.{name}", one_of(name, value, allowed))
        for name, least in (("epochs", 1), ("batch_size", 1), ("step_epochs", 1)):
            value = getattr(self, name)
            _require(value >= least, f"recipe.{name}", f"`{name} >= {least}` must hold, but got {value}")
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
            _require(
                above and value < high,
                f"recipe.{name}",
                f"`{'0 <=' if low is None else '0 <'} {name} < {high}` must hold, but got {value}",
            )
        _require(
            self.momentum > 0 or not self.nesterov,
            "recipe.nesterov",
            "Nesterov's form needs a momentum above 0, but got momentum 0; set `nesterov: false`",
        )
        _require(
            self.schedule != "one_cycle" or self.warmup_epochs == 0,
            "recipe.warmup_epochs",
            f"`one_cycle` has its own rise, so it must be 0, but got {self.warmup_epochs}",
        )


@dataclass(frozen=True)
class Experiment:
    """One question: the heads to compare, on which data and backbone, by which recipe, with how many seeds.

    Args:
        data: the images.
        backbone: the network the heads are put into.
        recipe: how it is trained.
        seeds: how many (0, 1, 2 ...), or a list of them. Every head gets the same ones: differences are paired.
        heads: `table2` (the default), or a list of names and mappings with a `name`, its options and a `label`.
        search: instead of `heads`, a space to look through.
        threads: CPU threads of one run. Part of the configuration, since rounding follows it; `--workers` does not
            change it.
    """

    data: DataConfig = field(default_factory=DataConfig)
    backbone: BackboneConfig = field(default_factory=BackboneConfig)
    recipe: Recipe = field(default_factory=Recipe)
    seeds: int | list[int] = 3
    heads: str | list[str | dict[str, Any]] | None = None
    search: Search | None = None
    threads: int = 1

    def __post_init__(self) -> None:
        _require(self.threads >= 1, "threads", f"`threads >= 1` must hold, but got {self.threads}")
        if isinstance(self.seeds, int):
            _require(self.seeds >= 1, "seeds", f"at least one seed is needed, but got {self.seeds}")
        else:
            _require(len(self.seeds) > 0, "seeds", "at least one seed is needed, but got an empty list")
            _require(
                len(set(self.seeds)) == len(self.seeds),
                "seeds",
                f"each seed counts once, but got {self.seeds}",
            )
            _require(
                min(self.seeds) >= 0 and max(self.seeds) < 2**63,
                "seeds",
                f"seeds are whole numbers from 0, below 2^63, but got {self.seeds}",
            )
        _require(
            self.search is None or self.heads is None,
            "heads",
            "an experiment compares `heads` or goes on a `search`, but this one has both; take one of them out",
        )
        if self.heads is None:
            return
        if isinstance(self.heads, str):
            _require(self.heads in HEAD_LISTS, "heads", one_of("list of heads", self.heads, HEAD_LISTS))
        _require(len(self.heads) > 0, "heads", "at least one head is needed, but got an empty list")

    def seed_list(self) -> list[int]:
        """Return the seeds themselves."""
        return list(range(self.seeds)) if isinstance(self.seeds, int) else list(self.seeds)

    def head_specs(self) -> list[dict[str, Any]]:
        """Return the heads as mappings with a `name`, options and perhaps a `label`; names are checked by the plan."""
        written = "table2" if self.heads is None else self.heads
        heads = HEAD_LISTS[written] if isinstance(written, str) else written
        return [{"name": head} if isinstance(head, str) else dict(head) for head in heads]


@dataclass(frozen=True)
class RunConfig:
    """One training, with everything resolved that could make it differ.

    Args:
        data: the data set and its split.
        fingerprint: of the data's content, wherever it lies.
        backbone: with its stem filled in.
        blocks: the head of every residual block in order, `{"name": ..., option: ...}`: k is a number here.
        recipe: with precision, augmentation and flip filled in.
        threads: CPU threads.
        seed: of initial weights, order and augmentation.
        semantics: version of the training code's meaning.
    """

    data: DataConfig
    fingerprint: str
    backbone: BackboneConfig
    blocks: tuple[dict[str, Any], ...]
    recipe: Recipe
    threads: int = 1
    seed: int = 0
    semantics: int = SEMANTICS

    def network(self) -> str:
        """Return the hash of everything but the seed: runs that share it are replicates of one network."""
        return self._digest(without=("seed",))

    def key(self) -> str:
        """Return the run's name: the hash of all of it, the folder of the images left out."""
        return self._digest(without=())

    def _digest(self, without: tuple[str, ...]) -> str:
        facts = self.to_dict()
        for name in without:
            del facts[name]
        del facts["data"]["root"]
        text = json.dumps(facts, sort_keys=True, separators=(",", ":"), allow_nan=False)
        return hashlib.sha256(text.encode()).hexdigest()[:16]

    def to_dict(self) -> dict[str, Any]:
        """Return plain JSON values; `from_dict` is the inverse."""
        facts: dict[str, Any] = json.loads(json.dumps(asdict(self)))
        return facts

    @classmethod
    def from_dict(cls, facts: Mapping[str, Any]) -> RunConfig:
        """Rebuild a configuration from what `to_dict` gave."""
        data = dict(facts["data"])
        data["classes"] = tuple(data["classes"]) if data["classes"] else None
        return cls(
            **{
                **facts,
                "data": DataConfig(**data),
                "backbone": BackboneConfig(**facts["backbone"]),
                "recipe": Recipe(**facts["recipe"]),
                "blocks": tuple(dict(block) for block in facts["blocks"]),
            }
        )
