"""Judge forecasts: scores, skill against three baselines with intervals, and what overlap leaves of the sample."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from typing import Any

import numpy as np
import pandas as pd

from models.base import BatchedModel, HorizonModel
from models.catalog import MODELS, ModelSpec
from sources.errors import BadInput, UnknownName
from sources.gates import last_known
from sources.store import Store
from training.bootstrap import WIDENING, block_length, skill_interval, weeks_of
from training.dataset import Dataset, prepare
from training.nulls import claim_null, shift_null
from training.scores import Floats, auc, brier_losses, brier_score, effective_sample_size, log_score
from training.settings import TrainSettings
from training.walk_forward import Draws, Fold, WalkForward, describe, forecast, quarters, usable

Progress = Callable[[str, int, int], None]

CLIMATOLOGY = "climatology"
RANDOM_WALKS = ("random_walk", "random_walk_fitted")
MOMENTUM = "momentum"
BASELINES = (CLIMATOLOGY, *RANDOM_WALKS, MOMENTUM)
"""Always forecast, whichever models are asked for: skill is measured against them."""

REFITTED = "hazard"
"""The model whose every rotation is refitted at once; the p-values of others take hours and are None."""

NO_NULLS: dict[str, Any] = dict.fromkeys(("null_p", "null", "auc_null_p", "claim_null_p", "claim_null"))

ONSET_RISE = 0.30
"""An onset row isn't already this far above the index's lowest close of the past 90 days."""


@dataclass(frozen=True)
class Verification:
    """One row a model and horizon; the forecasts (as_of, horizon, model, probability, climatology, outcome); the folds."""

    rows: list[dict[str, Any]]
    forecasts: pd.DataFrame
    folds: pd.DataFrame


def verify(
    store: Store,
    settings: TrainSettings,
    *,
    start: pd.Timestamp | None = None,
    end: pd.Timestamp | None = None,
    models: Sequence[str] | None = None,
    progress: Progress,
) -> Verification:
    """Walk forward over the store and judge what was forecast from `start` to `end`.

    Outcomes may be known later than `end`. Raises UnknownName, BadInput, Refused or MissingData where that can't be done.
    """
    chosen = replace(settings, models=None if models is None else tuple(models))
    names = model_names(chosen)
    first, last = start or settings.first_test, end or last_known(store)
    if first > last:
        raise BadInput(f"The first day to forecast ({first:%Y-%m-%d}) is after the last ({last:%Y-%m-%d}).")
    progress("building features", 0, 0)
    return verify_on(prepare(store, chosen, last_known(store)), chosen, names, first, last, progress)


def verify_on(
    data: Dataset, settings: TrainSettings, names: Sequence[str], first: pd.Timestamp, last: pd.Timestamp, progress: Progress
) -> Verification:
    """Walk forward over rows already prepared and judge the forecasts of `first` to `last`."""
    folds = usable(quarters(first, last), data.outcomes)
    walks = walk_all(data, settings, names, folds, progress)
    spans = {name: walk.probabilities.loc[first:last] for name, walk in walks.items()}
    rows = with_nulls(judge(spans, data, settings, names), data, settings, folds, (first, last), progress)
    return Verification(rows, table(spans, data, names), describe(folds, data.outcomes))


def with_nulls(
    rows: list[dict[str, Any]],
    data: Dataset,
    settings: TrainSettings,
    folds: Sequence[Fold],
    span: tuple[pd.Timestamp, pd.Timestamp],
    progress: Progress,
) -> list[dict[str, Any]]:
    """The rows with p-values by refitting: of the hazard those of every rotation, of other models None."""
    found: dict[int, dict[str, Any]] = {}
    if any(row["model"] == REFITTED for row in rows):
        progress("null by refitting", 0, 0)
        found = dict(zip(settings.horizons, nulls(data, settings, folds, span), strict=False))
    return [row | (NO_NULLS if row["model"] != REFITTED else found.get(row["horizon"], NO_NULLS)) for row in rows]


def nulls(
    data: Dataset, settings: TrainSettings, folds: Sequence[Fold], span: tuple[pd.Timestamp, pd.Timestamp]
) -> list[dict[str, Any]]:
    """Fields of each horizon; none where the rows are too few to rotate."""
    spec = MODELS[REFITTED]
    model, inputs = spec.make(settings.outcome, settings.rise), data.X[list(spec.columns)]
    shift = shift_null(model, inputs, data.outcomes, folds, span)
    claim = claim_null(model, inputs, data.outcomes, folds, span)
    return [
        {
            "null_p": skill.p,
            "null": plain(asdict(skill)),
            "auc_null_p": ranks.p,
            "claim_null_p": added.p,
            "claim_null": plain(asdict(added)),
        }
        for (skill, ranks), added in zip(shift, claim, strict=False)
    ]


def model_names(settings: TrainSettings) -> list[str]:
    """The models asked for, or all that can forecast this outcome. Raises UnknownName, or Refused where one can't."""
    if settings.models is None:
        return [name for name, spec in MODELS.items() if settings.outcome in spec.kinds]
    for name in settings.models:
        if name not in MODELS:
            raise UnknownName("model", name, MODELS)
        MODELS[name].make(settings.outcome, settings.rise)
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
    """Walk forward with every model named and every baseline; `draws` go to the models that refit as one array."""
    walks = {}
    every = with_baselines(names, settings)
    for done, name in enumerate(every):
        progress(f"walk-forward: {name}", done, len(every))
        walks[name] = walk(MODELS[name], data, settings, folds, draws)
    progress("walk-forward", len(every), len(every))
    return walks


def walk(spec: ModelSpec, data: Dataset, settings: TrainSettings, folds: Sequence[Fold], draws: Draws | None) -> WalkForward:
    """Walk forward with one model on the columns it reads."""

    def make() -> HorizonModel:
        return spec.make(settings.outcome, settings.rise)

    kept = draws if isinstance(make(), BatchedModel) else None
    return forecast(make, data.X[list(spec.columns)], data.outcomes, folds, draws=kept)


def judge(
    forecasts: Mapping[str, pd.DataFrame], data: Dataset, settings: TrainSettings, names: Sequence[str]
) -> list[dict[str, Any]]:
    """One row a model and horizon, on the days all models have forecast and whose outcome is known.

    forecasts: days × horizons of every model and baseline.
    """
    return [row for days in settings.horizons for row in judge_horizon(forecasts, data, settings, names, days)]


def judge_horizon(
    forecasts: Mapping[str, pd.DataFrame], data: Dataset, settings: TrainSettings, names: Sequence[str], days: int
) -> list[dict[str, Any]]:
    """Rows of one horizon."""
    together = pd.DataFrame({name: frame[days] for name, frame in forecasts.items()})
    together["outcome"] = data.outcomes.events[days]
    together = together.dropna()
    outcome = together.pop("outcome").to_numpy()
    probabilities = {name: together[name].to_numpy() for name in forecasts}
    references = reference_losses(probabilities, outcome)
    onset = (data.X["rise_from_low"].reindex(together.index) < ONSET_RISE).to_numpy()
    return [
        {"model": name, "horizon": days, **scored(probabilities[name], outcome, references, onset, days, settings.seed)}
        for name in names
    ]


def reference_losses(probabilities: Mapping[str, Floats], outcome: Floats) -> dict[str, Floats]:
    """Brier losses (n,) of the three baselines: the better of two random walks, climatology where there is none."""
    walks = [brier_losses(probabilities[name], outcome) for name in RANDOM_WALKS if name in probabilities]
    climatology = brier_losses(probabilities[CLIMATOLOGY], outcome)
    return {
        "climatology": climatology,
        "random_walk": min(walks, key=np.sum, default=climatology),
        "momentum": brier_losses(probabilities[MOMENTUM], outcome),
    }


def scored(
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
        "block": block_length(climate - loss, days),
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
    step = weeks_of(days)
    each = [skill(loss[offset::step], reference[offset::step]) for offset in range(min(step, len(loss)))]
    known = [value for value in each if not np.isnan(value)]
    if not known:
        return dict.fromkeys(("mean", "low", "high"), np.nan)
    return {"mean": float(np.mean(known)), "low": min(known), "high": max(known)}


def plain(value: Any) -> Any:
    """Numbers as Python's own, NaN as None, through any dict."""
    if isinstance(value, dict):
        return {key: plain(item) for key, item in value.items()}
    if isinstance(value, float | np.floating):
        return float(value) if np.isfinite(value) else None
    return value


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
