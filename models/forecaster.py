"""What is saved: the final model, and the walk-forward models that answer for days it was trained past."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd
from sklearn.base import BaseEstimator

from core.arrays import Floats, Ints
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


ANSWER_COLUMNS = {
    "record": "long",
    "days": "long",
    **dict.fromkeys(("rise", "probability", "low", "high", "base_rate"), "double"),
    "market": "string",
    "evidence": "string",
}
"""Columns of a served answer, with MLflow's names of their types."""


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
        inputs, questions = self._inputs_and_questions(X)
        if questions is None:
            return self.model_.predict(inputs)
        parts = [
            pd.DataFrame(model.predict(inputs.iloc[rows]), rows) for rows, _, model in models_by_question(self.model_, questions)
        ]
        return np.asarray(pd.concat(parts).sort_index())

    def predict_proba(self, X: Any) -> pd.DataFrame:
        """The served answer to what `predict` takes, one row a record and horizon.

        record (its number from 0), days, rise, probability, low and high (its 90 % interval: parameter uncertainty only; NaN where
        the model was saved without refits), base_rate, market, and evidence, the grade at training. MLflow serves a method of this
        name. Raises as `predict` does.
        """
        inputs, questions = self._inputs_and_questions(X)
        if questions is None:
            questions = pd.DataFrame(index=range(len(inputs)), columns=list(QUESTION_COLUMNS), dtype=np.float64)
        parts = []
        for rows, (rise, days), model in models_by_question(self.model_, questions):
            part = inputs.iloc[rows] if isinstance(inputs, pd.DataFrame) else inputs[rows]
            horizons = self.horizons_ if days is None else [days]
            probability = model.predict(part)
            low, high = model.interval(part) if model.has_interval else np.full((2, *probability.shape), np.nan)
            grid = {"record": np.repeat(rows, len(horizons)), "days": np.tile(horizons, len(rows))}
            values = {"probability": probability.ravel(), "low": low.ravel(), "high": high.ravel()}
            rates = np.tile(model.base_rates_, len(rows))
            parts.append(pd.DataFrame({**grid, "rise": self.rise_ if rise is None else rise, **values, "base_rate": rates}))
        table = pd.concat(parts, ignore_index=True).sort_values("record", kind="stable", ignore_index=True)
        return table.assign(market=self.market_, evidence=self.evidence_)[list(ANSWER_COLUMNS)]

    def _inputs_and_questions(self, X: Any) -> tuple[Any, pd.DataFrame | None]:
        """The columns the model reads, and what rows ask beside them; None where none asks anything."""
        columns = [name for name in QUESTION_COLUMNS if name in getattr(X, "columns", ())]
        inputs = self._neutral_filled(X.drop(columns=columns) if columns else X)
        questions = X[columns].dropna(axis=1, how="all") if columns else None
        return inputs, None if questions is None or questions.empty else questions

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


def models_by_question(
    model: HorizonModel, questions: pd.DataFrame
) -> Iterator[tuple[Ints, tuple[float | None, int | None], HorizonModel]]:
    """Positions of the rows that ask one question, its rise and days (None: the model's own), and the model that answers it."""
    if DAYS in questions and questions[DAYS].isna().any() and questions[DAYS].notna().any():
        raise BadInput("Some rows ask for `days` and others don't: give each row its days, or none.")
    requests = questions.reindex(columns=list(QUESTION_COLUMNS)).astype(np.float64).reset_index(drop=True)
    for _, rows in requests.groupby(list(QUESTION_COLUMNS), dropna=False):
        rise, days = (None if np.isnan(value) else value for value in rows.iloc[0])
        own = rise is None and days is None
        answering = model if own else model.for_question(rise, None if days is None else (int(days),))
        yield rows.index.to_numpy(), (rise, None if days is None else int(days)), answering


@dataclass(frozen=True)
class ServedLabels:
    """What a served answer says beside the numbers: the rise (0.3 is 30 %), the horizons in days, the market, the evidence."""

    rise: float = float("nan")
    horizons: Sequence[int] = ()
    market: str = ""
    evidence: str = ""


def assemble(
    model: HorizonModel, folds: Sequence[FoldModel], neutral: Sequence[int] = (), labels: ServedLabels = ServedLabels()
) -> Forecaster:
    """A Forecaster of a fitted final model and its fitted fold models; `neutral` columns are read as 0 where missing."""
    forecaster: Any = Forecaster()
    forecaster.rise_, forecaster.horizons_ = float(labels.rise), [int(days) for days in labels.horizons]
    forecaster.market_, forecaster.evidence_ = labels.market, labels.evidence
    forecaster.neutral_ = [int(position) for position in neutral]
    forecaster.model_ = model
    forecaster.fold_models_ = [fold.model for fold in folds]
    forecaster.fold_starts_ = [f"{fold.start:%Y-%m-%d}" for fold in folds]
    forecaster.fold_ends_ = [f"{fold.end:%Y-%m-%d}" for fold in folds]
    return forecaster
