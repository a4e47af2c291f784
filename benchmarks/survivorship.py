"""What does it do to breadth that names which vanished are missing? The tables of docs/constituents.md.

    python benchmarks/survivorship.py HOME [--until 2020-11-30]

Reads the constituents of a home and takes four measures twice: of all names, those known to have vanished among them, and of the
survivors alone. Prints their difference by year, survivors less all, in percentage points. Names that vanished before the source
began, or that it doesn't know, are in neither: the true difference is larger. `--until`: after that day the source lost its dead.
"""

import argparse
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pandas as pd

from features.breadth import above_mean, advances_less_declines, highs_less_lows
from sources.series import STOCK_PRICE
from sources.store import Store

MEASURES: dict[str, Callable[[pd.DataFrame], pd.Series]] = {
    "above 50-session mean": lambda price: above_mean(price, 50),
    "above 200-session mean": lambda price: above_mean(price, 200),
    "highs less lows": highs_less_lows,
    "net advances": advances_less_declines,
}


def differences(everyone: pd.DataFrame, survivors: pd.DataFrame) -> pd.DataFrame:
    """Survivors less all, sessions × measures, in percentage points."""
    return pd.DataFrame({name: 100 * (measure(survivors) - measure(everyone)) for name, measure in MEASURES.items()})


def main() -> None:
    """Read, measure, print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("home", type=Path)
    parser.add_argument("--until", type=pd.Timestamp, default=pd.Timestamp("2020-11-30"))
    typed = parser.parse_args()
    with Store.open(typed.home / "store.duckdb", read_only=True) as store:
        everyone = store.read_panel(STOCK_PRICE, typed.until)
        survivors = store.read_panel(replace(STOCK_PRICE, asset_class="survivor"), typed.until)
    gap = differences(everyone, survivors)
    names = pd.DataFrame({"names": everyone.notna().sum(axis=1), "survivors": survivors.notna().sum(axis=1)})
    years = gap.index.year
    first, last = everyone.index[[0, -1]]
    print(f"{everyone.shape[1]} names, {survivors.shape[1]} survivors, {first:%Y-%m-%d} to {last:%Y-%m-%d}\n")
    print("| year | names a day | survivors |", *(f" {name} |" for name in gap), sep="")
    print("|---" * (3 + gap.shape[1]) + "|")
    for year, row in gap.groupby(years).mean().iterrows():
        quoted = names[years == year].mean()
        print(f"| {year} | {quoted['names']:.0f} | {quoted['survivors']:.0f} |", *(f" {value:+.1f} |" for value in row), sep="")
    print("| all: mean |||", *(f" {value:+.2f} |" for value in gap.mean()), sep="")
    print("| all: largest |||", *(f" {gap[name].loc[gap[name].abs().idxmax()]:+.1f} |" for name in gap), sep="")
    higher = (gap > 0).mean()
    print("| days on which survivors look better |||", *(f" {share:.0%} |" for share in higher), sep="")


if __name__ == "__main__":
    main()
