"""MLflow's pages show the comparison: names, metrics, roles, prepared views; and homes of earlier versions are still read."""

import json
import shutil
import sqlite3
from contextlib import closing
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from faulting import one_picture
from training_jobs import SETTINGS, job, place_in

from core.errors import Refused
from core.home import HIDDEN
from core.progress import silent
from core.target import ALTCOINS, judged_horizon
from models.champion import champion_place, damaged_figures, figures_of, find_run, list_runs, load_champion, load_shadows
from models.metric_names import current_name, renamed
from training.compare import compare
from training.leaderboard import FOREST_FILE, LEADERBOARD_FILE, Leaderboard, draw_forest, leaderboard_html, signed
from training.mlflow_view import ALL_TRAININGS, LAST_TRAINING, SHARED_VIEW, experiment_tags, view_address
from training.promotion import promote
from training.tracking import pointed_at
from training.train import TrainReport, train_on

QUICK = replace(SETTINGS, models=("pool", "logit", "momentum"), draws=2, rotations=5)
ETH = replace(ALTCOINS, name="ETH rally", subject="ETH", universe="coins", coins=("ethereum",))
MOST_CHARACTERS = 5000
"""MLflow keeps no longer tag of an experiment."""


@pytest.fixture(autouse=True)
def few_pictures(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("training.run_log.write_figures", one_picture)


@pytest.fixture(scope="module")
def first(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, TrainReport]:
    """A home trained once."""
    home = tmp_path_factory.mktemp("viewed")
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("training.run_log.write_figures", one_picture)
        return home, train_on(job(QUICK), place_in(home), silent)


@pytest.fixture
def trained(first: tuple[Path, TrainReport], tmp_path: Path) -> Path:
    shutil.copytree(first[0], tmp_path / "home")
    return tmp_path / "home"


def client_of(home: Path) -> Any:
    from mlflow import MlflowClient

    return MlflowClient(place_in(home).uri, place_in(home).uri)


def runs_of(home: Path, search: str = "") -> dict[str, Any]:
    """Runs of the altcoin rally by name, as MLflow hands them out."""
    client = client_of(home)
    experiment = client.get_experiment_by_name("altrally").experiment_id
    return {run.info.run_name: run for run in client.search_runs([experiment], search)}


def test_a_training_shows_the_headline_of_its_champion(first: tuple[Path, TrainReport]) -> None:
    home, report = first
    runs = runs_of(home)
    parent, pool = (next(run for name, run in runs.items() if name.startswith(f"{word} ")) for word in ("train", "pool"))
    assert parent.info.run_id == report.run_id
    assert parent.data.tags["standing"] == "shows pool"
    assert parent.data.metrics == {name: value for name, value in pool.data.metrics.items() if name.startswith("60d/")}
    kept = {file.path for file in client_of(home).list_artifacts(report.run_id)}
    assert {LEADERBOARD_FILE, FOREST_FILE} <= kept


def test_runs_are_found_by_what_people_ask(first: tuple[Path, TrainReport]) -> None:
    home, report = first
    briers = {row["model"]: row["brier"] for row in report.rows if row["horizon"] == 60 and row["model"] in QUICK.models}
    middle = sorted(briers.values())[1]
    found = runs_of(home, f'metrics."60d/brier" < {middle + 1e-3} and tags.training != ""')
    assert len(found) == 2
    import mlflow

    with pointed_at(place_in(home).uri):
        table = mlflow.search_runs(experiment_names=["altrally"], filter_string='metrics."60d/brier" < 1')
    assert len(table) == 1 + len(report.models)


def test_names_of_runs_are_unique_and_a_model_is_still_found_by_its_own(trained: Path) -> None:
    train_on(job(replace(QUICK, models=("pool",))), place_in(trained), silent)
    runs = list_runs(place_in(trained).uri)
    assert runs["name"].is_unique
    assert {name.rpartition(" ")[2] for name in runs["name"]} == {"#1", "#2"}
    newest = runs[runs["model"] == "pool"].iloc[0]
    assert find_run(runs, "pool")["run_id"] == newest["run_id"] == find_run(runs, newest["name"])["run_id"]


def test_a_promotion_is_seen_on_runs_versions_and_the_registered_model(trained: Path) -> None:
    promoted = promote(place_in(trained), "logit", force=True, why="to see it")
    assert (promoted.model, promoted.forced, promoted.former_version) == ("logit", True, "3")
    client = client_of(trained)
    versions = {one.tags["model"]: one for one in client.search_model_versions("name = 'altrally'")}
    standings = {name: one.tags["standing"] for name, one in versions.items()}
    assert standings == {"pool": "former champion", "logit": "champion", "momentum": "baseline"}
    runs = runs_of(trained)
    assert {name.split()[0]: run.data.tags["standing"] for name, run in runs.items() if "training" in run.data.tags} == standings
    assert client.get_registered_model("altrally").description.startswith(f"**Champion: version {promoted.version}, logit**")
    assert versions["pool"].description.startswith("pool, trained on what was known by 2024-09-30.")
    place = place_in(trained)
    assert place.database is not None
    assert damaged_figures(place.database) == []


def test_the_champion_is_the_latest_version_and_models_bear_their_names(first: tuple[Path, TrainReport]) -> None:
    client = client_of(first[0])
    versions = [int(one.version) for one in client.search_model_versions("name = 'altrally'")]
    champion = client.get_model_version_by_alias("altrally", "champion")
    assert int(champion.version) == max(versions)
    experiment = client.get_experiment_by_name("altrally").experiment_id
    assert {model.name for model in client.search_logged_models([experiment])} == set(QUICK.models or ())


def test_each_target_has_an_experiment_that_says_how_to_compare(trained: Path) -> None:
    train_on(job(replace(QUICK, models=("pool",), target=ETH)), place_in(trained), silent)
    client = client_of(trained)
    for name in ("altrally", "altrally-eth-rally"):
        experiment = client.get_experiment_by_name(name)
        assert "How to compare" in experiment.tags["mlflow.note.content"]
        (parent,) = client.search_runs([experiment.experiment_id], "tags.standing = 'shows pool'")
        assert parent.info.run_name in experiment.tags[f"{SHARED_VIEW}{LAST_TRAINING}"]
        assert not [tag for tag in experiment.tags if not tag.startswith("mlflow.")]
    assert {run.split()[0] for run in list_runs(place_in(trained).uri)["name"]} == {"train", "pool", "logit", "momentum"}


def test_a_prepared_view_names_columns_that_runs_have(first: tuple[Path, TrainReport]) -> None:
    child = next(run for run in runs_of(first[0]).values() if "training" in run.data.tags)
    there = {f"metrics.`{name}`" for name in child.data.metrics} | {f"tags.`{name}`" for name in child.data.tags}
    for name, value in experiment_tags(ALTCOINS, child.data.tags["training"]).items():
        assert len(value) < MOST_CHARACTERS
        if name.startswith(SHARED_VIEW):
            state = json.loads(value)
            assert set(state["selectedColumns"]) <= there
            assert set(state["columnWidths"]) <= set(state["columnOrder"])
            assert all(f"metrics.`{bar['metricKey']}`" in there for bar in state["compareRunCharts"])
            assert state["compareRunSections"][0]["name"] == f"{judged_horizon(ALTCOINS.horizons)}d"
    assert view_address("http://h:1/", "7", ALL_TRAININGS).startswith("http://h:1/#/experiments/7/runs?")


OLD_ENDINGS = {"_low": "_lo", "_high": "_hi"}


def old_name(name: str) -> str:
    """What a metric was called before: skill_volatility_60_lo, brier_60, skill_climatology_60_null_p."""
    horizon, _, what = name.partition("d/")
    special = {"null_p": f"skill_climatology_{horizon}_null_p", "claim_null_p": f"claim_{horizon}_null_p"}
    special["best_of_n_p"] = f"best_of_n_{horizon}_p"
    if what in special:
        return special[what]
    ending = next((ending for ending in OLD_ENDINGS if what.endswith(ending)), "")
    return f"{what.removesuffix(ending).replace('skill_vs_', 'skill_')}_{horizon}{OLD_ENDINGS.get(ending, '')}"


def make_old(home: Path) -> None:
    """Rewrite the runs of a home as versions before named them: metrics, run names, and tags for programs that anyone sees."""
    database = home / "mlruns" / "mlflow.db"
    new_tags = ("standing", "training", f"{HIDDEN}number")
    with closing(sqlite3.connect(database)) as connection, connection:
        connection.create_function("old_name", 1, old_name)
        for table in ("metrics", "latest_metrics"):
            parents = "SELECT run_uuid FROM runs WHERE name LIKE 'train %'"
            connection.execute(f"DELETE FROM {table} WHERE run_uuid IN ({parents})")
            connection.execute(f"UPDATE {table} SET key = old_name(key)")
        models = "SELECT value FROM tags WHERE tags.run_uuid = runs.run_uuid AND key = 'model'"
        connection.execute(f"UPDATE runs SET name = coalesce(({models}), substr(name, 1, 16))")
        connection.executemany("DELETE FROM tags WHERE key = ?", [(tag,) for tag in new_tags])
        for table in ("tags", "experiment_tags"):
            connection.execute(f"UPDATE {table} SET key = substr(key, ?) WHERE key LIKE ?", (len(HIDDEN) + 1, f"{HIDDEN}%"))
        connection.execute("DELETE FROM experiment_tags WHERE key LIKE 'mlflow.%' OR key = 'target'")
    sums = figures_of(database)
    with closing(sqlite3.connect(database)) as connection, connection:
        connection.executemany(
            "UPDATE tags SET value = ? WHERE run_uuid = ? AND key = 'figures'", [(s, r) for r, s in sums.items()]
        )


def test_a_home_of_an_earlier_version_is_read_compared_promoted_and_trained_on(trained: Path) -> None:
    place = place_in(trained)
    make_old(trained)
    assert {name.split()[0] for name in runs_of(trained)} == {"train", "pool", "logit", "momentum"}
    assert "skill_climatology_60_null_p" in runs_of(trained)["logit"].data.metrics
    assert place.database is not None
    assert damaged_figures(place.database) == []
    champion = load_champion(place.uri, trained)
    assert champion.card.model == "pool"
    assert champion_place(place.uri).files != ""
    shadows = load_shadows(place.uri, trained, champion.card.family, champion.card.label)
    assert {shadow.name for shadow in shadows} == set(QUICK.models or ())
    assert list_runs(place.uri)["metrics.60d/brier"].notna().sum() == len(QUICK.models or ())
    rows = compare(place, ["pool", "logit"])
    assert {row["model"] for row in rows} == {"pool", "logit"}
    assert damaged_figures(place.database) == []
    with pytest.raises(Refused) as refused:
        promote(place, "logit")
    assert "hasn't been computed" not in str(refused.value), "the old p-values are read"
    report = train_on(job(QUICK), place, silent)
    assert report.decisions[0].startswith("pool v6 is champion: a refresh of v3")
    assert report.trials == 187, "tries counted by the earlier version stay counted"
    assert len(list_runs(place.uri)) == 2 * (1 + len(QUICK.models or ()))
    assert damaged_figures(place.database) == []


def test_old_names_of_metrics_are_those_of_today() -> None:
    today = [
        "60d/brier",
        "60d/log_score",
        "30d/auc",
        "60d/null_p",
        "60d/claim_null_p",
        "45d/best_of_n_p",
        "60d/skill_vs_volatility",
    ]
    today += ["60d/skill_vs_volatility_low", "90d/skill_vs_climatology_high"]
    assert [current_name(old_name(name)) for name in today] == today == [current_name(name) for name in today]
    old = {"gain_60": 1.0, "gain_60_lo": 0.5, "gain_60_dm_p": 0.1, "claim_60_null_p": None, "of another kind": 2.0}
    assert list(renamed(old)) == ["60d/gain", "60d/gain_low", "60d/gain_hac_p", "60d/claim_null_p", "of another kind"]


def row(model: str, brier: float | None, days: int = 60) -> dict[str, Any]:
    skill = dict.fromkeys(("value", "low", "high"), None if brier is None else 0.25 - brier)
    about = {"model": model, "horizon": days, "brier": brier, "best_of_n_p": None, "grade": "not <shown>"}
    return about | {"skill_volatility": skill, "skill_climatology": skill}


def test_the_leaderboard_has_the_best_first_the_champion_marked_and_no_markup_of_others(tmp_path: Path) -> None:
    rows = [row("climatology", 0.26), row("logit", None), row("pool", 0.24), row("pool", 0.2, 30), row("logit", 0.21, 30)]
    board = Leaderboard("train <1>", "a label", "simulated", "abcd", rows, {"pool": "3"}, {"pool": "champion"}, ["pool & <b>"])
    page = leaderboard_html(board)
    assert page.index("Within 60 days") < page.index("Within 30 days")
    judged = page.partition("Within 30 days")[0]
    assert judged.index(">pool<") < judged.index(">climatology<") < judged.index(">logit<")
    assert '<tr class="champion"><td>1</td><td>pool</td><td>champion</td><td>v3</td>' in judged
    assert "Simulated market." in page
    assert "train &lt;1&gt;" in page
    assert "pool &amp; &lt;b&gt;" in page
    assert "not &lt;shown&gt;" in page
    assert "http" not in page, "it needs no network"
    draw_forest(rows, "about", tmp_path / "forest.png")
    assert (tmp_path / "forest.png").read_bytes().startswith(b"\x89PNG")
    draw_forest([row("pool", None)], "about", tmp_path / "none.png")
    assert not (tmp_path / "none.png").exists()


def test_no_number_is_printed_as_minus_zero() -> None:
    assert [signed(value) for value in (-0.0001, 0.0004, -0.0006, 0.0512)] == ["0.000", "0.000", "−0.001", "+0.051"]
