"""Bring a provider's batches into the store. It may be repeated and interrupted without harm."""

from collections import Counter
from dataclasses import dataclass
from itertools import chain
from pathlib import Path
from typing import NamedTuple

import pandas as pd

from sources.batches import Batch, Deliveries, Skipped, rows_left_out
from sources.errors import BadInput, FetchFailed
from sources.progress import Progress
from sources.providers import provider_named
from sources.rewritten import rewritten, told
from sources.schemas import check_batch
from sources.store import Store
from sources.target import ALTCOINS, Leader, Target


class FetchLine(NamedTuple):
    """What came under one label: rows that were kept (received), those of them that were new, and what was left out, by reason."""

    label: str
    received: int
    new: int
    dropped: dict[str, int]

    @property
    def left_out(self) -> dict[str, int]:
        """Rows that were left out, by reason."""
        return rows_left_out(self.dropped)

    @property
    def came(self) -> int:
        """Rows that came: those kept and those left out."""
        return self.received + sum(self.left_out.values())

    @property
    def made_missing(self) -> dict[str, int]:
        """Cells made missing in rows that were kept, by reason."""
        return {reason: count for reason, count in self.dropped.items() if reason not in self.left_out}


@dataclass(frozen=True)
class FetchReport:
    """Everything one fetch did; `warnings` tell what it could not do, in words for the user."""

    lines: list[FetchLine]
    warnings: list[str]


def fetch(
    store: Store,
    provider: str,
    *,
    path: Path | None = None,
    today: pd.Timestamp,
    progress: Progress,
    target: Target = ALTCOINS,
) -> FetchReport:
    """Store all that `provider` delivers, batch by batch, each in one transaction.

    `target` may need tickers of its own. `today` is the running UTC moment: the day on which restated values become known.
    `progress(label, done, total)` counts batches; total is 0 where unknown. Raises `FetchFailed` if nothing at all arrived, and
    what the provider raises.
    """
    deliver = provider_named(provider)
    if path is not None and provider != "files":
        raise BadInput(f"--path names the folder of --provider files; {provider!r} reads none.")
    store.refuse_other_market(provider)
    lines: dict[str, FetchLine] = {}
    warnings: list[str] = []
    done: Counter[str] = Counter()
    asked = deliver(store, path=path, today=today, progress=progress)
    for delivery in chain(asked, leader_bars(store, provider, target, today, progress)):
        if isinstance(delivery, Skipped):
            warnings.append(f"{delivery.label}: {delivery.reason}")
            continue
        line, reclassified = _store(store, provider, delivery, today)
        lines[delivery.label] = _added(lines.get(delivery.label), line)
        warnings += reclassified
        done[delivery.label] += 1
        progress(delivery.label, done[delivery.label], delivery.of)
    if not any(line.received for line in lines.values()):
        raise FetchFailed(f"{provider!r} delivered nothing. " + (" ".join(warnings[:3]) or "Check the network and try again."))
    warnings += told(rewritten(store, today.normalize(), fetched_at=today))
    return FetchReport(list(lines.values()), warnings)


def leader_bars(store: Store, provider: str, target: Target, today: pd.Timestamp, progress: Progress) -> Deliveries:
    """Bars of a leader of its own, which the live provider wouldn't bring by itself; others bring all they have."""
    if provider != "live" or target.leader == Leader():
        return iter(())
    from sources.live import funds_named

    return funds_named(store, (target.leader.index, target.leader.fund), today=today, progress=progress)


def _store(store: Store, provider: str, batch: Batch, today: pd.Timestamp) -> tuple[FetchLine, list[str]]:
    check_batch(batch)
    if not batch.frame.empty:
        store.claim_market(provider)
    moved = [f"{batch.label}: {note}" for note in batch.notes] + _reclassified(store, batch)
    return FetchLine(batch.label, len(batch.frame), store.append(batch, today), dict(batch.dropped)), moved


def _added(so_far: FetchLine | None, line: FetchLine) -> FetchLine:
    if so_far is None:
        return line
    dropped = dict(Counter(so_far.dropped) + Counter(line.dropped))
    return FetchLine(line.label, so_far.received + line.received, so_far.new + line.new, dropped)


def _reclassified(store: Store, batch: Batch) -> list[str]:
    """A symbol keeps the class it was first stored with; say so where a provider now calls it otherwise."""
    if batch.universe is None or "asset_class" not in batch.frame:
        return []
    stored = store.asset_classes(batch.universe)
    said = batch.frame.drop_duplicates("symbol")[["symbol", "asset_class"]].astype("str").itertuples(index=False)
    moved = [symbol for symbol, asset_class in said if stored.get(symbol, asset_class) != asset_class]
    return [f"{batch.label}: {len(moved)} symbols keep their first class, among them {moved[0]}"] if moved else []
