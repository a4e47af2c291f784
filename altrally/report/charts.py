"""The pictures of the page as SVG, each with a description in words. The numbers are computed elsewhere."""

from collections.abc import Sequence
from itertools import accumulate, pairwise
from math import ceil, floor, log
from typing import Any

import numpy as np
import pandas as pd
from markupsafe import Markup
from scipy.special import expit, logit

from altrally.forecast import Curve, HighestClose, HorizonForecast
from altrally.report.analogues import UNUSUAL, Analogue, Analogues
from altrally.report.contributions import Part, Sensitivity
from altrally.report.past_forecasts import Bin, History
from altrally.report.rungs import Rung
from altrally.report.svg import across, axis, bar, dot, element, grid, label, line, path, picture, place, stretched
from altrally.report.words import block_name, long_date, percent, signed_percent
from core.number_format import signed

QUARTERS = (0.0, 0.25, 0.5, 0.75, 1.0)
PROBABILITIES = (0.01, *(twentieth / 20 for twentieth in range(1, 20)), 0.99)
MOST_TICKS = 5
LEAST_SPAN = 0.8  # log-odds: small changes must not look large
ROW, RUNG = 26, 64
HISTORY_HEIGHT, PATHS_HEIGHT, SQUARE, RECENT_HEIGHT = 280, 300, 320, 110
PATH_LOW, PATH_HIGH = 0.5, 3.0
PATH_TICKS = (0.5, 0.75, 1.0, 1.3, 2.0, 3.0)
MOST_YEARS_ON_A_PHONE = 5
MOST_RISE = 1.0  # the curve of the highest close is drawn up to a doubling

Axis = tuple[float, float]


def gauge(forecast: HorizonForecast) -> Markup:
    """A probability with its 90 % interval and base rate on a plain scale from 0 to 100 %."""
    bounds = f"90 % interval {percent(forecast.low)} to {percent(forecast.high)}"
    description = f"{percent(forecast.probability)} within {forecast.days} days; {bounds}; usually {percent(forecast.base_rate)}"
    base_rate = across(forecast.base_rate, 0, 1)
    return picture(
        46,
        grid(QUARTERS, 0, 1, 46),
        line("0", 23, "100%", 23, "rail"),
        bar(forecast.low, forecast.high, 0, 1, 16, 14, "interval", bounds),
        line(base_rate, 5, base_rate, 41, "usual"),
        dot(across(forecast.probability, 0, 1), 23, 8, "now", description),
        says=description,
    )


def highest_close(curve: Curve, rise: float) -> Markup:
    """The probability that the highest close lies at least so far above today's, one line per horizon; `rise` is marked."""
    lines = []
    for number, row in enumerate(curve.horizons, 1):
        shown = [(x, p) for x, p in zip(curve.rises, row.probability, strict=True) if x <= MOST_RISE]
        points = [(x / MOST_RISE, 1 - p) for x, p in shown]
        lines.append(path(points, f"high high-{number}", highest_close_tip(row)))
    marks = [line("0", f"{100 * (1 - tick):.2f}%", "100%", f"{100 * (1 - tick):.2f}%", "grid") for tick in QUARTERS]
    words = [label("-8", HISTORY_HEIGHT * (1 - tick) + 4, percent(tick), anchor="end") for tick in QUARTERS]
    x = across(rise, 0, MOST_RISE)
    description = "; ".join(highest_close_tip(row) for row in curve.horizons)
    return picture(HISTORY_HEIGHT, *marks, line(x, 0, x, "100%", "asked"), stretched(*lines), *words, says=description)


def highest_close_tip(row: HighestClose) -> str:
    """Median and 90 % quantile of the highest close within one horizon in words."""
    middle, high = (signed_percent(row.quantiles[level]) for level in ("0.5", "0.9"))
    return f"highest close within {row.days} days: half of the time below {middle}, nine in ten below {high}"


def rise_axis() -> Markup:
    """The axis of `highest_close`: rises."""
    return axis([(tick, signed_percent(tick)) for tick in QUARTERS], 0, MOST_RISE)


def share_axis() -> Markup:
    """An axis from 0 to 100 %."""
    return axis([(tick, percent(tick)) for tick in QUARTERS], 0, 1)


def odds_axis(values: Sequence[float]) -> tuple[Axis, list[tuple[float, str]]]:
    """Ends of a log-odds axis around `values`, and ticks at round probabilities."""
    low, high = min(values), max(values)
    room = max((LEAST_SPAN - (high - low)) / 2, 0.12 * (high - low))
    ends = low - room, high + room
    inside = [p for p in PROBABILITIES if ends[0] <= logit(p) <= ends[1]]
    tenths = [p for p in inside if round(20 * p) % 2 == 0]
    return ends, [(float(logit(p)), percent(p)) for p in (inside if len(inside) <= MOST_TICKS else tenths)]


def waterfall(start: float, parts: Sequence[Part], end: float) -> tuple[list[Markup], Markup]:
    """Rows of a waterfall (start, one per part, end), and its axis marked in probabilities."""
    moves = list(pairwise(accumulate((part.log_odds for part in parts), initial=start)))
    (low, high), ticks = odds_axis([start, end, *(stop for move in moves for stop in move)])
    lines = grid([value for value, _ in ticks], low, high, ROW)
    rows = [picture(ROW, lines, dot(across(start, low, high), ROW / 2, 5, "hollow"))]
    for part, move in zip(parts, moves, strict=True):
        before, after = (percent(float(expit(stop)), 1) for stop in move)
        tip = f"{signed(part.log_odds, 3)} log-odds: from {before} to {after} in this order"
        rows.append(picture(ROW, lines, bar(*move, low, high, 6, ROW - 12, side(part.log_odds), tip)))
    rows.append(picture(ROW, lines, dot(across(end, low, high), ROW / 2, 7, "now")))
    return rows, axis(ticks, low, high)


def side(value: float) -> str:
    """The CSS class of a bar: raises or lowers."""
    return "raises" if value >= 0 else "lowers"


def diverging(value: float, most: float, tip: str) -> Markup:
    """A bar to either side of zero on an axis from −most to +most."""
    return picture(18, line("50%", 0, "50%", 18, "zero"), bar(0, value, -most, most, 4, 10, side(value), tip))


def tornado(row: Sensitivity, now: float) -> Markup:
    """The probability with one composite a standard deviation lower and higher."""
    tip = f"{block_name(row.block)}: {percent(row.lower, 1)} one standard deviation lower, {percent(row.higher, 1)} higher"
    return picture(
        ROW,
        grid(QUARTERS, 0, 1, ROW),
        bar(row.lower, now, 0, 1, 8, 10, "lowers", tip),
        bar(now, row.higher, 0, 1, 8, 10, "raises", tip),
        line(across(now, 0, 1), 0, across(now, 0, 1), ROW, "usual"),
    )


def ladder_rung(rung: Rung) -> Markup:
    """The percentile of a rung in its past three years, now and four weeks before."""
    posts = [line(x, "0", x, "100%", "rail-post") for x in ("0", "100%")]
    step = [*posts, line("0", "50%", "100%", "50%", "rung"), line("50%", "25%", "50%", "75%", "zero")]
    if rung.percentile is None:
        return picture(RUNG, *step, label("50%", "40%", "unknown"))
    says = f"{rung.name}: {percent(rung.percentile)} of the past three years were no higher"
    marks = [dot(across(rung.percentile, 0, 1), "50%", 8, "now", says)]
    if rung.before is not None:
        was = f"Four weeks before: {percent(rung.before)}"
        marks = [
            line(across(rung.before, 0, 1), "50%", across(rung.percentile, 0, 1), "50%", "trail"),
            dot(across(rung.before, 0, 1), "50%", 5, "hollow", was),
            *marks,
        ]
    return picture(RUNG, *step, *marks)


def percentile_bar(share: float, tip: str) -> Markup:
    """A percentile (0-1) as a mark on a scale, with the mark of an unusual day."""
    warns = across(UNUSUAL, 0, 1)
    return picture(
        30, line("0", 15, "100%", 15, "rail"), line(warns, 5, warns, 25, "usual"), dot(across(share, 0, 1), 15, 7, "now", tip)
    )


def paths(analogues: Analogues, rise: float | None, subject: str) -> Markup:
    """The level after each analogue on a log scale, from day 0 to the longest horizon; `rise` is marked."""
    lines = [
        path(path_points(week), "path came" if any(week.event_occurred.values()) else "path", path_tip(week))
        for week in analogues.nearest
    ]
    heights = {tick: 1 - place(log(tick), log(PATH_LOW), log(PATH_HIGH)) for tick in PATH_TICKS}
    marks = [line("0", f"{100 * height:.2f}%", "100%", f"{100 * height:.2f}%", "grid") for height in heights.values()]
    words = [
        label("-8", PATHS_HEIGHT * round(100 * height, 2) / 100 + 4, signed_percent(tick - 1), anchor="end")
        for tick, height in heights.items()
    ]
    if rise is not None:
        y = f"{100 * (1 - place(log(1 + rise), log(PATH_LOW), log(PATH_HIGH))):.2f}%"
        marks.append(line("0", y, "100%", y, "asked"))
    description = f"{subject} in the days after each similar moment: " + "; ".join(path_tip(week) for week in analogues.nearest)
    return picture(PATHS_HEIGHT, *marks, stretched(*lines), *words, says=description)


def path_points(analogue: Analogue) -> list[tuple[float, float] | None]:
    """The path of an analogue in shares of width and height; a point beyond the scale lies outside the picture and is cut off."""
    last = max(len(analogue.path) - 1, 1)
    return [
        None if level is None or level <= 0 else (day / last, log(PATH_HIGH / level) / log(PATH_HIGH / PATH_LOW))
        for day, level in enumerate(analogue.path)
    ]


def path_tip(analogue: Analogue) -> str:
    """An analogue in words: its day and its highest close."""
    levels = [level for level in analogue.path[1:] if level is not None]
    highest = f"highest close {signed_percent(max(levels) - 1)}" if levels else "no closes"
    return f"{long_date(analogue.as_of)}: {highest} in {len(analogue.path) - 1} days"


def day_axis(analogues: Sequence[Analogue]) -> Markup:
    """The axis of `paths`: days since the analogue."""
    last = max((len(analogue.path) - 1 for analogue in analogues), default=90)
    return axis([(day, f"day {day}") for day in range(0, last + 1, 30)], 0, last)


def recent(weeks: Sequence[tuple[str, float]], base_rate: float) -> Markup:
    """The probability week by week, with the base rate."""
    points = [(position / (len(weeks) - 1), 1 - probability) for position, (_, probability) in enumerate(weeks)]
    marks = [level_line(tick, "grid") for tick in (0.0, 0.5, 1.0)]
    words = [label("-8", RECENT_HEIGHT * (1 - tick) + 4, percent(tick), anchor="end") for tick in (0.0, 0.5, 1.0)]
    description = "; ".join(f"{day} {percent(probability)}" for day, probability in weeks)
    return picture(
        RECENT_HEIGHT,
        *marks,
        level_line(base_rate, "usual-level"),
        stretched(path(points, "recent", description)),
        *words,
        says=description,
    )


def ends_axis(weeks: Sequence[tuple[str, float]]) -> Markup:
    """The axis of `recent`: first and last day."""
    return axis([(0.0, weeks[0][0]), (1.0, weeks[-1][0])], 0, 1)


def agreement(others: Sequence[tuple[str, float]], champion: HorizonForecast) -> Markup:
    """The probabilities of the other models as rings, the champion's filled."""
    rings = [dot(across(share, 0, 1), 23, 6, "hollow", f"{name}: {percent(share)}") for name, share in others]
    description = ", ".join(f"{name} {percent(share)}" for name, share in others)
    now = dot(across(champion.probability, 0, 1), 23, 8, "now", f"champion: {percent(champion.probability)}")
    return picture(46, grid(QUARTERS, 0, 1, 46), line("0", 23, "100%", 23, "rail"), *rings, now, says=description)


def history(record: History, event: str) -> Markup:
    """Forecast and climatology week by week; shaded weeks were followed by the event, hatched ones aren't over."""
    shaded = [week_band(record, first, last, outcome) for first, last, outcome in runs(record) if outcome is not False]
    lines = stretched(path(weekly_points(record.climatology), "climatology"), path(weekly_points(record.probability), "forecast"))
    marks = [level_line(tick, "grid") for tick in QUARTERS]
    words = [label("-8", HISTORY_HEIGHT * (1 - tick) + 4, percent(tick), anchor="end") for tick in QUARTERS]
    span = f"{record.as_of[0]} to {record.as_of[-1]}"
    description = (
        f"Forecasts within {record.days} days, {span}, beside the base rate known then; shaded weeks were followed by {event}."
    )
    cursor = element("line", x1="0", y1="0", x2="0", y2=HISTORY_HEIGHT, class_="cursor", visibility="hidden")
    return picture(HISTORY_HEIGHT, hatching(record.days), *shaded, *marks, lines, *words, cursor, says=description)


def hatching(days: int) -> Markup:
    """The fill pattern of weeks that aren't over."""
    stripe = element("path", d="M0 6L6 0", class_="hatch-line")
    return element("defs", element("pattern", stripe, id=f"hatch-{days}", width=6, height=6, patternUnits="userSpaceOnUse"))


def runs(record: History) -> list[tuple[int, int, bool | None]]:
    """Runs of weeks with the same outcome: first and last week, outcome."""
    stretches: list[tuple[int, int, bool | None]] = []
    for week, outcome in enumerate(record.event_occurred):
        if stretches and stretches[-1][2] is outcome:
            stretches[-1] = (stretches[-1][0], week, outcome)
        else:
            stretches.append((week, week, outcome))
    return stretches


def week_band(record: History, first: int, last: int, outcome: bool | None) -> Markup:
    """A run of weeks as a band."""
    start, end = (week_start(record, week) for week in (first, last + 1))
    style = {"class_": "rally"} if outcome else {"fill": f"url(#hatch-{record.days})"}
    return element("rect", x=f"{100 * start:.2f}%", y=0, width=f"{100 * (end - start):.2f}%", height=HISTORY_HEIGHT, **style)


def week_start(record: History, week: int) -> float:
    """The start of a week as a share of the width."""
    return week / len(record.as_of)


def weekly_points(values: Sequence[float | None]) -> list[tuple[float, float] | None]:
    """Points in the middle of each week, in shares of width and height; None breaks the line."""
    return [None if value is None else ((week + 0.5) / len(values), 1 - value) for week, value in enumerate(values)]


def year_axis(record: History) -> Markup:
    """The axis of `history`: the first week of years."""
    years = pd.DatetimeIndex(record.as_of).year
    firsts = [int(np.flatnonzero(years == year)[0]) for year in sorted(set(years))]
    step = ceil(len(firsts) / MOST_YEARS_ON_A_PHONE)
    return axis([(week_start(record, week), str(years[week])) for week in firsts[::step]], 0, 1)


def reliability(bins: Sequence[Bin], base_rate: float | None, event: str) -> Markup:
    """Share of events against forecast, with 90 % intervals; on the diagonal forecasts are reliable."""
    diagonal = stretched(path([(0.0, 1.0), (1.0, 0.0)], "diagonal"))
    marks = [level_line(tick, "grid") for tick in QUARTERS]
    words = [label("-8", SQUARE * (1 - tick) + 4, percent(tick), anchor="end") for tick in QUARTERS]
    climatology_line = [] if base_rate is None else [level_line(base_rate, "climatology")]
    description = "; ".join(bin_tip(row, event) for row in bins) or "No forecast has been judged yet."
    return picture(
        SQUARE,
        *marks,
        diagonal,
        *climatology_line,
        *words,
        *(mark for row in bins for mark in bin_marks(row, event)),
        says=description,
    )


def level_line(share: float, kind: str) -> Markup:
    """A horizontal line at a probability."""
    y = f"{100 * (1 - share):.2f}%"
    return line("0", y, "100%", y, kind)


def bin_marks(row: Bin, event: str) -> list[Markup]:
    """The interval and the mark of a bin; the mark grows with the number of weeks."""
    x = across(row.probability, 0, 1)
    low, high, share = (f"{100 * (1 - value):.2f}%" for value in (row.low, row.high, row.share))
    return [line(x, low, x, high, "whisker"), dot(x, share, min(3 + row.count**0.5 / 2, 10), "now", bin_tip(row, event))]


def bin_tip(row: Bin, event: str) -> str:
    """A bin in words."""
    return (
        f"Forecast about {percent(row.probability)}: {event} followed {percent(row.share)} of {row.count} weeks "
        f"(90 % interval {percent(row.low)} to {percent(row.high)})"
    )


def forest_axis(rows: Sequence[dict[str, Any]], *names: str) -> Axis:
    """Ends of an axis that holds every interval, in tenths."""
    parts = [row[name] for row in rows for name in names]
    limits = [part[key] for part in parts for key in ("low", "high", "value") if part.get(key) is not None]
    return floor(10 * min([-0.1, *limits])) / 10, ceil(10 * max([0.1, *limits])) / 10


def forest(part: dict[str, Any], ends: Axis, tip: str) -> Markup:
    """A value with its 95 % interval on an axis with zero."""
    zero = across(0, *ends)
    marks = [line("0", 13, "100%", 13, "rail"), line(zero, 0, zero, ROW, "zero")]
    if part.get("low") is not None:
        marks.append(bar(part["low"], part["high"], *ends, 10, 6, "interval", tip))
    if part.get("value") is not None:
        marks.append(dot(across(part["value"], *ends), 13, 5, "now", tip))
    return picture(ROW, *marks)


def forest_scale(ends: Axis) -> Markup:
    """The axis of `forest`: both ends and zero."""
    return axis([(ends[0], signed(ends[0], 1)), (0.0, "0"), (ends[1], signed(ends[1], 1))], *ends)
