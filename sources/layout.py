"""The drop-in layout: what each file means, and how its rows become batches. Real files and the simulated market pass here."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Literal, NamedTuple

import numpy as np
import pandas as pd

from sources.batches import BAR_FIELDS, Batch
from sources.membership import observations
from sources.redenomination import Stated, Units, in_one_unit, ranges_in_one_unit
from sources.schemas import Checked, checked
from sources.series import PANELS, SERIES, STABLECOIN_SUPPLY

ROWS_A_BATCH = 500_000
LAGS = {panel.universe: panel.release_lag for panel in PANELS.values()}
FRED_LAGS = {series.code: series.release_lag for series in SERIES.values() if series.provider == "fred"}


class Cleaned(NamedTuple):
    """Rows ready to be stored, and counts of what was left out, by reason."""

    frame: pd.DataFrame
    dropped: dict[str, int]


def batches(
    frames: Mapping[str, pd.DataFrame],
    source: str,
    *,
    names: Mapping[str, str] | None = None,
    latest: pd.Timestamp | None = None,
) -> Iterator[Batch]:
    """Batches of the drop-in files `frames`, keyed by stem: those of `SHEETS`.

    Every file is judged before the first batch is handed out. `names` is what errors call a file, `latest` the last day allowed.
    Raises `BadInput`.
    """
    return cleaned(all_checked(frames, names or {}, latest), source, Units())


def all_checked(frames: Mapping[str, pd.DataFrame], names: Mapping[str, str], latest: pd.Timestamp | None) -> dict[str, Checked]:
    """Every file after its checks, by stem. Raises `BadInput`."""
    return {stem: checked(stem, frame, name=names.get(stem), latest=latest) for stem, frame in frames.items()}


def cleaned(files: dict[str, Checked], source: str, units: Units) -> Iterator[Batch]:
    """Batches of `files` that were judged, coins in one unit; each is taken out of `files` when its turn comes.

    As many rows came as are in the batches and were left out.
    """
    changes = list[Stated]()
    for stem in list(files):
        file = files.pop(stem)
        rows = CLEANERS[stem](file.frame)
        notes = list(file.notes)
        if stem == "crypto":
            rows, unit_notes, changes = _coins_in_one_unit(rows, units)
            notes += unit_notes
        elif stem == "crypto_ohlcv":
            frame, mixed = ranges_in_one_unit(rows.frame, units, changes)
            rows = Cleaned(frame, rows.dropped | _above_zero({"range across a redenomination": mixed}))
        yield from _of_one_file(stem, rows.frame, source, file.left_out | rows.dropped, notes)


def _coins_in_one_unit(rows: Cleaned, units: Units) -> tuple[Cleaned, list[str], list[Stated]]:
    unit = in_one_unit(rows.frame, units)
    notes = [f"{coin} {words}" for coin, words in unit.notes]
    notes += [f"{coin} is named in {units.file}, and no such coin came." for coin in units.strangers(rows.frame["symbol"].unique())]
    held = int(unit.held.sum())
    return (
        Cleaned(unit.frame[~unit.held] if held else unit.frame, rows.dropped | _above_zero({"held back": held})),
        notes,
        unit.changes,
    )


def _of_one_file(stem: str, frame: pd.DataFrame, source: str, dropped: dict[str, int], notes: Sequence[str]) -> Iterator[Batch]:
    """The batches of one file; the first of them tells what was left out."""
    parts = _in_time(frame)
    table: Literal["bars", "observations"] = "bars" if stem in UNIVERSES else "observations"
    for number, part in enumerate(parts):
        first = number == 0
        said = (dropped, notes) if first else ({}, ())
        yield Batch(stem, table, part, source, UNIVERSES.get(stem), said[0], len(parts), notes=said[1])


def _in_time(frame: pd.DataFrame) -> list[pd.DataFrame]:
    """`frame` cut into spans of whole years, about `ROWS_A_BATCH` rows each: a store filled in time order reads a window faster."""
    years = frame["observed"].dt.year.to_numpy()
    order = np.unique(years)
    counts = np.array([(years == year).sum() for year in order])
    group = (np.cumsum(counts) - 1) // ROWS_A_BATCH
    return [frame[(years >= order[group == n][0]) & (years <= order[group == n][-1])] for n in np.unique(group)] or [frame]


def fund_bars(prices: pd.DataFrame) -> Cleaned:
    """prices: bars of universe 'fund'. A derived row has a return but no raw close: only adj_close is kept."""
    derived = prices.get("derived", pd.Series(False, index=prices.index))
    raw = prices.assign(close=prices["close"].mask(derived)).rename(columns={"ticker": "symbol"})
    return _bars("fund", raw, {"raw close of a derived row": int(derived.sum())})


def coin_bars(crypto: pd.DataFrame) -> Cleaned:
    """crypto: bars of universe 'coin', named by asset, volume in USD. Bad ticks go; a suspect market cap is missing."""
    bad = crypto.get("bad_tick", pd.Series(False, index=crypto.index))
    good = crypto[~bad].rename(columns={"asset": "symbol", "price": "close"})
    suspect = good.get("mcap_suspect", pd.Series(False, index=good.index))
    if "market_cap" in good:
        good = good.assign(market_cap=good["market_cap"].mask(suspect))
    return _bars("coin", good, {"bad tick": int(bad.sum()), "suspect market cap": int(suspect.sum())})


def coin_ohlc_bars(crypto_ohlcv: pd.DataFrame) -> Cleaned:
    """crypto_ohlcv: bars of universe 'coin_ohlc'. Where open, high and low contradict each other only the close is kept."""
    sound = crypto_ohlcv.get("ohlc_ok", pd.Series(True, index=crypto_ohlcv.index))
    ranges = {name: crypto_ohlcv[name].where(sound) for name in ("open", "high", "low")}
    return _bars("coin_ohlc", crypto_ohlcv.assign(**ranges), {"contradictory open, high, low": int((~sound).sum())})


def stock_bars(constituents: pd.DataFrame) -> Cleaned:
    """constituents: bars of universe 'stock', of class 'survivor' or 'delisted'. A name in both groups is a survivor."""
    delisted = constituents.get("delisted", pd.Series(False, index=constituents.index))
    survivors = constituents["ticker"][~delisted].unique()
    in_both = delisted & constituents["ticker"].isin(survivors)
    twice = np.zeros(len(constituents), dtype=bool)
    in_both_rows = constituents[constituents["ticker"].isin(constituents["ticker"][in_both].unique())]
    in_both_rows = in_both_rows.sort_values("delisted", kind="stable") if "delisted" in in_both_rows else in_both_rows
    twice[constituents.index.get_indexer(in_both_rows.index[in_both_rows.duplicated(["ticker", "date"])])] = True
    classes = pd.Categorical.from_codes(np.asarray(delisted & ~in_both, dtype=np.int8), pd.Index(["survivor", "delisted"]))
    unique = constituents.assign(asset_class=classes)[~twice].rename(columns={"ticker": "symbol"})
    return _bars("stock", unique, {"in both groups on one day": int(twice.sum())})


def member_observations(membership: pd.DataFrame) -> Cleaned:
    """membership: one observation a stay of a constituent in the index."""
    return Cleaned(observations(membership), {})


def fred_observations(fred: pd.DataFrame) -> Cleaned:
    """fred: observations of the declared series, named by code, each with its declared release lag."""
    declared = fred["series"].isin(FRED_LAGS)
    present_rows = fred[declared & fred["value"].notna()].rename(columns={"date": "observed"})
    lags = present_rows["series"].astype("str").map(FRED_LAGS).astype("timedelta64[us]")
    counts = {"undeclared series": int((~declared).sum()), "missing": int((declared & fred["value"].isna()).sum())}
    return Cleaned(present_rows.assign(known=present_rows["observed"] + lags), _above_zero(counts))


def stablecoin_observations(stablecoins: pd.DataFrame) -> Cleaned:
    """stablecoins: observations of the total supply, USD."""
    present = stablecoins["total_usd_best"] > 0
    present_rows = stablecoins[present].rename(columns={"date": "observed", "total_usd_best": "value"})
    known = present_rows["observed"] + STABLECOIN_SUPPLY.release_lag
    return Cleaned(present_rows.assign(known=known, series=STABLECOIN_SUPPLY.code), _above_zero({"missing": int((~present).sum())}))


def _bars(universe: str, rows: pd.DataFrame, dropped: dict[str, int]) -> Cleaned:
    """Date `rows`, make what isn't above zero missing, and leave out rows that say nothing."""
    fields = [name for name in BAR_FIELDS if name in rows]
    values = rows[fields]
    above = values.where(values > 0)
    empty = above.isna().all(axis=1)
    days = rows["date"]
    frame = above.assign(observed=days, known=days + LAGS[universe], symbol=rows["symbol"], **_classes(rows))[~empty]
    counts = {"zero or negative": int((values <= 0).sum().sum()), "empty row": int(empty.sum())}
    return Cleaned(frame, _above_zero(dropped | counts))


def _above_zero(counts: dict[str, int]) -> dict[str, int]:
    return {reason: count for reason, count in counts.items() if count}


def _classes(rows: pd.DataFrame) -> dict[str, pd.Series]:
    return {"asset_class": rows["asset_class"]} if "asset_class" in rows else {}


UNIVERSES = {"prices": "fund", "crypto": "coin", "crypto_ohlcv": "coin_ohlc", "constituents": "stock"}
CLEANERS: dict[str, Callable[[pd.DataFrame], Cleaned]] = {
    "prices": fund_bars,
    "fred": fred_observations,
    "crypto": coin_bars,
    "crypto_ohlcv": coin_ohlc_bars,
    "constituents": stock_bars,
    "membership": member_observations,
    "stablecoins": stablecoin_observations,
}
