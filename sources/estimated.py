"""Coins without a free price, by Coin Metrics' estimated market cap: which of them were ever large, and how they moved.

The cap is price times an estimate of what circulates. Where that supply is steady, its daily change is the price's. Nothing of this
could be tried against the service itself; what is said of it is what its documentation and users say.
"""

import json
from dataclasses import replace

import httpx
import pandas as pd

from sources.assets import COIN, class_of
from sources.coin_metrics import ESTIMATED_CAP, Coverage, asset_metrics, catalogue
from sources.coverage import SAMPLED
from sources.errors import FetchFailed
from sources.http import Health, Site
from sources.layout import LAGS
from sources.oddities import beyond
from sources.store import Store

SOURCE = "coinmetrics estimate"
FAR = beyond(2.5)  # a larger step in a day is a new estimate of the supply, not a return
LARGE = 60
FIRST_SAMPLE = "2013-12-31"
ASSETS_A_SAMPLE = 600
ASSETS_A_REQUEST = 100
BILLION = 1e9
SEEN = "coins ever large by estimated market cap"


def hurried(site: Site) -> Site:
    """`site` asked with little patience and a health of its own: what only adds to the rest may not cost it."""
    patience = replace(site.patience, attempts=min(site.patience.attempts, 2), budget=min(site.patience.budget, 30.0))
    return replace(site, patience=patience, health=Health(tell=site.health.tell))


def listed(client: httpx.Client, site: Site, today: pd.Timestamp) -> dict[str, Coverage]:
    """The coins with a free estimated market cap. Raises `FetchFailed`."""
    return {one.code: one for one in catalogue(client, hurried(site), ESTIMATED_CAP, today)}


def caps(client: httpx.Client, site: Site, wanted: list[Coverage], today: pd.Timestamp, since: pd.Timestamp) -> pd.DataFrame:
    """Estimated market caps in USD since a day: observed days that are over × coins; empty where nothing came."""
    parts = []
    for group in (wanted[first : first + ASSETS_A_REQUEST] for first in range(0, len(wanted), ASSETS_A_REQUEST)):
        try:
            rows = asset_metrics(client, site, [one.asked[0] for one in group], [ESTIMATED_CAP], since)
        except FetchFailed:
            continue
        coins = {one.asked[0]: one.code for one in group}
        parts.append(
            rows.assign(asset=rows["asset"].map(coins)).pivot_table(index="observed", columns="asset", values=ESTIMATED_CAP)
        )
    wide = pd.concat(parts, axis=1).sort_index() if parts else pd.DataFrame(index=pd.DatetimeIndex([]))
    return wide[wide.index < today.normalize()].where(lambda caps: caps > 0)


def ever_large(store: Store, client: httpx.Client, site: Site, known: dict[str, Coverage], today: pd.Timestamp) -> list[Coverage]:
    """The coins of `known` that were among the `LARGE` largest at the end of some half year, or are now; what is found is noted.

    Asking by half years finds dead coins too: those that are large today alone would be survivors.
    """
    if not known:
        return []
    seen = set(json.loads(store.noted(SEEN) or "[]"))
    sampled = pd.Timestamp(store.noted(SAMPLED) or FIRST_SAMPLE)
    newest = min(max(one.last for one in known.values()), today.normalize() - pd.Timedelta(days=1))
    half_years = pd.date_range(FIRST_SAMPLE, newest, freq="6ME", inclusive="left")
    for day in [day for day in (*half_years, newest) if day > sampled]:
        try:
            seen |= set(_ranked(client, site, known, day))
        except FetchFailed:
            break
        sampled = day
    store.note(SEEN, json.dumps(sorted(seen)))
    store.note(SAMPLED, f"{sampled:%Y-%m-%d}")
    return [known[code] for code in sorted(seen & set(known))]


def _ranked(client: httpx.Client, site: Site, known: dict[str, Coverage], day: pd.Timestamp) -> list[str]:
    living = [one for one in known.values() if one.first <= day <= one.last and class_of(one.code) == COIN]
    coins = {one.asked[0]: one.code for one in living}
    codes = list(coins)
    groups = [codes[first : first + ASSETS_A_SAMPLE] for first in range(0, len(codes), ASSETS_A_SAMPLE)]
    rows = [asset_metrics(client, site, group, [ESTIMATED_CAP], day, until=day) for group in groups]
    if not rows:
        return []
    sizes = pd.concat(rows).set_index("asset")[ESTIMATED_CAP]
    return [coins[str(code)] for code in sizes.nlargest(LARGE).index]


def as_bars(sizes: pd.DataFrame, since: dict[str, pd.Timestamp]) -> pd.DataFrame:
    """Bars of universe 'coin' from market caps (days × assets); the close is the cap in billions of USD, a level without a unit."""
    wide = sizes.rename_axis(index="observed", columns="symbol")
    long = wide.reset_index().melt(id_vars="observed", var_name="symbol", value_name="market_cap").dropna()
    long = long[long["observed"] >= long["symbol"].map(since).astype("datetime64[us]")]
    known = long["observed"] + LAGS["coin"]
    return long.assign(known=known, close=long["market_cap"] / BILLION, asset_class="coin", symbol=long["symbol"].astype("str"))
