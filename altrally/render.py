"""What people see in a terminal. Every number is computed elsewhere."""

from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pandas as pd
from rich.console import Group, RenderableType
from rich.markup import escape
from rich.table import Table
from rich.text import Text

from altrally.columns import PlainTable
from altrally.wording import article, sentence
from core.home import command
from core.number_format import interval, number, signed, signed_share
from core.target import Target, judged_horizon
from sources.fetch import FetchReport

if TYPE_CHECKING:  # what is printed is made elsewhere: a fetch needn't load models and trainings to print its table
    from altrally.forecast import Curve, HorizonForecast, Score
    from training.train import TrainReport

SIMULATED = "[bold yellow]Simulated market.[/] Nothing below is about the real one."
SCALE_CELLS = 34
OLD_DAYS = 7
LEAST_OF_VERIFICATION = (
    "claim's p",
    "base",
    "n",
    "log",
    "against momentum",
    "best of N p",
    "n eff.",
    "against random walk",
    "AUC",
    "null p",
    "against climatology",
)
LEAST_OF_COMPARISON = ("log gain", "log", "n", "trained", "AUC", "version", "skill against climatology", "HAC p", "run")
USES_THE_FUTURE = "Cycles left out (trained on what came before and after: robustness, never skill)"


def market_banner(market: str | None) -> RenderableType:
    """The simulated market says so on every output."""
    return Text.from_markup(SIMULATED) if market == "simulated" else Text("")


def score_page(score: "Score") -> Group:
    """A forecast: probabilities beside base rates, what they are worth, what moved them."""
    model = score.model
    about = f"{score.market} market · snapshot {score.snapshot} · {model['name']} v{model['version']}{score.target.name_suffix}"
    return Group(
        market_banner(score.market),
        Text(headline(score), style="bold"),
        Text(f"{score.as_of} · {about}"),
        outcome_text(score.target),
        probability_table(score.horizons),
        *([] if score.curve is None else [highest_close_table(score.curve)]),
        Text(score.skill["evidence"]["sentence"]),
        Text(score.skill["sentence"], style="dim"),
        driver_table(score),
        *notes(score),
    )


def headline(score: "Score") -> str:
    """The forecast of the horizon that is judged, beside what is usual, in one sentence."""
    days = judged_horizon([row.days for row in score.horizons])
    judged = next(row for row in score.horizons if row.days == days)
    chance, usual = (f"{share:.0%}".replace("%", " %") for share in (judged.probability, judged.base_rate))
    return f"A {chance} chance of {article(score.target)} within {days} days, where {usual} is usual."


def outcome_text(target: Target) -> Text:
    """The event whose probability is told."""
    return Text(sentence(target), style="dim")


def probability_table(horizons: "Sequence[HorizonForecast]") -> Table:
    """One row a horizon on a scale from 0 to 1; the bar is the interval, ● the probability, │ the base rate."""
    scale_head = f"0{'':{SCALE_CELLS - 2}}1"
    table = PlainTable("days", "probability", "90 % interval", "base rate", scale_head, least_needed=(scale_head,))
    for row in horizons:
        scale = scale_text(row.probability, row.low, row.high, row.base_rate)
        table.add_row(str(row.days), f"{row.probability:.2f}", f"{row.low:.2f} – {row.high:.2f}", f"{row.base_rate:.2f}", scale)
    return table


def highest_close_table(curve: "Curve") -> Table:
    """How far above today's close the highest one may lie, a row a horizon."""
    levels = list(curve.horizons[0].quantiles)
    heads = [f"{float(level):.0%} of times at most" if place == 0 else f"{float(level):.0%}" for place, level in enumerate(levels)]
    table = PlainTable("days", "highest close:", *heads)
    for row in curve.horizons:
        table.add_row(str(row.days), "", *(signed_share(row.quantiles[level]) for level in levels))
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


def driver_table(score: "Score") -> Table:
    """Blocks, largest effect first."""
    table = PlainTable("block", "log-odds against its training mean")
    for driver in sorted(score.drivers, key=lambda driver: -abs(driver.contribution)):
        missing = " (missing: neutral)" if driver.block in score.neutral_blocks else ""
        table.add_row(driver.block, f"{signed(driver.contribution)}{missing}")
    return table


def notes(score: "Score") -> Iterable[Text]:
    """What a reader must know before using the number."""
    if score.in_sample:
        yield Text("In sample: the model has seen what followed this day. This is not a forecast.", style="bold red")
    if score.refit is not None:
        yield Text(f"Answered by the refit of {score.refit}, which had learnt from no outcome that was known later.", style="dim")
    if score.coverage_warning:
        yield Text(score.coverage_warning, style="bold yellow")
    elif score.coverage:
        yield Text(score.coverage, style="dim")
    stale = [line["series"] for line in score.freshness if not line["fresh"]]
    if stale:
        yield Text(f"Missing or out of date on that day ({len(stale)} of {len(score.freshness)}): {', '.join(stale)}", style="dim")
    yield Text("The interval is parameter uncertainty only. Not investment advice.", style="dim")


def verification_table(rows: Sequence[dict[str, Any]]) -> Table:
    """One row a model and horizon: scores, skill against the baselines with 95 % intervals, p-values and the grade."""
    from training.train import BASELINE_WORDS

    skills = ("skill against volatility", "against climatology", "against random walk", "against momentum")
    heads = ("model", "days", "n", "n eff.", "base", "Brier", "log", "AUC", *skills, "null p", "claim's p", "best of N p", "grade")
    table = PlainTable(*heads, least_needed=LEAST_OF_VERIFICATION)
    for row in rows:
        counts = (str(row["horizon"]), str(row["n"]), number(row["n_effective"], 0), number(row["base_rate"], 2))
        scores = (number(row["brier"], 4), number(row["log_score"], 3), number(row["auc"], 2))
        table.add_row(
            row["model"],
            *counts,
            *scores,
            *(escape(interval(row[f"skill_{name}"])) for name in BASELINE_WORDS),
            *(number(row[name], 3) for name in ("null_p", "claim_null_p", "best_of_n_p")),
            row["grade"],
        )
    return table


def short_verification_table(rows: Sequence[dict[str, Any]]) -> PlainTable:
    """One row a model at the horizon that is judged: its score, skill against the two main baselines, and the grade."""
    days = judged_horizon([row["horizon"] for row in rows])
    title = f"{days} days ahead, forecasts of days the models had not seen; skill with 95 % intervals"
    heads = ("model", "Brier score", "skill against volatility", "against the base rate", "grade")
    table = PlainTable(*heads, title=title, least_needed=("against the base rate",))
    for row in rows:
        if row["horizon"] == days:
            skills = (escape(interval(row[f"skill_{name}"])) for name in ("volatility", "climatology"))
            table.add_row(row["model"], number(row["brier"], 4), *skills, row["grade"])
    return table


def tables_of(rows: Sequence[dict[str, Any]], *, every_horizon: bool) -> Iterator[RenderableType]:
    """The long verification table, or the short one and how to get the long one."""
    if every_horizon:
        yield verification_table(rows)
    else:
        yield short_verification_table(rows)
        yield Text("--all shows every horizon, baseline and p-value.", style="dim")


def verification_page(rows: Sequence[dict[str, Any]], *, every_horizon: bool) -> Group:
    """The table, and what its p-values are worth; then what was left of each model without a cycle, or without a block."""
    tries = rows[0]["trials"]
    note = (
        f"Null p: of every rotation of outcomes. Best of N p: as the best of what was judged here; {tries} tries were ever counted."
    )
    parts: list[RenderableType] = [*tables_of(rows, every_horizon=every_horizon), Text(drift_note(rows[0]))]
    if every_horizon:
        parts.append(Text(note, style="dim"))
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
    table = PlainTable("model", "days", "cycle left out", "n", "Brier gain over climatology", title=USES_THE_FUTURE)
    for row in rows:
        for one in row["leave_one_cycle_out"]:
            table.add_row(row["model"], str(row["horizon"]), one["cycle"], str(one["n"]), escape(interval(one["gain"])))
    return table


def ablation_table(rows: Sequence[dict[str, Any]]) -> Table:
    """What each block adds to the default model."""
    table = PlainTable("block", "days", "skill with it less that without", title="Blocks left out")
    for row in rows:
        for one in row["ablation"]:
            table.add_row(one["block"], str(row["horizon"]), escape(interval(one["incremental"])))
    return table


def fetch_table(report: FetchReport) -> Group:
    """One line a label: rows that came, what was left out of them and why, what was kept and what of it was new; then what the user
    should know.
    """
    table = PlainTable("", "rows", "left out", "kept", "new", "made missing")
    for line in report.lines:
        counts = (f"{line.received:,}", f"{line.new:,}")
        table.add_row(escape(line.label), f"{line.came:,}", reasons(line.left_out), *counts, reasons(line.made_missing))
    rests_on = [Text(words, style="dim") for words in (report.coverage, report.constituents) if words]
    return Group(table, *(Text(warning, style="yellow") for warning in report.warnings), *rests_on)


def reasons(counts: dict[str, int]) -> str:
    """Counts by reason, as one text."""
    return escape(", ".join(f"{count:,} {reason}" for reason, count in counts.items() if count)) or "none"


def training_page(report: "TrainReport", *, every_horizon: bool) -> Group:
    """A training: scores of every model, the sentence on skill, and what became of the aliases."""
    header = (
        f" · {report.market} market · snapshot {report.snapshot} · {report.label} · {report.trials} configurations tried so far"
    )
    return Group(
        market_banner(report.market),
        Text.assemble((f"trained on what was known by {report.until}", "bold"), header),
        *tables_of(report.rows, every_horizon=every_horizon),
        Text(report.sentence),
        *(Text(decision) for decision in report.decisions),
    )


def comparison_page(rows: Sequence[dict[str, Any]]) -> Group:
    """Tracked runs at each horizon on the days all of them forecast, each paired with the first."""
    gains = ("Brier gain over the first", "log gain", "HAC p")
    heads = ("run", "model", "version", "trained", "days", "n", "Brier", "log", "AUC", "skill against climatology", *gains)
    table = PlainTable(*heads, least_needed=LEAST_OF_COMPARISON)
    for row in sorted(rows, key=lambda row: row["horizon"]):
        about = (row["run_id"][:8], row["model"], row["version"] or "–", row["trained_as_of"], str(row["horizon"]), str(row["n"]))
        scores = (number(row["brier"], 4), number(row["log_score"], 3), number(row["auc"], 2))
        paired = [escape(interval(row[name], 4)) for name in ("brier_difference", "log_difference")]
        table.add_row(*about, *scores, escape(interval(row["skill_climatology"])), *paired, number(row["diebold_mariano_p"], 3))
    return Group(market_banner(rows[0]["market"]), table, *comparison_notes(rows))


def comparison_notes(rows: Sequence[dict[str, Any]]) -> Iterable[Text]:
    """What was compared, and what wasn't."""
    first = rows[0]
    yield Text(first_place(rows))
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


def first_place(rows: Sequence[dict[str, Any]]) -> str:
    """Which run has the lowest Brier score at the horizon judged, and whether its gain over the first can be chance."""
    days = judged_horizon({row["horizon"] for row in rows})
    here = [row for row in rows if row["horizon"] == days]
    best = min(here, key=lambda row: row["brier"])
    said = f"First within {days} days: {best['model']} ({best['run_id'][:8]}), with the lowest Brier score, {best['brier']:.4f}."
    gain = best["brier_difference"]
    if gain is None:
        return f"{said} The others are paired with it."
    apart = gain["low"] is not None and gain["low"] > 0
    verdict = "an interval above zero" if apart else "which chance alone may explain"
    return f"{said} It gains {interval(gain, 4)} on {here[0]['model']}, {verdict}."


def pictures(rows: Sequence[dict[str, Any]]) -> list[str]:
    """Where the pictures of a comparison lie, a line each."""
    kept = dict.fromkeys((row["model"], row["picture"]) for row in rows if row.get("picture"))
    return [f"{model}'s lead over time: {place}" for model, place in kept]


def status_page(facts: dict[str, Any]) -> Group:
    """Store, freshness, champion."""
    table = PlainTable("series", "last observed", "age", "limit", "")
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


def next_steps(home: Path) -> str:
    """What to do after the demonstration: commands to paste, so they are printed bare and never wrapped."""
    steps = {
        "score --as-of 2021-06-01": "any past day, answered by a model that had not seen what followed",
        "verify": "every model against every baseline",
        "compare": "the runs of this training, paired",
        "ui": "the runs in MLflow, in a table prepared for comparing",
    }
    return "\n".join(
        [
            "\nNext:",
            *(f"  {command(home, words):70} {why}" for words, why in steps.items()),
            "  altrally fetch && altrally train && altrally score     the same on the real market, in ~/.altrally",
        ]
    )


def feature_list(catalogue: pd.DataFrame) -> Group:
    """The catalogue by block: a table to scan, the rationale under each formula."""
    parts: list[RenderableType] = []
    for block, members in catalogue.groupby("block", sort=False):
        heads = ("feature", "sign", "lag", "known", "formula, unit and why")
        table = PlainTable(*heads, title=str(block), least_needed=("lag", "sign", "known"))
        for row in members.to_dict("records"):
            sign = {1: "+", -1: "−", 0: "·"}[row["sign"]]
            what = f"{row['formula']} [dim]({escape(row['unit'])}; {escape(row['sources'])})[/]\n[dim]{escape(row['rationale'])}[/]"
            table.add_row(row["name"], sign, f"{row['release_lag_days']} d", f"{row['coverage']:.0%}", what)
        parts.append(table)
    return Group(*parts)


def age_note(as_of: str, now: pd.Timestamp) -> str:
    """How long ago the last day known is, where a user should be told; else nothing."""
    days = (now.normalize() - pd.Timestamp(as_of)).days
    return f"The last day known is {as_of}, {days} days ago." if days > OLD_DAYS else ""
