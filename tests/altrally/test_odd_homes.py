"""A home may be called anything a folder may: no sign in its path is read as something else, and nothing is written beside it."""

import os
import shlex
import sqlite3
from collections.abc import Callable
from contextlib import closing
from pathlib import Path

import duckdb
import pytest
import sqlalchemy
from faulting import World, said_by
from invoking import Invoke

from altrally.render import next_steps
from core.errors import BadInput, redacted
from core.home import Home, command, folder_address, folder_at, open_home, read_only, sqlite_address, sqlite_file
from models.champion import load_champion

SIGNS = {
    "space": "my home",
    "percent": "100%",
    "an escape": "50%41",
    "question mark": "what?mode=memory",
    "hash": "a#b",
    "ampersand": "a&b=c",
    "quote": "it's",
    "quotes": 'say "hi"',
    "backslash": "back\\slash",
    "not ASCII": "Büro-日本",
    "dash": "-home",
    "shell": "$HOME;x",
    "markup": "[red]",
    "at": "me:you@work",
    "long": "x" * 200,
}
ALL_AT_ONCE = "-my 100%41 #1 & 'x' \"y\" $HOME [red] a:b@c Büro-日本"
TO_DUCKDB = ("question mark", "backslash")


@pytest.mark.parametrize("name", SIGNS.values(), ids=SIGNS)
class TestAddresses:
    def test_sqlite_opens_the_file_that_is_meant_and_no_other(self, tmp_path: Path, name: str) -> None:
        file = tmp_path / name / "runs.db"
        file.parent.mkdir()
        engine = sqlalchemy.create_engine(sqlite_address(file))
        with engine.begin() as connection:
            connection.execute(sqlalchemy.text("CREATE TABLE ours (one)"))
        engine.dispose()
        with closing(sqlite3.connect(read_only(file), uri=True)) as connection:
            assert connection.execute("SELECT count(*) FROM ours").fetchone() == (0,)
            with pytest.raises(sqlite3.OperationalError, match="readonly"):
                connection.execute("DROP TABLE ours")
        assert sqlite_file(sqlite_address(file)) == file
        assert [path for path in tmp_path.rglob("*") if path.is_file()] == [file]
        assert [path.name for path in tmp_path.iterdir()] == [name]

    def test_mlflow_writes_below_the_folder_that_is_meant(self, tmp_path: Path, name: str) -> None:
        from mlflow.store.artifact.artifact_repository_registry import get_artifact_repository

        folder, file = tmp_path / name / "artifacts", tmp_path / "one.txt"
        file.write_text("one")
        get_artifact_repository(folder_address(folder)).log_artifact(str(file))
        assert (folder / "one.txt").read_text() == "one"
        assert folder_at(folder_address(folder)) == folder
        file.unlink()
        assert [path.name for path in tmp_path.iterdir()] == [name]

    def test_a_command_is_pasted_as_it_was_meant(self, tmp_path: Path, name: str) -> None:
        assert shlex.split(command(tmp_path / name, "score")) == ["altrally", "--home", str(tmp_path / name), "score"]
        printed = [word for line in next_steps(tmp_path / name).splitlines() for word in shlex.split(line)]
        assert str(tmp_path / name) in printed

    def test_no_address_is_masked_as_a_secret(self, tmp_path: Path, name: str) -> None:
        said = f"The runs at {Home(tmp_path / name).tracking_uri} can't be read."
        assert redacted(said) == said

    def test_the_store_opens_or_the_home_is_refused_at_once(self, tmp_path: Path, name: str) -> None:
        if name in (SIGNS[sign] for sign in TO_DUCKDB):
            with pytest.raises(BadInput, match="DuckDB"):
                open_home(tmp_path / name)
            assert not (tmp_path / name).exists()
            return
        home = open_home(tmp_path / name)
        home.folder.mkdir()
        with closing(duckdb.connect(str(home.store))) as connection:
            connection.execute("CREATE TABLE ours (one INTEGER)")
        assert [path.name for path in tmp_path.iterdir()] == [name]
        assert home.store.is_file()


def test_plain_paths_of_older_homes_lead_where_they_did() -> None:
    assert folder_at("/home/me/.altrally/mlruns/artifacts") == Path("/home/me/.altrally/mlruns/artifacts")
    assert sqlite_address(Path("/home/me/.altrally/mlruns/mlflow.db")) == "sqlite:////home/me/.altrally/mlruns/mlflow.db"
    assert [folder_at(address) for address in ("mlflow-artifacts:/1/2", "s3://bucket/runs")] == [None, None]
    assert [sqlite_file(address) for address in ("http://host:5000", "postgresql://host/runs")] == [None, None]


def the_whole_job(world: World, tmp_path: Path, typed: str | Path) -> None:
    """Fetch, train, score, report, ledger, compare, status, repair and a round of watch, each as typed; each must succeed."""
    steps = (
        ("fetch", "--provider", "files", "--path", world.drop),
        ("train",),
        ("score",),
        ("report",),
        ("ledger",),
        ("compare",),
        ("status",),
        ("repair",),
    )
    for step in steps:
        code, said = said_by(tmp_path / "out", world, "--home", typed, *step)
        assert code == 0, (step, said)
    code, said = said_by(tmp_path / "out", world, "--home", typed, "watch", "--provider", "files", "--path", world.drop)
    assert (code, "nothing known from the 365 days before" in said) == (1, True), "the market ends in 2018, which the round says"


def as_it_is(folder: Path) -> Path:
    """A folder with every sign at once in its name."""
    return folder / ALL_AT_ONCE


def linked(folder: Path) -> Path:
    """A link to it."""
    (folder / ALL_AT_ONCE).mkdir()
    (folder / "link").symlink_to(folder / ALL_AT_ONCE)
    return folder / "link"


def long_and_with_a_slash(folder: Path) -> str:
    """A name of 200 signs, and a slash at its end."""
    return f"{folder / ('x' * 200)}/"


def relative(folder: Path) -> str:
    """From the folder a command is typed in."""
    return os.path.relpath(folder / ALL_AT_ONCE)


@pytest.mark.parametrize("way", [as_it_is, linked, long_and_with_a_slash, relative])
def test_the_whole_job_is_done_in_a_home_of_any_name(world: World, tmp_path: Path, way: Callable[[Path], str | Path]) -> None:
    folder, out = tmp_path / "homes", tmp_path / "outputs"
    folder.mkdir()
    out.mkdir()
    typed = way(folder)
    the_whole_job(world, out, typed)
    home = open_home(typed)
    assert load_champion(home.tracking_uri, home.folder).run_id
    assert {path.name for path in folder.iterdir()} == {home.folder.name, *(["link"] if way is linked else [])}
    assert home.database.is_file()
    assert list(home.artifacts.rglob("model.skops"))


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (("--home", "", "status"), "'' names no file or folder"),
        (("--home", "~nobody-of-this-name", "status"), "leads nowhere"),
        (("--home", "a\nb", "status"), "can't show"),
        (("train", "--target", ""), "'' names no file or folder"),
        (("fetch", "--provider", "files", "--path", "~nobody-of-this-name"), "leads nowhere"),
        (("fetch", "--provider", "files", "--path", ""), "'' names no file or folder"),
    ],
)
def test_a_name_that_is_no_folder_is_refused_in_one_line(
    altrally: Invoke, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, words: tuple[str, ...], said: str
) -> None:
    monkeypatch.chdir(tmp_path)
    ran = altrally(*words)
    assert (ran.code, ran.err.count("\n")) == (1, 1)
    assert said in ran.err
    assert list(tmp_path.iterdir()) == []


def test_a_home_that_leads_in_a_circle_is_refused(tmp_path: Path) -> None:
    (tmp_path / "one").symlink_to(tmp_path / "two")
    (tmp_path / "two").symlink_to(tmp_path / "one")
    with pytest.raises(BadInput, match="leads nowhere"):
        open_home(tmp_path / "one")
    with pytest.raises(BadInput, match="names no folder"):
        open_home("")
