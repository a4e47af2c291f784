"""Pages of forecasts, verifications, trainings and the status for the terminal. Every number is computed elsewhere."""

from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pandas as pd
from rich.console import Group, RenderableType
from rich.markup import escape
from rich.table import Table
from rich.text import Text

from altrally.columns import PlainTable
from altrally.wording import event_name, sentence
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
    """A warning if the market is simulated, else empty text."""
    return Text.from_markup(SIMULATED) if market == "simulated" else Text("")


def score_page(score: "Score") -> Group:
    """A forecast: probabilities and base rates by horizon, the evidence of skill, and the drivers."""
    model = f"{score.model['name']} v{score.model['version']}{score.target.name_suffix}"
    return Group(
        market_banner(score.market),
        Text(headline(score), style="bold"),
        Text(f"{score.as_of} · {score.market} market · snapshot {score.snapshot} · {model}"),
        outcome_text(score.target),
        probability_table(score.horizons),
        *([] if score.curve is None else [highest_close_table(score.curve)]),
        Text(score.skill["evidence"]["sentence"]),
        Text(score.skill["sentence"], style="dim"),
        driver_table(score),
        *notes(score),
    )


def headline(score: "Score") -> str:
    """The forecast of the judged horizon and its base rate in one sentence."""
    judged = score.judged
    probability, base_rate = (f"{share:.0%}".replace("%", " %") for share in (judged.probability, judged.base_rate))
    return f"A {probability} chance of {event_name(score.target)} within {judged.days} days, where {base_rate} is usual."


def outcome_text(target: Target) -> Text:
    """The event whose probability is forecast."""
    return Text(sentence(target), style="dim")


def probability_table(horizons: "Sequence[HorizonForecast]") -> Table:
    """One row per horizon, with a scale from 0 to 1: the bar is the interval, ● the probability, │ the base rate."""
    scale_head = f"0{'':{SCALE_CELLS - 2}}1"
    table = PlainTable("days", "probability", "90 % interval", "base rate", scale_head, least_needed=(scale_head,))
    for row in horizons:
        scale = scale_text(row.probability, row.low, row.high, row.base_rate)
        table.add_row(str(row.days), f"{row.probability:.2f}", f"{row.low:.2f} – {row.high:.2f}", f"{row.base_rate:.2f}", scale)
    return table


def highest_close_table(curve: "Curve") -> Table:
    """Quantiles of the highest close as a rise over today's, one row per horizon."""
    levels = list(curve.horizons[0].quantiles)
    heads = [
        f"{float(level):.0%} of times at most" if position == 0 else f"{float(level):.0%}" for position, level in enumerate(levels)
    ]
    table = PlainTable("days", "highest close:", *heads)
    for row in curve.horizons:
        table.add_row(str(row.days), "", *(signed_share(row.quantiles[level]) for level in levels))
    return table


def scale_text(probability: float, low: float, high: float, base_rate: float) -> Text:
    """A scale from 0 to 1 of `SCALE_CELLS` cells, with the interval, the base rate and the probability marked."""

    def cell(share: float) -> int:
        return min(int(share * SCALE_CELLS), SCALE_CELLS - 1)

    cells = ["·"] * SCALE_CELLS
    cells[cell(low) : cell(high) + 1] = "━" * (cell(high) + 1 - cell(low))
    cells[cell(base_rate)] = "│"
    cells[cell(probability)] = "●"
    return Text("".join(cells))


def driver_table(score: "Score") -> Table:
    """Log-odds that each block of inputs adds, largest effect first."""
    table = PlainTable("block", "log-odds against its training mean")
    for driver in sorted(score.drivers, key=lambda driver: -abs(driver.contribution)):
        missing = " (missing: neutral)" if driver.block in score.neutral_blocks else ""
        table.add_row(driver.block, f"{signed(driver.contribution)}{missing}")
    return table


def notes(score: "Score") -> Iterable[Text]:
    """Warnings and limits of a forecast, one text each."""
    if score.in_sample:
        yield Text("In sample: the model has seen what followed this day. This is not a forecast.", style="bold red")
    if score.refit is not None:
        yield Text(f"Answered by the refit of {score.refit}, which was trained on no outcome that was known later.", style="dim")
    if score.coverage_warning:
        yield Text(score.coverage_warning, style="bold yellow")
    elif score.coverage:
        yield Text(score.coverage, style="dim")
    stale = [line["series"] for line in score.freshness if not line["fresh"]]
    if stale:
        yield Text(f"Missing or out of date on that day ({len(stale)} of {len(score.freshness)}): {', '.join(stale)}", style="dim")
    yield Text("The interval is parameter uncertainty only. Not investment advice.", style="dim")


def verification_table(rows: Sequence[dict[str, Any]]) -> Table:
    """One row per model and horizon: scores, skill against the baselines with 95 % intervals, p-values and the grade."""
    from training.model_card import BASELINE_WORDS

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
    """One row per model at the judged horizon: Brier score, skill against the two main baselines, and the grade."""
    days = judged_horizon([row["horizon"] for row in rows])
    title = f"{days} days ahead, forecasts of days the models had not seen; skill with 95 % intervals"
    heads = ("model", "Brier score", "skill against volatility", "against the base rate", "grade")
    table = PlainTable(*heads, title=title, least_needed=("against the base rate",))
    for row in rows:
        if row["horizon"] == days:
            skills = (escape(interval(row[f"skill_{name}"])) for name in ("volatility", "climatology"))
            table.add_row(row["model"], number(row["brier"], 4), *skills, row["grade"])
    return table


def verification_tables(rows: Sequence[dict[str, Any]], *, every_horizon: bool) -> Iterator[RenderableType]:
    """The long verification table, or the short one and the option that shows the long one."""
    if every_horizon:
        yield verification_table(rows)
    else:
        yield short_verification_table(rows)
        yield Text("--all shows every horizon, baseline and p-value.", style="dim")


def verification_page(rows: Sequence[dict[str, Any]], *, every_horizon: bool) -> Group:
    """The verification table with notes on its p-values, and tables of cycles and blocks left out if there are any."""
    note = (
        "Null p: of every circular shift of outcomes. Best of N p: as the best of what was judged here; "
        f"{rows[0]['trials']} trials were ever counted."
    )
    parts: list[RenderableType] = [*verification_tables(rows, every_horizon=every_horizon), Text(drift_note(rows[0]))]
    if every_horizon:
        parts.append(Text(note, style="dim"))
    if "ablation" in rows[0]:
        parts += [left_out_table(rows), ablation_table(rows)]
    return Group(*parts)


def drift_note(row: dict[str, Any]) -> str:
    """The p-value of the drift score, which is the same for all models."""
    drift = row["drift"]
    if drift is None:
        return "Drift score: none for this outcome."
    return (
        f"Drift score of small caps, volume and liquidity: p {drift['p']:.3f} over {drift['shifts']} circular shifts of "
        f"{drift['weeks']} weeks, about {drift['independent']} of them independent. Nothing in it is fitted."
    )


def left_out_table(rows: Sequence[dict[str, Any]]) -> Table:
    """Brier gain in each cycle by a model trained on all others. Training data lie in the future, so this is no skill."""
    table = PlainTable("model", "days", "cycle left out", "n", "Brier gain over climatology", title=USES_THE_FUTURE)
    for row in rows:
        for cycle in row["leave_one_cycle_out"]:
            table.add_row(row["model"], str(row["horizon"]), cycle["cycle"], str(cycle["n"]), escape(interval(cycle["gain"])))
    return table


def ablation_table(rows: Sequence[dict[str, Any]]) -> Table:
    """Skill that each block of inputs adds to the default model, with a 95 % interval."""
    table = PlainTable("block", "days", "skill with it less that without", title="Blocks left out")
    for row in rows:
        for block in row["ablation"]:
            table.add_row(block["block"], str(row["horizon"]), escape(interval(block["incremental"])))
    return table


def fetch_table(report: FetchReport) -> Group:
    """One line per source: rows received, left out and why, kept, and new; then warnings and the coverage."""
    table = PlainTable("", "rows", "left out", "kept", "new", "made missing")
    for line in report.lines:
        counts = (f"{line.received:,}", f"{line.new:,}")
        table.add_row(escape(line.label), f"{line.came:,}", reasons(line.left_out), *counts, reasons(line.made_missing))
    notes = [Text(note, style="dim") for note in (report.coverage, report.constituents) if note]
    return Group(table, *(Text(warning, style="yellow") for warning in report.warnings), *notes)


def reasons(counts: dict[str, int]) -> str:
    """Counts by reason as one text, 'none' where there are none."""
    return escape(", ".join(f"{count:,} {reason}" for reason, count in counts.items() if count)) or "none"


def training_page(report: "TrainReport", *, every_horizon: bool) -> Group:
    """A training: scores of every model, the sentence on skill, and the decisions on champion and challenger."""
    header = (
        f" · {report.market} market · snapshot {report.snapshot} · {report.label} · {report.trials} configurations tried so far"
    )
    return Group(
        market_banner(report.market),
        Text.assemble((f"trained on what was known by {report.until}", "bold"), header),
        *verification_tables(report.rows, every_horizon=every_horizon),
        Text(report.sentence),
        *(Text(decision) for decision in report.decisions),
    )


def comparison_page(rows: Sequence[dict[str, Any]]) -> Group:
    """Scores of tracked runs on the days all of them forecast, one row per run and horizon, each paired with the first run."""
    gains = ("Brier gain over the first", "log gain", "HAC p")
    heads = ("run", "model", "version", "trained", "days", "n", "Brier", "log", "AUC", "skill against climatology", *gains)
    table = PlainTable(*heads, least_needed=LEAST_OF_COMPARISON)
    for row in sorted(rows, key=lambda row: row["horizon"]):
        names = (row["run_id"][:8], row["model"], row["version"] or "–", row["trained_as_of"], str(row["horizon"]), str(row["n"]))
        scores = (number(row["brier"], 4), number(row["log_score"], 3), number(row["auc"], 2))
        paired = [escape(interval(row[name], 4)) for name in ("brier_difference", "log_difference")]
        table.add_row(*names, *scores, escape(interval(row["skill_climatology"])), *paired, number(row["diebold_mariano_p"], 3))
    return Group(market_banner(rows[0]["market"]), table, *comparison_notes(rows))


def comparison_notes(rows: Sequence[dict[str, Any]]) -> Iterable[Text]:
    """How to read a comparison, one text each."""
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
    """The run with the lowest Brier score at the judged horizon, and whether its gain over the first can be chance."""
    days = judged_horizon({row["horizon"] for row in rows})
    here = [row for row in rows if row["horizon"] == days]
    best = min(here, key=lambda row: row["brier"])
    first = f"First within {days} days: {best['model']} ({best['run_id'][:8]}), with the lowest Brier score, {best['brier']:.4f}."
    gain = best["brier_difference"]
    if gain is None:
        return f"{first} The others are paired with it."
    excludes_zero = gain["low"] is not None and gain["low"] > 0
    verdict = "an interval above zero" if excludes_zero else "which chance alone may explain"
    return f"{first} It gains {interval(gain, 4)} on {here[0]['model']}, {verdict}."


def pictures(rows: Sequence[dict[str, Any]]) -> list[str]:
    """Paths of the pictures of a comparison, one line each."""
    files = dict.fromkeys((row["model"], row["picture"]) for row in rows if row.get("picture"))
    return [f"{model}'s lead over time: {file}" for model, file in files]


def status_page(status: dict[str, Any]) -> Group:
    """The status of a home: store, champion, warnings, and the freshness of every series."""
    table = PlainTable("series", "last observed", "age", "limit", "")
    for line in status["series"]:
        age = "–" if line["age_days"] is None else f"{line['age_days']} d"
        if line["fresh"]:
            verdict = "[green]fresh[/]"
        else:
            verdict = "[yellow]missing[/]" if line["observed"] is None else "[yellow]too old or thin[/]"
        table.add_row(escape(line["series"]), line["observed"] or "–", age, f"{line['limit_days']} d", verdict)
    header = f" · {status['market']} market · known to {status['as_of']} · snapshot {status['snapshot']}"
    return Group(
        market_banner(status["market"]),
        Text.assemble((status["home"], "bold"), header),
        champion_line(status["champion"], status["market"]),
        *(Text(warning, style="yellow") for warning in status["warnings"]),
        Text(status["constituents"]),
        Text(f"runs at {status['runs']}", style="dim"),
        table,
    )


def champion_line(champion: dict[str, Any] | None, market: str | None) -> Text:
    """The champion and the grade of its evidence."""
    if champion is None:
        return Text("No champion: run `altrally train`.")
    details = f"v{champion['version']} ({champion['grade']}): {champion['label']}"
    if champion["market"] != market:
        details += f" on the {champion['market']} market, so it doesn't score this one"
    return Text(f"champion {champion['name']} {details}, trained on {champion['trained_as_of']}. {champion['sentence']}")


def next_steps(home: Path) -> str:
    """Commands to paste after a demonstration, one line each; they must be printed bare and never wrapped."""
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
    """The features of the catalogue, one table per block, with the rationale under each formula."""
    parts: list[RenderableType] = []
    for block, rows in catalogue.groupby("block", sort=False):
        heads = ("feature", "sign", "lag", "known", "formula, unit and why")
        table = PlainTable(*heads, title=str(block), least_needed=("lag", "sign", "known"))
        for row in rows.to_dict("records"):
            sign = {1: "+", -1: "−", 0: "·"}[row["sign"]]
            description = (
                f"{row['formula']} [dim]({escape(row['unit'])}; {escape(row['sources'])})[/]\n[dim]{escape(row['rationale'])}[/]"
            )
            table.add_row(row["name"], sign, f"{row['release_lag_days']} d", f"{row['coverage']:.0%}", description)
        parts.append(table)
    return Group(*parts)


def age_note(as_of: str, now: pd.Timestamp) -> str:
    """A sentence on the age of the last day known if it is over a week, else empty."""
    days = (now.normalize() - pd.Timestamp(as_of)).days
    return f"The last day known is {as_of}, {days} days ago." if days > OLD_DAYS else ""
