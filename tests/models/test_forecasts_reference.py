"""The forecasts on the reference market: equal to a second implementation, and as good as documented."""

import importlib.util
from pathlib import Path
from types import ModuleType

import pandas as pd
import pytest
from former_names import give_former_names

from core.progress import silent
from core.target import Target
from sources.quality import last_known
from sources.store import Store
from training.dataset import prepare
from training.settings import TrainSettings
from training.verify import table, walk_all
from training.walk_forward import quarters, usable

pytestmark = pytest.mark.reference
FIRST_FORECAST = pd.Timestamp("2016-01-01")
FIRST_JUDGED = "2018-01-01"
SECOND = ["volatility", "passage", "pool", "random_walk", "climatology"]
"""The models that the second implementation has too."""
TARGETS = {
    "alt": Target(),
    "eth": Target(name="ETH rally", subject="ETH", universe="coins", coins=("ethereum",)),
    "btc": Target(name="BTC rally", subject="BTC", universe="coins", coins=("bitcoin",)),
}


@pytest.fixture(scope="module")
def oracle(reference: Path) -> ModuleType:
    """The prototype beside the reference market."""
    file = reference.parent / "reference" / "passage.py"
    if not file.exists():
        pytest.skip("the prototype (../shared/reference/passage.py) is not beside the project")
    give_former_names()
    spec = importlib.util.spec_from_file_location("prototype_of_the_law", file)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def forecasts_of(home: Path, target: Target) -> pd.DataFrame:
    """Walk-forward forecasts of `SECOND` and momentum: as_of, horizon, model, probability, climatology, outcome."""
    settings = TrainSettings(target, first_test=FIRST_FORECAST)
    with Store.open(home / "store.duckdb", read_only=True) as store:
        last = last_known(store)
        data = prepare(store, settings, last)
    folds = usable(quarters(FIRST_FORECAST, last), data.outcomes)
    walks = walk_all(data, settings, ["passage", "pool"], folds, silent)
    return table({name: walk.probabilities for name, walk in walks.items()}, data, [*SECOND, "momentum"])


@pytest.fixture(scope="module")
def forecasts(reference_home: Path) -> pd.DataFrame:
    """Those of the altcoin index."""
    return forecasts_of(reference_home, TARGETS["alt"])


@pytest.mark.parametrize("name", TARGETS)
def test_forecasts_equal_those_of_a_second_implementation(
    name: str, forecasts: pd.DataFrame, oracle: ModuleType, reference_home: Path
) -> None:
    ours = forecasts if name == "alt" else forecasts_of(reference_home, TARGETS[name])
    theirs = oracle.forecasts(reference_home, FIRST_FORECAST, references=True, target=name)
    both = ours.merge(theirs, on=["as_of", "horizon", "model"], suffixes=("", "_theirs"), validate="one_to_one")
    assert len(both) == len(ours[ours["model"].isin(SECOND)]) > 6_000
    assert set(both["model"]) == set(SECOND)
    assert (both["probability"] - both["probability_theirs"]).abs().max() < 1e-9
    pd.testing.assert_series_equal(both["outcome"], both["outcome_theirs"], check_names=False, check_dtype=False)


def test_sixty_days_ahead_the_new_models_beat_the_base_rate_by_as_much_as_documented(forecasts: pd.DataFrame) -> None:
    loss = losses(forecasts).groupby("model")["loss"].mean()
    assert 1 - loss["passage"] / loss["climatology"] >= 0.12
    assert 1 - loss["pool"] / loss["climatology"] >= 0.10


def test_in_no_year_are_they_far_behind_the_best_baseline(forecasts: pd.DataFrame) -> None:
    judged = losses(forecasts)
    judged = judged.assign(year=judged["as_of"].dt.year)
    years = judged.pivot_table(index="year", columns="model", values="loss")
    best = years[["volatility", "climatology", "random_walk", "momentum"]].min(axis=1)
    assert len(years) == 7
    for model in ("passage", "pool"):
        assert (years[model] - best).max() < 0.03


def losses(forecasts: pd.DataFrame) -> pd.DataFrame:
    """Squared errors 60 days ahead of the weeks whose outcome is known, from `FIRST_JUDGED`."""
    known = forecasts[(forecasts["horizon"] == 60) & (forecasts["as_of"] >= FIRST_JUDGED)].dropna()
    return known.assign(loss=(known["probability"] - known["outcome"]) ** 2)
