"""Records of a training and of each of its models: the content that is logged to MLflow, or stored in the outbox until then."""

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
from models.forecaster import Forecaster, ServedLabels, assemble
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

    `inputs` are example rows; `rotations` its scores after every shift, about `independent` of them independent; `judged` the
    samples of all models by horizon (days). `every_picture` adds the figures beyond forecasts and reliability; `texts` are file
    contents by name.
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
    """Content of the parent run of a training: `tables` by file name, and `inputs`, the data set that was read.

    `verification` holds the rows of all models.
    """

    name: str
    params: Mapping[str, Any]
    tags: Mapping[str, str]
    tables: Mapping[str, pd.DataFrame]
    inputs: pd.DataFrame
    description: str = ""
    verification: Sequence[Mapping[str, Any]] = ()


def model_record(job: TrainingJob, model: TrainedModel, trial: int, total_trials: int) -> ModelRecord:
    """Record of one model, trial number `trial` of `total_trials`."""
    card, row = make_card(job, model, total_trials), headline_row(model)
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
            model.final,
            model.walk.models,
            neutral=[position for position, name in enumerate(model.columns) if name in COMPOSITES],
            labels=ServedLabels(job.settings.rise, card.horizons, card.market, card.skill["evidence"]["grade"]),
        ),
        inputs=job.data.X[model.columns].tail(100),
        forecasts=model.forecasts,
        params={"model": model.name, "columns": ", ".join(model.columns), "draws": job.settings.draws, **model.final.get_params()},
        metrics={
            name: value
            for verification in [row, *(other for other in model.rows if other is not row)]  # MLflow lists the first ones first
            for name, value in row_metrics(verification, judged=verification is row).items()
        },
        tags=tags,
        texts=coefficients(job, model),
        description=description(job, model, card),
        rotations=rotation_table(model.nulls, job.settings.horizons),
        independent=0 if model.nulls is None or model.nulls.shift is None else model.nulls.shift.independent,
        judged=model.judged,
    )


def description(job: TrainingJob, model: TrainedModel, card: Card) -> str:
    """Description of a model for MLflow: skill, training data, inputs and limits."""
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
    """Table with a row per null ("shift" or "claim"), shift and horizon: skill, auc, brier; a shift of 0 is the true dates."""
    by_name = {} if nulls is None else {"shift": nulls.shift, "claim": nulls.claim}
    parts = [shifted.table(horizons).assign(null=name) for name, shifted in by_name.items() if shifted is not None]
    columns = ["null", "shift", "horizon", "skill", "auc", "brier"]
    return pd.concat(parts, ignore_index=True)[columns] if parts else pd.DataFrame(columns=columns)


def coefficients(job: TrainingJob, model: TrainedModel) -> dict[str, str]:
    """Text with the coefficients and standard errors of a hazard, passage or pool, by file name; or the reason why there is
    none."""
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
    """Metrics of a verification row for MLflow: 60d/skill_vs_volatility with _low and _high, 60d/brier, and so on.

    A file of the training holds the whole row. Only the horizon judged has p-values: promotion reads them.
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


def training_record(job: TrainingJob, total_trials: int, trained: Sequence[TrainedModel]) -> TrainingRecord:
    """Record of a training as a whole; its tags are also set on each model's run."""
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
        tags={
            "family": job.family,
            "trials": str(total_trials),
            "label": settings.label,
            "market": data.market,
            "snapshot": data.snapshot,
            "trained_as_of": f"{data.until:%Y-%m-%d}",
            "code_version": code_version(),
        },
        tables={"folds.csv": describe(job.folds, data.outcomes), "features.csv": job.catalogue},
        inputs=data.X,
        description=f"{len(trained)} models of {settings.label} on the {data.market} market; "
        f"{total_trials} tries were counted so far.",
        verification=[row for model in trained for row in model.rows],
    )
