"""Trainings on a small simulated market, and where their runs are kept."""

from pathlib import Path

import pandas as pd
from small_market import small_market

from training.settings import TrainSettings
from training.tracking import TrackingPlace
from training.training_job import TrainingJob
from training.walk_forward import quarters, usable

SETTINGS = TrainSettings(first_test=pd.Timestamp("2023-01-01"), models=("pool", "logit", "momentum"), draws=20, rotations=40)


def place_in(home: Path) -> TrackingPlace:
    return TrackingPlace(f"sqlite:///{home / 'mlruns' / 'mlflow.db'}", home / "mlruns" / "artifacts", home)


def job(
    settings: TrainSettings = SETTINGS, *, seed: int = 1, until: str = "2024-09-30", signal: float = 0, stale: tuple[str, ...] = ()
) -> TrainingJob:
    data = small_market(settings, seed=seed, until=until, signal=signal)
    folds = usable(quarters(settings.first_test, data.until), data.outcomes)
    return TrainingJob(settings, data, folds, list(stale), pd.DataFrame({"name": ["breadth"], "block": ["breadth"]}))
