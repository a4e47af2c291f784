"""The forecast of a day: the champion's probabilities, their drivers and the evidence of skill.

This module can't see the outcome: base rates, skill and the draws behind the intervals come from what was saved at training.
"""

from dataclasses import asdict, dataclass, replace
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd

from core.errors import BadInput, GateClosed
from core.target import ALTCOINS, Target, judged_horizon, target_from_summary
from features.build import Matrix, matrix
from features.daily_table import daily_table
from features.registry import BLOCKS, FEATURES
from sources.quality import RECENT_COINS, coverage_by_month, freshness, last_known, require, require_coverage
from sources.series import COIN_PRICE
from sources.store import Store

if TYPE_CHECKING:  # scikit-learn is imported with the champion, while the features are built
    from models.champion import Champion

QUANTILES = (0.1, 0.25, 0.5, 0.75, 0.9)
MOST_DAYS = 730
"""The longest horizon in days that a question may have."""


@dataclass(frozen=True)
class HorizonForecast:
    """P(event within `days`), its 90 % interval (parameter uncertainty only) and the base rate known at training."""

    days: int
    probability: float
    low: float
    high: float
    base_rate: float


@dataclass(frozen=True)
class Driver:
    """Log-odds that a block of inputs adds to the probability at the judged horizon, against the training mean."""

    block: str
    contribution: float


@dataclass(frozen=True)
class Edge:
    """Parameters of the law behind a forecast, both daily: the tilt λ (a Sharpe ratio) and the volatility σ."""

    tilt: float
    volatility: float


@dataclass(frozen=True)
class HighestClose:
    """The highest close within `days`, as a rise over today's: P(rise ≥ x) at the curve's rises x, and its quantiles by level."""

    days: int
    probability: list[float]
    quantiles: dict[str, float]


@dataclass(frozen=True)
class Curve:
    """Distribution of the highest close by a model with a law: rises x, and the highest close of each horizon."""

    rises: list[float]
    horizons: list[HighestClose]


@dataclass(frozen=True)
class Score:
    """A forecast as issued; `to_dict` is the contract other programs read.

    `refit`: the first day forecast by the refit of the walk-forward that made this forecast, None for the final model; `edge` and
    `curve`: None where the model has no law; `question`: whether the rise or horizon is another than the champion's own;
    `configuration`: a name for all that decides the model's forecasts but data and code.
    """

    as_of: str
    market: str
    snapshot: str
    model: dict[str, Any]
    outcome: dict[str, Any]
    horizons: list[HorizonForecast]
    skill: dict[str, Any]
    drivers: list[Driver]
    neutral: list[str]
    in_sample: bool
    freshness: list[dict[str, Any]]
    refit: str | None = None
    edge: Edge | None = None
    curve: Curve | None = None
    question: bool = False
    configuration: str = ""
    coverage_warning: str | None = None
    coverage: str = ""

    @property
    def neutral_blocks(self) -> list[str]:
        """Names of missing inputs, which the model reads as neutral, without repetition."""
        return list(dict.fromkeys(self.neutral))

    @property
    def judged(self) -> HorizonForecast:
        """The forecast at the judged horizon."""
        days = judged_horizon([row.days for row in self.horizons])
        return next(row for row in self.horizons if row.days == days)

    @property
    def target(self) -> Target:
        """The target that is forecast."""
        return target_from_summary(self.outcome, [row.days for row in self.horizons])

    def to_dict(self) -> dict[str, Any]:
        """The forecast as lists and dicts."""
        return asdict(self)


def default_as_of(store: Store, now: pd.Timestamp) -> pd.Timestamp:
    """The last complete UTC day, or the last day on which the store received coin data if that is earlier."""
    return min(last_complete_day(now), last_known(store))


def last_complete_day(now: pd.Timestamp) -> pd.Timestamp:
    """The day before `now` (UTC): the running day isn't complete."""
    return now.normalize() - pd.Timedelta(days=1)


def require_past(as_of: pd.Timestamp, now: pd.Timestamp) -> None:
    """Raise BadInput where the day `as_of` isn't over."""
    if as_of > last_complete_day(now):
        raise BadInput(f"{as_of:%Y-%m-%d} isn't over yet: the last complete UTC day is {last_complete_day(now):%Y-%m-%d}.")


@dataclass(frozen=True)
class Inputs:
    """What the store knew at the end of `as_of`: one row of model inputs, the snapshot, the freshness of every series.

    `thin`: a warning where too little of the altcoin market has a price, else None; `covered`: the coverage in words.
    """

    as_of: pd.Timestamp
    row: Matrix
    snapshot: str
    freshness: list[dict[str, Any]]
    thin: str | None = None
    covered: str = ""


def inputs_known(store: Store, as_of: pd.Timestamp, target: Target = ALTCOINS) -> Inputs:
    """All data that a forecast for a day reads. Raises MissingData or GateClosed where the target has too few prices."""
    row = matrix(daily_table(store, as_of, target), pd.DatetimeIndex([as_of]))
    verdicts = freshness(store, as_of)
    require(verdicts, [COIN_PRICE.name])
    months = coverage_by_month(store, as_of, as_of - RECENT_COINS)
    thin, covered = require_coverage(months), "".join(month.words for month in months[-1:])
    if row.X["altcoin_volatility"].isna().all():
        raise GateClosed(
            f"The {target.subject} is too short on {as_of:%Y-%m-%d}: it needs 60 days. Fetch more, or choose a later day."
        )
    return Inputs(as_of, row, store.snapshot(as_of), [verdict.to_dict() for verdict in verdicts], thin, covered)


@dataclass(frozen=True)
class Question:
    """A rise (0.5 is 50 %) and a number of days to forecast by the champion's law; None: the champion's own."""

    rise: float | None = None
    days: int | None = None

    def __post_init__(self) -> None:
        """Raise BadInput where the number of days is out of range."""
        if self.days is not None and not 1 <= self.days <= MOST_DAYS:
            raise BadInput(f"--days {self.days} is not a number of days from 1 to {MOST_DAYS}.")

    def of(self, target: Target) -> Target:
        """The target with this rise and number of days. Raises BadInput where the rise is out of range."""
        try:
            changed = target.with_outcome(move=self.rise)
        except BadInput as error:
            raise BadInput(str(error).replace("--threshold", "--rise")) from None
        return changed if self.days is None else replace(changed, horizons=(self.days,))


OWN_QUESTION = Question()


def score(inputs: Inputs, champion: "Champion", *, in_sample: bool = False, question: Question = OWN_QUESTION) -> Score:
    """The champion's forecast from `inputs`, or its law's forecast for another `question`.

    For a day before the end of its training data it is made by the walk-forward fold that covers the day, else refused; with
    `in_sample` it is made by the final model and marked so (STATISTICS 1). Raises Refused where a question needs a law.
    """
    card, last = champion.card, pd.Timestamp(champion.card.last_label_end)
    model, fold = champion.forecaster.model_for(inputs.as_of, last, in_sample=in_sample)
    training = card if fold is None else card.folds[fold]
    target, base_rates = question.of(card.target), training.base_rates
    if target != card.target:
        model = model.for_question(target.rise, target.horizons)
        base_rates = [float(rate) for rate in model.base_rates_]
    X, horizons = inputs.row.X[card.columns], list(target.horizons)
    return Score(
        as_of=f"{inputs.as_of:%Y-%m-%d}",
        market=card.market,
        snapshot=inputs.snapshot,
        model={"name": card.model, "version": champion.version, "run_id": champion.run_id},
        outcome=target.summary,
        horizons=horizon_forecasts(model, X, horizons, base_rates),
        skill=card.skill,
        drivers=drivers(model, X, training.means, horizons),
        neutral=neutral_inputs(card.columns, inputs.row),
        in_sample=fold is None and inputs.as_of <= last,
        freshness=inputs.freshness,
        refit=None if fold is None else card.folds[fold].test_start,
        edge=edge_of(model, X),
        curve=curve_of(model, X),
        question=target != card.target,
        configuration=card.configuration,
        coverage_warning=inputs.thin,
        coverage=inputs.covered,
    )


def edge_of(model: Any, X: pd.DataFrame) -> Edge | None:
    """Tilt and volatility of the law behind a model's forecast of one row; None where it has no law."""
    if not hasattr(model, "edge"):
        return None
    tilt, volatility = model.edge(X)
    return Edge(float(tilt[0]), float(volatility[0])) if np.isfinite(volatility[0]) else None


def curve_of(model: Any, X: pd.DataFrame) -> Curve | None:
    """Distribution of the highest close within each horizon; None where the model has no law, or its event is terminal."""
    if getattr(model, "terminal", True):
        return None
    from models.law import RISES, quantiles_of_highest

    curves = model.curve(X)[0].T
    highest = [
        HighestClose(
            int(days),
            [float(p) for p in curve],
            dict(zip(map(str, QUANTILES), quantiles_of_highest(curve, RISES, QUANTILES), strict=True)),
        )
        for days, curve in zip(model.horizons, curves, strict=True)
    ]
    return Curve([float(rise) for rise in RISES], highest)


def neutral_inputs(columns: list[str], row: Matrix) -> list[str]:
    """Inputs of a model that are missing in a row, where they are replaced by 0."""
    return [name for name in columns if name in row.neutral and bool(row.neutral[name].iloc[0])]


def horizon_forecasts(model: Any, X: pd.DataFrame, horizons: list[int], base_rates: list[float]) -> list[HorizonForecast]:
    """Probability, 90 % interval and base rate for each horizon (days)."""
    point = model.predict(X)[0]
    low, high = model.interval(X)
    return [
        HorizonForecast(days, float(p), float(lo), float(hi), float(base))
        for days, p, lo, hi, base in zip(horizons, point, low[0], high[0], base_rates, strict=True)
    ]


def drivers(model: Any, X: pd.DataFrame, means: dict[str, float], horizons: list[int]) -> list[Driver]:
    """Exact Shapley value of each block for the log-odds at the judged horizon; they sum to the difference from the mean."""
    from models.shapley import shapley

    groups = blocks_of(list(X.columns))
    reference = np.array([means[column] for column in X.columns])
    parts = shapley(
        model.predict, X.to_numpy()[0], reference, list(groups.values()), horizon=horizons.index(judged_horizon(horizons))
    )
    return [Driver(block, float(part)) for block, part in zip(groups, parts, strict=True)]


def blocks_of(columns: list[str]) -> dict[str, list[int]]:
    """Positions of a model's columns by block; a composite column is named like its block."""
    groups: dict[str, list[int]] = {}
    for position, column in enumerate(columns):
        groups.setdefault(column if column in BLOCKS else FEATURES[column].block, []).append(position)
    return groups
