"""What is saved: the final model, and the walk-forward models that answer for days it was trained past."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd
from sklearn.base import BaseEstimator

from core.arrays import Floats
from core.errors import BadInput, Refused
from models.base import HorizonModel


@dataclass(frozen=True)
class FoldModel:
    """A model fitted on what was known before `start`, and the span of days (both included) it answers for."""

    model: HorizonModel
    start: pd.Timestamp
    end: pd.Timestamp


RISE, DAYS = QUESTION_COLUMNS = "rise", "days"
"""Optional columns of a served request: another rise (0.3 is 30 %), and a horizon in days."""


class Forecaster(BaseEstimator):
    """A fitted model with the fold models of its walk-forward; build it with `assemble`.

    `model_` is the final model and answers `predict`; `fold_models_`, `fold_starts_` and `fold_ends_` (ISO days) are one a fold.
    `neutral_` are the positions of columns that are read as 0 where they are missing.
    """

    def predict(self, X: Any) -> Floats:
        """Probabilities (n, K) of the final model; of rows that ask for their own `days` (n, 1).

        A table may hold the columns `rise` and `days`, where the model has a law: another rise, another horizon, row by row. Raises
        Refused where it has none, BadInput where only some rows ask for days.
        """
        columns = [name for name in QUESTION_COLUMNS if name in getattr(X, "columns", ())]
        inputs = self._neutral_filled(X.drop(columns=columns) if columns else X)
        questions = X[columns].dropna(axis=1, how="all") if columns else None
        if questions is None or questions.empty:
            return self.model_.predict(inputs)
        return answer_requests(self.model_, inputs, questions)

    def model_for(
        self, as_of: pd.Timestamp, last_label_end: pd.Timestamp, *, in_sample: bool = False
    ) -> tuple[HorizonModel, int | None]:
        """The model that may answer for a day, and the position of its fold (None for the final model).

        Days after the last training outcome are the final model's; earlier ones belong to the fold that covers them
        (STATISTICS 1). Where none does, `in_sample` asks for the final model all the same; without it raises Refused.
        """
        if as_of > last_label_end:
            return self.model_.at(as_of), None
        fold = self._fold_covering(as_of)
        if fold is not None:
            return self.fold_models_[fold].at(as_of), fold
        if in_sample:
            return self.model_, None
        raise Refused(self._why_not(as_of, last_label_end))

    def _neutral_filled(self, X: Any) -> Any:
        """The inputs with 0 where a composite is missing, as `score` reads it."""
        positions = list(getattr(self, "neutral_", []))  # a model saved by an earlier version has none
        if isinstance(X, pd.DataFrame):
            return X.fillna({X.columns[position]: 0.0 for position in positions})
        filled = np.array(X, dtype=np.float64)
        if filled.ndim == 2:
            filled[:, positions] = np.where(np.isnan(filled[:, positions]), 0.0, filled[:, positions])
        return filled

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


def answer_requests(model: HorizonModel, inputs: Any, questions: pd.DataFrame) -> Floats:
    """Probabilities (n, K) for rows that each ask for their own rise, or (n, 1) where they also ask for their own days."""
    if DAYS in questions and questions[DAYS].isna().any():
        raise BadInput("Some rows ask for `days` and others don't: give each row its days, or none.")
    requests = questions.reindex(columns=list(QUESTION_COLUMNS)).astype(np.float64).reset_index(drop=True)
    parts = []
    for _, rows in requests.groupby(list(QUESTION_COLUMNS), dropna=False):
        rise, days = rows.iloc[0]
        asked_model = model.for_question(None if np.isnan(rise) else float(rise), None if np.isnan(days) else (int(days),))
        parts.append(pd.DataFrame(asked_model.predict(inputs.iloc[rows.index]), rows.index))
    return np.asarray(pd.concat(parts).sort_index())


def assemble(model: HorizonModel, folds: Sequence[FoldModel], neutral: Sequence[int] = ()) -> Forecaster:
    """A Forecaster of a fitted final model and its fitted fold models; `neutral` columns are read as 0 where missing."""
    forecaster: Any = Forecaster()
    forecaster.neutral_ = [int(position) for position in neutral]
    forecaster.model_ = model
    forecaster.fold_models_ = [fold.model for fold in folds]
    forecaster.fold_starts_ = [f"{fold.start:%Y-%m-%d}" for fold in folds]
    forecaster.fold_ends_ = [f"{fold.end:%Y-%m-%d}" for fold in folds]
    return forecaster
