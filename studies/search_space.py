"""What a sweep searches: the space of configurations, and the candidates drawn from it."""

import hashlib
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd

from core.target import Target
from models.base import BatchedModel
from models.catalog import MODELS
from training.settings import FIRST_TEST, SEARCHED, TrainSettings, configuration


@dataclass(frozen=True)
class Candidate:
    """One configuration: a model, the columns it reads, its prior, and the target (the same at another threshold)."""

    model: str
    columns: tuple[str, ...]
    prior_sd: float
    target: Target

    def make(self) -> BatchedModel:
        """A new, unfitted estimator."""
        return MODELS[self.model].for_target(self.target).set_params(prior_sd=self.prior_sd)

    @property
    def configuration(self) -> str:
        """Hash of the configuration; equal to that of the catalogue model where it is the same."""
        return configuration(self.model, self.make().get_params(), self.columns, TrainSettings(self.target))

    @property
    def summary(self) -> dict[str, Any]:
        """The candidate as plain values."""
        return {
            "model": self.model,
            "columns": list(self.columns),
            "prior_sd": self.prior_sd,
            "move": self.target.threshold,
            "configuration": self.configuration,
        }


@dataclass(frozen=True)
class Sweep:
    """A search space: any non-empty subset of `columns`, with any of the models, priors and targets (thresholds of one question).

    `trials` configurations are drawn. The search reads only outcomes known before `first_test`; the winner is judged after it.
    """

    targets: tuple[Target, ...]
    columns: tuple[str, ...]
    models: tuple[str, ...]
    prior_sd: tuple[float, ...]
    trials: int
    first_test: pd.Timestamp
    seed: int

    @property
    def name(self) -> str:
        """16 hex digits that identify the search space."""
        return hashlib.sha256(repr(self).encode()).hexdigest()[:16]

    @property
    def size(self) -> int:
        """Number of configurations in the space."""
        return (2 ** len(self.columns) - 1) * len(self.models) * len(self.prior_sd) * len(self.targets)

    def candidates(self) -> list[Candidate]:
        """The configurations to try, all different, drawn uniformly and independently of outcomes; all of them if there are few."""
        rng = np.random.default_rng(self.seed)
        numbers = rng.permutation(self.size) if self.size <= 10 * self.trials else distinct_draws(rng, self.size)
        return [self.numbered(int(number)) for number, _ in zip(numbers, range(min(self.trials, self.size)), strict=False)]

    def numbered(self, number: int) -> Candidate:
        """The configuration with this number, from 0 to `size` − 1."""
        rest, target = divmod(number, len(self.targets))
        rest, prior = divmod(rest, len(self.prior_sd))
        chosen, model = divmod(rest, len(self.models))
        columns = tuple(name for position, name in enumerate(self.columns) if (chosen + 1) >> position & 1)
        return Candidate(self.models[model], columns, self.prior_sd[prior], self.targets[target])

    def label(self, target: Target) -> str:
        """Label under which a trial is counted: the target's own if the search reads days that `train` judges, else that of a
        search."""
        searched = f"{target.label}{SEARCHED}{self.first_test:%Y-%m-%d}"
        return target.label if self.first_test > FIRST_TEST else searched


def distinct_draws(rng: np.random.Generator, size: int) -> Iterator[int]:
    """Different numbers from 0 to `size` − 1, drawn uniformly."""
    seen: set[int] = set()
    while True:
        number = int(rng.integers(size))
        if number not in seen:
            seen.add(number)
            yield number
