"""The command line. Each command opens what it needs, does one job, and prints it for people or, with --json, for programs.

Only typer is imported here; everything else is imported by the command that needs it, so that --help answers at once.
"""

from __future__ import annotations

import errno
import gc
import os
import sys
from collections.abc import Sequence
from contextlib import AbstractContextManager
from enum import StrEnum
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

if TYPE_CHECKING:
    from core.home import Home

app = typer.Typer(
    name="altrally",
    help="The probability that altcoins rally in the next one to three months, with honest odds.",
    rich_markup_mode=None,  # rich help costs 0.2 s at every start
    pretty_exceptions_enable=False,
)


THE_DISK = (errno.ENOSPC, errno.EROFS, errno.EACCES, errno.EPERM, errno.EDQUOT, errno.EEXIST, errno.ENOTDIR, errno.EISDIR)
"""What a full or protected disk answers, or a home that is no folder: for the user, not a fault of the program."""

PLACES = ("--home", "--tracking-server")
"""Options of every command."""

INTERRUPTED = 130
"""What typer returns of a command that was interrupted."""


class Nulls(StrEnum):
    """Which models are refitted on rotated outcomes."""

    QUICK = "quick"
    FULL = "full"


class EngineName(StrEnum):
    """Who does the work that falls into equal parts."""

    LOCAL = "local"
    DASK = "dask"


def named(text: str) -> Path:
    """A file or folder as typed; an empty name would stand for the current folder."""
    if not text:
        raise typer.BadParameter("'' names no file or folder")
    return Path(text)


AsJson = Annotated[bool, typer.Option("--json", help="Print JSON for programs.")]
EveryHorizon = Annotated[bool, typer.Option("--all", help="Print every horizon, baseline and p-value.")]
Asked = Annotated[
    Path | None,
    typer.Option("--target", parser=named, metavar="FILE", help="A question of your own, as TOML.  [default: the altcoin rally]"),
]
Outcome = Annotated[str | None, typer.Option(metavar="KIND", help="first_passage, terminal or relative.  [default: the target's]")]
Threshold = Annotated[
    float | None, typer.Option(metavar="X", help="Move that counts, as a share: 0.3 is 30 %.  [default: the target's]")
]
Models = Annotated[list[str] | None, typer.Option("--model", metavar="NAME", help="Only this model; may be given several times.")]

Engine = Annotated[EngineName, typer.Option(help="Where refits of trees, sweeps and simulated markets are spread: local or dask.")]
Scheduler = Annotated[str | None, typer.Option(metavar="ADDRESS", help="The scheduler of a dask cluster, as tcp://host:8786.")]


def print_version(typed: bool) -> None:
    """Print the version, where it was asked for, and end."""
    if typed:
        from importlib.metadata import version

        print(f"altrally {version('altrally')}")  # noqa: T201
        raise typer.Exit


@app.callback()
def main(
    context: typer.Context,
    home: Annotated[
        Path | None,
        typer.Option(
            envvar="ALTRALLY_HOME", parser=named, metavar="DIR", help="Folder of the store and the runs.  [default: ~/.altrally]"
        ),
    ] = None,
    tracking_server: Annotated[
        str | None,
        typer.Option(envvar="MLFLOW_TRACKING_URI", help="An MLflow server to track in, instead of the home."),
    ] = None,
    version: Annotated[
        bool, typer.Option("--version", is_eager=True, callback=print_version, help="Print the version and nothing else.")
    ] = False,
) -> None:
    """Remember where things live; nothing is created yet. --home and --tracking-server may stand after the command too."""
    from altrally.terminal import farewell, stoppable
    from core.home import DEFAULT_HOME, DEMO_HOME

    context.obj = (home, tracking_server)
    command = context.invoked_subcommand
    folder = home or (DEMO_HOME if command == "demo" else DEFAULT_HOME)
    context.with_resource(stoppable(partial(farewell, command, folder)))


def spread_by(engine: EngineName, scheduler: str | None) -> AbstractContextManager[None]:
    """Where the equal parts of a job are done."""
    from models.parallel import engine as named

    return named(engine, scheduler)


def home_of(context: typer.Context) -> Home:
    """The home the user named, else the default one."""
    from core.home import open_home

    return open_home(*context.obj)


@app.command()
def demo(context: typer.Context, every_horizon: EveryHorizon = False) -> None:
    """Run the whole job on a simulated market, in a home of its own: what it trains goes to no tracking server."""
    from altrally import jobs
    from core.home import DEMO_HOME, open_home

    folder, _ = context.obj
    jobs.demo(open_home(folder, fallback=DEMO_HOME), every_horizon=every_horizon)


@app.command()
def fetch(
    context: typer.Context,
    provider: Annotated[str, typer.Option(help="live, files or simulated.")] = "live",
    path: Annotated[
        Path | None, typer.Option(parser=named, metavar="DIR", help="Folder of drop-in files, for --provider files.")
    ] = None,
    target: Asked = None,
    constituents: Annotated[
        Path | None,
        typer.Option(parser=named, metavar="FILE", help="A small-cap fund's holdings as its issuer's CSV has them: real breadth."),
    ] = None,
    as_of: Annotated[str | None, typer.Option(metavar="DAY", help="When that list was true, where it doesn't say.")] = None,
    survivors: Annotated[bool, typer.Option("--survivors", help="Let the names of the first list count before it too.")] = False,
    check: Annotated[bool, typer.Option("--check", help="Read and report, and store nothing; for --provider files.")] = False,
) -> None:
    """Bring what is new into the store.

    May be repeated and interrupted without harm. From files it ends with what was recognised, and what that suffices for."""
    from altrally import jobs

    if check and provider != "files":
        raise typer.BadParameter(f"--check reads files; --provider {provider} has none. Add --provider files --path DIR.")
    jobs.add_constituents(home_of(context), constituents, as_of, provider, survivors=survivors)
    jobs.fetch(home_of(context), provider, path, jobs.target_in(target), check=check)


@app.command()
def sample(
    folder: Annotated[Path, typer.Argument(parser=named, metavar="DIR", help="A new or empty folder.")],
) -> None:
    """Write a small folder of simulated files.

    They show the layout of your own data, and are read by fetch --provider files."""
    from altrally import jobs

    jobs.sample(folder)


@app.command()
def features(context: typer.Context, as_json: AsJson = False) -> None:
    """List every feature and its coverage.

    Block, formula, unit, source, release lag, expected sign, rationale, and the share of days it is known."""
    from altrally import jobs

    jobs.features(home_of(context), as_json=as_json)


@app.command()
def leakcheck(
    context: typer.Context,
    own: Annotated[
        list[str] | None,
        typer.Option(metavar="PLACE", help="Check the features this Python file or module declares. Runs its code."),
    ] = None,
    cuts: Annotated[int, typer.Option(metavar="N", help="Random days to cut at, besides every refit date.")] = 200,
    seed: Annotated[int, typer.Option(metavar="K", help="Which days are drawn.")] = 7,
    whole: Annotated[
        bool, typer.Option("--whole", help="Read every name of wide panels, not 300: slower. Own features always do.")
    ] = False,
    as_json: AsJson = False,
) -> None:
    """Look for the future in every feature and in the score.

    Cuts the data on many days, spoils all that came later and compares bit for bit; exit code 1 if anything moved."""
    from altrally import jobs

    jobs.leakcheck(home_of(context), own or [], cuts, seed, whole=whole, as_json=as_json)


@app.command()
def train(
    context: typer.Context,
    until: Annotated[str | None, typer.Option(metavar="DATE", help="Use only what was known by then.  [default: all]")] = None,
    model: Models = None,
    target: Asked = None,
    outcome: Outcome = None,
    threshold: Threshold = None,
    engine: Engine = EngineName.LOCAL,
    scheduler: Scheduler = None,
    every_horizon: EveryHorizon = False,
    as_json: AsJson = False,
) -> None:
    """Train the models and judge them out of sample.

    Every run is tracked in MLflow; the first training makes a champion, later ones refresh it or propose a challenger."""
    from altrally import jobs

    with spread_by(engine, scheduler):
        about = jobs.target_in(target, outcome, threshold)
        jobs.train(home_of(context), until, model, about, every_horizon=every_horizon, as_json=as_json)


@app.command()
def score(
    context: typer.Context,
    as_of: Annotated[
        str | None, typer.Option(metavar="DATE", help="Stand at the end of this UTC day.  [default: the last one known]")
    ] = None,
    target: Asked = None,
    rise: Annotated[float | None, typer.Option(metavar="X", help="Ask about another rise: 0.5 is 50 %.  [default: 0.3]")] = None,
    days: Annotated[int | None, typer.Option(metavar="N", help="Ask about this many days.  [default: 30, 60 and 90]")] = None,
    in_sample: Annotated[
        bool, typer.Option("--in-sample", help="Answer for days the champion was trained on, and say so.")
    ] = False,
    inputs: Annotated[bool, typer.Option("--inputs", help="Print what the model reads, ready to POST to a served model.")] = False,
    as_json: AsJson = False,
) -> None:
    """Issue the champion's forecast for a day.

    A champion with a law also answers any other rise and number of days, without training again."""
    from altrally import jobs

    if inputs and (rise is not None or days is not None):
        raise typer.BadParameter("--inputs prints the inputs of the day; add rise and days to them as columns of the request.")
    request = jobs.ScoreRequest(as_of, jobs.target_in(target), rise, days, in_sample, inputs)
    jobs.score(home_of(context), request, as_json=as_json)


@app.command()
def ledger(
    context: typer.Context,
    export: Annotated[
        Path | None, typer.Option(parser=named, metavar="FILE", help="Also write every line there, as JSON lines, to be published.")
    ] = None,
    as_json: AsJson = False,
) -> None:
    """Verify the record of forecasts and score it.

    Every score issued stands in it with what came of it; live ones are judged apart from backtests."""
    from altrally import jobs

    jobs.ledger(home_of(context), export, as_json=as_json)


@app.command()
def watch(
    context: typer.Context,
    provider: Annotated[
        str | None, typer.Option(help="live, files or simulated.  [default: the one the home was filled by, else live]")
    ] = None,
    path: Annotated[
        Path | None, typer.Option(parser=named, metavar="DIR", help="Folder of drop-in files, for --provider files.")
    ] = None,
    retrain_days: Annotated[
        int, typer.Option(metavar="N", help="Train when the last training is older, or a quarter begins.")
    ] = 90,
    webhook: Annotated[str | None, typer.Option(metavar="URL", help="POST what is worth a word there, as JSON.")] = None,
    notify: Annotated[
        str | None,
        typer.Option(metavar="SERVICE:…", help="Send it to a chat: discord:URL, slack:URL or telegram:TOKEN@CHAT."),
    ] = None,
    cross: Annotated[
        list[str] | None, typer.Option(metavar="P:DAYS", help="Tell when the probability of a horizon crosses P, as in 0.6:60.")
    ] = None,
    target: Asked = None,
    as_json: AsJson = False,
) -> None:
    """Do one round of the daily job.

    Fetch, judge the data, forecast, write the page, train when due, resolve. Fails where data are stale, after doing what can
    be done."""
    from altrally import jobs

    jobs.watch(
        home_of(context), provider, path, retrain_days, webhook, notify, cross or [], jobs.target_in(target), as_json=as_json
    )


@app.command()
def repair(context: typer.Context, as_json: AsJson = False) -> None:
    """Look for damaged files and mend what can be mended.

    Names each and says what was done; fails where a command is left to run, and says which."""
    from altrally import jobs

    jobs.repair(home_of(context), as_json=as_json)


@app.command()
def verify(
    context: typer.Context,
    start: Annotated[str | None, typer.Option("--from", metavar="DATE", help="First day forecast.  [default: 2018-01-01]")] = None,
    end: Annotated[
        str | None, typer.Option("--to", metavar="DATE", help="Last day forecast.  [default: the last one known]")
    ] = None,
    model: Models = None,
    target: Asked = None,
    outcome: Outcome = None,
    threshold: Threshold = None,
    forecasts: Annotated[
        Path | None, typer.Option(parser=named, metavar="FILE", help="Also write the out-of-sample forecasts there (Parquet).")
    ] = None,
    nulls: Annotated[
        Nulls, typer.Option(help="full also refits, on 39 rotations, models that take minutes; it may be interrupted.")
    ] = Nulls.QUICK,
    panel: Annotated[bool, typer.Option("--panel", help="Also leave each cycle out, and each block.")] = False,
    engine: Engine = EngineName.LOCAL,
    scheduler: Scheduler = None,
    every_horizon: EveryHorizon = False,
    as_json: AsJson = False,
) -> None:
    """Judge out-of-sample forecasts of the store.

    Purged walk-forward, refitted each quarter: one row a model and horizon. A look is a try: what is judged is counted."""
    from altrally import jobs

    about = jobs.target_in(target, outcome, threshold)
    asked = jobs.Verification(
        start, end, model, about, forecasts, full_nulls=nulls is Nulls.FULL, panel=panel, every_horizon=every_horizon
    )
    with spread_by(engine, scheduler):
        jobs.verify(home_of(context), asked, as_json=as_json)


@app.command()
def sweep(
    context: typer.Context,
    config: Annotated[Path, typer.Argument(parser=named, metavar="CONFIG", help="What to search, as TOML.")],
    engine: Engine = EngineName.LOCAL,
    scheduler: Scheduler = None,
    as_json: AsJson = False,
) -> None:
    """Search many configurations and say whether any is worth a word.

    Every one is counted; the search ends before the test begins, and chance makes the same search. Goes on after a stop."""
    from altrally import jobs

    with spread_by(engine, scheduler):
        jobs.sweep(home_of(context), config, as_json=as_json)


@app.command()
def audit(
    context: typer.Context,
    as_of: Annotated[
        str | None, typer.Option(metavar="DATE", help="Stand at the end of this UTC day.  [default: the last one known]")
    ] = None,
    figures: Annotated[
        Path | None, typer.Option(parser=named, metavar="DIR", help="Also write three pictures there (PNG).")
    ] = None,
    as_json: AsJson = False,
) -> None:
    """Test the claim line by line.

    Breakouts by rule and what followed, the order of the cascade, the amplifier, the supercycle; each with a verdict."""
    from altrally import jobs

    jobs.audit(home_of(context), as_of, figures, as_json=as_json)


@app.command()
def compare(
    context: typer.Context,
    run: Annotated[list[str] | None, typer.Argument(metavar="[RUN]...", help="Runs to pair.  [default: the last training]")] = None,
    target: Asked = None,
    as_json: AsJson = False,
) -> None:
    """Set tracked runs beside each other.

    Two or more named runs are paired on the same days. A name is looked for among the runs of one target, an id among all."""
    from altrally import jobs

    jobs.compare(home_of(context), run or [], jobs.target_in(target), as_json=as_json)


@app.command()
def promote(
    context: typer.Context,
    run: Annotated[str, typer.Argument(metavar="RUN", help="The run to make champion.")],
    target: Asked = None,
    force: Annotated[bool, typer.Option("--force", help="Make it champion though it hasn't earned it; leaves a tag.")] = False,
    why: Annotated[str | None, typer.Option(metavar="TEXT", help="Why the rules shouldn't hold this once; for --force.")] = None,
    as_json: AsJson = False,
) -> None:
    """Make a run champion, if it has earned it.

    A name is looked for among the runs of one target, an id among all."""
    from altrally import jobs

    jobs.promote(home_of(context), run, jobs.target_in(target), force=force, why=why, as_json=as_json)


@app.command()
def ui(
    context: typer.Context,
    port: Annotated[int, typer.Option(metavar="N", min=1, max=65_535, help="Where it listens, on this machine only.")] = 5000,
    target: Asked = None,
) -> None:
    """Open MLflow's pages over the runs of the home.

    Prints the address of a run table prepared for comparing, and serves it until Ctrl-C."""
    from altrally import jobs

    jobs.ui(home_of(context), port, jobs.target_in(target))


@app.command()
def report(
    context: typer.Context,
    as_of: Annotated[
        str | None, typer.Option(metavar="DATE", help="Stand at the end of this UTC day.  [default: the last one known]")
    ] = None,
    target: Asked = None,
    in_browser: Annotated[bool, typer.Option("--open", help="Also open the page in the browser.")] = False,
    as_json: AsJson = False,
) -> None:
    """Write one page for people.

    The forecast, what it is worth, why it moved, what followed similar moments and the record, in one HTML file under the home."""
    from altrally import jobs

    jobs.report(home_of(context), as_of, jobs.target_in(target), in_browser=in_browser, as_json=as_json)


@app.command()
def power(
    context: typer.Context,
    markets: Annotated[int, typer.Option(metavar="N", help="Markets of each length and strength.")] = 20,
    years: Annotated[list[int] | None, typer.Option(metavar="Y", help="Years of coins; may be repeated.  [default: 11]")] = None,
    strength: Annotated[
        list[float] | None, typer.Option(metavar="S", help="Of the cascade, 0 is none; may be repeated.  [default: 0 and 1]")
    ] = None,
    lag_weeks: Annotated[int, typer.Option(metavar="L", help="Weeks by which coins follow liquidity.")] = 8,
    seed: Annotated[int, typer.Option(metavar="K", help="Which markets are drawn.")] = 7,
    jobs: Annotated[int | None, typer.Option(metavar="J", min=1, help="Local processes.  [default: one a core]")] = None,
    out: Annotated[
        Path | None, typer.Option(parser=named, metavar="FILE", help="Where markets are kept.  [default: in the home]")
    ] = None,
    engine: Engine = EngineName.LOCAL,
    scheduler: Scheduler = None,
    as_json: AsJson = False,
) -> None:
    """Ask simulated markets how often skill is found.

    Where there is none (size) and where there is (power). Finished markets are kept: the same command goes on after a stop."""
    from altrally import jobs as work

    with spread_by(engine, scheduler):
        work.power(home_of(context), markets, years or [11], strength or [0.0, 1.0], lag_weeks, seed, jobs, out, as_json=as_json)


@app.command()
def status(context: typer.Context, as_json: AsJson = False) -> None:
    """Say what is in the store, how fresh, and which champion."""
    from altrally import jobs

    jobs.status(home_of(context), as_json=as_json)


def run() -> None:
    """Entry point: errors meant for the user become one line and exit code 1."""
    from altrally.terminal import plain_signs
    from core.errors import NO_DOCSTRINGS

    plain_signs()
    if sys.flags.optimize > 1:
        fail(NO_DOCSTRINGS)
    gc.set_threshold(100_000)  # what is imported stays: looking through it for rubbish costs a score a fifth of a second
    try:
        code = app(places_first(sys.argv[1:]) or ["--help"], standalone_mode=False)
    except KeyboardInterrupt:
        code = INTERRUPTED
    except Exception as error:
        reason = meant_for_the_user(error)
        if reason is None:
            raise
        fail(reason)
    if code == INTERRUPTED:
        fail("Stopped. What was recorded before stays.")
    raise SystemExit(1 if code else 0)


def places_first(words: Sequence[str]) -> list[str]:
    """The words of a command line with --home and --tracking-server, wherever they were typed, before the command."""
    first: list[str] = []
    rest = list(words)
    for place in range(len(rest) - 1, -1, -1):
        if "--" in rest[:place]:
            continue
        if rest[place] in PLACES and place + 1 < len(rest):
            first[:0] = [rest.pop(place), rest.pop(place)]
        elif rest[place].startswith(tuple(f"{option}=" for option in PLACES)):
            first.insert(0, rest.pop(place))
    return first + rest


def meant_for_the_user(error: Exception) -> str | None:
    """What to tell of an error that isn't a fault of the program: bad input, a mistyped command, a disk; None else."""
    from core.errors import AltrallyError

    if isinstance(error, AltrallyError):
        return str(error)
    if isinstance(error, OSError) and error.errno in THE_DISK:
        return f"{error.filename or 'The disk'} can't be read or written: {error.strerror}. Nothing recorded before is lost."
    if hasattr(error, "format_message"):  # typer's own
        return f"{error.format_message().rstrip('.')} (--help says what there is)"
    return None


def fail(reason: Any) -> None:
    """One line on standard error without any secret, exit code 1."""
    from core.errors import without_secrets

    print(f"altrally: {without_secrets(' '.join(str(reason).split()), os.environ)}", file=sys.stderr)  # noqa: T201
    raise SystemExit(1)
