"""How far do the ledger's intervals reach while the record is short?

    python benchmarks/short_records.py [--paths 400] [--seed 3]

Simulates daily forecasts that know nothing: noise around the base rate, slowly moving, of first passages of a random walk with fat
tails and volatility clusters. The truth an interval should cover is the skill against the base rate expected over all paths. For
each horizon and number of windows prints how often the plain limits cover it, and how often those the ledger prints do.
"""

import argparse

import numpy as np
import pandas as pd
from interval_coverage import THRESHOLD, ar1, walks
from scipy.special import expit, logit

from altrally.track_record import WIDENING, base_rate_skill

WINDOWS = (4, 6, 8, 12, 24, 42)
HORIZONS = (30, 60, 90)
NOISE, NOISE_DAYS, FIRST_DAY = 0.6, 140, 120


def records(paths: int, days: int, windows: int, rng: np.random.Generator) -> list[pd.DataFrame]:
    """As many records of daily forecasts as `paths`, each `windows` horizons long."""
    length = windows * days
    levels = walks(paths, FIRST_DAY + length + days, rng)
    ahead = np.lib.stride_tricks.sliding_window_view(levels[:, FIRST_DAY + 1 :], days, axis=1)[:, :length].max(axis=-1)
    event = (ahead - levels[:, FIRST_DAY : FIRST_DAY + length] >= np.log1p(THRESHOLD)).astype(float)
    base_rate = event.mean()
    probability = expit(logit(base_rate) + NOISE * ar1(paths, length, NOISE_DAYS, rng))
    as_of = pd.date_range("2020-01-01", periods=length)
    return [
        pd.DataFrame({"as_of": as_of, "probability": probability[path], "base_rate": base_rate, "event": event[path]})
        for path in range(paths)
    ]


def covered(made: list[pd.DataFrame], days: int) -> tuple[float, float]:
    """How often the plain limits and the printed ones hold the expected skill."""
    mine = sum(((record["probability"] - record["event"]) ** 2).sum() for record in made)
    base = sum(((record["base_rate"] - record["event"]) ** 2).sum() for record in made)
    found = np.array([[np.nan if part is None else part for part in base_rate_skill(record, days)] for record in made])
    value, low, high = found[np.isfinite(found).all(axis=1)].T
    truth = 1 - mine / base
    plain = (value + (low - value) / WIDENING <= truth) & (truth <= value + (high - value) / WIDENING)
    return float(plain.mean()), float(((low <= truth) & (truth <= high)).mean())


def main() -> None:
    """Simulate, measure, print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--paths", type=int, default=400)
    parser.add_argument("--seed", type=int, default=3)
    options = parser.parse_args()
    rng = np.random.default_rng(options.seed)
    print(f"seed {options.seed}, {options.paths} paths each; limits widened by {WIDENING}")
    for days in HORIZONS:
        for windows in WINDOWS:
            plain, printed = covered(records(options.paths, days, windows, rng), days)
            print(f"{days} days, {windows} windows: plain limits cover {plain:.3f}, printed ones {printed:.3f}", flush=True)


if __name__ == "__main__":
    main()
