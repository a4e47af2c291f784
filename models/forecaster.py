"""What is saved: the final model, and the walk-forward models that answer for days it was trained past."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import pandas as pd
from numpy.typing import ArrayLike
from sklearn.base import BaseEstimator

from models.base import Floats, HorizonModel
from sources.errors import Refused


@dataclass(frozen=True)
class FoldModel:
    """A model fitted on what was known before `start`, and the span of days (both included) it answers for."""

    model: HorizonModel
    start: pd.Timestamp
    end: pd.Timestamp


class Forecaster(BaseEstimator):
    """A fitted model with the fold models of its walk-forward; build it with `assemble`.

    `model_` is the final model and answers `predict`; `fold_models_`, `fold_starts_` and `fold_ends_` (ISO days) are one a fold.
    """

    def predict(self, X: ArrayLike) -> Floats:
        """Probabilities (n, K) of the final model."""
        return self.model_.predict(X)

    def model_for(
        self, as_of: pd.Timestamp, last_label_end: pd.Timestamp, *, in_sample: bool = False
    ) -> tuple[HorizonModel, int | None]:
        """The model that may answer for a day, and the position of its fold (None for the final model).

        Days after the last training outcome are the final model's; earlier ones belong to the fold that covers them
        (STATISTICS 1). Where none does, `in_sample` asks for the final model all the same; without it raises Refused.
        """
        if as_of > last_label_end:
            return self.model_, None
        fold = self._fold_covering(as_of)
        if fold is not None:
            return self.fold_models_[fold], fold
        if in_sample:
            return self.model_, None
        raise Refused(self._why_not(as_of, last_label_end))

    def _fold_covering(self, as_of: pd.Timestamp) -> int | None:
        begun = [fold for fold, start in enumerate(self.fold_starts_) if pd.Timestamp(start) <= as_of]
        latest = max(begun, key=lambda fold: pd.Timestamp(self.fold_starts_[fold]), default=None)
        return latest if latest is not None and as_of <= pd.Timestamp(self.fold_ends_[latest]) else None

    def _why_not(self, as_of: pd.Timestamp, last_label_end: pd.Timestamp) -> str:
        spans = f"they cover {min(self.fold_starts_)} to {max(self.fold_ends_)}" if self.fold_starts_ else "there are none"
        return (
            f"The champion learnt from outcomes up to {last_label_end:%Y-%m-%d}, so it can't forecast {as_of:%Y-%m-%d}, and none "
            f"of its walk-forward models does ({spans}). `score --in-sample` shows the fitted value."
        )


def assemble(model: HorizonModel, folds: Sequence[FoldModel]) -> Forecaster:
    """A Forecaster of a fitted final model and its fitted fold models."""
    forecaster: Any = Forecaster()
    forecaster.model_ = model
    forecaster.fold_models_ = [fold.model for fold in folds]
    forecaster.fold_starts_ = [f"{fold.start:%Y-%m-%d}" for fold in folds]
    forecaster.fold_ends_ = [f"{fold.end:%Y-%m-%d}" for fold in folds]
    return forecaster
