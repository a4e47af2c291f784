"""Everything the page says, gathered before a word of it is written."""

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
    Standing,
    effects,
    log_odds,
    sensitivities,
    standing,
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

COVERED = pd.Timedelta(days=366)


@dataclass(frozen=True)
class Previous:
    """An earlier forecast to compare with: its day, its probability at the horizon judged, the model that gave it ("hazard v8")."""

    as_of: pd.Timestamp
    probability: float
    model: str

    @classmethod
    def of(cls, score: Mapping[str, Any]) -> "Previous":
        """That of a score as `score --json` prints it."""
        judged = judged_horizon([row["days"] for row in score["horizons"]])
        sixty = next(row for row in score["horizons"] if row["days"] == judged)
        named = f"{score['model']['name']} v{score['model']['version']}"
        return cls(pd.Timestamp(score["as_of"]), float(sixty["probability"]), named)


@dataclass(frozen=True)
class Movement:
    """From an earlier forecast to this one, in log-odds: what new data moved, feature by feature, and what is left (`other`).

    Data and `other` add up to `end` − `start`.
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
class Kept:
    """What MLflow keeps of the champion's training: its out-of-sample forecasts and all models' verification rows."""

    forecasts: pd.DataFrame
    rows: list[dict[str, Any]]


@dataclass(frozen=True)
class Facts:
    """The page in numbers.

    `audit` and `followed` are plain dicts of other parts of altrally, None where they weren't made. `recent`: day and probability
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
    likeness: Analogues | None
    record: Record
    features: dict[str, FeatureState]
    index: IndexState
    constituents: str
    live: Sequence[LiveRow]
    audit: Mapping[str, Any] | None
    followed: Mapping[str, Any] | None
    recent: Sequence[tuple[str, float]] = ()
    others: Sequence[tuple[str, float]] = ()
    run_link: str = ""
    coverage: Sequence[MonthCoverage] = ()


@dataclass(frozen=True)
class Beside:
    """What other parts of altrally add to a page: an earlier forecast to compare with, the live record, audit, an illustration."""

    previous: Previous | None = None
    live: Sequence[LiveRow] = ()
    audit: Mapping[str, Any] | None = None
    followed: Mapping[str, Any] | None = None
    others: Sequence[tuple[str, float]] = ()
    run_link: str = ""


NOTHING_BESIDE = Beside()


@dataclass(frozen=True)
class Market:
    """What the store knew by the end of a day: features, shares, composites of every day; the index; outcomes of past Sundays."""

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
        """What each seat of a block puts into its composite."""
        return block_shares(self.table.features, self.features.values())

    @cached_property
    def inputs(self) -> pd.DataFrame:
        """Model inputs of every day."""
        return matrix(self.table, pd.DatetimeIndex(self.table.features.index)).X


def read_kept(tracking_uri: str, home: Path, run_id: str) -> Kept:
    """What MLflow keeps of a run. A training from before verification was kept has no rows."""
    forecasts = run_table(tracking_uri, home, run_id)
    try:
        rows = verification_beside(tracking_uri, home, run_id)
    except NoChampion:
        return Kept(forecasts, [])
    return Kept(forecasts, [UNKNOWN_SKILLS | row for row in rows])


def gather(
    store: Store,
    champion: Champion,
    inputs: Inputs,
    score: Score,
    kept: Kept,
    *,
    beside: Beside = NOTHING_BESIDE,
) -> Facts:
    """All facts of a page. `score` is the forecast as issued, from these `inputs`, by this `champion`; `beside` is what others say.

    Without an earlier forecast to compare with, it is what the champion would have said a week before.
    """
    previous = beside.previous
    market = read_market(store, champion, inputs.as_of)
    before = inputs.as_of - BEFORE if previous is None else previous.as_of
    model, means = answering(champion, inputs.as_of)
    columns, horizon = champion.card.columns, champion.card.horizons.index(judged_horizon(champion.card.horizons))
    now = standing(inputs.row.X, market.shares, inputs.as_of, columns)
    return Facts(
        score=score,
        label=champion.card.label,
        trained_as_of=champion.card.trained_as_of,
        trials=champion.card.trials,
        drivers=effects(model, training_mean(means, now), now, horizon),
        movement=movement(champion, market, inputs, before, previous),
        sensitivities=sensitivities(model, now.x, horizon),
        rungs=rungs(market.table.features, inputs.as_of, market.target),
        likeness=alike(market, inputs),
        record=record(kept.forecasts, kept.rows, inputs.as_of, lag=COIN_PRICE.release_lag),
        features=feature_states(market, before),
        index=index_state(market),
        constituents=breadth_basis(store, inputs.as_of),
        live=beside.live,
        audit=beside.audit,
        followed=beside.followed,
        recent=[*recent_weeks(champion, market, inputs, horizon), (score.as_of, judged_probability(score))],
        others=beside.others,
        run_link=beside.run_link,
        coverage=coverage_by_month(store, inputs.as_of, inputs.as_of - COVERED)[::-1],
    )


def recent_weeks(champion: Champion, market: Market, inputs: Inputs, horizon: int) -> list[tuple[str, float]]:
    """Day and probability of each of the weeks before the day that a model which hadn't seen what followed may answer for."""
    days = pd.date_range(end=inputs.as_of, periods=RECENT_WEEKS + 1, freq="7D")[:-1]
    found = list[tuple[str, float]]()
    for day in (day for day in days if day in market.inputs.index):
        with suppress(Refused):
            model, _ = answering(champion, day)
            row = market.inputs.loc[market.inputs.index == day, list(champion.card.columns)]
            found.append((f"{day:%Y-%m-%d}", float(model.predict(row)[0][horizon])))
    return found


def judged_probability(score: Score) -> float:
    """The probability of the horizon that is judged."""
    days = judged_horizon([row.days for row in score.horizons])
    return next(row.probability for row in score.horizons if row.days == days)


def read_market(store: Store, champion: Champion, as_of: pd.Timestamp) -> Market:
    """Features since six years before the first training row, the index, and the champion's outcome on every Sunday."""
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


def answering(champion: Champion, day: pd.Timestamp) -> tuple[Any, dict[str, float]]:
    """The model that answers for a day, and its training means. Raises Refused where none may."""
    card = champion.card
    model, fold = champion.forecaster.model_for(day, pd.Timestamp(card.last_label_end))
    return model, card.means if fold is None else card.folds[fold].means


def movement(champion: Champion, market: Market, inputs: Inputs, day: pd.Timestamp, previous: Previous | None) -> Movement | None:
    """What moved the log-odds since `day`, as forecast then or, without `previous`, as the champion would have.

    None where no model may answer for that day.
    """
    columns, horizon = champion.card.columns, champion.card.horizons.index(judged_horizon(champion.card.horizons))
    model, _ = answering(champion, inputs.as_of)
    before, now = (standing(X, market.shares, at, columns) for X, at in ((market.inputs, day), (inputs.row.X, inputs.as_of)))
    try:
        start, named, cause = (
            said_before(champion, model, before, day, horizon) if previous is None else previous_forecast(champion, previous)
        )
    except Refused:
        return None
    data = effects(model, before, now, horizon)
    rest = data.start - start
    other = Part(cause, cause, rest) if abs(rest) > EXACT else None
    return Movement(f"{day:%Y-%m-%d}", named, start, data.end, data, other)


def said_before(champion: Champion, model: Any, before: Standing, day: pd.Timestamp, horizon: int) -> tuple[float, str, str]:
    """What the champion would have said on a day: log-odds, its name, and why `model` may differ. Raises Refused."""
    former, _ = answering(champion, day)
    return log_odds(former, before.x, horizon), named(champion), "corrections" if former is model else "model"


def previous_forecast(champion: Champion, previous: Previous) -> tuple[float, str, str]:
    """What was said: log-odds, by which model, and why the champion may differ."""
    cause = "corrections" if previous.model == named(champion) else "model"
    return float(logit(previous.probability)), previous.model, cause


def named(champion: Champion) -> str:
    """A model and its version."""
    return f"{champion.card.model} v{champion.version}"


def alike(market: Market, inputs: Inputs) -> Analogues | None:
    """Similar moments among the Sundays before the day, in the space of all composites."""
    blocks, sundays = list(BLOCKS), market.outcomes.events.index
    return analogues(inputs.row.X[blocks].iloc[0], market.inputs.loc[sundays, blocks], market.outcomes.events, market.index.level)


def feature_states(market: Market, then: pd.Timestamp) -> dict[str, FeatureState]:
    """Every feature on the day, and its z-score on an earlier one."""
    values, features = market.table.features, market.features
    scores = trailing_z(values, pd.Series({name: feature.sd_floor for name, feature in features.items()}))
    today, signed = (
        values.loc[values.index == market.as_of].iloc[0],
        {name: feature.sign or 1 for name, feature in features.items()},
    )
    now, before = scores.loc[market.as_of], scores.loc[then]
    return {
        name: FeatureState(
            name=name,
            block=feature.block,
            formula=for_target(feature.formula, market.target),
            unit=feature.unit,
            rationale=feature.rationale,
            value=known(today[name]),
            z=known(now[name] * signed[name]),
            z_before=known(before[name] * signed[name]),
            stood_in_by=stand_in(name, today, features),
        )
        for name, feature in features.items()
    }


def stand_in(name: str, today: pd.Series, features: Mapping[str, Feature]) -> str:
    """The feature that takes the place of a missing one, if any does."""
    if not np.isnan(today[name]):
        return ""
    standing = (one.name for one in features.values() if one.stands_in_for == name and not np.isnan(today[one.name]))
    return next(standing, "")


def index_state(market: Market) -> IndexState:
    """What is held now, and what stopped quoting in the past year."""
    members, stopped = market.index.members, market.index.stopped
    held = members[members["month_end"] == members["month_end"].max()].nlargest(LARGEST_HELD, "weight")
    lately = stopped[stopped["last_quote"] > market.as_of - YEAR]
    return IndexState(
        coins=int((members["month_end"] == members["month_end"].max()).sum()),
        largest=[(str(symbol), float(weight)) for symbol, weight in zip(held["symbol"], held["weight"], strict=True)],
        stopped=[(str(coin), f"{day:%Y-%m-%d}") for coin, day in zip(lately["symbol"], lately["last_quote"], strict=True)],
    )
