"""A model's name means one of one target, and every line that names a model of another target names that target."""

from dataclasses import replace
from pathlib import Path

import pandas as pd
import pytest
from invoking import Invoke
from training_jobs import SETTINGS, job, place_in

from core.errors import Refused, UnknownName
from core.progress import silent
from core.target import ALTCOINS, Target, name_suffix
from models.champion import champion_place, find_run, list_runs
from training.compare import compare
from training.promotion import promote
from training.tracking import TrackingPlace
from training.train import TrainReport, train_on

pytestmark = pytest.mark.usefixtures("few_pictures")

ETH = Target(name="ETH rally", subject="ETH", universe="coins", coins=("ethereum",))
ETH_FILE = """
name = "ETH rally"
subject = "ETH"
coins = ["ethereum"]
"""
FEW = replace(SETTINGS, models=("momentum",), draws=2, rotations=5)


@pytest.fixture(scope="module")
def both(tmp_path_factory: pytest.TempPathFactory) -> tuple[TrackingPlace, TrainReport, TrainReport]:
    """A home trained for the altcoin rally and then for ETH, each with the same models."""
    place = place_in(tmp_path_factory.mktemp("both"))
    return place, train_on(job(FEW), place, silent), train_on(job(replace(FEW, target=ETH)), place, silent)


def run_of(report: TrainReport, model: str) -> str:
    return next(made["run_id"] for made in report.models if made["model"] == model)


def test_a_name_is_looked_for_among_the_runs_of_one_target(both: tuple[TrackingPlace, TrainReport, TrainReport]) -> None:
    place, altcoins, eth = both
    runs = list_runs(place.uri)
    assert find_run(runs, "momentum")["run_id"] == run_of(altcoins, "momentum")
    assert find_run(runs, "momentum", ETH)["run_id"] == run_of(eth, "momentum")


def test_an_id_is_looked_for_among_all(both: tuple[TrackingPlace, TrainReport, TrainReport]) -> None:
    place, _, eth = both
    run = run_of(eth, "momentum")
    assert find_run(list_runs(place.uri), run)["run_id"] == find_run(list_runs(place.uri), run[:12])["run_id"] == run


def test_a_name_that_only_another_target_has_is_refused_with_the_way(
    both: tuple[TrackingPlace, TrainReport, TrainReport],
) -> None:
    place, altcoins, _ = both
    runs = list_runs(place.uri)
    only_eth = runs[~runs["run_id"].isin([run_of(altcoins, "momentum"), altcoins.run_id])]
    with pytest.raises(Refused, match=r"No run of 'altcoin rally' is called 'momentum'; one of 'ETH rally' is\. .*--target FILE"):
        find_run(only_eth, "momentum")
    with pytest.raises(UnknownName, match="No run 'nothing'"):
        find_run(runs, "nothing", ETH)


def test_a_promotion_by_name_moves_only_the_champion_of_its_target(
    both: tuple[TrackingPlace, TrainReport, TrainReport],
) -> None:
    place, altcoins, eth = both
    before = champion_place(place.uri).run_id
    said = promote(place, "momentum", ETH, force=True, why="to see whose it is").sentence
    assert said.startswith("momentum v1 of 'ETH rally' is champion, by force")
    assert champion_place(place.uri, ETH.registered_model).run_id == run_of(eth, "momentum")
    assert champion_place(place.uri).run_id == before == altcoins.models[0]["run_id"]
    with pytest.raises(Refused, match="momentum v1 of 'ETH rally' is champion already"):
        promote(place, run_of(eth, "momentum"))
    with pytest.raises(Refused, match="momentum v1 isn't promoted"):
        promote(place, "momentum")


def test_runs_compared_by_name_are_of_the_target_asked_for(both: tuple[TrackingPlace, TrainReport, TrainReport]) -> None:
    place, altcoins, eth = both
    other = altcoins.models[0]["model"]
    for target, report in ((ALTCOINS, altcoins), (ETH, eth)):
        rows = compare(place, ["momentum", other], target)
        assert {row["run_id"] for row in rows} == {made["run_id"] for made in report.models}
        assert {row["label"] for row in rows} == {target.label}
    with pytest.raises(Refused, match=r"different outcomes: .*ETH rally"):
        compare(place, [run_of(altcoins, "momentum"), run_of(eth, "momentum")])


def test_every_decision_names_the_target_where_it_is_another(both: tuple[TrackingPlace, TrainReport, TrainReport]) -> None:
    _, altcoins, eth = both
    assert eth.decisions
    assert all("of 'ETH rally'" in decision for decision in eth.decisions)
    assert "is champion: the first of its target, " in eth.decisions[0]
    assert not any("of '" in decision for decision in altcoins.decisions)
    assert "is champion: the first model of this home, " in altcoins.decisions[0]


@pytest.mark.parametrize("command", [("promote", "momentum"), ("compare", "momentum", "momentum")])
def test_the_commands_take_the_file_of_a_target(
    altrally: Invoke, both: tuple[TrackingPlace, TrainReport, TrainReport], tmp_path: Path, command: tuple[str, ...]
) -> None:
    place, _, _ = both
    (tmp_path / "eth.toml").write_text(ETH_FILE)
    ran = altrally("--home", place.home, *command, "--target", tmp_path / "eth.toml")
    assert "ETH rally" in ran.out + ran.err
    ran = altrally("--home", place.home, *command)
    assert "ETH rally" not in ran.out + ran.err


def test_a_label_says_whose_it_is() -> None:
    assert (
        (name_suffix(ETH.label), name_suffix(ALTCOINS.label)) == (" of 'ETH rally'", "") == (ETH.name_suffix, ALTCOINS.name_suffix)
    )
    odd = replace(ETH, name="a (b): c (0123ab): d")
    assert name_suffix(odd.label) == odd.name_suffix == " of 'a (b): c (0123ab): d'"


def test_runs_without_a_target_belong_to_any(both: tuple[TrackingPlace, TrainReport, TrainReport]) -> None:
    place, _, _ = both
    swept = pd.DataFrame([{"run_id": "f" * 32, "name": "sweep ETH rally", "parent_id": None}])
    runs = pd.concat([list_runs(place.uri), swept])
    assert find_run(runs, "sweep ETH rally")["run_id"] == find_run(runs, "sweep ETH rally", ETH)["run_id"] == "f" * 32
