"""What `altrally status` says of a home: the store, how fresh it is, and the champion."""

from typing import Any

import pandas as pd

from altrally.api import move_in, open_store
from altrally.issue import as_of_day
from core.errors import Lost, NoChampion, redacted
from core.home import Home
from evaluation.evidence import Grade
from models.champion import RegisteredCard, registered_card
from sources.anomalies import late_arrivals, rewritten
from sources.membership import breadth_basis
from sources.quality import coverage_by_month, freshness
from sources.series import SERIES
from sources.store import Store

REWRITES_SHOWN = pd.Timedelta(days=365)
"""How far back `status` lists rewritten and late data."""


def status_summary(home: Home, now: pd.Timestamp) -> dict[str, Any]:
    """The dict that `status --json` prints, as of the UTC moment `now`."""
    with open_store(home) as store:
        try:
            champion, lost = registered_card(home.tracking_uri, home.folder), None
        except Lost as error:
            champion, lost = None, str(error)
        except NoChampion:
            champion, lost = None, None
        as_of = as_of_day(store, None, now)
        since = as_of - REWRITES_SHOWN
        return {
            "home": str(home.folder),
            "runs": redacted(home.tracking_uri),
            "market": store.market,
            "as_of": f"{as_of:%Y-%m-%d}",
            "snapshot": store.snapshot(as_of),
            "champion": None if champion is None else champion_summary(champion),
            "warnings": [warning for warning in (lost, move_in(home)) if warning],
            "constituents": breadth_basis(store, as_of, now),
            "series": [verdict.to_dict() for verdict in freshness(store, as_of)],
            "rewritten": [rewrite.to_dict() for rewrite in rewritten(store, since)],
            "coverage": [month.to_dict() for month in coverage_by_month(store, as_of)],
            "coin_sources": coin_sources(store),
            "needs_key": [series.name for series in SERIES.values() if series.revised and not store.has_vintages(series)],
            "from_the_future": store.from_the_future(now),
            "late": [arrival.to_dict() for arrival in late_arrivals(store, since)],
        }


def coin_sources(store: Store) -> list[dict[str, Any]]:
    """One dict per coin and source of its price: symbol, source, first and last day."""
    rows = store.sources("coin").sort_values(["symbol", "first"])
    days_as_text = rows.assign(**{name: rows[name].dt.strftime("%Y-%m-%d") for name in ("first", "last")})
    return [{str(name): value for name, value in row.items()} for row in days_as_text.to_dict("records")]


def champion_summary(champion: RegisteredCard) -> dict[str, Any]:
    """Name, version, training day, trials and grade of evidence of a champion; the grade is that of history at training."""
    card = champion.card
    grade = str(card.skill.get("evidence", {}).get("grade", Grade.NOT_SHOWN))  # a card of an earlier version has none
    return {
        "name": card.model,
        "version": champion.version,
        "run_id": champion.run_id,
        "label": card.label,
        "market": card.market,
        "trained_as_of": card.trained_as_of,
        "trials": card.trials,
        "sentence": card.skill["sentence"],
        "grade": grade,
        "unproven": grade == Grade.NOT_SHOWN,
    }
