"""Everything that is kept of a training and of each of its models: what goes to MLflow, or waits in the outbox for it."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import pandas as pd

from core.number_format import interval
from evaluation.bootstrap import WIDENING
from evaluation.evidence import Grade
from evaluation.sample import EvaluationSample
from models.card import Card
from models.catalog import COMPOSITES, MODELS
from models.coefficients import hazard_table, slope_text
from models.forecaster import Forecaster, assemble
from models.metric_names import metric_name
from models.passage import Passage
from models.pool import Pool
from training.mlflow_view import HEADLINE_BASELINES, skill_tag
from training.model_card import make_card
from training.null_results import NullResults
from training.tracking import code_version
from training.training_job import TrainedModel, TrainingJob, closed_gates, headline_row
from training.walk_forward import describe

METRIC_DIGITS = 4
"""MLflow's tables print every digit; all of them are in the table of the training."""


@dataclass(frozen=True)
class ModelRecord:
    """One model of a training, to be logged as a child run and registered as a version.

    `inputs` are rows it can read; `rotations` what it scored on every rotation, about `independent` of which are; `judged` the
    forecasts of all models by horizon; `every_picture` asks for more than the forecasts and their reliability; `texts` go to files
    of their names.
    """

    card: Card
    forecaster: Forecaster
    inputs: pd.DataFrame
    forecasts: pd.DataFrame
    params: Mapping[str, Any]
    metrics: Mapping[str, float | None]
    tags: Mapping[str, str]
    rotations: pd.DataFrame
    independent: int
    judged: Mapping[int, EvaluationSample]
    every_picture: bool = False
    description: str = ""
    texts: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True)
class TrainingRecord:
    """What all models of a training share: `tables` go to files of their names, `inputs` name the data set that was read.

    `verification` are the rows of every model, kept with the parent run.
    """

    name: str
    params: Mapping[str, Any]
    tags: Mapping[str, str]
    tables: Mapping[str, pd.DataFrame]
    inputs: pd.DataFrame
    description: str = ""
    verification: Sequence[Mapping[str, Any]] = ()


def model_record(job: TrainingJob, model: TrainedModel, trial: int, tried: int) -> ModelRecord:
    """Everything to keep of one model, the `trial`-th of `tried` configurations."""
    card, row = make_card(job, model, tried), headline_row(model)
    tags = {
        "model": model.name,
        "configuration": model.configuration,
        "trial": str(trial),
        **{skill_tag(row["horizon"], name): interval(row[f"skill_{name}"]) for name in HEADLINE_BASELINES},
        "grade": card.skill["evidence"]["grade"],
        "unproven": str(card.skill["evidence"]["grade"] == Grade.NOT_SHOWN).lower(),
        "gates": "; ".join(closed_gates(job, model.columns)) or "pass",
    }
    return ModelRecord(
        card=card,
        forecaster=assemble(
            model.final, model.walk.models, [place for place, name in enumerate(model.columns) if name in COMPOSITES]
        ),
        inputs=job.data.X[model.columns].tail(100),
        forecasts=model.forecasts,
        params={"model": model.name, "columns": ", ".join(model.columns), "draws": job.settings.draws, **model.final.get_params()},
        metrics=metrics_by_headline(model),
        tags=tags,
        texts=coefficients(job, model),
        description=description(job, model, card),
        rotations=rotation_table(model.nulls, job.settings.horizons),
        independent=0 if model.nulls is None or model.nulls.shift is None else model.nulls.shift.independent,
        judged=model.judged,
    )


def description(job: TrainingJob, model: TrainedModel, card: Card) -> str:
    """What a reader of MLflow must know of a model: what it is worth, what it was trained on, what it reads, its limits."""
    span = f"{job.settings.start:%Y-%m-%d} to {card.last_label_end}"
    return "\n\n".join(
        [
            f"{MODELS[model.name].description} {card.skill['sentence']}",
            f"Forecasts {card.label} on the {card.market} market. Trained on outcomes from {span}, snapshot {card.snapshot}.",
            f"Reads {', '.join(card.columns)}.",
            "Intervals of its probabilities are parameter uncertainty only. Not investment advice.",
        ]
    )


def rotation_table(nulls: NullResults | None, horizons: Sequence[int]) -> pd.DataFrame:
    """One row a null ("shift" or "claim"), rotation and horizon: skill, auc, brier; the true dates have a shift of 0."""
    by_name = {} if nulls is None else {"shift": nulls.shift, "claim": nulls.claim}
    parts = [shifted.table(horizons).assign(null=name) for name, shifted in by_name.items() if shifted is not None]
    columns = ["null", "shift", "horizon", "skill", "auc", "brier"]
    return pd.concat(parts, ignore_index=True)[columns] if parts else pd.DataFrame(columns=columns)


def coefficients(job: TrainingJob, model: TrainedModel) -> dict[str, str]:
    """The table of coefficients with standard errors, by file name: of a hazard, a passage or a pool; or why there is none."""
    if isinstance(model.final, Passage | Pool) and model.final.parameters_ is not None:
        return {"coefficients.txt": slope_text(model.final, [name for name in model.columns if name in COMPOSITES])}
    if model.name != "hazard":
        return {}
    events = job.data.outcomes.events.dropna(how="all")
    inputs = job.data.X.loc[events.index, model.columns]
    try:
        return {"coefficients.txt": hazard_table(inputs, events.to_numpy(), horizons=job.settings.horizons).text}
    except ValueError as error:
        return {"coefficients.txt": str(error)}


def row_metrics(row: Mapping[str, Any], *, judged: bool) -> dict[str, float | None]:
    """A verification row as the metrics people compare: 60d/skill_vs_volatility with _low and _high, 60d/brier, and so on.

    All of the row is kept as a file of the training. Only the horizon judged has p-values: promotion reads them.
    """
    limits = {
        f"skill_vs_{name}{ending}": row[f"skill_{name}"][key]
        for name in HEADLINE_BASELINES
        for ending, key in (("", "value"), ("_low", "low"), ("_high", "high"))
    }
    scores = {name: row[name] for name in ("brier", "log_score", "auc")}
    p_values = {name: row[name] for name in ("null_p", "claim_null_p", "best_of_n_p")} if judged else {}
    short = {name: None if value is None else round(value, METRIC_DIGITS) for name, value in (limits | scores).items()}
    return {metric_name(row["horizon"], name): value for name, value in (short | p_values).items()}


def metrics_by_headline(model: TrainedModel) -> dict[str, float | None]:
    """Metrics of a model, those of the horizon judged first."""
    judged = headline_row(model)
    rows = [judged, *(row for row in model.rows if row is not judged)]
    return {name: value for row in rows for name, value in row_metrics(row, judged=row is judged).items()}


def training_record(job: TrainingJob, tried: int, trained: Sequence[TrainedModel]) -> TrainingRecord:
    """Everything to keep of a training as a whole; its tags go to every model too."""
    settings, data = job.settings, job.data
    return TrainingRecord(
        name=f"train {data.until:%Y-%m-%d}" + ("" if settings.target.is_default else f" {settings.target.name}"),
        params={
            "outcome": settings.outcome,
            "threshold": settings.target.threshold,
            "horizons": settings.horizons,
            "start": f"{settings.start:%Y-%m-%d}",
            "first_test": f"{job.folds[0].test_start:%Y-%m-%d}",
            "until": f"{data.until:%Y-%m-%d}",
            "seed": settings.seed,
            "widening": WIDENING,
        },
        tags=training_tags(job, tried),
        tables={"folds.csv": describe(job.folds, data.outcomes), "features.csv": job.catalogue},
        inputs=data.X,
        description=f"{len(trained)} models of {settings.label} on the {data.market} market; {tried} tries were counted so far.",
        verification=[row for model in trained for row in model.rows],
    )


def training_tags(job: TrainingJob, tried: int) -> dict[str, str]:
    """What tells a training from others, as tags of its runs."""
    return {
        "family": job.family,
        "trials": str(tried),
        "label": job.settings.label,
        "market": job.data.market,
        "snapshot": job.data.snapshot,
        "trained_as_of": f"{job.data.until:%Y-%m-%d}",
        "code_version": code_version(),
    }
