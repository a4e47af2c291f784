"""Jobs that judge and study: leakcheck, verify, sweep, audit, compare, power. They change no store, champion or ledger."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import pandas as pd

from altrally import api
from altrally.api import now, open_store, parse_day, tracking_place
from altrally.issue import as_of_day, champion_or_none
from altrally.jobs import checked_settings, require_trained
from altrally.output import print_json, progress_bar
from core.errors import BadInput, LeakFound, MissingData
from core.home import Home
from core.target import Target
from sources.store import Store

if TYPE_CHECKING:
    from studies.power import Study


def leakcheck(home: Home, own: Sequence[str], cuts: int, seed: int, *, whole: bool, as_json: bool) -> None:
    """Check that no feature and no score reads future data, and print the report. Raises LeakFound, after printing, if any does."""
    from studies.leakcheck import Check
    from studies.leakcheck import leakcheck as run_leakcheck

    check = Check(tuple(own), cuts, seed, whole)
    with open_store(home) as store, progress_bar() as progress:
        report = run_leakcheck(store, check, as_of_day(store, None, now()), None if own else champion_or_none(home), progress)
    if as_json:
        print_json(report.to_dict())
    else:
        from altrally.columns import show
        from altrally.study_pages import leakcheck_page

        show(leakcheck_page(report))
    if report.leaking:
        raise LeakFound(f"{len(report.leaking)} didn't pass: {', '.join(report.leaking)}.")


@dataclass(frozen=True)
class VerifyRequest:
    """Options of `verify` as typed."""

    start: str | None
    end: str | None
    models: Sequence[str] | None
    target: Target
    forecasts: Path | None
    full_nulls: bool
    panel: bool
    every_horizon: bool = False


def verify(home: Home, request: VerifyRequest, *, as_json: bool) -> None:
    """Evaluate models out of sample and print the result; MLflow records only the number of trials."""
    start, end = parse_day(request.start, "--from"), parse_day(request.end, "--to")
    settings = checked_settings(request.target, request.models)
    file = request.forecasts
    if file is not None and not file.parent.is_dir():
        raise BadInput(f"--forecasts {file} can't be written: there is no folder {file.parent}.")
    with progress_bar() as progress:
        verification = api.verify(
            home, settings, start=start, end=end, full_nulls=request.full_nulls, panel=request.panel, progress=progress
        )
    if as_json:
        print_json(verification.rows)
    else:
        from altrally.columns import show
        from altrally.render import market_banner, verification_page

        show(
            market_banner(verification.market),
            f"{settings.label} on the {verification.market} market",
            verification_page(verification.rows, every_horizon=request.every_horizon),
        )
    if file is not None:
        try:
            verification.forecasts.to_parquet(file, index=False)
        except OSError as error:
            raise BadInput(f"--forecasts {file} can't be written: {error.strerror or error}.") from None


def sweep(home: Home, config: Path, *, as_json: bool) -> None:
    """Search the configurations of a TOML file and print whether the best one shows skill."""
    from studies.sweep import sweep as run_sweep
    from studies.sweep_file import read_sweep

    settings = read_sweep(config)
    with open_store(home) as store, progress_bar() as progress:
        result = run_sweep(store, settings, place=tracking_place(home), folder=home.sweeps, progress=progress)
    if as_json:
        print_json(result)
        return
    from altrally.columns import show
    from altrally.study_pages import sweep_page

    show(sweep_page(result))


def audit(home: Home, as_of: str | None, figures: Path | None, *, as_json: bool) -> None:
    """Test the claim line by line and print the verdicts; write pictures into the folder `figures` if it is given."""
    from studies.audit.claim import audit as run_audit

    day = parse_day(as_of, "--as-of")
    with open_store(home) as store, progress_bar() as progress:
        result = run_audit(store, audit_day(store, day), progress=progress)
    if figures is not None:
        from studies.study_figures import write_figures

        write_figures(result, figures)
    if as_json:
        print_json(result.to_dict())
        return
    from altrally.columns import show
    from altrally.study_pages import audit_page

    show(audit_page(result))


def audit_day(store: Store, day: pd.Timestamp | None) -> pd.Timestamp:
    """The day of an audit: `day`, else the last day known of the coins, else (a store without coins) of any series."""
    try:
        return as_of_day(store, day, now())
    except MissingData:
        known = store.extent(now())["known_last"].max()
        if pd.isna(known):
            raise
        return min(pd.Timestamp(known), now().normalize() - pd.Timedelta(days=1))


def compare(home: Home, runs: Sequence[str], target: Target, *, as_json: bool) -> None:
    """Print runs of a target compared on the same days: those named in `runs`, else the runs of its last training."""
    from training.compare import compare as compare_runs

    require_trained(home)
    rows = compare_runs(tracking_place(home), runs, target)
    if as_json:
        print_json(rows)
        return
    from altrally.columns import show
    from altrally.render import comparison_page, pictures

    show(comparison_page(rows))
    for line in pictures(rows):
        print(line)  # noqa: T201  (bare: a path must not be wrapped)


def power(home: Home, study: "Study", processes: int | None, out: Path | None, *, as_json: bool) -> None:
    """Run a power study on simulated markets and print how often skill was found, over all markets in the file of results."""
    from studies.power import run_study
    from studies.power_report import report as power_report

    file = out or home.folder / "power" / f"{study.configuration}.jsonl"
    with progress_bar() as progress:
        report = power_report(study, run_study(study, file, processes=processes, progress=progress))
    if as_json:
        print_json(report)
        return
    from altrally.columns import show
    from altrally.study_pages import power_page

    show(power_page(report))
