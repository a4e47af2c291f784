"""Formulas say what they claim, on what was known by then, and stay silent where nothing was."""

from collections.abc import Callable, Mapping
from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from altrally.forecast import neutral_inputs
from core.errors import MissingData, RevisedWithoutVintages
from features.altcoin_index import load_index
from features.breadth import above_mean
from features.breakout import days_since_breakout, record_breakouts
from features.build import COMPOSITE_LOOKBACK, Frames, Matrix, build, catalogue, compute, load, matrix
from features.crypto_state import altcoin_season, altcoin_spread, bitcoin_dominance_change, capitulation_days
from features.liquidity import illiquidity, net_liquidity_growth, treasury_account_drawdown
from features.registry import FEATURES, Derived, Feature, feature
from features.transforms import (
    change,
    cross_sectional_median,
    earlier,
    forward_fill,
    log_change,
    moving_max,
    moving_mean,
    moving_min,
    moving_sd,
    share,
)
from features.volume import rising_volume, surging_names
from sources.batches import Batch
from sources.series import (
    BTC,
    COIN_PRICE,
    CURVE,
    FED_ASSETS,
    FINANCIAL_CONDITIONS,
    HY_SPREAD,
    IWM,
    RUT,
    SPY,
    STOCK_PRICE,
    TREASURY_ACCOUNT,
    Panel,
    Series,
)
from sources.store import Store
from training.dataset import outcomes

DAYS = pd.date_range("2019-01-01", "2020-12-31", unit="us")
FAR = pd.Timestamp("2030-01-01")
ROUNDING = 1e-12


def given(function: object = None, *inputs: Series | Panel | Derived, **more: object) -> Feature:
    """A feature of a formula in words."""

    def as_it_is(close: pd.Series) -> pd.Series:
        """As it is."""
        return close

    about: dict[str, object] = {"block": "ladder", "sign": 1, "unit": "USD", "rationale": "none", "lookback": 0}
    return Feature("given", function or as_it_is, inputs or (SPY,), **about | more)  # type: ignore[arg-type]


def rows(series: Series, values: Mapping[str, float]) -> pd.DataFrame:
    """First versions, by observed day, as a store reads them."""
    observed = pd.DatetimeIndex(list(values))
    return pd.DataFrame({"observed": observed, "known": observed + series.release_lag, "value": list(values.values())})


def alone(series: Series, versions: pd.DataFrame) -> pd.Series:
    """What is seen of one series day by day."""
    return compute([given(None, series)], {series: versions}, DAYS)["given"]


def panel(columns: Mapping[str, object], days: pd.DatetimeIndex = DAYS) -> pd.DataFrame:
    """Observed days × symbols."""
    return pd.DataFrame(dict(columns), index=days)


class TestRegistry:
    @pytest.mark.parametrize(
        ("wrong", "says"), [({"block": "moon"}, "block"), ({"sign": 2}, "sign"), ({"function": lambda close: close}, "docstring")]
    )
    def test_a_declaration_that_is_not_one_is_refused(self, wrong: dict[str, object], says: str) -> None:
        with pytest.raises(ValueError, match=says):
            given(**wrong)

    def test_a_feature_needs_an_input(self) -> None:
        with pytest.raises(ValueError, match="input"):
            replace(given(), inputs=())

    def test_a_name_is_taken_once(self) -> None:
        with pytest.raises(ValueError, match="breadth_above_50"):

            @feature(SPY, block="ladder", sign=1, unit="USD", rationale="none", lookback=0)
            def breadth_above_50(close: pd.Series) -> pd.Series:
                """A second one."""
                return close

    def test_what_is_refused_is_not_listed(self) -> None:
        with pytest.raises(ValueError, match="moon"):

            @feature(SPY, block="moon", sign=1, unit="USD", rationale="none", lookback=0)
            def to_the_moon(close: pd.Series) -> pd.Series:
                """Up."""
                return close

        assert "to_the_moon" not in FEATURES

    @pytest.mark.parametrize("declared", FEATURES.values(), ids=FEATURES)
    def test_every_feature_says_what_it_is(self, declared: Feature) -> None:
        assert declared.formula.endswith(".")
        assert declared.rationale.endswith(".")
        assert declared.unit
        assert declared.low < declared.high
        assert declared.release_lag == max(source.release_lag for source in declared.sources)
        assert not declared.stands_in_for or declared.stands_in_for in FEATURES

    def test_what_baselines_read_by_name_is_there(self) -> None:
        assert {
            "altcoin_volatility",
            "altcoin_momentum",
            "rise_from_low",
            "days_since_breakout",
            "altcoin_season",
        } <= FEATURES.keys()


class TestKnown:
    @pytest.mark.parametrize("series", [SPY, FED_ASSETS, HY_SPREAD, CURVE, BTC], ids=lambda series: series.name)
    def test_a_value_is_seen_from_the_end_of_its_release_lag_and_no_sooner(self, series: Series) -> None:
        seen = alone(series, rows(series, {"2020-03-04": 7.0}))
        first = pd.Timestamp("2020-03-04") + series.release_lag
        assert seen.first_valid_index() == first
        assert seen.loc[first] == 7.0

    def test_a_panel_is_seen_from_the_end_of_its_release_lag(self) -> None:
        def first(price: pd.DataFrame) -> pd.Series:
            """The first coin."""
            return price["a"]

        frame = panel({"a": 1.0}, pd.DatetimeIndex(["2020-03-04"]))
        seen = compute([given(first, COIN_PRICE)], {COIN_PRICE: frame}, DAYS)["given"]
        assert seen.first_valid_index() == pd.Timestamp("2020-03-05")

    def test_a_value_is_carried_until_it_is_stale_then_missing(self) -> None:
        seen = alone(SPY, rows(SPY, {"2020-03-04": 7.0}))
        assert seen.last_valid_index() == pd.Timestamp("2020-03-04") + SPY.stale_after

    def test_another_input_is_carried_until_it_is_stale_too(self) -> None:
        def ratio(small: pd.Series, large: pd.Series) -> pd.Series:
            """Ratio."""
            return small / large

        frames: Frames = {
            IWM: rows(IWM, {f"{day:%Y-%m-%d}": 8.0 for day in pd.bdate_range("2020-03-02", "2020-04-30")}),
            SPY: rows(SPY, {"2020-03-02": 4.0, "2020-03-03": 2.0}),
        }
        seen = compute([given(ratio, IWM, SPY)], frames, DAYS)["given"]
        assert seen.loc["2020-03-02":"2020-03-04"].tolist() == [2.0, 4.0, 4.0]
        assert seen.last_valid_index() == pd.Timestamp("2020-03-03") + SPY.stale_after

    def test_a_late_revision_of_an_older_day_says_nothing_new(self) -> None:
        versions = rows(SPY, {"2020-03-02": 1.0, "2020-03-03": 2.0})
        late = pd.DataFrame({"observed": [pd.Timestamp("2020-03-02")], "known": [pd.Timestamp("2020-03-05")], "value": [99.0]})
        seen = alone(SPY, pd.concat([versions, late], ignore_index=True))
        assert seen.loc["2020-03-02":"2020-03-06"].tolist() == [1.0, 2.0, 2.0, 2.0, 2.0]

    def test_a_revision_of_the_newest_day_counts_from_the_day_it_was_known(self) -> None:
        versions = rows(SPY, {"2020-03-03": 2.0})
        late = pd.DataFrame({"observed": [pd.Timestamp("2020-03-03")], "known": [pd.Timestamp("2020-03-05")], "value": [3.0]})
        seen = alone(SPY, pd.concat([versions, late], ignore_index=True))
        assert seen.loc["2020-03-03":"2020-03-05"].tolist() == [2.0, 2.0, 3.0]

    def test_of_two_days_known_at_once_the_later_counts(self) -> None:
        seen = rows(SPY, {"2020-03-02": 1.0, "2020-03-03": 2.0}).assign(known=pd.Timestamp("2020-03-04"))
        assert alone(SPY, seen).loc["2020-03-04"] == 2.0

    def test_a_derived_input_is_as_late_as_its_latest_part(self) -> None:
        later = Derived("later", (SPY, BTC), lambda stocks, coin: stocks + 0 * coin, "USD", 0)
        frames: Frames = {SPY: rows(SPY, {"2020-03-04": 7.0}), BTC: rows(BTC, {"2020-03-04": 1.0})}
        seen = compute([given(None, later)], frames, DAYS)["given"]
        assert seen.first_valid_index() == pd.Timestamp("2020-03-05")

    @pytest.mark.parametrize("declared", FEATURES.values(), ids=FEATURES)
    def test_without_inputs_a_feature_is_missing(self, declared: Feature) -> None:
        assert compute([declared], {}, DAYS[:5])[declared.name].isna().all()

    @pytest.mark.parametrize("declared", FEATURES.values(), ids=FEATURES)
    def test_where_every_input_is_missing_so_is_the_feature(self, declared: Feature) -> None:
        frames: dict[Series | Panel, pd.DataFrame] = {}
        for source in declared.sources:
            if isinstance(source, Panel):
                frames[source] = panel({name: np.full(len(DAYS), np.nan) for name in "abcdefgh"})
            else:
                frames[source] = rows(source, {f"{day:%Y-%m-%d}": np.nan for day in DAYS})
        assert compute([declared], frames, DAYS)[declared.name].isna().all()

    def test_a_revised_series_without_vintages_is_refused(self, simulated_home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setitem(FEATURES, "conditions", replace(given(None, FINANCIAL_CONDITIONS), name="conditions"))
        with (
            Store.open(simulated_home / "store.duckdb", read_only=True) as store,
            pytest.raises(RevisedWithoutVintages, match="NFCI"),
        ):
            build(store, DAYS[-1], start=DAYS[0])

    def test_a_revised_series_is_seen_in_the_vintage_of_the_day(self, tmp_path: Path) -> None:
        conditions = given(None, FINANCIAL_CONDITIONS)
        observed, known = ["2020-03-06", "2020-03-06", "2020-03-13"], ["2020-03-11", "2020-03-14", "2020-03-18"]
        vintages = pd.DataFrame(
            {"observed": pd.DatetimeIndex(observed), "known": pd.DatetimeIndex(known), "value": [-0.5, -0.4, -0.3]}
        )
        with Store.open(tmp_path / "store.duckdb") as store:
            store.append(Batch("vintages", "observations", vintages.assign(series="NFCI"), "alfred"), FAR)
            seen = compute([conditions], load(store, [conditions], DAYS[-1], DAYS[0]), DAYS)["given"]
        assert seen.first_valid_index() == pd.Timestamp("2020-03-11")
        assert seen.loc[["2020-03-13", "2020-03-14", "2020-03-17", "2020-03-18"]].tolist() == [-0.5, -0.4, -0.4, -0.3]


@pytest.fixture(scope="module")
def everything(simulated_home: Path) -> Frames:
    """All there is of each input on the simulated market."""
    with Store.open(simulated_home / "store.duckdb", read_only=True) as store:
        return load(store, FEATURES.values(), pd.Timestamp("2024-12-31"), pd.Timestamp("2005-01-01"))


@pytest.fixture(scope="module")
def values(everything: Frames) -> pd.DataFrame:
    """Every feature on the simulated market."""
    return compute(FEATURES.values(), everything, pd.date_range("2014-01-01", "2024-12-31", unit="us"))


LAST, AFTER = pd.Timestamp("2019-06-30"), pd.date_range("2019-06-25", "2019-12-31", unit="us")


def at_last(frames: Frames, *, missing_since: pd.Timestamp = FAR) -> Frames:
    """`frames` as far as observed by `LAST`; what was observed since a day says that the value is missing."""
    ended: dict[Series | Panel, pd.DataFrame] = {}
    for source, frame in frames.items():
        observed = pd.DatetimeIndex(frame.index if isinstance(source, Panel) else frame["observed"])
        spoilt = frame.copy()
        spoilt.loc[observed >= missing_since, slice(None) if isinstance(source, Panel) else "value"] = np.nan
        ended[source] = spoilt[observed <= LAST]
    return ended


@pytest.fixture(scope="module")
def after_the_end(everything: Frames) -> pd.DataFrame:
    """Every feature around the last day of a market."""
    return compute(FEATURES.values(), at_last(everything), AFTER)


@pytest.fixture(scope="module")
def without_the_newest(everything: Frames) -> pd.DataFrame:
    """Every feature around the last day of a market that said nothing in its last twelve days."""
    return compute(FEATURES.values(), at_last(everything, missing_since=LAST - pd.Timedelta(days=11)), AFTER)


class TestSimulated:
    @pytest.mark.parametrize("name", FEATURES)
    def test_values_lie_in_the_declared_range_and_move(self, values: pd.DataFrame, name: str) -> None:
        known = values[name].dropna()
        assert known.between(FEATURES[name].low - ROUNDING, FEATURES[name].high + ROUNDING).all()
        assert known.nunique() > 3
        assert np.isfinite(known).all()

    @pytest.mark.parametrize("name", FEATURES)
    def test_a_market_that_stops_is_heard_until_it_is_stale_and_no_longer(self, after_the_end: pd.DataFrame, name: str) -> None:
        heard = after_the_end[name].notna()
        assert heard.loc[:LAST].all()
        assert not heard.loc[LAST + FEATURES[name].inputs[0].stale_after + pd.Timedelta(days=1) :].any()

    @pytest.mark.parametrize("name", FEATURES)
    def test_what_is_said_to_be_missing_is_not_carried_over(self, without_the_newest: pd.DataFrame, name: str) -> None:
        assert without_the_newest[name].loc[LAST:].isna().all()

    @pytest.mark.parametrize("start", ["2016-03-02", "2019-09-14"])
    def test_what_is_loaded_reaches_back_far_enough(self, simulated_home: Path, values: pd.DataFrame, start: str) -> None:
        days = pd.date_range(start, periods=8, unit="us")
        with Store.open(simulated_home / "store.duckdb", read_only=True) as store:
            loaded = load(store, FEATURES.values(), days[-1], days[0])
        found = compute(FEATURES.values(), loaded, days)
        pd.testing.assert_frame_equal(found, values.loc[days], rtol=1e-7, atol=1e-9, check_freq=False)

    def test_the_catalogue_tells_all_of_it(self, simulated_home: Path) -> None:
        with Store.open(simulated_home / "store.duckdb", read_only=True) as store:
            table = build(store, pd.Timestamp("2024-12-31"), start=pd.Timestamp("2012-01-01"))
            listed = catalogue(table, store.first_observed(COIN_PRICE))
        assert listed["name"].tolist() == list(FEATURES)
        assert listed["coverage"].between(0.3, 1).all()
        assert listed["first_day"].str.fullmatch(r"\d{4}-\d{2}-\d{2}").all()
        assert listed["first_day"].between("2012-01-01", "2014-12-31").all()
        words = ["block", "name", "formula", "unit", "sources", "rationale"]
        assert (listed[words] != "").to_numpy().all()

    def test_what_is_told_as_missing_is_what_a_model_reads(self) -> None:
        """Of a model on lagged liquidity its lagged liquidity, and nothing that it doesn't read."""
        flags = {"liquidity": [True], "liquidity_lagged": [True], "breadth": [False]}
        row = Matrix(X=pd.DataFrame({"liquidity_lagged": [0.0]}), neutral=pd.DataFrame(flags))
        assert neutral_inputs(["breadth", "liquidity_lagged", "altcoin_return_90"], row) == ["liquidity_lagged"]

    def test_the_matrix_counts_what_it_sets_neutral(self, simulated_home: Path) -> None:
        with Store.open(simulated_home / "store.duckdb", read_only=True) as store:
            table = build(store, pd.Timestamp("2014-03-01"), start=pd.Timestamp("2014-03-01") - COMPOSITE_LOOKBACK)
        row = matrix(table, pd.DatetimeIndex(table.features.index[:1]))
        assert row.neutral.to_numpy().all()
        assert (row.X[list(row.neutral)] == 0).to_numpy().all()
        with pytest.raises(MissingData, match="2015-01-01"):
            matrix(table, pd.DatetimeIndex(["2015-01-01"]))


class TestKernels:
    WALK = pd.Series(np.random.default_rng(4).normal(size=400).cumsum(), pd.date_range("2019-01-01", periods=400))
    WALK[::11] = np.nan

    @pytest.mark.parametrize(
        ("kernel", "name"), [(moving_mean, "mean"), (moving_sd, "std"), (moving_max, "max"), (moving_min, "min")]
    )
    def test_moving_is_pandas_rolling_silent_where_today_is_missing(self, kernel: Callable[..., pd.Series], name: str) -> None:
        expected = getattr(self.WALK.rolling(50, min_periods=38), name)().where(self.WALK.notna())
        pd.testing.assert_series_equal(kernel(self.WALK, 50, least=38), expected, rtol=0, atol=1e-10)
        frame = pd.DataFrame({"a": self.WALK, "b": self.WALK**2})
        pd.testing.assert_series_equal(kernel(frame, 50, least=38)["a"], expected, atol=1e-10, check_names=False)

    def test_changes_are_over_calendar_time(self) -> None:
        level = pd.Series([100.0, 110.0, 121.0], pd.DatetimeIndex(["2020-01-03", "2020-01-10", "2020-04-10"]))
        assert log_change(level, weeks=13).iloc[-1] == pytest.approx(np.log(121 / 110))
        assert change(level, weeks=1).iloc[1] == 10
        assert np.isnan(change(level, weeks=13).iloc[1])

    def test_what_was_earlier_may_be_ten_days_older_and_no_more(self) -> None:
        days = pd.DatetimeIndex(["2020-01-01", "2020-01-12", "2020-01-20"])
        found = earlier(pd.Series([1.0, 2.0, 3.0], days), 8)
        assert found.isna().tolist() == [True, False, False]
        assert found.tolist()[1:] == [1.0, 2.0]
        assert np.isnan(earlier(pd.Series([1.0, 2.0], pd.DatetimeIndex(["2020-01-01", "2020-01-20"])), 8).iloc[1])

    def test_carried_ends_with_its_last_day(self) -> None:
        since, until = np.array([1, 5]), np.array([3, 9])
        np.testing.assert_array_equal(
            forward_fill(np.array([7.0, 8.0]), since, until, np.arange(11)), [np.nan, 7, 7, 7, np.nan, *[8] * 5, np.nan]
        )

    def test_few_names_speak_for_nobody(self) -> None:
        frame = panel(dict.fromkeys("abcde", 1.0), DAYS[:2])
        frame.iloc[1, 0] = np.nan
        assert cross_sectional_median(frame).tolist()[0] == 1.0
        assert np.isnan(cross_sectional_median(frame).iloc[1])
        assert np.isnan(share(frame > 0, frame.notna()).iloc[1])


class TestFormulas:
    def test_net_liquidity_takes_repo_in_billions(self) -> None:
        days = pd.DatetimeIndex(["2020-01-01", "2020-04-01"])
        assets, treasury, repo = (pd.Series(values, days) for values in ([4e6, 7e6], [4e5, 1e6], [100.0, 500.0]))
        assert net_liquidity_growth(assets, treasury, repo).iloc[1] == pytest.approx(np.log((7e6 - 1e6 - 5e5) / (4e6 - 4e5 - 1e5)))
        assert treasury_account_drawdown(treasury, assets).iloc[1] == pytest.approx(-6e5 / 7e6)

    def test_a_breakout_is_a_record_after_252_sessions_without_one(self) -> None:
        close = pd.Series(1.0, pd.bdate_range("2010-01-01", periods=900))
        close.iloc[10], close.iloc[262], close.iloc[600] = 2.0, 3.0, 4.0
        assert record_breakouts(close).tolist() == [close.index[600]], "262 came 252 sessions after 10, with 251 between"
        close.iloc[262], close.iloc[263] = 1.0, 3.0
        assert record_breakouts(close).tolist() == [close.index[263], close.index[600]]

    def test_days_since_a_breakout_are_calendar_days_and_missing_before_the_first(self) -> None:
        close = pd.Series(1.0, pd.bdate_range("2010-01-01", periods=400))
        close.iloc[0], close.iloc[300] = 2.0, 3.0
        since = days_since_breakout(close)
        assert since.iloc[:300].isna().all()
        assert since.iloc[300] == 0
        assert since.iloc[305] == (close.index[305] - close.index[300]).days

    def test_season_counts_those_that_beat_bitcoin_over_ninety_days(self) -> None:
        days = pd.date_range("2020-01-01", periods=120)
        bitcoin = pd.Series(np.linspace(1, 2, 120), days)
        price = panel({name: bitcoin ** (2.0 if name < "c" else 0.5) for name in "abcdefgh"}, days)
        coins = pd.DataFrame(1 / 8, days[[0, 31, 60]], list("abcdefgh"))
        season = altcoin_season(price, coins, bitcoin)
        assert season.iloc[:90].isna().all()
        assert season.iloc[100] == 2 / 8

    def test_season_asks_only_the_coins_of_the_last_ranking(self) -> None:
        days = pd.date_range("2020-01-01", periods=120)
        bitcoin = pd.Series(np.linspace(1, 2, 120), days)
        price = panel({name: bitcoin ** (2.0 if name < "c" else 0.5) for name in "abcdefgh"}, days)
        coins = pd.DataFrame(1 / 8, days[[0, 100]], list("abcdefgh"))
        coins.iloc[1, 0] = np.nan
        assert altcoin_season(price, coins, bitcoin).iloc[[99, 101]].tolist() == [2 / 8, 1 / 7]

    def test_the_spread_is_that_of_corwin_and_schultz(self) -> None:
        days = pd.date_range("2020-01-01", periods=40)
        high, low = np.where(np.arange(40) % 2, 103.0, 102.0), np.where(np.arange(40) % 2, 99.0, 98.0)
        beta = np.log(103 / 99) ** 2 + np.log(102 / 98) ** 2
        gamma = np.log(103 / 98) ** 2
        k = 3 - 2 * np.sqrt(2)
        alpha = (np.sqrt(2 * beta) - np.sqrt(beta)) / k - np.sqrt(gamma / k)
        expected = 2 * (np.exp(alpha) - 1) / (1 + np.exp(alpha))
        wide = dict.fromkeys("abcde", high) | {"BTC": high * 9}
        spread = altcoin_spread(panel(wide, days), panel(dict.fromkeys("abcde", low) | {"BTC": low}, days))
        assert spread.iloc[-1] == pytest.approx(max(expected, 0), abs=1e-12)
        assert expected > 0

    def test_a_range_that_is_all_spread_is_the_spread(self) -> None:
        days = pd.date_range("2020-01-01", periods=40)
        spread = altcoin_spread(panel(dict.fromkeys("abcde", 101.0), days), panel(dict.fromkeys("abcde", 99.0), days))
        assert spread.iloc[-1] == pytest.approx(0.02), "bought at 101, sold at 99, around 100"

    def test_capitulation_is_a_fall_beyond_what_was_usual_before_it_on_heavy_volume(self) -> None:
        days = pd.date_range("2020-01-01", periods=200)
        returns = np.where(np.arange(200) % 2, 0.01, -0.01)
        returns[-1] = -0.0203  # 2.02 standard deviations of the 90 days before, 1.98 with the day itself
        level, coins = pd.Series(np.exp(returns.cumsum()), days), panel(dict.fromkeys("abcde", 0.2), days[[0]])
        volume = panel(dict.fromkeys("abcde", 100.0), days)
        for traded, found in ((200.0, 1), (120.0, 0)):
            volume.iloc[-1] = traded
            assert capitulation_days(level, volume, coins).iloc[-1] == pytest.approx(found, abs=ROUNDING)

    def test_dominance_is_the_share_of_bitcoin_in_it_and_the_altcoins_there_are(self) -> None:
        days = pd.date_range("2020-01-01", periods=40)
        bitcoin, caps = pd.Series(60.0, days), panel(dict.fromkeys("abcde", 8.0), days)
        caps.loc[days[20:]] = 18.0
        assert bitcoin_dominance_change(bitcoin, caps).iloc[-1] == pytest.approx(0.4 - 0.6)
        assert bitcoin_dominance_change(bitcoin, caps * np.nan).isna().all(), "without caps BTC isn't all there is"

    def test_illiquidity_is_impact_a_dollar_against_its_own_year(self) -> None:
        days = pd.bdate_range("2018-01-01", periods=300)
        zigzag = np.where(np.arange(300) % 2, 100.0, 101.0)
        shares = np.where(np.arange(300) < 279, 1e5, 5e4) / zigzag
        found = illiquidity(panel(dict.fromkeys("abcde", zigzag), days), panel(dict.fromkeys("abcde", shares), days))
        assert found.iloc[-1] == pytest.approx(np.log(2) * (1 - 21 / 252))

    def test_rising_volume_is_a_share_of_dollars(self) -> None:
        days = pd.bdate_range("2020-01-01", periods=40)
        price = panel({name: np.linspace(10, 20, 40) if name == "a" else np.linspace(20, 10, 40) for name in "abcde"}, days)
        shares = panel({name: 1 / price[name] * (4.0 if name == "a" else 1.0) for name in "abcde"}, days)
        assert rising_volume(price, shares).iloc[-1] == pytest.approx(0.5)

    def test_a_surge_rises_on_twice_the_usual_volume(self) -> None:
        days = pd.bdate_range("2020-01-01", periods=100)
        price = panel({name: np.linspace(10, 20, 100) for name in "abcde"}, days)
        shares = panel(dict.fromkeys("abcde", 100.0), days)
        shares.iloc[-21:, 0] = 1000.0
        assert surging_names(price, shares).iloc[-22] == 0
        assert surging_names(price, shares).iloc[-1] == pytest.approx(1 / 5)

    def test_no_surges_are_not_fewer_than_none(self) -> None:
        days, rng = pd.bdate_range("2018-01-01", periods=400), np.random.default_rng(10)
        price = pd.DataFrame(100 + rng.normal(size=(400, 40)).cumsum(axis=0), days).where(rng.random((400, 40)) > 0.3)
        shares = pd.DataFrame(rng.exponential(1, price.shape), days)
        shares.iloc[250:] = 1.0
        assert surging_names(price, shares).iloc[-1] == 0, "a running sum would end a rounding below"


@pytest.fixture(scope="module")
def built(reference_home: Path) -> pd.DataFrame:
    """Every feature of the reference market since 2015."""
    with Store.open(reference_home / "store.duckdb", read_only=True) as store:
        return build(store, pd.Timestamp("2025-01-01"), start=pd.Timestamp("2015-01-01")).features


def by_observed_day(seen: pd.Series) -> pd.Series:
    """A daily feature of coins, dated a release lag earlier."""
    return seen.set_axis(pd.DatetimeIndex(seen.index) - COIN_PRICE.release_lag)


@pytest.mark.reference
class TestReference:
    def test_breadth_of_the_survivors_on_its_two_known_days(self, reference_home: Path) -> None:
        with Store.open(reference_home / "store.duckdb", read_only=True) as store:
            price = store.read_panel(replace(STOCK_PRICE, asset_class="survivor"), FAR, pd.Timestamp("2019-01-01"))
        breadth = above_mean(price, 200)
        assert breadth.loc["2020-03-23"] == pytest.approx(0.040, abs=0.005)
        assert breadth.loc["2021-02-12"] == pytest.approx(0.937, abs=0.005)

    def test_breakouts_are_found_by_rule(self, reference_home: Path) -> None:
        with Store.open(reference_home / "store.duckdb", read_only=True) as store:
            close = store.read(RUT, pd.Timestamp("2024-12-31")).set_index("observed")["value"]
        assert close.loc["2021-11-08"] == pytest.approx(2442.74, abs=0.005)
        assert close.loc["2021-11-08"] == close.loc[:"2024-06-30"].max()
        assert [f"{day:%Y-%m-%d}" for day in record_breakouts(close)] == [
            "1989-06-02",
            "1991-10-16",
            "1995-05-16",
            "1999-12-29",
            "2004-04-05",
            "2011-04-27",
            "2013-01-02",
            "2016-11-14",
            "2020-11-13",
        ]

    def test_the_treasury_account_peaks_in_july_2020(self, reference_home: Path) -> None:
        with Store.open(reference_home / "store.duckdb", read_only=True) as store:
            account = store.read(TREASURY_ACCOUNT, FAR).set_index("observed")["value"]
        assert account.idxmax() == pd.Timestamp("2020-07-29")
        assert account.max() == pytest.approx(1.817e6, abs=1e3)

    def test_altcoin_season_is_that_of_an_independent_index(self, reference: Path, built: pd.DataFrame) -> None:
        theirs = pd.read_csv(reference / "alt_season_cryptolean.csv", parse_dates=["date"], index_col="date")[
            "alt_season_cryptolean"
        ]
        both = pd.concat([by_observed_day(built["altcoin_season"]), theirs], axis=1).dropna()
        assert len(both) > 1900
        assert both.corr().to_numpy()[0, 1] >= 0.95

    @pytest.mark.parametrize(
        ("first", "last"),
        [("2017-03-22", "2017-08-02"), ("2018-01-01", "2018-03-16"), ("2021-03-23", "2021-06-20"), ("2024-12-02", "2024-12-08")],
    )
    def test_known_altcoin_seasons_begin_and_end_on_their_days(self, built: pd.DataFrame, first: str, last: str) -> None:
        season = by_observed_day(built["altcoin_season"]) >= 0.75
        assert season.loc[[first, last]].all()
        assert season.loc[first:last].mean() > 0.9
        around = [pd.Timestamp(first) - pd.Timedelta(days=1), pd.Timestamp(last) + pd.Timedelta(days=1)]
        assert not season.loc[around].any()

    def test_no_altcoin_season_came_in_the_bear_market_of_2018(self, built: pd.DataFrame) -> None:
        assert by_observed_day(built["altcoin_season"]).loc["2018-06-01":"2018-12-31"].max() < 0.75

    def test_values_lie_in_the_declared_range(self, built: pd.DataFrame) -> None:
        for name, declared in FEATURES.items():
            known = built[name].dropna()
            assert len(known) > 1500, name
            assert known.between(declared.low - ROUNDING, declared.high + ROUNDING).all(), name

    def test_base_rates_are_near_those_of_the_plan(self, reference_home: Path) -> None:
        with Store.open(reference_home / "store.duckdb", read_only=True) as store:
            level = load_index(store, pd.Timestamp("2025-01-01")).level.dropna()
        sundays = pd.date_range("2015-01-01", "2024-12-31", freq="W-SUN")
        found = outcomes(
            level,
            sundays,
            kind="first_passage",
            threshold=0.30,
            horizons=(30, 60, 90),
            release_lag=COIN_PRICE.release_lag,
            until=pd.Timestamp("2025-01-01"),
        )
        assert found.events.notna().sum().min() > 450
        assert found.events.mean().tolist() == pytest.approx([0.24, 0.39, 0.48], abs=0.05)
