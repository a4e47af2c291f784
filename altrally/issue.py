"""Issue a forecast and record it: nothing is said that isn't in the ledger."""

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
        """Of which day and market, by which model, and what stands behind it."""
        score = self.score
        simulated = "Simulated market. " if score.market == "simulated" else ""
        about = f"{score.as_of}, {score.market} market, {score.model['name']} v{score.model['version']}"
        return f"{simulated}{about}. {score.skill['evidence']['sentence']}"

    def frame(self) -> pd.DataFrame:
        """A row a horizon: days, probability, its interval and the base rate."""
        return pd.DataFrame([vars(row) for row in self.score.horizons])


def issue(
    home: Home,
    store: Store,
    typed: pd.Timestamp | None,
    now: pd.Timestamp,
    target: Target = ALTCOINS,
    *,
    in_sample: bool = False,
    question: "Question | None" = None,
) -> Issued:
    """The champion's forecast at the end of a day (None: the last one known), or its answer to another `question`, recorded.

    Raises Refused where the champion is of another market or can't answer, StoreUnusable or LedgerBroken, and then no forecast is
    issued. The models' libraries take as long to import as the features to build: side by side.
    """
    with ThreadPoolExecutor(1) as side:
        loading = side.submit(champion_of, home, target)
        from altrally.forecast import OWN_QUESTION, inputs_known, score

        inputs = inputs_known(store, day_of(store, typed, now), target)
        champion = loading.result()
    require_market(champion, home, store)
    issued = score(inputs, champion, in_sample=in_sample, question=question or OWN_QUESTION)
    from training.tracking import code_version

    read = inputs.row.X[champion.card.columns].iloc[0]
    with Ledger.open(home.ledger) as ledger:
        issued = with_evidence(ledger, store, champion, issued, now)
        entry = ledger.append_score(
            issued,
            inputs={str(name): None if pd.isna(value) else float(value) for name, value in read.items()},
            issued_at=now,
            code_version=code_version(),
        )
    return Issued(issued, entry, inputs, champion)


def with_evidence(ledger: Ledger, store: Store, champion: "Champion", issued: "Score", now: pd.Timestamp) -> "Score":
    """A forecast that says what stands behind its model so far. A live one registers its configuration, once."""
    target, configuration, as_of = champion.card.target, champion.card.configuration, pd.Timestamp(issued.as_of)
    if is_live(as_of, now) and not issued.in_sample and not issued.question:
        register(ledger, Registration(configuration, issued.model["name"], as_of), issued.market, target, now)
    record_weeks(ledger, store, target, until=day_of(store, None, now), now=now)
    live = evidence_by_configuration(ledger, issued.market, target).get(configuration, LiveEvidence())
    history = issued.skill.get("evidence") or {"drift_p": None, "ahead_of_all": None}  # cards of earlier versions have none
    said = evidence(history["drift_p"], history["ahead_of_all"], live)
    return replace(issued, skill={**issued.skill, "shown": said.grade == Grade.SHOWN, "evidence": said.to_dict()})


def require_market(champion: "Champion", home: Home, store: Store) -> None:
    """Refuse to score a market by a model of another, as can lie on a server that two markets share."""
    learnt, here = champion.card.market, store.market
    if learnt != here:
        raise Refused(
            f"The champion{champion.card.target.name_suffix} at {redacted(home.tracking_uri)} was trained on the {learnt} market, "
            f"and {home.folder} holds the {here} one. Give each market a tracking server, or a home, of its own."
        )


def champion_of(home: Home, target: Target = ALTCOINS) -> "Champion":
    """The model that scores a target."""
    from models.champion import load_champion

    return load_champion(home.tracking_uri, home.folder, target)


def card_of(home: Home, target: Target = ALTCOINS) -> "Card":
    """What is known of the model that scores a target, the model left unread."""
    from models.champion import champion_card

    return champion_card(home.tracking_uri, home.folder, target)


def card_or_none(home: Home, target: Target = ALTCOINS) -> "Card | None":
    """The champion's card; None where nothing was trained."""
    try:
        return card_of(home, target)
    except NoChampion:
        return None


def champion_or_none(home: Home, target: Target = ALTCOINS) -> "Champion | None":
    """The model that scores a target, where one was trained."""
    try:
        return champion_of(home, target)
    except NoChampion:
        return None


def day_of(store: Store, typed: pd.Timestamp | None, now: pd.Timestamp) -> pd.Timestamp:
    """The day a job stands at: as typed, if it is over; else the last one the store knows."""
    from altrally.forecast import default_as_of, require_past

    if typed is None:
        return default_as_of(store, now)
    require_past(typed, now)
    return typed
