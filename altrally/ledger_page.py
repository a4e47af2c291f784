"""The ledger as people see it in a terminal. Numbers come in finished; nothing is computed here."""

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from rich.console import Group, RenderableType
from rich.markup import escape
from rich.table import Table
from rich.text import Text

from altrally.ledger import Entry
from altrally.render import interval, market_banner, number

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
    table = Table(*heads, title=title, title_justify="left", box=None, pad_edge=False)
    for row in rows:
        against = (number(row["e_values"].get(name), ".2f") for name in ("volatility", "climatology"))
        scores = (number(row["brier"], ".4f"), number(row["champion_brier"], ".4f"))
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
    table = Table("record", "event", "days", "n", "pending", "windows", "came", "base rate", *scores, box=None, pad_edge=False)
    for row in records:
        event = event_of(row["outcome"])
        counts = (str(row["horizon"]), str(row["n"]), str(row["pending"]), str(row["windows"]))
        shares = (number(row["event_rate"], ".2f"), number(row["base_rate"], ".2f"))
        losses = (number(row["brier"], ".4f"), number(row["base_rate_brier"], ".4f"), number(row["log_score"], ".3f"))
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
    table = Table("record", "days", "forecast", "n", "mean", "came", box=None, pad_edge=False)
    for row in records:
        for part in row["reliability"]:
            span = f"{part['low']:.1f} – {part['low'] + 0.1:.1f}"
            means = (f"{part['probability']:.2f}", f"{part['share']:.2f}")
            table.add_row(row["record"], str(row["horizon"]), span, str(part["count"]), *means)
    return table
