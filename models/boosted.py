"""Monotone gradient boosting: interactions and thresholds, with the declared signs as constraints."""

import numpy as np
from scipy.special import expit, logit
from sklearn.ensemble import HistGradientBoostingClassifier

from core.arrays import Floats
from models.base import HorizonModel, base_rates
from models.parallel import one_thread, run_in_parallel

FEATURE, THRESHOLD, LEFT, RIGHT, VALUE = range(5)
CERTAIN = 1e-6
WORTH_SPREADING = 8


class Boosted(HorizonModel):
    """Gradient-boosted trees, one ensemble a horizon, in which no input can lower P by rising: composites are signed.

    Small on purpose: `trees` trees of `leaves` leaves, at least `leaf_rows` rows in each (60 weekly rows are about 7 independent
    60-day windows), a slow `learning_rate`, `l2`, and inputs cut into `bins`. Nothing is random. A horizon whose known outcomes are
    all alike gets their rate. The trees are kept as a table of numbers, so that what is saved holds nothing but arrays. A refit
    takes about 0.1 s on ten years of weeks: 200 draws take 10 s or more on two processes, those of the other models 0.1 s.
    """

    slow = True

    def __init__(
        self,
        trees: int = 60,
        leaves: int = 4,
        leaf_rows: int = 60,
        learning_rate: float = 0.05,
        l2: float = 10.0,
        bins: int = 32,
        ordered: bool = True,
    ) -> None:
        self.trees = trees
        self.leaves = leaves
        self.leaf_rows = leaf_rows
        self.learning_rate = learning_rate
        self.l2 = l2
        self.bins = bins
        self.ordered = ordered

    def _solve(self, inputs: Floats, outcomes: Floats, weights: Floats) -> Floats:
        refits = [(inputs, outcomes, row) for row in weights]
        if len(refits) > WORTH_SPREADING:
            return np.stack(list(run_in_parallel(self._refit, refits)))
        with one_thread():
            return np.stack([self._refit(*refit) for refit in refits])

    def _answer(self, inputs: Floats, parameters: Floats) -> Floats:
        horizons = parameters.reshape(len(parameters), -1, 1 + self._table_size())
        per_draw = [np.column_stack([self._probability(inputs, ensemble) for ensemble in draw]) for draw in horizons]
        return np.stack(per_draw)

    def _probability(self, inputs: Floats, ensemble: Floats) -> Floats:
        trees = ensemble[1:].reshape(self.trees, -1, 5)
        log_odds = np.full(len(inputs), ensemble[0])
        for tree in trees:
            log_odds += leaf_values(inputs, tree, self.leaves - 1)
        return expit(log_odds)

    def _refit(self, inputs: Floats, outcomes: Floats, weights: Floats) -> Floats:
        return np.concatenate([self._fit_horizon(inputs, outcome, weights) for outcome in outcomes.T])

    def _fit_horizon(self, inputs: Floats, outcome: Floats, weights: Floats) -> Floats:
        """Starting log-odds and the trees of one horizon, flat."""
        used = ~np.isnan(outcome) & (weights > 0)
        if len(np.unique(outcome[used])) < 2:
            rate = base_rates(outcome[:, None], weights[None])[0]
            return np.concatenate([logit(np.clip(rate, CERTAIN, 1 - CERTAIN)), np.zeros(self._table_size())])
        rows, share = repeated(np.flatnonzero(used), weights[used])
        fitted = self._ensemble(inputs.shape[1]).fit(inputs[rows], outcome[rows], share)
        tables = [tree_table(predictor.nodes, 2 * self.leaves - 1) for (predictor,) in fitted._predictors]
        return np.concatenate([fitted._baseline_prediction.ravel(), np.ravel(tables)])

    def _ensemble(self, columns: int) -> HistGradientBoostingClassifier:
        return HistGradientBoostingClassifier(
            max_iter=self.trees,
            max_leaf_nodes=self.leaves,
            min_samples_leaf=self.leaf_rows,
            learning_rate=self.learning_rate,
            l2_regularization=self.l2,
            max_bins=self.bins,
            monotonic_cst=np.ones(columns, dtype=int),
            early_stopping=False,
            random_state=0,
        )

    def _table_size(self) -> int:
        return self.trees * (2 * self.leaves - 1) * 5


def repeated(rows: np.ndarray, weights: Floats) -> tuple[np.ndarray, Floats | None]:
    """Rows repeated as often as their weights say, where those are counts (ten times as quick); else rows and weights."""
    counts = weights.astype(int)
    return (np.repeat(rows, counts), None) if (counts == weights).all() else (rows, weights)


def tree_table(nodes: np.ndarray, size: int) -> Floats:
    """A tree's nodes (size, 5): feature, threshold, left, right, value; a leaf leads to itself."""
    table = np.zeros((size, 5))
    here = np.arange(len(nodes))
    leaf = nodes["is_leaf"].astype(bool)
    table[: len(nodes), FEATURE] = nodes["feature_idx"]
    table[: len(nodes), THRESHOLD] = nodes["num_threshold"]
    table[: len(nodes), LEFT] = np.where(leaf, here, nodes["left"])
    table[: len(nodes), RIGHT] = np.where(leaf, here, nodes["right"])
    table[: len(nodes), VALUE] = nodes["value"]
    return table


def leaf_values(inputs: Floats, tree: Floats, depth: int) -> Floats:
    """Value (n,) of the leaf each row of inputs falls into."""
    rows, node = np.arange(len(inputs)), np.zeros(len(inputs), dtype=int)
    feature, left, right = tree[:, [FEATURE, LEFT, RIGHT]].astype(int).T
    for _ in range(depth):
        node = np.where(inputs[rows, feature[node]] <= tree[node, THRESHOLD], left[node], right[node])
    return tree[node, VALUE]
