"""A round of the daily job as people see it in a terminal."""

from collections.abc import Iterator
from typing import Any

from rich.console import Group, RenderableType
from rich.text import Text

from altrally.render import market_banner, outcome_text, probability_table
from altrally.score import HorizonForecast
from altrally.watch import Round
from sources.target import target_of


def watch_page(done: Round) -> Group:
    """What was brought, said, trained, resolved and told."""
    header = Text.assemble((done.as_of, "bold"), f" · {done.market} market · {done.new_rows:,} new rows")
    return Group(market_banner(done.market), header, *said(done.forecast), *news(done))


def said(forecast: dict[str, Any] | None) -> Iterator[RenderableType]:
    """The forecast as `score` prints it, in brief; nothing where there is none."""
    if forecast is None:
        return
    yield outcome_text(target_of(forecast["outcome"], [row["days"] for row in forecast["horizons"]]))
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
