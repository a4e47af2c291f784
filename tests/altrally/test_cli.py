"""The command line as a contract: JSON shapes, one clear line and exit code 1 on bad input, nothing lost."""

import json
import shutil
import subprocess
import sys
from importlib.metadata import version
from pathlib import Path

import pandas as pd
import pytest
from invoking import Invoke, Ran
from places import ROOT

from altrally.cli import app, global_options_first


@pytest.fixture
def fetched_copy(simulated_home: Path, tmp_path: Path) -> Path:
    """A simulated home of one's own, nothing trained."""
    shutil.copy(simulated_home / "store.duckdb", tmp_path)
    return tmp_path


def fails_in_one_line(ran: Ran, *words: str) -> None:
    """Exit code 1, one line on standard error that holds the words, no traceback."""
    assert ran.code == 1
    assert ran.err.strip().count("\n") == 0, ran.err
    assert ran.err.startswith("altrally: ")
    assert "Traceback" not in ran.err
    for word in words:
        assert word in ran.err


def test_score_json_is_the_contract(altrally: Invoke, trained_home: Path) -> None:
    ran = altrally("--home", trained_home, "score", "--as-of", "2023-06-14", "--json")
    assert ran.code == 0, ran.err
    score = json.loads(ran.out)
    assert {"as_of", "market", "snapshot", "model", "outcome", "horizons", "skill", "drivers", "freshness"} <= score.keys()
    assert (score["as_of"], score["market"]) == ("2023-06-14", "simulated")
    assert score["model"].keys() == {"name", "version", "run_id"}
    assert score["outcome"] == {"kind": "first_passage", "threshold": 0.3}
    assert [row["days"] for row in score["horizons"]] == [30, 60, 90]
    assert all(row.keys() == {"days", "probability", "low", "high", "base_rate"} for row in score["horizons"])
    assert {"brier_skill_score", "low", "high", "null_p", "shown", "sentence"} <= score["skill"].keys()
    assert all(row.keys() == {"block", "contribution"} for row in score["drivers"])


def test_score_keeps_the_order_of_horizons_and_lies_in_its_interval(altrally: Invoke, trained_home: Path) -> None:
    rows = json.loads(altrally("--home", trained_home, "score", "--json").out)["horizons"]
    probabilities = [row["probability"] for row in rows]
    assert probabilities == sorted(probabilities)
    assert all(0 <= row["low"] <= row["high"] <= 1 for row in rows)


def test_a_day_trained_past_is_answered_by_its_fold(altrally: Invoke, trained_home: Path) -> None:
    early, late = (
        json.loads(altrally("--home", trained_home, "score", "--as-of", day, "--json").out) for day in ("2019-03-03", "2023-03-05")
    )
    assert not early["in_sample"]
    assert early["refit"] <= early["as_of"] < late["refit"] <= late["as_of"]
    assert json.loads(altrally("--home", trained_home, "score", "--json").out)["refit"] is None
    assert not late["in_sample"]
    assert early["horizons"][1]["base_rate"] != late["horizons"][1]["base_rate"]


def test_a_day_before_the_first_fold_is_refused_unless_asked_for_in_sample(altrally: Invoke, trained_home: Path) -> None:
    fails_in_one_line(altrally("--home", trained_home, "score", "--as-of", "2016-05-01"), "2016-05-01", "--in-sample")
    ran = altrally("--home", trained_home, "score", "--as-of", "2016-05-01", "--in-sample", "--json")
    assert json.loads(ran.out)["in_sample"] is True


def test_verify_json_is_the_contract(altrally: Invoke, trained_home: Path, tmp_path: Path) -> None:
    file = tmp_path / "forecasts.parquet"
    words = ("--home", trained_home, "verify", "--from", "2022-01-01", "--to", "2023-12-31", "--model", "pool")
    ran = altrally(*words, "--forecasts", file, "--json")
    assert ran.code == 0, ran.err
    rows = json.loads(ran.out)
    assert {(row["model"], row["horizon"]) for row in rows} == {("pool", 30), ("pool", 60), ("pool", 90)}
    skills = ("skill_volatility", "skill_climatology", "skill_random_walk", "skill_momentum")
    keys = {"model", "horizon", "n", "n_effective", "base_rate", "brier", "log_score", "auc", *skills}
    for row in rows:
        assert keys <= row.keys()
        assert all({"value", "low", "high"} <= row[skill].keys() for skill in skills)
        assert 0 < row["null_p"] <= 1
        assert 0 < row["claim_null_p"] <= 1
    forecasts = pd.read_parquet(file)
    assert list(forecasts.columns) == ["as_of", "horizon", "model", "probability", "climatology", "outcome"]
    assert forecasts["as_of"].between("2022-01-01", "2023-12-31").all()


def test_compare_and_status_answer_in_json(altrally: Invoke, trained_home: Path) -> None:
    runs = json.loads(altrally("--home", trained_home, "compare", "--json").out)
    assert runs
    status = json.loads(altrally("--home", trained_home, "status", "--json").out)
    assert status["market"] == "simulated"
    assert status["champion"]["name"] == "pool"
    assert status["champion"]["grade"] in ("not shown", "history supports it")
    assert status["champion"]["unproven"] is (status["champion"]["grade"] == "not shown")


def test_features_json_lists_every_block(altrally: Invoke, trained_home: Path) -> None:
    rows = json.loads(altrally("--home", trained_home, "features", "--json").out)
    assert {row["block"] for row in rows} == {"breadth", "breakout", "volume", "liquidity", "ladder", "crypto_state"}
    keys = {"block", "name", "formula", "unit", "sources", "release_lag_days", "sign", "rationale", "coverage"}
    assert all(keys <= row.keys() for row in rows)


def test_simulated_says_so_wherever_people_read(altrally: Invoke, trained_home: Path) -> None:
    for command in ("score", "status", "compare"):
        assert "Simulated market" in altrally("--home", trained_home, command).out


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (("fetch", "--provider", "bloomberg"), ("bloomberg", "simulated")),
        (("score", "--as-of", "2999-01-01"), ("2999-01-01",)),
        (("score", "--as-of", "yesterday"), ("yesterday", "YYYY-MM-DD")),
        (("train", "--model", "hazzard"), ("hazzard", "hazard")),
        (("train", "--outcome", "moon"), ("moon", "first_passage")),
        (("train", "--outcome", "relative", "--model", "hazard"), ("hazard", "relative")),
        (("train", "--threshold", "30"), ("30",)),
        (("verify", "--from", "2023-01-01", "--to", "2022-01-01"), ("2023-01-01",)),
        (("verify", "--forecasts", "no/such/folder/f.parquet"), ("no/such/folder", "no folder")),
        (("train", "--until", "2999-01-01"), ("altrally: 2999-01-01 isn't over yet",)),
        (("promote", "no-such-run"), ("no-such-run",)),
        (("compare", "some-run", "--target", "eth.toml"), ("eth.toml",)),
        (("promote", "some-run", "--target", "eth.toml"), ("eth.toml",)),
        (("leakcheck", "--seed", "-1"), ("--seed -1",)),
        (("power", "--markets", "1", "--out", "."), ("--out .", "folder")),
    ],
    ids=lambda words: " ".join(words),
)
def test_bad_input_gets_one_clear_line(altrally: Invoke, trained_home: Path, words: tuple[str, ...], said: tuple[str, ...]) -> None:
    fails_in_one_line(altrally("--home", trained_home, *words), *said)


@pytest.mark.parametrize(
    ("words", "said"),
    [(("files",), "one home holds one market"), (("simulated", "--path", "somewhere"), "--path")],
    ids=lambda words: " ".join(words) if isinstance(words, tuple) else "",
)
def test_a_second_market_or_a_needless_folder_is_refused(
    altrally: Invoke, fetched_copy: Path, words: tuple[str, ...], said: str
) -> None:
    """In a home of one's own: `fetch` opens the store to write, which it can't while another test reads the shared one."""
    fails_in_one_line(altrally("--home", fetched_copy, "fetch", "--provider", *words), said)


def test_score_without_a_champion_says_what_to_do(altrally: Invoke, fetched_copy: Path) -> None:
    fails_in_one_line(altrally("--home", fetched_copy, "score"), "altrally train")
    assert not (fetched_copy / "mlruns").exists()


@pytest.mark.parametrize("command", ["train", "score", "verify", "features", "status", "compare", "report"])
def test_an_empty_home_says_what_to_do(altrally: Invoke, tmp_path: Path, command: str) -> None:
    fails_in_one_line(altrally("--home", tmp_path / "none", command), "altrally ")
    assert not (tmp_path / "none").exists()


def test_a_folder_must_be_named_for_files_and_no_home_is_made_for_a_mistyped_provider(altrally: Invoke, tmp_path: Path) -> None:
    fails_in_one_line(altrally("--home", tmp_path / "a", "fetch", "--provider", "files"), "--path")
    fails_in_one_line(altrally("--home", tmp_path / "b", "fetch", "--provider", "bloomberg"), "bloomberg", "simulated")
    assert not (tmp_path / "b").exists()


def test_bad_folders_are_refused_and_the_store_stays_as_it_was(altrally: Invoke, tmp_path: Path) -> None:
    folder, home = tmp_path / "drop", tmp_path / "home"
    folder.mkdir()
    (folder / "fred.csv").write_text("date,series,value\n2020-01-01,WALCL,4000000\n")
    assert altrally("--home", home, "fetch", "--provider", "files", "--path", folder).code == 0
    before = (home / "store.duckdb").read_bytes()
    (tmp_path / "empty").mkdir()
    fails_in_one_line(altrally("--home", home, "fetch", "--provider", "files", "--path", tmp_path / "empty"), "empty")
    (folder / "fred.csv").write_text("date,series,value\n2020-01-01,WALCL,four\n")
    fails_in_one_line(altrally("--home", home, "fetch", "--provider", "files", "--path", folder), "fred.csv", "value", "four")
    (folder / "fred.csv").rename(folder / "fred.parquet")
    fails_in_one_line(altrally("--home", home, "fetch", "--provider", "files", "--path", folder), "fred.parquet")
    assert (home / "store.duckdb").read_bytes() == before


def test_a_store_without_coins_says_which_series_is_missing(altrally: Invoke, tmp_path: Path) -> None:
    folder, home = tmp_path / "drop", tmp_path / "home"
    folder.mkdir()
    (folder / "fred.csv").write_text("date,series,value\n2020-01-01,WALCL,4000000\n")
    assert altrally("--home", home, "fetch", "--provider", "files", "--path", folder).code == 0
    fails_in_one_line(altrally("--home", home, "score", "--as-of", "2020-02-01"), "coin price", "altrally fetch")
    fails_in_one_line(altrally("--home", home, "train"), "coin prices", "altrally fetch")


def test_a_damaged_store_is_named(altrally: Invoke, tmp_path: Path) -> None:
    (tmp_path / "store.duckdb").write_bytes(b"not a database" * 500)
    fails_in_one_line(altrally("--home", tmp_path, "score"), "store.duckdb")


def test_a_mistyped_command_line_is_told_in_one_line(altrally: Invoke) -> None:
    fails_in_one_line(altrally("scroe"), "scroe", "--help")
    fails_in_one_line(altrally("score", "--asof", "2020-01-01"), "--asof", "--as-of")
    fails_in_one_line(altrally("sweep"), "CONFIG")
    fails_in_one_line(altrally("verify", "--nulls", "many"), "many", "quick")


@pytest.mark.parametrize("words", [("status", "--home"), ("--home", "status"), ("status", "--json", "--home")])
def test_the_home_may_stand_before_and_after_the_command(altrally: Invoke, trained_home: Path, words: tuple[str, ...]) -> None:
    place = words.index("--home") + 1
    ran = altrally(*words[:place], trained_home, *words[place:])
    assert ran.code == 0, ran.err
    assert str(trained_home) in ran.out


def test_places_move_and_nothing_else() -> None:
    assert global_options_first(["score", "--home=A", "--as-of", "2021-01-01", "--tracking-server", "u"]) == [
        "--home=A",
        "--tracking-server",
        "u",
        "score",
        "--as-of",
        "2021-01-01",
    ]
    assert global_options_first(["score", "--", "--home", "A"]) == ["score", "--", "--home", "A"]
    assert global_options_first(["score", "--home"]) == ["score", "--home"]


def test_the_version_is_one_line(altrally: Invoke) -> None:
    assert altrally("--version").out == f"altrally {version('altrally')}\n"


def test_verify_prints_the_judged_horizon_and_all_of_them_when_asked(altrally: Invoke, trained_home: Path) -> None:
    words = ("--home", trained_home, "verify", "--model", "pool", "--from", "2023-01-01")
    short, long = altrally(*words).out, altrally(*words, "--all").out
    assert "60 days ahead" in short
    assert "random walk" not in short
    assert len(long.splitlines()) > len(short.splitlines())


def test_inputs_are_a_request_that_a_served_model_takes(altrally: Invoke, trained_home: Path) -> None:
    ran = altrally("--home", trained_home, "score", "--inputs")
    assert ran.code == 0, ran.err
    (record,) = json.loads(ran.out)["dataframe_records"]
    assert {"breadth", "volume", "liquidity"} <= record.keys()
    assert all(isinstance(value, float) for value in record.values())
    fails_in_one_line(altrally("--home", trained_home, "score", "--inputs", "--rise", "0.5"), "--inputs")


def test_nothing_typed_is_a_call_for_help(altrally: Invoke) -> None:
    ran = altrally()
    assert ran.code == 0
    assert "Commands:" in ran.out


def test_an_interruption_says_what_stays(altrally: Invoke, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def interrupted(*words: object, **more: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr("altrally.jobs.status", interrupted)
    fails_in_one_line(altrally("--home", tmp_path, "status"), "Stopped", "What was recorded before stays")


def test_help_stands_on_every_command_and_in_the_list_that_the_readme_links() -> None:
    root = ROOT
    readme = (root / "docs" / "commands.md").read_text()
    assert "docs/commands.md" in (root / "README.md").read_text()
    for command in app.registered_commands:
        assert command.callback is not None
        assert command.callback.__doc__
        assert f"altrally {command.callback.__name__}" in readme


def test_help_imports_nothing_heavy() -> None:
    heavy = ("pandas", "numpy", "mlflow", "sklearn", "duckdb", "rich")
    listing = f"import sys, altrally.cli; print([name for name in {heavy} if name in sys.modules])"
    done = subprocess.run([sys.executable, "-c", listing], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"
