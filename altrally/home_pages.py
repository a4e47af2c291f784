"""What people see in a terminal of a home: coverage, rewritten pasts, the ledger, a daily round. Nothing is computed here."""

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import pandas as pd
from rich.console import Group, RenderableType
from rich.markup import escape
from rich.table import Table
from rich.text import Text

from altrally.columns import PlainTable
from altrally.forecast import HorizonForecast
from altrally.ledger import Entry
from altrally.render import market_banner, outcome_text, probability_table
from altrally.watch import Round
from core.number_format import interval, number
from core.target import target_from_summary
from sources.quality import REFUSE_BELOW, WARN_BELOW

CHANGES, MONTHS = 5, 12


def coverage_part(facts: Mapping[str, Any]) -> RenderableType:
    """The last month's coverage, the lowest of the past, the sources of coins and the last changes of source."""
    return Group(*(Text(line) for line in lines(facts)))


def lines(facts: Mapping[str, Any]) -> list[str]:
    """One fact a line."""
    said: list[str] = []
    if facts["coverage"]:
        last, worst = facts["coverage"][-1], min(facts["coverage"], key=lambda month: month["share"])
        missing = f"; missing: {', '.join(last['missing'])}" if last["missing"] else ""
        of = "of the market cap of the 50 largest known coins"
        said.append(f"Prices for {last['share']:.0%} {of} on {last['month_end']}{missing}.")
        said.append(f"The least was {worst['share']:.0%} on {worst['month_end']}.")
        year = ", ".join(f"{month['month_end'][:7]} {month['share']:.0%}" for month in facts["coverage"][-MONTHS:])
        said.append(f"By month: {year}.")
        if last["share"] < WARN_BELOW:
            what = "no forecast is given" if last["share"] < REFUSE_BELOW else "a forecast carries a warning"
            said.append(f"Under {REFUSE_BELOW if last['share'] < REFUSE_BELOW else WARN_BELOW:.0%} {what}.")
    else:
        said.append("How much of the market has a price can't be told: no market caps are known of coins without one.")
    by_coin = Counter(row["symbol"] for row in facts["coin_sources"])
    counts = Counter({row["symbol"]: row["source"] for row in facts["coin_sources"]}.values())
    said.append("Coins by source of their price: " + ", ".join(f"{name} {count}" for name, count in counts.most_common()) + ".")
    changed = [row for row in facts["coin_sources"] if by_coin[row["symbol"]] > 1]
    said += [f"{row['symbol']}: {row['source']} from {row['first']} to {row['last']}" for row in changed[-2 * CHANGES :]]
    if facts["needs_key"] and facts["market"] == "live":
        said.append(f"{', '.join(facts['needs_key'])} are revised after the fact; they need a free key in FRED_API_KEY.")
    if facts["from_the_future"]:
        said.append(f"{facts['from_the_future']:,} rows were stored under a clock that was ahead. Run `altrally repair`.")
    return said


LINES = 12
NAMED = 3


def rewritten_part(found: Sequence[Mapping[str, Any]], remembered: pd.Timedelta) -> RenderableType:
    """The newest of what was rewritten, silent corrections and published revisions."""
    if not found:
        return Text(f"No source rewrote its past within {remembered.days} days.", style="dim")
    table = PlainTable("rewritten", "on", "by", "days", "from", "to", "largest change", least_needed=("from", "to", "by"))
    for one in found[:LINES]:
        by = f"{one['source']}{' (a published revision)' if one['revision'] else ''}"
        change = "–" if one["largest"] is None else f"{one['largest']:.2%}"
        table.add_row(escape(one["code"]), one["known"], by, f"{one['days']:,}", one["first"], one["last"], change)
    more = len(found) - LINES
    return Group(table, Text(f"{more} more in `altrally status --json`.", style="dim")) if more > 0 else table


def late_part(found: Sequence[Mapping[str, Any]]) -> RenderableType:
    """The newest of what came late."""
    if not found:
        return Text("")
    table = PlainTable("came late", "on", "from", "days", "of", "to", "known from", least_needed=("of", "to", "from"))
    for one in found[:LINES]:
        codes = ", ".join(one["codes"][:NAMED]) + (f" and {len(one['codes']) - NAMED} more" if len(one["codes"]) > NAMED else "")
        known = one["known"] if one["dated_late"] else "its own day (stored by an older version)"
        table.add_row(escape(codes), one["fetched_at"], one["source"], f"{one['days']:,}", one["first"], one["last"], known)
    more = len(found) - LINES
    return Group(table, Text(f"{more} more in `altrally status --json`.", style="dim")) if more > 0 else table


RULE = "Windows of forecasts overlap: n counts days, windows those that don't. Evidence of 20 shows skill: docs/evidence.md."


def entry_note(entry: Entry) -> Text:
    """Where a forecast is recorded."""
    if entry.new:
        return Text(f"Recorded as line {entry.number} of the ledger.", style="dim")
    return Text(f"The same forecast is line {entry.number} of the ledger already; nothing was added.", style="dim")


def ledger_page(facts: dict[str, Any]) -> Group:
    """The track record: chain, counts, running scores and reliability, live before backtest; then the evidence by model."""
    parts = (market_banner(facts["market"]), *chain_lines(facts), record_table(facts["records"]), *notes(facts["records"]))
    return Group(*parts, *([evidence_table(facts["evidence"])] if facts["evidence"] else []))


def evidence_table(rows: Sequence[dict[str, Any]]) -> Table:
    """One row a model that forecasts live, the champion and its rivals."""
    title = f"Evidence so far, live; 20 shows skill. Brier scores {rows[0]['horizon']} days ahead, on the days both forecast"
    heads = (
        "model",
        "since",
        "weeks",
        "evidence",
        "n",
        "Brier",
        "champion's",
        "evidence against volatility",
        "against climatology",
    )
    least = ("weeks", "champion's", "n", "against climatology", "since")
    table = PlainTable(*heads, title=title, least_needed=least)
    for row in rows:
        against = (number(row["e_values"].get(name), 2) for name in ("volatility", "climatology"))
        scores = (number(row["brier"], 4), number(row["champion_brier"], 4))
        counts = (str(row["weeks"]), f"{row['e_value']:.2f}", str(row["n"]))
        table.add_row(row["model"], row["registered"], *counts, *scores, *against)
    return table


def chain_lines(facts: dict[str, Any]) -> Iterator[Text]:
    """What the ledger holds and that its chain holds."""
    yield Text.assemble((facts["ledger"], "bold"), f" · {facts['lines']} lines, chain whole · head {facts['head']}")
    counts = facts["forecasts"]
    yield Text(
        f"{counts['live']} live forecasts (issued within 3 days of their day), {counts['backtest']} backtests, "
        f"{counts['in_sample']} in sample, never judged; {counts['repeated']} more of a day that had one; "
        f"{facts['outcomes']} outcomes, {facts['resolved_now']} of them recorded now."
    )


def record_table(records: Sequence[dict[str, Any]]) -> Table:
    """One row a record, event and horizon."""
    scores = ("Brier", "base rate's", "log", "skill against the base rate issued")
    heads = ("record", "event", "days", "n", "pending", "windows", "came", "base rate", *scores)
    table = PlainTable(*heads, least_needed=("log", "pending", "base rate", "base rate's", "windows", "came", "Brier"))
    for row in records:
        event = event_of(row["outcome"])
        counts = (str(row["horizon"]), str(row["n"]), str(row["pending"]), str(row["windows"]))
        shares = (number(row["event_rate"], 2), number(row["base_rate"], 2))
        losses = (number(row["brier"], 4), number(row["base_rate_brier"], 4), number(row["log_score"], 3))
        table.add_row(row["record"], event, *counts, *shares, *losses, escape(row["note"] or interval(row["skill_base_rate"])))
    return table


def event_of(outcome: Mapping[str, Any]) -> str:
    """What was forecast: of a target that isn't the default one its name too."""
    asked = f"{outcome['kind']} {outcome['threshold']:g}"
    return f"{outcome['target']['name']}: {asked}" if "target" in outcome else asked


def notes(records: Sequence[dict[str, Any]]) -> Iterator[RenderableType]:
    """Reliability, what can't be resolved, and how to read it all."""
    if any(row["reliability"] for row in records):
        yield reliability_table(records)
    stuck = sum(row["overdue"] for row in records)
    if stuck:
        yield Text(f"{stuck} forecasts are over and can't be resolved: prices are missing on a day they need.")
    yield Text(RULE, style="dim")


def reliability_table(records: Sequence[dict[str, Any]]) -> Table:
    """One row a tenth of the scale that was forecast: how often it was, and how often the event came."""
    table = PlainTable("record", "days", "forecast", "n", "mean", "came")
    for row in records:
        for part in row["reliability"]:
            span = f"{part['low']:.1f} – {part['low'] + 0.1:.1f}"
            means = (f"{part['probability']:.2f}", f"{part['share']:.2f}")
            table.add_row(row["record"], str(row["horizon"]), span, str(part["count"]), *means)
    return table


def watch_page(done: Round) -> Group:
    """What was brought, said, trained, resolved and told."""
    header = Text.assemble((done.as_of, "bold"), f" · {done.market} market · {done.new_rows:,} new rows")
    return Group(market_banner(done.market), header, *said(done.forecast), *news(done))


def said(forecast: dict[str, Any] | None) -> Iterator[RenderableType]:
    """The forecast as `score` prints it, in brief; nothing where there is none."""
    if forecast is None:
        return
    yield outcome_text(target_from_summary(forecast["outcome"], [row["days"] for row in forecast["horizons"]]))
    yield probability_table([HorizonForecast(**row) for row in forecast["horizons"]])
    yield Text(f"Skill: {forecast.get('grade') or 'not shown'}. `altrally score` says what that rests on.")
    yield Text(f"Line {forecast['line']} of the ledger, issued {forecast['issued_at']}.", style="dim")


def news(done: Round) -> Iterator[Text]:
    """The rest, a line each."""
    yield from (Text(decision) for decision in done.decisions)
    if done.resolved:
        yield Text(f"{done.resolved} outcomes became known and were recorded.")
    yield from (Text(notice["text"], style="bold") for notice in done.notices)
    yield from (Text(warning, style="dim") for warning in done.warnings)
    yield Text("The interval is parameter uncertainty only. Not investment advice.", style="dim")
