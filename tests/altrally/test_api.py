"""The five calls: commands go through them, importing costs nothing, and the notebook that shows them runs to its picture."""

import base64
import inspect
import json
import shutil
import subprocess
import sys
from pathlib import Path

import duckdb
import pandas as pd
import pytest
from places import ROOT

from altrally import api
from core.errors import BadInput, Refused, UnknownName
from core.home import Home
from core.target import ALTCOINS

NOTEBOOK = ROOT / "docs" / "notebook.py"
PAGE = NOTEBOOK.with_name("api.md")
CALLS = ("fetch", "train", "score", "verify", "report")
PNG = b"\x89PNG\r\n\x1a\n"


@pytest.fixture
def home(trained_home: Path, tmp_path: Path) -> Home:
    """The trained home, with a ledger and reports of its own."""
    for name in ("store.duckdb", "mlruns"):
        (tmp_path / name).symlink_to(trained_home / name)
    return api.open_home(tmp_path)


def test_the_command_prints_what_the_call_returns(home: Home, capsys: pytest.CaptureFixture[str]) -> None:
    from altrally import jobs

    issued = api.score(home, pd.Timestamp("2023-06-14"))
    jobs.score(home, jobs.ScoreRequest("2023-06-14", ALTCOINS, None, None, in_sample=False), as_json=True)
    assert json.loads(capsys.readouterr().out) == issued.score.to_dict()
    assert issued.entry.number == 1


def test_a_market_is_not_scored_by_a_model_of_another(home: Home, trained_home: Path, capsys: pytest.CaptureFixture[str]) -> None:
    from altrally import jobs

    home.store.unlink()
    shutil.copy(trained_home / "store.duckdb", home.store)
    with duckdb.connect(str(home.store)) as store:
        store.execute("UPDATE meta SET value = 'live' WHERE value = 'simulated'")
    with pytest.raises(Refused, match=r"trained on the simulated market, and .* holds the live one"):
        api.score(home, pd.Timestamp("2023-06-14"))
    assert not home.ledger.exists()
    jobs.status(home, as_json=False)
    assert "on the simulated market, so it doesn't score this one" in " ".join(capsys.readouterr().out.split())


def test_days_may_be_text_and_results_show_themselves(home: Home) -> None:
    issued = api.score(home, "2023-06-14", now="2023-07-01")
    assert issued.score.as_of == "2023-06-14"
    assert issued.frame()["days"].tolist() == [30, 60, 90]
    shown = issued._repr_html_()
    assert "Simulated market" in shown
    assert "<table" in shown
    with pytest.raises(BadInput, match="as_of '14/06/2023' is not a day; write it as YYYY-MM-DD"):
        api.score(home, "14/06/2023")
    judged = api.verify(home, api.TrainSettings(models=("pool",)), start="2023-01-01", end="2023-12-31")
    assert judged.frame()["days"].tolist() == [30, 60, 90]
    assert "Out-of-sample" in judged._repr_html_()


def test_the_clock_may_be_passed_in(home: Home) -> None:
    with pytest.raises(BadInput, match="isn't over yet"):
        api.score(home, pd.Timestamp("2023-06-14"), now=pd.Timestamp("2023-06-14 12:00"))
    issued = api.score(home, now=pd.Timestamp("2023-06-15 12:00"))
    assert issued.score.as_of == "2023-06-14"


def test_a_mistyped_provider_makes_no_home(tmp_path: Path) -> None:
    with pytest.raises(UnknownName, match="simulated"):
        api.fetch(api.open_home(tmp_path / "none"), "simulatd")
    assert not (tmp_path / "none").exists()


def test_every_call_is_documented_with_its_types() -> None:
    page = PAGE.read_text()
    for name in CALLS:
        call = getattr(api, name)
        assert call.__doc__
        assert inspect.signature(call).return_annotation is not inspect.Signature.empty
        assert f"`{name}(" in page
        for argument in list(inspect.signature(call).parameters)[1:]:
            assert f"`{argument}`" in page or f"{argument}=" in page, f"{name}: {argument}"


def test_importing_altrally_imports_nothing_else() -> None:
    heavy = ("pandas", "numpy", "mlflow", "sklearn", "duckdb", "rich")
    listing = f"import sys, altrally; print([name for name in {heavy} if name in sys.modules])"
    done = subprocess.run([sys.executable, "-c", listing], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


def test_the_notebook_runs_and_ends_in_a_picture(simulated_home: Path, tmp_path: Path) -> None:
    import jupytext
    from nbclient import NotebookClient

    (tmp_path / "altrally-notebook").mkdir()
    shutil.copy(simulated_home / "store.duckdb", tmp_path / "altrally-notebook")
    notebook = jupytext.read(NOTEBOOK)
    NotebookClient(notebook, timeout=300, resources={"metadata": {"path": str(tmp_path)}}).execute()
    shown = [output["data"] for cell in notebook.cells if cell.cell_type == "code" for output in cell.outputs if "data" in output]
    assert base64.b64decode(shown[-1]["image/png"]).startswith(PNG)
    assert any("Skill has" in one.get("text/markdown", "") for one in shown)
    assert list((tmp_path / "altrally-notebook" / "reports").glob("*.html"))
