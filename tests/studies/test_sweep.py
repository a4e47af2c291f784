"""A sweep sees nothing of its test, chance makes the same search, and the same command goes on after a stop."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from invoking import Invoke
from small_market import small_market

from core.errors import BadInput, MissingData
from core.progress import silent
from core.target import ALTCOINS
from evaluation.multiple_testing import PRIOR_TRIALS
from models.catalog import COMPOSITES
from studies.search_space import Candidate, Sweep
from studies.sweep import SweepData, open_study, prepare_sweep_data, search, search_result
from studies.sweep_file import read_sweep
from training.dataset import Dataset
from training.null_results import configuration_of, data_hash
from training.settings import TrainSettings
from training.tracking import TrackingPlace, counted_tags, tracking
from training.trial_count import count_trials, trials_of

FIRST_TEST, UNTIL = pd.Timestamp("2018-01-01"), "2021-12-31"
ASKED = Sweep((ALTCOINS,), COMPOSITES, ("hazard", "logit"), (0.1, 0.3), trials=60, first_test=FIRST_TEST, seed=3)
SETTINGS = TrainSettings(first_test=FIRST_TEST)


def arena(data: Dataset, asked: Sweep = ASKED) -> SweepData:
    return prepare_sweep_data({ALTCOINS: data}, asked)


@pytest.fixture(scope="module")
def noise() -> Dataset:
    """Inputs that know nothing of the outcome."""
    return small_market(SETTINGS, seed=1, until=UNTIL)


def test_the_search_does_not_change_when_the_test_days_do(noise: Dataset) -> None:
    after = noise.X.index >= FIRST_TEST
    inputs, outcomes = noise.X.copy(), noise.outcomes
    inputs.loc[after] = -7 * inputs.loc[after] + 3
    flipped = 1.0 - outcomes.events.iloc[::-1].to_numpy()
    changed = outcomes.known >= FIRST_TEST
    events = outcomes.events.mask(changed & outcomes.events.notna(), np.maximum.accumulate(np.nan_to_num(flipped), axis=1))
    other = replace(noise, X=inputs, outcomes=replace(outcomes, events=events))
    for candidate in ASKED.candidates()[:4]:
        mine, theirs = (arena(data).search_tally(candidate, None).whole for data in (noise, other))
        assert mine[0] == pytest.approx(theirs[0], abs=1e-9), "to the last Newton step, which waits for the slowest rotation"
        assert not np.array_equal(mine[1:], theirs[1:]), "the rotations do hold later outcomes: they are what chance looks like"


def test_no_outcome_known_after_the_search_is_searched(noise: Dataset) -> None:
    made = arena(noise)
    complete, searched = made.first.complete, made.early.judged | made.late.judged
    assert (complete.known[searched, made.k] < FIRST_TEST.to_datetime64()).all()
    assert not (searched & made.test.judged).any()
    for known, test in (*made.early.rows, *made.late.rows):
        assert complete.known[known.any(axis=1)][:, 0].min() < complete.days[test].min().to_datetime64()
        assert (complete.known[known] < complete.days[test].min().to_datetime64()).all()


def test_candidates_differ_and_are_drawn_without_a_look() -> None:
    drawn = ASKED.candidates()
    assert len({one.configuration for one in drawn}) == len(drawn) == 60
    assert drawn == ASKED.candidates()
    assert all(one.columns for one in drawn)
    assert ASKED.size == (2**6 - 1) * 2 * 2
    every = replace(ASKED, trials=10_000).candidates()
    assert len({one.configuration for one in every}) == len(every) == ASKED.size


def test_a_candidate_that_is_in_the_catalogue_has_its_name_there() -> None:
    assert Candidate("hazard", COMPOSITES, 0.3, ALTCOINS).configuration == configuration_of("hazard", TrainSettings())


def test_where_there_is_no_signal_nothing_is_found(noise: Dataset, tmp_path: Path) -> None:
    made, candidates = arena(noise), ASKED.candidates()
    tallies = search(made, ASKED, candidates, open_study(tmp_path, ASKED, "0"), silent)
    found = search_result(made, ASKED, candidates, tallies)
    assert not found["found"]
    assert found["tried"] == 60
    assert 0 < found["cut_short"] <= 10, "of those after the first fifty"
    assert found["search_p"] >= 1 / 40
    assert found["best_of_n_p"] >= found["search_p"]
    assert found["winner"]["configuration"] in {one.configuration for one in candidates}


def test_a_signal_in_every_input_is_found_by_chance_hardly_ever(tmp_path: Path) -> None:
    asked = replace(ASKED, trials=12)
    made, candidates = arena(small_market(SETTINGS, seed=1, until=UNTIL, signal=2.0), asked), asked.candidates()
    found = search_result(made, asked, candidates, search(made, asked, candidates, open_study(tmp_path, asked, "0"), silent))
    assert found["search_p"] == 1 / 40
    assert found["test"]["skill_climatology"]["low"] > 0
    one_of_three = search_result(
        made, asked, candidates, search(made, asked, candidates, open_study(tmp_path, asked, "0"), silent), 3
    )
    assert one_of_three["best_of_n_p"] == 3 * found["best_of_n_p"]
    assert not one_of_three["found"]


def test_what_is_kept_of_rotations_is_for_these_inputs_and_outcomes_alone(noise: Dataset) -> None:
    """A formula may change and leave the snapshot as it is."""
    touched = noise.X.assign(breadth=noise.X["breadth"] + 1e-9)
    other = replace(noise.outcomes, events=1 - noise.outcomes.events)
    named = [data_hash("hazard", one) for one in (noise, noise, replace(noise, X=touched), replace(noise, outcomes=other))]
    assert len(set(named)) == 3
    assert data_hash("momentum", noise) == data_hash("momentum", replace(noise, X=touched))


def test_each_rotation_is_cut_short_by_its_own_numbers_alone(noise: Dataset) -> None:
    made, candidate = arena(noise), ASKED.candidates()[0]
    tally = made.search_tally(candidate, None)
    bar = np.where(np.arange(len(tally.half)) % 3 == 0, tally.half + 1e-9, tally.half)
    cut = made.search_tally(candidate, bar)
    assert cut.cut_short
    assert not tally.cut_short
    np.testing.assert_array_equal(np.isnan(cut.whole), np.arange(len(bar)) % 3 == 0)
    np.testing.assert_allclose(cut.whole[~np.isnan(cut.whole)], tally.whole[~np.isnan(cut.whole)], atol=1e-9)
    assert np.isnan(made.search_tally(candidate, tally.half + 1).whole).all()


def test_a_sweep_that_was_stopped_goes_on_where_it_was(noise: Dataset, tmp_path: Path) -> None:
    made, asked = arena(noise), replace(ASKED, trials=20)
    candidates = asked.candidates()
    whole = search(made, asked, candidates, open_study(tmp_path / "whole", asked, "0"), silent)

    def stop(label: str, done: int, total: int) -> None:
        if done == 7:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        search(made, asked, candidates, open_study(tmp_path, asked, "0"), stop)
    kept = open_study(tmp_path, asked, "0")
    assert len(kept.trials) == 7
    assert len(open_study(tmp_path, asked, "other data").trials) == 0
    done: list[int] = []
    again = search(made, asked, candidates, kept, lambda label, number, total: done.append(number))
    assert done == list(range(8, 21))
    for mine, theirs in zip(whole, again, strict=True):
        np.testing.assert_array_equal(mine.whole, theirs.whole)


def test_many_trials_are_counted_at_once_and_once(tmp_path: Path) -> None:
    mask = TrackingPlace(f"sqlite:///{tmp_path / 'mlruns' / 'mlflow.db'}", tmp_path / "mlruns" / "artifacts", tmp_path)
    many = [f"{number:016x}" for number in range(450)]
    with tracking(mask) as tracker:
        count_trials(tracker, "mine", "a label of words", many[:3])
        counted = count_trials(tracker, "mine", "searched before 2018-01-01", many)
        again = count_trials(tracker, "mine", "searched before 2018-01-01", many[::-1])
        tags = counted_tags(tracker)
        told = trials_of(tracker, "mine")
    assert counted == again
    assert sorted(counted.values()) == list(range(PRIOR_TRIALS + 1, PRIOR_TRIALS + 451))
    assert sum(key.startswith("trial.mine.") for key in tags) == 3 + 3
    assert {label for _, label in told.values()} == {"a label of words", "searched before 2018-01-01"}
    assert told[many[449]] == (PRIOR_TRIALS + 450, "searched before 2018-01-01")


def test_a_search_on_days_that_train_judges_asks_the_same_question() -> None:
    assert ASKED.label(ALTCOINS) != ALTCOINS.label
    assert replace(ASKED, first_test=pd.Timestamp("2021-01-01")).label(ALTCOINS) == ALTCOINS.label


def test_too_few_days_before_the_test_are_refused(noise: Dataset) -> None:
    with pytest.raises(MissingData):
        arena(noise, replace(ASKED, first_test=pd.Timestamp("2015-03-01")))


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("trials = 0\n", "trials = 0 will not do"),
        ("trials = true\n", "trials = True will not do"),
        ('models = ["boosted"]\n', "models = ['boosted'] will not do; write a list of any of hazard"),
        ('columns = ["bredth"]\n', "columns = ['bredth'] will not do"),
        ('columns = ["breadth", "breadth"]\n', "will not do"),
        ("prior_sd = [0]\n", "prior_sd = [0] will not do"),
        ("prior_sd = [1e308]\n", "write a list of different numbers from 0.001 to 100"),
        ("prior_sd = [1e-320]\n", "will not do"),
        ('first_test = "2018"\n', "first_test = '2018' will not do; write a day"),
        ("moves = [30]\n", "moves: 30 is not a share between 0 and 5"),
        ("trails = 5\n", "trails = 5 is no key"),
        ('target = "none.toml"\n', "none.toml can't be read"),
        ("trials = ", "isn't a TOML file"),
        ("trials = 100", "breaks off in its last line ('trials = 100')"),
        ("seed = 7\nfirst_test = 2018-01-0", "isn't a TOML file"),
        ("first_test = 2018-02-30\n", "isn't a TOML file"),
        ("moves = [1" + "0" * 400 + "]\n", "will not do"),
        ('target = "\\u0000"\n', "target = '\\x00' will not do"),
        (f'target = "{"a" * 5_000}"\n', "will not do"),
        ("", "is empty; docs/sweep.md shows one that is"),
        ("trails = 5\n", "is no key of a sweep; did you mean trials?"),
    ],
)
def test_a_mistyped_sweep_is_refused_in_one_line(tmp_path: Path, text: str, said: str) -> None:
    (tmp_path / "mine.toml").write_text(text, encoding="utf-8")
    with pytest.raises(BadInput) as refused:
        read_sweep(tmp_path / "mine.toml")
    assert said in str(refused.value)
    assert "\n" not in str(refused.value)


def test_a_damaged_sweep_is_one_line_and_exit_code_1(altrally: Invoke, tmp_path: Path) -> None:
    for text in ("trials = 100", "trials = [", ""):
        (tmp_path / "mine.toml").write_text(text, encoding="utf-8")
        ran = altrally("--home", tmp_path / "home", "sweep", tmp_path / "mine.toml")
        assert (ran.code, ran.out, ran.err.count("\n")) == (1, "", 1), ran.err
        assert "mine.toml" in ran.err


def test_a_sweep_may_leave_out_everything(tmp_path: Path) -> None:
    (tmp_path / "mine.toml").write_text("# as it comes\n", encoding="utf-8")
    asked = read_sweep(tmp_path / "mine.toml")
    assert (asked.trials, asked.targets, asked.first_test) == (1000, (ALTCOINS,), pd.Timestamp("2018-01-01"))
