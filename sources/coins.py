"""Coins, living and dead, from the Coin Metrics community API (prices and market caps) and Yahoo (daily ranges and dollar volume).

A coin that Coin Metrics stopped following keeps its past. Volume comes for the large coins declared here; elsewhere it is missing.
"""

from collections.abc import Generator, Iterator
from dataclasses import dataclass, replace
from typing import Any

import httpx
import numpy as np
import numpy.typing as npt
import pandas as pd

from sources.batches import Batch, Deliveries, Skipped
from sources.errors import FetchFailed, SourceUnreachable
from sources.http import Site, as_json, ask, client_of
from sources.layout import LAGS
from sources.oddities import NO_VALUES, beyond, gone_words, held_back, held_words
from sources.progress import Progress
from sources.redenomination import FILE, in_one_unit, stated_in, units_of
from sources.series import COIN_HIGH, COIN_PRICE, STABLECOIN_SUPPLY
from sources.store import Store
from sources.yahoo import FAR_AHEAD, Asked, Shelf
from sources.yahoo import deliveries as yahoo_deliveries

LABEL, RANGES_LABEL, SUPPLY_LABEL = "coins", "coin ranges", "stablecoin supply"
PRICE, MARKET_CAP, SUPPLY = "PriceUSD", "CapMrktCurUSD", "SplyCur"
OVERLAP = pd.Timedelta(days=10)
FIRST_DAY = pd.Timestamp("2010-07-01")
ASSETS_A_REQUEST = 20
ROWS_A_PAGE = "10000"
BAR_VOLUME = replace(COIN_HIGH, name="coin bar volume", field="volume", unit="USD a day")
EVERY_CLOSE = replace(COIN_PRICE, name="close of every asset", asset_class=None)
FAR = beyond(20.0)

Row = dict[str, Any]


@dataclass(frozen=True)
class Coin:
    """A large coin: its code at Coin Metrics, its asset id in the store, its symbol, and its ticker at Yahoo."""

    code: str
    asset: str
    symbol: str
    ticker: str


@dataclass(frozen=True)
class Coverage:
    """The days for which Coin Metrics has a price of one of its assets."""

    code: str
    first: pd.Timestamp
    last: pd.Timestamp


def large(code: str, asset: str, ticker: str = "") -> Coin:
    """A large coin whose ticker is its symbol in USD unless Yahoo numbers it."""
    return Coin(code, asset, code.upper(), ticker or f"{code.upper()}-USD")


LARGE_COINS = (
    large("btc", "bitcoin"), large("eth", "ethereum"), large("xrp", "xrp"), large("ltc", "litecoin"), large("doge", "dogecoin"),
    large("ada", "cardano"), large("bnb", "binance-coin"), large("sol", "solana"), large("trx", "tron"), large("xlm", "stellar"),
    large("link", "chainlink"), large("bch", "bitcoin-cash"), large("etc", "ethereum-classic"), large("xmr", "monero"),
    large("dash", "dash"), large("zec", "zcash"), large("neo", "neo"), large("xtz", "tezos"), large("eos", "eos"),
    large("xem", "nem"), large("vet", "vechain"), large("atom", "cosmos"), large("dot", "polkadot"), large("avax", "avalanche"),
    large("uni", "uniswap", "UNI7083-USD"), large("algo", "algorand"), large("fil", "filecoin"), large("aave", "aave"),
    large("mkr", "maker"), large("bat", "basic-attention-token"), large("qtum", "qtum"), large("icp", "internet-computer"),
    large("hbar", "hedera"), large("near", "near-protocol"), large("xvg", "verge"), large("dcr", "decred"),
    large("bsv", "bitcoin-sv"),
    large("mana", "decentraland"), large("sand", "the-sandbox"), large("crv", "curve"), large("shib", "shiba-inu"),
)  # fmt: skip
STABLECOIN_CODES = {
    "usdt", "usdc", "dai", "busd", "tusd", "gusd", "usdp", "pax", "husd", "usdk", "susd", "sai", "frax", "lusd", "usdd", "ust",
    "fdusd", "pyusd", "usde", "crvusd", "eurs", "eurt", "eurc",
}  # fmt: skip
COUNTED_STABLECOINS = ("usdt", "usdc", "dai")  # over 85 % of the supply since 2018, and followed without a gap
WRAPPED_CODES = {
    "wbtc", "weth", "renbtc", "hbtc", "tbtc", "cbbtc", "steth", "wsteth", "reth", "cbeth", "meth", "weeth", "wbeth", "wbnb",
}  # fmt: skip
TOKENISED_CODES = {"paxg", "xaut", "dgx", "pmgt"}


def deliveries(store: Store, *, metrics: Site, yahoo: Site, today: pd.Timestamp, progress: Progress) -> Deliveries:
    """Ranges of the large coins, then prices, caps and volumes of every coin, then the supply of stablecoins.

    The volumes are read back from the ranges, which whoever takes these batches has stored by then.
    """
    shelf = Shelf(store, "coin_ohlc", RANGES_LABEL, today)
    again = yield from yahoo_deliveries(shelf, [Asked(coin.ticker, coin.symbol) for coin in LARGE_COINS], yahoo, progress)
    with client_of(metrics) as client:
        try:
            progress(LABEL, 0, 0)
            known = catalogue(client, metrics, PRICE, today)
            stored = Shelf(store, "coin", LABEL, today).last_days()
            wanted = [one for one in known if _outdated(one, stored)]
            waiting = {coin.code for coin in LARGE_COINS if coin.ticker in again and coin.asset not in stored}
            yield from _waiting(waiting & {one.code for one in wanted})
            chosen = [one for one in wanted if one.code not in waiting]
            yield from coin_bars(store, client, metrics, chosen, stored, today, progress)
            yield from stablecoin_supply(store, client, metrics, today)
        except FetchFailed as error:
            yield Skipped(LABEL, str(error))


def asset_of(code: str) -> str:
    """The store's asset id of a code at Coin Metrics: the declared one for large coins, else the code."""
    return {coin.code: coin.asset for coin in LARGE_COINS}.get(code, code)


def asset_class_of(code: str) -> str:
    """What an asset is: only a 'coin' can be in the index of altcoins."""
    groups = {"stablecoin": STABLECOIN_CODES, "wrapped_staked": WRAPPED_CODES, "tokenised_asset": TOKENISED_CODES, "btc": {"btc"}}
    return next((name for name, codes in groups.items() if code in codes), "coin")


def catalogue(client: httpx.Client, site: Site, metric: str, today: pd.Timestamp) -> list[Coverage]:
    """Every asset with a daily `metric`. An asset's copy on another chain (`usdt_eth`) isn't an asset of its own."""
    params = {"metrics": metric, "page_size": ROWS_A_PAGE}
    rows = [row for page in pages(client, site, "catalog-v2/asset-metrics", params, "list of coins") for row in page]
    covered = [Coverage(row["asset"], *span) for row in rows if "_" not in row["asset"] for span in _daily_spans(row, today)]
    if not covered:
        raise FetchFailed(f"{site.name} lists no asset with a daily {metric}. Try again later.")
    return covered


def _daily_spans(row: Row, today: pd.Timestamp) -> Iterator[tuple[pd.Timestamp, pd.Timestamp]]:
    for metric in row.get("metrics", []):
        for span in metric.get("frequencies", []):
            if span.get("frequency") == "1d":
                yield _day(span.get("min_time", str(FIRST_DAY))), _day(span.get("max_time", str(today)))


def _day(written: str) -> pd.Timestamp:
    return pd.Timestamp(written[:10])


def _outdated(one: Coverage, stored: dict[str, pd.Timestamp]) -> bool:
    """Whether Coin Metrics has days of this asset that the store hasn't: dead coins are asked for once."""
    last = stored.get(asset_of(one.code))
    return last is None or last < one.last


def _waiting(codes: set[str]) -> Iterator[Skipped]:
    """The first stored version of a day is the one known in time: a price stored without its volume would have it late for ever."""
    if codes:
        names = ", ".join(sorted(codes))
        yield Skipped(LABEL, f"{names} wait for their volume from Yahoo, which did not come this time; fetch again.")


def coin_bars(
    store: Store,
    client: httpx.Client,
    site: Site,
    wanted: list[Coverage],
    stored: dict[str, pd.Timestamp],
    today: pd.Timestamp,
    progress: Progress,
) -> Deliveries:
    """Batches of some assets each: close, market cap and, for large coins, dollar volume."""
    volumes = store.read_panel(BAR_VOLUME, today + FAR_AHEAD)
    home = store.path.parent
    units = units_of(store, stated_in(home), home / FILE, today)
    new_first = sorted(wanted, key=lambda one: (stored.get(asset_of(one.code), FIRST_DAY), one.code))
    groups = [new_first[first : first + ASSETS_A_REQUEST] for first in range(0, len(new_first), ASSETS_A_REQUEST)]
    for number, group in enumerate(groups):
        progress(LABEL, number, len(groups))
        since = {one.code: _since(one, stored) for one in group}
        try:
            rows = asset_metrics(client, site, list(since), [PRICE, MARKET_CAP], min(since.values()))
            frame, dropped = as_bars(rows, since, volumes, today)
            unit = in_one_unit(frame, units)
            yield from (Skipped(*note) for note in unit.notes)
            lately = store.read_panel(EVERY_CLOSE, today + FAR_AHEAD, min(since.values()))
            judged = unit.frame.assign(close=unit.frame["close"].mask(unit.held))
            held = unit.held | (yield from odd_days(judged, lately, {asset_of(code): first for code, first in since.items()}))
            dropped |= {"held back": int(held.sum())} if held.any() else {}
            yield Batch(LABEL, "bars", unit.frame[~held], "coinmetrics", "coin", dropped, len(groups))
        except SourceUnreachable:
            raise
        except FetchFailed as error:
            yield Skipped(LABEL, str(error))


def odd_days(
    frame: pd.DataFrame, stored: pd.DataFrame, since: dict[str, pd.Timestamp]
) -> Generator[Skipped, None, npt.NDArray[np.bool_]]:
    """Flags of the rows of `frame` that can't be believed beside the closes `stored` (days × symbols), told coin by coin."""
    flags = np.zeros(len(frame), dtype=bool)
    places = frame.assign(place=np.arange(len(frame))).sort_values("observed").groupby("symbol")
    known = {symbol: stored[symbol].dropna().loc[first:] for symbol, first in since.items() if symbol in stored}
    for symbol, rows in places:
        closes, before = rows.set_index("observed")["close"], known.get(str(symbol), NO_VALUES)
        held = held_back(closes, before, FAR, confirmed=True)
        flags[rows["place"][held.to_numpy()]] = True
        for words in (*gone_words(closes.index, before.index, since[str(symbol)]), *held_words(closes, before, held)):
            yield Skipped(str(symbol), words)
    return flags


def _since(one: Coverage, stored: dict[str, pd.Timestamp]) -> pd.Timestamp:
    last = stored.get(asset_of(one.code))
    return one.first if last is None else last - OVERLAP


def asset_metrics(client: httpx.Client, site: Site, codes: list[str], metrics: list[str], since: pd.Timestamp) -> pd.DataFrame:
    """Daily metrics: asset, observed, one column a metric, NaN where Coin Metrics has none. `FetchFailed` without the first."""
    params = {
        "assets": ",".join(codes),
        "metrics": ",".join(metrics),
        "frequency": "1d",
        "start_time": f"{since:%Y-%m-%d}",
        "page_size": ROWS_A_PAGE,
        "paging_from": "start",
        "ignore_unsupported_errors": "true",
        "ignore_forbidden_errors": "true",
    }
    what = f"{metrics[0]} of {codes[0]}" + (f" and {len(codes) - 1} others" if len(codes) > 1 else "")
    rows = [row for page in pages(client, site, "timeseries/asset-metrics", params, what) for row in page]
    table = pd.DataFrame(rows, columns=["asset", "time", *metrics])
    try:
        observed = pd.to_datetime(table["time"].str.slice(stop=10), format="%Y-%m-%d").astype("datetime64[us]")
        numbers = {metric: pd.to_numeric(table[metric]).astype("float64") for metric in metrics}
    except (ValueError, AttributeError) as error:
        raise FetchFailed(f"{site.name} sent no table of {what}: {site.hidden(str(error))}.") from None
    if rows and numbers[metrics[0]].isna().all():
        raise FetchFailed(f"{site.name} sent no {what}. Try again later.")
    return pd.DataFrame({"asset": table["asset"], "observed": observed, **numbers})


def pages(client: httpx.Client, site: Site, path: str, params: dict[str, str], what: str) -> Iterator[list[Row]]:
    """Rows of one question, page by page, until no page follows."""
    token: str | None = ""
    while token is not None:
        here = params | ({"next_page_token": token} if token else {})
        said = ask(client, site, path, here, what=what, read=lambda body: as_json(site, body))
        if not isinstance(said.get("data"), list):
            raise FetchFailed(f"{site.name} sent no {what}: {site.hidden(str(said))[:100]}.")
        yield said["data"]
        site.patience.sleep(site.patience.pause)
        token = said.get("next_page_token")


def as_bars(
    rows: pd.DataFrame, since: dict[str, pd.Timestamp], volumes: pd.DataFrame, today: pd.Timestamp
) -> tuple[pd.DataFrame, dict[str, int]]:
    """Rows of Coin Metrics as bars of universe 'coin', with the volume stored for their day; and counts of what was left out."""
    early = rows["observed"] < rows["asset"].map(since).astype("datetime64[us]")
    running, unpriced = rows["observed"] >= today.normalize(), ~(rows[PRICE] > 0)
    kept = rows[~early & ~running & ~unpriced]
    frame = pd.DataFrame(
        {
            "symbol": kept["asset"].map({code: asset_of(code) for code in since}),
            "observed": kept["observed"],
            "known": kept["observed"] + LAGS["coin"],
            "close": kept[PRICE],
            "market_cap": kept[MARKET_CAP].where(kept[MARKET_CAP] > 0),
            "volume": _looked_up(volumes, kept),
            "asset_class": kept["asset"].map({code: asset_class_of(code) for code in since}),
        }
    )
    counts = {"running day": int(running.sum()), "no price": int((unpriced & ~running & ~early).sum())}
    return frame, {reason: count for reason, count in counts.items() if count}


def _looked_up(volumes: pd.DataFrame, rows: pd.DataFrame) -> np.ndarray:
    """Dollar volume of each row's coin and day; NaN where there is none."""
    day = volumes.index.get_indexer(pd.DatetimeIndex(rows["observed"]))
    coin = volumes.columns.get_indexer(pd.Index(rows["asset"].map({coin.code: coin.symbol for coin in LARGE_COINS})))
    found = (day >= 0) & (coin >= 0)
    volume = np.full(len(rows), np.nan)
    volume[found] = volumes.to_numpy()[day[found], coin[found]]
    return volume


def stablecoin_supply(store: Store, client: httpx.Client, site: Site, today: pd.Timestamp) -> Deliveries:
    """USD in the counted stablecoins, each from its first day; a day on which one of them is absent is missing."""
    stored = store.read(STABLECOIN_SUPPLY, today + FAR_AHEAD)["observed"]
    since = FIRST_DAY if stored.empty else stored.max() - OVERLAP
    born = {one.code: one.first for one in catalogue(client, site, SUPPLY, today) if one.code in COUNTED_STABLECOINS}
    if set(born) != set(COUNTED_STABLECOINS):
        absent = ", ".join(sorted(set(COUNTED_STABLECOINS) - set(born)))
        yield Skipped(SUPPLY_LABEL, f"{site.name} no longer lists the supply of {absent}, so the sum would fall by itself.")
        return
    rows = asset_metrics(client, site, list(COUNTED_STABLECOINS), [SUPPLY], since)
    total, missing = summed_supply(rows[rows["observed"] < today.normalize()], born)
    frame = pd.DataFrame({"series": STABLECOIN_SUPPLY.code, "observed": total.index, "value": total.to_numpy()})
    frame["known"] = frame["observed"] + STABLECOIN_SUPPLY.release_lag
    yield Batch(
        SUPPLY_LABEL, "observations", frame, "coinmetrics", dropped={"a stablecoin is absent": missing} if missing else {}, of=1
    )


def summed_supply(rows: pd.DataFrame, born: dict[str, pd.Timestamp]) -> tuple[pd.Series, int]:
    """Sum over stablecoins by observed day where all that exist by then are there, and the number of days where one isn't."""
    wide = rows.pivot_table(index="observed", columns="asset", values=SUPPLY).reindex(columns=list(born))
    unborn = pd.DataFrame({code: wide.index < first for code, first in born.items()}, index=wide.index)
    total = wide.mask(unborn, 0.0).sum(axis=1, skipna=False)
    whole = total[total > 0]
    return whole, int(total.isna().sum())
