"""Whatever a terminal can show, every command prints: plain signs stand for those it lacks."""

import io
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from faulting import World

from altrally.cli import run
from altrally.ledger import Ledger
from altrally.terminal import PLAIN, plain
from core.home import Home

COMMANDS = (
    ("score",),
    ("status",),
    ("features",),
    ("ledger",),
    ("report",),
    ("repair",),
    ("verify", "--model", "momentum"),
    ("audit",),
    ("--help",),
)
ENVIRONMENTS = (
    {"PYTHONIOENCODING": "ascii"},
    {"PYTHONIOENCODING": "latin-1:strict"},
    {"LC_ALL": "C", "PYTHONUTF8": "0", "PYTHONCOERCECLOCALE": "0"},
)


@pytest.fixture
def home(world: World, tmp_path: Path) -> Home:
    """A trained home whose name no old terminal can show."""
    return Home(shutil.copytree(world.trained.folder, tmp_path / "Büro-日本"))


def printed(monkeypatch: pytest.MonkeyPatch, encoding: str, *words: object) -> tuple[int, bytes, bytes]:
    """Exit code and the bytes on both streams of a command on a terminal of some encoding."""
    out, err = io.BytesIO(), io.BytesIO()
    monkeypatch.setattr(sys, "stdout", io.TextIOWrapper(out, encoding=encoding, errors="strict"))
    monkeypatch.setattr(sys, "stderr", io.TextIOWrapper(err, encoding=encoding, errors="strict"))
    monkeypatch.setattr(sys, "argv", ["altrally", *map(str, words)])
    with pytest.raises(SystemExit) as stop:
        run()
    sys.stdout.flush()
    sys.stderr.flush()
    return int(stop.value.code or 0), out.getvalue(), err.getvalue()


@pytest.mark.parametrize("encoding", ["ascii", "latin-1", "cp1252"])
def test_every_command_prints_on_a_terminal_of_any_encoding(monkeypatch: pytest.MonkeyPatch, home: Home, encoding: str) -> None:
    for words in COMMANDS:
        code, out, err = printed(monkeypatch, encoding, "--home", home.folder, *words)
        assert code == 0, (words, err.decode(encoding))
        assert out.decode(encoding).strip()
        assert b"?" not in out.replace(b"-??", b""), (words, out)


def test_an_error_is_one_line_there_too(monkeypatch: pytest.MonkeyPatch, home: Home) -> None:
    code, _, err = printed(monkeypatch, "ascii", "--home", home.folder, "score", "--as-of", "übermorgen–")
    assert (code, err) == (1, b"altrally: --as-of 'ubermorgen-' is not a day; write it as YYYY-MM-DD.\n")


@pytest.mark.parametrize("environment", ENVIRONMENTS, ids=lambda chosen: " ".join(chosen))
def test_a_forecast_that_is_recorded_is_shown(world: World, tmp_path: Path, environment: dict[str, str]) -> None:
    home = Home(shutil.copytree(world.trained.folder, tmp_path / "home"))
    words = [sys.executable, "-c", "from altrally.cli import run; run()", "--home", str(home.folder), "score"]
    outside = {name: value for name, value in os.environ.items() if not name.startswith(("LC_", "LANG"))}
    done = subprocess.run(words, env=outside | environment, capture_output=True, check=False)
    assert (done.returncode, done.stderr) == (0, b"")
    text = done.stdout.decode("latin-1")
    assert "closes >= 30% above" in text
    assert "o" in text
    assert "=" in text
    with Ledger.open(home.ledger) as ledger:
        assert ledger.head().lines == 1


def test_signs_are_plain_and_accents_are_left_out() -> None:
    assert "".join(map(plain, "●━│ –−… ≥ × é ﬁ 日 \udcff")) == "o=| --... >= x e fi ? ?"
    assert all(value.isascii() for value in PLAIN.values())
