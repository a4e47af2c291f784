"""Figures of the studies: three of an audit, one of the backtest. They draw given numbers and compute none."""

from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd

from core.errors import BadInput
from studies.audit.breakouts import BREAKOUT_RULE, IN_WINDOW, RISE, WITHIN, Event, HitRate, window_name
from studies.audit.cascade import LeadLag
from studies.audit.verdicts import LEAST_N
from studies.backtest import BITCOIN, INDEX, RULE, RULE_BITCOIN, Following, interval_text
from training.figures import EVENT, FAINT, INK, MUTED, REFERENCE, canvas, finish
from training.panel_figures import left_margin

if TYPE_CHECKING:
    from studies.audit.claim import Audit, History

HIT, MISS = "#15803d", "#b91c1c"
COLOURS = {True: HIT, False: MISS, None: MUTED}
WORDS = {True: "hit within 90 days", False: "miss", None: "unknown"}
SCALE = 0.5  # hit rate less base rate at which the colour is full
SIMULATED = "Simulated market. "


def write_figures(result: "Audit", folder: Path) -> list[Path]:
    """Write the figures of an audit as PNG files to a folder, created if needed. Raises BadInput where it can't be written."""
    pictures = {"breakouts.png": draw_breakouts, "grid.png": draw_grid, "lead_lag.png": draw_lead_lag}
    try:
        folder.mkdir(parents=True, exist_ok=True)
        for name, draw in pictures.items():
            draw(result, folder / name)
    except OSError as error:
        raise BadInput(f"--figures {folder} can't be written: {error.strerror or error}.") from None
    return [folder / name for name in pictures]


def origin(result: "Audit") -> str:
    """Note on the market and day that every figure carries."""
    return f"{SIMULATED if result.market == 'simulated' else ''}As known on {result.as_of}."


def draw_breakouts(result: "Audit", path: Path) -> None:
    """Draw the record breakouts of the Russell 2000, on its own chart and on the altcoin index with the 90 days after each."""
    events = [row for row in result.breakouts.events if (row.kind, row.quiet) == BREAKOUT_RULE]
    with canvas(2, 1, (9.5, 5.6), space=0.35) as (figure, axes):
        above, below = axes[:, 0]
        for axis in (above, below):
            for period in (row for row in result.breakouts.article if row.over):
                axis.axvspan(pd.Timestamp(period.first), pd.Timestamp(period.last), color=FAINT, linewidth=0)
        timeline(above, result.history, "small_caps", events, "Russell 2000, log scale; grey: years the article names")
        timeline(below, result.history, "altcoins", events, "Altcoin index, log scale; yellow: the 90 days after")
        for event in (row for row in events if row.hits[window_name(WITHIN)] is not None):
            first = pd.Timestamp(event.day)
            below.axvspan(first, first + pd.Timedelta(days=WITHIN[1]), color=EVENT, alpha=0.4, linewidth=0)
        handles = [above.plot([], [], color=COLOURS[kind], label=WORDS[kind])[0] for kind in COLOURS]
        below.legend(handles=handles, loc="upper center", bbox_to_anchor=(0.5, -0.14), ncols=3)
        note = f"Record close after {BREAKOUT_RULE[1]} sessions without one. {origin(result)}"
        finish(figure, f"Breakouts by rule, and whether altcoins rose {RISE:.0%} within 90 days", note, path)


def timeline(axis: Any, history: "History", market: str, events: list[Event], title: str) -> None:
    """Draw a market's weekly closes with the breakouts."""
    values = np.array([np.nan if value is None else value for value in getattr(history, market)])
    axis.set(title=title)
    for event in events:
        axis.axvline(pd.Timestamp(event.day), color=COLOURS[event.hits[window_name(WITHIN)]], linewidth=1.1)
    if np.isfinite(values).any():
        axis.semilogy(pd.DatetimeIndex(history.days), values, color=INK, linewidth=1)
        axis.yaxis.set_major_formatter("{x:g}")
        axis.yaxis.set_minor_formatter("")
    axis.margins(x=0.01)


def draw_grid(result: "Audit", path: Path) -> None:
    """Draw hit rate less base rate by rule (rows), rise and window (columns), with the hits among known outcomes."""
    rows = list(dict.fromkeys((cell.kind, cell.quiet) for cell in result.breakouts.grid))
    columns = list(dict.fromkeys((cell.rise, cell.first_day, cell.last_day) for cell in result.breakouts.grid))
    with canvas(1, 1, (11.5, 3.9), space=0) as (figure, axes):
        axis = axes[0, 0]
        figure.subplots_adjust(left=0.15, bottom=0.24)
        for cell in result.breakouts.grid:
            position = columns.index((cell.rise, cell.first_day, cell.last_day)), rows.index((cell.kind, cell.quiet))
            draw_cell(axis, cell, *position)
        axis.set_yticks(range(len(rows)), [f"{kind}, {quiet} quiet" for kind, quiet in rows])
        axis.set_xticks(range(len(columns)), [f"≥{rise:.0%}\nday {first}–{last}" for rise, first, last in columns], fontsize=7)
        axis.set(xlim=(-0.5, len(columns) - 0.5), ylim=(len(rows) - 0.5, -0.5))
        axis.tick_params(length=0)
        note = f"Difference in points; hits of known outcomes. Paler: fewer than {LEAST_N} of them. Grey: none. Framed: the claim. "
        finish(figure, "Hit rate less base rate, by rule, rise and window", note + origin(result), path)


def draw_cell(axis: Any, cell: HitRate, x: int, y: int) -> None:
    """Draw one cell of the heat map."""
    from matplotlib.patches import Rectangle

    claimed = (
        (cell.kind, cell.quiet) == BREAKOUT_RULE and cell.rise == RISE and (cell.first_day, cell.last_day) in (WITHIN, IN_WINDOW)
    )
    face = FAINT if cell.difference is None else colour(cell.difference, cell.n)
    edge = INK if claimed else "white"
    axis.add_patch(Rectangle((x - 0.47, y - 0.46), 0.94, 0.92, facecolor=face, edgecolor=edge, linewidth=1.4, zorder=1 + claimed))
    words = "–" if cell.difference is None else f"{round(100 * cell.difference):+d}\n{cell.hits}/{cell.n}"
    axis.text(x, y, words, ha="center", va="center", fontsize=7, color=INK, zorder=3)


def colour(difference: float, n: int) -> Any:
    """Colour of a cell: pink below the base rate, green above, white at it; paler with fewer breakouts."""
    from matplotlib import colormaps

    weight = min(n / LEAST_N, 1.0)
    return colormaps["PiYG"](0.5 + 0.4 * weight * float(np.clip(difference / SCALE, -1, 1)))


def draw_lead_lag(result: "Audit", path: Path) -> None:
    """Draw the cross-correlations of every claimed link, with bands from circular shifts."""
    with canvas(1, len(result.cascade.lead_lag), (12.5, 3.6), space=0) as (figure, axes):
        for axis, link in zip(axes[0], result.cascade.lead_lag, strict=True):
            lead_lag_panel(axis, link)
        axes[0, 0].set_ylabel("correlation of weekly changes")
        note = "Right of 0 the first named moved first. Dark band: 95 % of single lags under rotation; light: of the largest. "
        finish(figure, "Does each rung move before the next?", note + origin(result), path)


def lead_lag_panel(axis: Any, link: LeadLag) -> None:
    """Draw the cross-correlations of one link."""
    axis.set_title(f"{link.driver} → {link.target}", fontsize=9)
    axis.set_xlabel("weeks")
    if link.correlations is None:
        axis.text(0.5, 0.5, "too few weeks", transform=axis.transAxes, ha="center", color=MUTED)
        return
    correlations = link.correlations
    axis.axhspan(-correlations.joint_band, correlations.joint_band, color=FAINT, alpha=0.6, linewidth=0)
    axis.axhspan(-correlations.band, correlations.band, color=FAINT, linewidth=0)
    axis.axvline(0, color=REFERENCE, linewidth=0.8, linestyle=(0, (4, 3)))
    axis.vlines(correlations.lags, 0, correlations.correlation, color=INK, linewidth=1.6)


CURVES = {RULE: (INK, 1.6), RULE_BITCOIN: ("#6b8fc9", 1.2), INDEX: (REFERENCE, 1.2), BITCOIN: (MUTED, 1.2)}


def draw_following(following: Following, path: Path) -> None:
    """Draw wealth by week on a log scale, and falls from the high; the rule held altcoins in shaded weeks."""
    about = f"{following.model} · {following.market} market"
    with canvas(2, 1, (9.5, 5.6), space=0.14, height_ratios=[3, 1]) as (figure, axes):
        above, below = axes[:, 0]
        days = following.curves.index
        for name, (colour, width) in CURVES.items():
            above.plot(days, following.curves[name], color=colour, linewidth=width, label=name)
        for name in (INDEX, RULE):
            below.plot(days, following.curves[name] / following.curves[name].cummax() - 1, color=CURVES[name][0], linewidth=1.2)
        for axis in (above, below):
            inside = {"where": following.inside.to_numpy(), "step": "post", "transform": axis.get_xaxis_transform()}
            axis.fill_between(days, 0, 1, color=EVENT, alpha=0.3, linewidth=0, **inside)
            axis.margins(x=0.01)
        left_margin(figure, 0.7)
        first = following.leads[0]
        above.set(title=f"lead over {first.against} in log growth a year: {interval_text(first.log_growth)}", yscale="log")
        above.set(ylabel="wealth (1 at first, log scale)")
        above.yaxis.set_major_formatter("{x:g}")
        below.set(ylabel="below high", xlabel="dealing day")
        above.legend(loc="upper left", fontsize=8, ncols=2)
        note = (
            f"After {following.cost:.1%} a purchase or sale, before taxes; thin markets ignored. An illustration, never a result."
        )
        finish(figure, following_finding(following), f"{about}, {following.horizon} days. {note}", path)


def following_finding(following: Following) -> str:
    """Title with the growth of the rule and of holding, and the p-value among other timings."""
    rule, index, bitcoin = (next(record for record in following.records if record.name == name) for name in (RULE, INDEX, BITCOIN))
    return (
        f"The rule {rule.growth:+.0%} a year, altcoins {index.growth:+.0%}, BTC {bitcoin.growth:+.0%}; "
        f"p = {following.timings[0].p:.2f} among other timings"
    )
