"""The same formulas for another question: inputs about the index and its leader are swapped for the target's own."""

from collections.abc import Mapping
from dataclasses import replace
from functools import cache

import pandas as pd

from core.errors import MissingData, UnknownName
from core.target import NAMED_COINS, TOP_ALTCOINS, Leader, Target
from features.altcoin_index import (
    ALTCOIN_INDEX,
    RANKING_LOOKBACK,
    AltcoinIndex,
    altcoin_index,
    index_level,
    load_index,
    month_end_weights,
)
from features.registry import FEATURES, Derived, Feature, Input
from features.transforms import fill_gaps, total
from sources.reader import CARRY, Reader, observed
from sources.series import (
    BTC_MARKET_CAP,
    COIN_DOLLAR_VOLUME,
    COIN_MARKET_CAP,
    COIN_PRICE,
    IWM,
    IWM_CLOSE,
    IWM_HIGH,
    IWM_LOW,
    IWM_VOLUME,
    RUT,
    Panel,
    fund,
    raw_close,
    share_volume,
)

NO_MEMBERS = pd.DataFrame({"month_end": pd.DatetimeIndex([]), "symbol": [], "weight": []})
NONE_STOPPED = pd.DataFrame({"month_end": pd.DatetimeIndex([]), "symbol": [], "last_quote": pd.DatetimeIndex([])})


@cache
def features_of(target: Target) -> Mapping[str, Feature]:
    """Every feature by name, on the target's inputs; for the default target the registered ones themselves."""
    swaps = input_swaps(target)
    if not swaps:
        return FEATURES
    return {
        name: replace(feature, inputs=tuple(swap_input(source, swaps) for source in feature.inputs))
        for name, feature in FEATURES.items()
    }


def input_swaps(target: Target) -> dict[Input, Input]:
    """Map from each default input to the target's input."""
    index: dict[Input, Input] = {} if target.universe == TOP_ALTCOINS else {ALTCOIN_INDEX: index_of(target)}
    return index if target.leader == Leader() else index | leader_inputs(target.leader)


def leader_inputs(leader: Leader) -> dict[Input, Input]:
    """Map from the inputs of the Russell 2000 and its fund to those of another leader."""
    low, high = fund(leader.fund, "low", "USD"), fund(leader.fund, "high", "USD")
    prices: dict[Input, Input] = {RUT: raw_close(leader.index), IWM: fund(leader.fund), IWM_CLOSE: raw_close(leader.fund)}
    return {**prices, IWM_VOLUME: share_volume(leader.fund), IWM_LOW: low, IWM_HIGH: high}


def index_of(target: Target) -> Derived:
    """The target's level as an input of features."""
    if target.universe != NAMED_COINS:
        return Derived(target.subject, (BTC_MARKET_CAP, COIN_MARKET_CAP), altcoins_a_bitcoin, "level, arbitrary scale", CARRY)
    panels = coin_panels(target)
    weights = Derived(f"{target.subject} weights", panels, month_end_weights, "weight from each month-end on", RANKING_LOOKBACK)
    return Derived(target.subject, (panels[0], weights), index_level, "level, arbitrary scale", CARRY)


def coin_panels(target: Target) -> tuple[Panel, Panel, Panel]:
    """Panels of price, market cap and dollar volume of the named coins."""
    price, cap, volume = (
        replace(panel, name=f"{target.subject} {panel.field}", asset_class=None, symbols=target.coins)
        for panel in (COIN_PRICE, COIN_MARKET_CAP, COIN_DOLLAR_VOLUME)
    )
    return price, cap, volume


def altcoins_a_bitcoin(bitcoin: pd.Series, caps: pd.DataFrame) -> pd.Series:
    """Inverse of BTC dominance: market cap of BTC and all altcoins over that of BTC. It rises as dominance falls."""
    altcoins = total(fill_gaps(caps, rows=CARRY)).reindex(bitcoin.index)
    return (bitcoin + altcoins.where(altcoins > 0)) / bitcoin


def swap_input(declared: Input, swaps: Mapping[Input, Input]) -> Input:
    """An input after the swaps, which also apply to the inputs of a derived one."""
    if declared in swaps:
        return swaps[declared]
    if not isinstance(declared, Derived):
        return declared
    return replace(declared, inputs=tuple(swap_input(part, swaps) for part in declared.inputs))


def load_target_index(store: Reader, as_of: pd.Timestamp, target: Target, start: pd.Timestamp | None = None) -> AltcoinIndex:
    """The level whose rise is asked about by observed day, from what was known at the end of `as_of`, and what it held.

    With `start`, of data observed since then. Raises UnknownName for a coin, MissingData for a leader, the store doesn't hold.
    """
    require_leader(store, as_of, target)
    if target.universe == TOP_ALTCOINS:
        return load_index(store, as_of, start)
    if target.universe == NAMED_COINS:
        price, cap, volume = (store.read_panel(panel, as_of, start) for panel in coin_panels(target))
        require_coins(store, as_of, target, price)
        return altcoin_index(price, cap, volume)
    level = altcoins_a_bitcoin(observed(store, BTC_MARKET_CAP, as_of, start), store.read_panel(COIN_MARKET_CAP, as_of, start))
    return AltcoinIndex(level.rename(target.subject), NONE_STOPPED, NO_MEMBERS)


def require_coins(store: Reader, as_of: pd.Timestamp, target: Target, price: pd.DataFrame) -> None:
    """Raise UnknownName where a named coin has no price."""
    for coin in target.coins:
        if coin not in price:
            raise UnknownName("coin", coin, store.read_panel(COIN_PRICE, as_of, as_of - pd.Timedelta(days=CARRY)).columns)


def require_leader(store: Reader, as_of: pd.Timestamp, target: Target) -> None:
    """Raise MissingData where the store lacks a ticker of a custom leader; its blocks would otherwise be neutral unnoticed."""
    if target.leader == Leader():
        return
    for ticker in dict.fromkeys((target.leader.index, target.leader.fund)):
        if store.read(raw_close(ticker), as_of).empty:
            raise MissingData(
                f"The store has no prices of {ticker}, the leader of {target.name!r}. Bring them with "
                "`altrally fetch --target FILE`, or in prices.parquet of the drop-in files."
            )
