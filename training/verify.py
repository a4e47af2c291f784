"""Verify forecasts: scores, skill against the baselines with intervals, and the effective number of independent windows."""

from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from core.arrays import Floats
from core.errors import BadInput, UnknownName
from core.json import plain
from core.notebook_view import NotebookView
from core.progress import Progress
from core.target import judged_horizon
from evaluation.bootstrap import WIDENING, block_length, horizon_weeks, politis_white, random_length_blocks, skill_interval
from evaluation.evidence import WEEK_DAYS, DriftScore, drift_score, grade_of
from evaluation.multiple_testing import TrialHistory, spa_p_values
from evaluation.sample import BASELINES, CLIMATOLOGY, evaluation_samples
from evaluation.scores import auc, brier_losses, brier_score, effective_sample_size, log_score
from models.base import BatchedModel, HorizonModel
from models.catalog import CLAIM, MODELS, RELATIVE, SIGMA, ModelSpec, default_model
from sources.quality import last_known
from sources.store import Store
from training.dataset import Dataset, prepare
from training.null_results import NullResults, Walk, null_results, with_null_results
from training.null_tests import Span
from training.robustness import ablation, leave_one_cycle_out, panel_of
from training.settings import TrainSettings
from training.walk_forward import Draws, Fold, WalkForward, describe, forecast, quarters, usable


@dataclass(frozen=True)
class VerifyOptions:
    """Options of a verification.

    `history` holds earlier trials. With a `cache_folder` the models that can't be refitted in batches get null results too, each
    shift stored there. `robust` adds results without each market cycle, and without each block of the default model.
    """

    history: TrialHistory = field(default_factory=TrialHistory)
    cache_folder: Path | None = None
    robust: bool = False


DEFAULTS = VerifyOptions()


@dataclass(frozen=True)
class Verification(NotebookView):
    """Result of a verification: rows per model and horizon, the folds, and the forecasts as a table with the columns
    as_of, horizon, model, probability, climatology and outcome."""

    market: str
    rows: list[dict[str, Any]]
    forecasts: pd.DataFrame
    folds: pd.DataFrame

    @property
    def headline(self) -> str:
        """Sentence that names the market and defines skill."""
        return (
            f"Out-of-sample forecasts on the {self.market} market; skill is 1 − Brier score / that of the baseline, 95 % intervals."
        )

    def frame(self) -> pd.DataFrame:
        """A row per model and horizon: scores, skill with its interval, grade."""
        return verification_frame(self.rows)


def verification_frame(rows: Sequence[Mapping[str, Any]]) -> pd.DataFrame:
    """Verification rows as a table: model, days, n, Brier score, skill against volatility and climatology with limits, grade."""
    return pd.DataFrame(
        [
            {"model": row["model"], "days": row["horizon"], "n": row["n"], "brier": row["brier"]}
            | {
                f"skill_{name}{ending}": row[f"skill_{name}"][key]
                for name in ("volatility", "climatology")
                for ending, key in (("", "value"), ("_low", "low"), ("_high", "high"))
            }
            | {"grade": row["grade"]}
            for row in rows
        ]
    )


def verify(
    store: Store,
    settings: TrainSettings,
    *,
    start: pd.Timestamp | None = None,
    end: pd.Timestamp | None = None,
    progress: Progress,
    options: VerifyOptions = DEFAULTS,
) -> Verification:
    """Walk forward over the store and verify the forecasts of the days `start` to `end`.

    Outcomes may be known later than `end`. Raises UnknownName, BadInput, Refused or MissingData where that can't be done.
    """
    names = model_names(settings)
    known = last_known(store)
    first, last = start or settings.first_test, min(end or known, known)
    if first > last:
        raise BadInput(f"The first day to forecast ({first:%Y-%m-%d}) is after the last ({last:%Y-%m-%d}).")
    progress("building features", 0, 0)
    data = prepare(store, settings, known)
    return verify_on(data, settings, names, (first, last), progress, options)


def verify_on(
    data: Dataset,
    settings: TrainSettings,
    names: Sequence[str],
    span: Span,
    progress: Progress,
    options: VerifyOptions = DEFAULTS,
) -> Verification:
    """Walk forward over prepared rows and verify the forecasts of a span, its first and last day."""
    folds = usable(quarters(*span), data.outcomes)
    walks = walk_all(data, settings, names, folds, progress)
    spans = {name: walk.probabilities.loc[span[0] : span[1]] for name, walk in walks.items()}
    walk_tested = Walk(data, settings, folds, span)
    nulls = null_results(list(walks), walk_tested, progress, cache_folder=options.cache_folder)
    rows = add_null_tests(spans, data, settings, names, nulls, options.history)
    if options.robust:
        rows = with_robustness(rows, walk_tested, names, progress)
    return Verification(data.market, rows, table(spans, data, names), describe(folds, data.outcomes))


def with_robustness(rows: Sequence[dict[str, Any]], walk: Walk, names: Sequence[str], progress: Progress) -> list[dict[str, Any]]:
    """Rows with two more lists: scores without each market cycle in training, and of the default model without each block."""
    progress("leaving cycles out", 0, 0)
    cycles = leave_one_cycle_out(walk.data, walk.settings, names)
    progress("leaving blocks out", 0, 0)
    blocks = ablation(walk.data, walk.settings, walk.folds, walk.span)
    default = default_model(walk.settings.outcome)
    return [
        row
        | {
            "leave_one_cycle_out": [
                part.to_dict() for part in cycles if (part.model, part.horizon) == (row["model"], row["horizon"])
            ]
        }
        | {"ablation": [part.to_dict() for part in blocks if (default, part.horizon) == (row["model"], row["horizon"])]}
        for row in rows
    ]


def model_names(settings: TrainSettings) -> list[str]:
    """Names of the requested models, or of all that can forecast this outcome. Raises UnknownName, or Refused where one can't."""
    if settings.models is None:
        return [name for name, spec in MODELS.items() if settings.outcome in spec.kinds]
    for name in settings.models:
        if name not in MODELS:
            raise UnknownName("model", name, MODELS)
        MODELS[name].for_target(settings.target)
    return list(dict.fromkeys(settings.models))


def walk_all(
    data: Dataset,
    settings: TrainSettings,
    names: Sequence[str],
    folds: Sequence[Fold],
    progress: Progress,
    *,
    draws: Draws | None = None,
) -> dict[str, WalkForward]:
    """Walk-forward results by name, of the named models and all baselines.

    `draws` apply only to models that are refitted in one batch. Slow models use several processes; a thread refits the others
    meanwhile.
    """
    baselines = [name for name in BASELINES if settings.outcome in MODELS[name].kinds]
    every = list(dict.fromkeys([*baselines, *names]))
    slow = [name for name in every if MODELS[name].for_target(settings.target).slow]
    with ThreadPoolExecutor(1) as side:
        jobs = {name: side.submit(walk, MODELS[name], data, settings, folds, draws) for name in every if name not in slow}
        walks = {}
        for done, name in enumerate([*slow, *jobs]):
            progress(f"walk-forward: {name}", done, len(every))
            walks[name] = jobs[name].result() if name in jobs else walk(MODELS[name], data, settings, folds, draws)
    progress("walk-forward", len(every), len(every))
    return {name: walks[name] for name in every}


def walk(spec: ModelSpec, data: Dataset, settings: TrainSettings, folds: Sequence[Fold], draws: Draws | None) -> WalkForward:
    """Walk-forward result of one model on the columns it reads."""

    def make() -> HorizonModel:
        return spec.for_target(settings.target)

    batched = isinstance(make(), BatchedModel)
    return forecast(make, data.X[list(spec.columns)], data.outcomes, folds, draws=draws if batched else None)


def add_null_tests(
    forecasts: Mapping[str, pd.DataFrame],
    data: Dataset,
    settings: TrainSettings,
    names: Sequence[str],
    nulls: Mapping[str, NullResults],
    history: TrialHistory,
) -> list[dict[str, Any]]:
    """Verification rows with null tests, the number of earlier trials (from `history`) and the grade of the evidence."""
    return with_evidence(with_null_results(judge(forecasts, data, settings, names), nulls, settings, history), data, settings)


def with_evidence(rows: Sequence[dict[str, Any]], data: Dataset, settings: TrainSettings) -> list[dict[str, Any]]:
    """Rows with the claim's drift score, whether the model beats all baselines, and the grade of the historical evidence.

    The drift score is None for a relative outcome, which has no volatility. `ahead_of_all` refers to the horizon judged.
    """
    drift = None if settings.outcome == RELATIVE else drift_of(data)
    days = judged_horizon(settings.horizons)
    ahead = {
        row["model"]: all((row[f"skill_{name}"]["value"] or 0.0) > 0 for name in BASELINES)
        for row in rows
        if row["horizon"] == days
    }
    drift_p = None if drift is None else drift.p
    return [
        {
            **row,
            "drift": None if drift is None else asdict(drift),
            "ahead_of_all": ahead.get(row["model"]),
            "grade": str(grade_of(drift_p, ahead.get(row["model"]), 1.0)),
        }
        for row in rows
    ]


def drift_of(data: Dataset) -> DriftScore | None:
    """Drift score of the claim's composites against the return of the following week, in units of the volatility known then."""
    signal = data.X[list(CLAIM)].sum(axis=1).to_numpy()
    return drift_score(signal, data.week_after.to_numpy() / (data.X[SIGMA].to_numpy() * np.sqrt(WEEK_DAYS)))


def judge(
    forecasts: Mapping[str, pd.DataFrame], data: Dataset, settings: TrainSettings, names: Sequence[str]
) -> list[dict[str, Any]]:
    """A row of scores per model and horizon, on the days that all models forecast and whose outcome is known.

    forecasts: days × horizons of every model and baseline.
    """
    panel = panel_of(forecasts, data, settings, names)
    rows = []
    for sample in evaluation_samples(forecasts, data.outcomes.events, settings.horizons).values():
        references = {name: sample.loss(model) for name, model in sample.baselines.items()}
        losses = {name: sample.loss(name) for name in sample.probabilities}
        spa = spa_p_values(losses, references, sample.horizon, seed=settings.seed)
        onset = (data.X["rise_from_low"].reindex(sample.days) < settings.target.under_way).to_numpy()
        for name in names:
            scores = verification_fields(
                sample.probabilities[name], sample.outcome, references, onset, sample.horizon, settings.seed
            )
            rows.append({"model": name, "horizon": sample.horizon, **scores, **panel[name, sample.horizon], "spa_p": spa.get(name)})
    return rows


def verification_fields(
    probability: Floats, outcome: Floats, references: Mapping[str, Floats], onset: np.ndarray, days: int, seed: int
) -> dict[str, Any]:
    """Fields of a verification row after model and horizon; missing values are None. Other programs read these keys."""
    loss, climate = brier_losses(probability, outcome), references["climatology"]
    skills = {f"skill_{name}": plain(asdict(skill_interval(loss, base, days, seed=seed))) for name, base in references.items()}
    return {
        "n": len(outcome),
        "n_effective": plain(effective_sample_size(climate - loss, days)),
        "base_rate": plain(outcome.mean() if len(outcome) else np.nan),
        "brier": plain(brier_score(probability, outcome)),
        "log_score": plain(log_score(probability, outcome)),
        "auc": plain(auc(probability, outcome)),
        **skills,
        "skill_climatology_stationary": plain(
            asdict(skill_interval(loss, climate, days, seed=seed, resample=random_length_blocks))
        ),
        "block": block_length(climate - loss, days),
        "block_automatic": plain(politis_white(climate - loss)),
        "widening": WIDENING,
        "non_overlapping": plain(non_overlapping(loss, climate, days)),
        "onset": plain({"n": int(onset.sum()), "skill_climatology": skill(loss[onset], climate[onset])}),
    }


def skill(loss: Floats, reference: Floats) -> float:
    """Brier skill: 1 − Σ loss / Σ reference; NaN where the reference has no loss."""
    total = reference.sum()
    return float(1 - loss.sum() / total) if total > 0 else float("nan")


def non_overlapping(loss: Floats, reference: Floats, days: int) -> dict[str, float]:
    """Skill on rows whose outcomes don't overlap: mean, lowest and highest value over all start offsets."""
    step = horizon_weeks(days)
    each = [skill(loss[offset::step], reference[offset::step]) for offset in range(min(step, len(loss)))]
    known = [value for value in each if not np.isnan(value)]
    if not known:
        return dict.fromkeys(("mean", "low", "high"), np.nan)
    return {"mean": float(np.mean(known)), "low": min(known), "high": max(known)}


def table(forecasts: Mapping[str, pd.DataFrame], data: Dataset, names: Sequence[str]) -> pd.DataFrame:
    """Forecasts as a long table: as_of, horizon, model, probability, climatology, outcome (NaN while unknown)."""
    parts, climatology, events = [], forecasts[CLIMATOLOGY], data.outcomes.events
    for name in names:
        days = forecasts[name].index
        by_horizon = [
            pd.DataFrame(
                {
                    "as_of": days,
                    "horizon": int(horizon),
                    "model": name,
                    "probability": forecasts[name][horizon].to_numpy(),
                    "climatology": climatology[horizon].reindex(days).to_numpy(),
                    "outcome": events[horizon].reindex(days).to_numpy(),
                }
            )
            for horizon in forecasts[name].columns
        ]
        parts.append(pd.concat(by_horizon).sort_values(["as_of", "horizon"], kind="stable", ignore_index=True))
    return pd.concat(parts, ignore_index=True)
