"""What a home's data suffice for, said after files were fetched: what was recognised, and whether a training can be done."""

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
LISTED = 5
BREAKOUT_INDEX = "^RUT"


@dataclass(frozen=True)
class Recognition:
    """What is in the store by kind, in words, and for each job whether it can be done: None, or what is missing."""

    held: list[str]
    jobs: dict[str, str | None]
    trainable: str

    @property
    def lines(self) -> list[str]:
        """What was recognised on one line, then a line on each job."""
        said = [f"Recognised: {', '.join(self.held)}." if self.held else "Nothing was recognised.", self.trainable]
        return said + [f"For {job} there is still missing: {missing}" for job, missing in self.jobs.items() if missing]

    def to_dict(self) -> dict[str, Any]:
        """Plain values."""
        return {"held": self.held, "missing": self.jobs, "trainable": self.trainable}


def recognise(store: Store, target: Target, now: pd.Timestamp) -> Recognition:
    """What a store holds at a moment, and what can be done with it."""
    extent = store.extent(now)
    codes = {str(universe): set(rows["code"]) for universe, rows in extent.groupby("universe", observed=True)}
    observed = set(extent.loc[extent["field"] == "value", "code"])
    trainable, why_not = training(store, target, now)
    breakouts = None if BREAKOUT_INDEX in codes.get("fund", set()) else f"closes of {BREAKOUT_INDEX}, in prices."
    jobs = {"train and score": why_not, "the audit of breakouts": breakouts}
    return Recognition(list(held(codes, observed, extent)), jobs, trainable)


def held(codes: dict[str, set[str]], observed: set[str], extent: pd.DataFrame) -> Iterator[str]:
    """A phrase for each kind of data that is there."""
    funds = codes.get("fund", set())
    if funds:
        yield share_of(funds, TICKERS, "tickers")
        yield share_of(funds, SMALL_CAP_FUNDS, "small-cap funds", name_missing=False)
        others = sorted(funds - READ_TICKERS)
        if others:
            yield f"{counted(len(others), 'ticker')} that no feature reads ({listed(others)})"
    if observed & READ_SERIES:
        yield share_of(observed, sorted(READ_SERIES), "FRED series")
    yield from coins(extent[extent["universe"] == "coin"])
    stocks = codes.get("stock", set())
    if stocks:
        yield counted(len(stocks), "small cap")
    if STABLECOIN_SUPPLY.code in observed:
        yield "the supply of stablecoins"


def coins(extent: pd.DataFrame) -> Iterator[str]:
    """How many altcoins there are, with what beside their price, and whether bitcoin is there."""
    altcoins = extent[extent["asset_class"] == "coin"]
    names = altcoins.loc[altcoins["field"] == "close", "code"]
    if len(names):
        beside = {words: (altcoins["field"] == field).sum() for field, words in BESIDE_PRICES.items()}
        yield f"{counted(names.nunique(), 'altcoin')} ({', '.join(f'{count} with {words}' for words, count in beside.items())})"
    bitcoin = (extent["asset_class"] == "btc").any()
    if bitcoin:
        yield "bitcoin"


def training(store: Store, target: Target, now: pd.Timestamp) -> tuple[str, str | None]:
    """Whether a training can be done, in a sentence; and what is missing for it, None where nothing is.

    It is found by preparing the training's own data, so that it says what `train` would say.
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


def share_of(present: set[str], expected: Iterable[str], kind: str, *, name_missing: bool = True) -> str:
    """How many of the expected names are there, and a few of those that aren't."""
    names = list(expected)
    missing = [name for name in names if name not in present]
    told = f" (missing: {listed(missing)})" if missing and name_missing else ""
    return f"{len(names) - len(missing)} of {len(names)} {kind}{told}"


def listed(names: list[str]) -> str:
    """The first few names, and how many more there are."""
    more = f" and {len(names) - LISTED} more" if len(names) > LISTED else ""
    return f"{', '.join(names[:LISTED])}{more}"


def counted(number: int, thing: str) -> str:
    """A number of things, in the plural where it isn't one."""
    return f"{number:,} {thing}{'' if number == 1 else 's'}"
