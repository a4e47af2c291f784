"""Issue a forecast: the champion's three probabilities for a day, with what they are worth.

This module can't see the outcome: base rates, skill and the draws behind the intervals come from what was saved at training.
"""

from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd

from features.builder import COMPOSITE_LOOKBACK, Matrix, build, matrix
from features.composites import LAGGED
from features.registry import BLOCKS, FEATURES
from sources.coverage import LATELY, coverage, require_coverage
from sources.errors import BadInput, GateClosed
from sources.gates import freshness, last_known, require
from sources.series import COIN_PRICE
from sources.store import Store
from sources.target import ALTCOINS, Target, judged_horizon, target_of

if TYPE_CHECKING:  # scikit-learn is imported with the champion, while the features are built
    from models.registry import Champion

INTERVAL = (0.05, 0.95)


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
    """Log-odds that a block adds to the probability at the horizon judged, against the training mean."""

    block: str
    contribution: float


@dataclass(frozen=True)
class Score:
    """A forecast as issued; `to_json` is the contract other programs read.

    `refit` is the first day that the refit of the walk-forward answers for which answered here; None for the final model.
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
    coverage_warning: str | None = None

    @property
    def neutral_blocks(self) -> list[str]:
        """The blocks of the inputs that are missing and read as neutral."""
        return list(dict.fromkeys(LAGGED.get(name, name) for name in self.neutral))

    @property
    def target(self) -> Target:
        """The question it answers."""
        return target_of(self.outcome, [row.days for row in self.horizons])

    def to_json(self) -> dict[str, Any]:
        """Plain lists and dicts."""
        return asdict(self)


def default_as_of(store: Store, now: pd.Timestamp) -> pd.Timestamp:
    """The last complete UTC day, or the last one the store learnt anything of the coins on where that is earlier."""
    return min(last_complete_day(now), last_known(store))


def last_complete_day(now: pd.Timestamp) -> pd.Timestamp:
    """Yesterday, UTC: the running day isn't known yet."""
    return now.normalize() - pd.Timedelta(days=1)


def require_past(as_of: pd.Timestamp, now: pd.Timestamp) -> None:
    """Refuse to stand at the end of a day that hasn't ended."""
    if as_of > last_complete_day(now):
        raise BadInput(f"{as_of:%Y-%m-%d} isn't over yet: the last complete UTC day is {last_complete_day(now):%Y-%m-%d}.")


@dataclass(frozen=True)
class Inputs:
    """What the store knew at the end of `as_of`: one row of model inputs, the snapshot that names it, how fresh it was.

    `thin`: a warning where too little of the altcoin market has a price.
    """

    as_of: pd.Timestamp
    row: Matrix
    snapshot: str
    freshness: list[dict[str, Any]]
    thin: str | None = None


def inputs_known(store: Store, as_of: pd.Timestamp, target: Target = ALTCOINS) -> Inputs:
    """Everything a forecast reads of the market. Raises MissingData or GateClosed where the target's level can't say anything."""
    table = build(store, as_of, start=as_of - COMPOSITE_LOOKBACK, target=target)
    row = matrix(table, pd.DatetimeIndex([as_of]))
    verdicts = freshness(store, as_of)
    require(verdicts, [COIN_PRICE.name])
    thin = require_coverage(coverage(store, as_of, as_of - LATELY))
    if row.X["altcoin_volatility"].isna().all():
        raise GateClosed(
            f"The {target.subject} is too short on {as_of:%Y-%m-%d}: it needs 60 days. Fetch more, or choose a later day."
        )
    return Inputs(as_of, row, store.snapshot(as_of), [verdict.to_json() for verdict in verdicts], thin)


def score(inputs: Inputs, champion: "Champion", *, in_sample: bool = False) -> Score:
    """The champion's forecast from what was known.

    A day the champion was trained past is answered by the walk-forward fold that covers it, or refused; with `in_sample` by the
    final model, saying so (STATISTICS 1).
    """
    card, last = champion.card, pd.Timestamp(champion.card.last_label_end)
    model, fold = champion.forecaster.model_for(inputs.as_of, last, in_sample=in_sample)
    X = inputs.row.X[card.columns]
    learnt = card if fold is None else card.folds[fold]
    return Score(
        as_of=f"{inputs.as_of:%Y-%m-%d}",
        market=card.market,
        snapshot=inputs.snapshot,
        model={"name": card.model, "version": champion.version, "run_id": champion.run_id},
        outcome=card.outcome,
        horizons=horizon_forecasts(model, X, card.horizons, learnt.base_rates),
        skill=card.skill,
        drivers=drivers(model, X, learnt.means, card.horizons),
        neutral=neutral_inputs(card.columns, inputs.row),
        in_sample=fold is None and inputs.as_of <= last,
        freshness=inputs.freshness,
        refit=None if fold is None else card.folds[fold].test_start,
        coverage_warning=inputs.thin,
    )


def neutral_inputs(columns: list[str], row: Matrix) -> list[str]:
    """Which inputs of a model are missing on the day of a row, and stand there as 0."""
    return [name for name in columns if name in row.neutral and bool(row.neutral[name].iloc[0])]


def horizon_forecasts(model: Any, X: pd.DataFrame, horizons: list[int], base_rates: list[float]) -> list[HorizonForecast]:
    """Point, interval and base rate for each horizon."""
    point = model.predict(X)[0]
    low, high = np.quantile(model.predict_draws(X)[:, 0, :], INTERVAL, axis=0)
    return [
        HorizonForecast(days, float(p), float(lo), float(hi), float(base))
        for days, p, lo, hi, base in zip(horizons, point, low, high, base_rates, strict=True)
    ]


def drivers(model: Any, X: pd.DataFrame, means: dict[str, float], horizons: list[int]) -> list[Driver]:
    """Exact Shapley contributions of each block to the log-odds at the horizon judged; they add up to the way from the mean."""
    from models.drivers import shapley

    groups = blocks_of(list(X.columns))
    reference = np.array([means[column] for column in X.columns])
    parts = shapley(
        model.predict, X.to_numpy()[0], reference, list(groups.values()), horizon=horizons.index(judged_horizon(horizons))
    )
    return [Driver(block, float(part)) for block, part in zip(groups, parts, strict=True)]


def block_of(column: str) -> str:
    """The block a column belongs to: a composite is one, or was one a while ago."""
    return column if column in BLOCKS else LAGGED.get(column) or FEATURES[column].block


def blocks_of(columns: list[str]) -> dict[str, list[int]]:
    """Positions of a model's columns, by the block each belongs to."""
    groups: dict[str, list[int]] = {}
    for position, column in enumerate(columns):
        groups.setdefault(block_of(column), []).append(position)
    return groups
