"""The page: facts rendered into one HTML file that needs no network and no other file."""

import base64
import hashlib
import json
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from importlib.resources import files
from operator import itemgetter
from pathlib import Path
from typing import Any

import pandas as pd
from jinja2 import Environment, PackageLoader, StrictUndefined
from markupsafe import Markup, escape
from scipy.special import expit

from altrally import wording
from altrally.issue import Issued
from altrally.ledger import Ledger
from altrally.ledger_chain import canonical, write_whole
from altrally.live_evidence import live_rows, shadow_forecast
from altrally.report import charts, claims, words
from altrally.report.claims import backtest
from altrally.report.content import Additions, Facts, Previous, gather, read_training_record
from altrally.report.contributions import Part
from altrally.report.past_forecasts import History
from core.errors import BadInput, Refused, StoreUnusable, redacted
from core.home import Home
from core.number_format import interval, number, signed
from core.target import Target, judged_horizon
from models.champion import load_shadows
from sources.quality import last_known
from sources.store import Store
from studies.audit.claim import audit
from training.run_log import log_page
from training.tracking import TrackingPlace, tracking

LATEST = "latest.html"
SHOWN_MOVES = 8
CONTENTS = {
    "highest": "How high",
    "why": "Why",
    "moved": "Why it moved",
    "cascade": "The cascade",
    "moments": "Similar moments",
    "record": "The record",
    "audit": "Is the claim true?",
    "followed": "What following it meant",
    "data": "The data",
    "reading": "How to read it",
}
PACKAGE = "altrally.report"


@dataclass(frozen=True)
class Page:
    """A page as written: its path, day, market, snapshot and HTML."""

    path: Path
    as_of: str
    market: str
    snapshot: str
    html: str

    def _repr_html_(self) -> str:
        return f'<p><a href="{escape(self.path.as_uri())}">{escape(str(self.path))}</a></p>'

    def to_dict(self) -> dict[str, str]:
        """The fields without the HTML."""
        return {"path": str(self.path), "as_of": self.as_of, "market": self.market, "snapshot": self.snapshot}


def write_report(folder: Path, facts: Facts) -> Page:
    """Write the page of a day into `folder`, and `latest.html` unless a later day has a page. Raises BadInput where it can't."""
    score, html = facts.score, render(facts)
    path = page_path(folder, score.as_of)
    try:
        folder.mkdir(parents=True, exist_ok=True)
        write_whole(path, html)
        if path == newest(folder):
            write_whole(folder / LATEST, html)
    except OSError as error:
        raise BadInput(f"The report {path} can't be written: {error.strerror or error}.") from None
    return Page(path, score.as_of, score.market, score.snapshot, html)


def page_path(folder: Path, as_of: str) -> Path:
    """The path of the page of a day."""
    return folder / f"{as_of}.html"


def newest(folder: Path) -> Path:
    """The path of the page of the latest day in `folder`."""
    return max(folder.glob("[0-9]*-[0-9][0-9]-[0-9][0-9].html"), key=lambda page: page.stem)


def render(facts: Facts) -> str:
    """The HTML of a page."""
    style, script = asset("report.css"), asset("report.js")
    return (
        environment()
        .get_template("page.html")
        .render(
            facts=facts,
            score=facts.score,
            sixty=facts.score.judged,
            simulated=facts.score.market == "simulated",
            style=Markup(style),  # ours, from this package
            script=Markup(script),
            script_hash=base64.b64encode(hashlib.sha256(script.encode()).digest()).decode(),
            judged_days=facts.score.judged.days,
            target=facts.score.target,
            series=inlined({str(days): week_by_week(history) for days, history in facts.record.histories.items()}),
        )
    )


def asset(name: str) -> str:
    """The text of a file in `templates`."""
    return (files(PACKAGE) / "templates" / name).read_text(encoding="utf-8")


def inlined(value: Any) -> Markup:
    """JSON that can't end the script element around it, whatever its strings hold."""
    text = json.dumps(value, allow_nan=False, separators=(",", ":"))
    for sign in "<>&\u2028\u2029":
        text = text.replace(sign, f"\\u{ord(sign):04x}")
    return Markup(text)


def week_by_week(history: History) -> dict[str, Any]:
    """The data of a history that the script of the page shows under the pointer."""
    return {
        "as_of": history.as_of,
        "forecast": [round(p, 4) for p in history.probability],
        "usual": [None if p is None else round(p, 4) for p in history.climatology],
        "came": history.event_occurred,
    }


@cache
def environment() -> Environment:
    """The template environment: it escapes everything, and holds the functions that templates call."""
    templates = Environment(
        loader=PackageLoader(PACKAGE), autoescape=True, undefined=StrictUndefined, trim_blocks=True, lstrip_blocks=True
    )
    helpers: Iterable[Callable[..., Any]] = (
        largest_first,
        by_block,
        top_moves,
        largest_size,
        chance,
        contents,
        nested,
        rows_at,
        interval,
        signed,
    )
    templates.globals |= {"words": words, "charts": charts, "claims": claims, "wording": wording} | {
        helper.__name__: helper for helper in helpers
    }
    templates.filters |= {"percent": words.percent, "signed": signed, "number": number, "long_date": words.long_date}
    return templates


def contents(facts: Facts) -> list[tuple[str, str]]:
    """Anchor and name of each section of a page."""
    return [(anchor, name) for anchor, name in CONTENTS.items() if anchor != "highest" or facts.score.curve is not None]


def largest_first(parts: Sequence[Part]) -> list[Part]:
    """The parts sorted by size, largest first."""
    return sorted(parts, key=lambda part: -abs(part.log_odds))


def by_block(parts: Sequence[Part], block: str) -> list[Part]:
    """A block's features, largest first."""
    return largest_first([part for part in parts if part.block == block])


def largest_size(parts: Sequence[Part]) -> float:
    """The largest size of the parts, for a common scale; 1 where all are 0."""
    return max((abs(part.log_odds) for part in parts), default=0.0) or 1.0


def top_moves(parts: Sequence[Part]) -> tuple[list[Part], list[Part]]:
    """The largest parts that are shown, and the rest."""
    ranked = largest_first(parts)
    return ranked[:SHOWN_MOVES], ranked[SHOWN_MOVES:]


def chance(log_odds: float) -> float:
    """The probability of log-odds."""
    return float(expit(log_odds))


def nested(data: Mapping[str, Any] | None, *keys: str) -> Any:
    """The value of a nested dict under `keys`, None where there is none."""
    for key in keys:
        data = data.get(key) if isinstance(data, Mapping) else None
    return data


def rows_at(rows: Sequence[dict[str, Any]], days: int) -> list[dict[str, Any]]:
    """Verification rows of one horizon, best Brier score first."""
    chosen = [row for row in rows if row["horizon"] == days]
    return sorted(chosen, key=lambda row: (row["brier"] is None, row["brier"]))


RECENT = pd.Timedelta(days=7)


def publish_page(home: Home, place: TrackingPlace, store: Store, issued: Issued, target: Target) -> Page:
    """Write the page of an issued forecast under the home, and keep it with the run of its model."""
    score, champion, day = issued.score, issued.champion, pd.Timestamp(issued.score.as_of)
    with Ledger.open(home.ledger) as ledger:
        line = ledger.last_live(before=day, target=target)
        live = live_rows(ledger, score.market, score.target)
    if line is not None and canonical(line.body["outcome"]) != canonical(score.outcome):
        line = None  # a forecast of another event can't be compared with
    training = read_training_record(home.tracking_uri, home.folder, champion.run_id)
    additions = Additions(
        previous=None if line is None else Previous.of(line.body),
        live=live,
        audit=audit(store, day).to_dict() if target.is_default else None,  # the claim is about altcoins only
        backtest=backtest(store, champion.card, training.forecasts, day),
        others=other_models(home, store, issued),
        run_link=run_link(home, place, champion.run_id),
    )
    facts = gather(store, champion, issued.inputs, score, training, additions=additions)
    page = write_report(home.reports(target), facts)
    with tracking(place) as tracker:
        log_page(tracker, champion.run_id, page.as_of, page.html)
    return page


def other_models(home: Home, store: Store, issued: Issued) -> list[tuple[str, float]]:
    """Name and probability of each other model of the newest training; empty for a past day, whose outcome they may know."""
    card, day = issued.champion.card, pd.Timestamp(issued.score.as_of)
    if issued.score.refit is not None or day + RECENT < last_known(store):
        return []
    horizon = card.horizons.index(judged_horizon(card.horizons))
    try:
        models = load_shadows(home.tracking_uri, home.folder, card.family, card.label)
    except (Refused, StoreUnusable):
        return []
    forecasts = [shadow_forecast(model, issued.inputs) for model in models if model.name != card.model]
    return sorted(((row["name"].replace("_", " "), row["probabilities"][horizon]) for row in forecasts), key=itemgetter(1))


def run_link(home: Home, place: TrackingPlace, run_id: str) -> str:
    """The address at which a tracking server shows a run; empty for runs in the home's own database."""
    address = redacted(home.tracking_uri)
    if not address.startswith(("http://", "https://")):
        return ""
    with tracking(place) as tracker:
        experiment = tracker.client.get_run(run_id).info.experiment_id
    return f"{address.rstrip('/')}/#/experiments/{experiment}/runs/{run_id}"
