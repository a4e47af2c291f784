"""Outcomes: worked by hand, nested, and missing until they are over."""

import numpy as np
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st

from core.errors import BadInput, MissingData, UnknownName
from core.target import ALTCOINS
from training.dataset import outcomes
from training.settings import TrainSettings, configuration

LAG = pd.Timedelta(days=1)
DAYS = pd.date_range("2020-01-01", periods=200)


def first_passage(level: pd.Series, *, until: str = "2021-01-01", horizons: tuple[int, ...] = (30, 60, 90)) -> pd.DataFrame:
    rows = pd.DatetimeIndex([DAYS[0], DAYS[20]])
    return outcomes(
        level, rows, kind="first_passage", threshold=0.3, horizons=horizons, release_lag=LAG, until=pd.Timestamp(until)
    ).events


def flat(**spikes: float) -> pd.Series:
    level = pd.Series(100.0, DAYS)
    for position, value in spikes.items():
        level.iloc[int(position[1:])] = value
    return level


def test_a_close_of_exactly_thirty_percent_more_is_an_event() -> None:
    events = first_passage(flat(d45=130.0))
    assert events.to_numpy().tolist() == [[0, 1, 1], [1, 1, 1]]


def test_less_than_the_threshold_is_none() -> None:
    assert (first_passage(flat(d45=129.99)) == 0).all().all()


def test_the_close_of_the_day_itself_is_no_event_and_the_last_day_of_the_horizon_counts() -> None:
    assert first_passage(flat(d0=50.0, d30=50.0 * 1.3)).loc[DAYS[0]].tolist() == [1, 1, 1]  # d1 already stands at 100
    assert first_passage(flat(d30=130.0)).loc[DAYS[0], 30] == 1
    assert first_passage(flat(d31=130.0)).loc[DAYS[0], 30] == 0


def test_what_is_not_over_is_missing_also_when_the_event_came_already() -> None:
    until = f"{DAYS[60]:%Y-%m-%d}"  # 30 days of row 0 are known on day 31, 60 days on day 61
    for level in (flat(), flat(d5=200.0)):
        assert first_passage(level, until=until).notna().to_numpy().tolist() == [[True, False, False], [True, False, False]]
    assert first_passage(flat(), until=f"{DAYS[61]:%Y-%m-%d}").notna().loc[DAYS[0]].tolist() == [True, True, False]


def test_known_is_the_end_of_the_label_and_the_release_lag() -> None:
    made = outcomes(flat(), DAYS[:1], kind="first_passage", threshold=0.3, horizons=(30, 90), release_lag=LAG, until=DAYS[150])
    assert made.label_end.loc[DAYS[0]].tolist() == [DAYS[30], DAYS[90]]
    assert made.known.loc[DAYS[0]].tolist() == [DAYS[31], DAYS[91]]


def test_a_missing_close_makes_its_outcomes_missing_whatever_happened() -> None:
    assert first_passage(flat(d0=np.nan)).loc[DAYS[0]].isna().all()
    assert first_passage(flat(d45=np.nan, d5=200.0)).loc[DAYS[0]].isna().tolist() == [False, True, True]
    assert first_passage(flat(d45=np.nan)).loc[DAYS[0]].isna().tolist() == [False, True, True]


def test_days_absent_from_the_index_are_missing_not_skipped() -> None:
    assert first_passage(flat().drop(DAYS[45])).loc[DAYS[0]].isna().tolist() == [False, True, True]


@given(st.integers(0, 2**32 - 1))
def test_first_passages_are_nested(seed: int) -> None:
    rng = np.random.default_rng(seed)
    level = pd.Series(np.exp(np.cumsum(rng.standard_t(3, size=200) * 0.05)), DAYS).mask(rng.random(200) < 0.005)
    made = outcomes(level, DAYS[:150], kind="first_passage", threshold=0.3, horizons=(30, 60, 90), release_lag=LAG, until=DAYS[130])
    known = made.events.dropna().to_numpy()
    assert (np.diff(known, axis=1) >= 0).all()
    assert made.events.isna().to_numpy()[(made.known > DAYS[130]).to_numpy()].all()


def test_terminal_asks_for_the_close_at_the_horizon() -> None:
    level = flat(d30=120.0, d59=500.0, d60=119.0)
    made = outcomes(level, DAYS[:1], kind="terminal", threshold=0.2, horizons=(30, 60), release_lag=LAG, until=DAYS[-1])
    assert made.events.loc[DAYS[0]].tolist() == [1, 0]


def test_relative_asks_whether_the_index_beats_bitcoin() -> None:
    index, bitcoin = flat(d30=110.0, d60=150.0), flat(d30=110.0, d60=140.0)
    made = outcomes(
        index, DAYS[:1], kind="relative", threshold=0, horizons=(30, 60), release_lag=LAG, until=DAYS[-1], benchmark=bitcoin
    )
    assert made.events.loc[DAYS[0]].tolist() == [0, 1]  # a draw isn't a win


def test_relative_without_bitcoin_is_refused() -> None:
    with pytest.raises(MissingData, match="BTC"):
        outcomes(flat(), DAYS[:1], kind="relative", threshold=0, horizons=(30,), release_lag=LAG, until=DAYS[-1])


def test_default_thresholds_belong_to_their_outcome() -> None:
    assert [ALTCOINS.with_outcome(kind).rise for kind in ("first_passage", "terminal", "relative")] == [0.30, 0.20, 0.0]


@pytest.mark.parametrize(
    ("outcome", "threshold"), [("first_passage", 30), ("first_passage", 0), ("terminal", -1), ("relative", 0.1)]
)
def test_a_threshold_the_outcome_cannot_have_is_refused(outcome: str, threshold: float) -> None:
    with pytest.raises(BadInput, match="--threshold"):
        ALTCOINS.with_outcome(outcome, threshold)


def test_an_unknown_outcome_names_the_near_one() -> None:
    with pytest.raises(UnknownName, match="first_passage"):
        ALTCOINS.with_outcome("first_pasage")


def test_a_configuration_is_named_by_all_that_decides_it_and_nothing_else() -> None:
    asked = ALTCOINS.with_outcome(move=0.3)
    name = configuration("hazard", {"prior_sd": 0.3}, ["breadth"], TrainSettings())
    assert name == configuration("hazard", {"prior_sd": 0.3}, ["breadth"], TrainSettings(asked, seed=8, models=("hazard",)))
    others = [
        configuration("logit", {"prior_sd": 0.3}, ["breadth"], TrainSettings()),
        configuration("hazard", {"prior_sd": 0.2}, ["breadth"], TrainSettings()),
        configuration("hazard", {"prior_sd": 0.3}, ["volume"], TrainSettings()),
        configuration("hazard", {"prior_sd": 0.3}, ["breadth"], TrainSettings(ALTCOINS.with_outcome(move=0.4))),
        configuration("hazard", {"prior_sd": 0.3}, ["breadth"], TrainSettings(ALTCOINS.with_outcome("terminal", 0.3))),
        configuration("hazard", {"prior_sd": 0.3}, ["breadth"], TrainSettings(start=pd.Timestamp("2016-01-01"))),
    ]
    assert len({name, *others}) == 7
