"""Searches: spaces resolved to networks, samplers and pruners by name, and the study that drives them."""

from __future__ import annotations

from eca_ablate.search.points import Point, SearchPlan
from eca_ablate.search.proposing import Pruning, run_pruner
from eca_ablate.search.study import PointsStudy

__all__ = ["Point", "PointsStudy", "Pruning", "SearchPlan", "run_pruner"]
