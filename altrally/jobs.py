"""What each command does, between the options a user typed and the page that is printed."""

import json
import shutil
import webbrowser
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, nullcontext
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from shlex import quote
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING, Any

import pandas as pd

from altrally import api
from altrally.api import day, now, opened, place_of
from altrally.issue import Issued, champion_of, champion_or_none, day_of
from core.errors import BadInput, GateClosed, LeakFound, Lost, MissingData, NoChampion, Refused, StoreUnusable, redacted
from core.home import Home
from core.target import ALTCOINS, Target
from evaluation.evidence import Grade
from sources.series import SERIES
from sources.store import Store

if TYPE_CHECKING:
    from models.card import Card
    from models.champion import Champion
    from sources.fetch import FetchReport
    from training.settings import TrainSettings
    from training.train import TrainReport

DEMO_DRAWS, DEMO_ROTATIONS = 60, 99
"""Fewer refits behind each interval and each p-value than `train` makes, and no trees: a demonstration is over within a minute."""

SLOW = "boosted"

REMEMBERED = pd.Timedelta(days=365)
"""How long `status` lists what a source rewrote."""


def to_json(value: Any) -> str:
    """JSON as the contract has it; a number that can't be had is null, never NaN."""
    return json.dumps(value, indent=2, allow_nan=False, default=str)


def emit(value: Any) -> None:
    """Print JSON for programs, bare, so that it can be piped."""
    print(to_json(value))  # noqa: T201


@contextmanager
def progress_bar() -> Iterator[Any]:
    """A bar on standard error where that is a terminal: `report(label, done, total)`; a total of 0 means it isn't known."""
    from rich.console import Console
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn

    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeElapsedColumn())
    terminal = Console(stderr=True)
    with Progress(*columns, console=terminal, transient=True, disable=not terminal.is_terminal) as bars:
        task = bars.add_task("", total=None)

        def report(label: str, done: int, total: int) -> None:
            bars.update(task, description=label, completed=done, total=total or None)

        yield report


def last_day(store: Store, typed: pd.Timestamp | None) -> pd.Timestamp:
    """The day a job stands at: as typed, if it is over; else the last one the store knows."""
    return day_of(store, typed, now())


def demo(home: Home, *, every_horizon: bool) -> None:
    """The whole job on a simulated market: fetch, train, score, the page, and what to do next."""
    from altrally.render import market_banner, next_steps, score_page, show, training_page
    from training.verify import model_names

    show(market_banner("simulated"), "Simulates markets, trains, forecasts and writes the page: a minute or two.")
    fetch_into(home, "simulated", None)
    settings = settings_of(ALTCOINS, None)
    quick = tuple(name for name in model_names(settings) if name != SLOW)
    report = train_home(home, replace(settings, models=quick, draws=DEMO_DRAWS, rotations=DEMO_ROTATIONS), None)
    show(" ", score_page(api.score(home, now=now()).score))
    show(" ", training_page(report, every_horizon=every_horizon))
    page = api.report(home, now=now())
    print(next_steps(home.folder))  # noqa: T201  (bare: a path must not be wrapped)
    print(f"\nOpen this file in a browser: {page.path}")  # noqa: T201


def target_in(file: Path | None, outcome: str | None = None, threshold: float | None = None) -> Target:
    """The target of a file, the built-in one without, asked for another outcome or threshold where they are given."""
    if file is None:
        return ALTCOINS.with_outcome(outcome, threshold)
    from core.target import read_target

    return read_target(file).with_outcome(outcome, threshold)


def fetch(home: Home, provider: str, path: Path | None, target: Target, *, check: bool = False) -> None:
    """Bring what is new into the store, and say line by line what came, what was dropped and what it suffices for.

    `check`: into a copy of the store that is thrown away.
    """
    from altrally.recognition import recognise
    from altrally.render import fetch_table, show

    with checked_copy(home) if check else nullcontext(home) as into:
        show(fetch_table(fetch_into(into, provider, path, target)))
        if provider == "files":
            with opened(into) as store:
                show(*recognise(store, target, now()).lines)
    if check:
        show("Nothing was stored: --check only reads.")


@contextmanager
def checked_copy(home: Home) -> Iterator[Home]:
    """A home elsewhere with a copy of the store, gone afterwards."""
    with TemporaryDirectory(prefix="altrally-check-") as folder:
        copy = replace(home, folder=Path(folder))
        if home.store.exists():
            with opened(home):  # nobody writes into it meanwhile
                shutil.copy(home.store, copy.store)
        yield copy


def sample(folder: Path) -> None:
    """Write a small folder of simulated files, and say how to read it."""
    from altrally.render import show
    from altrally.sample import write_sample

    show(f"{len(write_sample(folder))} files were written to {folder}. They are simulated, and show the layout.")
    print(f"\nNext:\n  altrally --home HOME fetch --provider files --path {quote(str(folder))}")  # noqa: T201  (bare: to be pasted)


def add_constituents(home: Home, file: Path | None, as_of: str | None, provider: str, *, survivors: bool) -> None:
    """Store the list that `fetch` was given, if it was, and say how long its bars take."""
    if file is None:
        if as_of is not None or survivors:
            raise BadInput(f"{'--survivors' if as_of is None else '--as-of'} is about a list: name it with --constituents FILE.")
        return
    if provider != "live":
        raise BadInput(f"--constituents belongs to --provider live; {provider!r} brings constituents of its own.")
    from rich.text import Text

    from altrally.render import show

    show(Text(api.add_constituents(home, file, day=day(as_of, "--as-of"), survivors=survivors, now=now())))


def fetch_into(home: Home, provider: str, path: Path | None, target: Target = ALTCOINS) -> "FetchReport":
    """Fetch under a progress bar."""
    with progress_bar() as report:
        return api.fetch(home, provider, path=path, target=target, progress=report, now=now())


def features(home: Home, *, as_json: bool) -> None:
    """The catalogue, with the coverage of this home's store."""
    from altrally.render import feature_list, market_banner, show
    from features.build import catalogue

    with opened(home) as store:
        listed = catalogue(store, last_day(store, None))
        market = store.market
    if as_json:
        emit(listed.to_dict("records"))
    else:
        show(market_banner(market), feature_list(listed))


def leakcheck(home: Home, own: Sequence[str], cuts: int, seed: int, *, whole: bool, as_json: bool) -> None:
    """Look for the future; what was found is told last, as the error."""
    from studies.leakcheck import Check
    from studies.leakcheck import leakcheck as checked

    check = Check(tuple(own), cuts, seed, whole)
    with opened(home) as store, progress_bar() as report:
        found = checked(store, check, last_day(store, None), None if own else champion_or_none(home), report)
    if as_json:
        emit(found.to_dict())
    else:
        from altrally.render import show
        from altrally.study_pages import leakcheck_page

        show(leakcheck_page(found))
    if found.leaking:
        raise LeakFound(f"{len(found.leaking)} didn't pass: {', '.join(found.leaking)}.")


def settings_of(target: Target, models: Sequence[str] | None) -> "TrainSettings":
    """What was asked for, checked before anything is read."""
    from training.settings import TrainSettings
    from training.verify import model_names

    settings = TrainSettings(target, models=tuple(models) if models else None)
    model_names(settings)
    return settings


def train(
    home: Home, until: str | None, models: Sequence[str] | None, target: Target, *, every_horizon: bool, as_json: bool
) -> None:
    """Train, judge and track."""
    report = train_home(home, settings_of(target, models), day(until, "--until"))
    if as_json:
        emit(report.to_dict())
        return
    from altrally.render import show, training_page

    show(training_page(report, every_horizon=every_horizon))


def train_home(home: Home, settings: "TrainSettings", until: pd.Timestamp | None) -> "TrainReport":
    """Train under a progress bar."""
    with progress_bar() as report:
        return api.train(home, settings, until=until, progress=report, now=now())


@dataclass(frozen=True)
class ScoreRequest:
    """What `score` was asked, as typed."""

    as_of: str | None
    target: Target
    rise: float | None
    days: int | None
    in_sample: bool
    inputs: bool = False


def score(home: Home, request: ScoreRequest, *, as_json: bool) -> None:
    """Issue a forecast."""
    as_of = request.as_of
    issued = api.score(
        home,
        day(as_of, "--as-of"),
        request.target,
        rise=request.rise,
        days=request.days,
        in_sample=request.in_sample,
        now=now(),
    )
    if request.inputs:
        print(json.dumps(served_request(issued)))  # noqa: T201  (bare, so that it can be piped)
        return
    if as_json:
        emit(issued.score.to_dict())
        return
    from altrally.home_pages import entry_note
    from altrally.render import age_note, score_page, show

    old = age_note(issued.score.as_of, now()) if as_of is None else ""
    show(score_page(issued.score), old, entry_note(issued.entry))


def served_request(issued: Issued) -> dict[str, Any]:
    """What a served model is to be sent for this forecast: the model's inputs of the day, missing ones as null."""
    read = issued.inputs.row.X[issued.champion.card.columns].iloc[0]
    return {"dataframe_records": [{str(name): None if pd.isna(value) else float(value) for name, value in read.items()}]}


def ledger(home: Home, export: Path | None, *, as_json: bool) -> None:
    """Verify the chain, record what came, and tell the track record."""
    facts = ledger_facts(home, export)
    if as_json:
        emit(facts)
        return
    from altrally.home_pages import ledger_page
    from altrally.render import show

    show(ledger_page(facts))


def ledger_facts(home: Home, export: Path | None) -> dict[str, Any]:
    """The track record as of now; `export` is written once the chain was found whole."""
    from altrally.ledger import Ledger, head_file
    from altrally.live_evidence import record_weeks
    from altrally.track_record import publish, resolve, track_record_summary

    with opened(home) as store:
        if not home.ledger.exists() and not head_file(home.ledger).exists():
            raise MissingData("No forecast has been issued in this home yet. Run `altrally score` first.")
        with Ledger.open(home.ledger) as book:
            book.verify()
            until = last_day(store, None)
            resolved = resolve(book, store, until=until, now=now()).new
            record_weeks(book, store, ALTCOINS, until=until, now=now())
            if export is not None:
                publish(book, export)
            return track_record_summary(book, store.market or "", until) | {"market": store.market, "resolved_now": resolved}


def watch(
    home: Home,
    provider: str | None,
    path: Path | None,
    retrain_days: int,
    webhook: str | None,
    notify: str | None,
    cross: Sequence[str],
    target: Target,
    *,
    as_json: bool,
) -> None:
    """One round of the daily job; what went wrong is told last, as the error."""
    from altrally.notices import crossing
    from altrally.watch import Watch, one_round, round_lock
    from sources.messenger import messenger_named

    crossings = tuple(crossing(text, target) for text in cross)
    messenger = None if notify is None else messenger_named(notify)
    asked = Watch(home, provider, path, retrain_days, webhook, crossings, target, page=True, messenger=messenger)
    with round_lock(home), progress_bar() as report:
        api.move_in(home)
        done = one_round(asked, now=now(), place=place_of(home), progress=report)
    if as_json:
        emit(vars(done))
    else:
        from altrally.home_pages import watch_page
        from altrally.render import show

        show(watch_page(done))
    if done.troubles:
        raise GateClosed("; ".join(trouble.rstrip(".") for trouble in done.troubles) + ".")


def repair(home: Home, *, as_json: bool) -> None:
    """Check every file of a home; what is left to do is told last, as the error."""
    from altrally.repair import findings_text
    from altrally.repair import repair as repaired

    findings = repaired(home)
    if as_json:
        emit([finding.to_dict() for finding in findings])
    else:
        print(findings_text(findings))  # noqa: T201  (bare: a path must not be wrapped)
    left = [finding for finding in findings if finding.next]
    if left:
        raise StoreUnusable("; ".join(f"{finding.file}: {finding.next}" for finding in left))


@dataclass(frozen=True)
class VerifyRequest:
    """What `verify` was asked, as typed."""

    start: str | None
    end: str | None
    models: Sequence[str] | None
    target: Target
    forecasts: Path | None
    full_nulls: bool
    panel: bool
    every_horizon: bool = False


def verify(home: Home, request: VerifyRequest, *, as_json: bool) -> None:
    """Judge out-of-sample forecasts of the store; of this only the number of tries is tracked."""
    span = day(request.start, "--from"), day(request.end, "--to")
    settings = settings_of(request.target, request.models)
    if request.forecasts is not None and not request.forecasts.parent.is_dir():
        raise BadInput(f"--forecasts {request.forecasts} can't be written: there is no folder {request.forecasts.parent}.")
    with progress_bar() as report:
        verification = api.verify(
            home, settings, start=span[0], end=span[1], full_nulls=request.full_nulls, panel=request.panel, progress=report
        )
    if as_json:
        emit(verification.rows)
    else:
        from altrally.render import market_banner, show, verification_page

        show(
            market_banner(verification.market),
            f"{settings.label} on the {verification.market} market",
            verification_page(verification.rows, every_horizon=request.every_horizon),
        )
    if request.forecasts is not None:
        write(verification.forecasts, request.forecasts)


def write(frame: pd.DataFrame, file: Path) -> None:
    """A Parquet file where the user asked for it."""
    try:
        frame.to_parquet(file, index=False)
    except OSError as error:
        raise BadInput(f"--forecasts {file} can't be written: {error.strerror or error}.") from None


def sweep(home: Home, config: Path, *, as_json: bool) -> None:
    """Search as a file says, and tell whether anything was found."""
    from studies.sweep import sweep as searched
    from studies.sweep_file import read_sweep

    asked = read_sweep(config)
    with opened(home) as store, progress_bar() as report:
        found = searched(store, asked, place=place_of(home), folder=home.sweeps, progress=report)
    if as_json:
        emit(found)
        return
    from altrally.render import show
    from altrally.study_pages import sweep_page

    show(sweep_page(found))


def audit(home: Home, as_of: str | None, figures: Path | None, *, as_json: bool) -> None:
    """The claim, line by line; pictures where asked for."""
    from studies.audit.claim import audit as audited

    typed = day(as_of, "--as-of")
    with opened(home) as store, progress_bar() as report:
        found = audited(store, audit_day(store, typed), progress=report)
    if figures is not None:
        from studies.study_figures import write_figures

        write_figures(found, figures)
    if as_json:
        emit(found.to_dict())
        return
    from altrally.render import show
    from altrally.study_pages import audit_page

    show(audit_page(found))


def audit_day(store: Store, typed: pd.Timestamp | None) -> pd.Timestamp:
    """As for any job; where the store knows no coins, the last day on which it learnt anything else."""
    try:
        return last_day(store, typed)
    except MissingData:
        known = store.extent(now())["known_last"].max()
        if pd.isna(known):
            raise
        return min(pd.Timestamp(known), now().normalize() - pd.Timedelta(days=1))


def compare(home: Home, runs: Sequence[str], target: Target, *, as_json: bool) -> None:
    """Tracked runs of a target beside each other, on the same days: those named, or its last training."""
    from training.compare import compare as paired

    require_trained(home)
    rows = paired(place_of(home), runs, target)
    if as_json:
        emit(rows)
        return
    from altrally.render import comparison_page, pictures, show

    show(comparison_page(rows))
    for line in pictures(rows):
        print(line)  # noqa: T201  (bare: a path must not be wrapped)


def promote(home: Home, run: str, target: Target, *, force: bool, why: str | None, as_json: bool) -> None:
    """Make a run champion of its target, if it has earned it or is forced to."""
    from training.promotion import promote as promoted

    require_trained(home)
    done = promoted(place_of(home), run, target, force=force, why=why, live_lead=partial(live_lead, home))
    if as_json:
        emit(vars(done))
        return
    from altrally.render import show

    show(done.sentence)


def ui(home: Home, port: int, target: Target) -> None:
    """Serve MLflow's pages over the home's runs until they are stopped; a tracking server has its own, whose address is printed."""
    from altrally.ui import address_of, mlflow_pages, serve_until_stopped
    from training.mlflow_view import ALL_TRAININGS, LAST_TRAINING, view_address
    from training.tracking import prepared_experiment

    require_trained(home)
    experiment = prepared_experiment(place_of(home), target)

    def addresses(server: str) -> str:
        last, every = (view_address(server, experiment, name) for name in (LAST_TRAINING, ALL_TRAININGS))
        return f"The models of the last training: {last}\nEvery training:                   {every}"

    if (home.tracking_server or "").startswith("http"):
        print(addresses(str(home.tracking_server)))  # noqa: T201  (bare: an address must not be wrapped)
        return
    with mlflow_pages(home.tracking_uri, port, home.folder) as process:
        print(f"{addresses(address_of(port))}\nCtrl-C ends it.", flush=True)  # noqa: T201
        serve_until_stopped(process)


def live_lead(home: Home, challenger: str, current: str) -> float:
    """Live evidence in this home's ledger that a challenger's Brier score is better than the champion's."""
    from altrally.ledger import Ledger
    from altrally.live_evidence import lead

    if not home.ledger.exists():
        return 1.0
    with Ledger.open(home.ledger) as book:
        return lead(book, challenger, current)


def require_trained(home: Home) -> None:
    """Refuse before a database would be created only to find it empty."""
    if home.tracking_server is None and not home.database.exists():
        raise NoChampion("Nothing has been trained in this home yet. Run `altrally train` first.")


def report(home: Home, as_of: str | None, target: Target, *, in_browser: bool = False, as_json: bool) -> None:
    """Write the page of a day and say where it is, or show it."""
    page = api.report(home, day(as_of, "--as-of"), target, now=now())
    if as_json:
        emit(page.to_dict())
        return
    from altrally.render import market_banner, show

    show(market_banner(page.market))
    print(page.path)  # noqa: T201  (bare: a path must not be wrapped)
    if in_browser and not webbrowser.open(page.path.as_uri()):
        raise Refused(f"--open found no browser to start. Open {page.path} in one.")


def power(
    home: Home,
    markets: int,
    years: Sequence[int],
    strengths: Sequence[float],
    lag_weeks: int,
    seed: int,
    processes: int | None,
    out: Path | None,
    *,
    as_json: bool,
) -> None:
    """Judge simulated markets and say how often skill was found; the report covers all that the file of results holds."""
    from studies.power import Study, run_study
    from studies.power_report import report as reported

    study = Study(markets, tuple(years), tuple(strengths), lag_weeks, seed)
    file = out or home.folder / "power" / f"{study.configuration}.jsonl"
    with progress_bar() as report:
        found = reported(study, run_study(study, file, processes=processes, progress=report))
    if as_json:
        emit(found)
        return
    from altrally.render import show
    from altrally.study_pages import power_page

    show(power_page(found))


def status(home: Home, *, as_json: bool) -> None:
    """What is in the store, how fresh it is, and which champion scores it."""
    from sources.anomalies import late_arrivals, rewritten
    from sources.membership import breadth_basis
    from sources.quality import coverage_by_month, freshness

    with opened(home) as store:
        champion, lost = champion_or_lost(home)
        as_of = last_day(store, None)
        facts: dict[str, Any] = {
            "home": str(home.folder),
            "runs": redacted(home.tracking_uri),
            "market": store.market,
            "as_of": f"{as_of:%Y-%m-%d}",
            "snapshot": store.snapshot(as_of),
            "champion": champion_facts(champion),
            "warnings": [warning for warning in (lost, api.move_in(home)) if warning],
            "constituents": breadth_basis(store, as_of, now()),
            "series": [line.to_dict() for line in freshness(store, as_of)],
            "rewritten": [found.to_dict() for found in rewritten(store, as_of - REMEMBERED)],
            "coverage": [month.to_dict() for month in coverage_by_month(store, as_of)],
            "coin_sources": coin_sources(store),
            "needs_key": [one.name for one in SERIES.values() if one.revised and not store.has_vintages(one)],
            "from_the_future": store.from_the_future(now()),
            "late": [found.to_dict() for found in late_arrivals(store, as_of - REMEMBERED)],
        }
    if as_json:
        emit(facts)
        return
    from altrally.home_pages import coverage_part, late_part, rewritten_part
    from altrally.render import age_note, show, status_page

    past = coverage_part(facts), rewritten_part(facts["rewritten"], REMEMBERED), late_part(facts["late"])
    show(age_note(facts["as_of"], now()), status_page(facts), *past)


def coin_sources(store: Store) -> list[dict[str, Any]]:
    """Where each coin's price came from, and from when to when; more than one line where its source changed."""
    rows = store.sources("coin").sort_values(["symbol", "first"])
    written = rows.assign(**{name: rows[name].dt.strftime("%Y-%m-%d") for name in ("first", "last")})
    return [{str(name): value for name, value in row.items()} for row in written.to_dict("records")]


def champion_or_lost(home: Home) -> "tuple[Champion | None, str | None]":
    """The champion and None, or None and why it was lost; None twice where nothing was trained yet."""
    try:
        return champion_of(home), None
    except Lost as error:
        return None, str(error)
    except NoChampion:
        return None, None


def champion_facts(champion: "Champion | None") -> dict[str, Any] | None:
    """The champion in brief, None where there is none."""
    if champion is None:
        return None
    card = champion.card
    told = {
        "label": card.label,
        "market": card.market,
        "trained_as_of": card.trained_as_of,
        "trials": card.trials,
        "sentence": card.skill["sentence"],
    }
    named = {"name": card.model, "version": champion.version, "run_id": champion.run_id}
    return named | told | {"grade": grade_in(card), "unproven": grade_in(card) == Grade.NOT_SHOWN}


def grade_in(card: "Card") -> str:
    """The grade that history allowed at training; a card of an earlier version has none."""
    return str(card.skill.get("evidence", {}).get("grade", Grade.NOT_SHOWN))
