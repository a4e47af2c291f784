"""One round of the daily job: fetch, check the data, forecast, write the page, train when due, record outcomes, send notices.

After a kill the next round does the rest, because every step checks whether it was done already: in the rows of the store, the
lines of the ledger or the runs of MLflow. Notices not sent yet are kept in `watch.json`.
"""

import json
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Any, NamedTuple, TypeVar

import pandas as pd
from filelock import FileLock, Timeout

from altrally.forecast import Inputs, default_as_of, inputs_known, last_complete_day
from altrally.issue import card_of, card_or_none, issue
from altrally.ledger import LIVE, Ledger, Line
from altrally.ledger_chain import write_whole
from altrally.live_evidence import record_shadows, record_weeks
from altrally.notices import Crossing, crossing_notices, stale_notice
from altrally.track_record import resolve
from core.errors import AltrallyError, BadInput, FetchFailed, StoreUnusable
from core.home import Home
from core.progress import Progress
from core.target import ALTCOINS, Target
from models.card import Card
from models.catalog import MODELS
from models.champion import champion_place, list_runs
from sources.fetch import fetch, provider_named
from sources.messenger import Messenger, send
from sources.quality import Freshness, freshness
from sources.series import COIN_PRICE
from sources.store import Store
from sources.webhook import post, require_address
from training.settings import TrainSettings
from training.tracking import TrackingPlace
from training.train import log_pending_trainings, train
from training.training_job import MOST_MISSING

Result = TypeVar("Result")
DEFAULT_PROVIDER = "live"


@dataclass(frozen=True)
class Watch:
    """Settings of a round. Raises BadInput on invalid ones.

    `provider` None: the one the home was filled by; `page`: whether the page of the day is written too; `webhook` gets notices as
    JSON, or `messenger` as a message of a chat service.
    """

    home: Home
    provider: str | None = None
    path: Path | None = None
    retrain_days: int = 90
    webhook: str | None = None
    crossings: tuple[Crossing, ...] = ()
    target: Target = ALTCOINS
    page: bool = False
    messenger: Messenger | None = None

    def __post_init__(self) -> None:
        """Check the settings before anything is done."""
        if self.provider is not None:
            provider_named(self.provider)
        if self.retrain_days < 1:
            raise BadInput(f"--retrain-days {self.retrain_days} is not a number of days of at least 1.")
        if self.webhook is not None:
            require_address(self.webhook)
        if self.webhook is not None and self.messenger is not None:
            raise BadInput("--webhook and --notify name two places to tell; give one of them.")

    @property
    def sends_notices(self) -> bool:
        """Whether notices are sent anywhere."""
        return self.webhook is not None or self.messenger is not None

    def send(self, notice: Mapping[str, Any]) -> None:
        """Send a notice to the webhook or chat. Raises FetchFailed where it isn't accepted."""
        if self.messenger is not None:
            send(self.messenger, notice)
        elif self.webhook is not None:
            post(self.webhook, notice)


@dataclass(frozen=True)
class Round:
    """The result of a round; `forecast`: its line in the ledger, None where none was issued; `troubles`: errors that fail it."""

    as_of: str
    market: str | None
    new_rows: int
    forecast: dict[str, Any] | None
    decisions: list[str]
    resolved: int
    notices: list[dict[str, Any]]
    warnings: list[str]
    troubles: list[str]


@dataclass(frozen=True)
class State:
    """What a round keeps for later ones.

    `trained_as_of`: day of the last training that a round finished; `examined`: last line checked for crossings, None before the
    first round; `stale`: reasons of the last notice of stale data; `pending`: notices not sent yet; `open_from`: all forecasts in
    earlier lines have their outcomes.
    """

    trained_as_of: str = ""
    examined: int | None = None
    stale: str = ""
    pending: list[dict[str, Any]] = field(default_factory=list)
    open_from: int = 1


@contextmanager
def round_lock(home: Home) -> Iterator[None]:
    """Hold the lock of rounds in a home. Raises StoreUnusable where another round holds it."""
    home.folder.mkdir(parents=True, exist_ok=True)
    try:
        with FileLock(home.folder / "watch.lock", timeout=0):
            yield
    except Timeout:
        raise StoreUnusable(f"Another watch is running in {home.folder}; this one did nothing.") from None


@dataclass(frozen=True)
class RoundContext:
    """What the steps of a round share: settings, store, ledger, the day and moment of the round; `troubles` collects errors."""

    watch: Watch
    store: Store
    ledger: Ledger
    as_of: pd.Timestamp
    now: pd.Timestamp
    place: TrackingPlace
    progress: Progress
    troubles: list[str]

    @property
    def home(self) -> Home:
        """The home of the round."""
        return self.watch.home

    @property
    def target(self) -> Target:
        """The target that is forecast."""
        return self.watch.target


def one_round(watch: Watch, *, now: pd.Timestamp, place: TrackingPlace, progress: Progress) -> Round:
    """Do all that is due at the UTC moment `now`.

    Errors of a step are collected and the next steps are done. Raises FetchFailed or BadInput where the store stays empty, and
    LedgerBroken where nothing may be added.
    """
    troubles: list[str] = []
    new_rows, warnings = fetch_round(watch, now, progress, troubles)
    with Store.open(watch.home.store, read_only=True) as store, Ledger.open(watch.home.ledger) as ledger:
        ledger.verify()
        at = RoundContext(watch, store, ledger, default_as_of(store, now), now, place, progress, troubles)
        decisions: list[str] = attempt(troubles, [], train_first, at)
        line, inputs = attempt(troubles, Forecast(None, None), forecast, at)
        if line is not None:
            attempt(troubles, None, forecast_shadows, at, line, inputs)
        if watch.page and line is not None:
            warnings += attempt(troubles, [], write_page, at, line)
        decisions = decisions or attempt(troubles, [], train_when_due, at)
        resolved = attempt(troubles, 0, resolve_outcomes, at)
        verdicts = freshness(store, last_complete_day(now))
        stale = staleness(verdicts, line)
        notices: list[dict[str, Any]] = attempt(troubles, [], notify, at, line, stale)
        outdated = [verdict.series for verdict in verdicts if verdict.observed is not None and not verdict.fresh]
        if outdated:
            warnings.append(f"{len(outdated)} series are too old or too thin: {', '.join(outdated)}")
        return Round(
            as_of=f"{at.as_of:%Y-%m-%d}",
            market=store.market,
            new_rows=new_rows,
            forecast=line.body if line else None,
            decisions=decisions,
            resolved=resolved,
            notices=notices,
            warnings=warnings,
            troubles=list(dict.fromkeys([*troubles, *stale.values()])),
        )


def attempt(troubles: list[str], default: Result, step: Callable[..., Result], *arguments: Any) -> Result:
    """What `step(*arguments)` returns; on an AltrallyError its message is added to `troubles` and `default` returned."""
    try:
        return step(*arguments)
    except AltrallyError as error:
        troubles.append(str(error))
        return default


def fetch_round(watch: Watch, now: pd.Timestamp, progress: Progress, troubles: list[str]) -> tuple[int, list[str]]:
    """Fetch; returns the number of new rows and the warnings. Where a source fails, the round goes on with the stored data."""
    with Store.open(watch.home.store) as store:
        provider = watch.provider or store.market or DEFAULT_PROVIDER
        store.refuse_other_market(provider)
        try:
            report = fetch(store, provider, path=watch.path, today=now, progress=progress, target=watch.target)
        except (FetchFailed, BadInput) as error:
            if store.market is None:  # the store is empty
                raise
            troubles.append(str(error))
            return 0, []
    troubles += report.gone
    return sum(line.new for line in report.lines), [line for line in report.warnings if line not in report.gone]


class Forecast(NamedTuple):
    """The line of the day's forecast (None: there is none), and its inputs if it was issued in this round."""

    line: Line | None
    inputs: Inputs | None


def forecast(at: RoundContext) -> Forecast:
    """The forecast of the day, issued unless the ledger holds one: one line per day, whatever was trained or fetched since."""
    recorded = at.ledger.forecast_of(at.as_of, at.target)
    if recorded is not None:
        return Forecast(recorded, None)
    at.progress("forecasting", 0, 0)
    issued = issue(at.home, at.store, at.as_of, at.now, at.target)
    return Forecast(next(at.ledger.lines(issued.entry.number)), issued.inputs)


def forecast_shadows(at: RoundContext, line: Line, inputs: Inputs | None) -> None:
    """Record the other models' forecasts of the day, once, if the champion's forecast is live."""
    if line.record != LIVE or at.ledger.has_shadows(at.as_of, at.target):
        return
    inputs = inputs or inputs_known(at.store, at.as_of, at.target)
    record_shadows(at.home, at.ledger, card_of(at.home, at.target), inputs, at.now)


def write_page(at: RoundContext, line: Line) -> list[str]:
    """Write the page of the day, unless it exists; returns a warning where it can't be written.

    It is written before anything is trained, and only while data and model are those of the recorded forecast.
    """
    from altrally.report.page import page_path, publish_page

    if page_path(at.home.reports(at.target), f"{at.as_of:%Y-%m-%d}").exists():
        return []
    run_id = champion_place(at.home.tracking_uri, at.target.registered_model).run_id
    if (line.body["snapshot"], line.body["model"]["run_id"]) != (at.store.snapshot(at.as_of), run_id):
        return [f"No page of {at.as_of:%Y-%m-%d}: data or model changed since it was forecast. `altrally report` issues it anew."]
    at.progress("writing the page", 0, 0)
    publish_page(at.home, at.place, at.store, issue(at.home, at.store, at.as_of, at.now, at.target), at.target)
    return []


def train_when_due(at: RoundContext) -> list[str]:
    """Train if the last training is too old or of an earlier quarter; returns the decisions about the champion.

    A training whose results couldn't be logged before is logged first, and counts as the last one.
    """
    decisions = log_pending_trainings(at.place, at.progress)
    last = max(card_of(at.home, at.target).trained_as_of, read_state(at.home, at.target).trained_as_of)
    return decisions + (train_again(at) if is_due(pd.Timestamp(last), at.as_of, at.watch.retrain_days) else [])


def is_due(last: pd.Timestamp, as_of: pd.Timestamp, days: int) -> bool:
    """Whether more than `days` have passed since the last training, or a quarter has begun."""
    return as_of - last > pd.Timedelta(days=days) or (as_of.year, as_of.quarter) > (last.year, last.quarter)


def train_first(at: RoundContext) -> list[str]:
    """Train if there is no champion yet; returns the decisions about the champion."""
    return train_again(at) if card_or_none(at.home, at.target) is None else []


def train_again(at: RoundContext) -> list[str]:
    """Train the models of the last training; its day is kept in the state only after all of it was done, aliases included."""
    report = train(at.store, settings_of(at), until=at.as_of, place=at.place, progress=at.progress)
    write_state(at.home, at.target, replace(read_state(at.home, at.target), trained_as_of=report.until))
    return report.decisions


def settings_of(at: RoundContext) -> TrainSettings:
    """Settings of the last training: its outcome and models, so that no new configuration is tried."""
    card = card_or_none(at.home, at.target)
    if card is None:
        return TrainSettings(at.target)
    names = [card.model, *last_models(at.place.uri, card)]
    if not set(names) <= set(MODELS):  # a home of an earlier version: train what there is now
        return TrainSettings(card.target, draws=card.draws)
    return TrainSettings(card.target, models=tuple(dict.fromkeys(names)), draws=card.draws)


def last_models(tracking_uri: str, card: Card) -> list[str]:
    """Names of the models of the newest finished training for the champion's outcome and market."""
    runs = list_runs(tracking_uri)
    same = runs[(runs["tags.label"] == card.label) & (runs["tags.market"] == card.market) & (runs["status"] == "FINISHED")]
    trainings = same[same["parent_id"].isna()]
    return [] if trainings.empty else list(same.loc[same["parent_id"] == trainings["run_id"].iloc[0], "model"])[::-1]


def resolve_outcomes(at: RoundContext) -> int:
    """Record outcomes of forecasts; returns how many were new. Lines whose forecasts all have outcomes are not read again."""
    state = read_state(at.home, at.target)
    resolved = resolve(at.ledger, at.store, until=at.as_of, now=at.now, since=state.open_from)
    record_weeks(at.ledger, at.store, at.target, until=at.as_of, now=at.now)
    if resolved.open_from != state.open_from:
        write_state(at.home, at.target, replace(state, open_from=resolved.open_from))
    return resolved.new


def staleness(verdicts: Sequence[Freshness], line: Line | None) -> dict[str, str]:
    """Reasons why today's data are too poor for a forecast, by a key that stays the same as long as the reason lasts."""
    index = next(verdict for verdict in verdicts if verdict.series == COIN_PRICE.name)
    reasons = {} if index.fresh else {f"{index.series} {index.observed}": index.message}
    inputs = line.body["inputs"] if line else {}
    missing = [name for name, value in inputs.items() if value is None or (line and name in line.body["neutral"])]
    if len(missing) > MOST_MISSING * len(inputs):
        reasons["inputs"] = f"{len(missing)} of {len(inputs)} inputs of the model are missing: {', '.join(missing)}"
    return reasons


def notify(at: RoundContext, line: Line | None, stale: Mapping[str, str]) -> list[dict[str, Any]]:
    """Notices since the last round, sent with those not sent before.

    They are saved before they are sent and removed after: a kill between the two sends a notice twice, never not at all.
    """
    state, last = read_state(at.home, at.target), at.ledger.head().lines
    examined = state.examined if state.examined is not None else (line.number if line else last + 1) - 1
    notices = crossing_notices(at.ledger.lines(), examined, at.watch.crossings, at.target) if at.watch.crossings else []
    if stale and state.stale != " ".join(stale):
        notices.append(stale_notice(at.store.market, list(stale.values())))
    pending = [*state.pending, *(notices if at.watch.sends_notices else [])]
    state = replace(state, examined=last, stale=" ".join(stale), pending=pending)
    write_state(at.home, at.target, state)
    if at.watch.sends_notices:
        attempt(at.troubles, None, deliver, at, state)
    return notices


def deliver(at: RoundContext, state: State) -> None:
    """Send pending notices, oldest first, until one isn't accepted. Raises FetchFailed."""
    for notice in state.pending:
        at.progress("telling the webhook", 0, 0)
        at.watch.send(notice)
        state = replace(state, pending=state.pending[1:])
        write_state(at.home, at.target, state)


def read_state(home: Home, target: Target = ALTCOINS) -> State:
    """The state that earlier rounds left, or an empty one. Raises StoreUnusable where its file is damaged."""
    return state_in(state_file(home, target))


def state_in(file: Path) -> State:
    """The state in a file, or an empty one where there is no file. Raises StoreUnusable where it is damaged."""
    try:
        return State(**json.loads(file.read_text(encoding="utf-8")))
    except FileNotFoundError:
        return State()
    except (ValueError, TypeError):
        raise StoreUnusable(f"{file} is damaged. Remove it: the next round begins anew from the ledger.") from None


def write_state(home: Home, target: Target, state: State) -> None:
    """Write the state for the next round."""
    write_whole(state_file(home, target), json.dumps(asdict(state), indent=2) + "\n")


def state_file(home: Home, target: Target) -> Path:
    """The file of the state, one per target."""
    return home.folder / ("watch.json" if target.is_default else f"watch-{target.slug}.json")
