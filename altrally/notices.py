"""What is worth a word to someone who isn't looking: a probability that crossed a level, and data too old to forecast from."""

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
    """A level of the probability of one horizon (days) that is worth a word when it is crossed."""

    level: float
    days: int


def parse_crossing(text: str, target: Target = ALTCOINS) -> Crossing:
    """A crossing as typed, P:DAYS, of a horizon of the target. Raises BadInput."""
    probability, _, days = text.partition(":")
    try:
        typed = Crossing(float(probability), int(days))
    except ValueError:
        typed = Crossing(0, 0)
    horizons = target.horizons
    if not 0 < typed.level < 1 or typed.days not in horizons:
        example = f"0.6:{judged_horizon(horizons)}"
        raise BadInput(
            f"--cross {text!r} is not P:DAYS, a probability and one of {', '.join(map(str, horizons))}; {example} is one."
        )
    return typed


def crossed(lines: Iterable[Line], examined: int, crossings: Sequence[Crossing], target: Target = ALTCOINS) -> list[dict[str, Any]]:
    """Each level crossed by a live forecast of a target after line `examined`, against the live one of the newest earlier day.

    Where the two forecast different events (another threshold, another outcome) nothing was crossed.
    """
    by_day: dict[pd.Timestamp, Line] = {}
    for line in lines:
        if line.kind == SCORE and line.record == LIVE and line.is_of(target) and not line.is_question:
            by_day.setdefault(line.as_of, line)
    found = [
        crossing_notice(before, line, crossing)
        for before, line in pairwise([by_day[day] for day in sorted(by_day)])
        for crossing in crossings
        if line.number > examined and line.body["outcome"] == before.body["outcome"]
    ]
    return [notice for notice in found if notice]


def crossing_notice(before: Line, line: Line, crossing: Crossing) -> dict[str, Any] | None:
    """What to tell where the probability went over the level or fell below it, None where it didn't."""
    was, now = (horizon_of(one, crossing.days) for one in (before, line))
    if was is None or now is None or (was["probability"] < crossing.level) == (now["probability"] < crossing.level):
        return None
    rose = now["probability"] >= crossing.level
    asked = target_from_summary(line.body["outcome"], [row["days"] for row in line.body["horizons"]])
    moved = f"P({asked.name} within {crossing.days} days) {'rose to' if rose else 'fell below'} {crossing.level:g}"
    days = f"{now['probability']:.2f} on {line.body['as_of']}, {was['probability']:.2f} on {before.body['as_of']}"
    text = f"{simulated(line.body['market'])}{moved}: {days}; base rate {now['base_rate']:.2f}. Not investment advice."
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
    """What to tell where the data can't carry a forecast."""
    return {"text": f"{simulated(market)}Data stale: {'; '.join(reasons)}.", "event": "stale", "market": market, "reasons": reasons}


def simulated(market: str | None) -> str:
    """The simulated market says so on every output."""
    return "Simulated market. " if market == "simulated" else ""


def horizon_of(line: Line, days: int) -> dict[str, Any] | None:
    """What a forecast says of one horizon, None where it says nothing."""
    return next((row for row in line.body["horizons"] if row["days"] == days), None)
