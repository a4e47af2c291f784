"""Judge forecasts: scores, skill against the baselines with intervals, and what overlap leaves of the sample."""

from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict, dataclass
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

NOTHING_TRIED = TrialHistory()


@dataclass(frozen=True)
class Verification(NotebookView):
    """One row a model and horizon; the forecasts (as_of, horizon, model, probability, climatology, outcome); the folds."""

    market: str
    rows: list[dict[str, Any]]
    forecasts: pd.DataFrame
    folds: pd.DataFrame

    @property
    def headline(self) -> str:
        """What was judged, on which market."""
        return (
            f"Out-of-sample forecasts on the {self.market} market; skill is 1 − Brier score / that of the baseline, 95 % intervals."
        )

    def frame(self) -> pd.DataFrame:
        """A row a model and horizon: scores, skill with its interval, grade."""
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
    tried: TrialHistory = NOTHING_TRIED,
    cache_folder: Path | None = None,
    robust: bool = False,
) -> Verification:
    """Walk forward over the store and judge what was forecast from `start` to `end`.

    Outcomes may be known later than `end`. With a `cache_folder` the models that can't be refitted in batches get null results too,
    each shift stored there; `robust` adds each market cycle left out, and each block of the default model left out.
    Raises UnknownName, BadInput, Refused or MissingData where that can't be done.
    """
    names = model_names(settings)
    known = last_known(store)
    first, last = start or settings.first_test, min(end or known, known)
    if first > last:
        raise BadInput(f"The first day to forecast ({first:%Y-%m-%d}) is after the last ({last:%Y-%m-%d}).")
    progress("building features", 0, 0)
    data = prepare(store, settings, known)
    return verify_on(data, settings, names, first, last, progress, tried=tried, cache_folder=cache_folder, robust=robust)


def verify_on(
    data: Dataset,
    settings: TrainSettings,
    names: Sequence[str],
    first: pd.Timestamp,
    last: pd.Timestamp,
    progress: Progress,
    *,
    tried: TrialHistory = NOTHING_TRIED,
    cache_folder: Path | None = None,
    robust: bool = False,
) -> Verification:
    """Walk forward over rows already prepared and judge the forecasts of `first` to `last`."""
    folds = usable(quarters(first, last), data.outcomes)
    walks = walk_all(data, settings, names, folds, progress)
    spans = {name: walk.probabilities.loc[first:last] for name, walk in walks.items()}
    nulls = null_results(list(walks), Walk(data, settings, folds, (first, last)), progress, cache_folder=cache_folder)
    rows = add_null_tests(spans, data, settings, names, nulls, tried)
    if robust:
        rows = with_robustness(rows, data, settings, names, folds, (first, last), progress)
    return Verification(data.market, rows, table(spans, data, names), describe(folds, data.outcomes))


def with_robustness(
    rows: Sequence[dict[str, Any]],
    data: Dataset,
    settings: TrainSettings,
    names: Sequence[str],
    folds: Sequence[Fold],
    span: Span,
    progress: Progress,
) -> list[dict[str, Any]]:
    """Rows with what is left of a model when a cycle is left out of its training (None where none could be), and of the default
    model when a block is."""
    progress("leaving cycles out", 0, 0)
    cycles = leave_one_cycle_out(data, settings, names)
    progress("leaving blocks out", 0, 0)
    blocks = ablation(data, settings, folds, span)
    default = default_model(settings.outcome)
    return [
        row
        | {"leave_one_cycle_out": [one.to_dict() for one in cycles if (one.model, one.horizon) == (row["model"], row["horizon"])]}
        | {"ablation": [one.to_dict() for one in blocks if (default, one.horizon) == (row["model"], row["horizon"])]}
        for row in rows
    ]


def model_names(settings: TrainSettings) -> list[str]:
    """The models asked for, or all that can forecast this outcome. Raises UnknownName, or Refused where one can't."""
    if settings.models is None:
        return [name for name, spec in MODELS.items() if settings.outcome in spec.kinds]
    for name in settings.models:
        if name not in MODELS:
            raise UnknownName("model", name, MODELS)
        MODELS[name].for_target(settings.target)
    return list(dict.fromkeys(settings.models))


def with_baselines(names: Sequence[str], settings: TrainSettings) -> list[str]:
    """The models asked for, and those their skill is measured against."""
    needed = [name for name in BASELINES if settings.outcome in MODELS[name].kinds]
    return list(dict.fromkeys([*needed, *names]))


def walk_all(
    data: Dataset,
    settings: TrainSettings,
    names: Sequence[str],
    folds: Sequence[Fold],
    progress: Progress,
    *,
    draws: Draws | None = None,
) -> dict[str, WalkForward]:
    """Walk forward with every model named and every baseline; `draws` go to the models that refit as one array.

    Slow models are spread over processes, and the others are refitted meanwhile.
    """
    every = with_baselines(names, settings)
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
    """Walk forward with one model on the columns it reads."""

    def make() -> HorizonModel:
        return spec.for_target(settings.target)

    kept = draws if isinstance(make(), BatchedModel) else None
    return forecast(make, data.X[list(spec.columns)], data.outcomes, folds, draws=kept)


def add_null_tests(
    forecasts: Mapping[str, pd.DataFrame],
    data: Dataset,
    settings: TrainSettings,
    names: Sequence[str],
    found: Mapping[str, NullResults],
    tried: TrialHistory,
) -> list[dict[str, Any]]:
    """The rows of `judge` with their null tests, the number of earlier trials (`tried`) and the grade of the evidence."""
    return with_evidence(with_null_results(judge(forecasts, data, settings, names), found, settings, tried), data, settings)


def with_evidence(rows: Sequence[dict[str, Any]], data: Dataset, settings: TrainSettings) -> list[dict[str, Any]]:
    """Rows with the drift score of the claim, whether the model is ahead of every baseline, and the grade that history allows.

    The drift score is None for an outcome without a volatility to measure by; ahead is said of the horizon judged.
    """
    drift = None if settings.outcome == RELATIVE else drift_of(data)
    days = judged_horizon(settings.horizons)
    ahead = {row["model"]: is_ahead(row) for row in rows if row["horizon"] == days}
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
    """The drift score of the claim's composites against the week that follows, in standard deviations of the volatility known."""
    signal = data.X[list(CLAIM)].sum(axis=1).to_numpy()
    return drift_score(signal, data.week_after.to_numpy() / (data.X[SIGMA].to_numpy() * np.sqrt(WEEK_DAYS)))


def is_ahead(row: Mapping[str, Any]) -> bool:
    """Whether a model's Brier score is below that of volatility alone and of every other baseline."""
    values = [row[f"skill_{name}"]["value"] for name in BASELINES]
    return all(value is not None and value > 0 for value in values)


def judge(
    forecasts: Mapping[str, pd.DataFrame], data: Dataset, settings: TrainSettings, names: Sequence[str]
) -> list[dict[str, Any]]:
    """One row a model and horizon, on the days all models have forecast and whose outcome is known.

    forecasts: days × horizons of every model and baseline.
    """
    panel = panel_of(forecasts, data, settings, names)
    rows = []
    for found in evaluation_samples(forecasts, data.outcomes.events, settings.horizons).values():
        references = {name: found.loss(model) for name, model in found.baselines.items()}
        losses = {name: found.loss(name) for name in found.probabilities}
        spa = spa_p_values(losses, references, found.horizon, seed=settings.seed)
        onset = (data.X["rise_from_low"].reindex(found.days) < settings.target.under_way).to_numpy()
        for name in names:
            scores = verification_fields(found.probabilities[name], found.outcome, references, onset, found.horizon, settings.seed)
            rows.append({"model": name, "horizon": found.horizon, **scores, **panel[name, found.horizon], "spa_p": spa.get(name)})
    return rows


def verification_fields(
    probability: Floats, outcome: Floats, references: Mapping[str, Floats], onset: np.ndarray, days: int, seed: int
) -> dict[str, Any]:
    """The contract of a verification row, after model and horizon; what can't be had is None."""
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
    """1 − Σ loss / Σ reference, NaN where the reference lost nothing."""
    total = reference.sum()
    return float(1 - loss.sum() / total) if total > 0 else float("nan")


def non_overlapping(loss: Floats, reference: Floats, days: int) -> dict[str, float]:
    """Skill on rows whose outcomes don't overlap: mean and range over all start offsets."""
    step = horizon_weeks(days)
    each = [skill(loss[offset::step], reference[offset::step]) for offset in range(min(step, len(loss)))]
    known = [value for value in each if not np.isnan(value)]
    if not known:
        return dict.fromkeys(("mean", "low", "high"), np.nan)
    return {"mean": float(np.mean(known)), "low": min(known), "high": max(known)}


def table(forecasts: Mapping[str, pd.DataFrame], data: Dataset, names: Sequence[str]) -> pd.DataFrame:
    """Forecasts in long form: as_of, horizon, model, probability, climatology, outcome (NaN where not known yet)."""
    parts = [long_form(name, forecasts[name], forecasts[CLIMATOLOGY], data.outcomes.events) for name in names]
    return pd.concat(parts, ignore_index=True)


def long_form(name: str, probabilities: pd.DataFrame, climatology: pd.DataFrame, events: pd.DataFrame) -> pd.DataFrame:
    """One model's forecasts, a row a day and horizon."""
    horizons = [
        pd.DataFrame(
            {
                "as_of": probabilities.index,
                "horizon": int(days),
                "model": name,
                "probability": probabilities[days].to_numpy(),
                "climatology": climatology[days].reindex(probabilities.index).to_numpy(),
                "outcome": events[days].reindex(probabilities.index).to_numpy(),
            }
        )
        for days in probabilities.columns
    ]
    return pd.concat(horizons).sort_values(["as_of", "horizon"], kind="stable", ignore_index=True)
