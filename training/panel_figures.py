"""Pictures of a verification's panel: each title says what its numbers say, each estimate stands with its interval.

Every number is computed elsewhere. about: whose forecasts and of which market, as "hazard · simulated market".
"""

from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any, TypeVar

import numpy as np
import pandas as pd

from core.arrays import Floats
from core.target import judged_horizon
from evaluation.bootstrap import Band, Interval
from evaluation.comparison import CumulativeLead, cumulative_lead
from evaluation.decision_value import Murphy, ValueCurve, murphy, value_curve
from evaluation.reliability import ReliabilityCurve, reliability_curve
from evaluation.sample import EvaluationSample
from training.figures import EVENT, FAINT, INK, MUTED, REFERENCE, canvas, finish
from training.null_tests import null_distribution
from training.robustness import LEFT_OUT, TENTHS, Ablated, Sharpness, YearRow, by_year, sharpness

T = TypeVar("T")

SHADE = "#c7d2e5"
LINES = (REFERENCE, MUTED)
DASHES: Any = (0, (4, 3))
COLUMN = 3.1
LEAST_VALUE = -0.6
BARS = 40
ROUNDING = 1e-9
PARTS = ("miscalibration", "discrimination", "uncertainty")


def draw_corp(curves: Mapping[int, ReliabilityCurve], about: str, path: Path) -> None:
    """Recalibrated share of events against forecast, a column a horizon, with where a reliable forecaster's would lie."""
    with canvas(2, len(curves), wide(len(curves), 4.8), space=0.12, height_ratios=[4, 1]) as (figure, axes):
        for (above, below), (days, curve) in zip(axes.T, curves.items(), strict=True):
            corp_panel(above, below, curve, days)
        axes[0, 0].set_ylabel("share of events (0–1)")
        axes[1, 0].set_ylabel("weeks")
        note = "Shaded: where 90 % of reliable forecasters would lie, as few windows overlapping as much. Dashes: base rate."
        finish(figure, corp_finding(curves), f"{about}. {note}", path)


def corp_panel(above: Any, below: Any, curve: ReliabilityCurve, days: int) -> None:
    """One horizon."""
    parts = curve.reliability
    above.plot([0, 1], [0, 1], color=FAINT, linewidth=1.5, zorder=0)
    above.axhline(curve.base_rate, color=REFERENCE, linewidth=1, linestyle=DASHES)
    above.fill_between(curve.forecast, curve.low, curve.high, color=SHADE, linewidth=0, zorder=1)
    above.plot(curve.forecast, curve.share, color=INK, linewidth=1.4, zorder=2)
    above.set(title=f"within {days} days (n = {curve.weeks.sum():.0f})", xlim=(0, 1), ylim=(-0.03, 1.03))
    told = "\n".join(f"{name} {getattr(parts, name):.3f}" for name in PARTS)
    above.text(0.03, 0.97, told, transform=above.transAxes, va="top", fontsize=7.5, color=MUTED)
    below.hist(curve.forecast, TENTHS, weights=curve.weeks, color=EVENT, rwidth=0.9)
    below.set(xlabel="forecast probability (0–1)")


def corp_finding(curves: Mapping[int, ReliabilityCurve]) -> str:
    """Where forecasts are further off than chance makes a reliable forecaster."""
    off = [days for days, curve in curves.items() if curve.reliability.miscalibration > curve.reliability.by_chance_high]
    if off:
        return f"Less reliable than chance makes 19 of 20 reliable forecasters, within {listed(off)} days"
    return f"No less reliable than chance makes a reliable forecaster, within {listed(curves)} days"


def draw_murphy(diagrams: Mapping[int, Murphy], about: str, path: Path) -> None:
    """Mean elementary score by threshold, a column a horizon, and below it the gain on each of the others with its interval."""
    with canvas(2, len(diagrams), wide(len(diagrams), 5.4), space=0.14, height_ratios=[3, 2]) as (figure, axes):
        for (above, below), (days, murphy) in zip(axes.T, diagrams.items(), strict=True):
            murphy_panel(above, below, murphy, days)
        axes[0, 0].set_ylabel("mean score (0 is best)")
        axes[1, 0].set_ylabel("gain (above 0: better)")
        left_margin(figure, 0.7)
        axes[0, -1].legend(loc="lower center", fontsize=8)
        other = next(iter(next(iter(diagrams.values())).gains))
        title = threshold_finding({days: murphy.gains[other] for days, murphy in diagrams.items()}, f"Better than {other}")
        finish(figure, title, f"{about}. Shaded: 95 % intervals of the gains, each threshold for itself.", path)


def murphy_panel(above: Any, below: Any, murphy: Murphy, days: int) -> None:
    """One horizon."""
    colours = dict(zip(murphy.scores, (INK, *LINES), strict=False))
    for name, score in murphy.scores.items():
        above.plot(murphy.thresholds, score, color=colours[name], linewidth=1.3, label=name)
    below.axhline(0, color=FAINT, linewidth=1.5, zorder=0)
    for name, gain in murphy.gains.items():
        ribbon(below, murphy.thresholds, gain, colours[name])
    above.set(title=f"within {days} days", xlim=(0, 1))
    below.set(xlabel="threshold to act at (probability)")


def ribbon(axis: Any, at: Floats, found: Band, colour: str) -> None:
    """A line in its interval."""
    axis.fill_between(at, found.low, found.high, color=colour, alpha=0.18, linewidth=0)
    axis.plot(at, found.value, color=colour, linewidth=1.3)


def draw_value(curves: Mapping[int, ValueCurve], about: str, path: Path) -> None:
    """Share of the most that could be saved, by cost-loss ratio, a column a horizon."""
    with canvas(1, len(curves), wide(len(curves), 3.9), space=0.1) as (figure, axes):
        for axis, (days, curve) in zip(axes[0], curves.items(), strict=True):
            value_panel(axis, curve, days)
        axes[0, 0].set_ylabel("value (1: outcome known)")
        axes[0, -1].legend(loc="upper right", fontsize=8)
        title = threshold_finding({days: curve.value for days, curve in curves.items()}, "Of value")
        note = "0: what the base rate of these very years saves. Shaded: 95 % intervals, each ratio for itself."
        finish(figure, title, f"{about}. {note}", path)


def value_panel(axis: Any, curve: ValueCurve, days: int) -> None:
    """One horizon; what falls far below zero runs off the page."""
    axis.axhline(0, color=FAINT, linewidth=1.5, zorder=0)
    ribbon(axis, curve.ratios, curve.value, INK)
    axis.plot([], [], color=INK, label=curve.model)
    for (name, value), colour in zip(curve.others.items(), LINES, strict=False):
        axis.plot(curve.ratios, value, color=colour, linewidth=1.1, label=name)
    axis.set(title=f"within {days} days", xlim=(0, 1), ylim=(LEAST_VALUE, 1), xlabel="cost of acting / loss of missing")


def threshold_finding(found: Mapping[int, Band], claim: str) -> str:
    """At how many of the thresholds an interval lies above zero, and below it, by more than rounding."""
    thresholds = len(next(iter(found.values())).value)
    above = [int((one.low > ROUNDING).sum()) for one in found.values()]
    below = [int((one.high < -ROUNDING).sum()) for one in found.values()]
    opposite = f", the opposite at {listed(below)}" if any(below) else ""
    return f"{claim} beyond chance at {listed(above)} of {thresholds} thresholds within {listed(found)} days{opposite}"


def draw_sharpness(found: Mapping[int, Mapping[str, Sharpness]], about: str, path: Path) -> None:
    """How forecasts spread over the scale, a column a horizon: weeks in each tenth of the first model, quantiles of all."""
    with canvas(2, len(found), wide(len(found), 4.2), space=0.1, height_ratios=[3, 1]) as (figure, axes):
        for (above, below), (days, models) in zip(axes.T, found.items(), strict=True):
            sharpness_panel(above, below, models, days)
        left_margin(figure, 1.3)
        axes[0, 0].set_ylabel("weeks")
        note = "Thin: 5 to 95 % of forecasts. Thick: 25 to 75 %. Point: the median. Bars count the first."
        finish(figure, sharpness_finding(found), f"{about}. {note}", path)


def sharpness_panel(above: Any, below: Any, models: Mapping[str, Sharpness], days: int) -> None:
    """One horizon."""
    first = next(iter(models.values()))
    above.bar(TENTHS[:-1], first.histogram, 0.09, align="edge", color=EVENT)
    above.set(title=f"within {days} days (sd {first.sd:.2f})", xlim=(0, 1))
    for height, sharp in enumerate(models.values()):
        low, quarter, middle, upper, high = sharp.quantiles.values()
        below.hlines(-height, low, high, color=INK, linewidth=1)
        below.hlines(-height, quarter, upper, color=INK, linewidth=4)
        below.plot(middle, -height, "o", color="white", markeredgecolor=INK, markersize=5)
    below.set(xlabel="forecast probability (0–1)", ylim=(0.6 - len(models), 0.6))
    below.set_yticks([-height for height in range(len(models))], list(models), fontsize=7)


def sharpness_finding(found: Mapping[int, Mapping[str, Sharpness]]) -> str:
    """Where half of the forecasts lie, the first model's and the next one's."""
    days, models = horizon_shown(found)
    halves = [f"{name} {one.quantiles['0.25']:.2f}–{one.quantiles['0.75']:.2f}" for name, one in list(models.items())[:2]]
    return f"Half of the {days}-day forecasts lie in: {', '.join(halves)}"


def draw_by_year(found: Mapping[int, Sequence[YearRow]], about: str, path: Path) -> None:
    """Brier skill against climatology year by year, a column a horizon."""
    with canvas(1, len(found), wide(len(found), 3.6), space=0.1) as (figure, axes):
        for axis, (days, rows) in zip(axes[0], found.items(), strict=True):
            bars(axis, [row.year for row in rows], [row.skill_climatology for row in rows])
            windows = np.mean([row.n_effective for row in rows])
            axis.set(title=f"within {days} days (about {windows:.0f} windows a year)", xlabel="year of the forecast")
            axis.set_xticks([row.year for row in rows], [f"’{row.year % 100}" for row in rows])
        left_margin(figure, 0.8)
        axes[0, 0].set_ylabel("skill against climatology")
        finish(figure, year_finding(found), f"{about}. Bars: 95 % intervals, from so few windows rough.", path)


def bars(axis: Any, at: Sequence[float], found: Sequence[Interval], *, across: bool = False) -> None:
    """Points with their intervals, upright or lying."""
    values, low, high = (np.array([getattr(one, name) for one in found]) for name in ("value", "low", "high"))
    (axis.axvline if across else axis.axhline)(0, color=FAINT, linewidth=1.5, zorder=0)
    (axis.hlines if across else axis.vlines)(at, low, high, color=INK, linewidth=1.3)
    axis.plot(*((values, at) if across else (at, values)), "o", color=INK, markersize=5)


def year_finding(found: Mapping[int, Sequence[YearRow]]) -> str:
    """In how many years the forecasts were better, and in how many better or worse beyond chance."""
    days, rows = horizon_shown(found)
    skills = [row.skill_climatology for row in rows]
    ahead, beyond = sum(one.value > 0 for one in skills), sum(one.low > 0 for one in skills)
    worse = sum(one.high < 0 for one in skills)
    years = f"better than climatology in {ahead} of {len(rows)} years"
    return f"Within {days} days {years}; beyond chance better in {beyond}, worse in {worse}"


def draw_ablation(rows: Sequence[Ablated], about: str, path: Path) -> None:
    """What each block adds to skill, a column a horizon."""
    horizons = sorted({row.horizon for row in rows})
    with canvas(1, len(horizons), wide(len(horizons), 3.8), space=0.1) as (figure, axes):
        left_margin(figure, 1.5)
        for axis, days in zip(axes[0], horizons, strict=True):
            here = {row.block: row.incremental for row in rows if row.horizon == days}
            bars(axis, [-height for height in range(len(here))], list(here.values()), across=True)
            axis.set(title=f"within {days} days", xlabel="skill added")
            axis.set_yticks([-height for height in range(len(here))], list(here))
        note = f"95 % intervals, {len(LEFT_OUT)} a horizon: one in twenty lies off zero by chance."
        finish(figure, ablation_finding(rows), f"{about}. {note}", path)


def ablation_finding(rows: Sequence[Ablated]) -> str:
    """Whose contribution can be told from zero at the horizon judged."""
    days, here = horizon_shown({row.horizon: [one for one in rows if one.horizon == row.horizon] for row in rows})
    apart = [row for row in here if row.incremental.low > 0 or row.incremental.high < 0]
    if not apart:
        return f"Within {days} days no block's addition can be told from zero"
    return f"Within {days} days told from zero: {', '.join(f'{row.block} {row.incremental.value:+.3f}' for row in apart)}"


def draw_null(observed: float, by_chance: Floats, p: float, independent: int, statistic: str, about: str, path: Path) -> None:
    """A statistic on the true dates among what rotations (S,) give, `about` `independent` of which are."""
    known = by_chance[np.isfinite(by_chance)]
    with canvas(1, 1, (7.5, 3.6), space=0.1) as (figure, axes):
        axis = axes[0, 0]
        axis.hist(known, BARS, color=EVENT, label="rotations")
        for edge in np.quantile(known, [0.05, 0.95]):
            axis.axvline(edge, color=MUTED, linewidth=1, linestyle=DASHES)
        axis.axvline(observed, color=INK, linewidth=2, label=f"true dates: {observed:+.3f}")
        axis.set(title="the same with rows rotated against each other", xlabel=statistic, ylabel="rotations")
        axis.legend(loc="upper left", fontsize=8)
        note = f"Dashes: 5 and 95 % of {len(by_chance)} rotations, about {independent} of them independent."
        finish(figure, null_finding(observed, by_chance, p), f"{about}. {note}", path)


def null_finding(observed: float, by_chance: Floats, p: float) -> str:
    """How many rotations gave as much; what can't be had counts as good."""
    as_good = int((~(by_chance < observed)).sum())
    count = f"{as_good} of {len(by_chance)} rotations" if as_good else "No rotation"
    return f"{count} gave as much as the true dates (p = {p:.3f})"


def draw_cumulative(leads: Sequence[CumulativeLead], about: str, path: Path) -> None:
    """Lead in Brier loss over each of the others, added up over time, within what chance would do."""
    with canvas(len(leads), 1, (9.5, 1.7 * len(leads) + 1.2), space=0.3) as (figure, axes):
        for axis, lead in zip(axes[:, 0], leads, strict=True):
            axis.fill_between(lead.days, lead.low, lead.high, color=SHADE, linewidth=0)
            axis.axhline(0, color=FAINT, linewidth=1.5)
            axis.plot(lead.days, lead.lead, color=INK, linewidth=1.3)
            axis.set(title=f"over {lead.other}: {lead.lead[-1]:+.1f}", ylabel="summed Brier lead")
            axis.margins(x=0.01)
        axes[-1, 0].set_xlabel("day of the forecast")
        note = f"within {leads[0].horizon} days. Rising: better. Shaded: 95 % of such sums at each day, were neither better."
        finish(figure, cumulative_finding(leads), f"{about}, {note}", path)


def cumulative_finding(leads: Sequence[CumulativeLead]) -> str:
    """Over whom the lead has grown beyond chance, and behind whom it has fallen."""
    ahead = [lead.other for lead in leads if lead.lead[-1] > lead.high[-1]]
    behind = [lead.other for lead in leads if lead.lead[-1] < lead.low[-1]]
    apart = [f"{word} {listed(names)}" for word, names in (("ahead of", ahead), ("behind", behind)) if names]
    if not apart:
        return "In the end no further ahead or behind than chance goes"
    return f"In the end {' and '.join(apart)} by more than chance"


def wide(columns: int, height: float) -> tuple[float, float]:
    """Inches of a figure of so many columns."""
    return max(COLUMN * columns + 0.5, 8.0), height


def left_margin(figure: Any, inches: float) -> None:
    """Room for long names."""
    figure.subplots_adjust(left=inches / figure.get_size_inches()[0])


def horizon_shown(found: Mapping[int, T]) -> tuple[int, T]:
    """60 days, or the horizon in the middle."""
    days = 60 if 60 in found else sorted(found)[len(found) // 2]
    return days, found[days]


def listed(values: Iterable[object]) -> str:
    """30, 60 and 90."""
    *first, last = (str(value) for value in values)
    return f"{', '.join(first)} and {last}" if first else last


STATISTICS = {"shift": "Brier skill against climatology", "claim": "Brier skill added to crypto's own state"}


def draw_reliability(found: Mapping[int, EvaluationSample], model: str, about: str, folder: Path, *, seed: int) -> None:
    """Whether events come as often as forecast, where any forecast was judged."""
    curves = {days: reliability_curve(one, model, seed=seed) for days, one in found.items() if len(one.outcome)}
    if curves:
        draw_corp(curves, about, folder / "reliability.png")


def draw_panel(found: Mapping[int, EvaluationSample], model: str, about: str, folder: Path, *, seed: int) -> None:
    """What the forecasts were worth, to whom, and when; nothing where none was judged."""
    if not all(len(one.outcome) for one in found.values()):
        return
    beside = {days: tuple(dict.fromkeys((model, "climatology", one.baselines["volatility"]))) for days, one in found.items()}
    spread = {days: {name: sharpness(one.probabilities[name]) for name in beside[days]} for days, one in found.items()}
    draw_murphy({days: murphy(one, model, seed=seed) for days, one in found.items()}, about, folder / "murphy.png")
    draw_value({days: value_curve(one, model, seed=seed) for days, one in found.items()}, about, folder / "value.png")
    draw_sharpness(spread, about, folder / "sharpness.png")
    draw_by_year({days: by_year(one, model, seed=seed) for days, one in found.items()}, about, folder / "by_year.png")
    draw_leads(found[judged_horizon(list(found))], model, about, folder / "cumulative.png", seed=seed)


def draw_leads(found: EvaluationSample, model: str, about: str, path: Path, *, seed: int) -> None:
    """The lead over each baseline, added up over time."""
    rivals = [name for name in dict.fromkeys(found.baselines.values()) if name != model]
    draw_cumulative([cumulative_lead(found, model, other, seed=seed) for other in rivals], about, path)


def draw_nulls(rotations: pd.DataFrame, independent: int, about: str, folder: Path) -> None:
    """Skill on the true dates among what rotations give, at the horizon judged. rotations: null, shift, horizon, skill."""
    if rotations.empty:
        return
    days = judged_horizon(rotations["horizon"].unique())
    judged = rotations[rotations["horizon"] == days].sort_values("shift")
    for name, rows in judged.groupby("null"):
        skill = rows["skill"].to_numpy()
        found, title = null_distribution(skill, independent), f"{about}, within {days} days"
        path = folder / f"null_{name}.png"
        draw_null(found.observed, skill[1:], found.p, independent, STATISTICS[str(name)], title, path)
