"""When a cluster pays: trees and simulated markets beside one logit, on this process, this machine's cores and two workers."""

from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager
from functools import partial
from typing import Any

import numpy as np
import pandas as pd
import pytest
from joblib import parallel_config
from test_nulls_speed import FIRST, market  # noqa: F401  (a fixture)

from models.boosted import Boosted
from models.hazard import Hazard
from models.parallel import engine, run_in_parallel
from studies.power import Study, line_of
from training.dataset import Outcomes
from training.null_tests import NullTask, shift_null
from training.walk_forward import forecast, quarters, usable

HOWS = ("one process", "every core", "two workers")
STUDY = Study(markets=4, years=(6,), strengths=(1.0,), lag_weeks=8, seed=7)
How = Callable[[], AbstractContextManager[None]]


@pytest.fixture(scope="module")
def engines() -> Iterator[dict[str, How]]:
    """Each way to compute, by name; the workers are processes of a cluster on loopback."""
    from distributed import LocalCluster

    with LocalCluster(n_workers=2, threads_per_worker=1, processes=True, dashboard_address=None) as cluster:
        yield {
            "one process": partial(parallel_config, "sequential"),
            "every core": engine,
            "two workers": partial(engine, "dask", cluster.scheduler_address),
        }


def timed(benchmark: Any, how: How, job: Callable[[], Any]) -> Any:
    """The second run of three: by the first one the workers have imported what they need."""
    with how():
        return benchmark.pedantic(job, rounds=2, warmup_rounds=1)


@pytest.mark.benchmark(group="it pays: trees refitted on 8 rotations")
@pytest.mark.parametrize("how", HOWS)
def test_trees(benchmark: Any, engines: dict[str, How], market: tuple[pd.DataFrame, Outcomes], how: str) -> None:  # noqa: F811
    folds, span = folds_of(market)
    found = timed(benchmark, engines[how], lambda: shift_null(NullTask(Boosted, *market, folds, span), most=8))
    assert len(found.shifts) == 9


@pytest.mark.benchmark(group="it pays: four simulated markets")
@pytest.mark.parametrize("how", HOWS)
def test_power(benchmark: Any, engines: dict[str, How], how: str) -> None:
    parts = [(STUDY.configuration, scenario) for scenario in STUDY.scenarios()]
    assert len(timed(benchmark, engines[how], lambda: list(run_in_parallel(line_of, parts, ordered=False)))) == STUDY.markets


@pytest.mark.benchmark(group="it doesn't: one logit walked forward")
@pytest.mark.parametrize("how", ["as it is", "spread over two workers"])
def test_one_logit(benchmark: Any, engines: dict[str, How], market: tuple[pd.DataFrame, Outcomes], how: str) -> None:  # noqa: F811
    folds, _ = folds_of(market)
    here = forecast(Hazard, *market, folds).probabilities

    def spread_out() -> pd.DataFrame:
        return pd.concat(
            [walked.probabilities for walked in run_in_parallel(forecast, [(Hazard, *market, [fold]) for fold in folds])]
        )

    kinds = {"as it is": ("one process", lambda: forecast(Hazard, *market, folds).probabilities)}
    name, job = kinds.get(how, ("two workers", spread_out))
    np.testing.assert_array_equal(timed(benchmark, engines[name], job), here)


def folds_of(market: tuple[pd.DataFrame, Outcomes]) -> tuple[list[Any], tuple[pd.Timestamp, pd.Timestamp]]:  # noqa: F811
    """The walk-forward of the benchmark's market."""
    last = market[0].index[-1]
    return usable(quarters(FIRST, last), market[1]), (FIRST, last)
