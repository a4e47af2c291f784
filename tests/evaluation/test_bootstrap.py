"""Intervals: the same as arch's, from prefix sums."""

import numpy as np
import pytest
from arch.bootstrap import CircularBlockBootstrap, StationaryBootstrap, optimal_block_length

from evaluation.bootstrap import (
    WIDENING,
    block_length,
    block_starts,
    block_sums,
    block_weights,
    difference_interval,
    horizon_weeks,
    politis_white,
    random_length_blocks,
    skill_interval,
    span_sums,
    stationary_blocks,
)


def losses(n: int = 347, seed: int = 3) -> tuple[np.ndarray, np.ndarray]:
    rng = np.random.default_rng(seed)
    return rng.random(n), 0.9 * rng.random(n) + 0.1


@pytest.mark.parametrize(("n", "block"), [(347, 9), (360, 9), (52, 13), (20, 20), (31, 1)])
def test_resampled_sums_equal_those_of_arch_draw_by_draw(n: int, block: int) -> None:
    loss, reference = losses(n)
    arch = CircularBlockBootstrap(block, loss, reference, seed=np.random.default_rng(5))
    expected = arch.apply(lambda mine, theirs: np.array([1 - mine.sum() / theirs.sum()]), reps=200).ravel()
    starts = block_starts(n, block, 200, np.random.default_rng(5))
    ours = 1 - block_sums(loss, starts, block) / block_sums(reference, starts, block)
    np.testing.assert_allclose(ours, expected, rtol=0, atol=1e-12)


def test_the_interval_is_the_percentiles_of_arch_moved_out_by_the_widening() -> None:
    loss, reference = losses()
    block = block_length(reference - loss, 60)
    arch = CircularBlockBootstrap(block, loss, reference, seed=np.random.default_rng(7))
    expected = arch.conf_int(lambda mine, theirs: 1 - mine.sum() / theirs.sum(), reps=500, method="percentile").ravel()
    found = skill_interval(loss, reference, 60, seed=7, draws=500)
    assert found.value == pytest.approx(1 - loss.sum() / reference.sum(), abs=1e-14)
    np.testing.assert_allclose([found.low, found.high], found.value + WIDENING * (expected - found.value), atol=1e-12)


@pytest.mark.parametrize(("n", "block"), [(347, 9), (52, 13), (20, 3)])
def test_stationary_sums_equal_those_of_arch_on_its_own_draws(n: int, block: int) -> None:
    values = losses(n)[0]
    arch = StationaryBootstrap(block, np.arange(n), seed=np.random.default_rng(5))
    rows = np.stack([data[0][0] for data, _ in [(draw, None) for draw in arch.bootstrap(100)]])
    begins = np.diff(rows, axis=1, prepend=rows[:, :1] - 2) % n != 1
    for drawn, begun in zip(rows, begins, strict=True):
        starts, at = drawn[begun], np.flatnonzero(begun)
        lengths = np.diff(at, append=n)
        np.testing.assert_allclose(span_sums(values, starts[None], lengths[None]), values[drawn].sum(), rtol=0, atol=1e-12)


def test_stationary_blocks_fill_each_draw_and_have_the_mean_asked_for() -> None:
    starts, lengths = stationary_blocks(400, 9, 2_000, np.random.default_rng(3))
    assert (lengths.sum(axis=1) == 400).all()
    assert starts.min() == 0
    assert starts.max() == 399
    inner = lengths[:, :20]
    assert inner.mean() == pytest.approx(9, rel=0.03)


def test_both_bootstraps_agree_and_the_automatic_length_is_archs() -> None:
    loss, reference = losses()
    one = skill_interval(loss, reference, 60, seed=7)
    other = skill_interval(loss, reference, 60, seed=7, resample=random_length_blocks)
    assert one.value == other.value
    assert (other.low, other.high) == pytest.approx((one.low, one.high), abs=0.02)
    slow = np.cumsum(loss - loss.mean())
    assert politis_white(slow) == float(optimal_block_length(slow)["circular"].iloc[0])
    assert np.isnan(politis_white(np.ones(50)))


def test_weights_count_the_rows_of_the_same_draws() -> None:
    values = losses(101)[0]
    weights = block_weights(101, 9, 50, np.random.default_rng(1))
    starts = block_starts(101, 9, 50, np.random.default_rng(1))
    assert (weights.sum(axis=1) == 101).all()
    np.testing.assert_allclose(weights @ values, block_sums(values, starts, 9), atol=1e-12)


def test_a_block_is_at_least_as_long_as_the_horizon() -> None:
    noise = np.random.default_rng(0).normal(size=300)
    assert [horizon_weeks(days) for days in (30, 60, 90)] == [5, 9, 13]
    assert [block_length(noise, days) for days in (30, 60, 90)] == [5, 9, 13]
    assert block_length(np.cumsum(noise), 30) > 5


def test_equal_forecasts_have_no_skill_and_no_spread() -> None:
    loss, _ = losses()
    interval = skill_interval(loss, loss, 60, seed=7)
    assert (interval.value, interval.low, interval.high) == (0, 0, 0)


@pytest.mark.parametrize("n", [0, 1, 17])
def test_too_few_rows_have_no_limits(n: int) -> None:
    loss, reference = (values[:n] for values in losses())
    for interval in (skill_interval(loss, reference, 60, seed=7), difference_interval(loss, reference, 60, seed=7)):
        assert np.isnan([interval.low, interval.high]).all()
        assert np.isnan(interval.value) == (n == 0)


def test_a_better_forecast_has_a_positive_difference() -> None:
    _, reference = losses()
    interval = difference_interval(reference - 0.05 * reference, reference, 60, seed=7)
    assert interval.value == pytest.approx(0.05 * reference.mean())
    assert 0 < interval.low < interval.value < interval.high


def test_the_same_seed_gives_the_same_interval_and_another_a_close_one() -> None:
    first, again, other = (skill_interval(*losses(), 60, seed=seed) for seed in (7, 7, 8))
    assert first == again != other
    assert first.low == pytest.approx(other.low, abs=0.01)
