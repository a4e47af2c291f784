"""A composite: trailing z-scores, declared signs, a quorum, standardised once more. Checked against the slow way."""

from typing import Any

import numpy as np
import pandas as pd
import pytest

import features.build  # noqa: F401  (completes FEATURES)
from features.composites import block_mean, composites, trailing_z
from features.registry import BLOCKS, FEATURES, Feature
from sources.series import SPY

DAYS = pd.date_range("2012-01-01", periods=2000)


def declared(name: str, sign: int = 1, block: str = "ladder", **more: Any) -> Feature:
    """A feature whose values the test gives."""

    def formula(close: pd.Series) -> pd.Series:
        """As given."""
        return close

    return Feature(name, formula, (SPY,), block, sign, "unit", "none", 0, **more)


def walks(names: list[str], seed: int = 0) -> pd.DataFrame:
    """Slow walks, one a name."""
    steps = np.random.default_rng(seed).normal(size=(len(DAYS), len(names)))
    return pd.DataFrame(steps.cumsum(axis=0), DAYS, names)


def plain_z(values: pd.Series, floor: float) -> pd.Series:
    """The definition, day by day in pandas."""
    past = values.rolling(1095, min_periods=365)
    return ((values - past.mean()) / past.std().clip(lower=floor)).clip(-3, 3)


def test_a_composite_is_the_definition() -> None:
    members = [declared("up"), declared("down", -1), declared("state", 0)]
    values = walks(["up", "down", "state"])
    values.loc[DAYS[1500:1600], "up"] = np.nan
    scores = pd.DataFrame({"up": plain_z(values["up"], 1e-4), "down": -plain_z(values["down"], 1e-4)})
    expected = plain_z(scores.mean(axis=1), 0.1)
    found = composites(values, members)["ladder"]
    pd.testing.assert_series_equal(found, expected, check_names=False, rtol=0, atol=1e-9)
    assert found.notna().sum() > 1000


def test_a_year_of_values_is_needed_before_the_first_score() -> None:
    values = walks(["a"])
    first = trailing_z(values, pd.Series({"a": 1e-4}))["a"].first_valid_index()
    assert first == DAYS[364]
    assert composites(values, [declared("a")])["ladder"].first_valid_index() == DAYS[364 + 364]


def test_scores_end_at_three() -> None:
    values = walks(["a"])
    values.iloc[1500:] = 1e6
    assert trailing_z(values, pd.Series({"a": 1e-4}))["a"].iloc[1500] == 3


def test_a_feature_that_stands_still_is_divided_by_its_floor() -> None:
    values = pd.DataFrame({"a": 5.0}, DAYS)
    values.iloc[-1] = 5.001
    assert trailing_z(values, pd.Series({"a": 0.1}))["a"].iloc[-1] == pytest.approx(0.00999, rel=1e-3)
    assert (trailing_z(values, pd.Series({"a": 0.1}))["a"].iloc[400:-1] == 0).all()


def test_a_composite_that_stands_still_is_divided_by_a_tenth() -> None:
    values = pd.DataFrame({"a": 5.0}, DAYS)
    values.iloc[-1] = 5.001
    found = composites(values, [declared("a", sd_floor=0.1)])["ladder"]
    assert found.iloc[-1] == pytest.approx(0.0999, rel=1e-2)


def test_what_is_missing_today_has_no_score_today() -> None:
    values = walks(["a"])
    values.iloc[1000] = np.nan
    scores = trailing_z(values, pd.Series({"a": 1e-4}))["a"]
    assert np.isnan(scores.iloc[1000])
    assert np.isfinite(scores.iloc[1001])


def test_half_of_the_members_must_be_there() -> None:
    members = [declared(name) for name in "abcde"]
    scores = pd.DataFrame(1.0, DAYS[:3], list("abcde"))
    scores.iloc[1, :2] = np.nan
    scores.iloc[2, :3] = np.nan
    means = block_mean(scores, members)
    assert means.iloc[:2].tolist() == [1.0, 1.0]
    assert np.isnan(means.iloc[2])


def test_a_stand_in_counts_only_where_its_principal_is_missing() -> None:
    members = [declared("names", -1), declared("funds", -1, stands_in_for="names"), declared("other")]
    scores = pd.DataFrame({"names": [1.0, np.nan, np.nan], "funds": [5.0, 5.0, np.nan], "other": [0.0, 0.0, 0.0]}, DAYS[:3])
    assert block_mean(scores, members).tolist() == [-0.5, -2.5, 0.0]


def test_a_state_belongs_to_no_composite() -> None:
    members = [declared("a"), declared("state", 0)]
    scores = pd.DataFrame({"a": [1.0, np.nan], "state": [np.nan, 9.0]}, DAYS[:2])
    means = block_mean(scores, members)
    assert means.iloc[0] == 1.0
    assert np.isnan(means.iloc[1])


def test_a_block_without_members_is_missing() -> None:
    found = composites(walks(["a"]), [declared("a")])
    assert list(found) == list(BLOCKS)
    assert found.drop(columns="ladder").isna().all(axis=None)


def test_nothing_is_learnt_from_later_days() -> None:
    members, values = [declared("a"), declared("b", -1)], walks(["a", "b"])
    pd.testing.assert_frame_equal(
        composites(values.iloc[:1500], members), composites(values, members).iloc[:1500], check_exact=True
    )


@pytest.mark.parametrize("name", [name for name, feature in FEATURES.items() if feature.stands_in_for])
def test_a_stand_in_agrees_with_its_principal_on_what_is_expected(name: str) -> None:
    feature = FEATURES[name]
    principal = FEATURES[feature.stands_in_for]
    assert (feature.block, feature.sign, feature.unit) == (principal.block, principal.sign, principal.unit)
