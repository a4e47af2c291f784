"""What people see in a terminal. Numbers come in finished; nothing is computed here."""

from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from shlex import quote
from typing import Any

import pandas as pd
from rich.console import Console, Group, RenderableType
from rich.markup import escape
from rich.table import Table
from rich.text import Text

from altrally.forecast import Curve, HorizonForecast, Score
from altrally.wording import sentence
from core.home import command
from core.target import Target
from sources.fetch import FetchReport
from training.train import BASELINE_WORDS, TrainReport

SIMULATED = "[bold yellow]Simulated market.[/] Nothing below is about the real one."
SCALE_CELLS = 36
WIDE = 200
OLD_DAYS = 7
USES_THE_FUTURE = "Cycles left out (trained on what came before and after: robustness, never skill)"


def market_banner(market: str | None) -> RenderableType:
    """The simulated market says so on every output."""
    return Text.from_markup(SIMULATED) if market == "simulated" else Text("")


def score_page(score: Score) -> Group:
    """A forecast: probabilities beside base rates, what they are worth, what moved them."""
    model = score.model
    about = f"{score.market} market · snapshot {score.snapshot} · {model['name']} v{model['version']}{score.target.name_suffix}"
    return Group(
        market_banner(score.market),
        Text.assemble((score.as_of, "bold"), f" · {about}"),
        outcome_text(score.target),
        probability_table(score.horizons),
        *([] if score.curve is None else [highest_close_table(score.curve)]),
        Text(score.skill["evidence"]["sentence"]),
        Text(score.skill["sentence"], style="dim"),
        driver_table(score),
        *notes(score),
    )


def outcome_text(target: Target) -> Text:
    """The event whose probability is told."""
    return Text(sentence(target), style="dim")


def probability_table(horizons: Sequence[HorizonForecast]) -> Table:
    """One row a horizon on a scale from 0 to 1; the bar is the interval, ● the probability, │ the base rate."""
    table = Table("days", "probability", "90 % interval", "base rate", f"0{'':{SCALE_CELLS - 2}}1", box=None, pad_edge=False)
    for row in horizons:
        scale = scale_text(row.probability, row.low, row.high, row.base_rate)
        table.add_row(str(row.days), f"{row.probability:.2f}", f"{row.low:.2f} – {row.high:.2f}", f"{row.base_rate:.2f}", scale)
    return table


def highest_close_table(curve: Curve) -> Table:
    """How far above today's close the highest one may lie, a row a horizon."""
    levels = list(curve.horizons[0].quantiles)
    heads = [f"{float(level):.0%} of times at most" if place == 0 else f"{float(level):.0%}" for place, level in enumerate(levels)]
    table = Table("days", "highest close:", *heads, box=None, pad_edge=False)
    for row in curve.horizons:
        table.add_row(str(row.days), "", *(f"{row.quantiles[level]:+.0%}" for level in levels))
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
        missing = " (missing: neutral)" if driver.block in score.neutral_blocks else ""
        table.add_row(driver.block, f"{driver.contribution:+.2f}{missing}")
    return table


def notes(score: Score) -> Iterable[Text]:
    """What a reader must know before using the number."""
    if score.in_sample:
        yield Text("In sample: the model has seen what followed this day. This is not a forecast.", style="bold red")
    if score.refit is not None:
        yield Text(f"Answered by the refit of {score.refit}, which had learnt from no outcome that was known later.", style="dim")
    if score.coverage_warning:
        yield Text(score.coverage_warning, style="bold yellow")
    stale = [line["series"] for line in score.freshness if not line["fresh"]]
    if stale:
        yield Text(f"Missing or out of date on that day ({len(stale)} of {len(score.freshness)}): {', '.join(stale)}", style="dim")
    yield Text("The interval is parameter uncertainty only. Not investment advice.", style="dim")


def interval(part: dict[str, Any], form: str = ".3f") -> str:
    """A value with its 95 % interval."""
    if part.get("value") is None:
        return "–"
    if part.get("low") is None:
        return f"{part['value']:+{form}}"
    return f"{part['value']:+{form}} [{part['low']:+{form}}, {part['high']:+{form}}]"


def verification_table(rows: Sequence[dict[str, Any]]) -> Table:
    """One row a model and horizon: scores, skill against the baselines with 95 % intervals, p-values and the grade."""
    skills = ("skill against volatility", "against climatology", "against random walk", "against momentum")
    heads = ("model", "days", "n", "n eff.", "base", "Brier", "log", "AUC", *skills, "null p", "claim's p", "best of N p", "grade")
    table = Table(*heads, box=None, pad_edge=False)
    for row in rows:
        counts = (str(row["horizon"]), str(row["n"]), number(row["n_effective"], ".0f"), number(row["base_rate"], ".2f"))
        scores = (number(row["brier"], ".4f"), number(row["log_score"], ".3f"), number(row["auc"], ".2f"))
        table.add_row(
            row["model"],
            *counts,
            *scores,
            *(escape(interval(row[f"skill_{name}"])) for name in BASELINE_WORDS),
            *(number(row[name], ".3f") for name in ("null_p", "claim_null_p", "best_of_n_p")),
            row["grade"],
        )
    return table


def verification_page(rows: Sequence[dict[str, Any]]) -> Group:
    """The table, and what its p-values are worth; then what was left of each model without a cycle, or without a block."""
    tries = rows[0]["trials"]
    note = (
        f"Null p: of every rotation of outcomes. Best of N p: as the best of what was judged here; {tries} tries were ever counted."
    )
    parts: list[RenderableType] = [verification_table(rows), Text(drift_note(rows[0])), Text(note, style="dim")]
    if "ablation" in rows[0]:
        parts += [left_out_table(rows), ablation_table(rows)]
    return Group(*parts)


def drift_note(row: dict[str, Any]) -> str:
    """The drift score, which is the same for all models."""
    drift = row["drift"]
    if drift is None:
        return "Drift score: none for this outcome."
    return (
        f"Drift score of small caps, volume and liquidity: p {drift['p']:.3f} over {drift['shifts']} circular shifts of "
        f"{drift['weeks']} weeks, about {drift['independent']} of them independent. Nothing in it is fitted."
    )


def left_out_table(rows: Sequence[dict[str, Any]]) -> Table:
    """Each cycle left out of training, and forecast: it uses the future, so it is no skill."""
    table = Table(
        "model", "days", "cycle left out", "n", "Brier gain over climatology", title=USES_THE_FUTURE, box=None, pad_edge=False
    )
    for row in rows:
        for one in row["leave_one_cycle_out"]:
            table.add_row(row["model"], str(row["horizon"]), one["cycle"], str(one["n"]), escape(interval(one["gain"])))
    return table


def ablation_table(rows: Sequence[dict[str, Any]]) -> Table:
    """What each block adds to the default model."""
    table = Table("block", "days", "skill with it less that without", title="Blocks left out", box=None, pad_edge=False)
    for row in rows:
        for one in row["ablation"]:
            table.add_row(one["block"], str(row["horizon"]), escape(interval(one["incremental"])))
    return table


def number(value: float | None, form: str) -> str:
    """A number, or a dash where it can't be had."""
    return "–" if value is None else format(value, form)


def fetch_table(report: FetchReport) -> Group:
    """One line a label: rows that came, what was left out of them and why, what was kept and what of it was new; then what the user
    should know.
    """
    table = Table("", "rows", "left out", "kept", "new", "made missing", box=None, pad_edge=False)
    for line in report.lines:
        counts = (f"{line.received:,}", f"{line.new:,}")
        table.add_row(escape(line.label), f"{line.came:,}", reasons(line.left_out), *counts, reasons(line.made_missing))
    covered = [Text(report.coverage, style="dim")] if report.coverage else []
    return Group(table, *(Text(warning, style="yellow") for warning in report.warnings), *covered)


def reasons(counts: dict[str, int]) -> str:
    """Counts by reason, as one text."""
    return escape(", ".join(f"{count:,} {reason}" for reason, count in counts.items() if count)) or "none"


def training_page(report: TrainReport) -> Group:
    """A training: scores of every model, the sentence on skill, and what became of the aliases."""
    header = (
        f" · {report.market} market · snapshot {report.snapshot} · {report.label} · {report.trials} configurations tried so far"
    )
    return Group(
        market_banner(report.market),
        Text.assemble((f"trained on what was known by {report.until}", "bold"), header),
        verification_table(report.rows),
        Text(report.sentence),
        *(Text(decision) for decision in report.decisions),
    )


def comparison_page(rows: Sequence[dict[str, Any]]) -> Group:
    """Tracked runs at each horizon on the days all of them forecast, each paired with the first."""
    table = Table("run", "model", "version", "trained", "days", "n", "Brier", "log", "AUC", box=None, pad_edge=False)
    for name in ("skill against climatology", "Brier gain over the first", "log gain", "HAC p"):
        table.add_column(name)
    for row in sorted(rows, key=lambda row: row["horizon"]):
        about = (row["run_id"][:8], row["model"], row["version"] or "–", row["trained_as_of"], str(row["horizon"]), str(row["n"]))
        scores = (number(row["brier"], ".4f"), number(row["log_score"], ".3f"), number(row["auc"], ".2f"))
        gains = [escape(interval(gain, ".4f")) if gain else "–" for gain in (row["brier_difference"], row["log_difference"])]
        table.add_row(*about, *scores, escape(interval(row["skill_climatology"])), *gains, number(row["diebold_mariano_p"], ".3f"))
    return Group(market_banner(rows[0]["market"]), table, *comparison_notes(rows))


def comparison_notes(rows: Sequence[dict[str, Any]]) -> Iterable[Text]:
    """What was compared, and what wasn't."""
    first = rows[0]
    yield Text(
        f"{first['label']}, {first['market']} market. 95 % intervals; a gain above zero is better than {first['model']}.",
        style="dim",
    )
    yield Text("HAC p (Diebold-Mariano) is too small where outcomes overlap: 11 % fall below 5 % by chance.", style="dim")
    left_out = sum(row["left_out"] for row in rows)
    if left_out:
        yield Text(f"Only days that all runs forecast count: {left_out} forecasts were left out.", style="yellow")
    if not all(row["same_snapshot"] for row in rows):
        yield Text("Not all runs saw the same data: they agree on every outcome.", style="yellow")


def status_page(facts: dict[str, Any]) -> Group:
    """Store, freshness, champion."""
    table = Table("series", "last observed", "age", "limit", "", box=None, pad_edge=False)
    for line in facts["series"]:
        age = "–" if line["age_days"] is None else f"{line['age_days']} d"
        verdict = (
            "[green]fresh[/]"
            if line["fresh"]
            else "[yellow]missing[/]"
            if line["observed"] is None
            else "[yellow]too old or thin[/]"
        )
        table.add_row(escape(line["series"]), line["observed"] or "–", age, f"{line['limit_days']} d", verdict)
    header = f" · {facts['market']} market · known to {facts['as_of']} · snapshot {facts['snapshot']}"
    return Group(
        market_banner(facts["market"]),
        Text.assemble((facts["home"], "bold"), header),
        champion_line(facts["champion"], facts["market"]),
        *(Text(warning, style="yellow") for warning in facts["warnings"]),
        Text(facts["constituents"]),
        Text(f"runs at {facts['runs']}", style="dim"),
        table,
    )


def champion_line(champion: dict[str, Any] | None, market: str | None) -> Text:
    """Who scores this market, and what it is worth."""
    if champion is None:
        return Text("No champion: run `altrally train`.")
    about = f"v{champion['version']} ({champion['grade']}): {champion['label']}"
    if champion["market"] != market:
        about += f" on the {champion['market']} market, so it doesn't score this one"
    return Text(f"champion {champion['name']} {about}, trained on {champion['trained_as_of']}. {champion['sentence']}")


def next_steps(home: Path, tracking_uri: str) -> str:
    """What to do after the demonstration: commands to paste, so they are printed bare and never wrapped."""
    steps = {
        "score --as-of 2021-06-01": "any past day, answered by a model that had not seen what followed",
        "verify": "every model against every baseline",
        "compare": "the runs of this training, paired",
    }
    return "\n".join(
        [
            "\nNext:",
            *(f"  {command(home, words):70} {why}" for words, why in steps.items()),
            f"  mlflow ui --backend-store-uri {quote(tracking_uri)}",
            "  altrally fetch && altrally train && altrally score     the same on the real market, in ~/.altrally",
        ]
    )


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
    """Print to the terminal; plainly, and as wide as it must be, where there is none."""
    console = Console()
    if not console.is_terminal:
        console = Console(width=WIDE)
    wide = Console(width=max(console.width, WIDE))  # a terminal breaks long rows itself; a table cut to it would lose numbers
    for part in flat(parts):
        shown = Text(part) if isinstance(part, str) else part
        if isinstance(shown, Text) and not shown.plain:
            continue
        (wide if isinstance(part, Table) else console).print(shown)


def flat(parts: Iterable[RenderableType]) -> Iterator[RenderableType]:
    """What groups hold, one after the other."""
    for part in parts:
        if isinstance(part, Group):
            yield from flat(part.renderables)
        else:
            yield part


def age_note(as_of: str, now: pd.Timestamp) -> str:
    """How long ago the last day known is, where a user should be told; else nothing."""
    days = (now.normalize() - pd.Timestamp(as_of)).days
    return f"The last day known is {as_of}, {days} days ago." if days > OLD_DAYS else ""
