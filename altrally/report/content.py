"""The facts of a page: all numbers it shows, gathered before it is rendered."""

from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from scipy.special import logit

from altrally.forecast import Inputs, Score
from altrally.live_evidence import LiveRow
from altrally.report.analogues import Analogues, analogues
from altrally.report.contributions import (
    Effects,
    Part,
    Sensitivity,
    effects,
    input_state,
    log_odds,
    sensitivities,
    training_mean,
)
from altrally.report.past_forecasts import Record, record
from altrally.report.rungs import Rung, known, rungs
from altrally.wording import for_target
from core.errors import NoChampion, Refused
from core.target import Target, judged_horizon
from evaluation.sample import BASELINES
from features.altcoin_index import AltcoinIndex
from features.build import FeatureTable, matrix
from features.composites import block_shares, trailing_z
from features.daily_table import daily_table
from features.registry import BLOCKS, Feature
from features.targets import features_of, load_target_index
from models.champion import Champion, run_table, verification_beside
from sources.membership import breadth_basis
from sources.quality import MonthCoverage, coverage_by_month
from sources.series import COIN_PRICE
from sources.store import Store
from training.dataset import Outcomes, index_outcomes
from training.settings import TrainSettings

BEFORE = pd.Timedelta(days=7)
RECENT_WEEKS = 13
YEAR = pd.Timedelta(days=365)
LARGEST_HELD = 10
EXACT = 1e-12
UNKNOWN_SKILLS = {f"skill_{name}": {"value": None, "low": None, "high": None} for name in BASELINES}
"""Of a training of an earlier version, which knew fewer baselines."""

COVERAGE_SHOWN = pd.Timedelta(days=366)


@dataclass(frozen=True)
class Previous:
    """An earlier forecast to compare with: its day, its probability at the horizon judged, the model that gave it ("hazard v8")."""

    as_of: pd.Timestamp
    probability: float
    model: str

    @classmethod
    def of(cls, score: Mapping[str, Any]) -> "Previous":
        """The previous forecast from a dict as `score --json` prints it."""
        days = judged_horizon([row["days"] for row in score["horizons"]])
        judged = next(row for row in score["horizons"] if row["days"] == days)
        model = f"{score['model']['name']} v{score['model']['version']}"
        return cls(pd.Timestamp(score["as_of"]), float(judged["probability"]), model)


@dataclass(frozen=True)
class Movement:
    """The change from an earlier forecast to this one in log-odds: by new data, feature by feature, and by other causes.

    `data` and `other` sum to `end` − `start`.
    """

    as_of: str
    model: str
    start: float
    end: float
    data: Effects
    other: Part | None


@dataclass(frozen=True)
class FeatureState:
    """One feature on the day: value in its unit, z-score signed as the claim expects (positive favours a rally); None unknown.

    `z_before` is that of the day compared with; `stood_in_by` names the feature that takes its place while it is missing.
    """

    name: str
    block: str
    formula: str
    unit: str
    rationale: str
    value: float | None
    z: float | None
    z_before: float | None
    stood_in_by: str


@dataclass(frozen=True)
class IndexState:
    """What the altcoin index holds: number of coins, the largest with their weights, and the coins that stopped quoting lately."""

    coins: int
    largest: list[tuple[str, float]]
    stopped: list[tuple[str, str]]


@dataclass(frozen=True)
class TrainingRecord:
    """What MLflow holds of a training: the champion's out-of-sample forecasts and all models' verification rows."""

    forecasts: pd.DataFrame
    rows: list[dict[str, Any]]


@dataclass(frozen=True)
class Facts:
    """The page in numbers.

    `audit` and `backtest`: dicts of other parts of altrally, None where they weren't made. `recent`: day and probability
    at the judged horizon, week by week; `others`: the same day's probability by each other model; `run_link`: where a tracking
    server shows the run, empty without one; `coverage`: month-ends of the past year, the newest first.
    """

    score: Score
    label: str
    trained_as_of: str
    trials: int
    drivers: Effects
    movement: Movement | None
    sensitivities: list[Sensitivity]
    rungs: list[Rung]
    analogues: Analogues | None
    record: Record
    features: dict[str, FeatureState]
    index: IndexState
    constituents: str
    live: Sequence[LiveRow]
    audit: Mapping[str, Any] | None
    backtest: Mapping[str, Any] | None
    recent: Sequence[tuple[str, float]] = ()
    others: Sequence[tuple[str, float]] = ()
    run_link: str = ""
    coverage: Sequence[MonthCoverage] = ()


@dataclass(frozen=True)
class Additions:
    """What other parts of altrally add to a page: the previous forecast, live record, audit, backtest and other models."""

    previous: Previous | None = None
    live: Sequence[LiveRow] = ()
    audit: Mapping[str, Any] | None = None
    backtest: Mapping[str, Any] | None = None
    others: Sequence[tuple[str, float]] = ()
    run_link: str = ""


NO_ADDITIONS = Additions()


@dataclass(frozen=True)
class Market:
    """What the store knew by the end of a day: features and composites of every day, the index, outcomes of past Sundays."""

    as_of: pd.Timestamp
    table: FeatureTable
    index: AltcoinIndex
    outcomes: Outcomes
    target: Target

    @property
    def features(self) -> Mapping[str, Feature]:
        """Every feature by name, as declared for the target."""
        return features_of(self.target)

    @cached_property
    def shares(self) -> dict[str, pd.DataFrame]:
        """The share of each feature in the composite of its block: by block, days × features."""
        return block_shares(self.table.features, self.features.values())

    @cached_property
    def inputs(self) -> pd.DataFrame:
        """Model inputs, days × inputs."""
        return matrix(self.table, pd.DatetimeIndex(self.table.features.index)).X


def read_training_record(tracking_uri: str, home: Path, run_id: str) -> TrainingRecord:
    """What MLflow holds of a run; no rows of a training by an earlier version, which kept no verification."""
    forecasts = run_table(tracking_uri, home, run_id)
    try:
        rows = verification_beside(tracking_uri, home, run_id)
    except NoChampion:
        return TrainingRecord(forecasts, [])
    return TrainingRecord(forecasts, [UNKNOWN_SKILLS | row for row in rows])


def gather(
    store: Store,
    champion: Champion,
    inputs: Inputs,
    score: Score,
    training: TrainingRecord,
    *,
    additions: Additions = NO_ADDITIONS,
) -> Facts:
    """All facts of a page. `score` is the forecast issued by this `champion` from these `inputs`.

    Without a previous forecast, the champion's own forecast of a week before is compared with.
    """
    previous = additions.previous
    market = read_market(store, champion, inputs.as_of)
    before = inputs.as_of - BEFORE if previous is None else previous.as_of
    model, means = model_for_day(champion, inputs.as_of)
    sundays, blocks = market.outcomes.events.index, list(BLOCKS)
    columns, horizon = champion.card.columns, champion.card.horizons.index(judged_horizon(champion.card.horizons))
    now = input_state(inputs.row.X, market.shares, inputs.as_of, columns)
    return Facts(
        score=score,
        label=champion.card.label,
        trained_as_of=champion.card.trained_as_of,
        trials=champion.card.trials,
        drivers=effects(model, training_mean(means, now), now, horizon),
        movement=movement(champion, market, inputs, before, previous),
        sensitivities=sensitivities(model, now.x, horizon),
        rungs=rungs(market.table.features, inputs.as_of, market.target),
        analogues=analogues(
            inputs.row.X[blocks].iloc[0], market.inputs.loc[sundays, blocks], market.outcomes.events, market.index.level
        ),
        record=record(training.forecasts, training.rows, inputs.as_of, lag=COIN_PRICE.release_lag),
        features=feature_states(market, before),
        index=index_state(market),
        constituents=breadth_basis(store, inputs.as_of),
        live=additions.live,
        audit=additions.audit,
        backtest=additions.backtest,
        recent=[*recent_weeks(champion, market, inputs, horizon), (score.as_of, score.judged.probability)],
        others=additions.others,
        run_link=additions.run_link,
        coverage=coverage_by_month(store, inputs.as_of, inputs.as_of - COVERAGE_SHOWN)[::-1],
    )


def recent_weeks(champion: Champion, market: Market, inputs: Inputs, horizon: int) -> list[tuple[str, float]]:
    """Day and probability at a horizon (its position) of the 13 weeks before the day, by models that didn't know the outcome."""
    days = pd.date_range(end=inputs.as_of, periods=RECENT_WEEKS + 1, freq="7D")[:-1]
    weeks: list[tuple[str, float]] = []
    for day in (day for day in days if day in market.inputs.index):
        with suppress(Refused):
            model, _ = model_for_day(champion, day)
            row = market.inputs.loc[market.inputs.index == day, list(champion.card.columns)]
            weeks.append((f"{day:%Y-%m-%d}", float(model.predict(row)[0][horizon])))
    return weeks


def read_market(store: Store, champion: Champion, as_of: pd.Timestamp) -> Market:
    """What the store knew by the end of `as_of`, with outcomes of the champion's target on every Sunday."""
    settings = TrainSettings(target=champion.card.target)
    index = load_target_index(store, as_of, settings.target)
    sundays = pd.date_range(settings.start, as_of, freq="W-SUN")
    return Market(
        as_of=as_of,
        table=daily_table(store, as_of, settings.target),
        index=index,
        outcomes=index_outcomes(store, index.level.dropna(), sundays, settings.target, as_of),
        target=settings.target,
    )


def model_for_day(champion: Champion, day: pd.Timestamp) -> tuple[Any, dict[str, float]]:
    """The model that may forecast a day, and the means of its training inputs. Raises Refused where none may."""
    card = champion.card
    model, fold = champion.forecaster.model_for(day, pd.Timestamp(card.last_label_end))
    return model, card.means if fold is None else card.folds[fold].means


def movement(champion: Champion, market: Market, inputs: Inputs, day: pd.Timestamp, previous: Previous | None) -> Movement | None:
    """The change of the log-odds since `day`, from the `previous` forecast or else from the champion's own forecast of that day.

    None where no model may forecast that day.
    """
    columns, horizon = champion.card.columns, champion.card.horizons.index(judged_horizon(champion.card.horizons))
    model, _ = model_for_day(champion, inputs.as_of)
    own_name = f"{champion.card.model} v{champion.version}"
    before, now = (input_state(X, market.shares, at, columns) for X, at in ((market.inputs, day), (inputs.row.X, inputs.as_of)))
    if previous is not None:
        start, name, same_model = float(logit(previous.probability)), previous.model, previous.model == own_name
    else:
        try:
            former, _ = model_for_day(champion, day)
        except Refused:
            return None
        start, name, same_model = log_odds(former, before.x, horizon), own_name, former is model
    cause = "corrections" if same_model else "model"
    data = effects(model, before, now, horizon)
    rest = data.start - start
    other = Part(cause, cause, rest) if abs(rest) > EXACT else None
    return Movement(f"{day:%Y-%m-%d}", name, start, data.end, data, other)


def feature_states(market: Market, then: pd.Timestamp) -> dict[str, FeatureState]:
    """The state of every feature on the day, with its z-score on the earlier day `then`."""
    values, features = market.table.features, market.features
    scores = trailing_z(values, pd.Series({name: feature.sd_floor for name, feature in features.items()}))
    today = values.loc[values.index == market.as_of].iloc[0]
    signs = {name: feature.sign or 1 for name, feature in features.items()}
    now, before = scores.loc[market.as_of], scores.loc[then]
    return {
        name: FeatureState(
            name=name,
            block=feature.block,
            formula=for_target(feature.formula, market.target),
            unit=feature.unit,
            rationale=feature.rationale,
            value=known(today[name]),
            z=known(now[name] * signs[name]),
            z_before=known(before[name] * signs[name]),
            stood_in_by=stand_in(name, today, features),
        )
        for name, feature in features.items()
    }


def stand_in(name: str, today: pd.Series, features: Mapping[str, Feature]) -> str:
    """The name of the feature that replaces a missing one, empty where none does or it isn't missing."""
    if not np.isnan(today[name]):
        return ""
    candidates = (feature.name for feature in features.values() if feature.stands_in_for == name)
    return next((candidate for candidate in candidates if not np.isnan(today[candidate])), "")


def index_state(market: Market) -> IndexState:
    """The coins that the index holds now, and those that stopped quoting in the past year."""
    members, stopped = market.index.members, market.index.stopped
    current = members[members["month_end"] == members["month_end"].max()]
    largest = current.nlargest(LARGEST_HELD, "weight")
    lately = stopped[stopped["last_quote"] > market.as_of - YEAR]
    return IndexState(
        coins=len(current),
        largest=[(str(symbol), float(weight)) for symbol, weight in zip(largest["symbol"], largest["weight"], strict=True)],
        stopped=[(str(coin), f"{day:%Y-%m-%d}") for coin, day in zip(lately["symbol"], lately["last_quote"], strict=True)],
    )
