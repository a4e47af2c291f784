"""Formulas say what they claim, on what was known by then, and stay silent where nothing was."""

from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from features.breadth import above_mean
from features.breakout import days_since_breakout, record_breakouts
from features.builder import COMPOSITE_LOOKBACK, build, compute, matrix
from features.catalogue import catalogue
from features.crypto_state import altcoin_season, altcoin_spread
from features.index import load_index
from features.kernels import carried, change, earlier, log_change, middle, moving_max, moving_mean, moving_min, moving_sd, share
from features.liquidity import illiquidity, net_liquidity_growth, treasury_account_drawdown
from features.registry import FEATURES, Derived, Feature, feature
from features.volume import rising_volume, surging_names
from sources.errors import MissingData, RevisedWithoutVintages
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
from training.outcome import outcomes

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
        seen = compute([given(None, series)], {series: rows(series, {"2020-03-04": 7.0})}, DAYS)["given"]
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
        seen = compute([given(None, SPY)], {SPY: rows(SPY, {"2020-03-04": 7.0})}, DAYS)["given"]
        assert seen.last_valid_index() == pd.Timestamp("2020-03-04") + SPY.stale_after

    def test_another_input_is_carried_until_it_is_stale_too(self) -> None:
        def ratio(small: pd.Series, large: pd.Series) -> pd.Series:
            """Ratio."""
            return small / large

        frames = {
            IWM: rows(IWM, {f"{day:%Y-%m-%d}": 8.0 for day in pd.bdate_range("2020-03-02", "2020-04-30")}),
            SPY: rows(SPY, {"2020-03-02": 4.0, "2020-03-03": 2.0}),
        }
        seen = compute([given(ratio, IWM, SPY)], frames, DAYS)["given"]
        assert seen.loc["2020-03-02":"2020-03-04"].tolist() == [2.0, 4.0, 4.0]
        assert seen.last_valid_index() == pd.Timestamp("2020-03-03") + SPY.stale_after

    def test_a_late_revision_of_an_older_day_says_nothing_new(self) -> None:
        versions = rows(SPY, {"2020-03-02": 1.0, "2020-03-03": 2.0})
        late = pd.DataFrame({"observed": [pd.Timestamp("2020-03-02")], "known": [pd.Timestamp("2020-03-05")], "value": [99.0]})
        seen = compute([given(None, SPY)], {SPY: pd.concat([versions, late], ignore_index=True)}, DAYS)["given"]
        assert seen.loc["2020-03-02":"2020-03-06"].tolist() == [1.0, 2.0, 2.0, 2.0, 2.0]

    def test_a_revision_of_the_newest_day_counts_from_the_day_it_was_known(self) -> None:
        versions = rows(SPY, {"2020-03-03": 2.0})
        late = pd.DataFrame({"observed": [pd.Timestamp("2020-03-03")], "known": [pd.Timestamp("2020-03-05")], "value": [3.0]})
        seen = compute([given(None, SPY)], {SPY: pd.concat([versions, late], ignore_index=True)}, DAYS)["given"]
        assert seen.loc["2020-03-03":"2020-03-05"].tolist() == [2.0, 2.0, 3.0]

    def test_of_two_days_known_at_once_the_later_counts(self) -> None:
        seen = rows(SPY, {"2020-03-02": 1.0, "2020-03-03": 2.0}).assign(known=pd.Timestamp("2020-03-04"))
        assert compute([given(None, SPY)], {SPY: seen}, DAYS)["given"].loc["2020-03-04"] == 2.0

    def test_a_derived_input_is_as_late_as_its_latest_part(self) -> None:
        later = Derived("later", (SPY, BTC), lambda stocks, coin: stocks + 0 * coin, "USD", 0)
        frames = {SPY: rows(SPY, {"2020-03-04": 7.0}), BTC: rows(BTC, {"2020-03-04": 1.0})}
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


@pytest.fixture(scope="module")
def values(simulated_home: Path) -> pd.DataFrame:
    """Every feature on the simulated market."""
    with Store.open(simulated_home / "store.duckdb", read_only=True) as store:
        return build(store, pd.Timestamp("2024-12-31"), start=pd.Timestamp("2014-01-01")).features


class TestSimulated:
    @pytest.mark.parametrize("name", FEATURES)
    def test_values_lie_in_the_declared_range_and_move(self, values: pd.DataFrame, name: str) -> None:
        known = values[name].dropna()
        assert known.between(FEATURES[name].low - ROUNDING, FEATURES[name].high + ROUNDING).all()
        assert known.nunique() > 3
        assert np.isfinite(known).all()

    def test_the_catalogue_tells_all_of_it(self, simulated_home: Path) -> None:
        with Store.open(simulated_home / "store.duckdb", read_only=True) as store:
            listed = catalogue(store, pd.Timestamp("2024-12-31"))
        assert listed["name"].tolist() == list(FEATURES)
        assert listed["coverage"].between(0.3, 1).all()
        assert listed["first_day"].str.fullmatch(r"\d{4}-\d{2}-\d{2}").all()
        assert listed["first_day"].between("2012-01-01", "2014-12-31").all()
        text = listed.drop(columns="reference").select_dtypes("str")
        assert (text != "").all(axis=None)

    def test_the_matrix_counts_what_it_sets_neutral(self, simulated_home: Path) -> None:
        with Store.open(simulated_home / "store.duckdb", read_only=True) as store:
            table = build(store, pd.Timestamp("2014-03-01"), start=pd.Timestamp("2014-03-01") - COMPOSITE_LOOKBACK)
        row = matrix(table, table.features.index[:1])
        assert row.neutral.all(axis=None)
        assert (row.X[list(row.neutral)] == 0).all(axis=None)
        with pytest.raises(MissingData, match="2015-01-01"):
            matrix(table, pd.DatetimeIndex(["2015-01-01"]))


class TestKernels:
    WALK = pd.Series(np.random.default_rng(4).normal(size=400).cumsum(), pd.date_range("2019-01-01", periods=400)).where(
        lambda series: np.arange(len(series)) % 11 > 0
    )

    @pytest.mark.parametrize(
        ("kernel", "name"), [(moving_mean, "mean"), (moving_sd, "std"), (moving_max, "max"), (moving_min, "min")]
    )
    def test_moving_is_pandas_rolling_silent_where_today_is_missing(self, kernel: object, name: str) -> None:
        expected = getattr(self.WALK.rolling(50, min_periods=38), name)().where(self.WALK.notna())
        pd.testing.assert_series_equal(kernel(self.WALK, 50, least=38), expected, rtol=0, atol=1e-10)  # type: ignore[operator]
        frame = pd.DataFrame({"a": self.WALK, "b": self.WALK**2})
        pd.testing.assert_series_equal(kernel(frame, 50, least=38)["a"], expected, atol=1e-10, check_names=False)  # type: ignore[operator]

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
            carried(np.array([7.0, 8.0]), since, until, np.arange(11)), [np.nan, 7, 7, 7, np.nan, *[8] * 5, np.nan]
        )

    def test_few_names_speak_for_nobody(self) -> None:
        frame = panel(dict.fromkeys("abcde", 1.0), DAYS[:2])
        frame.iloc[1, 0] = np.nan
        assert middle(frame).tolist()[0] == 1.0
        assert np.isnan(middle(frame).iloc[1])
        assert np.isnan(share(frame > 0, frame.notna()).iloc[1])


class TestFormulas:
    def test_net_liquidity_takes_repo_in_billions(self) -> None:
        days = pd.DatetimeIndex(["2020-01-01", "2020-04-01"])
        assets, treasury, repo = (pd.Series(values, days) for values in ([4e6, 7e6], [4e5, 1e6], [100.0, 500.0]))
        assert net_liquidity_growth(assets, treasury, repo).iloc[1] == pytest.approx(np.log((7e6 - 1e6 - 5e5) / (4e6 - 4e5 - 1e5)))
        assert treasury_account_drawdown(treasury, assets).iloc[1] == pytest.approx(-6e5 / 7e6)

    def test_a_breakout_is_a_record_after_252_sessions_without_one(self) -> None:
        close = pd.Series(1.0, pd.bdate_range("2010-01-01", periods=900))
        close.iloc[[10, 262, 600]] = [2.0, 3.0, 4.0]
        assert record_breakouts(close).tolist() == [close.index[600]], "262 came 252 sessions after 10, with 251 between"
        close.iloc[262], close.iloc[263] = 1.0, 3.0
        assert record_breakouts(close).tolist() == [close.index[263], close.index[600]]

    def test_days_since_a_breakout_are_calendar_days_and_missing_before_the_first(self) -> None:
        close = pd.Series(1.0, pd.bdate_range("2010-01-01", periods=400))
        close.iloc[[0, 300]] = [2.0, 3.0]
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

    def test_illiquidity_is_impact_a_dollar_against_its_own_year(self) -> None:
        days = pd.bdate_range("2018-01-01", periods=300)
        zigzag = np.where(np.arange(300) % 2, 100.0, 101.0)
        shares = np.where(np.arange(300) < 279, 1000.0, 500.0)
        found = illiquidity(panel(dict.fromkeys("abcde", zigzag), days), panel(dict.fromkeys("abcde", shares), days))
        assert found.iloc[-1] == pytest.approx(np.log(2) * (1 - 21 / 252), abs=1e-3)

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
        assert 0.1 < surging_names(price, shares).iloc[-1] < 0.2 + ROUNDING


@pytest.fixture(scope="module")
def built(reference_home: Path) -> pd.DataFrame:
    """Every feature of the reference market since 2015."""
    with Store.open(reference_home / "store.duckdb", read_only=True) as store:
        return build(store, pd.Timestamp("2025-01-01"), start=pd.Timestamp("2015-01-01")).features


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
            close = store.read(RUT, FAR).set_index("observed")["value"]
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
        ] + [f"{day:%Y-%m-%d}" for day in record_breakouts(close) if day.year >= 2024]

    def test_the_treasury_account_peaks_in_july_2020(self, reference_home: Path) -> None:
        with Store.open(reference_home / "store.duckdb", read_only=True) as store:
            account = store.read(TREASURY_ACCOUNT, FAR).set_index("observed")["value"]
        assert account.idxmax() == pd.Timestamp("2020-07-29")
        assert account.max() == pytest.approx(1.817e6, abs=1e3)

    def test_altcoin_seasons_are_those_of_an_independent_index(self, reference: Path, built: pd.DataFrame) -> None:
        theirs = pd.read_csv(reference / "alt_season_cryptolean.csv", parse_dates=["date"]).set_index("date").iloc[:, 0]
        both = pd.concat([built["altcoin_season"].shift(-1), theirs], axis=1).dropna()
        assert len(both) > 1500
        assert both.corr().iloc[0, 1] >= 0.95
        season = built["altcoin_season"]
        assert (season.loc["2017-04-01":"2017-05-31"] >= 0.75).mean() > 0.8
        assert season.loc["2018-06-01":"2018-12-31"].max() < 0.75

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
        assert found.events.mean().tolist() == pytest.approx([0.24, 0.39, 0.48], abs=0.05)
