"""Coins, living and dead: prices and market caps from Coin Metrics, daily ranges and dollar volume from Yahoo.

A coin's price comes from the first of these that has it: Coin Metrics' price; Yahoo's close, for the large coins declared here; the
daily changes of Coin Metrics' estimated market cap (`sources.coin_metrics`). A coin that its source stopped
following keeps its past. Another source goes on only where both agree on days they share. Volume comes for the large coins;
elsewhere it is missing.
"""

import json
from collections.abc import Generator, Iterator
from dataclasses import dataclass, replace
from hashlib import sha256

import httpx
import numpy as np
import pandas as pd

from core.arrays import Bools
from core.errors import FetchFailed, SourceUnreachable
from core.progress import Progress
from sources import coin_metrics, stablecoins
from sources.anomalies import NO_VALUES, Far, gone_message, held_back, held_back_message, is_beyond
from sources.assets import class_of, coin_of
from sources.batches import Batch, Deliveries, Skipped
from sources.coin_metrics import FIRST_DAY, MARKET_CAP, PRICE, Coverage, asset_metrics, catalogue, merged, unreadable_rows
from sources.http import Site, client_of
from sources.layout import LAGS
from sources.redenomination import FILE, Stated, Units, in_one_unit, stated_in, units_of
from sources.series import COIN_CLOSE, COIN_HIGH, COIN_PRICE
from sources.store import Store
from sources.yahoo import A_MONTH, FAR_AHEAD, Shelf, TickerRequest
from sources.yahoo import deliveries as yahoo_deliveries

LABEL, RANGES_LABEL = "coins", "coin ranges"
METRICS, YAHOO = "coinmetrics", "yahoo"
PRICED_ELSEWHERE = "coins priced by Coin Metrics or Yahoo"
CHANGES_FOUND = "changes of unit that prices of coins showed"
OVERLAP = pd.Timedelta(days=10)
ASSETS_A_REQUEST, ASSETS_A_LATER_REQUEST = 20, 100
AGREEING = 0.02
BAR_VOLUME = replace(COIN_HIGH, name="coin bar volume", field="volume", unit="USD a day")
EVERY_CLOSE = replace(COIN_PRICE, name="close of every asset", asset_class=None)
FAR = is_beyond(20.0)


@dataclass(frozen=True)
class Coin:
    """A large coin: its code at Coin Metrics, its asset id in the store, its symbol, and its ticker at Yahoo."""

    code: str
    asset: str
    symbol: str
    ticker: str


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


@dataclass(frozen=True)
class Stored:
    """What a home holds of coins when a fetch begins: the last day with a close by asset, and the source of that day."""

    store: Store
    today: pd.Timestamp
    last: dict[str, pd.Timestamp]
    source: dict[str, str]
    units: Units

    @classmethod
    def of(cls, store: Store, today: pd.Timestamp) -> "Stored":
        """As it stands."""
        stays = store.sources("coin")
        last = Shelf(store, "coin", LABEL, today).last_days()
        home = store.path.parent
        units = units_of(store, stated_in(home), home / FILE, today)
        return cls(store, today, last, dict(zip(stays["symbol"], stays["source"], strict=True)), units)

    def since(self, asset: str, first: pd.Timestamp) -> pd.Timestamp:
        """From when to ask for an asset: `first`, or a little before its last stored day."""
        return self.last[asset] - OVERLAP if asset in self.last else first

    def rest(self, held: pd.Series) -> None:
        """Coins whose price has been in another unit for a month are asked for once a month, or when the user states a change."""
        for asset in held.index[held > A_MONTH.days]:
            self.store.note(_another_unit(asset), f"{self.today:%Y-%m-%d} {self.stated}")

    def is_resting(self, asset: str) -> bool:
        """Whether a coin was asked for within a month and came in another unit, which nobody has explained since."""
        day, _, stated = (self.store.noted(_another_unit(asset)) or "").partition(" ")
        return stated == self.stated and bool(day) and self.today - pd.Timestamp(day) < A_MONTH

    @property
    def yesterday(self) -> pd.Timestamp:
        """The last day that is over."""
        return self.today.normalize() - pd.Timedelta(days=1)

    @property
    def stated(self) -> str:
        """A short name for all changes of unit that are stated."""
        return sha256(repr(self.units.stated).encode()).hexdigest()[:12]

    def closes(self, since: pd.Timestamp) -> pd.DataFrame:
        """Stored closes: observed days × assets."""
        return self.store.read_panel(EVERY_CLOSE, self.today + FAR_AHEAD, since)


def deliveries(
    store: Store,
    *,
    metrics: Site,
    yahoo: Site,
    today: pd.Timestamp,
    progress: Progress,
    llama: Site | None = None,
) -> Deliveries:
    """Ranges of the large coins, then prices, caps and volumes of every coin, then the supply of stablecoins.

    The volumes are read back from the ranges, which whoever takes these batches has stored by then. `llama`: DefiLlama's list of
    stablecoins, None where it isn't asked.
    """
    shelf = Shelf(store, "coin_ohlc", RANGES_LABEL, today, range_units(store, today))
    again = yield from yahoo_deliveries(shelf, [TickerRequest(coin.ticker, coin.symbol) for coin in LARGE_COINS], yahoo, progress)
    with client_of(metrics) as client:
        try:
            progress(LABEL, 0, 0)
            stored = Stored.of(store, today)
            known = [_as_stored(one, stored) for one in catalogue(client, metrics, PRICE, today)]
            elsewhere = {coin_of(one.code) for one in known} | {coin.code for coin in LARGE_COINS}
            store.note(PRICED_ELSEWHERE, json.dumps(sorted(elsewhere)))
            yield from _doubles(stored)
            wanted = [one for one in known if _outdated(one, stored)]
            waiting = {coin.code for coin in LARGE_COINS if coin.ticker in again and coin.asset not in stored.last}
            yield from _waiting(waiting & {one.code for one in wanted})
            yield from coin_bars(client, metrics, [one for one in wanted if one.code not in waiting], stored, progress)
            yield from unpriced(client, metrics, known, Stored.of(store, today), progress)
            yield from stablecoins.supply(store, client, metrics, llama, today)
        except FetchFailed as error:
            yield Skipped(LABEL, str(error), gone=isinstance(error, SourceUnreachable) and not metrics.health.sound)


def range_units(store: Store, today: pd.Timestamp) -> Units:
    """The units of ranges: what is stated of coins, by their symbols too, and what price and market cap said at earlier fetches."""
    home = store.path.parent
    symbols = {name: coin.symbol for coin in LARGE_COINS for name in (coin.asset, coin.code)}
    stated = [replace(one, names=(*one.names, symbols.get(one.names[0].casefold(), one.names[0]))) for one in stated_in(home)]
    found = [Stated((), pd.Timestamp(day), ratio) for day, ratio in json.loads(store.noted(CHANGES_FOUND) or "[]")]
    return units_of(store, [*stated, *found], home / FILE, today)


def remember_changes(store: Store, changes: list[Stated]) -> None:
    """Note the changes of unit that prices of coins showed, for the ranges of the next fetch."""
    known = json.loads(store.noted(CHANGES_FOUND) or "[]")
    new = [[f"{one.day:%Y-%m-%d}", one.ratio] for one in changes]
    if [one for one in new if one not in known]:
        store.note(CHANGES_FOUND, json.dumps([*known, *(one for one in new if one not in known)]))


def asset_of(code: str) -> str:
    """The store's asset id of a coin at Coin Metrics: the declared one for large coins, else its code."""
    return {coin.code: coin.asset for coin in LARGE_COINS}.get(coin_of(code), code)


def _as_stored(one: Coverage, stored: Stored) -> Coverage:
    """A home that an older version filled goes on with the first of a coin's codes that it stored as a coin of its own."""
    former = [code for code in one.codes if code in stored.last]
    return Coverage(former[0], one.first, one.last) if former else one


def _outdated(one: Coverage, stored: Stored) -> bool:
    """Whether Coin Metrics has days of this coin that the store hasn't: dead coins are asked for once, and in vain once a month."""
    last = stored.last.get(asset_of(one.code))
    looked = stored.store.noted(_no_price(one.code)) if last is None else None
    resting = looked is not None and stored.today - pd.Timestamp(looked) < A_MONTH
    return not resting if last is None else last < min(one.last, stored.yesterday) and not stored.is_resting(asset_of(one.code))


def _another_unit(asset: str) -> str:
    return f"{asset} came in another unit"


def _no_price(code: str) -> str:
    return f"no price came of {code}"


def _waiting(codes: set[str]) -> Iterator[Skipped]:
    """The first stored version of a day is the one known in time: a price stored without its volume would have it late for ever."""
    if codes:
        names = ", ".join(sorted(codes))
        yield Skipped(LABEL, f"{names} wait for their volume from Yahoo, which did not come this time; fetch again.")


def _doubles(stored: Stored) -> Iterator[Skipped]:
    """Coins that an older version stored under several codes, told once a month."""
    forms: dict[str, list[str]] = {}
    for asset in stored.last:
        if class_of(asset) == "coin":
            forms.setdefault(asset_of(coin_of(asset)), []).append(asset)
    for coin, assets in forms.items():
        if len(assets) > 1 and is_news(stored, f"doubles of {coin}"):
            what = (
                f"{', '.join(sorted(assets))} are one coin and stand in this home {len(assets)} times, stored by an older version"
            )
            yield Skipped(LABEL, f"{what}; that past stays, only {sorted(assets)[0]} goes on. A new home (--home) holds it once.")


def is_news(stored: Stored, key: str) -> bool:
    """Whether something wasn't told within a month; it is noted as told."""
    told = stored.store.noted(key)
    if told is not None and stored.today - pd.Timestamp(told) < A_MONTH:
        return False
    stored.store.note(key, f"{stored.today:%Y-%m-%d}")
    return True


def coin_bars(client: httpx.Client, site: Site, wanted: list[Coverage], stored: Stored, progress: Progress) -> Deliveries:
    """Batches of some coins each: close, market cap and, for large coins, dollar volume."""
    volumes = stored.store.read_panel(BAR_VOLUME, stored.today + FAR_AHEAD)
    groups = asked_together(wanted, stored)
    for number, group in enumerate(groups):
        progress(LABEL, number, len(groups))
        since = {one.code: stored.since(asset_of(one.code), one.first) for one in group}
        try:
            codes = [code for one in group for code in one.asked]
            came = asset_metrics(client, site, codes, [PRICE, MARKET_CAP], min(since.values()))
            yield from (Skipped(code, words) for code, words in unreadable_rows(came))
            rows = merged(came[came["unreadable"] == ""], group)
            for code in set(since) - set(rows["asset"]):
                stored.store.note(_no_price(code), f"{stored.today:%Y-%m-%d}")
            frame, dropped = as_bars(rows, since, volumes, stored.today)
            dropped |= _counted(unreadable=len(came) - int((came["unreadable"] == "").sum()))
            begun = {asset_of(code): first for code, first in since.items()}
            yield from judged(stored, frame, METRICS, begun, dropped, len(groups))
        except SourceUnreachable:
            raise
        except FetchFailed as error:
            yield Skipped(LABEL, str(error))


def asked_together(wanted: list[Coverage], stored: Stored) -> list[list[Coverage]]:
    """Coins by request: new ones first, some at a time; of the others, many whose stored days end within a month of each other."""
    ends = {one: stored.last.get(asset_of(one.code), FIRST_DAY) for one in wanted}
    groups: list[list[Coverage]] = []
    for one in sorted(wanted, key=lambda one: (ends[one], one.code)):
        begun = ends[groups[-1][0]] if groups else FIRST_DAY
        most = ASSETS_A_REQUEST if begun == FIRST_DAY else ASSETS_A_LATER_REQUEST
        if not groups or len(groups[-1]) == most or ends[one] - begun > A_MONTH:
            groups.append([])
        groups[-1].append(one)
    return groups


def judged(
    stored: Stored, frame: pd.DataFrame, source: str, since: dict[str, pd.Timestamp], dropped: dict[str, int], of: int
) -> Deliveries:
    """The batch of `frame`, bars of universe 'coin', without what can't be believed or spliced, which is told coin by coin."""
    lately = stored.closes(min(since.values()))
    not_believed = 0
    if source != coin_metrics.SOURCE:  # an estimated market cap knows no unit
        unit = in_one_unit(frame, stored.units)
        yield from (Skipped(*note) for note in unit.notes)
        stored.rest(frame.loc[unit.held, "symbol"].value_counts())
        remember_changes(stored.store, unit.changes)
        frame, not_believed = unit.frame[~unit.held], int(unit.held.sum())
    fitting = yield from bridged(stored, frame, source, lately)
    if source == coin_metrics.SOURCE:  # a step of an estimate is no news about the coin: counted, not told one by one
        held, _ = odd_days(fitting, lately, since, coin_metrics.FAR, confirmed=False)
    else:
        held, lines = odd_days(fitting, lately, since)
        yield from lines
    not_believed += int(held.sum())
    dropped |= {"held back": not_believed} if not_believed else {}
    yield Batch(LABEL, "bars", fitting[~held], source, "coin", dropped, of, daily=True)


def bridged(stored: Stored, frame: pd.DataFrame, source: str, closes: pd.DataFrame) -> Generator[Skipped, None, pd.DataFrame]:
    """`frame` where a coin's source changed: days after its last stored one only, and only if both agree on days they share.

    What is an index of market cap, and no price, is brought to the stored level.
    """
    parts = []
    for symbol, rows in frame.groupby("symbol", sort=False):
        asset, former = str(symbol), stored.source.get(str(symbol), source)
        known = closes[asset].dropna() if asset in closes else NO_VALUES
        ratios = (known / rows.set_index("observed")["close"]).dropna() if len(known) else NO_VALUES
        scale = float(ratios.median()) if len(ratios) else 1.0
        scaled = coin_metrics.SOURCE in (source, former)
        if scaled and len(ratios):
            rows = rows.assign(close=rows["close"] * scale)
        if former != source:
            steady = len(ratios) > 1 and (ratios / scale - 1.0).abs().max() < AGREEING and (scaled or abs(scale - 1.0) < AGREEING)
            if not steady:
                words = f"its price came from {former} and no longer does; {source} doesn't agree with it on days both have"
                yield Skipped(asset, f"{words}, so it isn't continued. What is stored stays.")
                continue
            rows = rows[rows["observed"] > stored.last[asset]]
            if len(rows):
                yield Skipped(
                    asset, f"its price comes from {source} from {rows['observed'].min():%Y-%m-%d} on, before from {former}."
                )
        parts.append(rows)
    return pd.concat(parts, ignore_index=True) if parts else frame.iloc[:0]


def unpriced(client: httpx.Client, site: Site, known: list[Coverage], stored: Stored, progress: Progress) -> Deliveries:
    """Bars of coins whose price Coin Metrics doesn't give away, or gives no longer: Yahoo's closes, else estimated market caps."""
    living = {coin_of(one.code) for one in known if stored.today - one.last < OVERLAP}
    of_yahoo = [coin for coin in LARGE_COINS if coin.code not in living]
    try:
        listed = coin_metrics.listed(client, site, stored.today)
    except FetchFailed as error:
        listed = {}
        if is_news(stored, "no list of estimated market caps"):
            words = "only coins with a free price are known, and the coverage of the index can't be told"
            yield Skipped(LABEL, f"no list of estimated market caps came ({str(error).rstrip('.')}). Without it {words}.")
    behind = [coin for coin in of_yahoo if stored.last.get(coin.asset, FIRST_DAY) < stored.yesterday]
    sized = [coin for coin in behind if coin.code in listed]
    since = min((stored.since(coin.asset, listed[coin.code].first) for coin in sized), default=FIRST_DAY)
    caps = coin_metrics.caps(client, site, [listed[coin.code] for coin in sized], stored.today, since)
    progress(LABEL, 0, 0)
    yield from yahoo_closes(behind, caps, stored)
    now_stored = Stored.of(stored.store, stored.today).last
    priced = living | {coin.code for coin in of_yahoo if coin.asset in now_stored}
    others = coin_metrics.ever_large(stored.store, client, site, listed, stored.today)
    priced |= {coin_of(one.code) for one in known}
    chosen = [one for one in others if one.code not in priced]
    yield from estimated_bars(client, site, chosen, stored, progress)
    priced |= {one.code for one in chosen}
    without = sorted(coin.code for coin in of_yahoo if coin.code not in priced)
    if without and is_news(stored, "large coins without a price"):
        yield Skipped(LABEL, f"no free source has a price of {', '.join(without)}; they aren't in the index. Told once a month.")


def yahoo_closes(wanted: list[Coin], caps: pd.DataFrame, stored: Stored) -> Deliveries:
    """One batch of closes and volumes that were stored as ranges, of coins whose price comes from nowhere else."""
    since = {coin.asset: stored.since(coin.asset, FIRST_DAY) for coin in wanted}
    if not wanted:
        return
    start = min(since.values())
    closes, volumes = (stored.store.read_panel(panel, stored.today + FAR_AHEAD, start) for panel in (COIN_CLOSE, BAR_VOLUME))
    frames = []
    for coin in (coin for coin in wanted if coin.symbol in closes):
        close = closes[coin.symbol].dropna().loc[since[coin.asset] :]
        bars = pd.DataFrame({"close": close})
        bars["volume"] = volumes[coin.symbol].reindex(close.index) if coin.symbol in volumes else np.nan
        bars["market_cap"] = caps[coin.code].reindex(close.index) if coin.code in caps else np.nan
        frames.append(bars.rename_axis("observed").reset_index().assign(symbol=coin.asset))
    if not frames:
        return
    frame = pd.concat(frames, ignore_index=True)
    frame = frame.assign(known=frame["observed"] + LAGS["coin"], asset_class="coin")
    yield from judged(stored, frame, YAHOO, since, {}, 1)


def estimated_bars(client: httpx.Client, site: Site, wanted: list[Coverage], stored: Stored, progress: Progress) -> Deliveries:
    """Batches of coins that have no price anywhere: an index of their estimated market cap stands for the close."""
    size = coin_metrics.ASSETS_A_REQUEST
    outdated = [one for one in wanted if _outdated(one, stored)]
    groups = [outdated[first : first + size] for first in range(0, len(outdated), size)]
    for number, group in enumerate(groups):
        progress(LABEL, number, len(groups))
        since = {asset_of(one.code): stored.since(asset_of(one.code), one.first) for one in group}
        caps = coin_metrics.caps(client, site, group, stored.today, min(since.values()))
        frame = coin_metrics.as_bars(caps.rename(columns=asset_of), since)
        if len(frame):
            yield from judged(stored, frame, coin_metrics.SOURCE, since, {}, len(groups))


def odd_days(
    frame: pd.DataFrame, stored: pd.DataFrame, since: dict[str, pd.Timestamp], far: Far = FAR, *, confirmed: bool = True
) -> tuple[Bools, list[Skipped]]:
    """Flags of the rows of `frame` that can't be believed beside the closes `stored` (days × symbols), and a line each coin."""
    flags, lines = np.zeros(len(frame), dtype=bool), list[Skipped]()
    places = frame.assign(place=np.arange(len(frame))).sort_values("observed").groupby("symbol")
    known = {symbol: stored[symbol].dropna().loc[first:] for symbol, first in since.items() if symbol in stored}
    for symbol, rows in places:
        closes, before = rows.set_index("observed")["close"], known.get(str(symbol), NO_VALUES)
        held = held_back(closes, before, far, confirmed=confirmed)
        flags[rows["place"][held.to_numpy()]] = True
        words = *gone_message(closes.index, before.index, since[str(symbol)]), *held_back_message(closes, before, held)
        lines += [Skipped(str(symbol), line) for line in words]
    return flags, lines


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
            "asset_class": kept["asset"].map({code: class_of(code) for code in since}),
        }
    )
    return frame, _counted(**{"running day": int(running.sum()), "no price": int((unpriced & ~running & ~early).sum())})


def _counted(**reasons: int) -> dict[str, int]:
    return {reason: count for reason, count in reasons.items() if count}


def _looked_up(volumes: pd.DataFrame, rows: pd.DataFrame) -> np.ndarray:
    """Dollar volume of each row's coin and day; NaN where there is none."""
    day = volumes.index.get_indexer(pd.DatetimeIndex(rows["observed"]))
    coin = volumes.columns.get_indexer(pd.Index(rows["asset"].map({coin.code: coin.symbol for coin in LARGE_COINS})))
    found = (day >= 0) & (coin >= 0)
    volume = np.full(len(rows), np.nan)
    volume[found] = volumes.to_numpy()[day[found], coin[found]]
    return volume
