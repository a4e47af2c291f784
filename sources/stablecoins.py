"""The supply of stablecoins: all of them from DefiLlama's keyless list, or three of them from Coin Metrics. A home keeps to one."""

import json

import httpx
import pandas as pd

from core.errors import FetchFailed
from sources.batches import Batch, Deliveries, Skipped, nothing_new
from sources.coin_metrics import FIRST_DAY, SUPPLY, asset_metrics, catalogue
from sources.http import Site, TransientError, ask, client_of
from sources.series import STABLECOIN_SUPPLY
from sources.store import Store

LABEL = "stablecoin supply"
COUNTED = ("usdt", "usdc", "dai")  # over 85 % of the supply since 2018, and followed without a gap
OVERLAP = pd.Timedelta(days=10)
FAR_AHEAD = pd.Timedelta(days=90)
KEPT_TO, ALL, THREE = "stablecoin supply comes from", "defillama", "coinmetrics"


def supply(store: Store, client: httpx.Client, metrics: Site, llama: Site | None, today: pd.Timestamp) -> Deliveries:
    """USD in stablecoins by day. A home that has begun with one source keeps to it: their levels differ."""
    stored = store.read(STABLECOIN_SUPPLY, today + FAR_AHEAD)["observed"]
    kept_to = store.noted(KEPT_TO) or (THREE if len(stored) else None)
    if len(stored) and stored.max() >= today.normalize() - pd.Timedelta(days=1):
        yield from nothing_new(LABEL, 1)
        return
    if llama is not None and kept_to in (None, ALL):
        try:
            yield from all_of_them(store, llama, stored, today)
            store.note(KEPT_TO, ALL)
            return
        except FetchFailed as error:
            yield Skipped(LABEL, str(error))
    if kept_to != ALL:
        yield from counted(client, metrics, stored, today)
        store.note(KEPT_TO, THREE)


def all_of_them(store: Store, site: Site, stored: pd.Series, today: pd.Timestamp) -> Deliveries:
    """The sum of every stablecoin pegged to the dollar, from a little before the last stored day. Raises `FetchFailed`."""
    since = FIRST_DAY if stored.empty else stored.max() - OVERLAP
    with client_of(site) as client:
        total = ask(
            client, site, "stablecoincharts/all", {}, what="supply of stablecoins", read=lambda body: read_chart(site, body)
        )
    total = total[(total.index >= since) & (total.index < today.normalize()) & (total > 0)]
    if total.empty:
        raise FetchFailed(f"{site.name} sent no supply since {since:%Y-%m-%d}. Try again later.")
    yield _batch(total, ALL, {})


def read_chart(site: Site, body: str) -> pd.Series:
    """USD by day from DefiLlama's chart. Raises `Passing` if it isn't one."""
    try:
        rows = [(int(row["date"]), float(row["totalCirculatingUSD"]["peggedUSD"])) for row in json.loads(body)]
        days, values = zip(*rows, strict=True)
    except (ValueError, TypeError, KeyError) as error:
        raise TransientError(f"it answered with something that is no chart ({site.hidden(str(error))})") from None
    index = pd.to_datetime(list(days), unit="s").normalize().astype("datetime64[us]")
    total = pd.Series(values, index=pd.DatetimeIndex(index), dtype="float64")
    return total[~total.index.duplicated(keep="last")].sort_index()


def counted(client: httpx.Client, site: Site, stored: pd.Series, today: pd.Timestamp) -> Deliveries:
    """USD in the counted stablecoins, each from its first day; a day on which one of them is absent is missing."""
    since = FIRST_DAY if stored.empty else stored.max() - OVERLAP
    born = {coverage.code: coverage.first for coverage in catalogue(client, site, SUPPLY, today) if coverage.code in COUNTED}
    if set(born) != set(COUNTED):
        absent = ", ".join(sorted(set(COUNTED) - set(born)))
        yield Skipped(LABEL, f"{site.name} no longer lists the supply of {absent}, so the sum would fall by itself.")
        return
    rows = asset_metrics(client, site, list(COUNTED), [SUPPLY], since)
    total, missing = summed_supply(rows[rows["observed"] < today.normalize()], born)
    yield _batch(total, THREE, {"a stablecoin is absent": missing} if missing else {})


def _batch(total: pd.Series, source: str, dropped: dict[str, int]) -> Batch:
    frame = pd.DataFrame({"series": STABLECOIN_SUPPLY.code, "observed": total.index, "value": total.to_numpy()})
    frame["known"] = frame["observed"] + STABLECOIN_SUPPLY.release_lag
    return Batch(LABEL, "observations", frame, source, dropped=dropped, of=1, daily=True)


def summed_supply(rows: pd.DataFrame, born: dict[str, pd.Timestamp]) -> tuple[pd.Series, int]:
    """Sum over stablecoins by observed day where all that exist by then are there, and the number of days where one isn't."""
    wide = rows.pivot_table(index="observed", columns="asset", values=SUPPLY).reindex(columns=list(born))
    unborn = pd.DataFrame({code: wide.index < first for code, first in born.items()}, index=wide.index)
    total = wide.mask(unborn, 0.0).sum(axis=1, skipna=False)
    whole = total[total > 0]
    return whole, int(total.isna().sum())
