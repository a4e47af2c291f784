"""What a cluster computes and moves, part by part: `python benchmarks/engine_costs.py` prints the table of docs/cluster.md.

Processor seconds are counted, not the clock's, so that other work on the machine changes little.
"""

import time
from collections.abc import Callable, Iterator
from functools import partial
from typing import Any

import cloudpickle
import numpy as np
import pandas as pd
from joblib import parallel_config
from test_nulls_speed import FIRST, SHARES

from evaluation.permutation import circularly_shifted
from models.boosted import Boosted
from models.catalog import COMPOSITES
from models.hazard import Hazard
from models.parallel import engine, one_thread, run_in_parallel
from studies.power import Scenario, line_of
from training.dataset import Outcomes
from training.null_tests import complete_rows, fold_mask, walk_one_shift, walk_shifts
from training.walk_forward import quarters, usable

ROTATIONS, EMPTY = 448, 400
WEEKS = 510


def market() -> tuple[pd.DataFrame, Outcomes]:
    """Ten years of weeks, as in test_nulls_speed."""
    rng, rows = np.random.default_rng(1), pd.date_range("2015-01-04", periods=WEEKS, freq="W-SUN")
    inputs = pd.DataFrame(rng.normal(size=(WEEKS, len(COMPOSITES))), rows, columns=list(COMPOSITES))
    lasting = np.convolve(rng.random(WEEKS + 8), np.ones(9) / 9, mode="valid")
    events = pd.DataFrame({days: (lasting < np.quantile(lasting, share)).astype(float) for days, share in SHARES.items()}, rows)
    ends = pd.DataFrame({days: rows + pd.Timedelta(days=days) for days in SHARES}, rows)
    return inputs, Outcomes(events, ends, ends + pd.Timedelta(days=1))


def parts() -> Iterator[tuple[str, Callable[..., Any], tuple[Any, ...]]]:
    """A name, what is computed, and what it is computed from."""
    inputs, outcomes = market()
    complete, last = complete_rows(inputs, outcomes), inputs.index[-1]
    mask = fold_mask(complete, usable(quarters(FIRST, last), outcomes), (FIRST, last))
    shifts = complete.outcome_shifts(ROTATIONS)
    yield "trees, one rotation", walk_one_shift, (Boosted, complete.inputs, np.roll(complete.events, shifts[0], axis=0), mask)
    yield (
        f"hazard, all {len(shifts)} rotations at once",
        hazard_on,
        (complete.inputs, complete.events, mask, [0, *shifts]),
    )
    yield "hazard, one rotation", walk_one_shift, (Hazard, complete.inputs, complete.events, mask)
    for years in (6, 11):
        yield f"a simulated market of {years} years", line_of, ("0", Scenario(7, 0, years, 1.0, 8))


def hazard_on(inputs: np.ndarray, events: np.ndarray, mask: Any, shifts: list[int]) -> np.ndarray:
    """Forecasts of every rotation."""
    return walk_shifts(Hazard(), inputs, circularly_shifted(events, shifts), mask)


def cost(work: Callable[..., Any], words: tuple[Any, ...]) -> tuple[float, float, float]:
    """Processor seconds of one part, once everything is imported; kB there and back."""
    with one_thread():
        work(*words)
        start = time.process_time()
        answer = work(*words)
        spent = time.process_time() - start
    return spent, len(cloudpickle.dumps(partial(work, *words))) / 1e3, len(cloudpickle.dumps(answer)) / 1e3


def overhead() -> tuple[float, float]:
    """Processor seconds this process spends on an empty part handed to a cluster, and the clock's."""
    from distributed import LocalCluster

    with (
        LocalCluster(n_workers=2, threads_per_worker=1, processes=True, dashboard_address=None) as cluster,
        engine("dask", cluster.scheduler_address),
    ):
        list(run_in_parallel(abs, [(1,)] * 10))
        start, clock = time.process_time(), time.perf_counter()
        list(run_in_parallel(abs, [(1,)] * EMPTY))
        return (time.process_time() - start) / EMPTY, (time.perf_counter() - clock) / EMPTY


def main() -> None:
    """Print it."""
    print("| part | processor seconds | kB there | kB back |\n|---|---|---|---|")
    with parallel_config("sequential"):
        for name, work, words in parts():
            spent, there, back = cost(work, words)
            print(f"| {name} | {spent:.3f} | {there:.0f} | {back:.1f} |", flush=True)
    spent, clock = overhead()
    print(f"An empty part: {1e3 * spent:.1f} ms of the client and scheduler, {1e3 * clock:.1f} ms on the clock.")


if __name__ == "__main__":
    main()
