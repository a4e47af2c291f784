"""One round of the daily job: fetch, judge the data, forecast, write the page, train when due, resolve, tell.

Killed at any point, the next round finishes, for every step finds out by itself whether it is done already: the store knows its
rows, the ledger its lines, MLflow its runs; what is left to tell is kept in `watch.json`.
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
from altrally.ledger import LIVE, Ledger, Line, put_whole
from altrally.live_evidence import record_shadows, record_weeks
from altrally.notices import Crossing, crossed, stale_notice
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
    """What a round is asked to do. Raises BadInput on what can't be asked.

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
        """Refuse before anything is done."""
        if self.provider is not None:
            provider_named(self.provider)
        if self.retrain_days < 1:
            raise BadInput(f"--retrain-days {self.retrain_days} is not a number of days of at least 1.")
        if self.webhook is not None:
            require_address(self.webhook)
        if self.webhook is not None and self.messenger is not None:
            raise BadInput("--webhook and --notify name two places to tell; give one of them.")

    @property
    def tells(self) -> bool:
        """Whether anybody is told of notices."""
        return self.webhook is not None or self.messenger is not None

    def send(self, notice: Mapping[str, Any]) -> None:
        """Send a notice to whoever is told. Raises FetchFailed where it isn't taken."""
        if self.messenger is not None:
            send(self.messenger, notice)
        elif self.webhook is not None:
            post(self.webhook, notice)


@dataclass(frozen=True)
class Round:
    """What a round did. `forecast` is its line in the ledger, None where none could be issued; `troubles` make the round fail."""

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
    """What a round must know of earlier ones.

    `trained_as_of`: the last training a round saw through; `examined`: the last line looked at for crossings, None before the first
    round; `stale`: what was last told of old data; `pending`: notices no webhook has taken yet; `open_from`: all forecasts in
    lines before it have their outcomes.
    """

    trained_as_of: str = ""
    examined: int | None = None
    stale: str = ""
    pending: list[dict[str, Any]] = field(default_factory=list)
    open_from: int = 1


@contextmanager
def round_lock(home: Home) -> Iterator[None]:
    """One round at a time in a home."""
    home.folder.mkdir(parents=True, exist_ok=True)
    try:
        with FileLock(home.folder / "watch.lock", timeout=0):
            yield
    except Timeout:
        raise StoreUnusable(f"Another watch is running in {home.folder}; this one did nothing.") from None


@dataclass(frozen=True)
class Standing:
    """Where a round stands: what it was asked, what it reads and writes, its day and moment; `troubles` gather what went wrong."""

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
        """The home it is done in."""
        return self.watch.home

    @property
    def target(self) -> Target:
        """The question it answers."""
        return self.watch.target


def one_round(watch: Watch, *, now: pd.Timestamp, place: TrackingPlace, progress: Progress) -> Round:
    """Do all that is due at the UTC moment `now`.

    A step that fails is told and the next ones are done. Raises FetchFailed or BadInput where nothing came into an empty store, and
    LedgerBroken where nothing may be added.
    """
    troubles: list[str] = []
    new_rows, warnings = fetch_round(watch, now, progress, troubles)
    with Store.open(watch.home.store, read_only=True) as store, Ledger.open(watch.home.ledger) as ledger:
        ledger.verify()
        at = Standing(watch, store, ledger, default_as_of(store, now), now, place, progress, troubles)
        learnt: list[str] = attempt(troubles, [], train_first, at)
        line, inputs = attempt(troubles, Forecast(None, None), forecast, at)
        if line is not None:
            attempt(troubles, None, forecast_shadows, at, line, inputs)
        if watch.page and line is not None:
            warnings += attempt(troubles, [], write_page, at, line)
        learnt = learnt or attempt(troubles, [], train_when_due, at)
        resolved = attempt(troubles, 0, resolve_outcomes, at)
        verdicts = freshness(store, last_complete_day(now))
        stale = staleness(verdicts, line)
        told: list[dict[str, Any]] = attempt(troubles, [], notify, at, line, stale)
        return Round(
            as_of=f"{at.as_of:%Y-%m-%d}",
            market=store.market,
            new_rows=new_rows,
            forecast=line.body if line else None,
            decisions=learnt,
            resolved=resolved,
            notices=told,
            warnings=warnings + is_too_old(verdicts),
            troubles=list(dict.fromkeys([*troubles, *stale.values()])),
        )


def attempt(troubles: list[str], otherwise: Result, step: Callable[..., Result], *words: Any) -> Result:
    """What a step returns; where it fails that is told, and `otherwise` returned."""
    try:
        return step(*words)
    except AltrallyError as error:
        troubles.append(str(error))
        return otherwise


def fetch_round(watch: Watch, now: pd.Timestamp, progress: Progress, troubles: list[str]) -> tuple[int, list[str]]:
    """Fetch: how many rows were new, and what the provider had to skip. A source that fails leaves what is stored to be used."""
    with Store.open(watch.home.store) as store:
        provider = watch.provider or store.market or DEFAULT_PROVIDER
        store.refuse_other_market(provider)
        try:
            report = fetch(store, provider, path=watch.path, today=now, progress=progress, target=watch.target)
        except (FetchFailed, BadInput) as error:
            if store.market is None:  # nothing was ever stored: there is nothing to go on with
                raise
            troubles.append(str(error))
            return 0, []
    troubles += report.gone
    return sum(line.new for line in report.lines), [line for line in report.warnings if line not in report.gone]


class Forecast(NamedTuple):
    """The line of the day's forecast (None where there is none), and what it was made from where it was issued in this round."""

    line: Line | None
    inputs: Inputs | None


def forecast(at: Standing) -> Forecast:
    """The forecast of the day, issued unless the ledger holds one: one line a day, whatever was trained or fetched since."""
    recorded = at.ledger.forecast_of(at.as_of, at.target)
    if recorded is not None:
        return Forecast(recorded, None)
    at.progress("forecasting", 0, 0)
    issued = issue(at.home, at.store, at.as_of, at.now, at.target)
    return Forecast(next(at.ledger.lines(issued.entry.number)), issued.inputs)


def forecast_shadows(at: Standing, line: Line, inputs: Inputs | None) -> None:
    """Record what the other models say of the day, once, beside a live forecast."""
    if line.record != LIVE or at.ledger.has_shadows(at.as_of, at.target):
        return
    inputs = inputs or inputs_known(at.store, at.as_of, at.target)
    record_shadows(at.home, at.ledger, card_of(at.home, at.target), inputs, at.now)


def write_page(at: Standing, line: Line) -> list[str]:
    """The page of the day, unless it has one; why there is none.

    Written before anything is trained, and only while the same data and model say what was issued: it tells that line.
    """
    from altrally.report.page import page_of, page_path

    if page_path(at.home.reports(at.target), f"{at.as_of:%Y-%m-%d}").exists():
        return []
    said, now = (line.body["snapshot"], line.body["model"]["run_id"]), at.store.snapshot(at.as_of)
    if said != (now, champion_place(at.home.tracking_uri, at.target.registered_model).run_id):
        return [f"No page of {at.as_of:%Y-%m-%d}: data or model changed since it was forecast. `altrally report` issues it anew."]
    at.progress("writing the page", 0, 0)
    page_of(at.home, at.place, at.store, issue(at.home, at.store, at.as_of, at.now, at.target), at.target)
    return []


def train_when_due(at: Standing) -> list[str]:
    """Train if the last training is too old or of an earlier quarter; what was decided about the champion.

    A training that learnt and couldn't be logged is logged first, and counts.
    """
    late = log_pending_trainings(at.place, at.progress)
    last = max(card_of(at.home, at.target).trained_as_of, read_state(at.home, at.target).trained_as_of)
    return late + (train_again(at) if is_due(pd.Timestamp(last), at.as_of, at.watch.retrain_days) else [])


def is_due(last: pd.Timestamp, as_of: pd.Timestamp, days: int) -> bool:
    """More than `days` have passed since the last training, or a quarter has begun."""
    return as_of - last > pd.Timedelta(days=days) or (as_of.year, as_of.quarter) > (last.year, last.quarter)


def train_first(at: Standing) -> list[str]:
    """Train where nothing can be forecast yet."""
    return train_again(at) if card_or_none(at.home, at.target) is None else []


def train_again(at: Standing) -> list[str]:
    """Train what was trained last. It is remembered only when all of it was done, aliases included."""
    report = train(at.store, settings_of(at), until=at.as_of, place=at.place, progress=at.progress)
    write_state(at.home, at.target, replace(read_state(at.home, at.target), trained_as_of=report.until))
    return report.decisions


def settings_of(at: Standing) -> TrainSettings:
    """The champion's outcome, and the models that were trained beside it, so that no new configuration is tried unasked."""
    card = card_or_none(at.home, at.target)
    if card is None:
        return TrainSettings(at.target)
    names = [card.model, *last_models(at.place.uri, card)]
    if not set(names) <= set(MODELS):  # a home of an earlier version: train what there is now
        return TrainSettings(card.target, draws=card.draws)
    return TrainSettings(card.target, models=tuple(dict.fromkeys(names)), draws=card.draws)


def last_models(tracking_uri: str, card: Card) -> list[str]:
    """Names of the models of the newest finished training of what the champion forecasts."""
    runs = list_runs(tracking_uri)
    same = runs[(runs["tags.label"] == card.label) & (runs["tags.market"] == card.market) & (runs["status"] == "FINISHED")]
    trainings = same[same["parent_id"].isna()]
    return [] if trainings.empty else list(same.loc[same["parent_id"] == trainings["run_id"].iloc[0], "model"])[::-1]


def resolve_outcomes(at: Standing) -> int:
    """Record what came of forecasts; how many outcomes. Lines whose forecasts all have theirs are not read again."""
    state = read_state(at.home, at.target)
    resolved = resolve(at.ledger, at.store, until=at.as_of, now=at.now, since=state.open_from)
    record_weeks(at.ledger, at.store, at.target, until=at.as_of, now=at.now)
    if resolved.open_from != state.open_from:
        write_state(at.home, at.target, replace(state, open_from=resolved.open_from))
    return resolved.new


def staleness(verdicts: Sequence[Freshness], line: Line | None) -> dict[str, str]:
    """Why today's data can't carry a forecast: each reason by what stays the same as long as it lasts; empty if they can."""
    index = next(verdict for verdict in verdicts if verdict.series == COIN_PRICE.name)
    reasons = {} if index.fresh else {f"{index.series} {index.observed}": index.message}
    inputs = line.body["inputs"] if line else {}
    missing = [name for name, value in inputs.items() if value is None or (line and name in line.body["neutral"])]
    if len(missing) > MOST_MISSING * len(inputs):
        reasons["inputs"] = f"{len(missing)} of {len(inputs)} inputs of the model are missing: {', '.join(missing)}"
    return reasons


def is_too_old(verdicts: Sequence[Freshness]) -> list[str]:
    """One line on the series that quoted within a year and are too old or too thin now."""
    names = [verdict.series for verdict in verdicts if verdict.observed is not None and not verdict.fresh]
    return [f"{len(names)} series are too old or too thin: {', '.join(names)}"] if names else []


def notify(at: Standing, line: Line | None, stale: Mapping[str, str]) -> list[dict[str, Any]]:
    """What is worth a word since the last round, sent to the webhook with all it hasn't taken yet.

    Kept before it is sent and struck out after: a kill between the two sends it twice, never not at all.
    """
    state, last = read_state(at.home, at.target), at.ledger.head().lines
    examined = state.examined if state.examined is not None else (line.number if line else last + 1) - 1
    notices = crossed(at.ledger.lines(), examined, at.watch.crossings, at.target) if at.watch.crossings else []
    if stale and state.stale != " ".join(stale):
        notices.append(stale_notice(at.store.market, list(stale.values())))
    pending = [*state.pending, *(notices if at.watch.tells else [])]
    state = replace(state, examined=last, stale=" ".join(stale), pending=pending)
    write_state(at.home, at.target, state)
    if at.watch.tells:
        attempt(at.troubles, None, deliver, at, state)
    return notices


def deliver(at: Standing, state: State) -> None:
    """Send what is pending, oldest first, until something isn't taken. Raises FetchFailed."""
    for notice in state.pending:
        at.progress("telling the webhook", 0, 0)
        at.watch.send(notice)
        state = replace(state, pending=state.pending[1:])
        write_state(at.home, at.target, state)


def read_state(home: Home, target: Target = ALTCOINS) -> State:
    """What earlier rounds left; a first round finds nothing. Raises StoreUnusable where it is damaged."""
    return state_in(state_file(home, target))


def state_in(file: Path) -> State:
    """What a file says of earlier rounds. Raises StoreUnusable."""
    try:
        return State(**json.loads(file.read_text(encoding="utf-8")))
    except FileNotFoundError:
        return State()
    except (ValueError, TypeError):
        raise StoreUnusable(f"{file} is damaged. Remove it: the next round begins anew from the ledger.") from None


def write_state(home: Home, target: Target, state: State) -> None:
    """Leave it for the next round."""
    put_whole(state_file(home, target), json.dumps(asdict(state), indent=2) + "\n")


def state_file(home: Home, target: Target) -> Path:
    """Where it is left, one file a target."""
    return home.folder / ("watch.json" if target.is_default else f"watch-{target.slug}.json")
