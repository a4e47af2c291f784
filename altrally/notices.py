"""Notices of the daily round: a probability that crossed a level, and data too old to forecast from."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Any

import pandas as pd

from altrally.ledger import LIVE, SCORE, Line
from core.errors import BadInput
from core.target import ALTCOINS, Target, judged_horizon, target_from_summary


@dataclass(frozen=True)
class Crossing:
    """A level (0-1) of the probability of one horizon (days); a notice is sent when it is crossed."""

    level: float
    days: int


def parse_crossing(text: str, target: Target = ALTCOINS) -> Crossing:
    """A crossing from text as P:DAYS. Raises BadInput where it isn't that, or the target has no such horizon."""
    probability, _, days = text.partition(":")
    try:
        crossing = Crossing(float(probability), int(days))
    except ValueError:
        crossing = Crossing(0, 0)
    horizons = target.horizons
    if not 0 < crossing.level < 1 or crossing.days not in horizons:
        example = f"0.6:{judged_horizon(horizons)}"
        raise BadInput(
            f"--cross {text!r} is not P:DAYS, a probability and one of {', '.join(map(str, horizons))}; {example} is one."
        )
    return crossing


def crossing_notices(
    lines: Iterable[Line], examined: int, crossings: Sequence[Crossing], target: Target = ALTCOINS
) -> list[dict[str, Any]]:
    """A notice for each level crossed by a live forecast of a target in a line after `examined`.

    A forecast is compared with that of the newest earlier day; not if they are of different events (threshold or outcome).
    """
    by_day: dict[pd.Timestamp, Line] = {}
    for line in lines:
        if line.kind == SCORE and line.record == LIVE and line.is_of(target) and not line.is_question:
            by_day.setdefault(line.as_of, line)
    notices = [
        crossing_notice(before, line, crossing)
        for before, line in pairwise([by_day[day] for day in sorted(by_day)])
        for crossing in crossings
        if line.number > examined and line.body["outcome"] == before.body["outcome"]
    ]
    return [notice for notice in notices if notice]


def crossing_notice(before: Line, line: Line, crossing: Crossing) -> dict[str, Any] | None:
    """The notice that the probability rose to the level or fell below it; None where it did neither."""
    was, now = (
        next((row for row in forecast.body["horizons"] if row["days"] == crossing.days), None) for forecast in (before, line)
    )
    if was is None or now is None or (was["probability"] < crossing.level) == (now["probability"] < crossing.level):
        return None
    rose = now["probability"] >= crossing.level
    target = target_from_summary(line.body["outcome"], [row["days"] for row in line.body["horizons"]])
    event = f"P({target.name} within {crossing.days} days) {'rose to' if rose else 'fell below'} {crossing.level:g}"
    days = f"{now['probability']:.2f} on {line.body['as_of']}, {was['probability']:.2f} on {before.body['as_of']}"
    text = f"{simulated_prefix(line.body['market'])}{event}: {days}; base rate {now['base_rate']:.2f}. Not investment advice."
    return {
        "text": text,
        "event": "crossed",
        "market": line.body["market"],
        "level": crossing.level,
        "rose": rose,
        "before": {"as_of": before.body["as_of"], "line": before.number, **was},
        "now": {"as_of": line.body["as_of"], "line": line.number, **now},
    }


def stale_notice(market: str | None, reasons: list[str]) -> dict[str, Any]:
    """The notice that the data are too old or too thin for a forecast."""
    return {
        "text": f"{simulated_prefix(market)}Data stale: {'; '.join(reasons)}.",
        "event": "stale",
        "market": market,
        "reasons": reasons,
    }


def simulated_prefix(market: str | None) -> str:
    """A warning if the market is simulated, else empty."""
    return "Simulated market. " if market == "simulated" else ""
