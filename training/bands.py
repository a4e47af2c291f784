"""Intervals of any sum or ratio of sums over the same rows: one set of block-bootstrap draws, limits widened as measured."""

from dataclasses import dataclass

import numpy as np

from training.bootstrap import WIDENING, Floats, Ints, block_length, block_starts, block_sums

DRAWS = 2_000
COVERAGE = 0.95


@dataclass(frozen=True)
class Band:
    """Values (m,) with their 95 % limits (m,), each for itself; NaN where there are too few rows for limits."""

    value: Floats
    low: Floats
    high: Floats


@dataclass(frozen=True)
class Blocks:
    """Rows resampled in blocks, the same for all that is summed over them; `starts` (draws, blocks) is None for too few rows."""

    starts: Ints | None
    block: int

    def sums(self, values: Floats) -> Floats:
        """Sums (draws, m) of resampled rows of `values` (n, m); NaN (1, m) where rows are too few."""
        if self.starts is None:
            return np.full((1, values.shape[1]), np.nan)
        return np.stack([block_sums(column, self.starts, self.block) for column in np.ascontiguousarray(values.T)], axis=1)


def blocks_of(differences: Floats, horizon_days: int, seed: int, draws: int = DRAWS) -> Blocks:
    """Draws for rows with these loss differences (n,); none where there are fewer than two blocks."""
    block, n = block_length(differences, horizon_days), len(differences)
    starts = block_starts(n, block, draws, np.random.default_rng(seed)) if n >= 2 * block else None
    return Blocks(starts, block)


def band(value: Floats, resampled: Floats) -> Band:
    """Percentile limits of resampled values (draws, m), moved away from the estimate (m,) by `WIDENING`."""
    low, high = np.quantile(resampled, [(1 - COVERAGE) / 2, (1 + COVERAGE) / 2], axis=0)
    return Band(value, value + WIDENING * (low - value), value + WIDENING * (high - value))
