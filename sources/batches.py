"""What a provider hands over: rows of one table to be stored together, or one series it had to skip."""

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Literal

import pandas as pd

PRICE_FIELDS = ("open", "high", "low", "close", "adj_close")
BAR_FIELDS = (*PRICE_FIELDS, "volume", "market_cap")
MADE_MISSING = {
    "zero or negative", "raw close of a derived row", "suspect market cap", "contradictory open, high, low",
    "range across a redenomination",
}  # fmt: skip
"""Reasons that make cells missing in rows that are kept. Every other reason leaves the row out."""


@dataclass(frozen=True)
class Batch:
    """Rows stored in one transaction.

    `frame` for `observations`: series, observed, known, value. For `bars`: symbol, observed, known, any of `BAR_FIELDS`, and
    optionally asset_class; a field that is absent leaves what is stored, a missing value says the value is missing.
    `known` is when a first version was known; only rows from source 'alfred' carry one row for each vintage.
    `dropped` counts what the provider left out and why: rows, and by the reasons of `MADE_MISSING` cells. `of` is the number of
    batches that share the label, 0 if unknown. `notes` are what the user should know about these rows.
    `current` counts the series or symbols that weren't asked for, because nothing of them can be new.
    `daily`: the provider is asked day by day, so a row that comes later than its release lag says was not known before it came.
    """

    label: str
    table: Literal["observations", "bars"]
    frame: pd.DataFrame
    source: str
    universe: str | None = None
    dropped: Mapping[str, int] = field(default_factory=dict)
    of: int = 0
    daily: bool = False
    notes: Sequence[str] = ()
    current: int = 0


def rows_left_out(dropped: Mapping[str, int]) -> dict[str, int]:
    """The part of `dropped` that counts rows: as many came as were kept and left out."""
    return {reason: count for reason, count in dropped.items() if reason not in MADE_MISSING}


def nothing_new(label: str, count: int) -> Iterator[Batch]:
    """An empty batch that says how many series or symbols weren't asked for; none where all were."""
    if count:
        yield Batch(label, "bars", pd.DataFrame(), "", current=count)


def together(batches: Sequence[Batch]) -> Iterator[Batch]:
    """The few rows of many series as one batch, stored and checked at once; all are of one label, source and universe."""
    if batches:
        dropped = sum((Counter(batch.dropped) for batch in batches), Counter[str]())
        yield replace(batches[0], frame=pd.concat([batch.frame for batch in batches], ignore_index=True), dropped=dropped)


@dataclass(frozen=True)
class Skipped:
    """One series a provider could not deliver; the others go on. `gone`: a whole service, which delivered nothing."""

    label: str
    reason: str
    gone: bool = False


Deliveries = Iterator[Batch | Skipped]
