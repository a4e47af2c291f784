"""The page for people: contributions add up, the record knows nothing of later, names can do no harm, words keep the rules."""

import json
import re
from dataclasses import replace
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from made_facts import HOSTILE, made_facts, made_record, made_row
from scipy.special import expit, logit

from altrally.forecast import Edge, Inputs, inputs_known, score
from altrally.report import claims, words
from altrally.report.analogues import APART, MOST, analogues
from altrally.report.charts import bin_tip, odds_axis, waterfall
from altrally.report.content import Facts, Previous, gather, movement, read_market, read_training_record
from altrally.report.contributions import InputState, Part, distribute, effects, sensitivities, training_mean
from altrally.report.page import inlined, render, write_report
from altrally.report.past_forecasts import Bin, beats_every_baseline
from altrally.report.rungs import direction, percentile, rung, rungs, state
from core.errors import BadInput
from core.number_format import interval
from core.target import ALTCOINS
from evaluation.proportions import wilson
from features.composites import block_shares, composites
from features.registry import BLOCKS, FEATURES
from models.catalog import COMPOSITES, MODELS
from models.champion import Champion, load_champion
from sources.quality import MonthCoverage
from sources.store import Store

EXACT = 1e-9
SEATS = {block: [f"{block} {seat}" for seat in "abc"] for block in BLOCKS}


def fitted(name: str) -> Any:
    """A model of six composites, fitted on 400 rows of noise that carry some signal."""
    rng = np.random.default_rng(3)
    X = pd.DataFrame(rng.normal(size=(400, len(COMPOSITES))), columns=list(COMPOSITES))
    draw = X.sum(axis=1).to_numpy()[:, None] / 3 + rng.normal(size=(400, 1)) > np.array([1.0, 0.5, 0.0])
    return MODELS[name].make("first_passage", 0.3).fit(X, draw.astype(float))


def placed(rng: np.random.Generator, missing: str = "") -> InputState:
    """A random standing whose shares add up to its composites; one block may be missing."""
    parts = {block: pd.Series(rng.normal(size=3), SEATS[block]) for block in BLOCKS}
    x = pd.Series({block: 0.0 if block == missing else parts[block].sum() for block in COMPOSITES})
    return InputState(x, {block: part for block, part in parts.items() if block != missing})


def total(parts: list[Part]) -> float:
    return sum(part.log_odds for part in parts)


@pytest.mark.parametrize("name", ["pool", "passage", "hazard", "boosted", "logit"])
@pytest.mark.parametrize("missing", ["", "volume"])
def test_contributions_add_up_by_feature_by_block_and_as_a_whole(name: str, missing: str) -> None:
    model, rng = fitted(name), np.random.default_rng(8)
    for start, end in ((placed(rng), placed(rng, missing)) for _ in range(5)):
        found = effects(model, start, end, horizon=1)
        probabilities = model.predict(np.vstack([start.x, end.x]))[:, 1]
        assert found.end - found.start == pytest.approx(np.diff(logit(probabilities))[0], abs=EXACT)
        assert total(found.blocks) == pytest.approx(found.end - found.start, abs=EXACT)
        for block in found.blocks:
            assert total([part for part in found.features if part.block == block.block]) == pytest.approx(block.log_odds, abs=EXACT)


def test_a_missing_block_is_one_line_of_its_own() -> None:
    rng = np.random.default_rng(8)
    found = effects(fitted("hazard"), placed(rng), placed(rng, "volume"), horizon=1)
    assert [part.name for part in found.features if part.block == "volume"] == ["volume"]


def test_a_model_of_one_raw_feature_is_explained_by_it() -> None:
    x = pd.Series({"altcoin_momentum": 0.4})
    model = MODELS["momentum"].make("first_passage", 0.3)
    rng = np.random.default_rng(1)
    model.fit(pd.DataFrame(rng.normal(size=(90, 1)), columns=x.index), (rng.random((90, 1)) < [0.3, 0.5, 0.6]).astype(float))
    found = effects(model, InputState(x * 0, {}), InputState(x, {}), horizon=1)
    assert [(part.block, part.name) for part in found.features] == [("crypto_state", "altcoin_momentum")]
    assert total(found.features) == pytest.approx(found.end - found.start, abs=EXACT)


def test_an_effect_is_shared_by_slope_and_the_rest_by_size() -> None:
    # 2·(0.3, −0.1) is (0.6, −0.2); of the 0.5 − 0.4 left over three quarters go to the first
    assert distribute(0.5, 2.0, np.array([0.3, -0.1])) == pytest.approx([0.675, -0.175])
    assert distribute(0.0, 2.0, np.zeros(2)) == pytest.approx([0, 0])


def test_the_training_mean_counts_equally_against_each_seat() -> None:
    here = placed(np.random.default_rng(8))
    mean = training_mean(dict.fromkeys(COMPOSITES, 0.6), here)
    assert mean.shares["volume"].tolist() == pytest.approx([0.2, 0.2, 0.2])


def test_shares_add_up_to_composites_also_clipped_missing_and_stood_in_for() -> None:
    rng = np.random.default_rng(5)
    days = pd.date_range("2015-01-01", periods=2600)
    walks = pd.DataFrame(rng.normal(size=(2600, len(FEATURES))).cumsum(axis=0) / 30, days, list(FEATURES))
    walks.iloc[-2:] *= 50  # clipped
    walks.loc[days[1500:1600], "breadth_above_50"] = np.nan  # its stand-in takes the seat
    walks.loc[days[2000:2100], [name for name, one in FEATURES.items() if one.block == "volume"]] = np.nan
    made, parts = composites(walks, FEATURES.values()), block_shares(walks, FEATURES.values())
    assert (made.iloc[-1].abs() == 3).any()
    for block in BLOCKS:
        added = parts[block].sum(axis=1, skipna=False)
        assert added.isna().equals(made[block].isna())
        assert (added - made[block]).abs().max() < EXACT


def test_sensitivities_are_the_model_moved_by_one_and_ranked() -> None:
    model, here = fitted("hazard"), placed(np.random.default_rng(8))
    found = sensitivities(model, here.x, horizon=1)
    moved = here.x.copy()
    moved[found[0].block] += 1
    assert found[0].higher == pytest.approx(model.predict(moved.to_numpy()[None])[0, 1])
    widths = [abs(one.higher - one.lower) for one in found]
    assert widths == sorted(widths, reverse=True)


def test_a_waterfall_walks_from_the_average_to_today() -> None:
    rows, _ = waterfall(-0.3, [Part("a", "a", 0.5), Part("b", "b", -0.3)], -0.1)
    ends, ticks = odds_axis([-0.3, 0.2, -0.1])
    assert len(rows) == 4
    assert all(ends[0] <= place <= ends[1] and words.percent(float(expit(place))) == text for place, text in ticks)


def past_weeks(n: int, seed: int = 2) -> tuple[pd.DataFrame, pd.DataFrame, pd.Series]:
    """Weekly composites, outcomes known but for the last 13, and an index."""
    rng = np.random.default_rng(seed)
    sundays = pd.date_range("2016-01-03", periods=n, freq="7D")
    events = pd.DataFrame(rng.integers(0, 2, (n, 1)).repeat(3, axis=1).astype(float), sundays, [30, 60, 90])
    events.iloc[-13:] = np.nan
    level = pd.Series(np.exp(rng.normal(0, 0.03, n * 7 + 100).cumsum()), pd.date_range("2016-01-03", periods=n * 7 + 100))
    return pd.DataFrame(rng.normal(size=(n, 6)), sundays, list(BLOCKS)), events, level


def test_similar_moments_are_nearest_apart_and_over() -> None:
    past, events, level = past_weeks(300)
    today = past.iloc[100]
    found = analogues(today, past, events, level)
    assert found is not None
    days = pd.DatetimeIndex([moment.as_of for moment in found.nearest])
    assert days[0] == past.index[100]
    assert found.nearest[0].distance == pytest.approx(0, abs=1e-12)
    assert len(days) == MOST
    assert all(abs(one - other) >= APART for one in days for other in days if one != other)
    assert (days <= past.index[-14]).all()
    assert found.rows == 287
    assert found.nearest[0].event_occurred[60] == bool(events.iloc[100, 1])
    assert found.nearest[0].path[0] == 1.0


def test_an_unusual_day_is_called_so_and_told_at_the_top() -> None:
    past, events, level = past_weeks(300)
    far, near = (analogues(past.mean() + by, past, events, level) for by in (10.0, 0.0))
    assert far is not None
    assert near is not None
    assert (far.unusual, far.percentile, near.unusual) == (True, 1.0, False)
    assert "Unusual day" in render(made_facts(percentile=0.995))
    assert "Unusual day" not in render(made_facts(percentile=0.985))


def test_too_few_weeks_say_nothing() -> None:
    past, events, level = past_weeks(20)
    assert analogues(past.iloc[0], past, events, level) is None


def test_the_record_knows_nothing_of_what_came_later() -> None:
    sixty = made_record("hazard").histories[60]
    ends = pd.DatetimeIndex(sixty.as_of) + pd.Timedelta(days=60 + 1)
    assert max(sixty.as_of) <= "2024-12-31"
    assert [occurred is None for occurred in sixty.event_occurred] == list(ends > "2024-12-31")


def test_wilson_interval_by_hand() -> None:
    # centre 0.5; half width 1.6449/1.27057 · √(0.025 + 0.0067643) = 0.23073
    assert wilson(0.5, 10) == pytest.approx((0.26927, 0.73073), abs=1e-4)
    assert wilson(0.0, 1)[0] == 0.0


def test_rungs_are_placed_among_their_own_past_three_years() -> None:
    days = pd.date_range("2020-01-01", periods=1500)
    rising = pd.Series(np.arange(1500.0), days)
    found = rung("Credit", "high_yield_over_treasuries", rising, days[-1])
    assert (found.percentile, found.state, found.value) == (1.0, "strong", 1499.0)
    assert percentile(rising, days[200]) is None  # under a year
    assert percentile(rising.where(rising != 700), days[700]) is None  # missing today
    assert [state(share) for share in (0.8, 0.5, 0.0, None)] == ["strong", "middling", "weak", "unknown"]
    assert [direction(0.5, before) for before in (0.46, 0.3, 0.7, None)] == ["steady", "rising", "falling", "unknown"]
    nothing = pd.DataFrame(np.nan, days, list(FEATURES))
    assert {one.state for one in rungs(nothing, days[-1], ALTCOINS)} == {"unknown"}


def test_the_word_skill_is_given_by_the_rule_alone() -> None:
    shown, unshown = render(made_facts(shown=True)), render(made_facts())
    assert re.search(r'class="word">Not shown', unshown)
    assert re.search(r'class="word">Shown live', shown)
    assert 'class="word">Not shown' not in shown
    assert not beats_every_baseline(made_row("hazard", 60))
    better = made_row("hazard", 60) | {
        f"skill_{name}": {"value": 0.1, "low": 0.01, "high": 0.2}
        for name in ("volatility", "climatology", "random_walk", "momentum")
    }
    assert beats_every_baseline(better)


def test_words_read_well() -> None:
    assert words.percent(0.494) == "49\u202f%"
    assert words.signed(-0.001) == "+0.00"
    assert words.signed(-0.25) == "−0.25"
    assert words.amount(np.log(1.1), "log change per 13 weeks") == "+10.0\u202f%"
    assert words.amount(None, "share") == "missing"
    assert interval({"value": None}) == "–"
    assert words.long_date("2024-12-31") == "31 December 2024"
    assert "a rally followed 100\u202f% of 7 weeks" in bin_tip(Bin(0.5, 1.0, 0.7, 1.0, 7), "a rally")


def test_the_audit_is_told_line_by_line() -> None:
    facts = made_facts()
    assert facts.audit is not None
    assert claims.finding(facts.audit) == "Of the claim’s four lines one is supported, one is not, and two can’t be told"
    assert claims.answer(made_facts(audit=False)).startswith("Not audited here.")
    assert "was not audited" in render(made_facts(audit=False))


class Elements(HTMLParser):
    """What a browser would make of a page: elements, attributes, text."""

    def __init__(self, page: str) -> None:
        super().__init__()
        self.tags: list[str] = []
        self.attributes: list[tuple[str, str | None]] = []
        self.text = ""
        self.feed(page)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append(tag)
        self.attributes += attrs

    def handle_data(self, data: str) -> None:
        self.text += data


def test_hostile_names_are_only_text() -> None:
    hostile, tame = Elements(render(made_facts(HOSTILE, market=HOSTILE))), Elements(render(made_facts("a name", market="files")))
    assert sorted(hostile.tags) == sorted(tame.tags)
    assert sorted(name for name, _ in hostile.attributes) == sorted(name for name, _ in tame.attributes)
    assert hostile.tags.count("script") == 2
    assert HOSTILE in hostile.text


def test_json_in_a_script_can_not_end_it() -> None:
    text = str(inlined({"name": HOSTILE + "\u2028"}))
    assert not set("<>&\u2028") & set(text)
    assert json.loads(text) == {"name": HOSTILE + "\u2028"}
    with pytest.raises(ValueError, match="JSON"):
        inlined([float("nan")])


def test_a_page_asks_for_nothing_from_outside() -> None:
    page = render(made_facts())
    assert not re.search(r"https?://|@import|url\((?!#hatch)", page)
    assert not {"link", "img", "iframe", "object"} & set(Elements(page).tags)
    assert len(page) < 400_000


def test_the_simulated_market_says_so_loudly() -> None:
    assert "Simulated market." in render(made_facts(market="simulated"))
    assert "Simulated market." not in render(made_facts(market="files"))


def at(facts: Facts, day: str) -> Facts:
    """The same facts of another day."""
    return replace(facts, score=replace(facts.score, as_of=day))


def test_latest_is_the_page_of_the_latest_day(tmp_path: Path) -> None:
    folder, facts = tmp_path / "reports", made_facts()
    later, earlier = write_report(folder, at(facts, "2024-12-31")), write_report(folder, at(facts, "2020-01-31"))
    assert (folder / "latest.html").read_text() == later.html == later.path.read_text()
    assert earlier.path == folder / "2020-01-31.html"
    assert sorted(path.name for path in folder.iterdir()) == ["2020-01-31.html", "2024-12-31.html", "latest.html"]
    assert later.to_dict().keys() == {"path", "as_of", "market", "snapshot"}


def test_a_folder_that_can_not_be_written_is_one_clear_line(tmp_path: Path) -> None:
    (tmp_path / "reports").write_text("a file")
    with pytest.raises(BadInput, match=r"2024-12-31\.html can't be written"):
        write_report(tmp_path / "reports", made_facts())


@pytest.fixture(scope="module")
def store(trained_home: Path) -> Any:
    with Store.open(trained_home / "store.duckdb", read_only=True) as opened:
        yield opened


@pytest.fixture(scope="module")
def champion(trained_home: Path) -> Champion:
    return load_champion(f"sqlite:///{trained_home}/mlruns/mlflow.db", trained_home)


@pytest.fixture(scope="module")
def inputs(store: Store) -> Inputs:
    return inputs_known(store, pd.Timestamp("2023-06-14"))


@pytest.fixture(scope="module")
def facts(store: Store, champion: Champion, inputs: Inputs, trained_home: Path) -> Facts:
    kept = read_training_record(f"sqlite:///{trained_home}/mlruns/mlflow.db", trained_home, champion.run_id)
    return gather(store, champion, inputs, score(inputs, champion), kept)


def test_features_add_up_to_the_score_as_it_was_issued(facts: Facts) -> None:
    issued, found = facts.score, facts.drivers
    assert [(part.block, part.log_odds) for part in found.blocks] == [(one.block, one.contribution) for one in issued.drivers]
    assert found.end == pytest.approx(logit(issued.judged.probability), abs=EXACT)
    assert total(found.features) == pytest.approx(found.end - found.start, abs=EXACT)
    assert len(found.features) > 30


def test_the_movement_adds_up_to_the_last_digit_shown(facts: Facts) -> None:
    moved = facts.movement
    assert moved is not None
    assert moved.as_of == "2023-06-07"
    assert moved.other is not None  # one fold answers both days, but the weights of its experts have moved
    assert (moved.other.name, abs(moved.other.log_odds) < 0.05) == ("model", True)
    assert total(moved.data.features) + moved.other.log_odds == pytest.approx(moved.end - moved.start, abs=EXACT)


def test_the_movement_from_a_ledger_line_names_the_change_of_model(
    store: Store, champion: Champion, inputs: Inputs, facts: Facts
) -> None:
    market = read_market(store, champion, inputs.as_of)
    said = {"as_of": "2023-04-05", "horizons": [{"days": 60, "probability": 0.4}], "model": {"name": "boosted", "version": "3"}}
    moved = movement(champion, market, inputs, pd.Timestamp("2023-04-05"), Previous.of(said))
    assert moved is not None
    assert moved.other is not None
    assert (moved.model, moved.other.name, moved.start) == ("boosted v3", "model", pytest.approx(logit(0.4)))
    assert total(moved.data.features) + moved.other.log_odds == pytest.approx(moved.end - moved.start, abs=EXACT)


def test_the_page_of_a_past_day_knows_only_its_past(facts: Facts) -> None:
    assert max(max(history.as_of) for history in facts.record.histories.values()) <= "2023-06-14"
    assert facts.analogues is not None
    assert max(moment.as_of for moment in facts.analogues.nearest) <= "2023-03-15"
    assert facts.index.coins == 50


def test_report_json_is_the_contract(trained_home: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    from altrally import jobs
    from core.home import Home

    (tmp_path / "store.duckdb").symlink_to(trained_home / "store.duckdb")
    (tmp_path / "mlruns").symlink_to(trained_home / "mlruns")
    home = Home(tmp_path)
    jobs.report(home, "2023-06-14", ALTCOINS, as_json=True)
    told = json.loads(capsys.readouterr().out)
    jobs.score(home, jobs.ScoreRequest("2023-06-14", ALTCOINS, None, None, in_sample=False), as_json=True)
    issued = json.loads(capsys.readouterr().out)
    assert told == {name: issued[name] for name in ("as_of", "market", "snapshot")} | {
        "path": str(tmp_path / "reports/2023-06-14.html")
    }
    page = Path(told["path"]).read_text()
    for row in issued["horizons"]:
        assert f'<p class="chance">{words.percent(row["probability"])}</p>' in page
        assert (
            f"interval {words.percent(row['low'])} to {words.percent(row['high'])}; usual {words.percent(row['base_rate'])}" in page
        )
    assert issued["skill"]["evidence"]["sentence"] in Elements(page).text


def test_the_page_says_how_much_of_the_market_has_a_price_by_month() -> None:
    months = [
        MonthCoverage(pd.Timestamp("2024-12-31"), 0.876, ["solana", HOSTILE]),
        MonthCoverage(pd.Timestamp("2024-11-30"), 0.9, []),
    ]
    html = render(replace(made_facts(), coverage=months))
    assert "88% of the market cap of the 50 largest known coins had a price on 2024-12-31; missing: solana" in html
    assert HOSTILE not in html
    assert all(day in html for day in ("2024-12-31", "2024-11-30"))
    facts = made_facts()
    warned = replace(facts, coverage=months, score=replace(facts.score, coverage_warning="Only 60% of it."))
    assert "Only 60% of it." in render(warned)
    assert "can’t be told: no market caps are known of coins without one" in render(facts)


@pytest.mark.parametrize(
    ("limits", "says"),
    [((0.01, 0.2), "forecast better than"), ((-0.2, -0.01), "forecast worse than"), ((-0.1, 0.1), "neither clearly better nor")],
)
def test_the_season_index_is_told_with_our_verdict_on_it(limits: tuple[float, float], says: str) -> None:
    facts = made_facts("altcoin_season")
    days, (low, high) = facts.score.judged.days, limits
    row = {**made_row("altseason_rule", days), "skill_climatology": {"value": (low + high) / 2, "low": low, "high": high}}
    told = words.season_sentence(replace(facts, record=replace(facts.record, rows=[row])))
    assert "stands at 1 of 100" in told
    assert says in told
    assert words.season_sentence(facts) == words.season_sentence(made_facts()) == "", "unknown without the rule or the index"


def test_a_typical_fall_needs_a_law() -> None:
    score = made_facts().score
    assert words.typical_fall(score, 60) == "–"
    falls = [words.typical_fall(replace(score, edge=Edge(tilt, 0.04)), 60) for tilt in (0.05, 0.0, -0.05)]
    assert falls == sorted(falls, key=lambda text: int(text.strip("−\u202f%")))
