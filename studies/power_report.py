"""Report of a power study: how often each test rejects, with exact intervals, and how many years are needed."""

from collections.abc import Callable, Mapping, Sequence
from itertools import pairwise
from math import sqrt
from typing import Any

import numpy as np

from evaluation.proportions import clopper_pearson
from evaluation.sample import BASELINES, LEVEL
from models.catalog import CLAIM, COMPOSITES
from studies.power import COINS, STOCKS, Line, Study

POWER = 0.8

JudgementDict = Mapping[str, Any]


def is_below(p: float | None) -> bool | None:
    """Whether a test rejects; None where it could not be made."""
    return None if p is None else p < LEVEL


def any_slope(judgement: JudgementDict) -> bool | None:
    """Whether any slope of the claim's five blocks is significant by itself."""
    significant = [is_below(judgement["usual"][f"slope_{name}"]) for name in CLAIM]
    return None if None in significant else any(significant)


OURS: dict[str, Callable[[JudgementDict], bool | None]] = {
    "drift": lambda judgement: judgement["drift"],
    "history": lambda judgement: judgement["history"],
    "live": lambda judgement: judgement["live"],
}
USUAL: dict[str, Callable[[JudgementDict], bool | None]] = {
    "auc": lambda judgement: is_below(judgement["usual"]["auc"]),
    "diebold_mariano": lambda judgement: is_below(judgement["usual"]["diebold_mariano"]),
    "any_slope": any_slope,
    **{f"slope_{name}": lambda judgement, name=name: is_below(judgement["usual"][f"slope_{name}"]) for name in COMPOSITES},  # type: ignore[misc]
}
OWN, INDEPENDENT = "own", "independent"
"""Inputs that the market was judged with. Without a cascade neither contains a signal of the claim."""


def report(study: Study, lines: Sequence[Line]) -> dict[str, Any]:
    """Report of the lines as plain lists and dicts.

    `cells`: a row a length, strength and kind of inputs, with the share of markets each test rejects on. `size_kept`: a row a
    length without signal, whether each promised size is. `years_needed`: a row a strength and test.
    """
    cells = [cell(group, years, strength, inputs) for (years, strength, inputs), group in lines_by_cell(lines).items()]
    return {
        "market": "simulated",
        "configuration": study.configuration,
        "seed": study.seed,
        "lag_weeks": study.lag_weeks,
        "stocks": STOCKS,
        "coins": COINS,
        "level": LEVEL,
        "cells": cells,
        "size_kept": sizes(cells),
        "years_needed": years_needed(cells),
    }


def lines_by_cell(lines: Sequence[Line]) -> dict[tuple[int, float, str], list[JudgementDict]]:
    """Judgements by years, strength and inputs."""
    groups: dict[tuple[int, float, str], list[JudgementDict]] = {}
    for inputs in (OWN, INDEPENDENT):
        for line in lines:
            if line[inputs] is not None:
                groups.setdefault((line["years"], line["strength"], inputs), []).append(line[inputs])
    return dict(sorted(groups.items(), key=lambda item: (item[0][1], item[0][0], item[0][2] == OWN)))


def cell(judgements: Sequence[JudgementDict], years: int, strength: float, inputs: str) -> dict[str, Any]:
    """A row of the report: the share of markets on which each test rejects, and the mean skills."""
    about = {"years": years, "strength": strength, "inputs": inputs, "markets": len(judgements)}
    means = {"skill": {name: mean_of([judgement["skill"][name] for judgement in judgements]) for name in BASELINES}}
    return about | means | {name: share([test(judgement) for judgement in judgements]) for name, test in (OURS | USUAL).items()}


def mean_of(values: Sequence[float]) -> dict[str, float | None]:
    """Mean over markets with its 95 % interval; no interval for a single market."""
    known = np.array(values)
    if len(known) < 2:
        return {"value": float(known[0]) if len(known) else None, "low": None, "high": None}
    mean, reach = float(known.mean()), 1.96 * float(known.std(ddof=1)) / sqrt(len(known))
    return {"value": mean, "low": mean - reach, "high": mean + reach}


def share(rejected: Sequence[bool | None]) -> dict[str, Any] | None:
    """Share of markets on which a test rejects, with its exact interval; None without a test."""
    decisions = [decision for decision in rejected if decision is not None]
    if not decisions:
        return None
    low, high = clopper_pearson(sum(decisions), len(decisions))
    return {"rejected": sum(decisions), "of": len(decisions), "value": sum(decisions) / len(decisions), "low": low, "high": high}


def sizes(cells: Sequence[Mapping[str, Any]]) -> list[dict[str, Any]]:
    """Whether each test keeps its size at each length: the lower limit of its share is at most the level."""
    quiet = [row for row in cells if row["strength"] == 0]
    return [
        {"years": years} | {name: all(bool(row[name]["low"] <= LEVEL) for row in quiet if row["years"] == years) for name in OURS}
        for years in sorted({row["years"] for row in quiet})
    ]


def years_needed(cells: Sequence[Mapping[str, Any]]) -> list[dict[str, Any]]:
    """Years of coin data at which each grade reaches 80 % power, by strength above 0."""
    strengths = sorted({row["strength"] for row in cells if row["strength"] > 0})
    return [
        {"strength": strength, "test": test, **years_to_power([row for row in cells if row["strength"] == strength], test)}
        for strength in strengths
        for test in OURS
    ]


def years_to_power(rows: Sequence[Mapping[str, Any]], test: str) -> dict[str, Any]:
    """Years at which the power of a test first reaches `POWER`, interpolated linearly between the simulated lengths.

    `years` None: not within `longest`. `at_most`: already at the shortest length, so that fewer may do.
    """
    curve = sorted((row["years"], row[test]["value"]) for row in rows)
    summary = {"power": POWER, "longest": curve[-1][0], "at_most": curve[0][1] >= POWER}
    if summary["at_most"]:
        return summary | {"years": float(curve[0][0])}
    for (before, low), (after, high) in pairwise(curve):
        if high >= POWER:
            return summary | {"years": before + (after - before) * (POWER - low) / (high - low)}
    return summary | {"years": None}
