"""How much longer a fetch takes when some of its tickers are dead, asked by the real client from a server on this machine.

python benchmarks/dead_tickers.py [--tickers 2000] [--share 0.02] [--death 'no answer at all']

Every wait is a twentieth of the one in use.
"""

import argparse
import random
import sys
import tempfile
import time
from dataclasses import replace
from pathlib import Path

import pandas as pd

from core.progress import silent

sys.path.insert(0, str(Path(__file__).parents[1] / "tests"))

from replay import NO_TICKER, Answer, Responder, chart_body, serving

from sources.batches import Batch
from sources.http import RetryPolicy, Site
from sources.store import Store
from sources.yahoo import Shelf, TickerRequest, deliveries

TODAY = pd.Timestamp("2024-12-31 15:00")
USUAL = RetryPolicy()
WAITS = ("first_wait", "longest_wait", "timeout", "pause")
HURRIED = replace(USUAL, **{name: getattr(USUAL, name) / 20 for name in WAITS})
DEATHS = {
    "none": None,
    "no such ticker (404)": Answer(NO_TICKER, 404),
    "an error (503)": Answer("", 503),
    "no answer at all": Answer("", how="silence"),
}


def bars() -> pd.DataFrame:
    """Ten days of one fund."""
    days = pd.bdate_range("2024-12-16", "2024-12-30")
    return pd.DataFrame(dict.fromkeys(("open", "high", "low", "close", "adj_close", "volume"), 10.0), index=days)


def responder(dead: set[str], death: Answer | None) -> Responder:
    """Bars for the living; the dead answer by their death."""
    body = Answer(chart_body("SPY", bars()))
    return lambda path, params: death if death is not None and path.rpartition("/")[2] in dead else body


def seconds(tickers: list[str], dead: set[str], death: Answer | None) -> tuple[float, int]:
    """How long the client takes for all of `tickers`, and how many came."""
    routes = {"/v8/finance/chart/": responder(dead, death), "/": lambda path, params: Answer("ok")}
    with tempfile.TemporaryDirectory() as folder, serving(routes) as replay, Store.open(Path(folder) / "store.duckdb") as store:
        site, shelf = Site("Yahoo", replay.address, HURRIED), Shelf(store, "fund", "funds", TODAY)
        began = time.perf_counter()
        asked = [TickerRequest(ticker, ticker) for ticker in tickers]
        came = sum(isinstance(one, Batch) for one in deliveries(shelf, asked, site, silent))
        return time.perf_counter() - began, came


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--tickers", type=int, default=2000)
    parser.add_argument("--share", type=float, default=0.02)
    parser.add_argument("--death", choices=[name for name in DEATHS if name != "none"], help="Only this one.")
    asked = parser.parse_args()
    tickers = [f"T{number:04}" for number in range(asked.tickers)]
    dead = set(random.Random(1).sample(tickers, round(asked.share * len(tickers))))
    clean = 0.0
    chosen = [name for name in DEATHS if asked.death in (None, name) or name == "none"]
    for name, death in ((name, DEATHS[name]) for name in chosen):
        took, came = seconds(tickers, dead, death)
        clean = clean or took
        print(f"{name:24} {took:7.1f} s  {took / clean:5.2f} x  {came:5} came, {len(tickers) - came:3} told", flush=True)


if __name__ == "__main__":
    main()
