"""A fund's list of holdings as its issuer writes it, of made-up names, and a Yahoo on this machine that answers for them."""

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pandas as pd
from replay import NO_TICKER, Answer, Params, Responder, chart_body

CHART = "/v8/finance/chart/"
FIRST_BAR = pd.Timestamp("2023-06-01")
NAMES = [f"{a}{b}Q" for a in "ABCDEFGHIJK" for b in "CDEFGHIJKL"]
COLUMNS = (
    "Ticker,Name,Sector,Asset Class,Market Value,Weight (%),Notional Value,Quantity,Price,Location,Exchange,Currency,FX Rate,"
    "Market Currency,Accrual Date"
)
NO_SHARES = [
    ("XCASH", "LIQUIDITY FUND", "Cash and/or Derivatives", "Money Market", "1.00", "-"),
    ("USD", "USD CASH", "Cash and/or Derivatives", "Cash", "100.00", "-"),
    ("-", "SOMETHING PRIVATE Prvt", "Health Care", "Equity", "0.07", "NO MARKET (E.G. UNLISTED)"),
    ("GONEQ", "TAKEN OVER INC", "Health Care", "Equity", "0.17", "NO MARKET (E.G. UNLISTED)"),
    ("GONEQ", "TAKEN OVER INC CVR", "Health Care", "Equity", "0.51", "NO MARKET (E.G. UNLISTED)"),
    ("P7N123", "OLD ESCROW", "Energy", "Equity", "0.00", "Non-Nms Quotation Service (Nnqs)"),
    ("WORTH", "NOTHING ANY MORE INC", "Health Care", "Equity", "0.00", "NASDAQ"),
    ("RTYZ6", "SMALL CAP EMINI DEC", "Cash and/or Derivatives", "Futures", "2,852.90", "Chicago Mercantile Exchange"),
]


def issuers_csv(file: Path, names: Sequence[str], day: str, *, fund: str = "Small Cap Fund") -> Path:
    """Write a list of `names` of a day ("Nov 29, 2024") with all that surrounds it, and return its file."""
    held = [(name, f"{name} INC", "Industrials", "Equity", "12.50", "NASDAQ") for name in names]
    rows = [
        f'"{ticker}","{name}","{sector}","{kind}","1,234.50","0.01","1,234.50","98.00","{price}","United States","{place}",'
        '"USD","1.00","USD","-"'
        for ticker, name, sector, kind, price, place in [*held[:50], *NO_SHARES[:4], *held[50:], *NO_SHARES[4:]]
    ]
    preamble = [fund, f'Fund Holdings as of,"{day}"', 'Inception Date,"May 22, 2000"', 'Shares Outstanding,"1,000.00"', 'Stock,"-"']
    terms = '"These are terms, over\nseveral lines, with a ""word"" in quotes and a comma, too.\n©2024 Somebody"'
    file.write_text("\n".join([*preamble, "\N{NO-BREAK SPACE}", COLUMNS, *rows, "\N{NO-BREAK SPACE}", terms]), encoding="utf-8")
    return file


def bars_of(name: str, last: pd.Timestamp) -> pd.DataFrame:
    """Sessions of a name up to `last`: a wave of its own about a slow rise, and volume that varies."""
    days = pd.bdate_range(FIRST_BAR, last, unit="us")
    seed = sum(ord(letter) * (place + 1) for place, letter in enumerate(name))
    random = np.random.default_rng(seed)
    close = 20 * np.exp(np.cumsum(0.015 * random.standard_normal(len(days))))
    columns = {"open": close, "high": close * 1.01, "low": close * 0.99, "close": close, "adj_close": close * 0.98}
    return pd.DataFrame({**columns, "volume": np.round(1e5 * np.exp(0.5 * random.standard_normal(len(days))))}, days)


def yahoo_of(known: Sequence[str], last: pd.Timestamp) -> dict[str, Responder]:
    """Routes of a Yahoo that knows the tickers `known`, which begin at `FIRST_BAR`, and no other."""
    bars = {name: bars_of(name, last) for name in known}

    def chart(path: str, params: Params) -> Answer:
        name = path.rpartition("/")[2]
        if name not in bars:
            return Answer(NO_TICKER, 404)
        first, end = (pd.Timestamp(int(params[key]), unit="s") for key in ("period1", "period2"))
        days = bars[name].index
        return Answer(chart_body(name, bars[name][(days >= first.floor("D")) & (days < end)]))

    return {CHART: chart, "/": lambda path, params: Answer("ok", 200 if path == "/" else 404)}
