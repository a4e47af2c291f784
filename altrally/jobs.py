"""Jobs of the home: what each command does between the options a user typed and the page that is printed.

The jobs that judge and study are in `study_jobs`.
"""

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
from typing import TYPE_CHECKING

from altrally import api
from altrally.api import now, open_store, parse_day, tracking_place
from altrally.issue import as_of_day, input_values
from altrally.output import print_json, progress_bar
from core.errors import BadInput, GateClosed, MissingData, NoChampion, Refused, StoreUnusable
from core.home import Home
from core.target import ALTCOINS, Target
from sources.series import COIN_PRICE

if TYPE_CHECKING:
    import pandas as pd

    from sources.fetch import FetchReport
    from training.settings import TrainSettings
    from training.train import TrainReport

DEMO_DRAWS, DEMO_ROTATIONS = 60, 99
"""Fewer refits behind each interval and each p-value than `train` makes, so that a demonstration ends within a minute."""

SLOW_MODEL = "boosted"
"""Not trained in a demonstration."""


def demo(home: Home, *, every_horizon: bool) -> None:
    """Fetch a simulated market, train, forecast, write the page, and print each result and the next commands."""
    from altrally.columns import show
    from altrally.render import market_banner, next_steps, score_page, training_page
    from training.verify import model_names

    show(market_banner("simulated"), "Simulates markets, trains, forecasts and writes the page: a minute or two.")
    fetch_with_progress(home, "simulated", None)
    settings = checked_settings(ALTCOINS, None)
    models = tuple(name for name in model_names(settings) if name != SLOW_MODEL)
    report = train_home(home, replace(settings, models=models, draws=DEMO_DRAWS, rotations=DEMO_ROTATIONS), None)
    show(" ", score_page(api.score(home, now=now()).score))
    show(" ", training_page(report, every_horizon=every_horizon))
    page = api.report(home, now=now())
    print(next_steps(home.folder))  # noqa: T201  (bare: a path must not be wrapped)
    print(f"\nOpen this file in a browser: {page.path}")  # noqa: T201


def target_in(file: Path | None, outcome: str | None = None, threshold: float | None = None) -> Target:
    """The target of a TOML file (None: the altcoin rally), with another outcome or threshold if given."""
    if file is None:
        return ALTCOINS.with_outcome(outcome, threshold)
    from core.target import read_target

    return read_target(file).with_outcome(outcome, threshold)


def fetch(home: Home, provider: str, path: Path | None, target: Target, *, check: bool = False) -> None:
    """Fetch new data into the store, and print per source what was received, dropped and kept.

    From files it also prints what was recognised and which commands can run on it. `check`: fetch into a temporary copy instead.
    """
    from altrally.columns import show
    from altrally.recognition import recognise
    from altrally.render import fetch_table

    with temporary_copy(home) if check else nullcontext(home) as destination:
        show(fetch_table(fetch_with_progress(destination, provider, path, target)))
        if provider == "files":
            with open_store(destination) as store:
                show(*recognise(store, target, now()).lines)
    if check:
        show("Nothing was stored: --check only reads.")


@contextmanager
def temporary_copy(home: Home) -> Iterator[Home]:
    """A home in a temporary folder with a copy of the store; it is removed at the end."""
    with TemporaryDirectory(prefix="altrally-check-") as folder:
        copy = replace(home, folder=Path(folder))
        if home.store.exists():
            with open_store(home):  # nobody writes into it meanwhile
                shutil.copy(home.store, copy.store)
        yield copy


def fetch_with_progress(home: Home, provider: str, path: Path | None, target: Target = ALTCOINS) -> "FetchReport":
    """Fetch under a progress bar."""
    with progress_bar() as progress:
        return api.fetch(home, provider, path=path, target=target, progress=progress, now=now())


def sample(folder: Path) -> None:
    """Write a small folder of simulated files, and print the command that reads it."""
    from altrally.columns import show
    from altrally.sample import write_sample

    show(f"{len(write_sample(folder))} files were written to {folder}. They are simulated, and show the layout.")
    print(f"\nNext:\n  altrally --home HOME fetch --provider files --path {quote(str(folder))}")  # noqa: T201  (bare: to be pasted)


def add_constituents(home: Home, file: Path | None, as_of: str | None, provider: str, *, survivors: bool) -> None:
    """Store the list of constituents in `file` (None: do nothing), and print how long fetching its bars takes."""
    if file is None:
        if as_of is not None or survivors:
            raise BadInput(f"{'--survivors' if as_of is None else '--as-of'} is about a list: name it with --constituents FILE.")
        return
    if provider != "live":
        raise BadInput(f"--constituents belongs to --provider live; {provider!r} brings constituents of its own.")
    from rich.text import Text

    from altrally.columns import show

    show(Text(api.add_constituents(home, file, day=parse_day(as_of, "--as-of"), survivors=survivors, now=now())))


def features(home: Home, *, as_json: bool) -> None:
    """Print every feature with its coverage in this home's store."""
    from features.build import catalogue
    from features.daily_table import daily_table

    with open_store(home) as store:
        table = catalogue(daily_table(store, as_of_day(store, None, now())), store.first_observed(COIN_PRICE))
        market = store.market
    if as_json:
        print_json(table.to_dict("records"))
        return
    from altrally.columns import show
    from altrally.render import feature_list, market_banner

    show(market_banner(market), feature_list(table))


def checked_settings(target: Target, models: Sequence[str] | None) -> "TrainSettings":
    """Settings of a training of the named models (None: all of the target). Raises UnknownName or BadInput before data are read."""
    from training.settings import TrainSettings
    from training.verify import model_names

    settings = TrainSettings(target, models=tuple(models) if models else None)
    model_names(settings)
    return settings


def train(
    home: Home, until: str | None, models: Sequence[str] | None, target: Target, *, every_horizon: bool, as_json: bool
) -> None:
    """Train, evaluate and record models, and print the result."""
    report = train_home(home, checked_settings(target, models), parse_day(until, "--until"))
    if as_json:
        print_json(report.to_dict())
        return
    from altrally.columns import show
    from altrally.render import training_page

    show(training_page(report, every_horizon=every_horizon))


def train_home(home: Home, settings: "TrainSettings", until: "pd.Timestamp | None") -> "TrainReport":
    """Train under a progress bar."""
    with progress_bar() as progress:
        return api.train(home, settings, until=until, progress=progress, now=now())


@dataclass(frozen=True)
class ScoreRequest:
    """Options of `score` as typed."""

    as_of: str | None
    target: Target
    rise: float | None
    days: int | None
    in_sample: bool
    inputs: bool = False


def score(home: Home, request: ScoreRequest, *, as_json: bool) -> None:
    """Issue a forecast and print it, or with `request.inputs` the request body that a served model takes."""
    day = parse_day(request.as_of, "--as-of")
    issued = api.score(home, day, request.target, rise=request.rise, days=request.days, in_sample=request.in_sample, now=now())
    if request.inputs:
        body = {"dataframe_records": [input_values(issued.inputs, issued.champion)]}
        print(json.dumps(body))  # noqa: T201  (bare, so that it can be piped)
        return
    if as_json:
        print_json(issued.score.to_dict())
        return
    from altrally.columns import show
    from altrally.home_pages import entry_note
    from altrally.render import age_note, score_page

    age = age_note(issued.score.as_of, now()) if day is None else ""
    show(score_page(issued.score), age, entry_note(issued.entry))


def ledger(home: Home, export: Path | None, *, as_json: bool) -> None:
    """Verify the ledger, record outcomes that became known, export all lines to `export` if given, and print the track record."""
    from altrally.ledger import NO_FORECAST, Ledger
    from altrally.ledger_chain import head_file
    from altrally.live_evidence import record_weeks
    from altrally.track_record import publish, resolve, track_record_summary

    with open_store(home) as store:
        if not home.ledger.exists() and not head_file(home.ledger).exists():
            raise MissingData(NO_FORECAST)
        with Ledger.open(home.ledger) as book:
            book.verify()
            until = as_of_day(store, None, now())
            resolved = resolve(book, store, until=until, now=now()).new
            record_weeks(book, store, ALTCOINS, until=until, now=now())
            if export is not None:
                publish(book, export)
            summary = track_record_summary(book, store.market or "", until) | {"market": store.market, "resolved_now": resolved}
    if as_json:
        print_json(summary)
        return
    from altrally.columns import show
    from altrally.home_pages import ledger_page

    show(ledger_page(summary))


@dataclass(frozen=True)
class WatchRequest:
    """Options of `watch` as typed."""

    provider: str | None
    path: Path | None
    retrain_days: int
    webhook: str | None
    notify: str | None
    crossings: Sequence[str]
    target: Target


def watch(home: Home, request: WatchRequest, *, as_json: bool) -> None:
    """Do one round of the daily job and print what was done. Raises GateClosed, after printing, where something went wrong."""
    from altrally.notices import parse_crossing
    from altrally.watch import Watch, one_round, round_lock
    from sources.messenger import messenger_named

    settings = Watch(
        home,
        request.provider,
        request.path,
        request.retrain_days,
        request.webhook,
        tuple(parse_crossing(text, request.target) for text in request.crossings),
        request.target,
        page=True,
        messenger=None if request.notify is None else messenger_named(request.notify),
    )
    with round_lock(home), progress_bar() as progress:
        api.move_in(home)
        result = one_round(settings, now=now(), place=tracking_place(home), progress=progress)
    if as_json:
        print_json(vars(result))
    else:
        from altrally.columns import show
        from altrally.home_pages import watch_page

        show(watch_page(result))
    if result.troubles:
        raise GateClosed("; ".join(trouble.rstrip(".") for trouble in result.troubles) + ".")


def repair(home: Home, *, as_json: bool) -> None:
    """Check and repair every file of a home, and print what was found. Raises StoreUnusable where a command is left to run."""
    from altrally.repair import findings_text
    from altrally.repair import repair as repair_home

    findings = repair_home(home)
    if as_json:
        print_json([finding.to_dict() for finding in findings])
    else:
        print(findings_text(findings))  # noqa: T201  (bare: a path must not be wrapped)
    unrepaired = [finding for finding in findings if finding.next]
    if unrepaired:
        raise StoreUnusable("; ".join(f"{finding.file}: {finding.next}" for finding in unrepaired))


def promote(home: Home, run: str, target: Target, *, force: bool, why: str | None, as_json: bool) -> None:
    """Make a run champion of its target, if it meets the rules or is forced to, and print the decision."""
    from training.promotion import promote as promote_run

    require_trained(home)
    decision = promote_run(tracking_place(home), run, target, force=force, why=why, live_lead=partial(live_lead, home))
    if as_json:
        print_json(vars(decision))
        return
    from altrally.columns import show

    show(decision.sentence)


def live_lead(home: Home, challenger: str, current: str) -> float:
    """E-value from this home's ledger that the challenger's Brier score is better than the champion's; 1.0 without a ledger."""
    from altrally.ledger import Ledger
    from altrally.live_evidence import lead

    if not home.ledger.exists():
        return 1.0
    with Ledger.open(home.ledger) as book:
        return lead(book, challenger, current)


def require_trained(home: Home) -> None:
    """Raise NoChampion where nothing was trained, before an empty database is created."""
    if home.tracking_server is None and not home.database.exists():
        raise NoChampion("Nothing has been trained in this home yet. Run `altrally train` first.")


def ui(home: Home, port: int, target: Target) -> None:
    """Serve MLflow's pages over the home's runs until they are stopped; of a tracking server only print the address."""
    from altrally.ui import address_of, mlflow_pages, serve_until_stopped
    from training.mlflow_view import ALL_TRAININGS, LAST_TRAINING, view_address
    from training.tracking import prepared_experiment

    require_trained(home)
    experiment = prepared_experiment(tracking_place(home), target)

    def addresses(server: str) -> str:
        last, every = (view_address(server, experiment, name) for name in (LAST_TRAINING, ALL_TRAININGS))
        return f"The models of the last training: {last}\nEvery training:                   {every}"

    if (home.tracking_server or "").startswith("http"):
        print(addresses(str(home.tracking_server)))  # noqa: T201  (bare: an address must not be wrapped)
        return
    with mlflow_pages(home.tracking_uri, port, home.folder) as process:
        print(f"{addresses(address_of(port))}\nCtrl-C ends it.", flush=True)  # noqa: T201
        serve_until_stopped(process)


def report(home: Home, as_of: str | None, target: Target, *, in_browser: bool = False, as_json: bool) -> None:
    """Write the page of a day and print its path; `in_browser` also opens it."""
    page = api.report(home, parse_day(as_of, "--as-of"), target, now=now())
    if as_json:
        print_json(page.to_dict())
        return
    from altrally.columns import show
    from altrally.render import market_banner

    show(market_banner(page.market))
    print(page.path)  # noqa: T201  (bare: a path must not be wrapped)
    if in_browser and not webbrowser.open(page.path.as_uri()):
        raise Refused(f"--open found no browser to start. Open {page.path} in one.")


def status(home: Home, *, as_json: bool) -> None:
    """Print what is in the store, how fresh it is, and which champion forecasts from it."""
    from altrally.status import REWRITES_SHOWN, status_summary

    summary = status_summary(home, now())
    if as_json:
        print_json(summary)
        return
    from altrally.columns import show
    from altrally.home_pages import coverage_part, late_part, rewritten_part
    from altrally.render import age_note, status_page

    past = coverage_part(summary), rewritten_part(summary["rewritten"], REWRITES_SHOWN), late_part(summary["late"])
    show(age_note(summary["as_of"], now()), status_page(summary), *past)
