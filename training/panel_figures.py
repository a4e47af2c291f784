"""Figures of a verification: calibration, value, sharpness, years, nulls. Titles state the result, estimates have intervals.

All numbers are computed elsewhere. `about` names the model and the market, as in "hazard · simulated market".
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
from training.null_tests import NullDistribution, null_distribution
from training.robustness import LEFT_OUT, TENTHS, BlockContribution, Sharpness, YearRow, by_year, sharpness

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
    """Draw the calibration curve of each horizon (days) in a column, with the range of a reliable forecaster's curve."""
    with canvas(2, len(curves), figure_size(len(curves), 4.8), space=0.12, height_ratios=[4, 1]) as (figure, axes):
        for (above, below), (days, curve) in zip(axes.T, curves.items(), strict=True):
            above.plot([0, 1], [0, 1], color=FAINT, linewidth=1.5, zorder=0)
            above.axhline(curve.base_rate, color=REFERENCE, linewidth=1, linestyle=DASHES)
            above.fill_between(curve.forecast, curve.low, curve.high, color=SHADE, linewidth=0, zorder=1)
            above.plot(curve.forecast, curve.share, color=INK, linewidth=1.4, zorder=2)
            above.set(title=f"within {days} days (n = {curve.weeks.sum():.0f})", xlim=(0, 1), ylim=(-0.03, 1.03))
            parts = "\n".join(f"{name} {getattr(curve.reliability, name):.3f}" for name in PARTS)
            above.text(0.03, 0.97, parts, transform=above.transAxes, va="top", fontsize=7.5, color=MUTED)
            below.hist(curve.forecast, TENTHS, weights=curve.weeks, color=EVENT, rwidth=0.9)
            below.set(xlabel="forecast probability (0–1)")
        axes[0, 0].set_ylabel("share of events (0–1)")
        axes[1, 0].set_ylabel("weeks")
        note = "Shaded: where 90 % of reliable forecasters would lie, as few windows overlapping as much. Dashes: base rate."
        finish(figure, corp_finding(curves), f"{about}. {note}", path)


def corp_finding(curves: Mapping[int, ReliabilityCurve]) -> str:
    """Title: the horizons at which forecasts are less calibrated than chance explains for a reliable forecaster."""
    off = [days for days, curve in curves.items() if curve.reliability.miscalibration > curve.reliability.by_chance_high]
    if off:
        return f"Less reliable than chance makes 19 of 20 reliable forecasters, within {listed(off)} days"
    return f"No less reliable than chance makes a reliable forecaster, within {listed(curves)} days"


def draw_murphy(diagrams: Mapping[int, Murphy], about: str, path: Path) -> None:
    """Draw the mean elementary score by threshold, a column per horizon; below it the gain on each other model with its
    interval."""
    with canvas(2, len(diagrams), figure_size(len(diagrams), 5.4), space=0.14, height_ratios=[3, 2]) as (figure, axes):
        for (above, below), (days, murphy) in zip(axes.T, diagrams.items(), strict=True):
            colours = dict(zip(murphy.scores, (INK, *LINES), strict=False))
            for name, score in murphy.scores.items():
                above.plot(murphy.thresholds, score, color=colours[name], linewidth=1.3, label=name)
            below.axhline(0, color=FAINT, linewidth=1.5, zorder=0)
            for name, gain in murphy.gains.items():
                draw_band(below, murphy.thresholds, gain, colours[name])
            above.set(title=f"within {days} days", xlim=(0, 1))
            below.set(xlabel="threshold to act at (probability)")
        axes[0, 0].set_ylabel("mean score (0 is best)")
        axes[1, 0].set_ylabel("gain (above 0: better)")
        left_margin(figure, 0.7)
        axes[0, -1].legend(loc="lower center", fontsize=8)
        other = next(iter(next(iter(diagrams.values())).gains))
        title = threshold_finding({days: murphy.gains[other] for days, murphy in diagrams.items()}, f"Better than {other}")
        finish(figure, title, f"{about}. Shaded: 95 % intervals of the gains, each threshold for itself.", path)


def draw_band(axis: Any, at: Floats, band: Band, colour: str) -> None:
    """Draw a line and the shaded area of its interval."""
    axis.fill_between(at, band.low, band.high, color=colour, alpha=0.18, linewidth=0)
    axis.plot(at, band.value, color=colour, linewidth=1.3)


def draw_value(curves: Mapping[int, ValueCurve], about: str, path: Path) -> None:
    """Draw the economic value (share of the possible savings) by cost-loss ratio, a column per horizon."""
    with canvas(1, len(curves), figure_size(len(curves), 3.9), space=0.1) as (figure, axes):
        for axis, (days, curve) in zip(axes[0], curves.items(), strict=True):
            axis.axhline(0, color=FAINT, linewidth=1.5, zorder=0)
            draw_band(axis, curve.ratios, curve.value, INK)
            axis.plot([], [], color=INK, label=curve.model)
            for (name, value), colour in zip(curve.others.items(), LINES, strict=False):
                axis.plot(curve.ratios, value, color=colour, linewidth=1.1, label=name)
            # The limit cuts values far below zero, which would flatten everything else.
            axis.set(title=f"within {days} days", xlim=(0, 1), ylim=(LEAST_VALUE, 1), xlabel="cost of acting / loss of missing")
        axes[0, 0].set_ylabel("value (1: outcome known)")
        axes[0, -1].legend(loc="upper right", fontsize=8)
        title = threshold_finding({days: curve.value for days, curve in curves.items()}, "Of value")
        note = "0: what the base rate of these very years saves. Shaded: 95 % intervals, each ratio for itself."
        finish(figure, title, f"{about}. {note}", path)


def threshold_finding(gains: Mapping[int, Band], claim: str) -> str:
    """Title: at how many thresholds the interval lies above zero, and at how many below, by more than rounding."""
    thresholds = len(next(iter(gains.values())).value)
    above = [int((gain.low > ROUNDING).sum()) for gain in gains.values()]
    below = [int((gain.high < -ROUNDING).sum()) for gain in gains.values()]
    opposite = f", the opposite at {listed(below)}" if any(below) else ""
    return f"{claim} beyond chance at {listed(above)} of {thresholds} thresholds within {listed(gains)} days{opposite}"


def draw_sharpness(spreads: Mapping[int, Mapping[str, Sharpness]], about: str, path: Path) -> None:
    """Draw how forecasts spread over 0–1, a column per horizon: a histogram of the first model, quantiles of all models."""
    with canvas(2, len(spreads), figure_size(len(spreads), 4.2), space=0.1, height_ratios=[3, 1]) as (figure, axes):
        for (above, below), (days, models) in zip(axes.T, spreads.items(), strict=True):
            first = next(iter(models.values()))
            above.bar(TENTHS[:-1], first.histogram, 0.09, align="edge", color=EVENT)
            above.set(title=f"within {days} days (sd {first.sd:.2f})", xlim=(0, 1))
            for height, spread in enumerate(models.values()):
                low, quarter, median, upper, high = spread.quantiles.values()
                below.hlines(-height, low, high, color=INK, linewidth=1)
                below.hlines(-height, quarter, upper, color=INK, linewidth=4)
                below.plot(median, -height, "o", color="white", markeredgecolor=INK, markersize=5)
            below.set(xlabel="forecast probability (0–1)", ylim=(0.6 - len(models), 0.6))
            below.set_yticks([-height for height in range(len(models))], list(models), fontsize=7)
        left_margin(figure, 1.3)
        axes[0, 0].set_ylabel("weeks")
        note = "Thin: 5 to 95 % of forecasts. Thick: 25 to 75 %. Point: the median. Bars count the first."
        days, models = horizon_shown(spreads)
        halves = [
            f"{name} {spread.quantiles['0.25']:.2f}–{spread.quantiles['0.75']:.2f}" for name, spread in list(models.items())[:2]
        ]
        finish(figure, f"Half of the {days}-day forecasts lie in: {', '.join(halves)}", f"{about}. {note}", path)


def draw_by_year(years: Mapping[int, Sequence[YearRow]], about: str, path: Path) -> None:
    """Draw Brier skill against climatology by year, a column per horizon."""
    with canvas(1, len(years), figure_size(len(years), 3.6), space=0.1) as (figure, axes):
        for axis, (days, rows) in zip(axes[0], years.items(), strict=True):
            draw_intervals(axis, [row.year for row in rows], [row.skill_climatology for row in rows])
            windows = np.mean([row.n_effective for row in rows])
            axis.set(title=f"within {days} days (about {windows:.0f} windows a year)", xlabel="year of the forecast")
            axis.set_xticks([row.year for row in rows], [f"’{row.year % 100}" for row in rows])
        left_margin(figure, 0.8)
        axes[0, 0].set_ylabel("skill against climatology")
        finish(figure, year_finding(years), f"{about}. Bars: 95 % intervals, from so few windows rough.", path)


def draw_intervals(axis: Any, at: Sequence[float], intervals: Sequence[Interval], *, across: bool = False) -> None:
    """Draw points with their intervals, vertical, or horizontal with `across`."""
    values, low, high = (np.array([getattr(interval, name) for interval in intervals]) for name in ("value", "low", "high"))
    (axis.axvline if across else axis.axhline)(0, color=FAINT, linewidth=1.5, zorder=0)
    (axis.hlines if across else axis.vlines)(at, low, high, color=INK, linewidth=1.3)
    axis.plot(*((values, at) if across else (at, values)), "o", color=INK, markersize=5)


def year_finding(by_horizon: Mapping[int, Sequence[YearRow]]) -> str:
    """Title: in how many years the forecasts were better, and in how many the interval excludes zero."""
    days, rows = horizon_shown(by_horizon)
    skills = [row.skill_climatology for row in rows]
    ahead, beyond = sum(skill.value > 0 for skill in skills), sum(skill.low > 0 for skill in skills)
    worse = sum(skill.high < 0 for skill in skills)
    years = f"better than climatology in {ahead} of {len(rows)} years"
    return f"Within {days} days {years}; beyond chance better in {beyond}, worse in {worse}"


def draw_ablation(rows: Sequence[BlockContribution], about: str, path: Path) -> None:
    """Draw the skill that each block of inputs adds, a column per horizon."""
    horizons = sorted({row.horizon for row in rows})
    with canvas(1, len(horizons), figure_size(len(horizons), 3.8), space=0.1) as (figure, axes):
        left_margin(figure, 1.5)
        for axis, days in zip(axes[0], horizons, strict=True):
            by_block = {row.block: row.incremental for row in rows if row.horizon == days}
            draw_intervals(axis, [-height for height in range(len(by_block))], list(by_block.values()), across=True)
            axis.set(title=f"within {days} days", xlabel="skill added")
            axis.set_yticks([-height for height in range(len(by_block))], list(by_block))
        note = f"95 % intervals, {len(LEFT_OUT)} a horizon: one in twenty lies off zero by chance."
        finish(figure, ablation_finding(rows), f"{about}. {note}", path)


def ablation_finding(rows: Sequence[BlockContribution]) -> str:
    """Title: the blocks whose contribution differs from zero at the horizon shown."""
    days, shown = horizon_shown({row.horizon: [row for row in rows if row.horizon == row.horizon] for row in rows})
    significant = [row for row in shown if row.incremental.low > 0 or row.incremental.high < 0]
    if not significant:
        return f"Within {days} days no block's addition can be told from zero"
    return f"Within {days} days told from zero: {', '.join(f'{row.block} {row.incremental.value:+.3f}' for row in significant)}"


def draw_null(null: NullDistribution, null_values: Floats, statistic: str, about: str, path: Path) -> None:
    """Draw a statistic on the true dates in the histogram of its values after shifts (S,)."""
    finite = null_values[np.isfinite(null_values)]
    with canvas(1, 1, (7.5, 3.6), space=0.1) as (figure, axes):
        axis = axes[0, 0]
        axis.hist(finite, BARS, color=EVENT, label="rotations")
        for edge in np.quantile(finite, [0.05, 0.95]):
            axis.axvline(edge, color=MUTED, linewidth=1, linestyle=DASHES)
        axis.axvline(null.observed, color=INK, linewidth=2, label=f"true dates: {null.observed:+.3f}")
        axis.set(title="the same with rows rotated against each other", xlabel=statistic, ylabel="rotations")
        axis.legend(loc="upper left", fontsize=8)
        note = f"Dashes: 5 and 95 % of {len(null_values)} rotations, about {null.independent} of them independent."
        finish(figure, null_finding(null.observed, null_values, null.p), f"{about}. {note}", path)


def null_finding(observed: float, null_values: Floats, p: float) -> str:
    """Title: how many shifts gave at least the value of the true dates; a missing value counts as at least as good."""
    as_good = int((~(null_values < observed)).sum())
    count = f"{as_good} of {len(null_values)} rotations" if as_good else "No rotation"
    return f"{count} gave as much as the true dates (p = {p:.3f})"


def draw_cumulative(leads: Sequence[CumulativeLead], about: str, path: Path) -> None:
    """Draw the cumulative lead in Brier loss over each other model, with the 95 % range of equally good models."""
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
    """Title: the models that the forecasts are ahead of, or behind, by more than chance."""
    ahead = [lead.other for lead in leads if lead.lead[-1] > lead.high[-1]]
    behind = [lead.other for lead in leads if lead.lead[-1] < lead.low[-1]]
    parts = [f"{word} {listed(names)}" for word, names in (("ahead of", ahead), ("behind", behind)) if names]
    if not parts:
        return "In the end no further ahead or behind than chance goes"
    return f"In the end {' and '.join(parts)} by more than chance"


def figure_size(columns: int, height: float) -> tuple[float, float]:
    """Width and height in inches of a figure with this number of columns."""
    return max(COLUMN * columns + 0.5, 8.0), height


def left_margin(figure: Any, inches: float) -> None:
    """Widen the left margin for long labels."""
    figure.subplots_adjust(left=inches / figure.get_size_inches()[0])


def horizon_shown(by_horizon: Mapping[int, T]) -> tuple[int, T]:
    """The horizon (days) that the title is about, and its entry: 60 days, or else the middle one."""
    days = 60 if 60 in by_horizon else sorted(by_horizon)[len(by_horizon) // 2]
    return days, by_horizon[days]


def listed(values: Iterable[object]) -> str:
    """Values as text, as in "30, 60 and 90"."""
    *first, last = (str(value) for value in values)
    return f"{', '.join(first)} and {last}" if first else last


STATISTICS = {"shift": "Brier skill against climatology", "claim": "Brier skill added to crypto's own state"}


def draw_reliability(samples: Mapping[int, EvaluationSample], model: str, about: str, folder: Path, *, seed: int) -> None:
    """Write reliability.png: are events as frequent as forecast? Nothing is drawn without a judged forecast."""
    curves = {days: reliability_curve(sample, model, seed=seed) for days, sample in samples.items() if len(sample.outcome)}
    if curves:
        draw_corp(curves, about, folder / "reliability.png")


def draw_panel(samples: Mapping[int, EvaluationSample], model: str, about: str, folder: Path, *, seed: int) -> None:
    """Write the figures of score, value, sharpness, years and cumulative lead; nothing where a horizon has no judged forecast."""
    if not all(len(sample.outcome) for sample in samples.values()):
        return
    compared = {
        days: tuple(dict.fromkeys((model, "climatology", sample.baselines["volatility"]))) for days, sample in samples.items()
    }
    spreads = {days: {name: sharpness(sample.probabilities[name]) for name in compared[days]} for days, sample in samples.items()}
    draw_murphy({days: murphy(sample, model, seed=seed) for days, sample in samples.items()}, about, folder / "murphy.png")
    draw_value({days: value_curve(sample, model, seed=seed) for days, sample in samples.items()}, about, folder / "value.png")
    draw_sharpness(spreads, about, folder / "sharpness.png")
    draw_by_year({days: by_year(sample, model, seed=seed) for days, sample in samples.items()}, about, folder / "by_year.png")
    judged = samples[judged_horizon(list(samples))]
    rivals = [name for name in dict.fromkeys(judged.baselines.values()) if name != model]
    draw_cumulative([cumulative_lead(judged, model, rival, seed=seed) for rival in rivals], about, folder / "cumulative.png")


def draw_nulls(rotations: pd.DataFrame, independent: int, about: str, folder: Path) -> None:
    """Write a histogram per null test at the horizon judged. rotations: table with columns null, shift, horizon, skill."""
    if rotations.empty:
        return
    days = judged_horizon(rotations["horizon"].unique())
    shown = rotations[rotations["horizon"] == days].sort_values("shift")
    for name, rows in shown.groupby("null"):
        skill = rows["skill"].to_numpy()
        null, title = null_distribution(skill, independent), f"{about}, within {days} days"
        path = folder / f"null_{name}.png"
        draw_null(null, skill[1:], STATISTICS[str(name)], title, path)
