"""Today's large coins that no other source prices, from CoinPaprika: nothing stored from elsewhere is touched or spliced."""

import json
from contextlib import closing
from dataclasses import asdict
from itertools import takewhile

import httpx
import pandas as pd

from core.errors import FetchFailed
from core.progress import Progress
from sources.batches import Deliveries, Skipped, nothing_new
from sources.coin_metrics import hurried
from sources.coinpaprika import HISTORY, SOURCE, Listed, history, largest
from sources.coins import PRICED_ELSEWHERE, Stored, asset_of, is_news, judged
from sources.http import Site, answers, client_of
from sources.store import Store

LABEL = "today's coins"
LIST, LIST_DAY = "today's coins at CoinPaprika", "day of the list of today's coins"
A_WEEK = pd.Timedelta(days=7)
NAMED = 5


def deliveries(store: Store, site: Site, today: pd.Timestamp, progress: Progress) -> Deliveries:
    """One batch of prices of those of today's largest coins that have none from elsewhere, from a little before what is stored."""
    stored, patient = Stored.of(store, today), hurried(site)
    with client_of(patient) as client:
        try:
            listed = _listed(store, client, patient, today)
        except FetchFailed as error:
            if is_news(stored, "no list of today's coins"):
                yield Skipped(LABEL, f"{error} Coins that no other source prices stay without a price. Told once a month.")
            return
        wanted = [coin for coin in listed if _lacks(coin, stored)]
        due = [coin for coin in wanted if stored.last.get(asset_of(coin.code), pd.Timestamp.min) < stored.yesterday]
        yield from nothing_new(LABEL, len(wanted) - len(due))
        yield from _bars(due, client, patient, stored, progress)


def _listed(store: Store, client: httpx.Client, site: Site, today: pd.Timestamp) -> list[Listed]:
    """Today's largest coins, asked for once a week. Raises `FetchFailed`."""
    day = store.noted(LIST_DAY)
    if day is None or today - pd.Timestamp(day) >= A_WEEK:
        store.note(LIST, json.dumps([asdict(coin) for coin in largest(client, site)]))
        store.note(LIST_DAY, f"{today:%Y-%m-%d}")
    return [Listed(**row) for row in json.loads(store.noted(LIST) or "[]")]


def _lacks(coin: Listed, stored: Stored) -> bool:
    """Whether no other source prices a coin: neither today nor in what is stored."""
    elsewhere = json.loads(stored.store.noted(PRICED_ELSEWHERE) or "[]")
    return coin.code not in elsewhere and stored.source.get(asset_of(coin.code), SOURCE) == SOURCE


def _bars(due: list[Listed], client: httpx.Client, site: Site, stored: Stored, progress: Progress) -> Deliveries:
    since = {coin: stored.since(asset_of(coin.code), stored.today.normalize() - HISTORY) for coin in due}
    came, failed = dict[Listed, pd.DataFrame](), list[FetchFailed]()
    asked = takewhile(lambda coin: not site.health.given_up, due)
    with closing(answers(lambda coin: history(client, site, coin, since[coin], stored.today), asked, site.patience)) as coming:
        for coin, bars in coming:
            progress(LABEL, len(came) + len(failed), len(due))
            if isinstance(bars, FetchFailed):
                failed.append(bars)
            else:
                came[coin] = bars.assign(symbol=asset_of(coin.code), asset_class="coin")
    if any(len(bars) for bars in came.values()):
        begun = {asset_of(coin.code): first for coin, first in since.items()}
        yield from judged(stored, pd.concat(list(came.values()), ignore_index=True), SOURCE, begun, {}, 1)
    missed = [coin.code for coin in due if coin not in came]
    if failed and is_news(stored, "some of today's coins did not come"):
        why, names = str(failed[0]).rstrip("."), ", ".join(missed[:NAMED])
        yield Skipped(LABEL, f"{len(missed)} of {len(due)} did not come ({why}): {names}. Told once a month.")
