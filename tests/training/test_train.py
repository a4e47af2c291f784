"""Training: who becomes champion, and why; what is kept, and that it can be read again."""

import json
import shutil
import subprocess
import sys
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from faulting import one_picture
from places import ROOT
from training_jobs import SETTINGS, job, place_in

from core.errors import BadInput, MissingData, NoChampion, Refused, StoreUnusable, UnknownName
from core.home import HIDDEN
from core.progress import silent
from core.target import ALTCOINS
from evaluation.bootstrap import Interval
from evaluation.multiple_testing import PRIOR_TRIALS
from evaluation.sample import EvaluationSample
from models.catalog import COMPOSITES
from models.champion import aliases, damaged_figures, list_runs, load_champion
from models.metric_names import metric_name
from training.compare import compare
from training.figures import draw_history
from training.mlflow_view import HEADLINE_BASELINES
from training.model_card import skill_sentence
from training.panel_figures import draw_panel, draw_reliability
from training.promotion import NULLS, disagreement, interval_refusals, null_refusals, paired, promote
from training.run_log import log_comparison
from training.tracking import pointed_at, tracking
from training.train import TrainReport, train_on
from training.training_job import TrainingJob

POOL = replace(SETTINGS, models=("pool",))
COLUMNS = [f"skill_{name}" for name in ("volatility", "climatology", "random_walk", "momentum")]


@pytest.fixture(autouse=True)
def few_pictures(monkeypatch: pytest.MonkeyPatch) -> None:
    """The first training draws them all; drawn every time, they take half of this file's time."""
    monkeypatch.setattr("training.run_log.write_figures", one_picture)


@pytest.fixture(scope="module")
def first(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, TrainReport]:
    """A home trained once; copied by the tests that train again."""
    home = tmp_path_factory.mktemp("trained")
    return home, train_on(job(), place_in(home), silent)


@pytest.fixture
def trained(first: tuple[Path, TrainReport], tmp_path: Path) -> Path:
    shutil.copytree(first[0], tmp_path / "home")
    return tmp_path / "home"


def version_tags(home: Path, alias: str = "champion") -> dict[str, str]:
    from mlflow import MlflowClient

    client = MlflowClient(place_in(home).uri, place_in(home).uri)
    return dict(client.get_model_version_by_alias("altrally", alias).tags)


def champion_card(home: Path) -> Any:
    return load_champion(place_in(home).uri, home).card


def test_the_first_training_makes_the_default_model_champion_and_unproven(first: tuple[Path, TrainReport]) -> None:
    home, report = first
    tags = version_tags(home)
    assert (tags["model"], tags["unproven"]) == ("pool", "true")
    assert version_tags(home, "challenger")["model"] == "logit"
    assert report.decisions[0].startswith("pool v3 is champion")
    assert not champion_card(home).skill["shown"]


def test_the_default_model_is_trained_in_an_empty_home_though_another_was_asked_for(tmp_path: Path) -> None:
    report = train_on(job(replace(SETTINGS, models=("momentum",), draws=2)), place_in(tmp_path), silent)
    assert [model["model"] for model in report.models] == ["pool", "momentum"]
    assert version_tags(tmp_path)["model"] == "pool"


LOAD = """
import json, sys
from pathlib import Path
import numpy as np, pandas as pd
from models.catalog import COMPOSITES
from models.champion import load_champion
champion = load_champion(sys.argv[1], Path(sys.argv[2]))
X = pd.read_parquet(sys.argv[3])
forecaster = champion.forecaster
models = [forecaster.model_, *forecaster.fold_models_]
print(json.dumps([[model.predict(X).tolist(), [limit.tolist() for limit in model.interval(X)]] for model in models]))
"""


def test_the_champion_gives_the_same_numbers_in_a_fresh_process(first: tuple[Path, TrainReport], tmp_path: Path) -> None:
    home, place = first[0], place_in(first[0])
    X = job().data.X[champion_card(home).columns].tail(5)
    X.to_parquet(tmp_path / "X.parquet")
    command = [sys.executable, "-c", LOAD, place.uri, str(home), str(tmp_path / "X.parquet")]
    fresh = json.loads(subprocess.run(command, check=True, capture_output=True, cwd=ROOT).stdout)
    forecaster = load_champion(place.uri, home).forecaster
    models = [forecaster.model_, *forecaster.fold_models_]
    assert len(fresh) == len(models) == 1 + len(job().folds)
    for model, (point, limits) in zip(models, fresh, strict=True):
        np.testing.assert_allclose(model.predict(X), point, rtol=0, atol=1e-12)
        np.testing.assert_allclose(model.interval(X), limits, rtol=0, atol=1e-12)


def test_the_served_model_reads_what_score_reads_and_answers_any_question(first: tuple[Path, TrainReport]) -> None:
    import mlflow

    home, report = first
    with pointed_at(place_in(home).uri):
        served = mlflow.pyfunc.load_model(f"models:/altrally/{report.models[0]['version']}")
    X = job().data.X[champion_card(home).columns].tail(3)
    model = load_champion(place_in(home).uri, home).forecaster.model_

    def probabilities(rows: pd.DataFrame) -> np.ndarray:
        return served.predict(rows)["probability"].to_numpy().reshape(len(rows), -1)

    np.testing.assert_allclose(probabilities(X), model.predict(X))
    for blank in (["breadth"], ["breadth", "crypto_state"], ["altcoin_volatility"], ["blended_volatility"], list(X.columns)):
        missing = X.assign(**dict.fromkeys(blank, np.nan))
        read = missing.fillna(dict.fromkeys(COMPOSITES, 0.0))
        np.testing.assert_allclose(probabilities(missing), model.predict(read))
    asked = X.assign(rise=[0.5, 0.3, np.nan], days=[45.0, 60.0, 30.0])
    answers = [
        model.for_question(rise, (days,)).predict(X.iloc[[row]])[0]
        for row, (rise, days) in enumerate([(0.5, 45), (0.3, 60), (None, 30)])
    ]
    np.testing.assert_allclose(probabilities(asked), answers)
    np.testing.assert_allclose(probabilities(X.assign(rise=0.5)), model.for_question(0.5, None).predict(X))


def test_a_served_answer_is_labelled(first: tuple[Path, TrainReport]) -> None:
    champion = load_champion(place_in(first[0]).uri, first[0])
    X = job().data.X[champion.card.columns].tail(2)
    table, model = champion.forecaster.predict_proba(X), champion.forecaster.model_
    assert list(table) == ["record", "days", "rise", "probability", "low", "high", "base_rate", "market", "evidence"]
    assert table[["record", "days"]].to_numpy().tolist() == [[row, days] for row in (0, 1) for days in (30, 60, 90)]
    np.testing.assert_allclose(table[["low", "high"]].to_numpy(), np.stack(model.interval(X), axis=-1).reshape(-1, 2))
    np.testing.assert_allclose(table["base_rate"], np.tile(model.base_rates_, 2))
    assert table["evidence"].unique().tolist() == [champion.card.skill["evidence"]["grade"]]
    other = champion.forecaster.predict_proba(X.assign(rise=0.5, days=[45, 10]))
    assert other[["record", "days", "rise"]].to_numpy().tolist() == [[0, 45, 0.5], [1, 10, 0.5]]


def test_past_days_are_answered_by_the_fold_that_forecast_them(first: tuple[Path, TrainReport]) -> None:
    champion = load_champion(place_in(first[0]).uri, first[0])
    forecasts = pd.read_parquet(next(first[0].glob(f"mlruns/artifacts/{champion.run_id}/artifacts/forecasts.parquet")))
    day = pd.Timestamp("2023-08-06")
    model, fold = champion.forecaster.model_for(day, pd.Timestamp(champion.card.last_label_end))
    assert fold is not None
    assert champion.card.folds[fold].test_start == "2023-07-01"
    kept = forecasts[forecasts["as_of"] == day].sort_values("horizon")["probability"]
    np.testing.assert_array_equal(model.predict(job().data.X.loc[[day], champion.card.columns])[0], kept)


def test_the_card_says_what_score_needs(first: tuple[Path, TrainReport]) -> None:
    card, data = champion_card(first[0]), job().data
    assert (card.market, card.snapshot, card.trained_as_of) == ("simulated", data.snapshot, "2024-09-30")
    assert card.base_rates == pytest.approx(data.outcomes.events.mean().tolist())
    assert card.last_label_end == f"{data.outcomes.label_end.where(data.outcomes.events.notna()).max().max():%Y-%m-%d}"
    assert card.means["breadth"] == pytest.approx(data.X.loc[data.outcomes.events.dropna(how="all").index, "breadth"].mean())
    assert card.trials == PRIOR_TRIALS + 3
    assert card.skill["evidence"]["grade"] == "not shown"
    assert card.skill["start"] == "2023-01-01"


def test_a_run_keeps_params_tags_metrics_inputs_and_artifacts(first: tuple[Path, TrainReport]) -> None:
    from mlflow import MlflowClient

    home, report = first
    client = MlflowClient(place_in(home).uri)
    parent = client.get_run(report.run_id)
    children = [client.get_run(model["run_id"]) for model in report.models]
    assert parent.info.status == "FINISHED"
    assert all(child.data.tags["mlflow.parentRunId"] == report.run_id and child.info.status == "FINISHED" for child in children)
    pool = children[0].data
    assert {"family", "trial", "label", "snapshot", "code_version", "configuration", "market", "unproven"} <= set(pool.tags)
    assert {"training", "standing", "60d skill vs volatility", f"{HIDDEN}pid", f"{HIDDEN}files"} <= set(pool.tags)
    skills = {f"{days}d/skill_vs_{name}{end}" for days in (30, 60, 90) for name in HEADLINE_BASELINES for end in ("", "_low")}
    assert skills | {"60d/brier", "30d/auc", "60d/best_of_n_p"} <= set(pool.metrics)
    assert len(pool.metrics) < 32
    assert pool.params["prior_sd"] == "0.2"
    assert children[0].inputs.dataset_inputs[0].dataset.digest == job().data.snapshot
    kept = {file.path for file in client.list_artifacts(children[0].info.run_id)}
    assert {
        "card.json",
        "coefficients.txt",
        "forecasts.parquet",
        "folds.csv",
        "features.csv",
        "reliability.png",
        "forecasts.png",
    } <= kept


def test_a_training_that_breaks_off_leaves_no_champion_and_no_running_run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def full_disk(*args: object) -> None:
        raise OSError("No space left on device")

    monkeypatch.setattr("training.run_log.write_figures", full_disk)
    with pytest.raises(StoreUnusable, match=r"No space left on device\. What was learnt is kept"):
        train_on(job(replace(SETTINGS, draws=2)), place_in(tmp_path), silent)
    assert aliases(place_in(tmp_path).uri) == {}
    assert set(list_runs(place_in(tmp_path).uri)["status"]) == {"FAILED"}


def test_the_same_training_again_is_a_refresh_and_no_trial(trained: Path) -> None:
    report = train_on(job(POOL), place_in(trained), silent)
    assert report.decisions[0] == "pool v4 is champion: a refresh of v3, not shown."
    assert report.trials == PRIOR_TRIALS + 3


def test_later_data_refresh_the_champion(trained: Path) -> None:
    train_on(job(POOL, until="2024-12-31"), place_in(trained), silent)
    assert aliases(place_in(trained).uri)["champion"] == "4"
    assert champion_card(trained).trained_as_of == "2024-12-31"


@pytest.mark.parametrize(
    ("second", "reason"),
    [
        (job(POOL, until="2024-06-30"), "it knows less (2024-06-30) than the champion (2024-09-30)"),
        (job(POOL, seed=2), "so inputs of the past have changed"),
        (job(POOL, stale=("coin price: too old",)), "coin price: too old"),
    ],
    ids=["earlier data", "another past", "gates closed"],
)
def test_a_refresh_that_may_not_be_says_why_and_leaves_the_champion(trained: Path, second: TrainingJob, reason: str) -> None:
    report = train_on(second, place_in(trained), silent)
    assert reason in report.decisions[0]
    assert aliases(place_in(trained).uri) == {"champion": "3", "challenger": "2"}


def test_another_configuration_becomes_challenger_never_champion(trained: Path) -> None:
    report = train_on(job(replace(POOL, start=pd.Timestamp("2016-01-01"))), place_in(trained), silent)
    assert "stays: its configuration wasn't trained" in report.decisions[0]
    assert aliases(place_in(trained).uri) == {"champion": "3", "challenger": "4"}
    assert report.trials == PRIOR_TRIALS + 4


def test_another_outcome_moves_no_alias(trained: Path) -> None:
    before = aliases(place_in(trained).uri)
    report = train_on(job(replace(POOL, target=ALTCOINS.with_outcome(move=0.4))), place_in(trained), silent)
    assert "first_passage 0.3 within 30/60/90 days on the simulated market; nothing here was compared" in report.decisions[0]
    assert aliases(place_in(trained).uri) == before
    with pytest.raises(Refused, match=r"first_passage 0\.4"):
        promote(place_in(trained), report.models[0]["run_id"])
    with pytest.raises(Refused, match="different outcomes"):
        compare(place_in(trained), [report.run_id, load_champion(place_in(trained).uri, trained).run_id])


def test_a_comparison_that_broke_off_leaves_the_run_saying_what_was_logged(trained: Path) -> None:
    def stopped(path: Path) -> None:
        raise KeyboardInterrupt

    place = place_in(trained)
    run = load_champion(place.uri, trained).run_id
    with pytest.raises(KeyboardInterrupt), tracking(place) as tracker:
        log_comparison(tracker, run, against="another", metrics={"60d/gain": 0.1}, draw=stopped)
    assert place.database is not None
    assert damaged_figures(place.database) == []


def test_runs_none_of_whose_forecasts_is_judged_yet_cannot_be_compared(trained: Path) -> None:
    young = job(replace(POOL, first_test=pd.Timestamp("2024-07-01")), until="2024-07-20")
    report = train_on(young, place_in(trained), silent)
    with pytest.raises(MissingData, match="nothing to compare"):
        compare(place_in(trained), [report.run_id])


def test_promotion_says_every_reason_against_it(first: tuple[Path, TrainReport]) -> None:
    with pytest.raises(Refused) as refused:
        promote(place_in(first[0]), "logit")
    assert "doesn't exclude zero" in str(refused.value)
    assert all(what in str(refused.value) for what in NULLS.values())
    assert aliases(place_in(first[0]).uri)["champion"] == "3"


def test_what_cannot_be_promoted_is_named(first: tuple[Path, TrainReport], tmp_path: Path) -> None:
    home, report = first
    with pytest.raises(Refused, match="is champion already"):
        promote(place_in(home), "pool")
    with pytest.raises(Refused, match="holds no model"):
        promote(place_in(home), report.run_id)
    with pytest.raises(UnknownName, match="No run 'nothing'"):
        promote(place_in(home), "nothing")
    with pytest.raises(NoChampion):
        promote(place_in(tmp_path), "pool")
    assert not (tmp_path / "mlruns").exists()


def test_promotion_needs_the_interval_above_zero_and_every_null_below_five_percent() -> None:
    assert interval_refusals(Interval(0.02, 0.001, 0.04), 300) == []
    assert "[-0.0010, +0.0400]" in interval_refusals(Interval(0.02, -0.001, 0.04), 300)[0]
    assert "too few" in interval_refusals(Interval(0.02, np.nan, np.nan), 10)[0]
    low, high = (dict.fromkeys([metric_name(60, name) for name in NULLS], p) for p in (0.01, 0.049))
    assert null_refusals(high) == []
    assert len(null_refusals({**low, "60d/best_of_n_p": 0.05})) == 1
    assert len(null_refusals({})) == 3


def test_a_promotion_that_is_earned_moves_the_alias(trained: Path) -> None:
    place = place_in(trained)
    better = train_on(job(replace(SETTINGS, models=("logit",)), signal=2), place, silent).models[0]["run_id"]
    assert promote(place, better[:10]).sentence == "logit v4 is champion."
    assert aliases(place.uri)["champion"] == "4"


def test_a_better_score_is_not_enough_where_a_null_is_missing_or_weak(trained: Path) -> None:
    from mlflow import MlflowClient

    place = place_in(trained)
    better = train_on(job(replace(SETTINGS, models=("logit",)), signal=2), place, silent).models[0]["run_id"]
    MlflowClient(place.uri).log_metric(better, "60d/best_of_n_p", 0.2)
    with pytest.raises(Refused, match=r"its best-of-N p-value is 0\.200, not below 0\.05\.$"):
        promote(place, better)


def test_force_needs_a_reason_and_leaves_it(trained: Path) -> None:
    from mlflow import MlflowClient

    place = place_in(trained)
    for typed in ({"force": True}, {"force": True, "why": " "}, {"why": "because"}):
        with pytest.raises(BadInput, match="--force needs --why"):
            promote(place, "logit", **typed)
    assert aliases(place.uri)["champion"] == "3"
    told = promote(place, "logit", force=True, why="a trial on paper").sentence
    assert "by force: a trial on paper. It lacked: " in told
    version = MlflowClient(place.uri, registry_uri=place.uri).get_model_version_by_alias("altrally", "champion")
    assert version.tags["forced"] == "a trial on paper"
    assert "exclude zero" in version.tags["lacked"]


def test_what_was_tried_before_stays_counted(trained: Path) -> None:
    place = place_in(trained)
    again = train_on(job(POOL), place, silent).rows
    judged_now = 5  # the pool and four baselines: more than the three configurations counted before
    assert all(row["unjudged"] == 1 and row["trials"] == PRIOR_TRIALS + judged_now for row in again)


def forecasts(probability: list[float], outcome: list[float], first: str = "2023-01-01") -> pd.DataFrame:
    days = pd.date_range(first, periods=len(probability), freq="7D")
    return pd.DataFrame({"as_of": days, "horizon": 60, "probability": probability, "climatology": 0.5, "outcome": outcome})


def test_runs_are_paired_on_common_days_whose_outcome_is_known() -> None:
    days = paired(forecasts([0.5, 0.1, 0.2], [0, 0, 1]), forecasts([0.0, 0.4, 0.9], [0, 1, np.nan], "2023-01-08"), 60)
    assert days["as_of"].tolist() == [pd.Timestamp("2023-01-08"), pd.Timestamp("2023-01-15")]
    np.testing.assert_allclose(days[["mine", "theirs"]], [[0.01, 0.0], [0.64, 0.36]])


def test_runs_that_disagree_on_what_happened_are_not_paired() -> None:
    with pytest.raises(Refused, match="unequal outcomes on 1 of 2"):
        paired(forecasts([0.5, 0.5], [0, 1]), forecasts([0.5, 0.5], [0, 0]), 60)


def test_forecasts_that_differ_by_more_than_a_billionth_are_told_apart() -> None:
    old = forecasts([0.5, 0.25], [0, 1])
    assert disagreement(old, forecasts([0.5, 0.25 + 9e-10], [0, 1])) == []
    assert "1 of 2 common days" in disagreement(old, forecasts([0.5, 0.25 + 2e-9], [0, 1]))[0]
    assert disagreement(old, forecasts([0.5], [0], "2024-01-01")) == ["they have no day in common"]


def test_compare_sets_the_last_training_beside_the_champion(first: tuple[Path, TrainReport]) -> None:
    rows = compare(place_in(first[0]), [])
    assert [row["model"] for row in rows[::3]] == ["pool", "logit", "momentum"]
    assert len({row["n"] for row in rows if row["horizon"] == 60}) == 1
    champion_row, logit_row = rows[1], rows[4]
    assert champion_row["against"] is champion_row["brier_difference"] is None
    assert logit_row["against"]["model"] == "pool"
    assert logit_row["brier_difference"]["value"] == pytest.approx(champion_row["brier"] - logit_row["brier"])
    assert logit_row["log_difference"]["value"] == pytest.approx(champion_row["log_score"] - logit_row["log_score"])
    assert 0 < logit_row["diebold_mariano_p"] <= 1
    assert {row["left_out"] for row in rows} == {0}
    json.dumps(rows, allow_nan=False)


def test_compare_by_name_pairs_with_the_first_named(first: tuple[Path, TrainReport]) -> None:
    rows = compare(place_in(first[0]), ["logit", "pool"])
    assert [(row["model"], row["against"] and row["against"]["model"]) for row in rows[::3]] == [
        ("logit", None),
        ("pool", "logit"),
    ]


def test_runs_of_other_days_are_compared_on_those_in_common_and_it_is_said_and_kept(trained: Path) -> None:
    from mlflow import MlflowClient

    place, client = place_in(trained), MlflowClient(place_in(trained).uri)
    later = train_on(job(POOL, until="2024-12-31"), place, silent).models[0]["run_id"]
    rows = [row for row in compare(place, ["logit", later]) if row["horizon"] == 60]
    assert rows[0]["n"] == rows[1]["n"]
    assert rows[0]["left_out"] == 0 < rows[1]["left_out"]
    assert not rows[1]["same_snapshot"]
    run = client.get_run(later).data
    assert run.metrics["60d/gain"] == pytest.approx(rows[1]["brier_difference"]["value"])
    assert run.metrics["60d/gain_low"] == pytest.approx(rows[1]["brier_difference"]["low"])
    assert run.tags["compared_with"].startswith("logit ")
    kept = [file.path for file in client.list_artifacts(later, "comparisons")]
    assert kept == [f"comparisons/against {run.tags['compared_with']}.png"]
    assert rows[0]["picture"] is None
    assert Path(rows[1]["picture"]).is_file()


def test_nothing_to_compare_in_an_empty_home(tmp_path: Path) -> None:
    with pytest.raises(NoChampion):
        compare(place_in(tmp_path), [])


def row(low: float | None = 0.01) -> dict[str, Any]:
    skills = {name: {"value": 0.05, "low": low, "high": 0.09 + place / 100} for place, name in enumerate(COLUMNS)}
    return {"n": 300, "n_effective": 35.2, "horizon": 60, "null": None, "trials": 57, "unjudged": 0, "best_of_n_p": 0.2, **skills}


def test_the_sentence_tells_every_baseline_volatility_first() -> None:
    told = skill_sentence(row(), "2018-01-07", "2024-10-27", "not shown")
    assert told == (
        "Skill has not been shown: from 2018-01 to 2024-10 the 60-day Brier skill was +0.050 [+0.010, +0.090] against volatility "
        "alone, +0.050 [+0.010, +0.100] against climatology, +0.050 [+0.010, +0.110] against the random walk, "
        "+0.050 [+0.010, +0.120] against momentum (95 % intervals, about 35 independent windows; p 0.200 as the best of those "
        "judged together, 57 tries counted)."
    )
    null = {"p": 0.0213, "shifts": 448, "independent": 39}
    told = skill_sentence(row() | {"null": null}, "2018-01-07", "2024-10-27", "history supports it")
    assert told.startswith("Skill has not been shown live, history supports it: from")
    assert "windows; null p 0.021 of 448 rotations, about 39 independent; p 0.200 as the best of" in told
    assert skill_sentence(row() | {"n": 0}, None, None, "not shown").startswith("Skill has not been shown")


def test_where_an_outcome_has_no_law_no_volatility_is_said_to_be_beaten() -> None:
    same = row() | dict.fromkeys(("skill_random_walk", "skill_volatility"), row()["skill_climatology"])
    told = skill_sentence(same, "2018-01-07", "2024-10-27", "not shown")
    assert "random walk" not in told
    assert "volatility" not in told
    assert told.count("against") == 2


def test_figures_are_drawn_also_before_any_outcome_is_known(tmp_path: Path) -> None:
    draw_history(forecasts([0.4, 0.6], [np.nan, np.nan]), "title", tmp_path / "history.png")
    nothing = EvaluationSample(60, pd.DatetimeIndex([]), {"hazard": np.array([])}, np.array([]))
    draw_reliability({60: nothing}, "hazard", "title", tmp_path, seed=1)
    draw_panel({60: nothing}, "hazard", "title", tmp_path, seed=1)
    assert [file.name for file in tmp_path.iterdir()] == ["history.png"]
    assert (tmp_path / "history.png").read_bytes().startswith(b"\x89PNG")
