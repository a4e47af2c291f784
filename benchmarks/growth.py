"""How the cost grows with years, features and shifts: the tables of docs/benchmarks.md.

    python benchmarks/growth.py HOME [--rounds 3]

Processor seconds of this process (all its threads), the least of some rounds, so that what else the machine does disturbs little.
HOME is any fetched home; the null is measured on made-up weeks.
"""

import argparse
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from features.build import build, compute, load
from features.registry import FEATURES
from models.hazard import Hazard
from sources.quality import last_known
from sources.store import Store
from training.dataset import Outcomes
from training.null_tests import NullTask, shift_null
from training.walk_forward import quarters, usable

YEARS, SHARES, SHIFTS, INPUTS, NULL_YEARS = (2, 4, 8), (0.25, 0.5, 1.0), (50, 150, 450), (6, 12, 24), (11, 22)
BASE_RATES = {30: 0.25, 60: 0.4, 90: 0.5}


def least(job: Callable[[], Any], rounds: int) -> float:
    """Processor seconds of the quickest round."""
    spent = []
    for _ in range(rounds):
        begun = time.process_time()
        job()
        spent.append(time.process_time() - begun)
    return min(spent)


def weeks(years: int, inputs: int) -> tuple[pd.DataFrame, Outcomes]:
    """Slow inputs and nested outcomes of a slow chance, week by week."""
    rng, rows = np.random.default_rng(1), pd.date_range("2013-01-06", periods=52 * years, freq="W-SUN")
    noise = rng.normal(size=(len(rows), inputs)).cumsum(axis=0)
    X = pd.DataFrame((noise - noise.mean(axis=0)) / noise.std(axis=0), rows, [f"x{n}" for n in range(inputs)])
    lasting = np.convolve(rng.random(len(rows) + 8), np.ones(9) / 9, mode="valid")
    events = pd.DataFrame({days: (lasting < np.quantile(lasting, share)).astype(float) for days, share in BASE_RATES.items()}, rows)
    ends = pd.DataFrame({days: rows + pd.Timedelta(days=days) for days in BASE_RATES}, rows)
    return X, Outcomes(events, ends, ends + pd.Timedelta(days=1))


def null(years: int, inputs: int, shifts: int | None) -> None:
    """Every refit of one null, quarterly from the fourth year on."""
    X, outcomes = weeks(years, inputs)
    first, last = X.index[156], X.index[-1]
    shift_null(NullTask(Hazard, X, outcomes, usable(quarters(first, last), outcomes), (first, last)), most=shifts)


def features(home: Path, rounds: int) -> None:
    """Feature tables of more years, and of more features."""
    with Store.open(home / "store.duckdb", read_only=True) as store:
        day = last_known(store)
        for years in YEARS:
            start = day - pd.DateOffset(years=years)
            tell(f"table of {years} years, {len(FEATURES)} features", lambda s=start: build(store, day, start=s), rounds)
        days = pd.date_range(day - pd.DateOffset(years=YEARS[-1]), day, unit="us")
        frames = load(store, FEATURES.values(), day, days[0])
    for share in SHARES:
        chosen = list(FEATURES.values())[:: round(1 / share)]
        what = f"formulas of {len(chosen)} features, {YEARS[-1]} years, inputs loaded"
        tell(what, lambda c=chosen: compute(c, frames, days), rounds)


def tell(what: str, job: Callable[[], Any], rounds: int) -> None:
    """One line of the table."""
    print(f"| {what} | {least(job, rounds):.2f} |", flush=True)


def main() -> None:
    """Measure, print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("home", type=Path)
    parser.add_argument("--rounds", type=int, default=3)
    typed = parser.parse_args()
    print("| what | processor seconds |\n|---|---|")
    features(typed.home, typed.rounds)
    for shifts in SHIFTS:
        tell(f"null of the hazard, 11 years, 6 inputs, {shifts} shifts", lambda s=shifts: null(11, 6, s), typed.rounds)
    for inputs in INPUTS:
        tell(f"null of the hazard, 11 years, {inputs} inputs, 150 shifts", lambda i=inputs: null(11, i, 150), typed.rounds)
    for years in NULL_YEARS:
        tell(f"null of the hazard, {years} years, 6 inputs, 150 shifts", lambda y=years: null(y, 6, 150), typed.rounds)


if __name__ == "__main__":
    main()
