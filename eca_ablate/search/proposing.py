"""Samplers and pruners by name, each with its seed and settings passed explicitly."""

from __future__ import annotations

import hashlib
import math
import warnings
from typing import Any

import optuna
from lightning import Callback, LightningModule, Trainer
from optuna.distributions import BaseDistribution, CategoricalDistribution, FloatDistribution
from optuna.pruners import BasePruner, HyperbandPruner, MedianPruner, NopPruner, WilcoxonPruner
from optuna.samplers import BaseSampler, GPSampler, RandomSampler, TPESampler
from optuna.trial import Trial

from eca_ablate.errors import ConfigError, one_of
from eca_ablate.space import METRICS, Choice, Parameter, Search


def sampler_for(search: Search, number: int) -> BaseSampler:
    """Return the sampler that proposes one point.

    Each point has a sampler of its own, seeded by the search's seed and the point's number: what is proposed follows
    from the points told so far, not from when the search was stopped and started.
    """
    seed = int.from_bytes(hashlib.sha256(f"{search.seed}/{number}".encode()).digest()[:4], "big")
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", optuna.exceptions.ExperimentalWarning)
        if search.sampler == "tpe":
            return TPESampler(seed=seed, n_startup_trials=10, constant_liar=True)
        if search.sampler == "gp":
            return GPSampler(seed=seed, n_startup_trials=10)
        return RandomSampler(seed=seed)


def distribution(parameter: Parameter) -> BaseDistribution:
    """Return a parameter as Optuna describes it."""
    if isinstance(parameter, Choice):
        return CategoricalDistribution(parameter.values)
    return FloatDistribution(parameter.low, parameter.high, log=parameter.log, step=parameter.step)


def suggest(trial: Trial, parameter: Parameter) -> Any:
    """Let the sampler choose a value of a parameter."""
    if isinstance(parameter, Choice):
        return trial.suggest_categorical(parameter.name, parameter.values)
    return trial.suggest_float(parameter.name, parameter.low, parameter.high, step=parameter.step, log=parameter.log)


def point_pruner(search: Search) -> BasePruner:
    """Return the pruner that spares a network its further seeds, by those it has in common with the best one."""
    if search.pruner != "wilcoxon":
        return NopPruner()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", optuna.exceptions.ExperimentalWarning)
        return WilcoxonPruner(p_threshold=0.1)


def run_pruner(pruner: str, epochs: int) -> BasePruner:
    """Return the pruner that stops single runs by the values they report after each epoch."""
    if pruner == "median":
        return MedianPruner(n_startup_trials=5, n_warmup_steps=max(1, epochs // 4))
    if pruner == "hyperband":
        return HyperbandPruner(min_resource=1, max_resource=epochs)
    return NopPruner()


class Pruning(Callback):
    """Reports a metric of validation to a trial after each epoch, and stops the run when its pruner says so.

    A value that is no finite number is not reported: such a run ends as diverged, by itself.

    Args:
        trial: of the run.
        metric: as the module logs it.

    Raises:
        ConfigError: if the metric is not one of validation.
    """

    def __init__(self, trial: Trial, metric: str) -> None:
        if metric not in METRICS:
            raise ConfigError("search.metric", one_of("metric of validation", metric, METRICS))
        self._trial, self._metric = trial, metric

    def on_validation_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Report, and ask.

        Raises:
            optuna.TrialPruned: if the run is to stop.
            ConfigError: if the module does not log the metric.
        """
        if self._metric not in trainer.callback_metrics:
            logged = sorted(trainer.callback_metrics)
            raise ConfigError("search.metric", one_of("metric; it is not logged", self._metric, logged))
        value = float(trainer.callback_metrics[self._metric])
        if math.isfinite(value):
            self._trial.report(value, step=trainer.current_epoch + 1)
            if self._trial.should_prune():
                raise optuna.TrialPruned(f"{self._metric} {value:.4g} after epoch {trainer.current_epoch + 1}")
