"""Issue a forecast: it is returned only after it was recorded in the ledger."""

from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

import pandas as pd

from altrally.ledger import Entry, Ledger, is_live
from altrally.live_evidence import Registration, evidence_by_configuration, record_weeks, register
from core.errors import NoChampion, Refused, redacted
from core.home import Home
from core.notebook_view import NotebookView
from core.target import ALTCOINS, Target
from evaluation.evidence import Grade, LiveEvidence, evidence
from sources.store import Store

if TYPE_CHECKING:
    from altrally.forecast import Inputs, Question, Score
    from models.card import Card
    from models.champion import Champion


@dataclass(frozen=True)
class Issued(NotebookView):
    """A forecast, the line of the ledger that holds it, and what it was made from."""

    score: "Score"
    entry: Entry
    inputs: "Inputs"
    champion: "Champion"

    @property
    def headline(self) -> str:
        """One line: day, market, model and the evidence for it."""
        score = self.score
        simulated = "Simulated market. " if score.market == "simulated" else ""
        about = f"{score.as_of}, {score.market} market, {score.model['name']} v{score.model['version']}"
        return f"{simulated}{about}. {score.skill['evidence']['sentence']}"

    def frame(self) -> pd.DataFrame:
        """One row per horizon: days, probability, its 90 % interval and the base rate."""
        return pd.DataFrame([vars(row) for row in self.score.horizons])


def issue(
    home: Home,
    store: Store,
    as_of: pd.Timestamp | None,
    now: pd.Timestamp,
    target: Target = ALTCOINS,
    *,
    in_sample: bool = False,
    question: "Question | None" = None,
) -> Issued:
    """The champion's forecast at the end of a day (None: the last one known), or its answer to another `question`, recorded.

    Raises Refused where the champion is of another market or can't answer, StoreUnusable or LedgerBroken, and then no forecast is
    issued. The champion is loaded in a thread: importing its libraries takes as long as building the features.
    """
    with ThreadPoolExecutor(1) as thread:
        loading = thread.submit(champion_of, home, target)
        from altrally.forecast import OWN_QUESTION, inputs_known, score

        inputs = inputs_known(store, as_of_day(store, as_of, now), target)
        champion = loading.result()
    require_market(champion, home, store)
    forecast = score(inputs, champion, in_sample=in_sample, question=question or OWN_QUESTION)
    from training.tracking import code_version

    with Ledger.open(home.ledger) as ledger:
        forecast = with_evidence(ledger, store, champion, forecast, now)
        entry = ledger.append_score(forecast, inputs=input_values(inputs, champion), issued_at=now, code_version=code_version())
    return Issued(forecast, entry, inputs, champion)


def input_values(inputs: "Inputs", champion: "Champion") -> dict[str, float | None]:
    """Each input that the champion reads, by name; a missing one is None."""
    values = inputs.row.X[champion.card.columns].iloc[0]
    return {str(name): None if pd.isna(value) else float(value) for name, value in values.items()}


def with_evidence(ledger: Ledger, store: Store, champion: "Champion", forecast: "Score", now: pd.Timestamp) -> "Score":
    """The forecast with the evidence for its model so far. A live forecast registers its configuration, once."""
    target, configuration, as_of = champion.card.target, champion.card.configuration, pd.Timestamp(forecast.as_of)
    if is_live(as_of, now) and not forecast.in_sample and not forecast.question:
        register(ledger, Registration(configuration, forecast.model["name"], as_of), forecast.market, target, now)
    record_weeks(ledger, store, target, until=as_of_day(store, None, now), now=now)
    live = evidence_by_configuration(ledger, forecast.market, target).get(configuration, LiveEvidence())
    history = forecast.skill.get("evidence") or {"drift_p": None, "ahead_of_all": None}  # cards of earlier versions have none
    verdict = evidence(history["drift_p"], history["ahead_of_all"], live)
    return replace(forecast, skill={**forecast.skill, "shown": verdict.grade == Grade.SHOWN, "evidence": verdict.to_dict()})


def require_market(champion: "Champion", home: Home, store: Store) -> None:
    """Raise Refused where the champion was trained on another market, as can happen on a tracking server that two markets share."""
    if champion.card.market != store.market:
        raise Refused(
            f"The champion{champion.card.target.name_suffix} at {redacted(home.tracking_uri)} was trained on the "
            f"{champion.card.market} market, and {home.folder} holds the {store.market} one. Give each market a tracking server, "
            "or a home, of its own."
        )


def champion_of(home: Home, target: Target = ALTCOINS) -> "Champion":
    """The champion of a target, with its model. Raises NoChampion or Lost."""
    from models.champion import load_champion

    return load_champion(home.tracking_uri, home.folder, target)


def card_of(home: Home, target: Target = ALTCOINS) -> "Card":
    """The card of a target's champion, without loading the model. Raises NoChampion or Lost."""
    from models.champion import champion_card

    return champion_card(home.tracking_uri, home.folder, target)


def card_or_none(home: Home, target: Target = ALTCOINS) -> "Card | None":
    """The card of a target's champion; None where nothing was trained."""
    try:
        return card_of(home, target)
    except NoChampion:
        return None


def champion_or_none(home: Home, target: Target = ALTCOINS) -> "Champion | None":
    """The champion of a target, with its model; None where nothing was trained."""
    try:
        return champion_of(home, target)
    except NoChampion:
        return None


def as_of_day(store: Store, day: pd.Timestamp | None, now: pd.Timestamp) -> pd.Timestamp:
    """The day at whose end a job stands: `day`, else the last one the store knows. Raises BadInput where `day` isn't over yet."""
    from altrally.forecast import default_as_of, require_past

    if day is None:
        return default_as_of(store, now)
    require_past(day, now)
    return day
