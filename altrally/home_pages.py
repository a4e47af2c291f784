"""Pages of a home for the terminal: coverage, rewritten and late data, the ledger, a daily round. Nothing is computed here."""

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

CHANGES_SHOWN, MONTHS_SHOWN, ROWS_SHOWN, CODES_SHOWN = 5, 12, 12, 3


def coverage_part(status: Mapping[str, Any]) -> RenderableType:
    """Coverage of the market by prices, the sources of coins and their last changes, one line each."""
    return Group(*(Text(line) for line in coverage_lines(status)))


def coverage_lines(status: Mapping[str, Any]) -> list[str]:
    """The lines of `coverage_part`; `status` is the dict that `status --json` prints."""
    lines: list[str] = []
    if status["coverage"]:
        last, worst = status["coverage"][-1], min(status["coverage"], key=lambda month: month["share"])
        missing = f"; missing: {', '.join(last['missing'])}" if last["missing"] else ""
        of = "of the market cap of the 50 largest known coins"
        lines.append(f"Prices for {last['share']:.0%} {of} on {last['month_end']}{missing}.")
        lines.append(f"The least was {worst['share']:.0%} on {worst['month_end']}.")
        year = ", ".join(f"{month['month_end'][:7]} {month['share']:.0%}" for month in status["coverage"][-MONTHS_SHOWN:])
        lines.append(f"By month: {year}.")
        if last["share"] < REFUSE_BELOW:
            lines.append(f"Under {REFUSE_BELOW:.0%} no forecast is given.")
        elif last["share"] < WARN_BELOW:
            lines.append(f"Under {WARN_BELOW:.0%} a forecast carries a warning.")
    else:
        lines.append("How much of the market has a price can't be told: no market caps are known of coins without one.")
    sources = status["coin_sources"]
    sources_of_coin = Counter(row["symbol"] for row in sources)
    coins_of_source = Counter({row["symbol"]: row["source"] for row in sources}.values())
    counts = ", ".join(f"{name} {count}" for name, count in coins_of_source.most_common())
    lines.append(f"Coins by source of their price: {counts}.")
    changed = [row for row in sources if sources_of_coin[row["symbol"]] > 1]
    lines += [f"{row['symbol']}: {row['source']} from {row['first']} to {row['last']}" for row in changed[-2 * CHANGES_SHOWN :]]
    if status["needs_key"] and status["market"] == "live":
        lines.append(f"{', '.join(status['needs_key'])} are revised after the fact; they need a free key in FRED_API_KEY.")
    if status["from_the_future"]:
        lines.append(f"{status['from_the_future']:,} rows were stored under a clock that was ahead. Run `altrally repair`.")
    return lines


def rewritten_part(rewrites: Sequence[Mapping[str, Any]], period: pd.Timedelta) -> RenderableType:
    """The newest corrections of past data by a source and published revisions, one row each; `period` is how far back they go."""
    if not rewrites:
        return Text(f"No source rewrote its past within {period.days} days.", style="dim")
    table = PlainTable("rewritten", "on", "by", "days", "from", "to", "largest change", least_needed=("from", "to", "by"))
    for row in rewrites[:ROWS_SHOWN]:
        by = f"{row['source']}{' (a published revision)' if row['revision'] else ''}"
        change = "–" if row["largest"] is None else f"{row['largest']:.2%}"
        table.add_row(escape(row["code"]), row["known"], by, f"{row['days']:,}", row["first"], row["last"], change)
    return with_rest(table, len(rewrites))


def late_part(arrivals: Sequence[Mapping[str, Any]]) -> RenderableType:
    """The newest rows that arrived later than they should have, one row per fetch and source."""
    if not arrivals:
        return Text("")
    table = PlainTable("came late", "on", "from", "days", "of", "to", "known from", least_needed=("of", "to", "from"))
    for row in arrivals[:ROWS_SHOWN]:
        more = len(row["codes"]) - CODES_SHOWN
        codes = ", ".join(row["codes"][:CODES_SHOWN]) + (f" and {more} more" if more > 0 else "")
        known = row["known"] if row["dated_late"] else "its own day (stored by an older version)"
        table.add_row(escape(codes), row["fetched_at"], row["source"], f"{row['days']:,}", row["first"], row["last"], known)
    return with_rest(table, len(arrivals))


def with_rest(table: Table, count: int) -> RenderableType:
    """The table, and a line on how many of `count` rows it leaves out."""
    more = count - ROWS_SHOWN
    return Group(table, Text(f"{more} more in `altrally status --json`.", style="dim")) if more > 0 else table


RULE = "Windows of forecasts overlap: n counts days, windows those that don't. Evidence of 20 shows skill: docs/evidence.md."


def entry_note(entry: Entry) -> Text:
    """The line of the ledger that holds a forecast."""
    if entry.new:
        return Text(f"Recorded as line {entry.number} of the ledger.", style="dim")
    return Text(f"The same forecast is line {entry.number} of the ledger already; nothing was added.", style="dim")


def ledger_page(summary: dict[str, Any]) -> Group:
    """The track record: chain, counts, running scores and reliability, live before backtest; then the evidence by model."""
    records = summary["records"]
    parts = (market_banner(summary["market"]), *chain_lines(summary), record_table(records), *record_notes(records))
    return Group(*parts, *([evidence_table(summary["evidence"])] if summary["evidence"] else []))


def evidence_table(rows: Sequence[dict[str, Any]]) -> Table:
    """One row per model that forecasts live, the champion and the others."""
    title = f"Evidence so far, live; 20 shows skill. Brier scores {rows[0]['horizon']} days ahead, on the days both forecast"
    against = ("evidence against volatility", "against climatology")
    heads = ("model", "since", "weeks", "evidence", "n", "Brier", "champion's", *against)
    table = PlainTable(*heads, title=title, least_needed=("weeks", "champion's", "n", "against climatology", "since"))
    for row in rows:
        e_values = (number(row["e_values"].get(name), 2) for name in ("volatility", "climatology"))
        scores = (number(row["brier"], 4), number(row["champion_brier"], 4))
        counts = (str(row["weeks"]), f"{row['e_value']:.2f}", str(row["n"]))
        table.add_row(row["model"], row["registered"], *counts, *scores, *e_values)
    return table


def chain_lines(summary: dict[str, Any]) -> Iterator[Text]:
    """The head of the ledger, and its forecasts and outcomes in numbers."""
    yield Text.assemble((summary["ledger"], "bold"), f" · {summary['lines']} lines, chain whole · head {summary['head']}")
    counts = summary["forecasts"]
    yield Text(
        f"{counts['live']} live forecasts (issued within 3 days of their day), {counts['backtest']} backtests, "
        f"{counts['in_sample']} in sample, never judged; {counts['repeated']} more of a day that had one; "
        f"{summary['outcomes']} outcomes, {summary['resolved_now']} of them recorded now."
    )


def record_table(records: Sequence[dict[str, Any]]) -> Table:
    """One row per record (live or backtest), event and horizon."""
    scores = ("Brier", "base rate's", "log", "skill against the base rate issued")
    heads = ("record", "event", "days", "n", "pending", "windows", "came", "base rate", *scores)
    table = PlainTable(*heads, least_needed=("log", "pending", "base rate", "base rate's", "windows", "came", "Brier"))
    for row in records:
        outcome = row["outcome"]
        event = f"{outcome['kind']} {outcome['threshold']:g}"
        if "target" in outcome:
            event = f"{outcome['target']['name']}: {event}"
        counts = (str(row["horizon"]), str(row["n"]), str(row["pending"]), str(row["windows"]))
        shares = (number(row["event_rate"], 2), number(row["base_rate"], 2))
        losses = (number(row["brier"], 4), number(row["base_rate_brier"], 4), number(row["log_score"], 3))
        table.add_row(row["record"], event, *counts, *shares, *losses, escape(row["note"] or interval(row["skill_base_rate"])))
    return table


def record_notes(records: Sequence[dict[str, Any]]) -> Iterator[RenderableType]:
    """The reliability table if there is one, the number of forecasts that can't be resolved, and how to read the record."""
    if any(row["reliability"] for row in records):
        yield reliability_table(records)
    unresolvable = sum(row["overdue"] for row in records)
    if unresolvable:
        yield Text(f"{unresolvable} forecasts are over and can't be resolved: prices are missing on a day they need.")
    yield Text(RULE, style="dim")


def reliability_table(records: Sequence[dict[str, Any]]) -> Table:
    """One row per tenth of the probability scale: number of forecasts, their mean, and the share followed by the event."""
    table = PlainTable("record", "days", "forecast", "n", "mean", "came")
    for row in records:
        for part in row["reliability"]:
            span = f"{part['low']:.1f} – {part['low'] + 0.1:.1f}"
            means = (f"{part['probability']:.2f}", f"{part['share']:.2f}")
            table.add_row(row["record"], str(row["horizon"]), span, str(part["count"]), *means)
    return table


def watch_page(result: Round) -> Group:
    """A daily round: new rows, the forecast, decisions of a training, outcomes recorded, notices and warnings."""
    parts: list[RenderableType] = [
        market_banner(result.market),
        Text.assemble((result.as_of, "bold"), f" · {result.market} market · {result.new_rows:,} new rows"),
    ]
    forecast = result.forecast
    if forecast is not None:
        horizons = forecast["horizons"]
        parts += [
            outcome_text(target_from_summary(forecast["outcome"], [row["days"] for row in horizons])),
            probability_table([HorizonForecast(**row) for row in horizons]),
            Text(f"Skill: {forecast.get('grade') or 'not shown'}. `altrally score` says what that rests on."),
            Text(f"Line {forecast['line']} of the ledger, issued {forecast['issued_at']}.", style="dim"),
        ]
    parts += [Text(decision) for decision in result.decisions]
    if result.resolved:
        parts.append(Text(f"{result.resolved} outcomes became known and were recorded."))
    parts += [Text(notice["text"], style="bold") for notice in result.notices]
    parts += [Text(warning, style="dim") for warning in result.warnings]
    parts.append(Text("The interval is parameter uncertainty only. Not investment advice.", style="dim"))
    return Group(*parts)
