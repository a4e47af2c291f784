"""What people see in a terminal. Numbers come in finished; nothing is computed here."""

from collections.abc import Iterable, Sequence
from typing import Any

import pandas as pd
from rich.console import Console, Group, RenderableType
from rich.markup import escape
from rich.table import Table
from rich.text import Text

from altrally.score import Score

SIMULATED = "[bold yellow]Simulated market.[/] Nothing below is about the real one."
SCALE_CELLS = 40
OUTCOME_WORDS = {
    "first_passage": "P(altcoin index closes ≥ {threshold:.0%} above its close at as_of, within …)",
    "terminal": "P(altcoin index ≥ {threshold:.0%} higher at the horizon)",
    "relative": "P(altcoin index beats BTC at the horizon)",
}


def market_banner(market: str | None) -> RenderableType:
    """The simulated market says so on every output."""
    return Text.from_markup(SIMULATED) if market == "simulated" else Text("")


def score_page(score: Score, *, version_note: str = "") -> Group:
    """A forecast: probabilities beside base rates, what they are worth, what moved them."""
    model = score.model
    header = f"[bold]{score.as_of}[/] · {score.market} market · snapshot {score.snapshot} · {model['name']} v{model['version']} {version_note}"
    return Group(
        market_banner(score.market),
        Text.from_markup(header),
        Text(OUTCOME_WORDS[score.outcome["kind"]].format(threshold=score.outcome["threshold"]), style="dim"),
        probability_table(score),
        Text(score.skill["sentence"]),
        driver_table(score),
        *notes(score),
    )


def probability_table(score: Score) -> Table:
    """One row a horizon on a scale from 0 to 1; the bar is the interval, ● the probability, │ the base rate."""
    table = Table("days", "probability", "90 % interval", "base rate", Text(f"0{'':{SCALE_CELLS - 2}}1"), box=None, pad_edge=False)
    for row in score.horizons:
        scale = scale_text(row.probability, row.low, row.high, row.base_rate)
        table.add_row(str(row.days), f"{row.probability:.2f}", f"{row.low:.2f} – {row.high:.2f}", f"{row.base_rate:.2f}", scale)
    return table


def scale_text(probability: float, low: float, high: float, base_rate: float) -> Text:
    """A plain scale of `SCALE_CELLS` cells."""
    cells = ["·"] * SCALE_CELLS
    for position in range(cell(low), cell(high) + 1):
        cells[position] = "━"
    cells[cell(base_rate)] = "│"
    cells[cell(probability)] = "●"
    return Text("".join(cells))


def cell(share: float) -> int:
    """Which cell of the scale a share from 0 to 1 falls in."""
    return min(int(share * SCALE_CELLS), SCALE_CELLS - 1)


def driver_table(score: Score) -> Table:
    """Blocks, largest effect first."""
    table = Table("block", "log-odds against its training mean", box=None, pad_edge=False)
    for driver in sorted(score.drivers, key=lambda driver: -abs(driver.contribution)):
        table.add_row(driver.block, f"{driver.contribution:+.2f}" + (" (missing: neutral)" if driver.block in score.neutral else ""))
    return table


def notes(score: Score) -> Iterable[Text]:
    """What a reader must know before using the number."""
    if score.in_sample:
        yield Text("In sample: the model has seen what followed this day. This is not a forecast.", style="bold red")
    stale = [line["series"] for line in score.freshness if not line["fresh"]]
    if stale:
        yield Text(f"Missing or out of date on that day ({len(stale)} of {len(score.freshness)}): {', '.join(stale)}", style="dim")
    yield Text("The interval is parameter uncertainty only. Not investment advice.", style="dim")


def interval(part: dict[str, Any]) -> str:
    """A value with its 95 % interval."""
    if part.get("value") is None:
        return "–"
    if part.get("low") is None:
        return f"{part['value']:+.3f}"
    return f"{part['value']:+.3f} [{part['low']:+.3f}, {part['high']:+.3f}]"


def verification_table(rows: Sequence[dict[str, Any]]) -> Table:
    """One row a model and horizon: scores, and skill against the three baselines with 95 % intervals."""
    skills = ("skill against climatology", "against random walk", "against momentum")
    table = Table("model", "days", "n", "n eff.", "base", "Brier", "log", "AUC", *skills, box=None, pad_edge=False)
    for row in rows:
        counts = (str(row["horizon"]), str(row["n"]), number(row["n_effective"], ".0f"), number(row["base_rate"], ".2f"))
        scores = (number(row["brier"], ".4f"), number(row["log_score"], ".3f"), number(row["auc"], ".2f"))
        table.add_row(
            row["model"], *counts, *scores, *(interval(row[f"skill_{name}"]) for name in ("climatology", "random_walk", "momentum"))
        )
    return table


def number(value: float | None, form: str) -> str:
    """A number, or a dash where it can't be had."""
    return "–" if value is None else format(value, form)


def frame_table(frame: pd.DataFrame) -> Table:
    """A data frame as it is; what is missing is a dash."""
    table = Table(*map(str, frame.columns), box=None, pad_edge=False)
    for row in frame.itertuples(index=False):
        table.add_row(*("–" if pd.isna(value) else escape(str(value)) for value in row))
    return table


def feature_list(catalogue: pd.DataFrame) -> Group:
    """The catalogue by block: a table to scan, the rationale under each formula."""
    parts: list[RenderableType] = []
    for block, members in catalogue.groupby("block", sort=False):
        table = Table("feature", "sign", "lag", "known", "formula, unit and why", title=str(block), title_justify="left", box=None)
        for row in members.to_dict("records"):
            sign = {1: "+", -1: "−", 0: "·"}[row["sign"]]
            what = f"{row['formula']} [dim]({escape(row['unit'])}; {escape(row['sources'])})[/]\n[dim]{escape(row['rationale'])}[/]"
            table.add_row(row["name"], sign, f"{row['release_lag_days']} d", f"{row['coverage']:.0%}", what)
        parts.append(table)
    return Group(*parts)


def show(*parts: RenderableType) -> None:
    """Print to the terminal, or plainly where there is none."""
    console = Console()
    for part in parts:
        console.print(part)
