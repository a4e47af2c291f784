"""Coin Metrics community API: which coins it has, their daily metrics, and estimated market caps of coins without a free price."""

import json
from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import Any

import httpx
import pandas as pd

from core.errors import FetchFailed
from sources.anomalies import is_beyond
from sources.assets import COIN, by_coin, class_of, is_part
from sources.http import Health, Site, as_json, ask
from sources.layout import LAGS
from sources.quality import SAMPLED
from sources.store import Store

PRICE, MARKET_CAP, ESTIMATED_CAP, SUPPLY = "PriceUSD", "CapMrktCurUSD", "CapMrktEstUSD", "SplyCur"
FIRST_DAY = pd.Timestamp("2010-07-01")
ROWS_A_PAGE = "10000"
MOST_PAGES = 1_000
AGREEING = 0.02
LONGEST_CELL = 30

Row = dict[str, Any]


@dataclass(frozen=True)
class Coverage:
    """The days for which Coin Metrics has a metric of one coin. `codes`: what it is asked by, where that isn't `code` itself."""

    code: str
    first: pd.Timestamp
    last: pd.Timestamp
    codes: tuple[str, ...] = ()

    @property
    def asked(self) -> tuple[str, ...]:
        """The codes to ask for."""
        return self.codes or (self.code,)


def catalogue(client: httpx.Client, site: Site, metric: str, today: pd.Timestamp) -> list[Coverage]:
    """Every coin with a daily `metric` that is free, each once. Raises `FetchFailed`."""
    params = {"metrics": metric, "page_size": ROWS_A_PAGE}
    rows = [row for page in pages(client, site, "catalog-v2/asset-metrics", params, "list of coins") for row in page]
    spans = [(row["asset"], span) for row in rows for span in _daily_spans(row)]
    has_community = any("community" in span for _, span in spans)
    free = {
        code: (_day(span, "min_time", FIRST_DAY), _day(span, "max_time", today))
        for code, span in spans
        if _free(span, has_community)
    }
    if not free:
        raise FetchFailed(f"{site.name} lists no asset with a daily {metric} that is free. Try again later.")
    return [_coverage(coin, codes, free) for coin, codes in by_coin(free).items()]


def _coverage(coin: str, codes: list[str], free: dict[str, tuple[pd.Timestamp, pd.Timestamp]]) -> Coverage:
    first, last = min(free[code][0] for code in codes), max(free[code][1] for code in codes)
    return Coverage(coin, first, last, () if codes == [coin] else tuple(codes))


def _daily_spans(row: Row) -> Iterator[Row]:
    for metric in row.get("metrics", []):
        yield from (span for span in metric.get("frequencies", []) if span.get("frequency") == "1d")


def _free(span: Row, has_community: bool) -> bool:
    """Whether it may be asked for without a key; a list that says so of none says nothing about it."""
    return bool(span.get("community")) or not has_community


def _day(span: Row, name: str, otherwise: pd.Timestamp) -> pd.Timestamp:
    return pd.Timestamp(span[name][:10]) if name in span else otherwise.normalize()


def merged(rows: pd.DataFrame, covered: list[Coverage]) -> pd.DataFrame:
    """`rows` of `asset_metrics`, price and market cap, by coin instead of by code.

    Parts of a coin have one price, and their market caps add up where all are there. Of several names of a coin the first counts; a
    later one goes on where it agrees with it on days that both have.
    """
    several = [coverage for coverage in covered if coverage.codes]
    plain = rows[~rows["asset"].isin([code for coverage in several for code in coverage.codes])]
    return pd.concat([plain, *(_as_one(rows, coverage) for coverage in several)], ignore_index=True)


def _as_one(rows: pd.DataFrame, coverage: Coverage) -> pd.DataFrame:
    days = pd.DatetimeIndex(sorted(rows.loc[rows["asset"].isin(coverage.codes), "observed"].unique()), name="observed")
    by_code = {code: form.set_index("observed").reindex(days) for code, form in rows.groupby("asset") if code in coverage.codes}
    forms = [by_code[code] for code in coverage.codes if code in by_code]
    if not forms:
        return rows.iloc[:0]
    price, cap = forms[0][PRICE], forms[0][MARKET_CAP]
    if is_part(coverage.codes[0]):
        cap = pd.concat([form[MARKET_CAP] for form in forms], axis=1).sum(axis=1, min_count=len(coverage.codes))
    for form in () if is_part(coverage.codes[0]) else forms[1:]:
        if ((form[PRICE] / price).dropna() - 1.0).abs().median() < AGREEING:
            price, cap = price.fillna(form[PRICE]), cap.fillna(form[MARKET_CAP])
    return pd.DataFrame({"asset": coverage.code, PRICE: price, MARKET_CAP: cap}).reset_index()


def asset_metrics(
    client: httpx.Client, site: Site, codes: list[str], metrics: list[str], since: pd.Timestamp, until: pd.Timestamp | None = None
) -> pd.DataFrame:
    """Daily metrics: asset, observed, one column a metric, NaN where Coin Metrics has none, and unreadable.

    `unreadable` holds what a row says that is no day or no number, empty where all can be read; nothing else of such a row is kept.
    Raises `FetchFailed` where nothing came of the first metric.
    """
    params = {
        "assets": ",".join(codes),
        "metrics": ",".join(metrics),
        "frequency": "1d",
        "start_time": f"{since:%Y-%m-%d}",
        **({} if until is None else {"end_time": f"{until:%Y-%m-%d}"}),
        "page_size": ROWS_A_PAGE,
        "paging_from": "start",
        "ignore_unsupported_errors": "true",
        "ignore_forbidden_errors": "true",
    }
    what = f"{metrics[0]} of {codes[0]}" + (f" and {len(codes) - 1} others" if len(codes) > 1 else "")
    rows = [row for page in pages(client, site, "timeseries/asset-metrics", params, what) for row in page]
    try:
        table = _read(pd.DataFrame(rows, columns=["asset", "time", *metrics]), metrics)
    except (ValueError, TypeError, AttributeError) as error:
        raise FetchFailed(f"{site.name} sent no table of {what}: {site.hidden(str(error))}.") from None
    if rows and table[metrics[0]].isna().all():
        raise FetchFailed(f"{site.name} sent no {what}. Try again later.")
    return table


def _read(table: pd.DataFrame, metrics: list[str]) -> pd.DataFrame:
    """The cells of an answer as days and numbers; a row with a cell that is neither says so and nothing else."""
    days = pd.to_datetime(table["time"].str.slice(stop=10), format="%Y-%m-%d", errors="coerce").astype("datetime64[us]")
    read = {name: pd.to_numeric(table[name], errors="coerce").astype("float64") for name in metrics}
    words = pd.Series("", index=table.index, dtype="str")
    for name, empty in {"time": days.isna(), **{name: read[name].isna() & table[name].notna() for name in metrics}}.items():
        words = words.mask(empty, name + " " + table[name].astype("str").str.slice(stop=LONGEST_CELL).map(repr))
    numbers = {name: read[name].where(words == "") for name in metrics}
    return pd.DataFrame({"asset": table["asset"], "observed": days, **numbers, "unreadable": words})


def unreadable_rows(rows: pd.DataFrame) -> Iterator[tuple[str, str]]:
    """Each coin with rows of `asset_metrics` that can't be read, and words for the user."""
    for code, odd in rows[rows["unreadable"] != ""].groupby("asset"):
        first = odd.iloc[0]
        of = "" if pd.isna(first["observed"]) else f" of {first['observed']:%Y-%m-%d}"
        more = f" and {len(odd) - 1} more" if len(odd) > 1 else ""
        yield (
            str(code),
            f"Coin Metrics sent {first['unreadable']}{of}{more}, which can't be read. Left out, and asked for again for ten days.",
        )


def pages(client: httpx.Client, site: Site, path: str, params: dict[str, str], what: str) -> Iterator[list[Row]]:
    """Rows of one question, page by page, until no page follows. Raises `FetchFailed` where pages or their tokens repeat."""
    token: str | None = ""
    tokens: set[str] = {""}
    before: list[Row] = []
    while token is not None:
        here = params | ({"next_page_token": token} if token else {})
        answer = ask(client, site, path, here, what=what, read=lambda body: as_json(site, body))
        page = answer.get("data")
        if not isinstance(page, list):
            raise FetchFailed(f"{site.name} sent no {what}: {site.hidden(str(answer))[:100]}.")
        token = answer.get("next_page_token")
        if token in tokens or (token is not None and page == before) or len(tokens) > MOST_PAGES:
            raise FetchFailed(
                f"{site.name} sends {what} page after page without an end. Nothing of it was stored; try again later."
            )
        yield page
        tokens, before = tokens | {str(token)}, page


SOURCE = "coinmetrics estimate"
FAR = is_beyond(2.5)  # a larger step in a day is a new estimate of the supply, not a return
LARGE = 60
FIRST_SAMPLE = "2013-12-31"
ASSETS_A_SAMPLE = 600
ASSETS_A_REQUEST = 100
BILLION = 1e9
A_WEEK = pd.Timedelta(days=7)
SEEN = "coins ever large by estimated market cap"


def hurried(site: Site) -> Site:
    """`site` asked with little patience and a health of its own: what only adds to the rest may not cost it."""
    patience = replace(site.patience, attempts=min(site.patience.attempts, 2), budget=min(site.patience.budget, 30.0))
    return replace(site, patience=patience, health=Health(tell=site.health.tell))


def listed(client: httpx.Client, site: Site, today: pd.Timestamp) -> dict[str, Coverage]:
    """The coins with a free estimated market cap. Raises `FetchFailed`."""
    return {coverage.code: coverage for coverage in catalogue(client, hurried(site), ESTIMATED_CAP, today)}


def caps(client: httpx.Client, site: Site, wanted: list[Coverage], today: pd.Timestamp, since: pd.Timestamp) -> pd.DataFrame:
    """Estimated market caps in USD since a day: observed days that are over × coins; empty where nothing came."""
    parts = []
    for group in (wanted[first : first + ASSETS_A_REQUEST] for first in range(0, len(wanted), ASSETS_A_REQUEST)):
        try:
            rows = asset_metrics(client, site, [coverage.asked[0] for coverage in group], [ESTIMATED_CAP], since)
        except FetchFailed:
            continue
        coins = {coverage.asked[0]: coverage.code for coverage in group}
        parts.append(
            rows.assign(asset=rows["asset"].map(coins)).pivot_table(index="observed", columns="asset", values=ESTIMATED_CAP)
        )
    wide = pd.concat(parts, axis=1).sort_index() if parts else pd.DataFrame(index=pd.DatetimeIndex([]))
    return wide[wide.index < today.normalize()].where(lambda caps: caps > 0)


def ever_large(store: Store, client: httpx.Client, site: Site, known: dict[str, Coverage], today: pd.Timestamp) -> list[Coverage]:
    """The coins of `known` that were among the `LARGE` largest at the end of some half year, or were this week; it is noted.

    Asking by half years finds dead coins too: those that are large today alone would be survivors.
    """
    if not known:
        return []
    seen = set(json.loads(store.noted(SEEN) or "[]"))
    sampled = pd.Timestamp(store.noted(SAMPLED) or FIRST_SAMPLE)
    newest = min(max(coverage.last for coverage in known.values()), today.normalize() - pd.Timedelta(days=1))
    half_years = pd.date_range(FIRST_SAMPLE, newest, freq="6ME", inclusive="left")
    days = (*half_years, newest) if newest - sampled >= A_WEEK else half_years
    for day in [day for day in days if day > sampled]:
        try:
            seen |= set(_ranked(client, site, known, day))
        except FetchFailed:
            break
        sampled = day
    store.note(SEEN, json.dumps(sorted(seen)))
    store.note(SAMPLED, f"{sampled:%Y-%m-%d}")
    return [known[code] for code in sorted(seen & set(known))]


def _ranked(client: httpx.Client, site: Site, known: dict[str, Coverage], day: pd.Timestamp) -> list[str]:
    living = [coverage for coverage in known.values() if coverage.first <= day <= coverage.last and class_of(coverage.code) == COIN]
    coins = {coverage.asked[0]: coverage.code for coverage in living}
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
