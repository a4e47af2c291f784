"""Null results of each model, and the fields of a verification row that hold them."""

import hashlib
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor, as_completed
from dataclasses import asdict, dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from core.arrays import Floats
from core.json import plain
from core.progress import Progress
from evaluation.multiple_testing import PRIOR_TRIALS, TrialHistory
from models.base import BatchedModel
from models.catalog import CLAIM, MODELS
from models.pool import Pool
from training.dataset import Dataset
from training.null_tests import ForecastCache, NullTask, ShiftedSkill, Span, claim_null, climatology_after_shifts, shift_null
from training.settings import TrainSettings, configuration
from training.tracking import code_version
from training.walk_forward import Fold

SPACED = 39
"""Number of shifts for a model that can't be refitted in batches (STATISTICS 12): its p-values are never below 1/40."""

THREADS = 2
POOL = "pool"
NO_NULLS: dict[str, Any] = dict.fromkeys(("null_p", "null", "auc_null_p", "claim_null_p", "claim_null"))


@dataclass(frozen=True)
class NullResults:
    """Skill of one model after every shift of the outcomes, and after every shift of the claim's inputs; None where not
    possible."""

    shift: ShiftedSkill | None
    claim: ShiftedSkill | None

    def of_expert(self, name: str) -> "NullResults":
        """Null results of an expert of this pool; `claim` is None for an expert that reads no composite of the claim."""
        reads_claim = not set(MODELS[name].columns).isdisjoint(CLAIM)
        return NullResults(
            None if self.shift is None else self.shift.experts[name],
            None if self.claim is None or not reads_claim else self.claim.experts[name],
        )


@dataclass(frozen=True)
class Walk:
    """A walk-forward to test: its rows, settings, folds, and the first and last day that is judged."""

    data: Dataset
    settings: TrainSettings
    folds: Sequence[Fold]
    span: Span


def null_results(
    names: Sequence[str], walk: Walk, progress: Progress, *, cache_folder: Path | None = None
) -> dict[str, NullResults]:
    """Null results by model, from refits after every shift.

    Models that can't be refitted in batches are left out. With a `cache_folder` they are refitted after `SPACED` shifts, and each
    result is stored there, so that an interrupted job continues where it stopped.
    """
    batched = [name for name in names if isinstance(MODELS[name].for_target(walk.settings.target), BatchedModel)]
    experts = experts_inside(batched, walk.settings)
    # A large model that starts last would keep one core waiting.
    largest_first = sorted((name for name in batched if name not in experts), key=lambda name: -len(MODELS[name].columns))
    tasks = {name: null_task(name, walk) for name in largest_first}
    climatology = climatology_after_shifts(tasks[largest_first[0]], walk.settings.rotations) if tasks else None
    with ThreadPoolExecutor(THREADS) as pool:
        jobs = {
            pool.submit(null_test, replace(tasks[name], climatology=climatology), most=walk.settings.rotations): (name, null_test)
            for name in largest_first
            for null_test in (shift_null, claim_null)
        }
        results = {}
        for done, job in enumerate(as_completed(jobs)):
            name, null_test = jobs[job]
            progress(f"null by refitting: {name}", len(batched) * (done + 1) // len(jobs), len(names))
            results[name, null_test] = job.result()
    by_model = {name: NullResults(results[name, shift_null], results[name, claim_null]) for name in largest_first}
    by_model |= {name: by_model[POOL].of_expert(name) for name in experts}
    if cache_folder is not None:
        for done, name in enumerate(name for name in names if name not in batched):
            progress(f"null by refitting: {name}, {SPACED} rotations", len(batched) + done, len(names))
            by_model[name] = cached_null_results(name, walk, cache_folder)
    return {name: by_model[name] for name in names if name in by_model}


def experts_inside(names: Sequence[str], settings: TrainSettings) -> list[str]:
    """Names of the models that a pool in the list refits as its experts anyway; they need no refit of their own."""
    if POOL not in names:
        return []
    pool = MODELS[POOL].for_target(settings.target)
    experts = pool.models_inside() if isinstance(pool, Pool) else {}
    models = {name: MODELS[name].for_target(settings.target) for name in names if name in experts}
    return [name for name, model in models.items() if model.get_params() == experts[name].get_params()]


def null_task(name: str, walk: Walk) -> NullTask:
    """The null task of a catalogue model in a walk-forward."""
    spec, data = MODELS[name], walk.data
    make = partial(spec.for_target, walk.settings.target)
    return NullTask(make, data.X[list(spec.columns)], data.outcomes, walk.folds, walk.span)


def cached_null_results(name: str, walk: Walk, cache_folder: Path) -> NullResults:
    """Null results of a model that can't be refitted in batches, after `SPACED` shifts, each stored in `cache_folder`."""
    # Stored forecasts are valid only for the same configuration, data, code version and days.
    span = f"{walk.span[0]:%Y%m%d}-{walk.span[1]:%Y%m%d}"
    key = f"{name}-{configuration_of(name, walk.settings)}-{data_hash(name, walk.data)}-{code_version()}-{span}"
    task, folder = null_task(name, walk), cache_folder / key
    return NullResults(
        shift_null(task, most=SPACED, cache=ForecastFiles(folder / "outcomes")),
        claim_null(task, most=SPACED, cache=ForecastFiles(folder / "claim")),
    )


def data_hash(name: str, data: Dataset) -> str:
    """Hash (16 hex digits) of a model's inputs and outcomes; the snapshot doesn't change when a formula does."""
    inputs = data.X[list(MODELS[name].columns)]
    frames = (inputs, data.outcomes.events, data.outcomes.known)
    numbers = pd.concat([pd.util.hash_pandas_object(frame) for frame in frames])
    return hashlib.sha256(numbers.to_numpy().tobytes()).hexdigest()[:16]


def configuration_of(name: str, settings: TrainSettings) -> str:
    """Hash of a catalogue model with these settings."""
    spec = MODELS[name]
    return configuration(name, spec.for_target(settings.target).get_params(), spec.columns, settings)


class ForecastFiles(ForecastCache):
    """Forecasts by shift, one .npy file each; a file is written completely or not at all."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def __getitem__(self, shift: int) -> Floats:
        try:
            return np.load(self._file(shift))
        except (OSError, ValueError):
            raise KeyError(shift) from None

    def __setitem__(self, shift: int, forecasts: Floats) -> None:
        self.folder.mkdir(parents=True, exist_ok=True)
        unfinished = self._file(shift).with_suffix(".new")
        with unfinished.open("wb") as file:
            np.save(file, forecasts)
        unfinished.replace(self._file(shift))

    def __delitem__(self, shift: int) -> None:
        self._file(shift).unlink()

    def __iter__(self) -> Iterator[int]:
        return (int(file.stem) for file in self.folder.glob("*.npy"))

    def __len__(self) -> int:
        return sum(1 for _ in self)

    def _file(self, shift: int) -> Path:
        return self.folder / f"{shift}.npy"


def with_null_results(
    rows: Sequence[Mapping[str, Any]], nulls: Mapping[str, NullResults], settings: TrainSettings, history: TrialHistory
) -> list[dict[str, Any]]:
    """Verification rows with the null p-values of each model, the number of trials, and the p-value of being the best of N.

    best_of_n_p is the p-value of superior predictive ability over the models judged together here. Configurations tried earlier on
    the same question aren't among them: they are counted as `unjudged` and in `trials`.
    """
    own = {configuration_of(name, settings) for name in [*dict.fromkeys(row["model"] for row in rows), *nulls]}
    counts = {"trials": max(history.trials, PRIOR_TRIALS + len(own)), "unjudged": history.other_configurations(own)}
    return [
        {**row, **counts, **null_fields(nulls.get(row["model"]), settings.horizons.index(row["horizon"]))}
        | {"best_of_n_p": row["spa_p"]}
        for row in rows
    ]


def null_fields(nulls: NullResults | None, k: int) -> dict[str, Any]:
    """Null fields of a verification row of one model at horizon number k; None where it wasn't refitted after shifts."""
    fields = dict(NO_NULLS)
    if nulls is None:
        return fields
    if nulls.shift is not None:
        null = nulls.shift.null(nulls.shift.skill, k)
        fields |= {"null_p": null.p, "null": plain(asdict(null)), "auc_null_p": nulls.shift.null(nulls.shift.auc, k).p}
    if nulls.claim is not None:
        claim = nulls.claim.null(nulls.claim.skill, k)
        fields |= {"claim_null_p": claim.p, "claim_null": plain(asdict(claim))}
    return fields
