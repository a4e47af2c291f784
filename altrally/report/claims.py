"""The audit of the claim in words and rows, and what other parts of altrally say on the page."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import pandas as pd

from altrally.forecast import Score
from altrally.ledger import Ledger
from altrally.ledger_chain import canonical
from altrally.live_evidence import LiveRow, live_rows
from altrally.report.content import Facts, Previous
from altrally.report.words import champion_row, count, percent, signed_percent
from core.errors import MissingData
from core.home import Home
from core.number_format import number, signed
from core.target import Target, judged_horizon
from features.altcoin_index import load_index
from models.card import Card
from sources.store import Store
from studies.audit.claim import audit
from studies.backtest import CAVEAT, Following, following
from training.dataset import bitcoin
from training.settings import TrainSettings

SUPPORTED, NOT_SUPPORTED = "supported", "not supported"
DEFAULT_RULE = ("record", 252)
ALTCOINS = "altcoins"
NO_INDEX = "no altcoin index yet"
FARTHEST = 12  # weeks
LEVEL = 0.05
HEAT_STEPS = (0.05, 0.1, 0.15, 0.2)


@dataclass(frozen=True)
class Cell:
    """One correlation: its text, how strong (0-4, with + or − in the text), and whether chance rarely gives as much."""

    text: str
    level: int
    outside: bool


@dataclass(frozen=True)
class Link:
    """One claimed link and its correlations by lag in weeks."""

    name: str
    lags: list[str]
    cells: list[Cell]


def verdict_class(verdict: str) -> str:
    """A verdict as a class: yes, no or open."""
    return "yes" if verdict == SUPPORTED else "no" if verdict == NOT_SUPPORTED else "open"


def verdict_word(verdict: str) -> str:
    """A verdict without its count, which stands beside it."""
    return verdict.partition(" (")[0]


def tally(audit: Mapping[str, Any]) -> dict[str, int]:
    """Lines by class of verdict."""
    classes = [verdict_class(line["verdict"]) for line in audit["lines"]]
    return {name: classes.count(name) for name in ("yes", "no", "open")}


def finding(audit: Mapping[str, Any]) -> str:
    """How many lines hold."""
    found, lines = tally(audit), len(audit["lines"])
    holds = f"Of the claim’s {count(lines)} lines {count(found['yes'])} {'is' if found['yes'] <= 1 else 'are'} supported"
    return f"{holds}, {count(found['no'])} {'is' if found['no'] <= 1 else 'are'} not, and {count(found['open'])} can’t be told"


def answer(facts: Facts) -> str:
    """Is the claim true? In a sentence or two."""
    if facts.audit:
        return f"{finding(facts.audit)}."
    return f"Not audited here. {added(facts)}"


def added(facts: Facts) -> str:
    """What small caps, volume and liquidity add to crypto's own state, with its raw p."""
    row = champion_row(facts)
    if row is None or not row.get("claim_null"):
        return "No test of it is kept with this model."
    gain, p = row["claim_null"]["observed"], row["claim_null_p"]
    did = "improved" if gain > 0 else "worsened"
    weight = "one of many tests tried, so a hint at most" if p < LEVEL else "chance does as well too often"
    return (
        f"Small caps, volume and liquidity {did} the Brier score of crypto’s own state by {percent(abs(gain), 1)}; "
        f"raw p {number(p, 3)}: {weight}."
    )


def breakouts(audit: Mapping[str, Any]) -> tuple[list[Mapping[str, Any]], int]:
    """Breakouts by the default rule, latest first, and the number of those before any altcoin index."""
    events = (audit.get("breakouts") or {}).get("events") or []
    kept = [event for event in events if (event.get("kind"), event.get("quiet")) == DEFAULT_RULE]
    told = [event for event in kept if event.get("unknown") != NO_INDEX]
    return sorted(told, key=lambda event: str(event["day"]), reverse=True), len(kept) - len(told)


def followed(event: Mapping[str, Any], days: int) -> str:
    """Return of altcoins so many days after a breakout."""
    rows = (event.get("followed") or {}).get(ALTCOINS) or []
    value = next((row["value"] for row in rows if row["days"] == days), None)
    return "–" if value is None else signed_percent(value)


def waited(event: Mapping[str, Any]) -> str:
    """Days until altcoins stood 30 % higher, or why there is no such number."""
    wait = event.get("first_passage_days")
    return str(wait) if wait is not None else event.get("unknown") or f"none in {event.get('days_seen')}"


def lead_lag(audit: Mapping[str, Any]) -> list[Link]:
    """The heat map: one row a claimed link that was measured, every second week to a quarter either way."""
    links = (audit.get("cascade") or {}).get("lead_lag") or []
    return [link(one, one["correlations"]) for one in links if one.get("correlations")]


def link(one: Mapping[str, Any], found: Mapping[str, Any]) -> Link:
    """One row of the heat map."""
    shown = [
        (lag, value)
        for lag, value in zip(found["lags"], found["correlation"], strict=True)
        if lag % 2 == 0 and abs(lag) <= FARTHEST
    ]
    cells = [cell(value, found["joint_band"]) for _, value in shown]
    return Link(f"{one['driver']} → {one['target']}", [signed(lag, 0) if lag else "0" for lag, _ in shown], cells)


def cell(value: float | None, band: float | None) -> Cell:
    """One cell."""
    if value is None:
        return Cell("–", 0, False)
    level = sum(abs(value) >= step for step in HEAT_STEPS)
    return Cell(signed(value, 2), level, band is not None and abs(value) > band)


COLUMNS = ("", "growth a year", "worst fall", "share of days in altcoins", "switches", "lost to dealing")


def previous_of(home: Home, score: Score, target: Target) -> Previous | None:
    """The last live forecast of a target for an earlier day in the ledger; None where there is none, or it was of another event."""
    with Ledger.open(home.ledger) as ledger:
        line = ledger.last_live(before=pd.Timestamp(score.as_of), target=target)
    return None if line is None or canonical(line.body["outcome"]) != canonical(score.outcome) else Previous.of(line.body)


def live_record(home: Home, score: Score) -> list[LiveRow]:
    """How every model does that forecasts live, the champion and its rivals."""
    with Ledger.open(home.ledger) as ledger:
        return live_rows(ledger, score.market, score.target)


def audited(store: Store, day: pd.Timestamp, target: Target) -> dict[str, Any] | None:
    """The audit of the claim, as the page reads it; None for a target the claim says nothing of."""
    return audit(store, day).to_dict() if target.is_default else None


def backtest_of(store: Store, card: Card, forecasts: pd.DataFrame, day: pd.Timestamp) -> Mapping[str, Any] | None:
    """What following the champion's out-of-sample forecasts up to a day would have meant; None where nothing can be dealt,
    or the target isn't the altcoin index.

    forecasts: as_of, horizon, probability, climatology.
    """
    if not card.target.is_default:
        return None
    horizon = judged_horizon(card.horizons)
    judged = forecasts[(forecasts["horizon"] == horizon) & (forecasts["as_of"] <= day)].set_index("as_of")
    try:
        return backtest_rows(
            following(
                judged["probability"],
                judged["climatology"],
                load_index(store, day).level.dropna(),
                bitcoin(store, day),
                model=card.model,
                market=card.market,
                horizon=horizon,
                trials=card.trials,
                seed=TrainSettings().seed,
            )
        )
    except MissingData:
        return None


def backtest_rows(found: Following) -> dict[str, Any]:
    """One row a holding; the sentence says what the lead is worth, the notes what it leaves out."""
    rows = [
        (
            one.name,
            signed_percent(one.growth),
            percent(one.maximum_drawdown),
            percent(one.exposure),
            str(one.switches),
            percent(one.costs),
        )
        for one in found.records
    ]
    span = f"From {found.first:%Y-%m} to {found.last:%Y-%m}, at {found.cost:.1%} for each purchase and sale."
    return {"sentence": f"{span} {found.worth}", "columns": COLUMNS, "rows": rows, "notes": [CAVEAT]}
