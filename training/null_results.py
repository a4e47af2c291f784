"""Null results of each model, and the fields of a verification row that hold them."""

import hashlib
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor, as_completed
from dataclasses import asdict, dataclass
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
from training.null_tests import Kept, NullDistribution, ShiftedSkill, Span, claim_null, shift_null
from training.settings import TrainSettings, configuration
from training.tracking import code_version
from training.walk_forward import Fold

SPACED = 39
"""Rotations of a model that can't be refitted in batches (STATISTICS 12): its p-values are never below 1/40."""

THREADS = 2
POOL = "pool"
NO_NULLS: dict[str, Any] = dict.fromkeys(("null_p", "null", "auc_null_p", "claim_null_p", "claim_null"))


@dataclass(frozen=True)
class NullResults:
    """One model on every rotation of outcomes, and of the claim's inputs; None where it can't be rotated."""

    shift: ShiftedSkill | None
    claim: ShiftedSkill | None

    def of_expert(self, name: str) -> "NullResults":
        """Those of an expert of this pool; only one that reads composites says anything of the claim."""
        reads_claim = not set(MODELS[name].columns).isdisjoint(CLAIM)
        return NullResults(
            None if self.shift is None else self.shift.experts[name],
            None if self.claim is None or not reads_claim else self.claim.experts[name],
        )


@dataclass(frozen=True)
class Walk:
    """The walk-forward whose forecasts are judged: its rows, settings, folds and the days judged."""

    data: Dataset
    settings: TrainSettings
    folds: Sequence[Fold]
    span: Span


def null_results(names: Sequence[str], walk: Walk, progress: Progress, *, kept: Path | None = None) -> dict[str, NullResults]:
    """Every model refitted on every rotation.

    Models that can't be refitted in batches are left out, or with a folder `kept` refitted on `SPACED` rotations, each remembered
    there so that an interrupted job goes on where it was.
    """
    quick = [name for name in names if is_batched(name, walk.settings)]
    inside = experts_inside(quick, walk.settings)
    # A large model that starts last would keep one core waiting.
    largest_first = sorted((name for name in quick if name not in inside), key=lambda name: -len(MODELS[name].columns))
    with ThreadPoolExecutor(THREADS) as pool:
        jobs = {
            pool.submit(null, *rotation_job(name, walk), most=walk.settings.rotations): (name, null)
            for name in largest_first
            for null in (shift_null, claim_null)
        }
        results = {}
        for done, job in enumerate(as_completed(jobs)):
            name, null = jobs[job]
            progress(f"null by refitting: {name}", len(quick) * (done + 1) // len(jobs), len(names))
            results[name, null] = job.result()
    found = {name: NullResults(results[name, shift_null], results[name, claim_null]) for name in largest_first}
    found |= {name: found[POOL].of_expert(name) for name in inside}
    if kept is not None:
        for done, name in enumerate(name for name in names if name not in quick):
            progress(f"null by refitting: {name}, {SPACED} rotations", len(quick) + done, len(names))
            found[name] = remembered_null_results(name, walk, kept)
    return {name: found[name] for name in names if name in found}


def experts_inside(names: Sequence[str], settings: TrainSettings) -> list[str]:
    """Those of the models that a pool among them refits on every rotation anyway, as its experts."""
    if POOL not in names:
        return []
    pool = MODELS[POOL].for_target(settings.target)
    inside = pool.models_inside() if isinstance(pool, Pool) else {}
    alone = {name: MODELS[name].for_target(settings.target) for name in names if name in inside}
    return [name for name, model in alone.items() if model.get_params() == inside[name].get_params()]


def is_batched(name: str, settings: TrainSettings) -> bool:
    """Whether every rotation of a model can be refitted at once."""
    return isinstance(MODELS[name].for_target(settings.target), BatchedModel)


def rotation_job(name: str, walk: Walk) -> tuple[Any, ...]:
    """What a null test of a model takes: how to make it, its inputs, outcomes, folds and the days judged."""
    spec, data = MODELS[name], walk.data
    return partial(spec.for_target, walk.settings.target), data.X[list(spec.columns)], data.outcomes, walk.folds, walk.span


def remembered_null_results(name: str, walk: Walk, kept: Path) -> NullResults:
    """A model that can't be refitted in batches on `SPACED` rotations, each remembered in the folder `kept`."""
    job, folder = rotation_job(name, walk), kept / rotations_key(name, walk)
    return NullResults(
        shift_null(*job, most=SPACED, kept=KeptFiles(folder / "outcomes")),
        claim_null(*job, most=SPACED, kept=KeptFiles(folder / "claim")),
    )


def rotations_key(name: str, walk: Walk) -> str:
    """Names a model, its data and its span: what was refitted for one says nothing of another."""
    span = f"{walk.span[0]:%Y%m%d}-{walk.span[1]:%Y%m%d}"
    return f"{name}-{configuration_of(name, walk.settings)}-{content_of(name, walk.data)}-{code_version()}-{span}"


def content_of(name: str, data: Dataset) -> str:
    """16 hex digits of what a model reads and learns: a formula may change and leave the snapshot as it is."""
    read = data.X[list(MODELS[name].columns)]
    frames = (read, data.outcomes.events, data.outcomes.known)
    numbers = pd.concat([pd.util.hash_pandas_object(frame) for frame in frames])
    return hashlib.sha256(numbers.to_numpy().tobytes()).hexdigest()[:16]


def configuration_of(name: str, settings: TrainSettings) -> str:
    """The hash of a model of the catalogue under these settings."""
    spec = MODELS[name]
    return configuration(name, spec.for_target(settings.target).get_params(), spec.columns, settings)


class KeptFiles(Kept):
    """Forecasts by shift, one file each, written whole or not at all."""

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
    rows: Sequence[Mapping[str, Any]], found: Mapping[str, NullResults], settings: TrainSettings, tried: TrialHistory
) -> list[dict[str, Any]]:
    """Verification rows with the p-values of each model alone, how much was tried, and the p-value as the best of it.

    best_of_n_p is superior predictive ability over what was judged together here; `unjudged` configurations that asked the same
    question before aren't among them, and are counted in `trials`.
    """
    own = {configuration_of(name, settings) for name in [*dict.fromkeys(row["model"] for row in rows), *found]}
    together = {"trials": max(tried.trials, PRIOR_TRIALS + len(own)), "unjudged": tried.other_configurations(own)}
    return [
        {**row, **together, **null_fields(found.get(row["model"]), settings.horizons.index(row["horizon"]))}
        | {"best_of_n_p": row["spa_p"]}
        for row in rows
    ]


def null_fields(chance: NullResults | None, k: int) -> dict[str, Any]:
    """The p-values of one model at horizon number k; None where it wasn't refitted on rotations."""
    fields = dict(NO_NULLS)
    if chance is None:
        return fields
    if chance.shift is not None:
        null = chance.shift.null(chance.shift.skill, k)
        fields |= {"null_p": null.p, "null": null_summary(null), "auc_null_p": chance.shift.null(chance.shift.auc, k).p}
    if chance.claim is not None:
        claim = chance.claim.null(chance.claim.skill, k)
        fields |= {"claim_null_p": claim.p, "claim_null": null_summary(claim)}
    return fields


def null_summary(null: NullDistribution) -> dict[str, Any]:
    """As plain numbers."""
    fields: dict[str, Any] = plain(asdict(null))
    return fields
