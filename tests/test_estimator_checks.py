"""scikit-learn's own checks of every estimator."""

from typing import Any

import numpy as np
import pytest
from sklearn.base import BaseEstimator, clone
from sklearn.utils.estimator_checks import parametrize_with_checks

from models.boosted import Boosted
from models.hazard import Hazard
from models.logit import RidgeLogit
from models.passage import Passage
from models.pool import Pool
from models.random_walk import RandomWalk
from models.rules import Climatology, ConditionalRate
from models.volatility import Volatility


class AnyLabel:
    """The checks feed labels 0, 1, 2 …; ours take 0, 1 and NaN only, so here labels above 0 are events. The rest is untouched."""

    def fit(self, X: Any, y: Any, sample_weight: Any = None) -> Any:
        events = y if y is None else (np.asarray(y) > 0).astype(float)
        return super().fit(X, events, sample_weight)


class AnyBoosted(AnyLabel, Boosted): ...


class AnyClimatology(AnyLabel, Climatology): ...


class AnyConditionalRate(AnyLabel, ConditionalRate): ...


class AnyHazard(AnyLabel, Hazard): ...


class AnyPassage(AnyLabel, Passage): ...


class AnyPool(AnyLabel, Pool): ...


class AnyRandomWalk(AnyLabel, RandomWalk): ...


class AnyRidgeLogit(AnyLabel, RidgeLogit): ...


class AnyVolatility(AnyLabel, Volatility): ...


CHECKED = [
    AnyClimatology(),
    AnyRandomWalk(horizons=(60,)),
    AnyVolatility(horizons=(60,)),
    AnyPassage(horizons=(60,)),
    AnyPassage(horizons=(60,), terminal=True),
    AnyPool(horizons=(60,)),
    AnyConditionalRate(threshold=0.0),
    AnyHazard(),
    AnyRidgeLogit(),
    AnyRidgeLogit(standardise=True),
    AnyBoosted(trees=5, leaf_rows=5),
]


@parametrize_with_checks(CHECKED)
def test_scikit_learn_convention(estimator: BaseEstimator, check: Any) -> None:
    check(estimator)


@pytest.mark.parametrize("label", [2, -1, 0.5])
def test_labels_other_than_0_and_1_are_refused(label: float) -> None:
    with pytest.raises(ValueError, match=f"holds? {label:g}"):
        Hazard().fit(np.zeros((3, 1)), [0, 1, label])


def test_constructor_parameters_survive_a_clone() -> None:
    model = RandomWalk(threshold=0.2, horizons=(7, 14), terminal=True)
    assert clone(model).get_params() == {"threshold": 0.2, "horizons": (7, 14), "terminal": True}
