"""The daily job: days lived through on a small market whose files grow, kills and failures among them."""

import json
import shutil
import subprocess
import sys
from dataclasses import dataclass, replace
from pathlib import Path

import pandas as pd
import pytest
from invoking import Invoke
from issued import made_score, put
from listening import Listener

from altrally.ledger import SCORE, Ledger
from altrally.notices import Crossing, crossing_notices, parse_crossing
from altrally.watch import Round, Watch, is_due, one_round, read_state
from core.errors import BadInput, StoreUnusable
from core.home import Home
from core.progress import silent
from models.champion import list_runs
from sources.fetch import fetch
from sources.simulated import simulate
from sources.store import Store
from training.settings import TrainSettings
from training.tracking import TrackingPlace
from training.train import train

pytestmark = pytest.mark.usefixtures("few_pictures")

FIRST, QUARTER = pd.Timestamp("2018-03-31"), pd.Timestamp("2018-04-01")
HOLDING = """
import sys
from pathlib import Path
from core.home import Home
from altrally.watch import round_lock
with round_lock(Home(Path(sys.argv[1]))):
    print("held", flush=True)
    sys.stdin.read()
"""


class Killed(BaseException):
    """Nothing catches this: what a kill leaves behind is what it leaves behind."""


@dataclass(frozen=True)
class World:
    """A home, the folder its files come from, and the market that is laid into it day by day."""

    home: Home
    drop: Path
    market: dict[str, pd.DataFrame]

    @property
    def place(self) -> TrackingPlace:
        return TrackingPlace(self.home.tracking_uri, self.home.artifacts, self.home.folder)

    def lay(self, day: pd.Timestamp) -> None:
        """The files as they stand at the end of `day`."""
        for stem, frame in self.market.items():
            frame[frame["date"] <= day].to_parquet(self.drop / f"{stem}.parquet")

    def live(self, day: pd.Timestamp, *, killed_at: str | None = None, webhook: str | None = None, lay: bool = True) -> Round:
        """One round on the morning after `day`."""

        def progress(label: str, done: int, total: int) -> None:
            if killed_at is not None and label.startswith(killed_at):
                raise Killed

        if lay:
            self.lay(day)
        watch = Watch(self.home, None, self.drop, webhook=webhook, page=True)
        return one_round(watch, now=day + pd.Timedelta(days=1, hours=6), place=self.place, progress=progress)


@dataclass(frozen=True)
class Lived:
    """What came of some days."""

    world: World
    rounds: list[Round]


@pytest.fixture(scope="module")
def lived(tmp_path_factory: pytest.TempPathFactory) -> Lived:
    """A home trained in the old quarter, and three days across the turn of it; the first is killed twice, the second repeated."""
    folder = tmp_path_factory.mktemp("watch")
    market = simulate(start="2014-01-01", end="2018-07-03", stocks=2, coins=12)
    world = World(Home(folder / "home"), folder / "drop", market)
    world.home.folder.mkdir()
    world.drop.mkdir()
    world.lay(FIRST - pd.Timedelta(days=1))
    with Store.open(world.home.store) as store:
        fetch(store, "files", path=world.drop, today=FIRST, progress=silent)
        asked = TrainSettings(models=("hazard",), draws=10, rotations=20)
        train(store, asked, until=FIRST - pd.Timedelta(days=1), place=world.place, progress=silent)
    for label in ("reading", "forecasting"):
        with pytest.raises(Killed):
            world.live(FIRST, killed_at=label)
    rounds = [world.live(day) for day in (FIRST, QUARTER, QUARTER, QUARTER + pd.Timedelta(days=1))]
    return Lived(world, rounds)


@pytest.fixture
def world(lived: Lived, tmp_path: Path) -> World:
    """The home as it was left, to go on in."""
    shutil.copytree(lived.world.home.folder, tmp_path / "home")
    shutil.copytree(lived.world.drop, tmp_path / "drop")
    return replace(lived.world, home=Home(tmp_path / "home"), drop=tmp_path / "drop")


def test_every_day_has_one_live_line_and_the_chain_is_whole(lived: Lived) -> None:
    with Ledger.open(lived.world.home.ledger) as ledger:
        whole = ledger.verify().lines
        every = list(ledger.lines())
    assert [line.number for line in every] == list(range(1, whole + 1))
    lines = [line for line in every if line.kind == SCORE]
    assert [line.body["as_of"] for line in lines] == ["2018-03-31", "2018-04-01", "2018-04-02"]
    assert {line.record for line in lines} == {"live"}
    first, second, third = (line.number for line in lines)
    assert [done.forecast and done.forecast["line"] for done in lived.rounds] == [first, second, second, third]
    assert all(done.troubles == [] for done in lived.rounds)


def test_it_trained_once_when_the_quarter_began(lived: Lived) -> None:
    decisions = [done.decisions for done in lived.rounds]
    assert [bool(decided) for decided in decisions] == [False, True, False, False]
    assert "a refresh of v2" in decisions[1][0]
    runs = list_runs(lived.world.home.tracking_uri)
    trainings = runs[runs["parent_id"].isna()]
    assert sorted(trainings["status"]) == ["FINISHED", "FINISHED"]
    assert set(runs.loc[runs["parent_id"].notna(), "model"]) == {"hazard", "pool"}
    assert len(set(runs["tags.trials"])) == 1


def test_the_page_of_a_day_tells_the_line_that_was_issued_though_a_training_followed(lived: Lived) -> None:
    pages = sorted(page.name for page in (lived.world.home.folder / "reports").glob("2*.html"))
    assert pages == ["2018-03-31.html", "2018-04-01.html", "2018-04-02.html"]
    said = lived.rounds[1].forecast
    assert said is not None
    page = (lived.world.home.folder / "reports" / pages[1]).read_text()
    assert f"v{said['model']['version']}, run {said['model']['run_id']}" in page


def test_the_new_champion_speaks_from_the_next_day_on(lived: Lived) -> None:
    versions = [done.forecast["model"]["version"] for done in lived.rounds if done.forecast]
    assert versions[:3] == ["2"] * 3
    assert versions[3] != "2"


@pytest.mark.long
def test_a_training_that_was_killed_is_made_up_for_by_the_next_round(world: World) -> None:
    day = QUARTER + pd.Timedelta(days=91)
    for label in ("walk-forward", "tracking: hazard"):
        with pytest.raises(Killed):
            world.live(day, killed_at=label)
    done = world.live(day)
    assert "a refresh of" in done.decisions[0]
    assert world.live(day).decisions == []
    with Ledger.open(world.home.ledger) as ledger:
        ledger.verify()
        assert [line.kind for line in ledger.lines()].count("score") == 4


def test_a_bad_day_is_told_and_the_forecast_issued_all_the_same(world: World) -> None:
    (world.drop / "crypto.parquet").write_bytes(b"PAR1 not any more")
    (world.home.folder / "watch.json").write_text("{")
    done = world.live(QUARTER + pd.Timedelta(days=2), lay=False)
    assert all(any(word in trouble for trouble in done.troubles) for word in ("crypto.parquet", "watch.json is damaged"))
    assert done.forecast is not None
    assert (done.forecast["as_of"], done.new_rows) == ("2018-04-03", 0)


def test_no_page_tells_other_numbers_than_the_line_of_its_day(world: World) -> None:
    day = QUARTER + pd.Timedelta(days=2)
    page, prices = world.home.folder / "reports" / f"{day:%Y-%m-%d}.html", world.drop / "prices.parquet"
    world.lay(day)
    whole = pd.read_parquet(prices)
    whole[whole["date"] < day - pd.Timedelta(days=3)].to_parquet(prices)
    world.live(day, lay=False)
    page.unlink()
    late = world.live(day)
    assert late.new_rows > 0
    assert "data or model changed since it was forecast" in " ".join(late.warnings)
    assert not page.exists()
    with Ledger.open(world.home.ledger) as ledger:
        assert [line.kind for line in ledger.lines()].count("score") == 4


def test_an_outcome_is_recorded_once_it_is_known(world: World) -> None:
    with Ledger.open(world.home.ledger) as ledger:
        put(ledger, made_score("2018-02-28"))
    day = QUARTER + pd.Timedelta(days=1)
    assert [world.live(day, lay=False).resolved for _ in range(2)] == [1, 0]


def test_levels_crossed_are_told_of_new_lines_only(tmp_path: Path) -> None:
    levels = [Crossing(0.5, 60), Crossing(0.6, 60), Crossing(0.9, 30)]
    with Ledger.open(tmp_path / "ledger.db") as ledger:
        for day, p in (("2024-03-01", 0.4), ("2024-03-02", 0.5), ("2024-03-05", 0.7), ("2024-03-06", 0.49)):
            put(ledger, made_score(day, 0.1, p, 0.8, market="simulated"))
        put(ledger, made_score("2024-03-06", 0.1, 0.9, 0.9, market="simulated", snapshot="repeated"))
        put(ledger, made_score("2024-03-03", 0.1, 0.99, 0.99, market="simulated"), days_later=50)
        lines = list(ledger.lines())

    def told(examined: int) -> list[tuple[str, float, bool]]:
        return [(said["now"]["as_of"], said["level"], said["rose"]) for said in crossing_notices(lines, examined, levels)]

    down = [("2024-03-06", 0.5, False), ("2024-03-06", 0.6, False)]
    assert told(0) == [("2024-03-02", 0.5, True), ("2024-03-05", 0.6, True), *down]
    assert told(3) == down
    assert told(4) == []
    with Ledger.open(tmp_path / "ledger.db") as ledger:
        put(ledger, made_score("2024-03-07", 0.1, 0.99, 0.99, market="simulated", threshold=0.2))
        lines = list(ledger.lines())
    assert told(6) == [], "a rise of 20 % is another event"
    text = crossing_notices(lines, 3, levels)[0]["text"]
    assert text.startswith(
        "Simulated market. P(altcoin rally within 60 days) fell below 0.5: 0.49 on 2024-03-06, 0.70 on 2024-03-05"
    )


def test_a_crossing_reaches_the_webhook_once_also_after_it_was_down(world: World, listener: Listener) -> None:
    with Ledger.open(world.home.ledger) as ledger:
        before, last = [line for line in ledger.lines() if line.kind == "score"][-2:]
    was, now = (line.body["horizons"][1]["probability"] for line in (before, last))
    watch = Watch(world.home, None, world.drop, webhook=listener.address, crossings=(Crossing((was + now) / 2, 60),))
    state = world.home.folder / "watch.json"
    state.write_text(json.dumps(json.loads(state.read_text()) | {"examined": before.number}))
    listener.answers = [404, 200]
    morning = last.as_of + pd.Timedelta(days=1, hours=9)
    rounds = [one_round(watch, now=morning, place=world.place, progress=silent) for _ in range(3)]
    assert [len(done.notices) for done in rounds] == [1, 0, 0]
    assert [len(done.troubles) for done in rounds] == [1, 0, 0]
    assert [body["rose"] for _, body in listener.heard] == [now > was] * 2


@pytest.mark.parametrize(
    ("last", "as_of", "due"),
    [
        ("2024-01-01", "2024-03-31", False),
        ("2024-01-01", "2024-04-01", True),
        ("2024-03-31", "2024-04-01", True),
        ("2023-12-31", "2024-12-31", True),
        ("2024-04-01", "2024-03-31", False),
    ],
)
def test_training_is_due_with_a_new_quarter(last: str, as_of: str, due: bool) -> None:
    assert is_due(pd.Timestamp(last), pd.Timestamp(as_of), 90) == due


def test_training_is_due_when_it_is_older_than_asked() -> None:
    assert not is_due(pd.Timestamp("2024-01-01"), pd.Timestamp("2024-01-15"), 14)
    assert is_due(pd.Timestamp("2024-01-01"), pd.Timestamp("2024-01-16"), 14)


@pytest.mark.parametrize("text", ["0.6", "0.6:45", "60:0.6", "1.2:60", "0:60", "nan:60", "x:60", ":"])
def test_a_crossing_that_makes_no_sense_is_refused(text: str) -> None:
    with pytest.raises(BadInput, match=r"0\.6:60"):
        parse_crossing(text)


def test_a_mistyped_wish_is_refused_before_anything_is_done(tmp_path: Path) -> None:
    home = Home(tmp_path / "none")
    for wish in ({"provider": "bloomberg"}, {"retrain_days": 0}, {"webhook": "example.org"}):
        with pytest.raises(BadInput):
            Watch(home, **wish)  # type: ignore[arg-type]
    assert not home.folder.exists()


def test_two_rounds_at_once_are_one_too_many(tmp_path: Path, altrally: Invoke) -> None:
    words = [sys.executable, "-c", HOLDING, str(tmp_path)]
    with subprocess.Popen(words, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as other:
        assert other.stdout is not None
        assert other.stdout.readline() == "held\n"
        code, out, err = altrally("--home", tmp_path, "watch", "--provider", "simulated")
        other.communicate("")
    assert (code, out, err.count("\n")) == (1, "", 1)
    assert "Another watch is running" in err
    assert not (tmp_path / "store.duckdb").exists()


def test_stale_data_exits_1_after_all_was_done_and_is_told_once(world: World, altrally: Invoke, listener: Listener) -> None:
    words = ("--home", world.home.folder, "watch", "--path", world.drop, "--webhook", listener.address, "--json")
    listener.answers = [400, 200]
    for notices, word in ((1, "127.0.0.1 didn't take the message"), (0, "coin price: nothing known")):
        code, out, err = altrally(*words)
        done = json.loads(out)
        assert (code, err.count("\n"), len(done["notices"])) == (1, 1, notices)
        assert word in err
        assert done["forecast"]["as_of"] == done["as_of"] == "2018-04-03"
    assert [body["event"] for _, body in listener.heard] == ["stale", "stale"]
    assert read_state(world.home).pending == []


def test_the_record_is_told_and_published_unless_its_chain_is_broken(world: World, altrally: Invoke) -> None:
    file = world.drop / "record.jsonl"
    code, out, err = altrally("--home", world.home.folder, "ledger", "--json", "--export", file)
    record = json.loads(out)
    assert (code, err) == (0, "")
    assert record["forecasts"] == {"live": 3, "backtest": 0, "in_sample": 0, "repeated": 0}
    assert len(file.read_text().splitlines()) == record["lines"] > 3
    assert {row["pending"] for row in record["records"]} == {3}
    (world.home.folder / "ledger.head").unlink()
    for command in (("ledger",), ("watch", "--path", world.drop)):
        code, out, err = altrally("--home", world.home.folder, *command)
        assert (code, out, err.count("\n")) == (1, "", 1)
        assert "ledger.head is gone" in err


def test_a_score_that_cannot_be_recorded_is_not_told(world: World, altrally: Invoke) -> None:
    world.home.ledger.unlink()
    world.home.ledger.mkdir()
    code, out, err = altrally("--home", world.home.folder, "score", "--json")
    assert (code, out, err.count("\n")) == (1, "", 1)
    assert "what isn't recorded isn't issued" in err


def test_a_home_without_a_forecast_says_what_to_do(world: World, altrally: Invoke) -> None:
    world.home.ledger.unlink()
    for word in ("altrally repair", "altrally score"):
        code, _, err = altrally("--home", world.home.folder, "ledger")
        assert (code, err.count("\n")) == (1, 1)
        assert word in err, "a lost ledger isn't one that never was"
        for file in world.home.folder.glob("ledger.*"):
            file.unlink()
    with pytest.raises(StoreUnusable, match="one home holds one market"):
        one_round(Watch(world.home, "simulated"), now=QUARTER, place=world.place, progress=silent)
