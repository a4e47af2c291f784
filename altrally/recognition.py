"""What the data of a home are, and which commands can run on them; printed after a fetch from files."""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import Any

import pandas as pd

from core.errors import MissingData
from core.target import Target
from sources.quality import last_known
from sources.schemas import READ_SERIES, READ_TICKERS
from sources.series import SERIES, SMALL_CAP_FUNDS, STABLECOIN_SUPPLY
from sources.store import Store
from training.dataset import prepare
from training.settings import TrainSettings
from training.walk_forward import quarters, usable

TICKERS = list(dict.fromkeys(series.code for series in SERIES.values() if series.provider == "yahoo"))
BESIDE_PRICES = {"market_cap": "market caps", "volume": "volumes"}
NAMES_SHOWN = 5
BREAKOUT_INDEX = "^RUT"


@dataclass(frozen=True)
class Recognition:
    """Phrases on the data by kind (`held`), what is missing for each job (None: nothing), and a sentence on training."""

    held: list[str]
    jobs: dict[str, str | None]
    trainable: str

    @property
    def lines(self) -> list[str]:
        """What was recognised, whether a training can be done, and what is missing for other jobs: one line each."""
        recognised = f"Recognised: {', '.join(self.held)}." if self.held else "Nothing was recognised."
        missing = [f"For {job} there is still missing: {reason}" for job, reason in self.jobs.items() if reason]
        return [recognised, self.trainable, *missing]

    def to_dict(self) -> dict[str, Any]:
        """Plain values."""
        return {"held": self.held, "missing": self.jobs, "trainable": self.trainable}


def recognise(store: Store, target: Target, now: pd.Timestamp) -> Recognition:
    """What a store holds at the UTC moment `now`, and which jobs can be done with it."""
    extent = store.extent(now)
    codes = {str(universe): set(rows["code"]) for universe, rows in extent.groupby("universe", observed=True)}
    observed = set(extent.loc[extent["field"] == "value", "code"])
    trainable, missing = training_readiness(store, target, now)
    breakouts = None if BREAKOUT_INDEX in codes.get("fund", set()) else f"closes of {BREAKOUT_INDEX}, in prices."
    jobs = {"train and score": missing, "the audit of breakouts": breakouts}
    return Recognition(list(data_phrases(codes, observed, extent)), jobs, trainable)


def data_phrases(codes: dict[str, set[str]], observed: set[str], extent: pd.DataFrame) -> Iterator[str]:
    """A phrase for each kind of data in the store."""
    funds = codes.get("fund", set())
    if funds:
        yield count_of_expected(funds, TICKERS, "tickers")
        yield count_of_expected(funds, SMALL_CAP_FUNDS, "small-cap funds", name_missing=False)
        others = sorted(funds - READ_TICKERS)
        if others:
            yield f"{plural(len(others), 'ticker')} that no feature reads ({first_names(others)})"
    if observed & READ_SERIES:
        yield count_of_expected(observed, sorted(READ_SERIES), "FRED series")
    coins = extent[extent["universe"] == "coin"]
    altcoins = coins[coins["asset_class"] == "coin"]
    names = altcoins.loc[altcoins["field"] == "close", "code"]
    if len(names):
        counts = ", ".join(f"{(altcoins['field'] == field).sum()} with {words}" for field, words in BESIDE_PRICES.items())
        yield f"{plural(names.nunique(), 'altcoin')} ({counts})"
    if (coins["asset_class"] == "btc").any():
        yield "bitcoin"
    stocks = codes.get("stock", set())
    if stocks:
        yield plural(len(stocks), "small cap")
    if STABLECOIN_SUPPLY.code in observed:
        yield "the supply of stablecoins"


def training_readiness(store: Store, target: Target, now: pd.Timestamp) -> tuple[str, str | None]:
    """A sentence on whether a training can be done, and what is missing for it (None: nothing).

    It prepares the data of a training, so that the answer is that of `train`.
    """
    settings = TrainSettings(target)
    try:
        until = min(now.normalize() - pd.Timedelta(days=1), last_known(store))
        data = prepare(store, settings, until)
        folds = usable(quarters(settings.first_test, until), data.outcomes)
    except MissingData as error:
        return "You can't train yet.", str(error)
    weeks = data.outcomes.events.dropna(how="all").index
    start = f"You can train from {weeks[0]:%Y}: {len(weeks)} weeks with known outcomes, {weeks[0]:%Y-%m-%d} to {weeks[-1]:%Y-%m-%d}"
    return f"{start}; forecasts are judged from {folds[0].test_start:%Y-%m} on.", None


def count_of_expected(present: set[str], expected: Iterable[str], kind: str, *, name_missing: bool = True) -> str:
    """How many of the expected names are present, and the first few that are missing."""
    names = list(expected)
    missing = [name for name in names if name not in present]
    note = f" (missing: {first_names(missing)})" if missing and name_missing else ""
    return f"{len(names) - len(missing)} of {len(names)} {kind}{note}"


def first_names(names: list[str]) -> str:
    """The first few names as text, and how many more there are."""
    more = f" and {len(names) - NAMES_SHOWN} more" if len(names) > NAMES_SHOWN else ""
    return f"{', '.join(names[:NAMES_SHOWN])}{more}"


def plural(number: int, thing: str) -> str:
    """A number and its noun, with an s unless the number is 1."""
    return f"{number:,} {thing}{'' if number == 1 else 's'}"
