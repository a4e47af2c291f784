"""The commands of the command line and their options. Each command calls the function of the same name in the job modules.

Only typer is imported here; the jobs are imported by the command that needs them, so that --help answers at once.
"""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from altrally.options import (
    AsJson,
    AsOf,
    Engine,
    EngineName,
    EveryHorizon,
    FilesFolder,
    Models,
    Nulls,
    Outcome,
    Scheduler,
    TargetFile,
    Threshold,
    chosen_home,
    file_path,
    on_engine,
)

app = typer.Typer(
    name="altrally",
    help="The probability that altcoins rally in the next one to three months, with honest odds.",
    rich_markup_mode=None,  # rich help costs 0.2 s at every start
    pretty_exceptions_enable=False,
)


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
    path: FilesFolder = None,
    target: TargetFile = None,
    constituents: Annotated[
        Path | None,
        typer.Option(
            parser=file_path, metavar="FILE", help="A small-cap fund's holdings as its issuer's CSV has them: real breadth."
        ),
    ] = None,
    as_of: Annotated[str | None, typer.Option(metavar="DAY", help="When that list was true, where it doesn't say.")] = None,
    survivors: Annotated[bool, typer.Option("--survivors", help="Let the names of the first list count before it too.")] = False,
    check: Annotated[bool, typer.Option("--check", help="Read and report, and store nothing; for --provider files.")] = False,
) -> None:
    """Fetch new data into the store.

    May be repeated and interrupted without harm. From files it also says what was recognised, and which commands can run on it."""
    from altrally import jobs

    if check and provider != "files":
        raise typer.BadParameter(f"--check reads files; --provider {provider} has none. Add --provider files --path DIR.")
    jobs.add_constituents(chosen_home(context), constituents, as_of, provider, survivors=survivors)
    jobs.fetch(chosen_home(context), provider, path, jobs.target_in(target), check=check)


@app.command()
def sample(
    folder: Annotated[Path, typer.Argument(parser=file_path, metavar="DIR", help="A new or empty folder.")],
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

    jobs.features(chosen_home(context), as_json=as_json)


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
    """Check that no feature and no score reads future data.

    Cuts the data on many days, changes all later data and compares bit for bit; exit code 1 if anything differs."""
    from altrally import study_jobs

    study_jobs.leakcheck(chosen_home(context), own or [], cuts, seed, whole=whole, as_json=as_json)


@app.command()
def train(
    context: typer.Context,
    until: Annotated[str | None, typer.Option(metavar="DATE", help="Use only what was known by then.  [default: all]")] = None,
    model: Models = None,
    target: TargetFile = None,
    outcome: Outcome = None,
    threshold: Threshold = None,
    engine: Engine = EngineName.LOCAL,
    scheduler: Scheduler = None,
    every_horizon: EveryHorizon = False,
    as_json: AsJson = False,
) -> None:
    """Train the models and evaluate them out of sample.

    Every run is tracked in MLflow; the first training makes a champion, later ones refresh it or propose a challenger."""
    from altrally import jobs

    with on_engine(engine, scheduler):
        question = jobs.target_in(target, outcome, threshold)
        jobs.train(chosen_home(context), until, model, question, every_horizon=every_horizon, as_json=as_json)


@app.command()
def score(
    context: typer.Context,
    as_of: AsOf = None,
    target: TargetFile = None,
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
    jobs.score(chosen_home(context), request, as_json=as_json)


@app.command()
def ledger(
    context: typer.Context,
    export: Annotated[
        Path | None,
        typer.Option(parser=file_path, metavar="FILE", help="Also write every line there, as JSON lines, to be published."),
    ] = None,
    as_json: AsJson = False,
) -> None:
    """Verify the record of forecasts and score it.

    Every forecast issued is in it with its outcome; live forecasts are scored apart from backtests."""
    from altrally import jobs

    jobs.ledger(chosen_home(context), export, as_json=as_json)


@app.command()
def watch(
    context: typer.Context,
    provider: Annotated[
        str | None, typer.Option(help="live, files or simulated.  [default: the one the home was filled by, else live]")
    ] = None,
    path: FilesFolder = None,
    retrain_days: Annotated[
        int, typer.Option(metavar="N", help="Train when the last training is older, or a quarter begins.")
    ] = 90,
    webhook: Annotated[str | None, typer.Option(metavar="URL", help="POST notices there, as JSON.")] = None,
    notify: Annotated[
        str | None,
        typer.Option(metavar="SERVICE:…", help="Send notices to a chat: discord:URL, slack:URL or telegram:TOKEN@CHAT."),
    ] = None,
    cross: Annotated[
        list[str] | None,
        typer.Option(metavar="P:DAYS", help="Send a notice when the probability of a horizon crosses P, as in 0.6:60."),
    ] = None,
    target: TargetFile = None,
    as_json: AsJson = False,
) -> None:
    """Do one round of the daily job.

    Fetch, check the data, forecast, write the page, train when due, record outcomes. Exit code 1 where data are stale, after all
    steps that can be done."""
    from altrally import jobs

    request = jobs.WatchRequest(provider, path, retrain_days, webhook, notify, cross or [], jobs.target_in(target))
    jobs.watch(chosen_home(context), request, as_json=as_json)


@app.command()
def repair(context: typer.Context, as_json: AsJson = False) -> None:
    """Check every file of the home and repair damaged ones.

    Names each file and what was done; exit code 1 where a command is left to run, and says which."""
    from altrally import jobs

    jobs.repair(chosen_home(context), as_json=as_json)


@app.command()
def verify(
    context: typer.Context,
    start: Annotated[str | None, typer.Option("--from", metavar="DATE", help="First day forecast.  [default: 2018-01-01]")] = None,
    end: Annotated[
        str | None, typer.Option("--to", metavar="DATE", help="Last day forecast.  [default: the last one known]")
    ] = None,
    model: Models = None,
    target: TargetFile = None,
    outcome: Outcome = None,
    threshold: Threshold = None,
    forecasts: Annotated[
        Path | None, typer.Option(parser=file_path, metavar="FILE", help="Also write the out-of-sample forecasts there (Parquet).")
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

    Purged walk-forward, refitted each quarter: one row per model and horizon. Every configuration judged counts as a trial."""
    from altrally import jobs, study_jobs

    question = jobs.target_in(target, outcome, threshold)
    request = study_jobs.VerifyRequest(
        start, end, model, question, forecasts, full_nulls=nulls is Nulls.FULL, panel=panel, every_horizon=every_horizon
    )
    with on_engine(engine, scheduler):
        study_jobs.verify(chosen_home(context), request, as_json=as_json)


@app.command()
def sweep(
    context: typer.Context,
    config: Annotated[Path, typer.Argument(parser=file_path, metavar="CONFIG", help="What to search, as TOML.")],
    engine: Engine = EngineName.LOCAL,
    scheduler: Scheduler = None,
    as_json: AsJson = False,
) -> None:
    """Search many configurations and say whether the best one shows skill.

    Every one counts as a trial. The search uses no test data and is repeated on shifted outcomes. Continues after a stop."""
    from altrally import study_jobs

    with on_engine(engine, scheduler):
        study_jobs.sweep(chosen_home(context), config, as_json=as_json)


@app.command()
def audit(
    context: typer.Context,
    as_of: AsOf = None,
    figures: Annotated[
        Path | None, typer.Option(parser=file_path, metavar="DIR", help="Also write three pictures there (PNG).")
    ] = None,
    as_json: AsJson = False,
) -> None:
    """Test the claim line by line.

    Breakouts by rule and the returns after them, the order of the cascade, the amplifier, the supercycle; each with a verdict."""
    from altrally import study_jobs

    study_jobs.audit(chosen_home(context), as_of, figures, as_json=as_json)


@app.command()
def compare(
    context: typer.Context,
    run: Annotated[list[str] | None, typer.Argument(metavar="[RUN]...", help="Runs to pair.  [default: the last training]")] = None,
    target: TargetFile = None,
    as_json: AsJson = False,
) -> None:
    """Compare tracked runs.

    Two or more named runs are paired on the same days. A name is looked up among the runs of one target, an id among all."""
    from altrally import jobs, study_jobs

    study_jobs.compare(chosen_home(context), run or [], jobs.target_in(target), as_json=as_json)


@app.command()
def promote(
    context: typer.Context,
    run: Annotated[str, typer.Argument(metavar="RUN", help="The run to make champion.")],
    target: TargetFile = None,
    force: Annotated[bool, typer.Option("--force", help="Make it champion though it hasn't earned it; leaves a tag.")] = False,
    why: Annotated[str | None, typer.Option(metavar="TEXT", help="Why the rules shouldn't hold this once; for --force.")] = None,
    as_json: AsJson = False,
) -> None:
    """Make a run champion, if it meets the rules.

    A name is looked up among the runs of one target, an id among all."""
    from altrally import jobs

    jobs.promote(chosen_home(context), run, jobs.target_in(target), force=force, why=why, as_json=as_json)


@app.command()
def ui(
    context: typer.Context,
    port: Annotated[int, typer.Option(metavar="N", min=1, max=65_535, help="Where it listens, on this machine only.")] = 5000,
    target: TargetFile = None,
) -> None:
    """Open MLflow's pages over the runs of the home.

    Prints the address of a run table prepared for comparing, and serves it until Ctrl-C."""
    from altrally import jobs

    jobs.ui(chosen_home(context), port, jobs.target_in(target))


@app.command()
def mcp(context: typer.Context) -> None:
    """Let an assistant read this home by the Model Context Protocol.

    Over standard input and output, until they close; the tools are score, record, audit and compare, and none changes anything."""
    from altrally.mcp_server import build_server

    build_server(chosen_home(context)).run()


@app.command()
def report(
    context: typer.Context,
    as_of: AsOf = None,
    target: TargetFile = None,
    in_browser: Annotated[bool, typer.Option("--open", help="Also open the page in the browser.")] = False,
    as_json: AsJson = False,
) -> None:
    """Write one page for people.

    The forecast, what it is worth, why it moved, what followed similar weeks and the record, in one HTML file under the home."""
    from altrally import jobs

    jobs.report(chosen_home(context), as_of, jobs.target_in(target), in_browser=in_browser, as_json=as_json)


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
        Path | None, typer.Option(parser=file_path, metavar="FILE", help="Where markets are kept.  [default: in the home]")
    ] = None,
    engine: Engine = EngineName.LOCAL,
    scheduler: Scheduler = None,
    as_json: AsJson = False,
) -> None:
    """Measure on simulated markets how often skill is found.

    Where there is none (size) and where there is (power). Finished markets are kept: the same command continues after a stop."""
    from altrally import study_jobs
    from studies.power import Study

    study = Study(markets, tuple(years or [11]), tuple(strength or [0.0, 1.0]), lag_weeks, seed)
    with on_engine(engine, scheduler):
        study_jobs.power(chosen_home(context), study, jobs, out, as_json=as_json)


@app.command()
def status(context: typer.Context, as_json: AsJson = False) -> None:
    """Show what is in the store, how fresh it is, and the champion."""
    from altrally import jobs

    jobs.status(chosen_home(context), as_json=as_json)
