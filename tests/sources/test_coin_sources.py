"""Where a coin's price comes from: one coin once, the first source that has it, and no level spliced without days in common."""

import json
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from live_home import LATER, QUICK, TODAY, panel, said, stored_as_they_come
from replay import Answer, Market, Params, Replay, serving

from altrally.home_pages import coverage_lines
from core.errors import FetchFailed, GateClosed
from core.progress import silent
from sources import coins, stablecoins
from sources.assets import by_coin, class_of, table
from sources.batches import Batch, Skipped
from sources.coin_metrics import pages
from sources.coins import large
from sources.http import Site, client_of
from sources.quality import REFUSE_BELOW, WARN_BELOW, MonthCoverage, coverage_by_month, require_coverage
from sources.series import STABLECOIN_SUPPLY
from sources.simulated import simulate
from sources.store import Store

SINCE = pd.Timestamp("2024-06-01")
DAYS = pd.date_range(SINCE, TODAY.normalize())
LARGE = (large("btc", "bitcoin"), large("eth", "ethereum"), large("sol", "solana", "C003-USD"), large("shib", "shiba-inu"))


@pytest.fixture(scope="module")
def frames() -> dict[str, pd.DataFrame]:
    return simulate(start="2020-01-01", end="2024-12-31", stocks=1, coins=8)


@pytest.fixture(autouse=True)
def few(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(coins, "LARGE_COINS", LARGE)


@pytest.fixture
def store(tmp_path: Path) -> Iterator[Store]:
    with Store.open(tmp_path / "home" / "store.duckdb") as opened:
        yield opened


def market_of(frames: dict[str, pd.DataFrame], today: pd.Timestamp = TODAY, **called: str) -> Market:
    """coin-003 is Solana, whose price costs money; coin-007 has no price and is at no exchange that Yahoo knows."""
    names = {"coin-003": "sol", "coin-007": "unp"} | {asset.replace("_", "-"): code for asset, code in called.items()}
    return Market(dict(frames), SINCE, today.normalize(), called=names, unpriced=("sol", "unp"))


def fetched(store: Store, replay: Replay, today: pd.Timestamp = TODAY) -> list[Batch | Skipped]:
    metrics, yahoo = Site("Coin Metrics", replay.address, QUICK), Site("Yahoo", replay.address, QUICK)
    return stored_as_they_come(store, coins.deliveries(store, metrics=metrics, yahoo=yahoo, today=today, progress=silent), today)


def source_of(store: Store) -> dict[str, str]:
    rows = store.sources("coin")
    return dict(zip(rows.symbol, rows.source, strict=True))


# The table


def test_a_coin_is_asked_for_once_whatever_it_is_called() -> None:
    codes = ["avaxc", "avaxp", "avaxx", "pol_eth", "matic_eth", "shib_eth", "usdt", "usdt_eth", "leo_eth", "leo_eos", "ada"]
    assert by_coin(codes) == {
        "avax": ["avaxc", "avaxp", "avaxx"],
        "matic": ["matic_eth"],
        "shib": ["shib_eth"],
        "usdt": ["usdt"],
        "leo": ["leo_eos"],
        "ada": ["ada"],
    }


def test_shares_of_companies_are_known_by_their_two_issuers() -> None:
    assert set(by_coin(["aaplx", "aaplon", "trx", "tron", "avaxx", "avaxc", "snx", "tslax"])) == {
        "trx",
        "tron",
        "avax",
        "snx",
        "tslax",
    }


def test_every_line_of_the_table_is_dated_and_has_a_source() -> None:
    assert {line.checked for line in table().values()} == {"", "llama", "lists", "polygon"}
    assert all(line.source and line.since.year >= 2014 for line in table().values())
    assert {class_of(code) for code in ("wnxm", "wbtc", "steth")} == {"wrapped_staked"}
    assert {class_of(code) for code in ("tslaxstock", "paxg")} == {"tokenised_asset"}
    assert {class_of(code) for code in ("usds", "usde", "usdt_eth")} == {"stablecoin"}
    assert {class_of(code) for code in ("nxm", "avaxc", "shib_eth", "ftt")} == {"coin"}


# Sources


def test_the_first_source_that_has_a_coin_gives_its_price(store: Store, frames: dict[str, pd.DataFrame]) -> None:
    market = market_of(frames)
    with serving(market.routes()) as replay:
        lines = said(fetched(store, replay))
    assert (source_of(store)["solana"], source_of(store)["unp"]) == ("yahoo", "coinmetrics estimate")
    assert source_of(store)["ethereum"] == "coinmetrics"
    assert not [line for line in lines if "wait for their volume" in line]
    closes = panel(store, "coin", "close")
    yahoo = market.bars["C003-USD"].close
    np.testing.assert_allclose(closes["solana"].dropna(), yahoo.reindex(closes["solana"].dropna().index), rtol=1e-12)
    caps = panel(store, "coin", "market_cap")
    whole = market.coins["unp"].set_index("date").market_cap
    growth = closes["unp"].dropna().pct_change().dropna()
    np.testing.assert_allclose(growth, whole.reindex(closes["unp"].dropna().index).pct_change().dropna(), atol=1e-6)
    assert caps["solana"].notna().any()


def test_a_coin_under_its_chains_code_is_the_coin(store: Store, frames: dict[str, pd.DataFrame]) -> None:
    with serving(market_of(frames, coin_005="shib_eth").routes()) as replay:
        fetched(store, replay)
    assert source_of(store)["shiba-inu"] == "coinmetrics"
    assert "shib_eth" not in store.asset_classes("coin")


def test_parts_of_a_coin_are_one_coin_whose_market_caps_add_up(store: Store, frames: dict[str, pd.DataFrame]) -> None:
    crypto = frames["crypto"]
    twins = [crypto[crypto.asset == "coin-005"].assign(asset=name) for name in ("avaxc", "avaxp", "avaxx")]
    market = market_of(frames | {"crypto": pd.concat([crypto[crypto.asset != "coin-005"].astype({"asset": "str"}), *twins])})
    with serving(market.routes()) as replay:
        fetched(store, replay)
    closes, caps = panel(store, "coin", "close"), panel(store, "coin", "market_cap")
    assert [name for name in closes if "avax" in name] == ["avax"]
    one = market.coins["avaxc"].set_index("date").market_cap.reindex(caps["avax"].dropna().index)
    np.testing.assert_allclose(caps["avax"].dropna(), 3 * one, rtol=1e-6)


def test_only_what_is_free_is_asked_for(store: Store, frames: dict[str, pd.DataFrame]) -> None:
    with serving(market_of(frames).routes()) as replay:
        fetched(store, replay)
        priced = [params["assets"].split(",") for params in replay.asked_of("/timeseries") if "PriceUSD" in params["metrics"]]
    assert not {"sol", "unp"} & {code for codes in priced for code in codes}


def test_a_coin_goes_on_from_another_source_only_where_both_agree(store: Store, frames: dict[str, pd.DataFrame]) -> None:
    early, late = TODAY - pd.Timedelta(days=20), TODAY
    with serving(market_of(frames, early).routes()) as replay:
        fetched(store, replay, early)
    before = panel(store, "coin", "close")["solana"].dropna()
    free = market_of(frames, late)
    free.unpriced = ("unp",)
    with serving(free.routes()) as replay:
        lines = said(fetched(store, replay, late))
    rows = store.sources("coin").query("symbol == 'solana'")
    agreeing = (free.coins["sol"].set_index("date").price / free.bars["C003-USD"].close - 1).abs().loc[: early.normalize()].tail(10)
    told = [line for line in lines if line.startswith("solana: its price")]
    assert len(told) == 1
    if agreeing.max() < coins.AGREEING:
        assert list(rows.source) == ["yahoo", "coinmetrics"]
    else:
        assert list(rows.source) == ["yahoo"]
        assert "isn't continued" in told[0]
    assert (panel(store, "coin", "close")["solana"].reindex(before.index) == before).all()


def test_large_coins_without_a_price_anywhere_are_named_once_a_month(store: Store, frames: dict[str, pd.DataFrame]) -> None:
    told = []
    with serving(market_of(frames).routes()) as replay:
        for days in (0, 1, 31):
            lines = said(fetched(store, replay, TODAY + pd.Timedelta(days=days)))
            told.append([line for line in lines if "no free source has a price of shib" in line])
    assert [len(lines) for lines in told] == [1, 0, 1]


# Pages


@pytest.mark.parametrize("token", ["same", "new"])
def test_pages_that_repeat_end(token: str) -> None:
    asked: list[Params] = []

    def endless(path: str, params: Params) -> Answer:
        asked.append(params)
        row = {"asset": "btc", "time": "2024-12-01T00:00:00.000000000Z", "PriceUSD": "1"}
        return Answer(json.dumps({"data": [row], "next_page_token": "t" if token == "same" else f"t{len(asked)}"}))

    with serving({"/timeseries": endless}) as replay:
        site = Site("Coin Metrics", replay.address, QUICK)
        with client_of(site) as client, pytest.raises(FetchFailed, match="page after page without an end"):
            list(pages(client, site, "timeseries/asset-metrics", {}, "PriceUSD"))
    assert len(asked) <= 3


# One bad series


def test_one_bad_coin_costs_itself_alone(store: Store, frames: dict[str, pd.DataFrame], monkeypatch: pytest.MonkeyPatch) -> None:
    from live_home import fetch_live
    from wide_market import declare_few

    declare_few(monkeypatch, "SPY", series=())
    monkeypatch.setattr(coins, "LARGE_COINS", LARGE)
    market = market_of(frames)
    broken = market.coins["coin-005"]
    market.coins["coin-005"] = broken.assign(market_cap=broken.market_cap.where(broken.date != "2024-12-20", np.inf))
    with serving(market.routes()) as replay:
        report = fetch_live(store, replay, monkeypatch)
    (line,) = [line for line in report.warnings if line.startswith("coin-005: coinmetrics sent what can't be stored")]
    assert line.endswith("It is left out and asked for again.")
    assert {"bitcoin", "ethereum"} <= set(panel(store, "coin", "close", LATER))
    assert "coin-005" not in panel(store, "coin", "close", LATER)


@pytest.mark.parametrize(
    ("cell", "words"),
    [
        ({"PriceUSD": "n/a"}, "PriceUSD 'n/a' of 2024-12-20"),
        ({"CapMrktCurUSD": "12,5"}, "CapMrktCurUSD '12,5' of 2024-12-20"),
        ({"time": "yesterday"}, "time 'yesterday'"),
    ],
)
def test_one_unreadable_cell_costs_its_row_alone(
    store: Store, frames: dict[str, pd.DataFrame], cell: dict[str, str], words: str
) -> None:
    market = market_of(frames)

    def broken(path: str, params: Params) -> Answer:
        said = json.loads(market.metrics(path, params).body)
        odd = [row for row in said["data"] if row["asset"] == "coin-005" and row["time"].startswith("2024-12-20")]
        for row in odd if "PriceUSD" in params["metrics"] else []:
            row |= cell
        return Answer(json.dumps(said))

    with serving(market.routes() | {"/timeseries/asset-metrics": broken}) as replay:
        delivered = fetched(store, replay)
    assert [line for line in said(delivered) if "can't be read" in line] == [
        f"coin-005: Coin Metrics sent {words}, which can't be read. Left out, and asked for again for ten days."
    ]
    assert sum(one.dropped.get("unreadable", 0) for one in delivered if isinstance(one, Batch)) == 1
    closes = panel(store, "coin", "close")
    missing = closes[["coin-005", "bitcoin", "ethereum"]].isna().loc[:"2024-12-30"]
    assert list(missing.index[missing["coin-005"]]) == [pd.Timestamp("2024-12-20")]
    assert not missing[["bitcoin", "ethereum"]].any(axis=None)


# Units of ranges


def raised(market: Market, since: pd.Timestamp) -> pd.DataFrame:
    """Solana's bars at Yahoo, where a thousand became one on a day."""
    bars, fields = market.bars["C003-USD"], ("open", "high", "low", "close", "adj_close")
    return bars.assign(**{name: bars[name].where(bars.index < since, bars[name] * 1000) for name in fields})


def test_ranges_in_another_unit_are_held_back_until_the_change_is_stated(store: Store, frames: dict[str, pd.DataFrame]) -> None:
    store.claim_market("live")
    days = [TODAY - pd.Timedelta(days=ago) for ago in (20, 1, 0)]
    begun = days[0].normalize() + pd.Timedelta(days=3)
    told, ends = [], []
    for day in (*days, TODAY):
        market = market_of(frames, day)
        market.bars["C003-USD"] = raised(market, begun)
        with serving(market.routes()) as replay:
            told.append([line for line in said(fetched(store, replay, day)) if line.startswith("C003-USD")])
        closes = panel(store, "coin_ohlc", "close")["SOL"].dropna()
        ends.append(closes.index[-1])
        if len(ends) == 3:
            (store.path.parent / "redenominations.csv").write_text(f"date,asset,ratio\n{begun:%Y-%m-%d},solana,1000\n")
    assert [len(lines) for lines in told] == [0, 1, 0, 0]
    assert "another unit?" in told[1][0]
    assert told[1][0].endswith("redenominations.csv.")
    eve = begun - pd.Timedelta(days=1)
    assert ends == [days[0].normalize() - pd.Timedelta(days=1), eve, eve, TODAY.normalize() - pd.Timedelta(days=1)]
    whole = market_of(frames).bars["C003-USD"].close
    np.testing.assert_allclose(closes, whole[closes.index], rtol=1e-9)
    market = market_of(frames, TODAY + pd.Timedelta(days=1))
    market.bars["C003-USD"] = raised(market, begun)
    with serving(market.routes()) as replay:
        assert [
            line for line in said(fetched(store, replay, TODAY + pd.Timedelta(days=1))) if "C003" in line or "SOL" in line
        ] == []
    highs = panel(store, "coin_ohlc", "high")["SOL"]
    assert list(highs.index[highs.isna()]) == [begun]  # the day of the change holds prices in both units, no other day does


def test_ranges_learn_from_prices_and_market_caps_that_the_unit_changed(store: Store, frames: dict[str, pd.DataFrame]) -> None:
    first, later = TODAY - pd.Timedelta(days=20), TODAY - pd.Timedelta(days=1)
    begun = first.normalize() + pd.Timedelta(days=3)
    for day in (first, later, TODAY):
        market = market_of(frames, day)
        market.unpriced = ("unp",)
        rows, market.bars["C003-USD"] = market.coins["sol"], raised(market, begun)
        market.coins["sol"] = rows.assign(price=rows.price.where(rows.date < begun, rows.price * 1000), market_cap=rows.price * 1e9)
        with serving(market.routes()) as replay:
            fetched(store, replay, day)
    closes = panel(store, "coin_ohlc", "close")["SOL"].dropna()
    assert closes.index[-1] == TODAY.normalize() - pd.Timedelta(days=1)
    assert closes.pct_change().abs().max() < 1


# Coverage


def test_coverage_is_the_share_of_the_largest_that_has_a_price(store: Store) -> None:
    rows = [("big", 60.0, 1.0), ("middle", 30.0, np.nan), ("small", 10.0, 1.0)]
    day = pd.Timestamp("2024-11-30")
    frame = pd.DataFrame(rows, columns=["symbol", "market_cap", "close"]).assign(
        observed=day, known=day + pd.Timedelta(days=1), asset_class="coin"
    )
    store.append(Batch("coins", "bars", frame, "coinmetrics", "coin"), TODAY)
    (month,) = coverage_by_month(store, TODAY)
    assert month == MonthCoverage(day, pytest.approx(0.7), ["middle"])
    assert "Only 70% of the market cap" in str(require_coverage([month]))


@pytest.mark.parametrize(("share", "verdict"), [(WARN_BELOW, None), (REFUSE_BELOW, "warned"), (REFUSE_BELOW - 0.01, "refused")])
def test_thin_coverage_is_warned_of_and_too_thin_is_refused(share: float, verdict: str | None) -> None:
    months = [MonthCoverage(pd.Timestamp("2024-11-30"), share, ["solana"])]
    if verdict == "refused":
        with pytest.raises(GateClosed, match="missing: solana"):
            require_coverage(months)
    else:
        assert (require_coverage(months) is not None) == (verdict == "warned")


# Stablecoins


def chart(values: dict[str, float]) -> Answer:
    rows = [
        {"date": str(int(pd.Timestamp(day).timestamp())), "totalCirculatingUSD": {"peggedUSD": value, "peggedEUR": 1.0}}
        for day, value in values.items()
    ]
    return Answer(json.dumps(rows))


def supply_of(store: Store, replay: Replay, answer: Answer, today: pd.Timestamp = TODAY) -> list[str]:
    replay.routes["/stablecoincharts/all"] = lambda path, params: answer
    metrics, llama = Site("Coin Metrics", replay.address, QUICK), Site("DefiLlama", replay.address, QUICK)
    with client_of(metrics) as client:
        return said(stored_as_they_come(store, stablecoins.supply(store, client, metrics, llama, today), today))


def test_all_stablecoins_come_from_one_list_and_a_home_keeps_to_it(store: Store, frames: dict[str, pd.DataFrame]) -> None:
    with serving(market_of(frames).routes()) as replay:
        assert supply_of(store, replay, chart({"2024-12-29": 2e11, "2024-12-30": 2.1e11, "2024-12-31": 1.0})) == []
        (line,) = supply_of(store, replay, Answer("{", 200), TODAY + pd.Timedelta(days=1))
    rows = store.read(STABLECOIN_SUPPLY, LATER)
    assert list(rows.value) == [2e11, 2.1e11]
    assert "DefiLlama gave no supply of stablecoins" in line


def test_a_home_that_began_with_three_stablecoins_keeps_to_them(store: Store, frames: dict[str, pd.DataFrame]) -> None:
    with serving(market_of(frames).routes()) as replay:
        assert len(supply_of(store, replay, Answer("[]", 200))) == 1
        before = store.read(STABLECOIN_SUPPLY, LATER)
        assert supply_of(store, replay, chart({"2024-12-30": 2.1e11}), TODAY + pd.Timedelta(days=1)) == []
    assert len(before)
    assert store.read(STABLECOIN_SUPPLY, LATER).value.max() == before.value.max()


# Coverage, where people read it


@pytest.mark.parametrize(
    ("share", "words"), [(0.9, ""), (0.84, "Under 85% a forecast carries a warning."), (0.5, "Under 60% no forecast is given.")]
)
def test_status_says_what_a_thin_coverage_means(share: float, words: str) -> None:
    months = [MonthCoverage(end, share, ["sol"]).to_dict() for end in pd.date_range("2024-01-31", periods=3, freq="ME")]
    facts = {"coverage": months, "coin_sources": [], "needs_key": [], "market": "live", "from_the_future": 0}
    told = coverage_lines(facts)
    assert f"By month: 2024-01 {share:.0%}, 2024-02 {share:.0%}, 2024-03 {share:.0%}." in told
    assert [line for line in told if line.startswith("Under")] == ([words] if words else [])
