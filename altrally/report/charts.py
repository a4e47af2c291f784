"""The pictures of the page, as SVG. They place numbers that were computed elsewhere, and say in words what they show."""

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
LEAST_SPAN = 0.8  # log-odds: a picture of small moves must not make them look large
ROW, RUNG = 26, 64
HISTORY_HEIGHT, PATHS_HEIGHT, SQUARE, RECENT_HEIGHT = 280, 300, 320, 110
PATH_LOW, PATH_HIGH = 0.5, 3.0
PATH_TICKS = (0.5, 0.75, 1.0, 1.3, 2.0, 3.0)
MOST_YEARS_ON_A_PHONE = 5
MOST_RISE = 1.0  # the curve of the highest close is drawn up to a doubling

Axis = tuple[float, float]


def gauge(one: HorizonForecast) -> Markup:
    """A probability with its 90 % interval and base rate on a plain scale from 0 to 100 %."""
    bounds = f"90 % interval {percent(one.low)} to {percent(one.high)}"
    said = f"{percent(one.probability)} within {one.days} days; {bounds}; usually {percent(one.base_rate)}"
    usual = across(one.base_rate, 0, 1)
    return picture(
        46,
        grid(QUARTERS, 0, 1, 46),
        line("0", 23, "100%", 23, "rail"),
        bar(one.low, one.high, 0, 1, 16, 14, "interval", bounds),
        line(usual, 5, usual, 41, "usual"),
        dot(across(one.probability, 0, 1), 23, 8, "now", said),
        says=said,
    )


def highest_close(curve: Curve, asked: float) -> Markup:
    """The chance that the highest close lies at least so far above today's, a line a horizon, up to a doubling."""
    lines = [
        path(curve_points(curve.rises, one), f"high high-{place}", high_tip(one)) for place, one in enumerate(curve.horizons, 1)
    ]
    marks = [line("0", f"{100 * (1 - tick):.2f}%", "100%", f"{100 * (1 - tick):.2f}%", "grid") for tick in QUARTERS]
    words = [label("-8", HISTORY_HEIGHT * (1 - tick) + 4, percent(tick), anchor="end") for tick in QUARTERS]
    rise = across(asked, 0, MOST_RISE)
    said = "; ".join(high_tip(one) for one in curve.horizons)
    return picture(HISTORY_HEIGHT, *marks, line(rise, 0, rise, "100%", "asked"), stretched(*lines), *words, says=said)


def curve_points(rises: Sequence[float], one: HighestClose) -> list[tuple[float, float] | None]:
    """The line of one horizon in shares of width and height, as far as the picture goes."""
    shown = [(rise, p) for rise, p in zip(rises, one.probability, strict=True) if rise <= MOST_RISE]
    return [(rise / MOST_RISE, 1 - p) for rise, p in shown]


def high_tip(one: HighestClose) -> str:
    """The middle and a high quantile of one horizon in words."""
    middle, high = (signed_percent(one.quantiles[level]) for level in ("0.5", "0.9"))
    return f"highest close within {one.days} days: half of the time below {middle}, nine in ten below {high}"


def rise_axis() -> Markup:
    """Rises of the highest close."""
    return axis([(tick, signed_percent(tick)) for tick in QUARTERS], 0, MOST_RISE)


def share_axis() -> Markup:
    """0 to 100 %."""
    return axis([(tick, percent(tick)) for tick in QUARTERS], 0, 1)


def odds_axis(values: Sequence[float]) -> tuple[Axis, list[tuple[float, str]]]:
    """Ends of a log-odds axis that holds all of `values` with room to spare, and ticks at round probabilities."""
    low, high = min(values), max(values)
    room = max((LEAST_SPAN - (high - low)) / 2, 0.12 * (high - low))
    ends = low - room, high + room
    inside = [p for p in PROBABILITIES if ends[0] <= logit(p) <= ends[1]]
    tenths = [p for p in inside if round(20 * p) % 2 == 0]
    return ends, [(float(logit(p)), percent(p)) for p in (inside if len(inside) <= MOST_TICKS else tenths)]


def steps(start: float, parts: Sequence[Part]) -> list[tuple[float, float]]:
    """From where to where each part takes the log-odds, one after the other."""
    return list(pairwise(accumulate((part.log_odds for part in parts), initial=start)))


def waterfall(start: float, parts: Sequence[Part], end: float) -> tuple[list[Markup], Markup]:
    """One row for the start, one a part, one for the end; and the axis below, marked in probabilities."""
    moves = steps(start, parts)
    (low, high), ticks = odds_axis([start, end, *(stop for move in moves for stop in move)])
    lines = grid([value for value, _ in ticks], low, high, ROW)
    first = picture(ROW, lines, dot(across(start, low, high), ROW / 2, 5, "hollow"))
    last = picture(ROW, lines, dot(across(end, low, high), ROW / 2, 7, "now"))
    rows = [
        picture(ROW, lines, bar(*move, low, high, 6, ROW - 12, side(part.log_odds), moved_tip(part, move)))
        for part, move in zip(parts, moves, strict=True)
    ]
    return [first, *rows, last], axis(ticks, low, high)


def side(value: float) -> str:
    """The class of a bar that raises or lowers."""
    return "raises" if value >= 0 else "lowers"


def moved_tip(part: Part, move: tuple[float, float]) -> str:
    """A step in words."""
    start, end = (percent(float(expit(stop)), 1) for stop in move)
    return f"{signed(part.log_odds, 3)} log-odds: from {start} to {end} in this order"


def diverging(value: float, most: float, tip: str) -> Markup:
    """A bar to either side of zero on an axis from −most to +most."""
    return picture(18, line("50%", 0, "50%", 18, "zero"), bar(0, value, -most, most, 4, 10, side(value), tip))


def tornado(one: Sensitivity, now: float) -> Markup:
    """The probability with one composite a standard deviation lower and higher."""
    tip = f"{block_name(one.block)}: {percent(one.lower, 1)} one standard deviation lower, {percent(one.higher, 1)} higher"
    return picture(
        ROW,
        grid(QUARTERS, 0, 1, ROW),
        bar(one.lower, now, 0, 1, 8, 10, "lowers", tip),
        bar(now, one.higher, 0, 1, 8, 10, "raises", tip),
        line(across(now, 0, 1), 0, across(now, 0, 1), ROW, "usual"),
    )


def ladder_rung(rung: Rung) -> Markup:
    """Where a rung stands among its past three years, and stood four weeks before."""
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
    """A share of the past as a mark on a scale."""
    warns = across(UNUSUAL, 0, 1)
    return picture(
        30, line("0", 15, "100%", 15, "rail"), line(warns, 5, warns, 25, "usual"), dot(across(share, 0, 1), 15, 7, "now", tip)
    )


def paths(like: Analogues, rise: float | None, subject: str) -> Markup:
    """The level after each similar moment on a log scale, day 0 to the longest horizon; the line asks for the rise."""
    drawn = [path(points(one), "path came" if any(one.came.values()) else "path", path_tip(one)) for one in like.moments]
    marks = [line("0", height_of(value), "100%", height_of(value), "grid") for value in PATH_TICKS]
    words = [label("-8", offset(height_of(value), 4), signed_percent(value - 1), anchor="end") for value in PATH_TICKS]
    asked = [] if rise is None else [line("0", height_of(1 + rise), "100%", height_of(1 + rise), "asked")]
    said = f"{subject} in the days after each similar moment: " + "; ".join(path_tip(moment) for moment in like.moments)
    return picture(PATHS_HEIGHT, *marks, *asked, stretched(*drawn), *words, says=said)


def height_of(value: float) -> str:
    """A level on the log scale of `paths`, in percent from the top."""
    return f"{100 * (1 - place(log(value), log(PATH_LOW), log(PATH_HIGH))):.2f}%"


def offset(height: str, pixels: int) -> float:
    """A percent height of `paths` in pixels, moved."""
    return PATHS_HEIGHT * float(height.rstrip("%")) / 100 + pixels


def points(moment: Analogue) -> list[tuple[float, float] | None]:
    """A path in shares of width and height; a level beyond the scale lies outside the picture, which cuts the line off."""
    last = max(len(moment.path) - 1, 1)
    return [
        None if level is None or level <= 0 else (day / last, log(PATH_HIGH / level) / log(PATH_HIGH / PATH_LOW))
        for day, level in enumerate(moment.path)
    ]


def path_tip(moment: Analogue) -> str:
    """A similar moment in words."""
    levels = [level for level in moment.path[1:] if level is not None]
    highest = f"highest close {signed_percent(max(levels) - 1)}" if levels else "no closes"
    return f"{long_date(moment.as_of)}: {highest} in {len(moment.path) - 1} days"


def day_axis(moments: Sequence[Analogue]) -> Markup:
    """Days since a moment."""
    last = max((len(moment.path) - 1 for moment in moments), default=90)
    return axis([(day, f"day {day}") for day in range(0, last + 1, 30)], 0, last)


def recent(weeks: Sequence[tuple[str, float]], base_rate: float) -> Markup:
    """The probability week by week, beside the base rate."""
    points = [(place / (len(weeks) - 1), 1 - probability) for place, (_, probability) in enumerate(weeks)]
    marks = [level_line(tick, "grid") for tick in (0.0, 0.5, 1.0)]
    words = [label("-8", RECENT_HEIGHT * (1 - tick) + 4, percent(tick), anchor="end") for tick in (0.0, 0.5, 1.0)]
    said = "; ".join(f"{day} {percent(probability)}" for day, probability in weeks)
    return picture(
        RECENT_HEIGHT, *marks, level_line(base_rate, "usual-level"), stretched(path(points, "recent", said)), *words, says=said
    )


def ends_axis(weeks: Sequence[tuple[str, float]]) -> Markup:
    """The first and the last day."""
    return axis([(0.0, weeks[0][0]), (1.0, weeks[-1][0])], 0, 1)


def agreement(others: Sequence[tuple[str, float]], champion: HorizonForecast) -> Markup:
    """Every other model's probability as a ring, the champion's filled."""
    rings = [dot(across(share, 0, 1), 23, 6, "hollow", f"{name}: {percent(share)}") for name, share in others]
    said = ", ".join(f"{name} {percent(share)}" for name, share in others)
    now = dot(across(champion.probability, 0, 1), 23, 8, "now", f"champion: {percent(champion.probability)}")
    return picture(46, grid(QUARTERS, 0, 1, 46), line("0", 23, "100%", 23, "rail"), *rings, now, says=said)


def history(record: History, event: str) -> Markup:
    """Forecast and climatology week by week; shaded weeks were followed by the event, hatched ones aren't over."""
    shaded = [rest for first, last, came in runs(record) if came is not False for rest in [block(record, first, last, came)]]
    lines = stretched(path(curve(record.climatology), "climatology"), path(curve(record.probability), "forecast"))
    marks = [level_line(tick, "grid") for tick in QUARTERS]
    words = [label("-8", HISTORY_HEIGHT * (1 - tick) + 4, percent(tick), anchor="end") for tick in QUARTERS]
    span = f"{record.as_of[0]} to {record.as_of[-1]}"
    said = f"Forecasts within {record.days} days, {span}, beside the base rate known then; shaded weeks were followed by {event}."
    cursor = element("line", x1="0", y1="0", x2="0", y2=HISTORY_HEIGHT, class_="cursor", visibility="hidden")
    return picture(HISTORY_HEIGHT, hatching(record.days), *shaded, *marks, lines, *words, cursor, says=said)


def hatching(days: int) -> Markup:
    """The pattern of weeks that aren't over."""
    stripe = element("path", d="M0 6L6 0", class_="hatch-line")
    return element("defs", element("pattern", stripe, id=f"hatch-{days}", width=6, height=6, patternUnits="userSpaceOnUse"))


def runs(record: History) -> list[tuple[int, int, bool | None]]:
    """Stretches of weeks with the same outcome: first, last, outcome."""
    found: list[tuple[int, int, bool | None]] = []
    for week, came in enumerate(record.came):
        if found and found[-1][2] is came:
            found[-1] = (found[-1][0], week, came)
        else:
            found.append((week, week, came))
    return found


def block(record: History, first: int, last: int, came: bool | None) -> Markup:
    """One stretch of weeks as a band."""
    start, end = (week_place(record, week) for week in (first, last + 1))
    look = {"class_": "rally"} if came else {"fill": f"url(#hatch-{record.days})"}
    return element("rect", x=f"{100 * start:.2f}%", y=0, width=f"{100 * (end - start):.2f}%", height=HISTORY_HEIGHT, **look)


def week_place(record: History, week: int) -> float:
    """Where a week begins, as a share of the width."""
    return week / len(record.as_of)


def curve(values: Sequence[float | None]) -> list[tuple[float, float] | None]:
    """A line through the middles of the weeks."""
    return [None if value is None else ((week + 0.5) / len(values), 1 - value) for week, value in enumerate(values)]


def year_axis(record: History) -> Markup:
    """The first week of each year."""
    years = pd.DatetimeIndex(record.as_of).year
    firsts = [int(np.flatnonzero(years == year)[0]) for year in sorted(set(years))]
    step = ceil(len(firsts) / MOST_YEARS_ON_A_PHONE)
    return axis([(week_place(record, week), str(years[week])) for week in firsts[::step]], 0, 1)


def reliability(bins: Sequence[Bin], base_rate: float | None, event: str) -> Markup:
    """Share of events against forecast, with 90 % intervals; on the diagonal forecasts are reliable."""
    diagonal = stretched(path([(0.0, 1.0), (1.0, 0.0)], "diagonal"))
    marks = [level_line(tick, "grid") for tick in QUARTERS]
    words = [label("-8", SQUARE * (1 - tick) + 4, percent(tick), anchor="end") for tick in QUARTERS]
    usual = [] if base_rate is None else [level_line(base_rate, "climatology")]
    said = "; ".join(bin_tip(one, event) for one in bins) or "No forecast has been judged yet."
    return picture(SQUARE, *marks, diagonal, *usual, *words, *(piece for one in bins for piece in bin_marks(one, event)), says=said)


def level_line(share: float, kind: str) -> Markup:
    """A line across at a share of the height."""
    y = f"{100 * (1 - share):.2f}%"
    return line("0", y, "100%", y, kind)


def bin_marks(one: Bin, event: str) -> list[Markup]:
    """One bin: interval and mark, larger for more weeks."""
    x = across(one.probability, 0, 1)
    low, high, share = (f"{100 * (1 - value):.2f}%" for value in (one.low, one.high, one.share))
    return [line(x, low, x, high, "whisker"), dot(x, share, min(3 + one.count**0.5 / 2, 10), "now", bin_tip(one, event))]


def bin_tip(one: Bin, event: str) -> str:
    """One bin in words."""
    return (
        f"Forecast about {percent(one.probability)}: {event} followed {percent(one.share)} of {one.count} weeks "
        f"(90 % interval {percent(one.low)} to {percent(one.high)})"
    )


def forest_axis(rows: Sequence[dict[str, Any]], *names: str) -> Axis:
    """Ends that hold every interval, in whole tenths."""
    parts = [row[name] for row in rows for name in names]
    limits = [part[key] for part in parts for key in ("low", "high", "value") if part.get(key) is not None]
    return floor(10 * min([-0.1, *limits])) / 10, ceil(10 * max([0.1, *limits])) / 10


def forest(part: dict[str, Any], ends: Axis, tip: str) -> Markup:
    """A value and its 95 % interval about zero."""
    zero = across(0, *ends)
    marks = [line("0", 13, "100%", 13, "rail"), line(zero, 0, zero, ROW, "zero")]
    if part.get("low") is not None:
        marks.append(bar(part["low"], part["high"], *ends, 10, 6, "interval", tip))
    if part.get("value") is not None:
        marks.append(dot(across(part["value"], *ends), 13, 5, "now", tip))
    return picture(ROW, *marks)


def forest_scale(ends: Axis) -> Markup:
    """Ends and zero of a forest."""
    return axis([(ends[0], signed(ends[0], 1)), (0.0, "0"), (ends[1], signed(ends[1], 1))], *ends)
