"""The audit of the claim in words and rows, and what other parts of altrally add to the page."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import pandas as pd

from altrally.report.content import Facts
from altrally.report.words import champion_row, count, percent, signed_percent
from core.errors import MissingData
from core.number_format import number, signed
from core.target import judged_horizon
from features.altcoin_index import load_index
from models.card import Card
from sources.store import Store
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
    """One correlation: its text, its strength (0-4), and whether it lies outside the 95 % band of chance."""

    text: str
    level: int
    outside: bool


@dataclass(frozen=True)
class Link:
    """One link of the claim and its correlations by lag in weeks."""

    name: str
    lags: list[str]
    cells: list[Cell]


def verdict_class(verdict: str) -> str:
    """The CSS class of a verdict: yes, no or open."""
    return "yes" if verdict == SUPPORTED else "no" if verdict == NOT_SUPPORTED else "open"


def verdict_word(verdict: str) -> str:
    """A verdict without the count behind it."""
    return verdict.partition(" (")[0]


def finding(audit: Mapping[str, Any]) -> str:
    """How many lines of the claim are supported, not supported, and open."""
    classes = [verdict_class(line["verdict"]) for line in audit["lines"]]
    yes, no, open_lines = (classes.count(name) for name in ("yes", "no", "open"))
    supported = f"Of the claim’s {count(len(classes))} lines {count(yes)} {'is' if yes <= 1 else 'are'} supported"
    return f"{supported}, {count(no)} {'is' if no <= 1 else 'are'} not, and {count(open_lines)} can’t be told"


def answer(facts: Facts) -> str:
    """Whether the claim is true, in a sentence or two."""
    if facts.audit:
        return f"{finding(facts.audit)}."
    return f"Not audited here. {claim_gain(facts)}"


def claim_gain(facts: Facts) -> str:
    """The Brier gain by small caps, volume and liquidity over crypto's own state, with its raw p, in a sentence."""
    row = champion_row(facts)
    if row is None or not row.get("claim_null"):
        return "No test of it is kept with this model."
    gain, p = row["claim_null"]["observed"], row["claim_null_p"]
    verb = "improved" if gain > 0 else "worsened"
    meaning = "one of many tests tried, so a hint at most" if p < LEVEL else "chance does as well too often"
    return (
        f"Small caps, volume and liquidity {verb} the Brier score of crypto’s own state by {percent(abs(gain), 1)}; "
        f"raw p {number(p, 3)}: {meaning}."
    )


def breakouts(audit: Mapping[str, Any]) -> tuple[list[Mapping[str, Any]], int]:
    """Breakouts by the default rule, latest first, and the number of those before any altcoin index."""
    events = (audit.get("breakouts") or {}).get("events") or []
    by_rule = [event for event in events if (event.get("kind"), event.get("quiet")) == DEFAULT_RULE]
    shown = [event for event in by_rule if event.get("unknown") != NO_INDEX]
    return sorted(shown, key=lambda event: str(event["day"]), reverse=True), len(by_rule) - len(shown)


def return_after(event: Mapping[str, Any], days: int) -> str:
    """Return of altcoins `days` after a breakout, in percent; a dash where it is unknown."""
    rows = (event.get("followed") or {}).get(ALTCOINS) or []
    value = next((row["value"] for row in rows if row["days"] == days), None)
    return "–" if value is None else signed_percent(value)


def passage_days(event: Mapping[str, Any]) -> str:
    """Days until altcoins stood 30 % higher, as text, or why there is no such number."""
    wait = event.get("first_passage_days")
    return str(wait) if wait is not None else event.get("unknown") or f"none in {event.get('days_seen')}"


def lead_lag(audit: Mapping[str, Any]) -> list[Link]:
    """The rows of the heat map: one per link that was measured, every second week up to 12 weeks either way."""
    rows = []
    for link in (audit.get("cascade") or {}).get("lead_lag") or []:
        measured = link.get("correlations")
        if measured:
            pairs = zip(measured["lags"], measured["correlation"], strict=True)
            shown = [(lag, value) for lag, value in pairs if lag % 2 == 0 and abs(lag) <= FARTHEST]
            lags = [signed(lag, 0) if lag else "0" for lag, _ in shown]
            rows.append(Link(f"{link['driver']} → {link['target']}", lags, [cell(v, measured["joint_band"]) for _, v in shown]))
    return rows


def cell(value: float | None, band: float | None) -> Cell:
    """A cell of the heat map; `band`: largest correlation that chance gives in 95 % of cases."""
    if value is None:
        return Cell("–", 0, False)
    level = sum(abs(value) >= step for step in HEAT_STEPS)
    return Cell(signed(value, 2), level, band is not None and abs(value) > band)


COLUMNS = ("", "growth a year", "worst fall", "share of days in altcoins", "switches", "lost to dealing")


def backtest(store: Store, card: Card, forecasts: pd.DataFrame, day: pd.Timestamp) -> Mapping[str, Any] | None:
    """Table of a backtest that follows the champion's out-of-sample forecasts up to a day.

    None where nothing can be traded, or the target isn't the altcoin index. forecasts: as_of, horizon, probability, climatology.
    """
    if not card.target.is_default:
        return None
    horizon = judged_horizon(card.horizons)
    judged = forecasts[(forecasts["horizon"] == horizon) & (forecasts["as_of"] <= day)].set_index("as_of")
    try:
        return backtest_table(
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


def backtest_table(result: Following) -> dict[str, Any]:
    """A backtest as a dict: columns, one row per strategy, a sentence on its result, and notes on its limits."""
    rows = [
        (
            record.name,
            signed_percent(record.growth),
            percent(record.maximum_drawdown),
            percent(record.exposure),
            str(record.switches),
            percent(record.costs),
        )
        for record in result.records
    ]
    span = f"From {result.first:%Y-%m} to {result.last:%Y-%m}, at {result.cost:.1%} for each purchase and sale."
    return {"sentence": f"{span} {result.worth}", "columns": COLUMNS, "rows": rows, "notes": [CAVEAT]}
