"""Constituents from Yahoo: the tickers that `constituents.txt` of a home lists, one a line, in polite batches.

A batch is stored whole before the next is asked for, and a name whose last session is stored is not asked again, so a fetch that
was stopped goes on where it stood. Yahoo answers for living names only: what it brings are survivors.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from core.errors import BadInput, FetchFailed, SourceUnreachable
from core.progress import Progress
from sources.batches import Batch, Deliveries, Skipped, nothing_new
from sources.due import last_session
from sources.http import Site
from sources.layout import LAGS
from sources.tables import require_whole
from sources.yahoo import FIRST_DAY, OVERLAP, Shelf, as_split, closed_bars
from sources.yahoo_client import NoSuchTicker, history, quiet, session_of

LABEL, LIST = "constituents", "constituents.txt"
A_BATCH = 50
REST = 20  # pauses between two batches
REFUSALS = 3  # in a row: Yahoo has had enough for now
NAMED = 5


@dataclass(frozen=True)
class Tally:
    """Names without bars: those Yahoo doesn't know, and those that may come another time."""

    unknown: list[str]
    failed: list[str]


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


def deliveries(shelf: Shelf, tickers: Sequence[str], site: Site, progress: Progress) -> Deliveries:
    """Batches of bars, the names longest without one first; at last what could not be had, in a line or two."""
    last, session = shelf.last_days(), session_of(site)
    ages = {name: last.get(name, FIRST_DAY) for name in tickers}
    due = (name for name, day in ages.items() if day < last_session(name, shelf.today))
    waiting = sorted(due, key=lambda name: ages[name])
    yield from nothing_new(shelf.label, len(ages) - len(waiting))
    tally = Tally([], [])
    for first in range(0, len(waiting), A_BATCH):
        progress(shelf.label, first, len(waiting))
        if first:
            site.patience.sleep(REST * site.patience.pause)
        frames: list[pd.DataFrame] = []
        with quiet():
            refusal = _fill(frames, tally, shelf, waiting[first : first + A_BATCH], last, site, session)
        if frames:
            bars, of = pd.concat(frames, ignore_index=True), -(-len(waiting) // A_BATCH)
            yield Batch(shelf.label, "bars", bars, "yahoo", shelf.universe, {}, of, daily=True)
        if refusal:
            yield Skipped(shelf.label, f"{refusal} The rest of {len(waiting)} names is asked for at the next fetch.")
            break
    yield from _told(shelf.label, tally)


def _fill(
    frames: list[pd.DataFrame],
    tally: Tally,
    shelf: Shelf,
    names: Sequence[str],
    last: dict[str, pd.Timestamp],
    site: Site,
    session: Any,
) -> str:
    """Add the new bars of `names` to `frames` and those without to `tally`; returns why it stopped early, if it did."""
    refused = 0
    for name in names:
        try:
            frames.append(_new_bars(shelf, name, last.get(name), site, session))
            refused = 0
        except NoSuchTicker:
            tally.unknown.append(name)
        except FetchFailed as error:
            refused += 1
            tally.failed.append(name)
            if isinstance(error, SourceUnreachable) or refused == REFUSALS:
                return str(error)
        site.patience.sleep(site.patience.pause)
    return ""


def _new_bars(shelf: Shelf, name: str, last: pd.Timestamp | None, site: Site, session: Any) -> pd.DataFrame:
    since = FIRST_DAY if last is None else last - OVERLAP
    bars, _ = closed_bars(history(name, since, shelf.today, site, session), shelf.today)
    fetched = bars[["adj_close", "volume"]].set_axis(["close", "volume"], axis=1).dropna(subset="close")
    stored = None if last is None else shelf.bars(name, since)[["close", "volume"]]
    fresh = fetched if stored is None else continued(fetched, stored, name)
    frame = fresh.rename_axis("observed").reset_index()
    return frame.assign(symbol=name, known=frame["observed"] + LAGS[shelf.universe], asset_class="survivor")


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


def _told(label: str, tally: Tally) -> Iterator[Skipped]:
    if tally.unknown:
        yield Skipped(label, f"Yahoo has no bars of {_some(tally.unknown)}: gone, renamed or misspelt.")
    if tally.failed:
        yield Skipped(label, f"no bars came of {_some(tally.failed)}; they are asked for again.")


def _some(names: list[str]) -> str:
    return f"{len(names)} names ({', '.join(names[:NAMED])}{', …' if len(names) > NAMED else ''})"
