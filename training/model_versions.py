"""Models in MLflow: saved with a run, registered as versions of their target's model, and named by the aliases."""

from collections.abc import Mapping
from dataclasses import dataclass
from importlib.metadata import version as installed_version
from typing import Any

import pandas as pd

from core.errors import NoChampion
from core.target import ALTCOINS, Target
from models.catalog import MODELS
from models.champion import CHAMPION, FORECASTS_FILE, MODEL_FILE, champion_version, stored_file, table_of, unless_deleted
from models.forecaster import ANSWER_COLUMNS, QUESTION_COLUMNS
from models.law_model import LawModel
from models.metric_names import current_name
from models.saving import TRUSTED_TYPES, digest
from training.leaderboard import role_of
from training.records import ModelRecord
from training.tracking import Tracker

REQUIREMENTS = ("numpy", "scipy", "pandas", "scikit-learn", "joblib", "skops")
ABOUT = (
    "The probability of this event: {name}, within {days} days. `champion` scores; `challenger` is the best other model of the "
    "last training. A version tagged `unproven` has shown no skill."
)


@dataclass(frozen=True)
class ModelVersion:
    """A version of a registered model, and the run that made it. Each target has one registered model, called `name`."""

    version: str
    run_id: str
    tags: Mapping[str, str]
    name: str = ALTCOINS.registered_model


@dataclass(frozen=True)
class SavedModel:
    """A model saved in MLflow: its address and id, the id of its run, and the SHA-256 of its file."""

    uri: str
    model_id: str
    run_id: str
    sha256: str


def save_model(tracker: Tracker, run_id: str, record: ModelRecord) -> SavedModel:
    """Save a model with its run, under its own name."""
    import mlflow

    with mlflow.start_run(run_id=run_id, nested=True, log_system_metrics=False):
        info = mlflow.sklearn.log_model(
            record.forecaster,
            name=record.card.model,
            serialization_format="skops",
            skops_trusted_types=TRUSTED_TYPES,
            pip_requirements=[f"{name}=={installed_version(name)}" for name in REQUIREMENTS],
            signature=signature_of(record),
            pyfunc_predict_fn="predict_proba",
            input_example=record.inputs.head(2),
        )
    with stored_file(info.artifact_path, MODEL_FILE, tracker.place.home, tracker.place.uri) as file:
        return SavedModel(info.model_uri, info.model_id, run_id, digest(file))


def signature_of(record: ModelRecord) -> Any:
    """MLflow signature of a model; one with a law of prices also accepts columns for another `rise` or number of `days`."""
    from mlflow.models import infer_signature
    from mlflow.types import ColSpec, Schema

    signature = infer_signature(record.inputs)
    signature.outputs = Schema([ColSpec(kind, name) for name, kind in ANSWER_COLUMNS.items()])
    if isinstance(record.forecaster.model_, LawModel):
        optional = [ColSpec("double", name, required=False) for name in QUESTION_COLUMNS]
        signature.inputs = Schema([*signature.inputs.inputs, *optional])
    return signature


def require_registered_model(tracker: Tracker, target: Target) -> None:
    """Create the registered model of a target if it doesn't exist."""
    from mlflow.exceptions import MlflowException

    try:
        about = ABOUT.format(name=target.name, days=", ".join(map(str, target.horizons)))
        tracker.client.create_registered_model(target.registered_model, description=about)
    except MlflowException as error:
        if error.error_code != "RESOURCE_ALREADY_EXISTS":
            raise


def register_all(
    tracker: Tracker, models: Mapping[str, ModelRecord], saved: Mapping[str, SavedModel], lead: str
) -> dict[str, ModelVersion]:
    """Register every saved model; return the versions by model. The leading one is last, so that MLflow shows it as the latest."""
    require_registered_model(tracker, models[lead].card.target)
    order = sorted(models, key=lambda name: (name == lead, not MODELS[name].baseline))
    versions = {name: register(tracker, models[name], saved[name]) for name in order}
    return {name: versions[name] for name in models}


def register(tracker: Tracker, record: ModelRecord, saved: SavedModel) -> ModelVersion:
    """Register a saved model as a version of its target's registered model, with the SHA-256 of its file as a tag."""
    card = record.card
    about = {"label": card.label, "market": card.market, "snapshot": card.snapshot, "trained_as_of": card.trained_as_of}
    tags = {**record.tags, **about, "standing": role_of(card.model), "sha256": saved.sha256}
    version = tracker.client.create_model_version(
        card.target.registered_model,
        saved.uri,
        run_id=saved.run_id,
        tags=tags,
        description=f"{card.model}, trained on what was known by {card.trained_as_of}.\n\n{record.description}",
        model_id=saved.model_id,
    )
    return ModelVersion(str(version.version), saved.run_id, tags, version.name)


def champion(tracker: Tracker, target: Target) -> ModelVersion | None:
    """The champion of a target; None if there is none."""
    return champion_named(tracker, target.registered_model)


def champion_named(tracker: Tracker, name: str) -> ModelVersion | None:
    """The champion of a registered model; None if there is none, or if its run was deleted permanently."""
    current = aliased_champion(tracker, name)
    return current if current is None or unless_deleted(tracker.client.get_run, current.run_id) else None


def aliased_champion(tracker: Tracker, name: str) -> ModelVersion | None:
    """The champion of a registered model, even if its run was deleted; None if there is none."""
    try:
        return model_version(champion_version(tracker.client, name))
    except NoChampion:
        return None


def model_version(version: Any) -> ModelVersion:
    """A version, from MLflow's own object."""
    return ModelVersion(str(version.version), version.run_id, dict(version.tags), version.name)


def version_of(tracker: Tracker, run_id: str) -> ModelVersion | None:
    """The version that a run registered; None if there is none."""
    versions = tracker.client.search_model_versions(f"run_id = '{run_id}'")
    return model_version(versions[0]) if versions else None


def set_alias(tracker: Tracker, alias: str, version: ModelVersion) -> None:
    """Move an alias to a version, and show that in MLflow's pages: as tags of versions and runs, and in the model's description."""
    before = {name: str(number) for name, number in tracker.client.get_registered_model(version.name).aliases.items()}
    tracker.client.set_registered_model_alias(version.name, alias, version.version)
    former = before.get(alias)
    if former is not None and former not in [version.version, *(before[name] for name in before if name != alias)]:
        mark(tracker, model_version(tracker.client.get_model_version(version.name, former)), f"former {alias}")
    mark(tracker, version, alias)
    if alias == CHAMPION:
        describe_champion(tracker, version)


def mark(tracker: Tracker, version: ModelVersion, standing: str) -> None:
    """Set the tag `standing` of a version and of its run, unless the run was deleted."""
    tag_version(tracker, version, {"standing": standing})
    run = unless_deleted(tracker.client.get_run, version.run_id)
    if run is not None and run.info.lifecycle_stage == "active":
        tracker.client.set_tag(version.run_id, "standing", standing)


def describe_champion(tracker: Tracker, version: ModelVersion) -> None:
    """Name the champion in the first line of the registered model's description."""
    model, day = (version.tags.get(name, "unknown") for name in ("model", "trained_as_of"))
    headline = f"**Champion: version {version.version}, {model}**, trained on what was known by {day}."
    about = tracker.client.get_registered_model(version.name).description or ""
    rest = about.partition("\n\n")[2] if about.startswith("**Champion: ") else about
    tracker.client.update_registered_model(version.name, f"{headline}\n\n{rest}")


def tag_version(tracker: Tracker, version: ModelVersion, tags: Mapping[str, str]) -> None:
    """Set tags of a version."""
    for name, value in tags.items():
        tracker.client.set_model_version_tag(version.name, version.version, name, value)


def forecasts_of(tracker: Tracker, run_id: str) -> pd.DataFrame:
    """Out-of-sample forecasts of a run, a table: as_of, horizon, model, probability, climatology, outcome."""
    return table_of(tracker.client, tracker.place.home, tracker.place.uri, run_id, FORECASTS_FILE)


def metrics_of(tracker: Tracker, run_id: str) -> dict[str, float]:
    """Metrics of a run by their current names, whichever version of altrally logged it."""
    return {current_name(name): value for name, value in tracker.client.get_run(run_id).data.metrics.items()}
