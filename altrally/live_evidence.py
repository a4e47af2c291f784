"""Live evidence: configurations registered in the ledger, shadow forecasts of other models, and the evidence from their weeks."""

from collections.abc import Iterable, Iterator
from dataclasses import asdict, dataclass
from math import log, prod
from typing import Any

import pandas as pd

from altrally.forecast import Inputs, edge_of
from altrally.ledger import LIVE, OUTCOME, REGISTRATION, SCORE, SHADOW, WEEK, Ledger, Line
from altrally.ledger_chain import canonical
from core.home import Home
from core.target import ALTCOINS, Target, judged_horizon
from evaluation.evidence import WEEK_DAYS, LiveEvidence, brier_factor, spaced_positions, tilt_factor
from features.targets import load_target_index
from models.card import Card
from models.champion import Shadow, load_shadows
from sources.series import COIN_PRICE
from sources.store import Store

DAY = pd.Timedelta(days=1)
NEVER = pd.Timestamp.max
WEEK_LONG = pd.Timedelta(days=WEEK_DAYS)
READ_BEFORE = pd.Timedelta(days=400)
"""How far before a week the index is read: the ranking reaches back 124 days, further where a source failed for months."""


@dataclass(frozen=True)
class Bet:
    """A live forecast as a bet over a week, from the close of `start`: the later of the next day and the day of issue."""

    configuration: str
    model: str
    start: pd.Timestamp
    tilt: float
    volatility: float


@dataclass(frozen=True)
class Registration:
    """A configuration, the name of its model, and the day from which it gathers evidence."""

    configuration: str
    model: str
    as_of: pd.Timestamp


def register(ledger: Ledger, registration: Registration, market: str, target: Target, now: pd.Timestamp) -> None:
    """Register a configuration in the ledger, unless it is already."""
    lines = (line for line in ledger.of_kinds(REGISTRATION) if is_about(line, market, target))
    if any(line.body["configuration"] == registration.configuration for line in lines):
        return
    day = f"{registration.as_of:%Y-%m-%d}"
    about = {"configuration": registration.configuration, "model": registration.model, "as_of": day}
    ledger.append_registration(about | {"market": market, "outcome": target.summary}, now)


def is_about(line: Line, market: str, target: Target) -> bool:
    """Whether a line is about a market and a target."""
    return bool(line.body["market"] == market and line.is_of(target))


def bets(ledger: Ledger, market: str, target: Target) -> list[Bet]:
    """Live bets since the day their configuration was registered, in order of the ledger. A shadow's first line registers it."""
    registered: dict[str, pd.Timestamp] = {}
    registered_bets = []
    for line in ledger.of_kinds(REGISTRATION, SCORE, SHADOW):
        if not is_about(line, market, target):
            continue
        if line.kind == REGISTRATION:
            registered.setdefault(line.body["configuration"], line.as_of)
            continue
        for bet in bets_of(line):
            if line.kind == SHADOW:
                registered.setdefault(bet.configuration, line.as_of)
            if line.as_of >= registered.get(bet.configuration, NEVER):
                registered_bets.append(bet)
    return registered_bets


def bets_of(line: Line) -> Iterator[Bet]:
    """The bets of one line: one of a live forecast, one per model with a law of live shadows, else none."""
    if line.record != LIVE or line.is_question:
        return
    start = max(line.as_of + DAY, pd.Timestamp(line.body["issued_at"]).tz_localize(None).normalize())
    models = line.body["models"] if line.kind == SHADOW else [{**line.body, "name": line.body["model"]["name"]}]
    for model in models:
        if model.get("edge") and model.get("configuration"):
            edge = model["edge"]
            yield Bet(model["configuration"], model["name"], start, edge["tilt"], edge["volatility"])


def streams(all_bets: Iterable[Bet]) -> dict[str, list[Bet]]:
    """Bets by configuration whose weeks do not overlap, each the earliest that can be made."""
    by_configuration: dict[str, dict[pd.Timestamp, Bet]] = {}
    for bet in all_bets:
        by_configuration.setdefault(bet.configuration, {}).setdefault(bet.start, bet)  # the first of a day counts
    chosen = {}
    for configuration, by_day in by_configuration.items():
        days = sorted(by_day)
        positions = spaced_positions([(day - days[0]).days for day in days], WEEK_DAYS)
        chosen[configuration] = [by_day[days[position]] for position in positions]
    return chosen


def record_weeks(ledger: Ledger, store: Store, target: Target, *, until: pd.Timestamp, now: pd.Timestamp) -> int:
    """Record the closes of all weeks of bets that are known by the end of `until`; returns how many were new."""
    market = store.market or ""
    starts = {bet.start for stream in streams(bets(ledger, market, target)).values() for bet in stream}
    due = sorted(starts - set(growth_by_week(ledger, market, target)))
    due = [day for day in due if day + WEEK_LONG + COIN_PRICE.release_lag <= until]
    if not due:
        return 0
    level = load_target_index(store, until, target, due[0] - READ_BEFORE).level
    snapshot, weeks = store.snapshot(until), []
    for start in due:
        ends = (level.get(start), level.get(start + WEEK_LONG))
        closes = [float(close) for close in ends if close is not None and close > 0]
        if len(closes) == len(ends):
            dates = {"as_of": f"{start:%Y-%m-%d}", "end": f"{start + WEEK_LONG:%Y-%m-%d}"}
            weeks.append({"market": market, "outcome": target.summary, **dates, "closes": closes, "snapshot": snapshot})
    return sum(entry.new for entry in ledger.append_weeks(weeks, now))


def growth_by_week(ledger: Ledger, market: str, target: Target) -> dict[pd.Timestamp, float]:
    """Close at the end of each recorded week over the close at its start, by its first day."""
    lines = (line for line in ledger.of_kinds(WEEK) if is_about(line, market, target))
    return {line.as_of: line.body["closes"][1] / line.body["closes"][0] for line in lines}


def evidence_by_configuration(ledger: Ledger, market: str, target: Target = ALTCOINS) -> dict[str, LiveEvidence]:
    """The evidence from the weeks recorded so far, by registered configuration."""
    registered: dict[str, str] = {}
    for line in ledger.of_kinds(REGISTRATION, SHADOW):
        if is_about(line, market, target):
            for body in [line.body] if line.kind == REGISTRATION else line.body["models"]:
                registered.setdefault(body["configuration"], str(line.body["as_of"]))
    growth, chosen = growth_by_week(ledger, market, target), streams(bets(ledger, market, target))
    result = {}
    for name, day in registered.items():
        finished = [bet for bet in chosen.get(name, []) if bet.start in growth]
        factors = [tilt_factor(bet.tilt, bet.volatility, log(growth[bet.start])) for bet in finished]
        result[name] = LiveEvidence(day, len(finished), prod(factors))
    return result


@dataclass(frozen=True)
class LiveRow:
    """One model's live record: its evidence, and at the judged horizon its Brier score beside the champion's.

    `n`: its resolved days; `brier` and `champion_brier`: over the days that the champion of then forecast too; `e_values`: by other
    model, the evidence from outcomes that do not overlap that this model's Brier score is better (20 shows it).
    """

    model: str
    configuration: str
    registered: str | None
    weeks: int
    e_value: float
    horizon: int
    n: int
    brier: float | None
    champion_brier: float | None
    e_values: dict[str, float]


COLUMNS = ["configuration", "model", "as_of", "days", "outcome", "probability", "champion"]


def live_rows(ledger: Ledger, market: str, target: Target = ALTCOINS) -> list[LiveRow]:
    """The live record of every configuration that gathers evidence, in the order of registration."""
    table, days = live_forecasts(ledger), judged_horizon(target.horizons)
    resolved = table[table["days"] == days].dropna(subset=["event"])
    models = dict(zip(table["configuration"], table["model"], strict=True))
    rows = []
    for configuration, live in evidence_by_configuration(ledger, market, target).items():
        model = models.get(configuration, "")
        own = resolved[resolved["configuration"] == configuration]
        paired = own.merge(resolved[resolved["champion"]], on=["as_of", "outcome"], suffixes=("", "_theirs"))
        others = [name for name in dict.fromkeys(resolved["model"]) if name != model]
        row = LiveRow(
            model=model,
            configuration=configuration,
            registered=live.registered,
            weeks=live.weeks,
            e_value=live.e_value,
            horizon=days,
            n=len(own),
            brier=mean_loss(paired["probability"], paired["event"]),
            champion_brier=mean_loss(paired["probability_theirs"], paired["event"]),
            e_values={name: paired_e_value(own, resolved[resolved["model"] == name], days) for name in others},
        )
        rows.append(row)
    return rows


def lead(ledger: Ledger, challenger: str, current: str) -> float:
    """E-value that one configuration's Brier score is better than another's at the judged horizon."""
    table = live_forecasts(ledger).dropna(subset=["event"])
    own = table[table["configuration"] == challenger]
    if own.empty:
        return 1.0
    days = judged_horizon(own["days"].unique())
    judged = table[table["days"] == days]
    return paired_e_value(judged[judged["configuration"] == challenger], judged[judged["configuration"] == current], days)


def mean_loss(probability: pd.Series, event: pd.Series) -> float | None:
    """Mean Brier loss; None without forecasts."""
    return float(((probability - event) ** 2).mean()) if len(event) else None


def paired_e_value(mine: pd.DataFrame, theirs: pd.DataFrame, days: int) -> float:
    """E-value that the Brier score of `mine` is better, from resolved forecasts of the same days whose outcomes do not overlap."""
    both = mine.merge(theirs, on=["as_of", "outcome"], suffixes=("", "_theirs")).sort_values("as_of")
    chosen = both.iloc[spaced_positions([(day - both["as_of"].iloc[0]).days for day in both["as_of"]], days)] if len(both) else both
    e_value = 1.0
    for p, q, event in zip(chosen["probability"], chosen["probability_theirs"], chosen["event"], strict=True):
        e_value *= brier_factor(float(p), float(q), int(event))
    return e_value


def live_forecasts(ledger: Ledger) -> pd.DataFrame:
    """Every live forecast of the champion and of other models, one row per horizon: `COLUMNS` and `event`.

    The first of a configuration for a day counts; `champion` marks the one that was shown; `event` is NaN until it is known.
    """
    rows: list[dict[str, object]] = []
    events: list[dict[str, object]] = []
    for line in ledger.of_kinds(SCORE, SHADOW, OUTCOME):
        key = {"as_of": line.as_of, "outcome": f"{line.body['market']} {canonical(line.body['outcome'])}"}
        if line.kind == OUTCOME:
            events.append(key | {"days": line.body["days"], "event": float(line.body["event"])})
        elif line.record == LIVE and not line.is_question:
            rows += [key | row for row in forecast_rows(line)]
    table = pd.DataFrame(rows, columns=COLUMNS).drop_duplicates(["configuration", "as_of", "days", "outcome"])
    outcomes = pd.DataFrame(events, columns=["as_of", "outcome", "days", "event"]).astype({"event": "float64"})
    if outcomes.empty:
        return table.assign(event=float("nan"))
    return table.merge(outcomes, on=["as_of", "outcome", "days"], how="left")


def forecast_rows(line: Line) -> Iterator[dict[str, object]]:
    """One row per model and horizon of a live line; none of a forecast by an earlier version, which names no configuration."""
    if line.kind == SHADOW:
        for model in line.body["models"]:
            source = {"configuration": model["configuration"], "model": model["name"], "champion": False}
            forecasts = zip(line.body["horizons"], model["probabilities"], strict=True)
            yield from (source | {"days": days, "probability": probability} for days, probability in forecasts)
    elif line.body.get("configuration"):
        source = {"configuration": line.body["configuration"], "model": line.body["model"]["name"], "champion": True}
        yield from (source | {"days": row["days"], "probability": row["probability"]} for row in line.body["horizons"])


def record_shadows(home: Home, ledger: Ledger, card: Card, inputs: Inputs, now: pd.Timestamp) -> int:
    """Record the forecasts of every model of the newest training for the day of the inputs; returns the number of models.

    `card` is the champion's. Raises Refused or StoreUnusable where the models can't be read.
    """
    models = load_shadows(home.tracking_uri, home.folder, card.family, card.label)
    if not models:
        return 0
    subject = {"as_of": f"{inputs.as_of:%Y-%m-%d}", "market": card.market, "outcome": card.outcome, "snapshot": inputs.snapshot}
    forecasts = [shadow_forecast(shadow, inputs) for shadow in models]
    ledger.append_shadows({**subject, "horizons": card.horizons, "models": forecasts}, now)
    return len(models)


def shadow_forecast(shadow: Shadow, inputs: Inputs) -> dict[str, Any]:
    """One model's probability for each horizon, and the edge they rest on if it has a law."""
    X = inputs.row.X[shadow.columns]
    edge = edge_of(shadow.model, X)
    return {
        "name": shadow.name,
        "version": shadow.version,
        "configuration": shadow.configuration,
        "probabilities": [float(p) for p in shadow.model.predict(X)[0]],
        "edge": None if edge is None else asdict(edge),
    }
