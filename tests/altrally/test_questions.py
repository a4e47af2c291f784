"""Another rise, other days: the champion's law answers without training, and agrees with itself."""

import json
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from invoking import Invoke

from altrally.api import open_home, score
from core.errors import Refused
from core.target import Target
from models.catalog import MODELS
from models.law_model import LawModel

RISE, DAYS = 0.5, 45


@pytest.fixture
def home(trained_home: Path, tmp_path: Path) -> Path:
    """A trained home of one's own, whose ledger nobody else writes."""
    return Path(shutil.copytree(trained_home, tmp_path / "home"))


def answer(altrally: Invoke, home: Path, *words: str) -> dict[str, Any]:
    """`score --json` with `words`."""
    ran = altrally("--home", home, "score", *words, "--json")
    assert ran.code == 0, ran.err
    return dict(json.loads(ran.out))


def test_another_question_is_answered_with_interval_base_rate_and_curve(altrally: Invoke, home: Path) -> None:
    found = answer(altrally, home, "--rise", str(RISE), "--days", str(DAYS))
    [row] = found["horizons"]
    assert row["days"] == DAYS
    assert 0 < row["low"] < row["probability"] < row["high"] < 1
    assert 0 < row["base_rate"] < 1
    assert found["outcome"] == {"kind": "first_passage", "threshold": RISE}
    assert found["question"] is True
    curve = found["curve"]
    assert curve["horizons"][0]["probability"][curve["rises"].index(RISE)] == pytest.approx(row["probability"], abs=1e-9)


def test_the_probability_falls_with_the_rise_and_grows_with_the_days(altrally: Invoke, home: Path) -> None:
    by_rise = [answer(altrally, home, "--rise", rise)["horizons"][1]["probability"] for rise in ("0.1", "0.3", "0.6")]
    by_days = [answer(altrally, home, "--days", days)["horizons"][0]["probability"] for days in ("30", "59", "61", "120")]
    assert by_rise == sorted(by_rise, reverse=True)
    assert by_days == sorted(by_days)
    assert by_days[1] == pytest.approx(by_days[2], abs=0.03)


def test_the_champions_own_question_asked_by_hand_gets_its_own_answer(altrally: Invoke, home: Path) -> None:
    own, by_hand = answer(altrally, home), answer(altrally, home, "--rise", "0.3")
    assert by_hand["horizons"] == own["horizons"]
    assert by_hand["question"] is False
    [sixty] = answer(altrally, home, "--days", "60")["horizons"]
    assert sixty == pytest.approx(own["horizons"][1], abs=1e-12)


def test_the_same_from_python(altrally: Invoke, home: Path) -> None:
    issued = score(open_home(home), rise=RISE, days=DAYS)
    assert (
        issued.score.horizons[0].probability
        == answer(altrally, home, "--rise", "0.5", "--days", "45")["horizons"][0]["probability"]
    )


def test_quantiles_of_the_highest_close_are_where_the_curve_says(altrally: Invoke, home: Path) -> None:
    curve = answer(altrally, home)["curve"]
    rises = np.array(curve["rises"])
    for row in curve["horizons"]:
        for level, rise in row["quantiles"].items():
            assert np.interp(rise, rises, row["probability"]) == pytest.approx(1 - float(level), abs=2e-3)


def test_a_question_is_no_forecast_of_the_record(altrally: Invoke, home: Path) -> None:
    answer(altrally, home, "--rise", "0.5")
    lines = [json.loads(line) for line in (home / "ledger.jsonl").read_text().splitlines()]
    assert "registration" not in {line.get("kind") for line in lines}
    assert sum(1 for line in lines if line.get("question")) == 1


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (("--rise", "0"), "--rise 0"),
        (("--rise", "-0.3"), "--rise -0.3"),
        (("--rise", "30"), "--rise 30"),
        (("--days", "0"), "--days 0"),
        (("--days", "4000"), "--days 4000"),
    ],
)
def test_what_can_not_be_asked_is_refused_in_one_line(words: tuple[str, str], said: str, altrally: Invoke, home: Path) -> None:
    ran = altrally("--home", home, "score", *words)
    assert ran.code == 1
    assert said in ran.err
    assert ran.err.strip().count("\n") == 0


def test_a_model_without_a_law_says_so() -> None:
    built = {name: spec.for_target(Target()) for name, spec in MODELS.items()}
    without = {name: model for name, model in built.items() if not isinstance(model, LawModel)}
    assert {"hazard", "logit", "climatology", "momentum"} <= set(without)
    assert {"volatility", "random_walk", "passage", "pool"}.isdisjoint(without)
    for model in without.values():
        with pytest.raises(Refused, match="answers only what it was trained on"):
            model.for_question(0.5, None)
