"""What is saved comes back the same, or not at all."""

import json
import pickle
import shutil
import sqlite3
import subprocess
import sys
from contextlib import closing
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any
from zipfile import ZipFile

import numpy as np
import pandas as pd
import pytest
import skops.io

from core.errors import BadInput, NoChampion, Refused, StoreUnusable, UnknownName
from models.card import Card, FoldCard, read_card
from models.catalog import MODELS
from models.champion import (
    Champion,
    ChampionPlace,
    aliases,
    champion_by_client,
    champion_rows,
    download,
    find_run,
    list_runs,
    load_champion,
)
from models.forecaster import FoldModel, Forecaster, assemble
from models.hazard import Hazard
from models.saving import TRUSTED_TYPES, digest, load
from training.tracking import pointed_at

CARD = Card(
    model="hazard",
    family="logit",
    market="simulated",
    outcome={"kind": "first_passage", "threshold": 0.3},
    horizons=[30, 60, 90],
    columns=["breadth", "liquidity"],
    label="first_passage 30 %",
    configuration="0123",
    snapshot="abcd",
    trained_as_of="2024-12-31",
    last_label_end="2024-12-30",
    base_rates=[0.24, 0.39, 0.48],
    folds=[FoldCard("2018-01-01", "2018-03-31", [0.2, 0.3, 0.4], {"breadth": 0.1, "liquidity": -0.1})],
    means={"breadth": 0.0, "liquidity": 0.2},
    skill={
        "brier_skill_score": 0.01,
        "low": -0.1,
        "high": 0.1,
        "null_p": None,
        "shown": False,
        "sentence": "No skill has been shown.",
        "start": "2018-01-07",
        "end": "2024-10-27",
    },
    draws=20,
    trials=55,
)


def data(rows: int = 120, columns: int = 2) -> tuple[pd.DataFrame, np.ndarray]:
    rng = np.random.default_rng(0)
    X = pd.DataFrame(rng.standard_normal((rows, columns)), columns=[f"x{j}" for j in range(columns)])
    return X, np.maximum.accumulate(rng.uniform(size=(rows, 3)) < 0.3, axis=1).astype(float)


def forecaster(folds: int = 2, name: str = "hazard") -> Forecaster:
    X, Y = data()
    weights = np.random.default_rng(1).integers(0, 3, size=(5, len(X))).astype(float)

    def trained(rows: int) -> Any:
        model = MODELS[name].make("first_passage", 0.3)
        return model.fit(X[:rows].abs(), Y[:rows]).fit_draws(X[:rows].abs(), Y[:rows], weights[:, :rows])

    quarters = pd.period_range("2018Q1", periods=folds, freq="Q")
    spans = [(quarter.start_time, quarter.end_time.normalize()) for quarter in quarters]
    return assemble(trained(120), [FoldModel(trained(60 + 10 * i), *span) for i, span in enumerate(spans)])


def save(forecaster: Forecaster, path: Path) -> str:
    """Write a skops file; its SHA-256."""
    skops.io.dump(forecaster, path)
    return digest(path)


class TestSaving:
    @pytest.mark.parametrize("name", list(MODELS))
    def test_every_model_comes_back_with_the_same_numbers(self, name: str, tmp_path: Path) -> None:
        saved = forecaster(name=name)
        loaded = load(tmp_path / "model.skops", save(saved, tmp_path / "model.skops"))
        X = data()[0].abs()
        np.testing.assert_array_equal(loaded.predict(X), saved.predict(X))
        np.testing.assert_array_equal(loaded.model_.predict_draws(X), saved.model_.predict_draws(X))
        np.testing.assert_array_equal(loaded.fold_models_[1].predict_draws(X), saved.fold_models_[1].predict_draws(X))

    def test_another_file_than_the_registered_one_is_refused(self, tmp_path: Path) -> None:
        sha = save(forecaster(), tmp_path / "model.skops")
        save(forecaster(folds=1), tmp_path / "model.skops")
        with pytest.raises(Refused, match="SHA-256"):
            load(tmp_path / "model.skops", sha)

    def test_a_pickle_is_refused_and_never_run(self, tmp_path: Path) -> None:
        marker, file = tmp_path / "was run", tmp_path / "model.skops"
        file.write_bytes(pickle.dumps(Touch(marker)))
        with pytest.raises(Refused, match="isn't a skops file"):
            load(file, digest(file))
        assert not marker.exists()
        pickle.loads(file.read_bytes())
        assert marker.exists(), "the pickle must be a dangerous one, or this test proves nothing"

    def test_a_skops_file_with_a_foreign_function_is_refused_by_name(self, tmp_path: Path) -> None:
        import skops.io

        hostile = forecaster()
        hostile.model_.predict = partial(pd.read_pickle, "somewhere")
        skops.io.dump(hostile, tmp_path / "model.skops")
        with pytest.raises(Refused, match=r"functools\.partial, pandas\.read_pickle"):
            load(tmp_path / "model.skops", digest(tmp_path / "model.skops"))

    def test_an_estimator_that_is_no_forecaster_is_refused(self, tmp_path: Path) -> None:
        import skops.io

        skops.io.dump(Hazard(), tmp_path / "model.skops")
        with pytest.raises(Refused, match="holds a Hazard"):
            load(tmp_path / "model.skops", digest(tmp_path / "model.skops"))

    @pytest.mark.parametrize("schema", [None, "{}", "[", '{"__class__": 3}'])
    def test_a_damaged_archive_is_refused(self, schema: str | None, tmp_path: Path) -> None:
        file = tmp_path / "model.skops"
        with ZipFile(file, "w") as archive:
            archive.writestr("schema.json" if schema is not None else "other", schema or "")
        with pytest.raises(Refused, match="isn't a skops file"):
            load(file, digest(file))

    def test_only_our_own_types_are_trusted(self) -> None:
        assert all(trusted.startswith("models.") for trusted in TRUSTED_TYPES)


class Touch:
    """Unpickling it creates a file."""

    def __init__(self, marker: Path) -> None:
        self.marker = marker

    def __reduce__(self) -> tuple[Any, ...]:
        return Path.touch, (self.marker,)


class TestForecaster:
    LAST = pd.Timestamp("2018-12-30")

    def test_days_after_the_last_outcome_are_the_final_models(self) -> None:
        saved = forecaster()
        assert saved.model_for(pd.Timestamp("2018-12-31"), self.LAST) == (saved.model_, None)

    @pytest.mark.parametrize(("day", "fold"), [("2018-01-01", 0), ("2018-03-31", 0), ("2018-04-01", 1), ("2018-06-30", 1)])
    def test_earlier_days_belong_to_the_fold_that_covers_them(self, day: str, fold: int) -> None:
        saved = forecaster()
        assert saved.model_for(pd.Timestamp(day), self.LAST) == (saved.fold_models_[fold], fold)
        assert saved.model_for(pd.Timestamp(day), self.LAST, in_sample=True) == (saved.fold_models_[fold], fold)

    @pytest.mark.parametrize("day", ["2017-12-31", "2018-07-01", "2018-12-30"])
    def test_days_no_fold_covers_are_refused_unless_asked_in_sample(self, day: str) -> None:
        saved = forecaster()
        with pytest.raises(Refused, match="--in-sample"):
            saved.model_for(pd.Timestamp(day), self.LAST)
        assert saved.model_for(pd.Timestamp(day), self.LAST, in_sample=True) == (saved.model_, None)

    def test_without_folds_every_past_day_is_refused(self) -> None:
        with pytest.raises(Refused, match="there are none"):
            forecaster(folds=0).model_for(self.LAST, self.LAST)


class TestCard:
    def test_survives_json(self) -> None:
        assert read_card(json.dumps(CARD.to_dict())) == CARD

    def test_a_number_that_is_none_in_json_is_refused(self) -> None:
        with pytest.raises(BadInput, match="can't be saved"):
            replace(CARD, base_rates=[0.1, float("nan"), 0.3]).to_dict()

    @pytest.mark.parametrize(
        ("change", "says"),
        [
            ({"horizons": None}, "field 'horizons' is missing"),
            ({"extra": 1}, "field 'extra' is unknown"),
            ({"draws": "many"}, "field 'draws' is 'many'"),
            ({"folds": [{"test_start": "2018-01-01"}]}, "missing"),
            ({"folds": [3]}, "not an object"),
            ({"outcome": {"kind": "terminal"}}, "outcome lacks 'threshold'"),
            ({"skill": {}}, "skill lacks"),
            ({"means": {"breadth": 0.0}}, "means lacks 'liquidity'"),
            ({"base_rates": [0.1]}, "base_rates"),
        ],
    )
    def test_damage_is_named(self, change: dict[str, Any], says: str) -> None:
        plain = CARD.to_dict() | change
        with pytest.raises(BadInput, match=says):
            read_card(json.dumps({key: value for key, value in plain.items() if value is not None}))

    @pytest.mark.parametrize("text", ["", "{", "[]", "null"])
    def test_what_is_no_card_is_refused(self, text: str) -> None:
        with pytest.raises(BadInput, match="card is damaged"):
            read_card(text)


def log_champion(home: Path) -> None:
    """Register a champion with MLflow's own writer, as a training does: parent run, child run, model, card, tag, alias."""
    import mlflow

    uri = uri_of(home)
    client = mlflow.MlflowClient(tracking_uri=uri, registry_uri=uri)
    (home / "mlruns" / "artifacts").mkdir()
    experiment = client.create_experiment("altrally", artifact_location=str(home / "mlruns" / "artifacts"))
    with pointed_at(uri), mlflow.start_run(experiment_id=experiment, run_name="training"):
        with mlflow.start_run(experiment_id=experiment, run_name="hazard", nested=True):
            mlflow.log_params({"model": "hazard"})
            mlflow.log_metrics({"brier_60": 0.21})
            mlflow.set_tags({"family": "logit"})
            mlflow.log_dict(CARD.to_dict(), "card.json")
            info = mlflow.sklearn.log_model(
                forecaster(),
                name="model",
                serialization_format="skops",
                skops_trusted_types=TRUSTED_TYPES,
                pip_requirements=["scikit-learn"],
            )
        version = mlflow.register_model(info.model_uri, "altrally").version
    client.set_model_version_tag("altrally", version, "sha256", digest(Path(info.artifact_path) / "model.skops"))
    client.set_registered_model_alias("altrally", "champion", version)


def uri_of(home: Path) -> str:
    return f"sqlite:///{home / 'mlruns' / 'mlflow.db'}"


@pytest.fixture(scope="module")
def trained_home(tmp_path_factory: pytest.TempPathFactory) -> Path:
    home = tmp_path_factory.mktemp("trained")
    (home / "mlruns").mkdir()
    log_champion(home)
    return home


@pytest.fixture
def home(trained_home: Path, tmp_path: Path) -> Path:
    """A copy that a test may spoil; its database still names the files of the original."""
    shutil.copytree(trained_home, tmp_path / "home")
    return tmp_path / "home"


class TestRegistry:
    def test_the_champion_comes_back(self, trained_home: Path) -> None:
        champion = load_champion(uri_of(trained_home), trained_home)
        X = data()[0].abs()
        np.testing.assert_array_equal(champion.forecaster.predict(X), forecaster().predict(X))
        assert champion.card == CARD
        assert (champion.name, champion.version) == ("altrally", "1")

    def test_the_short_way_to_the_champion_leads_where_mlflow_does(self, trained_home: Path) -> None:
        found = champion_rows(trained_home / "mlruns" / "mlflow.db")
        assert [ChampionPlace(*map(str, row)) for row in found] == [champion_by_client(uri_of(trained_home))]

    def test_tables_of_another_mlflow_are_left_to_its_client(self, tmp_path: Path) -> None:
        with closing(sqlite3.connect(tmp_path / "mlflow.db")) as database, database:
            database.execute("CREATE TABLE registered_model_aliases (alias)")
        assert champion_rows(tmp_path / "mlflow.db") == []

    def test_a_fresh_process_gives_the_same_numbers(self, trained_home: Path) -> None:
        program = (
            "import sys, json, pathlib\n"
            "from models.champion import load_champion\n"
            "champion = load_champion(sys.argv[1], pathlib.Path(sys.argv[2]))\n"
            "print(json.dumps(champion.forecaster.predict([[0.5, 1.0], [2.0, 0.1]]).tolist()))\n"
        )
        command = [sys.executable, "-c", program, uri_of(trained_home), str(trained_home)]
        printed = subprocess.run(command, capture_output=True, text=True, check=True, cwd=trained_home).stdout
        np.testing.assert_allclose(json.loads(printed), forecaster().predict([[0.5, 1.0], [2.0, 0.1]]), rtol=0, atol=1e-12)

    def test_a_home_that_moved_still_scores(self, home: Path, trained_home: Path, tmp_path: Path) -> None:
        hidden = trained_home.with_name("hidden")
        trained_home.rename(hidden)
        try:
            assert isinstance(load_champion(uri_of(home), home), Champion)
        finally:
            hidden.rename(trained_home)

    def test_a_copied_home_reads_its_own_files(self, home: Path) -> None:
        (model,) = home.rglob("model.skops")
        save(forecaster(folds=0), model)
        with pytest.raises(Refused, match="SHA-256"):
            load_champion(uri_of(home), home)

    def test_a_file_that_does_not_come_from_a_server_is_said_in_one_line(self, tmp_path: Path) -> None:
        with pytest.raises(StoreUnusable, match=r"model\.skops doesn't come from http"):
            download(str(tmp_path / "model.skops"), tmp_path, "http://127.0.0.1:9")

    def test_a_damaged_card_is_named(self, home: Path) -> None:
        (card,) = home.rglob("card.json")
        card.write_text("{}")
        with pytest.raises(BadInput, match="card is damaged"):
            load_champion(uri_of(home), home)

    def test_a_version_without_its_hash_is_refused(self, home: Path) -> None:
        client_of(home).delete_model_version_tag("altrally", "1", "sha256")
        with pytest.raises(Refused, match="SHA-256"):
            load_champion(uri_of(home), home)

    def test_no_database_means_no_champion_and_none_is_made(self, tmp_path: Path) -> None:
        for read in (lambda uri: load_champion(uri, tmp_path), aliases, list_runs):
            with pytest.raises(NoChampion, match="altrally train"):
                read(uri_of(tmp_path))
        assert list(tmp_path.iterdir()) == []

    def test_an_empty_database_means_no_champion(self, tmp_path: Path) -> None:
        (tmp_path / "mlruns").mkdir()
        (tmp_path / "mlruns" / "mlflow.db").touch()
        with pytest.raises(NoChampion, match="altrally train"):
            load_champion(uri_of(tmp_path), tmp_path)
        assert (tmp_path / "mlruns" / "mlflow.db").stat().st_size == 0

    def test_a_file_that_is_no_database_is_named(self, tmp_path: Path) -> None:
        (tmp_path / "mlruns").mkdir()
        (tmp_path / "mlruns" / "mlflow.db").write_text("not a database at all")
        with pytest.raises(StoreUnusable, match=r"mlflow\.db"):
            load_champion(uri_of(tmp_path), tmp_path)

    def test_without_the_alias_there_is_no_champion(self, home: Path) -> None:
        client_of(home).delete_registered_model_alias("altrally", "champion")
        with pytest.raises(NoChampion, match="altrally train"):
            load_champion(uri_of(home), home)
        assert aliases(uri_of(home)) == {}

    def test_without_a_registered_model_there_is_no_champion(self, home: Path) -> None:
        client_of(home).delete_registered_model("altrally")
        with pytest.raises(NoChampion, match="altrally train"):
            load_champion(uri_of(home), home)
        assert aliases(uri_of(home)) == {}

    def test_lost_files_are_said_to_be_lost(self, home: Path, trained_home: Path) -> None:
        hidden = trained_home.with_name("hidden")
        trained_home.rename(hidden)
        shutil.rmtree(home / "mlruns" / "artifacts")
        try:
            with pytest.raises(NoChampion, match=r"model\.skops is gone"):
                load_champion(uri_of(home), home)
        finally:
            hidden.rename(trained_home)

    def test_aliases(self, trained_home: Path) -> None:
        assert aliases(uri_of(trained_home)) == {"champion": "1"}

    def test_runs_with_their_parents_parameters_metrics_and_tags(self, trained_home: Path) -> None:
        runs = list_runs(uri_of(trained_home)).set_index("name")
        assert runs.loc["hazard", "parent_id"] == runs.loc["training", "run_id"]
        assert pd.isna(runs.loc["training", "parent_id"])
        assert list(runs.loc["hazard", ["params.model", "metrics.60d/brier", "tags.family", "status"]]) == [
            "hazard",
            0.21,
            "logit",
            "FINISHED",
        ]
        assert not [column for column in runs if column.startswith("tags.mlflow")]

    def test_a_run_is_found_by_id_beginning_or_name(self, trained_home: Path) -> None:
        runs = list_runs(uri_of(trained_home))
        run_id = runs.set_index("name").loc["hazard", "run_id"]
        assert {find_run(runs, wanted)["run_id"] for wanted in (run_id, run_id[:10], "hazard")} == {run_id}

    def test_before_any_run_the_list_is_empty(self, trained_home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr("models.champion.EXPERIMENT", "another")
        runs = list_runs(uri_of(trained_home))
        assert runs.empty
        with pytest.raises(UnknownName, match="none"):
            find_run(runs, "hazard")

    @pytest.mark.parametrize("wanted", ["hazrd", "", "zzz"])
    def test_an_unknown_run_is_named_with_a_hint(self, trained_home: Path, wanted: str) -> None:
        with pytest.raises(UnknownName, match="hazard"):
            find_run(list_runs(uri_of(trained_home)), wanted)


def client_of(home: Path) -> Any:
    from mlflow import MlflowClient

    return MlflowClient(tracking_uri=uri_of(home), registry_uri=uri_of(home))


def test_importing_the_reader_does_not_import_mlflow() -> None:
    program = "import sys, models.champion; print('mlflow' in sys.modules, 'skops' in sys.modules)"
    printed = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True).stdout
    assert printed.split() == ["False", "False"]
