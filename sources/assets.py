"""What a code of a coin stands for: which codes are one coin, and which are no coin at all. The table is `assets.csv`."""

import csv
from collections.abc import Iterable
from dataclasses import dataclass
from datetime import date
from functools import cache
from importlib.resources import files

COIN, BTC, PART = "coin", "btc", "part"
TOKENISED = "tokenised_asset"
STOCK_ENDINGS = ("xstock", "bstock", "onstock")
"""How tokenised stocks end where their code says so, as `tslaxstock`."""

ISSUERS = ("x", "on")
"""How two issuers of tokenised stocks end their codes at Coin Metrics: `aaplx` and `aaplon` are one share."""

SHORTEST_SHARE = 3  # letters: a shorter stem is shared by coins too


@dataclass(frozen=True)
class AssetLine:
    """One line of the table: the coin that a code stands for, what it is, since when, who says so, and where that was checked.

    A `part` is one of several chains that hold the supply of one coin between them.
    """

    code: str
    coin: str
    asset_class: str
    since: date
    source: str
    checked: str = ""


@cache
def table() -> dict[str, AssetLine]:
    """The lines of `assets.csv` by code."""
    text = files("sources").joinpath("assets.csv").read_text(encoding="utf-8")
    rows = csv.DictReader(line for line in text.splitlines() if not line.startswith("#"))
    lines = [
        AssetLine(row["code"], row["coin"], row["class"], date.fromisoformat(row["since"]), row["source"], row["checked"])
        for row in rows
    ]
    return {line.code: line for line in lines}


def coin_of(code: str) -> str:
    """The coin that a code is, or is a part of: `avaxc` is `avax`, and `shib_eth`, its form on a chain, is `shib`."""
    base = code.partition("_")[0]
    line = table().get(code) or table().get(base)
    return line.coin if line else base


def is_part(code: str) -> bool:
    """Whether the code holds only a part of its coin's supply."""
    line = table().get(code)
    return line is not None and line.asset_class == PART


def class_of(code: str) -> str:
    """What an asset is: only a 'coin' can be in the index of altcoins."""
    if coin_of(code) == BTC:
        return BTC
    if code.partition("_")[0].endswith(STOCK_ENDINGS):
        return TOKENISED
    line = table().get(code) or table().get(coin_of(code))
    return COIN if line is None or line.asset_class == PART else line.asset_class


def by_coin(codes: Iterable[str]) -> dict[str, list[str]]:
    """The codes to ask for each coin: its own code, else its parts, else one of its forms on a chain.

    A coin is there once, whatever it is called: its own code comes first, then what the table names, then by the alphabet.
    """
    listed = set(codes)
    forms: dict[str, list[str]] = {}
    for code in sorted(listed - stocks_among(listed)):
        forms.setdefault(coin_of(code), []).append(code)
    return {coin: _chosen(coin, sorted(found)) for coin, found in forms.items()}


def stocks_among(codes: set[str]) -> set[str]:
    """Those of `codes` that are shares of companies: both issuers have one of it. What the table knows is none."""
    stems = {code.removesuffix(ISSUERS[0]) for code in codes if code.endswith(ISSUERS[0])}
    issued_twice = {stem for stem in stems if stem + ISSUERS[1] in codes and len(stem) >= SHORTEST_SHARE}
    return {stem + issuer for stem in issued_twice for issuer in ISSUERS} - set(table())


def _chosen(coin: str, found: list[str]) -> list[str]:
    if coin in found:
        return [coin]
    parts = [code for code in found if is_part(code)]
    named = [code for code in found if code in table()]
    return parts or named[:1] or [code for code in found if code.startswith(f"{coin}_")][:1] or found[:1]
