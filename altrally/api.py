"""The Python API: `fetch`, `train`, `score`, `verify` and `report`, each a function of a home."""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

import pandas as pd

from altrally.issue import Issued, as_of_day, issue
from core.errors import AltrallyError, BadInput
from core.home import Home, expanded, open_home, stored_elsewhere
from core.progress import Progress, silent
from core.target import ALTCOINS, Target
from models.parallel import engine
from sources.store import Store
from training.settings import TrainSettings

if TYPE_CHECKING:
    from altrally.report.page import Page
    from evaluation.multiple_testing import TrialHistory
    from sources.fetch import FetchReport
    from training.tracking import TrackingPlace
    from training.train import TrainReport
    from training.verify import Verification


def now() -> pd.Timestamp:
    """The current UTC moment, without a time zone."""
    return pd.Timestamp.now("UTC").tz_localize(None)


__all__ = ["Home", "TrainSettings", "engine", "fetch", "open_home", "report", "score", "train", "verify"]


Moment = pd.Timestamp | str
"""A UTC day or moment; as text YYYY-MM-DD."""

DEFAULT = TrainSettings()


def fetch(
    home: Home,
    provider: str = "live",
    *,
    path: str | Path | None = None,
    target: Target = ALTCOINS,
    progress: Progress = silent,
    now: Moment | None = None,
) -> "FetchReport":
    """Fetch new data from `live`, `files` (a folder `path`) or `simulated` into the home, which is created if needed.

    May be repeated and interrupted without harm. Raises UnknownName, BadInput, FetchFailed or StoreUnusable.
    """
    from sources.fetch import fetch as fetch_into
    from sources.fetch import provider_named

    provider_named(provider)
    folder = None if path is None else expanded(path)
    with open_store(home, read_only=False) as store:
        return fetch_into(store, provider, path=folder, today=moment(now), progress=progress, target=target)


def add_constituents(
    home: Home,
    file: str | Path,
    *,
    day: pd.Timestamp | None = None,
    survivors: bool = False,
    now: pd.Timestamp | None = None,
) -> str:
    """Store a dated list of constituents, whose bars the next `fetch` brings; returns what was stored, in words.

    `file` is the CSV of holdings as a fund's issuer offers it, or a list with a column 'ticker'; `day` is its day, where the file
    doesn't say. With `survivors` the names of a home's first list count before its day too. Raises BadInput or StoreUnusable.
    """
    from sources.constituent_list import add_list, read_list

    constituents = read_list(expanded(file), day, moment(now))
    with open_store(home, read_only=False) as store:
        return add_list(store, constituents, survivors=survivors, today=moment(now))


def train(
    home: Home,
    settings: TrainSettings = DEFAULT,
    *,
    until: Moment | None = None,
    progress: Progress = silent,
    now: Moment | None = None,
) -> "TrainReport":
    """Train the models of `settings` on data known by the end of `until` (None: all), evaluate them and track them in MLflow.

    The first training makes a champion. Raises MissingData, UnknownName, BadInput, Refused or StoreUnusable.
    """
    from training.train import train as train_store

    with open_store(home) as store:
        day = as_of_day(store, parse_day(until, "until"), moment(now))
        return train_store(store, settings, until=day, place=tracking_place(home), progress=progress)


def score(
    home: Home,
    as_of: Moment | None = None,
    target: Target = ALTCOINS,
    *,
    rise: float | None = None,
    days: int | None = None,
    in_sample: bool = False,
    now: Moment | None = None,
) -> Issued:
    """The forecast of a target's champion at the end of a UTC day (None: the last one known), and its line in the ledger.

    With `rise` (0.5 is 50 %) or `days` the champion's law answers for another rise or horizon, without training.

    Raises NoChampion, MissingData, GateClosed, Refused, or LedgerBroken, and then no forecast is issued.
    """
    from altrally.forecast import Question

    with open_store(home) as store:
        return issue(
            home, store, parse_day(as_of, "as_of"), moment(now), target, in_sample=in_sample, question=Question(rise, days)
        )


def verify(
    home: Home,
    settings: TrainSettings = DEFAULT,
    *,
    start: Moment | None = None,
    end: Moment | None = None,
    full_nulls: bool = False,
    panel: bool = False,
    progress: Progress = silent,
) -> "Verification":
    """Evaluate out-of-sample forecasts of the days from `start` to `end`: one row per model and horizon, and the forecasts.

    Every configuration judged counts as a trial. `full_nulls` refits slow models on circular shifts too, `panel` leaves out each
    cycle and each block. Raises MissingData, UnknownName, BadInput or Refused.
    """
    from training.verify import VerifyOptions
    from training.verify import verify as verify_store

    with open_store(home) as store:
        return verify_store(
            store,
            settings,
            start=parse_day(start, "start"),
            end=parse_day(end, "end"),
            progress=progress,
            options=VerifyOptions(counted_trials(home, settings, store.market or ""), home.cache if full_nulls else None, panel),
        )


def report(home: Home, as_of: Moment | None = None, target: Target = ALTCOINS, *, now: Moment | None = None) -> "Page":
    """The page of a day, written under the home and kept with the champion's run; it shows the forecast that `score` issues.

    Raises what `score` raises.
    """
    from altrally.report.page import publish_page

    with open_store(home) as store:
        issued = issue(home, store, parse_day(as_of, "as_of"), moment(now), target)
        return publish_page(home, tracking_place(home), store, issued, target)


@contextmanager
def open_store(home: Home, *, read_only: bool = True) -> Iterator[Store]:
    """The home's store, closed at the end; to write, the home is created if needed."""
    if not read_only:
        home.folder.mkdir(parents=True, exist_ok=True)
    move_in(home)
    with Store.open(home.store, read_only=read_only) as store:
        yield store


def move_in(home: Home) -> str | None:
    """Make the runs of a moved or copied home name its own files. Returns a warning where that can't be done now, else None."""
    old = None if home.tracking_server else stored_elsewhere(home.database, home.artifacts)
    if old is None:
        return None
    from training.tracking import move_in as move_runs

    try:
        move_runs(tracking_place(home))
    except (AltrallyError, OSError) as error:
        return (
            f"This home was moved or copied, and its runs still name the files below {old}: {str(error).rstrip('.')}. "
            "Until another altrally command could change that, don't run `mlflow gc` here: it would delete those files."
        )
    return None


def tracking_place(home: Home) -> "TrackingPlace":
    """The place where MLflow tracks this home's runs."""
    from training.tracking import TrackingPlace

    return TrackingPlace(home.tracking_uri, None if home.tracking_server else home.artifacts, home.folder)


def counted_trials(home: Home, settings: TrainSettings, market: str) -> "TrialHistory":
    """The history of trials, after counting the configurations that are about to be judged."""
    from training.null_results import configuration_of
    from training.settings import family
    from training.tracking import tracking
    from training.trial_count import count_trials, trial_history
    from training.verify import model_names

    with tracking(tracking_place(home)) as tracker:
        name_of_family = family(market, settings.target)
        configurations = [configuration_of(name, settings) for name in model_names(settings)]
        count_trials(tracker, name_of_family, settings.label, configurations)
        return trial_history(tracker, name_of_family, settings.label)


def moment(at: Moment | None) -> pd.Timestamp:
    """The UTC moment `at`, or the current one where it is None."""
    return parse_day(at, "now") or now()


def parse_day(value: Moment | None, name: str) -> pd.Timestamp | None:
    """A day as given, or parsed from text as YYYY-MM-DD; None stays None. Raises BadInput with the argument's `name`."""
    if value is None or isinstance(value, pd.Timestamp):
        return value
    try:
        return pd.Timestamp(pd.to_datetime(value, format="%Y-%m-%d"))
    except (ValueError, TypeError):
        raise BadInput(f"{name} {value!r} is not a day; write it as YYYY-MM-DD.") from None
