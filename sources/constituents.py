"""Constituents from Yahoo: the names of a home's dated list, or of its `constituents.txt`, in polite batches.

A batch is stored whole before the next is asked for, and a name whose last session is stored is not asked again, so a fetch that
was stopped goes on where it stood. Yahoo answers for living names only: what it brings are survivors.
"""

import json
import re
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field, replace
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from core.errors import BadInput, FetchFailed, SourceUnreachable
from core.progress import Progress
from sources.batches import Batch, Deliveries, Skipped, nothing_new
from sources.due import last_session
from sources.http import RetryPolicy, Site
from sources.layout import LAGS
from sources.series import PAST_MIDNIGHT
from sources.tables import require_whole
from sources.yahoo import FAR_OFF, FIRST_DAY, LATELY, OVERLAP, Overlap, Shelf, as_split, closed_bars
from sources.yahoo_client import NoSuchTicker, history, quiet, session_of

LABEL, LIST = "constituents", "constituents.txt"
A_BATCH = 50
REST = 20  # pauses between two batches
AN_ANSWER = 0.3  # seconds until an answer, for the estimate
REFUSALS = 3  # in a row: Yahoo has had enough for now
NAMED = 5
A_WEEK = pd.Timedelta(days=7)
NOTE = "names Yahoo doesn't know as listed"
CLASS_SHARE = re.compile(r"([A-Z]{2,4})([AB])")


@dataclass(frozen=True)
class Wanted:
    """A name whose bars are wanted: from when on where none is stored yet, and up to when."""

    name: str
    since: pd.Timestamp = FIRST_DAY
    until: pd.Timestamp = FAR_OFF


@dataclass(frozen=True)
class Tally:
    """Names without bars: those Yahoo doesn't know, and those that may come another time."""

    unknown: list[str] = field(default_factory=list)
    failed: list[str] = field(default_factory=list)


@dataclass(frozen=True)
class Notebook:
    """What a home remembers of names that Yahoo doesn't know as listed: how it spells them, and the day it last had nothing new."""

    shelf: Shelf
    spelling: dict[str, str]
    nothing: dict[str, str]

    @classmethod
    def of(cls, shelf: Shelf) -> "Notebook":
        """As it was written last, empty in a new home."""
        noted = json.loads(shelf.store.noted(NOTE) or "{}")
        return cls(shelf, noted.get("spelling", {}), noted.get("nothing", {}))

    def rests(self, name: str, last: pd.Timestamp) -> bool:
        """Whether a name without recent bars had nothing new within a week."""
        if name not in self.nothing or self.shelf.today - last <= A_WEEK:
            return False
        return self.shelf.today - pd.Timestamp(self.nothing[name]) < A_WEEK

    def write(self, nothing: Sequence[str]) -> None:
        """Remember the names that had nothing new today."""
        self.nothing.update(dict.fromkeys(nothing, f"{self.shelf.today:%Y-%m-%d}"))
        if self.spelling or self.nothing:
            self.shelf.store.note(NOTE, json.dumps({"spelling": self.spelling, "nothing": self.nothing}))


@dataclass(frozen=True)
class Asking:
    """One round: what is stored, the last stored day by name, who is asked, and what is remembered."""

    overlap: Overlap
    site: Site
    session: Any
    last: dict[str, pd.Timestamp]
    notebook: Notebook
    tally: Tally

    def bars_of(self, names: Sequence[Wanted], tell: Callable[[int], None]) -> tuple[list[pd.DataFrame], str]:
        """New bars, name by name, and why it stopped early, if it did. Names without any are put into the tally.

        `tell` hears before each name how many of them were asked for.
        """
        frames: list[pd.DataFrame] = []
        refused = 0
        for done, wanted in enumerate(names):
            tell(done)
            try:
                frames.append(self.new_bars(wanted))
                refused = 0
            except NoSuchTicker:
                self.tally.unknown.append(wanted.name)
            except FetchFailed as error:
                refused += 1
                self.tally.failed.append(wanted.name)
                if isinstance(error, SourceUnreachable) or refused == REFUSALS:
                    return frames, str(error)
            self.site.patience.sleep(self.site.patience.pause)
        return frames, ""

    def new_bars(self, wanted: Wanted) -> pd.DataFrame:
        """Bars of a name that aren't stored, at the stored level."""
        name, last = wanted.name, self.last.get(wanted.name)
        since = wanted.since if last is None else last - OVERLAP
        bars, _ = closed_bars(self._history(name, since), self.overlap.shelf.today)
        fetched = bars[["adj_close", "volume"]].set_axis(["close", "volume"], axis=1).dropna(subset="close")
        stored = None if last is None else self.overlap.bars(name, last)[["close", "volume"]]
        fresh = fetched if stored is None else continued(fetched, stored, name)
        frame = fresh.rename_axis("observed").reset_index()
        return frame.assign(symbol=name, known=frame["observed"] + LAGS[self.overlap.shelf.universe], asset_class="survivor")

    def _history(self, name: str, since: pd.Timestamp) -> pd.DataFrame:
        """As listed; where Yahoo doesn't know that, as it spells a class of shares, which issuers write without a hyphen."""
        spelt, class_share = self.notebook.spelling.get(name, name), CLASS_SHARE.fullmatch(name)
        try:
            return history(spelt, since, self.overlap.shelf.today, self.site, self.session)
        except NoSuchTicker:
            if spelt != name or class_share is None:
                raise
        self.site.patience.sleep(self.site.patience.pause)
        spelt = "-".join(class_share.groups())
        bars = history(spelt, since, self.overlap.shelf.today, self.site, self.session)
        self.notebook.spelling[name] = spelt
        return bars


def listed(home: Path) -> list[str]:
    """The tickers the home lists, each once, none where it has no list. What follows a # is not read. Raises `BadInput`."""
    file = home / LIST
    if not file.exists():
        return []
    content = file.read_bytes()
    try:
        text = content.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        raise BadInput(f"{file} isn't UTF-8 (byte {error.start}); save it as such.") from None
    require_whole(file, content)
    lines = [line.partition("#")[0].strip().upper() for line in text.splitlines()]
    odd = next((line for line in lines if len(line.split()) > 1 or "," in line), None)
    if odd is not None:
        raise BadInput(f"{file} holds {odd!r}; write one ticker a line, as Yahoo spells it (BRK-B).")
    return list(dict.fromkeys(line for line in lines if line))


def estimate(names: int, patience: RetryPolicy) -> str:
    """About how long bars of so many names take, in words."""
    rests = (max(names, 1) - 1) // A_BATCH * REST
    minutes = (names * (patience.pause + AN_ANSWER) + rests * patience.pause) / 60
    return f"about {minutes:.0f} minutes" if minutes >= 1.5 else "about a minute"


def deliveries(shelf: Shelf, wanted: Sequence[Wanted], site: Site, progress: Progress) -> Deliveries:
    """Batches of bars, the names longest without one first; at last what could not be had, in a line or two."""
    overlap = Overlap(shelf, shelf.stored(shelf.today - LATELY), {})
    asking = Asking(overlap, site, session_of(site), shelf.last_days(), Notebook.of(shelf), Tally())
    waiting = _waiting(asking, wanted)
    label = f"{shelf.label}: {len(waiting)} names, {estimate(len(waiting), site.patience)}"
    yahoo_answers = False
    yield from nothing_new(shelf.label, len(wanted) - len(waiting))
    for first in range(0, len(waiting), A_BATCH):
        if first:
            site.patience.sleep(REST * site.patience.pause)
        names = waiting[first : first + A_BATCH]
        with quiet():
            frames, refusal = asking.bars_of(names, partial(_report, progress, label, first, len(waiting)))
        with_news = {str(frame["symbol"].iloc[0]) for frame in frames if len(frame)}
        yahoo_answers = yahoo_answers or bool(with_news)
        if yahoo_answers and not refusal:
            tried = [share.name for share in names if share.name not in asking.tally.failed]
            asking.notebook.write([name for name in tried if name not in with_news])
        if with_news:
            yield Batch(shelf.label, "bars", pd.concat(frames, ignore_index=True), "yahoo", shelf.universe, daily=True)
        if refusal:
            yield Skipped(shelf.label, f"{refusal} The rest of {len(waiting)} names is asked for at the next fetch.")
            break
    yield from _told(shelf.label, asking.tally)


def _report(progress: Progress, label: str, before: int, total: int, done: int) -> None:
    progress(label, before + done, total)


def _waiting(asking: Asking, wanted: Sequence[Wanted]) -> list[Wanted]:
    """Names that lack a session which is over, the longest without one first; without those that rest."""
    newest = _newest(asking.overlap.shelf)
    ages = {share.name: asking.last.get(share.name, FIRST_DAY) for share in wanted}
    lacking = [share for share in wanted if ages[share.name] < min(newest, share.until)]
    ready = [share for share in lacking if not asking.notebook.rests(share.name, ages[share.name])]
    return sorted(ready, key=lambda share: ages[share.name])


def continued(fetched: pd.DataFrame, stored: pd.DataFrame, name: str) -> pd.DataFrame:
    """The days of `fetched` that aren't stored, at the stored level; both observed days × adjusted close, volume.

    A dividend or a split since lowers every adjusted close: undone by the ratio on the last common day. A split multiplies volume:
    undone by the median ratio. Raises `FetchFailed` without a common day.
    """
    common = fetched.index.intersection(stored.index[stored["close"].notna()])
    if common.empty:
        raise FetchFailed(f"Yahoo's bars of {name} don't reach back to the last stored day. Try again later.")
    ratio = (stored.loc[common] / fetched.loc[common]).replace([np.inf, -np.inf], np.nan)
    traded = ratio["volume"].median()
    level = fetched.assign(
        close=fetched["close"] * ratio["close"].iloc[-1],
        volume=fetched["volume"] * (1.0 if pd.isna(traded) else float(as_split(float(traded)))),
    )
    return level.drop(index=stored.index, errors="ignore")


def _newest(shelf: Shelf) -> pd.Timestamp:
    """The last session that is over: the last weekday, or the one before it that funds have bars of, as after a holiday."""
    funds = replace(shelf, universe="fund").last_days()
    sessions = [day for ticker, day in funds.items() if ticker not in PAST_MIDNIGHT]
    return min(last_session(shelf.label, shelf.today), max(sessions, default=FAR_OFF))


def _told(label: str, tally: Tally) -> Iterator[Skipped]:
    if tally.unknown:
        yield Skipped(label, f"Yahoo has no bars of {_some(tally.unknown)}: gone, renamed or misspelt; asked for again in a week.")
    if tally.failed:
        yield Skipped(label, f"no bars came of {_some(tally.failed)}; they are asked for again.")


def _some(names: list[str]) -> str:
    return f"{len(names)} names ({', '.join(names[:NAMED])}{', …' if len(names) > NAMED else ''})"
