"""From a forecast that was issued to its page."""

import pandas as pd

from altrally.issue import Issued
from altrally.report.evidence import audited, followed, live_record, previous_of
from altrally.report.facts import Beside, gather, read_kept
from altrally.report.page import Page, write_report
from altrally.settings import Home
from sources.store import Store
from sources.target import Target
from training.tracking import TrackingPlace, log_page, tracking


def page_of(home: Home, place: TrackingPlace, store: Store, made: Issued, target: Target) -> Page:
    """The page of a forecast as issued, written under the home and kept with the run of the model that made it."""
    day = pd.Timestamp(made.score.as_of)
    kept = read_kept(home.tracking_uri, home.folder, made.champion.run_id)
    facts = gather(
        store,
        made.champion,
        made.inputs,
        made.score,
        kept,
        beside=Beside(
            previous=previous_of(home, made.score, target),
            live=live_record(home, made.score),
            audit=audited(store, day, target),
            followed=followed(store, made.champion.card, kept.forecasts, day),
        ),
    )
    page = write_report(home.reports(target), facts)
    with tracking(place) as tracker:
        log_page(tracker, made.champion.run_id, page.as_of, page.html)
    return page
