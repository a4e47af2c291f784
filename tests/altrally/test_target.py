"""Targets: a question in a file goes the whole path, keeps to itself, and today's question is answered as ever."""

import hashlib
import json
import re
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path

import pandas as pd
import pytest
from invoking import Invoke
from places import ROOT

from altrally import api
from altrally.ledger import Ledger
from altrally.report.page import Page
from altrally.track_record import forecasts, resolve
from altrally.wording import event_name, event_nouns, sentence
from core.errors import BadInput, MissingData, NoChampion, Refused, UnknownName
from core.home import Home
from core.progress import silent
from core.target import ALTCOINS, Leader, Target, judged_horizon, read_target, target_from_summary
from evaluation.multiple_testing import PRIOR_TRIALS
from features.build import build
from features.registry import FEATURES
from features.targets import altcoins_a_bitcoin, features_of, load_target_index
from models.catalog import MODELS
from models.champion import aliases, load_champion
from sources.batches import Batch
from sources.layout import batches
from sources.series import COIN_PRICE, RUT
from sources.simulated import simulate
from sources.store import Store
from training import run_log
from training.compare import compare
from training.dataset import prepare
from training.null_results import configuration_of
from training.settings import TrainSettings, family
from training.tracking import tracking
from training.train import TrainReport, train
from training.trial_count import count_trials, trials_of
from training.walk_forward import training_rows

EXAMPLES = ROOT / "docs" / "targets"
NAMES = ("eth", "dominance", "mid_caps")
UNTIL = pd.Timestamp("2024-06-30")
DAY = pd.Timestamp("2024-06-01")
BEFORE = {
    "climatology": "ec4dcd218b46f76d",
    "random_walk": "9782bc253fa59ce3",
    "momentum": "80672234cbd6f6f5",
    "breakout_rule": "eabf20a01d0b1149",
    "altseason_rule": "bec8fee09414bf87",
    "hazard": "79c253fe169c9d0e",
    "boosted": "fd3269cb476f13cb",
    "logit": "b1beff497267a6e9",
}
"""Configurations of the altcoin target as they were named before there were targets."""

EVENTS = [105.0, 184.0, 226.0]
FORECAST = [0.27436801155490054, 0.34657754395008733, 0.34677941063798456]
"""Rallies since 2017 and the hazard's forecast of 2018-01-07 on the simulated market, as they were then."""


@dataclass(frozen=True)
class World:
    """A home in which the three examples were trained and scored, and what each training said."""

    home: Home
    targets: dict[str, Target]
    reports: dict[str, TrainReport]


def settings(target: Target) -> TrainSettings:
    """Few folds, draws and rotations: what is asked here is whether it goes through."""
    start, first_test = pd.Timestamp("2020-01-01"), pd.Timestamp("2023-07-01")
    return TrainSettings(target, start=start, first_test=first_test, models=("pool",), draws=5, rotations=5)


def with_mid_caps(frames: dict[str, pd.DataFrame]) -> Iterator[Batch]:
    """The simulated market, which has no mid caps, with another of its funds standing in for them."""
    prices = frames["prices"]
    mid = prices[prices["ticker"] == "VB"].assign(ticker="MDY")
    return batches(frames | {"prices": pd.concat([prices, mid], ignore_index=True)}, "simulated")


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory) -> World:
    home = Home(tmp_path_factory.mktemp("targets"))
    frames = simulate(seed=3, start="2019-01-01", end="2024-06-30", stocks=4, coins=12)
    with Store.open(home.store) as store:
        store.claim_market("simulated")
        for batch in with_mid_caps(frames):
            store.append(batch, pd.Timestamp("2024-07-01"))
    targets = {name: read_target(EXAMPLES / f"{name}.toml") for name in NAMES}
    with Store.open(home.store, read_only=True) as store, pytest.MonkeyPatch.context() as without_pictures:
        without_pictures.setattr(run_log, "write_figures", lambda record, folder: folder.mkdir())
        reports = {
            name: train(store, settings(target), until=UNTIL, place=api.tracking_place(home), progress=silent)
            for name, target in targets.items()
        }
    for target in targets.values():
        api.score(home, DAY, target)
    return World(home, targets, reports)


@pytest.fixture(scope="module")
def pages(world: World) -> dict[str, Page]:
    """The page of each example."""
    return {name: api.report(world.home, DAY, target) for name, target in world.targets.items()}


# today's question


def test_the_default_target_names_every_configuration_as_before() -> None:
    assert {name: configuration_of(name, TrainSettings()) for name in BEFORE} == BEFORE
    assert (TrainSettings().label, family("files")) == ("first_passage 0.3 within 30/60/90 days", "altcoin-rally-files")
    assert ALTCOINS.summary == {"kind": "first_passage", "threshold": 0.3}
    assert (ALTCOINS.registered_model, sentence(ALTCOINS)) == (
        "altrally",
        "P(altcoin index closes ≥ 30% above its close at as_of, within …)",
    )


def test_the_default_target_reads_the_registered_features_themselves() -> None:
    assert features_of(ALTCOINS) is FEATURES


def test_the_default_target_gives_the_inputs_outcomes_and_forecast_it_gave(simulated_home: Path) -> None:
    with Store.open(simulated_home / "store.duckdb", read_only=True) as store:
        data = prepare(store, TrainSettings(start=pd.Timestamp("2017-01-01")), pd.Timestamp("2024-12-31"))
    events = training_rows(data.outcomes, pd.Timestamp("2018-01-01"))
    columns = list(MODELS["hazard"].columns)
    model = MODELS["hazard"].make("first_passage", 0.3).fit(data.X.loc[events.index, columns], events.to_numpy())
    assert data.outcomes.events.sum().to_list() == EVENTS
    assert model.predict(data.X.loc[["2018-01-07"], columns])[0] == pytest.approx(FORECAST, rel=1e-9)


def test_a_card_from_before_there_were_targets_is_of_the_default_one() -> None:
    assert target_from_summary({"kind": "first_passage", "threshold": 0.3}, [30, 60, 90]) == replace(ALTCOINS, move=0.3)


# the whole path


@pytest.mark.parametrize("name", NAMES)
def test_an_example_goes_the_whole_path(world: World, pages: dict[str, Page], name: str) -> None:
    target = world.targets[name]
    card = load_champion(world.home.tracking_uri, world.home.folder, target).card
    assert card.target == replace(target, move=target.threshold)
    assert card.family == f"{target.slug}-simulated"
    assert aliases(world.home.tracking_uri, target)["champion"] == "1"
    page = pages[name]
    assert f"chance of {event_name(target)} within 60 days" in page.html
    assert page.path.parent == world.home.folder / "reports" / target.slug
    compared = compare(api.tracking_place(world.home), [], target)
    assert {row["label"] for row in compared} == {target.label}


def test_no_page_of_another_question_speaks_of_an_altcoin_rally(pages: dict[str, Page]) -> None:
    for name in ("eth", "dominance"):
        html = pages[name].html
        assert "altcoin rally" not in html
        assert "altcoin index" not in html

    falls = pages["dominance"].html
    text = re.sub(r"<(style|script)>.*?</\1>|altrally|swatch rally|class=.rally.", "", falls, flags=re.DOTALL)
    assert "rally" not in text
    assert "a fall followed" in falls


def test_targets_in_one_home_have_their_own_champions_trials_and_lines(world: World) -> None:
    assert [report.trials for report in world.reports.values()] == [PRIOR_TRIALS + 1] * 3, "each counts from the prior tries"
    with tracking(api.tracking_place(world.home)) as tracker:
        for target in world.targets.values():
            assert len(trials_of(tracker, family("simulated", target))) == 1
    with Ledger.open(world.home.ledger) as ledger:
        scores = [line for line in ledger.lines() if line.kind == "score"]
        for target in world.targets.values():
            assert [line.as_of for line in scores if line.is_of(target)] == [DAY]
            assert target_from_summary(ledger.forecast_of(DAY, target).body["outcome"], [30, 60, 90]).label == target.label
        told = forecasts(ledger.lines())
    assert len(told) == 9
    assert told["judged"].all(), "one target's forecast is no repetition of another's"


def test_each_line_is_resolved_by_the_question_it_answers(world: World, tmp_path: Path) -> None:
    with Ledger.open(tmp_path / "ledger.db") as ledger, Store.open(world.home.store, read_only=True) as store:
        day = pd.Timestamp("2024-01-14")
        with Ledger.open(world.home.ledger) as issued:
            for line in [line for line in issued.lines() if line.kind == "score"]:
                body = {key: value for key, value in line.body.items() if key not in ("key", "line")}
                ledger._append([{**body, "as_of": f"{day:%Y-%m-%d}"}])
        resolve(ledger, store, until=UNTIL, now=UNTIL)
        told = forecasts(ledger.lines()).set_index(["target", "horizon"])["event"]
        for target in world.targets.values():
            level = load_target_index(store, UNTIL, target).level
            reached = level.loc[day + pd.Timedelta(days=1) : day + pd.Timedelta(days=60)].max() >= (1 + target.rise) * level[day]
            key = json.dumps(target.summary.get("target", {}), sort_keys=True, separators=(",", ":"))
            assert told[key, 60] == float(reached)


def test_a_changed_file_doesnt_get_the_answer_to_the_former_question(world: World) -> None:
    eth = world.targets["eth"]
    for other in (eth.with_outcome(move=0.2), replace(eth, coins=("coin-002",)), replace(eth, horizons=(30, 60))):
        with pytest.raises(Refused, match="The champion of 'ETH rally' answers"):
            load_champion(world.home.tracking_uri, world.home.folder, other)
    with pytest.raises(NoChampion, match="altrally train --target"):
        load_champion(world.home.tracking_uri, world.home.folder, replace(eth, name="DOGE rally"))


def test_another_universe_of_the_same_name_is_another_try_and_another_label(world: World) -> None:
    eth, other = world.targets["eth"], replace(world.targets["eth"], coins=("coin-002",))
    assert family("files", eth) == family("files", other)
    assert eth.label != other.label
    assert configuration_of("hazard", TrainSettings(eth)) != configuration_of("hazard", TrainSettings(other))
    with tracking(api.tracking_place(world.home)) as tracker:
        before = trials_of(tracker, "a family of its own")
        counted = count_trials(tracker, "a family of its own", eth.label, ["one", "two"])
    assert (before, counted) == ({}, {"one": PRIOR_TRIALS + 1, "two": PRIOR_TRIALS + 2})


# what moves


def test_one_coin_alone_moves_as_its_price(world: World) -> None:
    with Store.open(world.home.store, read_only=True) as store:
        level = load_target_index(store, UNTIL, world.targets["eth"]).level
        price = store.read_panel(COIN_PRICE, UNTIL)
    returns, own = (price["ethereum"] / price["ethereum"].shift(30)).reindex(level.index), (level / level.shift(30)).dropna()
    pd.testing.assert_series_equal(own, returns[own.index], check_names=False)


def test_dominance_is_turned_over_so_that_its_fall_is_a_rise() -> None:
    days = pd.date_range("2024-01-01", periods=2)
    level = altcoins_a_bitcoin(pd.Series([50.0, 45.0], days), pd.DataFrame({"ether": [30.0, 33.0], "sol": [20.0, 22.0]}, days))
    assert level.to_list() == [2.0, pytest.approx(100 / 45)]
    fell = Target("BTC dominance fall", "BTC dominance", "bitcoin dominance", move=0.1)
    assert level.iloc[1] / level.iloc[0] == pytest.approx(1 + fell.rise), "from 50 % to 45 % is a fall of a tenth"
    assert sentence(fell) == "P(BTC dominance closes ≥ 10% below its close at as_of, within …)"
    assert event_nouns(fell) == "falls"


def test_a_leader_of_its_own_stands_where_the_russell_2000_stood(world: World) -> None:
    own = features_of(world.targets["mid_caps"])
    assert [own[name].inputs[0].code for name in ("distance_from_record", "small_cap_strength")] == ["MDY", "MDY"]
    assert own["altcoin_momentum"].inputs == FEATURES["altcoin_momentum"].inputs
    with Store.open(world.home.store, read_only=True) as store:
        mine, theirs = (
            build(store, UNTIL, start=UNTIL - pd.Timedelta(days=30), target=target).features
            for target in (world.targets["mid_caps"], ALTCOINS)
        )
    same = [name for name in mine if mine[name].equals(theirs[name])]
    assert {"altcoin_momentum", "net_liquidity_growth"} <= set(same)
    assert not {"distance_from_record", "small_cap_strength", "dollar_volume_surge"} & set(same)
    assert all(RUT not in feature.sources for feature in own.values())


def test_what_the_store_lacks_is_said_not_read_as_neutral(world: World) -> None:
    with Store.open(world.home.store, read_only=True) as store:
        with pytest.raises(UnknownName, match=r"No coin 'etherium'\. Did you mean 'ethereum'\?"):
            load_target_index(store, UNTIL, replace(world.targets["eth"], coins=("etherium",)))
        with pytest.raises(MissingData, match=r"no prices of IEUS, the leader of 'altcoin rally'"):
            load_target_index(store, UNTIL, replace(ALTCOINS, leader=Leader("European small-cap", "IEUS", "IEUS")))


def test_the_middle_horizon_is_judged() -> None:
    assert [judged_horizon(days) for days in ([30, 60, 90], [20, 40], [90], [90, 30, 60])] == [60, 40, 90, 60]


# files

GOOD = 'name = "ETH rally"\nsubject = "ETH"\ncoins = ["ethereum"]\n'


def written(folder: Path, text: str) -> Path:
    file = folder / "mine.toml"
    file.write_text(text, encoding="utf-8")
    return file


def test_what_a_file_leaves_out_is_as_for_altcoins(tmp_path: Path) -> None:
    target = read_target(written(tmp_path, GOOD))
    assert (target.threshold, target.horizons, target.outcome, target.leader) == (0.3, (30, 60, 90), "first_passage", Leader())


def test_the_built_in_target_may_be_written_down(tmp_path: Path) -> None:
    text = 'name = "altcoin rally"\nsubject = "altcoin index"\nuniverse = "altcoins"\nrise = 0.5\n'
    assert read_target(written(tmp_path, text)) == ALTCOINS.with_outcome(move=0.5)


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ('name = "ETH', "isn't a TOML file"),
        ('subject = "ETH"\ncoins = ["ethereum"]\n', "name is missing"),
        (GOOD + "horizon = [30]\n", "horizon = [30] is no key of a target; did you mean horizons?"),
        (GOOD + 'horizons = "60"\n', "horizons = '60' will not do"),
        (GOOD + "horizons = [60, 30]\n", "horizons = [60, 30] will not do"),
        (GOOD + "horizons = [true, 30]\n", "horizons = [True, 30] will not do"),
        (GOOD + 'rise = "30 %"\n', "rise = '30 %' will not do; write a number; 0.3 is 30 %"),
        (GOOD + "rise = nan\n", "rise = nan will not do"),
        (GOOD + "rise = inf\n", "rise = inf will not do"),
        (GOOD + "rise = 30\n", "rise 30 is not a share between 0 and 5; 0.3 is 30 %"),
        (GOOD + "rise = -0.3\n", "rise -0.3 is not a share"),
        (GOOD + "fall = 0.3\n", "fall = 0.3 has no meaning here; write rise = 0.3"),
        (GOOD + 'outcome = "relativ"\n', "outcome = 'relativ' will not do; write one of first_passage, terminal, relative"),
        (GOOD + 'outcome = "relative"\nrise = 0.3\n', "rise 0.3 has no meaning for `relative`"),
        (GOOD + 'universe = "altcoins"\n', "both are there"),
        ('name = "X"\nsubject = "X"\n', "neither is there"),
        ('name = "X"\nsubject = "X"\nuniverse = "stocks"\n', "universe = 'stocks' will not do"),
        ('name = "X"\nsubject = "X"\ncoins = []\n', "coins = [] will not do"),
        ('name = "X"\nsubject = "X"\ncoins = ["a", "a"]\n', "coins = ['a', 'a'] will not do"),
        ('name = "X"\nsubject = "X"\nuniverse = "bitcoin dominance"\n', "fall is missing"),
        ('name = "X"\nsubject = "X"\nuniverse = "bitcoin dominance"\nfall = 1.5\n', "fall 1.5 is not a share between 0 and 1"),
        ('name = "<script>"\nsubject = "X"\ncoins = ["a"]\n', "name = '<script>' will not do"),
        ('name = "x\' or 1=1"\nsubject = "X"\ncoins = ["a"]\n', "will not do"),
        ('name = "a\\nb"\nsubject = "X"\ncoins = ["a"]\n', "will not do"),
        ('name = "../../x"\nsubject = "X"\ncoins = ["a"]\n', "will not do"),
        (GOOD + 'leader = "MDY"\n', "leader = 'MDY' will not do"),
        (GOOD + '[leader]\nticker = "MDY"\n', "leader.ticker = 'MDY' is no key of a target"),
        (GOOD + '[leader]\nfund = "M\'DY"\n', "leader.fund"),
        ('name = "altcoin rally"\nsubject = "ETH"\ncoins = ["ethereum"]\n', "is that of the built-in target"),
        ('name = "my rally"\nsubject = "alts"\nuniverse = "altcoins"\n', "so that its tries are counted where they belong"),
        ("a = " + "[" * 20_000, "isn't a TOML file"),
        (GOOD + "rise = " + "9" * 400 + "\n", "will not do; write a number"),
        (GOOD + "rise = " + "9" * 5_000 + "\n", "isn't a TOML file"),
        (GOOD + '"a\\nb" = 1\n', "'a\\nb' = 1 is no key of a target"),
        (GOOD + f'"{"a" * 5_000}" = 1\n', "... = 1 is no key of a target"),
        (GOOD + "rise = 0.3\nrise = 0.5\n", "Cannot overwrite a value (at line 5"),
        (GOOD + "[leader]\n", "leader = {} will not do"),
        (GOOD + "\0\0\0", "isn't a TOML file: Invalid statement (at line 4"),
        ("", "is empty; docs/targets shows three that are"),
        ("\n \n", "is empty"),
        ("date,close\n2024-01-01,5\n", "isn't a TOML file"),
    ],
)
def test_a_mistyped_or_hostile_file_is_refused_in_one_line(tmp_path: Path, text: str, said: str) -> None:
    with pytest.raises(BadInput) as refused:
        read_target(written(tmp_path, text))
    assert said in str(refused.value)
    assert "mine.toml" in str(refused.value)
    assert "\n" not in str(refused.value)
    assert len(str(refused.value)) < 400


def test_a_file_that_isnt_there_or_no_text_is_refused(tmp_path: Path) -> None:
    with pytest.raises(BadInput, match="can't be read"):
        read_target(tmp_path / "none.toml")
    (tmp_path / "bytes.toml").write_bytes(hashlib.sha256(b"x").digest())
    with pytest.raises(BadInput, match="isn't text in UTF-8"):
        read_target(tmp_path / "bytes.toml")
    (tmp_path / "latin.toml").write_bytes(GOOD.encode() + "# f\u00fcr\n".encode("latin-1"))
    with pytest.raises(BadInput, match=r"latin.toml isn't text in UTF-8 \(line 4\). Save it as UTF-8"):
        read_target(tmp_path / "latin.toml")


def test_a_mark_or_line_ends_of_another_system_change_nothing(tmp_path: Path) -> None:
    plain = read_target(written(tmp_path, GOOD))
    for number, content in enumerate((b"\xef\xbb\xbf" + GOOD.encode(), GOOD.replace("\n", "\r\n").encode())):
        file = tmp_path / f"{number}.toml"
        file.write_bytes(content)
        assert read_target(file) == plain


CUT = """
name = "ETH rally"
subject = "ETH"
coins = ["ethereum"]
horizons = [30, 60]

[leader]
name = "mid-cap"
index = "^MID"
fund = "MDY"
"""


@pytest.mark.parametrize(
    "last", ['fund = "MDY"', "horizons = [30, 60]", 'coins = ["ethereum"]', "rise = 0.35", "rise = 0.35 # large"]
)
def test_a_file_cut_in_its_last_line_is_refused_or_means_the_same(tmp_path: Path, last: str) -> None:
    begin = CUT if last.startswith("fund") else CUT.partition("\n[leader]")[0]
    begin = "".join(f"{line}\n" for line in begin.splitlines() if line.partition("=")[0] != last.partition("=")[0])
    whole = read_target(written(tmp_path, f"{begin}{last}\n"))
    read = [read_or_refusal(tmp_path, begin + last[:length]) for length in range(1, len(last) + 1)]
    refused = [said for said in read if isinstance(said, str)]
    assert {target for target in read if not isinstance(target, str)} <= {whole}
    assert len(refused) >= len(last.partition(" #")[0]) - 1
    assert all("mine.toml" in said and "\n" not in said for said in refused)


def read_or_refusal(folder: Path, text: str) -> Target | str:
    """What a file declares, or why it is refused."""
    try:
        return read_target(written(folder, text))
    except BadInput as refused:
        return str(refused)


def test_a_number_that_may_be_cut_is_shown(tmp_path: Path) -> None:
    for cut in ("rise = 0.3", "rise = 0", "rise = 1"):
        with pytest.raises(BadInput, match=rf"breaks off in its last line \('{cut}'\).*Copy the file again"):
            read_target(written(tmp_path, GOOD + cut))


@pytest.mark.parametrize("command", ["train", "score", "fetch", "watch", "verify", "report", "compare"])
def test_a_damaged_file_is_one_line_and_exit_code_1_in_every_command(altrally: Invoke, tmp_path: Path, command: str) -> None:
    for text in (f"{GOOD}rise = 0.3", GOOD[:40], ""):
        ran = altrally("--home", tmp_path / "home", command, "--target", written(tmp_path, text))
        assert (ran.code, ran.out, ran.err.count("\n")) == (1, "", 1), ran.err
        assert "mine.toml" in ran.err
    assert not (tmp_path / "home").exists()
