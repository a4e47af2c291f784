"""The page in a real browser, offline: nothing fails, overflows, stays blank or out of reach; phone and desk, light and dark."""

import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from itertools import pairwise
from pathlib import Path
from typing import Any

import pandas as pd
import pytest
from axe_playwright_python.sync_playwright import Axe
from made_facts import HOSTILE, made_facts
from playwright.sync_api import Browser, Page, sync_playwright

from altrally.forecast import inputs_known, score
from altrally.report.content import TrainingRecord, gather
from altrally.report.page import write_report
from core.home import Home
from sources.store import Store

WIDTHS = (390, 1440)
SCHEMES = ("light", "dark")
SERIOUS = ("serious", "critical")
FIRST_PAINT_MS = 1_000
BOXES = """() => [...document.querySelectorAll("svg")].filter(svg => !svg.closest("svg svg") && svg.checkVisibility())
  .map(svg => { const box = svg.getBoundingClientRect(); return [box.width, box.height, svg.childElementCount]; })"""
FIRST_PAINT = """() => new Promise(told => new PerformanceObserver(list => told(list.getEntries()[0].startTime))
  .observe({type: "paint", buffered: true}))"""
CHANNELS = "css => css.match(/[\\d.]+/g).slice(0, 3).map(Number)"


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    """Chromium as the system has it."""
    program = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")
    if program is None:
        pytest.skip("no chromium on the path: the page can't be looked at")
    with sync_playwright() as playwright:
        started = playwright.chromium.launch(executable_path=program, args=["--no-sandbox", "--disable-gpu"])
        yield started
        started.close()


@pytest.fixture(scope="module")
def simulated_page(trained_home: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The page of the simulated market, as the command writes it."""
    from altrally.api import report

    folder = tmp_path_factory.mktemp("page")
    for name in ("store.duckdb", "mlruns"):
        (folder / name).symlink_to(trained_home / name)
    return report(Home(folder)).path


@pytest.fixture(scope="module")
def hostile_page(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A page with every section, whose names try to run and to break out."""
    return write_report(tmp_path_factory.mktemp("hostile"), made_facts(HOSTILE, market=HOSTILE)).path


@pytest.fixture(params=["simulated_page", "hostile_page"])
def file(request: pytest.FixtureRequest) -> Path:
    """Each page in turn."""
    return Path(request.getfixturevalue(request.param))


@contextmanager
def opened(browser: Browser, file: Path, width: int, scheme: Any = "light", **more: Any) -> Iterator[tuple[Page, list[str]]]:
    """The page in a window without a network, and everything it complains of."""
    context = browser.new_context(viewport={"width": width, "height": 900}, color_scheme=scheme, **more)
    context.set_offline(True)
    page, complaints = context.new_page(), []
    page.on("console", lambda message: complaints.append(f"{message.type}: {message.text}"))
    page.on("pageerror", lambda error: complaints.append(str(error)))
    page.on("dialog", lambda dialog: complaints.append(f"dialog: {dialog.message}"))
    page.on("request", lambda asked: complaints.append(asked.url) if asked.url != file.as_uri() else None)
    page.goto(file.as_uri())
    yield page, complaints
    context.close()


@pytest.mark.parametrize("scheme", SCHEMES)
@pytest.mark.parametrize("width", WIDTHS)
def test_it_opens_clean_and_whole(browser: Browser, file: Path, width: int, scheme: str) -> None:
    with opened(browser, file, width, scheme) as (page, complaints):
        page.evaluate("document.querySelectorAll('details').forEach(part => { part.open = true; })")
        assert page.evaluate("document.documentElement.scrollWidth") == width
        boxes = page.evaluate(BOXES)
        assert len(boxes) > 20
        assert all(wide > 40 and high > 10 and drawn > 0 for wide, high, drawn in boxes)
        assert complaints == []


@pytest.mark.parametrize(
    ("name", "width", "scheme"),
    [
        ("simulated_page", 390, "dark"),
        ("simulated_page", 1440, "light"),
        ("hostile_page", 390, "light"),
        ("hostile_page", 1440, "dark"),
    ],
)
def test_everybody_can_read_it(browser: Browser, request: pytest.FixtureRequest, name: str, width: int, scheme: str) -> None:
    with opened(browser, request.getfixturevalue(name), width, scheme, bypass_csp=True) as (page, _):
        page.evaluate("document.querySelectorAll('details').forEach(part => { part.open = true; })")
        found = Axe().run(page, options={"resultTypes": ["violations"]}).response["violations"]
    serious = [one for one in found if one["impact"] in SERIOUS]
    assert [(one["id"], one["nodes"][0]["target"], one["nodes"][0]["failureSummary"]) for one in serious] == []


def test_headings_descend_one_by_one(browser: Browser, file: Path) -> None:
    with opened(browser, file, 1440) as (page, _):
        levels = page.evaluate("[...document.querySelectorAll('h1, h2, h3, h4')].map(title => Number(title.tagName[1]))")
    assert levels[0] == 1
    assert levels.count(1) == 1
    assert all(after - before <= 1 for before, after in pairwise(levels))


def unfold_record(page: Page) -> None:
    """Open the section of past forecasts, as a reader does."""
    page.locator("#record details.whole > summary").click()


@pytest.mark.parametrize("width", WIDTHS)
def test_at_most_half_of_it_is_unfolded(browser: Browser, file: Path, width: int) -> None:
    with opened(browser, file, width) as (page, _):
        folded = page.evaluate("document.documentElement.scrollHeight")
        page.evaluate("document.querySelectorAll('details').forEach(part => { part.open = true; })")
        assert folded <= page.evaluate("document.documentElement.scrollHeight") / 2


def test_the_verdict_stands_directly_under_the_headline_on_a_phone(browser: Browser, file: Path) -> None:
    with opened(browser, file, 390) as (page, _):
        places = [page.locator(name).first.bounding_box() for name in (".event", ".verdict", ".gauge")]
    tops = [box["y"] for box in places if box]
    assert tops == sorted(tops)
    assert tops[1] < 900


def test_the_contents_lead_to_every_section_and_unfold_it(browser: Browser, file: Path) -> None:
    with opened(browser, file, 1440) as (page, complaints):
        anchors = page.evaluate("[...document.querySelectorAll('.contents a')].map(link => link.getAttribute('href').slice(1))")
        sections = page.evaluate("[...document.querySelectorAll('main > section[id]')].map(part => part.id)")
        assert anchors == [name for name in sections if name != "forecast"]
        page.locator(".contents a[href='#record']").click()
        assert page.locator("#record details.whole").get_attribute("open") is not None
        assert [line for line in complaints if "#" not in line] == []


@pytest.mark.parametrize("width", WIDTHS)
def test_pointing_at_a_picture_tells_its_numbers(browser: Browser, file: Path, width: int) -> None:
    with opened(browser, file, width) as (page, complaints):
        tip = page.locator("#tip")
        assert tip.is_hidden()
        page.locator(".gauge .now").nth(1).hover()
        assert "within 60 days" in tip.inner_text()
        unfold_record(page)
        page.locator(".panel:visible .history svg").first.hover()
        assert "forecast" in tip.inner_text()
        box = tip.bounding_box()
        assert box is not None
        assert box["x"] >= 0
        assert box["x"] + box["width"] <= width
        page.keyboard.press("Escape")
        assert tip.is_hidden()
        assert complaints == []


def test_the_history_is_read_by_keyboard_too(browser: Browser, file: Path) -> None:
    with opened(browser, file, 1440) as (page, _):
        unfold_record(page)
        plot = page.locator(".panel:visible .history")
        plot.focus()
        page.keyboard.press("Home")
        first = page.locator("#tip").inner_text()
        page.keyboard.press("ArrowRight")
        second = page.locator("#tip").inner_text()
    assert first[:10] < second[:10]


def test_a_horizon_is_chosen_without_a_mouse(browser: Browser, file: Path) -> None:
    with opened(browser, file, 1440) as (page, _):
        unfold_record(page)
        assert page.locator(".panel:visible").count() == 1
        page.locator("#within-60").focus()
        page.keyboard.press("ArrowRight")
        assert page.locator(".panel:visible .history").get_attribute("data-days") == "90"


def test_the_theme_is_toggled_and_follows_the_system_else(browser: Browser, file: Path) -> None:
    def brightness(page: Page) -> float:
        return float(sum(page.evaluate(f"({CHANNELS})(getComputedStyle(document.body).backgroundColor)")))

    with opened(browser, file, 1440, "dark") as (page, complaints):
        seen = [brightness(page)]
        for _ in range(3):
            page.locator("#theme").click()
            seen.append(brightness(page))
        assert complaints == []
    dark, light, dark_again, system = seen
    assert light > 600 > 200 > dark == dark_again == system


def test_it_is_readable_without_scripts(browser: Browser, file: Path) -> None:
    with opened(browser, file, 390, java_script_enabled=False) as (page, _):
        assert page.locator(".word").inner_text() in {"Not shown", "History supports it"}
        assert page.locator("#theme").is_hidden()
        unfold_record(page)
        assert page.locator(".panel:visible").count() == 1


def test_it_paints_within_a_second(browser: Browser, file: Path) -> None:
    def painted() -> float:
        with opened(browser, file, 1440) as (page, _):
            return float(page.evaluate(FIRST_PAINT))

    assert min(painted() for _ in range(3)) < FIRST_PAINT_MS  # the machine may be busy: the best of three


def test_it_prints(browser: Browser, simulated_page: Path) -> None:
    with opened(browser, simulated_page, 1440, "dark") as (page, _):
        printed = page.pdf(format="A4", print_background=True)
        page.emulate_media(media="print")
        assert page.locator("#theme").is_hidden()
        assert sum(page.evaluate(f"({CHANNELS})(getComputedStyle(document.querySelector('h1')).color)")) < 200
    assert printed.startswith(b"%PDF")


@pytest.mark.reference
@pytest.mark.long
def test_the_page_of_the_reference_market(browser: Browser, reference_home: Path, tmp_path: Path) -> None:
    from models.champion import Champion
    from models.forecaster import assemble
    from training.dataset import prepare
    from training.settings import TrainSettings
    from training.train import final_fit

    as_of, settings = pd.Timestamp("2025-01-01"), replace(TrainSettings(), draws=20)
    with Store.open(reference_home / "store.duckdb", read_only=True) as store:
        model = final_fit("hazard", prepare(store, settings, as_of), settings)
        champion = Champion(assemble(model, []), made_card(as_of), "altrally", "1", "none")
        inputs = inputs_known(store, as_of)
        facts = gather(store, champion, inputs, score(inputs, champion), TrainingRecord(NO_FORECASTS, []))
    file = write_report(tmp_path, facts).path
    for width in WIDTHS:
        with opened(browser, file, width) as (page, complaints):
            assert page.evaluate("document.documentElement.scrollWidth") == width
            assert all(wide > 40 and high > 10 and drawn > 0 for wide, high, drawn in page.evaluate(BOXES))
            assert "No out-of-sample forecast" in page.inner_text("#record")
            assert complaints == []


NO_FORECASTS = pd.DataFrame({"as_of": pd.DatetimeIndex([]), "horizon": [], "probability": [], "climatology": [], "outcome": []})


def made_card(as_of: pd.Timestamp) -> Any:
    """The card of a model fitted on the spot, of which nothing was judged."""
    from models.card import Card
    from models.catalog import COMPOSITES

    skill = dict.fromkeys(("brier_skill_score", "low", "high", "null_p", "start", "end"))
    return Card(
        model="hazard",
        family="test",
        market="files",
        outcome={"kind": "first_passage", "threshold": 0.3},
        horizons=[30, 60, 90],
        columns=list(COMPOSITES),
        label="first_passage 0.3 within 30/60/90 days",
        configuration="0" * 16,
        snapshot="0" * 16,
        trained_as_of=f"{as_of:%Y-%m-%d}",
        last_label_end="2024-12-30",
        base_rates=[0.28, 0.42, 0.52],
        folds=[],
        means=dict.fromkeys(COMPOSITES, 0.1),
        skill=skill | {"shown": False, "sentence": "Skill has not been shown: no forecast has been judged yet."},
        draws=20,
        trials=1,
    )
