"""What does a live home know that files of the same market don't, and the other way round? The tables of docs/sources.md.

    python benchmarks/live_and_files.py LIVE_HOME FILES_HOME

Reads two homes of one market and prints the correlation of the index's daily returns by year, of each composite since 2018 on weeks
both have, the first day of each feature in both, and the skill of the models at the horizon judged, each home with its own outcome.
"""

import argparse
from pathlib import Path

import numpy as np
import pandas as pd

from altrally import api
from features.altcoin_index import load_index
from features.build import FeatureTable
from features.daily_table import daily_table
from models.catalog import COMPOSITES
from sources.series import COIN_PRICE
from sources.store import Store

SINCE = "2018-01-01"
MODELS = ("pool", "passage", "volatility")


def index_correlations(levels: list[pd.Series]) -> pd.Series:
    """Correlation of daily log returns of two levels, by year."""
    returns = pd.DataFrame({number: np.log(level).diff() for number, level in enumerate(levels)}).dropna().loc[SINCE:]
    return returns.groupby(returns.index.year).apply(lambda year: year[0].corr(year[1]))


def composite_correlations(tables: list[FeatureTable]) -> pd.DataFrame:
    """Correlation of each composite on the Sundays that both homes have it, and how many those are."""
    weeks = [table.composites.loc[SINCE:].resample("W-SUN").last() for table in tables]
    rows = {}
    for name in (name for name in COMPOSITES if name in weeks[0]):
        both = pd.concat([week[name] for week in weeks], axis=1).dropna()
        rows[name] = {"correlation": both.iloc[:, 0].corr(both.iloc[:, 1]), "weeks": len(both)}
    return pd.DataFrame(rows).T


def first_days(tables: list[FeatureTable]) -> pd.DataFrame:
    """The first day of every feature in each home, empty where it never is."""
    firsts = [table.features.apply(pd.Series.first_valid_index) for table in tables]
    return pd.DataFrame({name: first.dt.strftime("%Y-%m-%d") for name, first in zip(("live", "files"), firsts, strict=True)})


def skills(home: Path) -> pd.DataFrame:
    """Models × skill against volatility and climatology with their limits, at the horizon judged."""
    judged = api.verify(api.open_home(home), api.TrainSettings(models=MODELS))
    rows = [row for row in judged.rows if row["horizon"] == 60]
    columns = ("skill_volatility", "skill_climatology")
    return pd.DataFrame({row["model"]: {name: interval(row[name]) for name in columns} for row in rows}).T


def interval(skill: dict[str, float]) -> str:
    """A skill with its limits."""
    return f"{skill['value']:+.3f} [{skill['low']:+.3f}, {skill['high']:+.3f}]"


def main() -> None:
    """Read, compare, print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("homes", type=Path, nargs=2)
    homes = parser.parse_args().homes
    levels, tables = [], []
    for home in homes:
        with Store.open(home / "store.duckdb", read_only=True) as store:
            as_of = store.last_known(COIN_PRICE)
            assert as_of is not None, f"{home} holds no coin prices"
            levels.append(load_index(store, as_of).level.dropna())
            tables.append(daily_table(store, as_of))
    print(index_correlations(levels).round(3).to_string(), "\n")
    print(composite_correlations(tables).round(3).to_string(), "\n")
    print(first_days(tables).to_string(), "\n")
    for name, home in zip(("live", "files"), homes, strict=True):
        print(name, skills(home).to_string(), sep="\n", end="\n\n")


if __name__ == "__main__":
    main()
