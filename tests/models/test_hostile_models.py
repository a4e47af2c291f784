"""Hostile model files: none of them runs code, and each gets one clear line."""

import gzip
import io
import json
import operator
import os
import pickle
import shutil
import sqlite3
import sys
import zipfile
from collections.abc import Callable
from contextlib import closing
from functools import partial
from pathlib import Path
from typing import Any

import cloudpickle
import joblib
import numpy as np
import pytest
import skops.io
from sklearn.linear_model import LogisticRegression
from test_registry import forecaster, log_champion, uri_of

from core.errors import AltrallyError, Refused
from models.champion import load_champion
from models.saving import digest, load

Write = Callable[[Path, Path], None]


class Runs:
    """Unpickling it runs a function of the payload's choice."""

    def __init__(self, function: Callable[..., Any], *words: Any) -> None:
        self.called = (function, words)

    def __reduce__(self) -> tuple[Any, ...]:
        return self.called


def touch(canary: Path) -> str:
    return f"touch '{canary}'"


def pickled(canary: Path, protocol: int = 5, function: Callable[..., Any] = os.system) -> bytes:
    return pickle.dumps(Runs(function, touch(canary)), protocol)


def with_partial(canary: Path) -> Any:
    hostile = forecaster()
    hostile.model_.predict = partial(os.system, touch(canary))
    return hostile


def with_an_estimator_of_scikit_learn() -> Any:
    hostile = forecaster()
    hostile.model_ = LogisticRegression().fit(np.eye(2), [0, 1])
    return hostile


def skops_schema(file: Path, node: dict[str, Any], **members: bytes) -> None:
    """A hand-written skops archive."""
    with zipfile.ZipFile(file, "w") as archive:
        archive.writestr("schema.json", json.dumps({"protocol": 2, "_skops_version": "0.13.0"} | node))
        for name, content in members.items():
            archive.writestr(f"{name}.npy", content)


def object_array(canary: Path) -> bytes:
    held = io.BytesIO()
    np.save(held, np.array([Runs(os.system, touch(canary))], dtype=object), allow_pickle=True)
    return held.getvalue()


def system_call(canary: Path) -> dict[str, Any]:
    text = {
        "__class__": "str",
        "__module__": "builtins",
        "__loader__": "JsonNode",
        "__id__": 2,
        "content": json.dumps(touch(canary)),
    }
    arguments = {"__class__": "tuple", "__module__": "builtins", "__loader__": "TupleNode", "__id__": 3, "content": [text]}
    return {
        "__class__": "system",
        "__module__": "os",
        "__loader__": "ReduceNode",
        "__id__": 1,
        "content": arguments,
        "constructor": text,
    }


HOSTILE: dict[str, Write] = {
    **{f"pickle, protocol {n}": lambda file, canary, n=n: file.write_bytes(pickled(canary, n)) for n in range(6)},
    "pickle of exec": lambda file, canary: file.write_bytes(pickle.dumps(Runs(exec, f"open({str(canary)!r}, 'w')"))),
    "pickle, gzipped": lambda file, canary: file.write_bytes(gzip.compress(pickled(canary))),
    "joblib": lambda file, canary: joblib.dump(Runs(os.system, touch(canary)), file),
    "joblib, compressed": lambda file, canary: joblib.dump(Runs(os.system, touch(canary)), file, compress=3),
    "cloudpickle": lambda file, canary: file.write_bytes(cloudpickle.dumps(Runs(os.system, touch(canary)))),
    "numpy array of objects": lambda file, canary: file.write_bytes(object_array(canary)),
    "skops with a system call": lambda file, canary: skops.io.dump(with_partial(canary), file),
    "skops with a method caller": lambda file, canary: skops.io.dump(operator.methodcaller("system", touch(canary)), file),
    "skops with an estimator that skops trusts": lambda file, canary: skops.io.dump(with_an_estimator_of_scikit_learn(), file),
    "skops naming os.system": lambda file, canary: skops_schema(file, system_call(canary)),
    "skops naming a node of no kind": lambda file, canary: skops_schema(file, system_call(canary) | {"__loader__": "EvalNode"}),
    "skops with a pickled array": lambda file, canary: skops_schema(
        file,
        {"__class__": "ndarray", "__module__": "numpy", "__loader__": "NdArrayNode", "__id__": 1, "type": "numpy", "file": "a.npy"},
        a=object_array(canary),
    ),
    "skops nested without end": lambda file, canary: zip_of(file, "schema.json", b"[" * 200_000),
    "zip of a pickle": lambda file, canary: zip_of(file, "data.pkl", pickled(canary)),
    "zip that Python could run": lambda file, canary: zip_of(file, "__main__.py", f"open({str(canary)!r}, 'w')".encode()),
    "Python source": lambda file, canary: file.write_text(f"open({str(canary)!r}, 'w')"),
    "link to a pickle elsewhere": lambda file, canary: linked(file, canary),
    "nothing": lambda file, canary: file.write_bytes(b""),
}


def zip_of(file: Path, name: str, content: bytes) -> None:
    with zipfile.ZipFile(file, "w") as archive:
        archive.writestr(name, content)


def linked(file: Path, canary: Path) -> None:
    elsewhere = file.with_name("elsewhere.pkl")
    elsewhere.write_bytes(pickled(canary))
    file.symlink_to(elsewhere)


@pytest.mark.parametrize("name", HOSTILE)
def test_no_hostile_file_runs_even_with_its_own_hash_registered(name: str, tmp_path: Path) -> None:
    file, canary = tmp_path / "model.skops", tmp_path / "canary"
    HOSTILE[name](file, canary)
    with pytest.raises(Refused) as told:
        load(file, digest(file))
    assert "\n" not in str(told.value)
    assert "model.skops" in str(told.value)
    assert not canary.exists()


@pytest.mark.parametrize("protocol", range(6))
def test_the_pickles_are_live(protocol: int, tmp_path: Path) -> None:
    pickle.loads(pickled(tmp_path / "canary", protocol))
    assert (tmp_path / "canary").exists()


def test_the_array_of_objects_is_live(tmp_path: Path) -> None:
    np.load(io.BytesIO(object_array(tmp_path / "canary")), allow_pickle=True)
    assert (tmp_path / "canary").exists()


@pytest.fixture(scope="module")
def registered(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A home with a champion, registered by MLflow's own writer."""
    home = tmp_path_factory.mktemp("registered")
    (home / "mlruns").mkdir()
    log_champion(home)
    return home


@pytest.fixture
def home(registered: Path, tmp_path: Path) -> Path:
    """A copy to spoil."""
    return Path(shutil.copytree(registered, tmp_path / "home"))


def model_folder(home: Path) -> Path:
    (model,) = home.rglob("model.skops")
    return model.parent


def swapped_for_a_pickle(home: Path, canary: Path) -> None:
    (model_folder(home) / "model.skops").write_bytes(pickled(canary))


def swapped_for_a_link(home: Path, canary: Path) -> None:
    file = model_folder(home) / "model.skops"
    file.unlink()
    linked(file, canary)


def moved_in_the_database(home: Path, canary: Path) -> None:
    """The database says the model lies somewhere above the home."""
    outside = home.parent / "outside"
    outside.mkdir()
    (outside / "model.skops").write_bytes(pickled(canary))
    with closing(sqlite3.connect(home / "mlruns" / "mlflow.db")) as database, database:
        place = f"{home}/mlruns/artifacts/../../../outside"
        database.execute("UPDATE logged_models SET artifact_location = ?", (place,))


@pytest.mark.parametrize("spoil", [swapped_for_a_pickle, swapped_for_a_link, moved_in_the_database])
def test_a_swapped_model_is_refused_by_its_hash(home: Path, tmp_path: Path, spoil: Callable[[Path, Path], None]) -> None:
    spoil(home, tmp_path / "canary")
    with pytest.raises(AltrallyError, match="SHA-256") as told:
        load_champion(uri_of(home), home)
    assert "\n" not in str(told.value)
    assert not (tmp_path / "canary").exists()


def another_loader(folder: Path, code: str) -> None:
    text = (folder / "MLmodel").read_text().replace("loader_module: mlflow.sklearn", "loader_module: evil_loader\n    code: code")
    (folder / "MLmodel").write_text(text)
    (folder / "code").mkdir()
    (folder / "code" / "evil_loader.py").write_text(code)


def own_code_paths(folder: Path, code: str) -> None:
    (folder / "code" / "models").mkdir(parents=True)
    (folder / "code" / "models" / "__init__.py").write_text(code)
    (folder / "code" / "sitecustomize.py").write_text(code)


def pickled_flavour(folder: Path, code: str) -> None:
    text = (folder / "MLmodel").read_text().replace("serialization_format: skops", "serialization_format: cloudpickle")
    (folder / "MLmodel").write_text(text.replace("pickled_model: model.skops", "pickled_model: model.pkl"))
    (folder / "model.pkl").write_bytes(pickle.dumps(Runs(exec, code)))


def hostile_requirements(folder: Path, code: str) -> None:
    (folder / "setup.py").write_text(code)
    (folder / "requirements.txt").write_text(f"--index-url http://127.0.0.1:9/\n-e {folder}\n")
    (folder / "python_env.yaml").write_text(f"dependencies:\n- -e {folder}\n")
    (folder / "conda.yaml").write_text(f"dependencies:\n- pip:\n  - -e {folder}\n")


@pytest.mark.parametrize("add", [another_loader, own_code_paths, pickled_flavour, hostile_requirements])
def test_what_else_lies_in_the_folder_is_never_looked_at(
    home: Path, tmp_path: Path, add: Callable[[Path, str], None], monkeypatch: pytest.MonkeyPatch
) -> None:
    canary = tmp_path / "canary"
    add(model_folder(home), f"open({str(canary)!r}, 'w')")
    monkeypatch.chdir(model_folder(home))
    before = list(sys.path)
    assert load_champion(uri_of(home), home).card.model == "hazard"
    assert sys.path == before
    assert not canary.exists()


def test_a_version_registered_again_with_a_hostile_file_is_refused_by_its_types(home: Path, tmp_path: Path) -> None:
    file = model_folder(home) / "model.skops"
    skops.io.dump(with_partial(tmp_path / "canary"), file)
    with closing(sqlite3.connect(home / "mlruns" / "mlflow.db")) as database, database:
        database.execute("UPDATE model_version_tags SET value = ? WHERE key = 'sha256'", (digest(file),))
    with pytest.raises(Refused, match=r"types that aren't trusted: functools\.partial, "):
        load_champion(uri_of(home), home)
    assert not (tmp_path / "canary").exists()
