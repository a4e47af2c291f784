"""What other parts of altrally have to say on the page: the last forecast issued, the audit, what following would have meant."""

from collections.abc import Mapping
from typing import Any

import pandas as pd

from altrally.audit import audit
from altrally.ledger import Ledger, canonical
from altrally.live_evidence import LiveRow, live_rows
from altrally.report.facts import Previous
from altrally.report.words import percent, signed_percent
from altrally.score import Score
from altrally.settings import Home
from features.index import load_index
from models.card import Card
from sources.errors import MissingData
from sources.store import Store
from sources.target import Target, judged_horizon
from training.dataset import bitcoin
from training.following import CAVEAT, Following, following
from training.settings import TrainSettings

COLUMNS = ("", "growth a year", "worst fall", "share of days in altcoins", "switches", "lost to dealing")


def previous_of(home: Home, score: Score, target: Target) -> Previous | None:
    """The last live forecast of a target for an earlier day in the ledger; None where there is none, or it was of another event."""
    with Ledger.open(home.ledger) as ledger:
        line = ledger.last_live(before=pd.Timestamp(score.as_of), target=target)
    return None if line is None or canonical(line.body["outcome"]) != canonical(score.outcome) else Previous.of(line.body)


def live_record(home: Home, score: Score) -> list[LiveRow]:
    """How every model does that forecasts live, the champion and its rivals."""
    with Ledger.open(home.ledger) as ledger:
        return live_rows(ledger, score.market, score.target)


def audited(store: Store, day: pd.Timestamp, target: Target) -> dict[str, Any] | None:
    """The audit of the claim, as the page reads it; None for a target the claim says nothing of."""
    return audit(store, day).to_json() if target.is_default else None


def followed(store: Store, card: Card, forecasts: pd.DataFrame, day: pd.Timestamp) -> Mapping[str, Any] | None:
    """What following the champion's out-of-sample forecasts up to a day would have meant; None where nothing can be dealt,
    or the target isn't the altcoin index.

    forecasts: as_of, horizon, probability, climatology.
    """
    if not card.target.is_default:
        return None
    horizon = judged_horizon(card.horizons)
    judged = forecasts[(forecasts["horizon"] == horizon) & (forecasts["as_of"] <= day)].set_index("as_of")
    try:
        return told(
            following(
                judged["probability"],
                judged["climatology"],
                load_index(store, day).level.dropna(),
                bitcoin(store, day),
                model=card.model,
                market=card.market,
                horizon=horizon,
                trials=card.trials,
                seed=TrainSettings().seed,
            )
        )
    except MissingData:
        return None


def told(found: Following) -> dict[str, Any]:
    """One row a holding; the sentence says what the lead is worth, the notes what it leaves out."""
    rows = [
        (
            one.name,
            signed_percent(one.growth),
            percent(one.maximum_drawdown),
            percent(one.exposure),
            str(one.switches),
            percent(one.costs),
        )
        for one in found.records
    ]
    span = f"From {found.first:%Y-%m} to {found.last:%Y-%m}, at {found.cost:.1%} for each purchase and sale."
    return {"sentence": f"{span} {found.worth}", "columns": COLUMNS, "rows": rows, "notes": [CAVEAT]}
