"""Value of forecasts for users who act above a probability threshold, for each threshold."""

from dataclasses import asdict, dataclass
from typing import Any

import numpy as np

from core.arrays import Floats
from core.json import plain
from evaluation.bootstrap import BAND_DRAWS, Band, band, resampling_blocks
from evaluation.sample import CLIMATOLOGY, EvaluationSample

THRESHOLDS: Floats = np.arange(1, 100) / 100


@dataclass(frozen=True)
class Murphy:
    """Mean elementary score (T,) of each model at each threshold, and what `model` gains on the others, with intervals.

    At threshold θ it costs θ to act in vain and 1 − θ to miss an event. A model that is lower at every threshold is better for
    every user. Twice the area is the Brier score. Reference: Ehm, Gneiting, Jordan & Krüger (2016).
    """

    model: str
    horizon: int
    thresholds: Floats
    scores: dict[str, Floats]
    gains: dict[str, Band]

    def to_dict(self) -> dict[str, Any]:
        """Plain lists and dicts."""
        return plain(asdict(self))


@dataclass(frozen=True)
class ValueCurve:
    """Share of the possible savings that each model gained, by cost-loss ratio (T,); perfect forecasts gain 1.

    0 is the saving by the base rate of the same years, which was not known at the time. Reference: Richardson (2000).
    """

    model: str
    horizon: int
    ratios: Floats
    value: Band
    others: dict[str, Floats]

    def to_dict(self) -> dict[str, Any]:
        """Plain lists and dicts."""
        return plain(asdict(self))


def elementary_scores(probability: Floats, outcome: Floats, thresholds: Floats = THRESHOLDS) -> Floats:
    """Scores (n, T): θ where acting (probability ≥ θ) was in vain, 1 − θ where an event was missed, 0 where all was right."""
    acts = probability[:, None] >= thresholds
    event = outcome[:, None] == 1
    return np.where(acts & ~event, thresholds, np.where(~acts & event, 1 - thresholds, 0.0))


def murphy(sample: EvaluationSample, model: str, *, seed: int, draws: int = BAND_DRAWS) -> Murphy:
    """The Murphy diagram of a model beside climatology and volatility alone."""
    references = reference_models(sample, model)
    scores = {name: elementary_scores(sample.probabilities[name], sample.outcome) for name in (model, *references)}
    gains = {name: mean_gain(sample, model, name, scores[name] - scores[model], seed, draws) for name in references}
    return Murphy(
        model, sample.horizon, THRESHOLDS, {name: score.sum(axis=0) / row_count(sample) for name, score in scores.items()}, gains
    )


def mean_gain(sample: EvaluationSample, model: str, other: str, better: Floats, seed: int, draws: int) -> Band:
    """Mean gain (T,) with its band, from the score differences `better` (n, T)."""
    resampling = resampling_blocks(sample.loss(other) - sample.loss(model), sample.horizon, seed, draws)
    return band(better.sum(axis=0) / row_count(sample), resampling.sums(better) / row_count(sample))


def value_curve(sample: EvaluationSample, model: str, *, seed: int, draws: int = BAND_DRAWS) -> ValueCurve:
    """The cost-loss value of a model, beside climatology known at the time and volatility alone."""
    resampling = resampling_blocks(sample.loss(CLIMATOLOGY) - sample.loss(model), sample.horizon, seed, draws)
    scores, n = elementary_scores(sample.probabilities[model], sample.outcome), row_count(sample)
    resampled = relative_value(resampling.sums(scores) / n, resampling.sums(sample.outcome[:, None]) / n)
    references = {name: model_value(sample, name) for name in reference_models(sample, model)}
    return ValueCurve(model, sample.horizon, THRESHOLDS, band(model_value(sample, model), resampled), references)


def reference_models(sample: EvaluationSample, model: str) -> list[str]:
    """Names of the models to compare with: climatology known at the time, and volatility alone."""
    return [name for name in dict.fromkeys([CLIMATOLOGY, sample.baselines["volatility"]]) if name != model]


def row_count(sample: EvaluationSample) -> int:
    """Number of rows, at least 1, so that the mean of no rows is 0."""
    return max(len(sample.outcome), 1)


def model_value(sample: EvaluationSample, name: str) -> Floats:
    """Cost-loss value (T,) of a model."""
    scores = elementary_scores(sample.probabilities[name], sample.outcome)
    return relative_value(scores.sum(axis=0) / row_count(sample), np.asarray(sample.outcome.sum() / row_count(sample)))


def relative_value(score: Floats, base_rate: Floats) -> Floats:
    """1 − mean score / that of always or never acting, whichever is cheaper at this base rate; NaN where that costs nothing."""
    reference = np.minimum(THRESHOLDS * (1 - base_rate), (1 - THRESHOLDS) * base_rate)
    return 1 - np.divide(score, reference, out=np.full(np.broadcast(score, reference).shape, np.nan), where=reference > 0)
