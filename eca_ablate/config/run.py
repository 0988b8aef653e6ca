"""What an experiment comes down to: single trainings, each with a name of its own."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any

from eca_ablate.config.parts import BackboneConfig, DataConfig, Recipe

# Raised whenever the same configuration would train differently than before, so that old rows are not reused.
SEMANTICS = 3


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
