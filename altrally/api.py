"""What the command line does, for programs: `fetch`, `train`, `score`, `verify` and `report`, each a call on a home."""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

import pandas as pd

from altrally.issue import Issued, day_of, issue
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
    """The moment, UTC, without a zone."""
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
    """Bring what is new from `live`, `files` (a folder `path`) or `simulated` into the home, which is created if need be.

    May be repeated and interrupted without harm. Raises UnknownName, BadInput, FetchFailed or StoreUnusable.
    """
    from sources.fetch import fetch as into
    from sources.fetch import provider_named

    provider_named(provider)
    folder = None if path is None else expanded(path)
    with opened(home, read_only=False) as store:
        return into(store, provider, path=folder, today=moment(now), progress=progress, target=target)


def add_constituents(
    home: Home,
    file: str | Path,
    *,
    day: pd.Timestamp | None = None,
    survivors: bool = False,
    now: pd.Timestamp | None = None,
) -> str:
    """Store a dated list of constituents, whose bars the next `fetch` brings; returns what was stored, in words.

    `file` is the CSV of holdings as a fund's issuer offers it, or a list with a column 'ticker'; `day` is when it was true, where
    it doesn't say. With `survivors` the names of a home's first list count before it too. Raises BadInput or StoreUnusable.
    """
    from sources.constituent_list import add_list, read_list

    constituents = read_list(expanded(file), day, moment(now))
    with opened(home, read_only=False) as store:
        return add_list(store, constituents, survivors=survivors, today=moment(now))


def train(
    home: Home,
    settings: TrainSettings = DEFAULT,
    *,
    until: Moment | None = None,
    progress: Progress = silent,
    now: Moment | None = None,
) -> "TrainReport":
    """Train the models of `settings` on what was known by the end of `until` (None: all), judge them and track them in MLflow.

    The first training makes a champion. Raises MissingData, UnknownName, BadInput, Refused or StoreUnusable.
    """
    from training.train import train as learnt

    with opened(home) as store:
        return learnt(
            store, settings, until=day_of(store, day(until, "until"), moment(now)), place=place_of(home), progress=progress
        )


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
    """The forecast of a target's champion at the end of a UTC day (None: the last one known), and the line of the ledger it is in.

    With `rise` (0.5 is 50 %) or `days` the champion's law answers another question, without training.

    Raises NoChampion, MissingData, GateClosed, Refused, or LedgerBroken, and then no forecast is issued.
    """
    from altrally.forecast import Question

    with opened(home) as store:
        return issue(home, store, day(as_of, "as_of"), moment(now), target, in_sample=in_sample, question=Question(rise, days))


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
    """Judge out-of-sample forecasts of the days from `start` to `end`: one row a model and horizon, and the forecasts themselves.

    A look is a try: what is judged is counted. `full_nulls` refits models that take minutes on rotations too, `panel` leaves each
    cycle and each block out. Raises MissingData, UnknownName, BadInput or Refused.
    """
    from training.verify import VerifyOptions
    from training.verify import verify as judged

    with opened(home) as store:
        return judged(
            store,
            settings,
            start=day(start, "start"),
            end=day(end, "end"),
            progress=progress,
            options=VerifyOptions(counted(home, settings, store.market or ""), home.cache if full_nulls else None, panel),
        )


def report(home: Home, as_of: Moment | None = None, target: Target = ALTCOINS, *, now: Moment | None = None) -> "Page":
    """The page of a day, written under the home and kept with the champion's run; its numbers are those of the score it issues.

    Raises what `score` raises.
    """
    from altrally.report.page import page_of

    with opened(home) as store:
        return page_of(home, place_of(home), store, issue(home, store, day(as_of, "as_of"), moment(now), target), target)


@contextmanager
def opened(home: Home, *, read_only: bool = True) -> Iterator[Store]:
    """The home's store."""
    if not read_only:
        home.folder.mkdir(parents=True, exist_ok=True)
    move_in(home)
    with Store.open(home.store, read_only=read_only) as store:
        yield store


def move_in(home: Home) -> str | None:
    """Make the runs of a home that was moved or copied name its own files; a warning where that can't be done now."""
    old = None if home.tracking_server else stored_elsewhere(home.database, home.artifacts)
    if old is None:
        return None
    from training.tracking import move_in as moved_in

    try:
        moved_in(place_of(home))
    except (AltrallyError, OSError) as error:
        return (
            f"This home was moved or copied, and its runs still name the files below {old}: {str(error).rstrip('.')}. "
            "Until another altrally command could change that, don't run `mlflow gc` here: it would delete those files."
        )
    return None


def place_of(home: Home) -> "TrackingPlace":
    """Where this home's runs are tracked."""
    from training.tracking import TrackingPlace

    return TrackingPlace(home.tracking_uri, None if home.tracking_server else home.artifacts, home.folder)


def counted(home: Home, settings: TrainSettings, market: str) -> "TrialHistory":
    """A look is a try: the configurations to be judged are counted before they are."""
    from training.null_results import configuration_of
    from training.settings import family
    from training.tracking import tracking
    from training.trial_count import count_trials, trial_history
    from training.verify import model_names

    with tracking(place_of(home)) as tracker:
        own = family(market, settings.target)
        count_trials(tracker, own, settings.label, [configuration_of(name, settings) for name in model_names(settings)])
        return trial_history(tracker, own, settings.label)


def moment(at: Moment | None) -> pd.Timestamp:
    """The moment a call stands at."""
    return day(at, "now") or now()


def day(value: Moment | None, name: str) -> pd.Timestamp | None:
    """A day as given, or read from text written YYYY-MM-DD. Raises BadInput naming the argument."""
    if value is None or isinstance(value, pd.Timestamp):
        return value
    try:
        return pd.Timestamp(pd.to_datetime(value, format="%Y-%m-%d"))
    except (ValueError, TypeError):
        raise BadInput(f"{name} {value!r} is not a day; write it as YYYY-MM-DD.") from None
