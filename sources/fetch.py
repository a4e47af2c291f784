"""The registry of providers, and the fetch of a provider's batches into the store. Safe to repeat and to interrupt."""

from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from importlib import import_module
from itertools import chain
from pathlib import Path
from typing import NamedTuple, Protocol

import pandas as pd

from core.errors import BadInput, FetchFailed, UnknownName
from core.notebook_view import NotebookView
from core.progress import Progress
from core.target import ALTCOINS, Leader, Target
from sources.anomalies import late_arrivals, rewriting_lines, rewritten
from sources.batches import Batch, Deliveries, Skipped, rows_left_out
from sources.membership import breadth_basis, stored_lists
from sources.quality import RECENT_COINS, coverage_by_month, refuse_earlier, warn_of_old_bars
from sources.schemas import ADVICE, check_batch
from sources.store import LAST_FETCH, Store, refuse_duplicates


class Provider(Protocol):
    """Hands out batches to be stored, and what it had to skip. `path` is the folder of `files`; `today` the running UTC day."""

    def __call__(self, store: Store, *, path: Path | None, today: pd.Timestamp, progress: Progress) -> Deliveries: ...


def batches_of(module: str) -> Provider:
    """The function `batches` of `module`, imported at its first call."""

    def provider(store: Store, *, path: Path | None, today: pd.Timestamp, progress: Progress) -> Deliveries:
        deliveries: Deliveries = import_module(module).batches(store, path=path, today=today, progress=progress)
        return deliveries

    return provider


PROVIDERS: dict[str, Provider] = {
    "live": batches_of("sources.live"),
    "files": batches_of("sources.files"),
    "simulated": batches_of("sources.simulated"),
}


def provider_named(name: str) -> Provider:
    """The provider called `name`. Raises `UnknownName`."""
    if name not in PROVIDERS:
        raise UnknownName("provider", name, PROVIDERS)
    return PROVIDERS[name]


class FetchLine(NamedTuple):
    """What came under one label: rows that were kept (received), those of them that were new, and what was left out, by reason.

    `current`: series or symbols that weren't asked for, because nothing of them can be new.
    """

    label: str
    received: int
    new: int
    dropped: dict[str, int]
    current: int = 0

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
class FetchReport(NotebookView):
    """Everything one fetch did; `warnings` tell what it could not do, in words for the user.

    `gone`: those of them that say that a whole service gave nothing. `coverage`: how much of the altcoin market has a price, in
    words; empty where that can't be told. `constituents`: what breadth rests on; empty in a home without a dated list.
    """

    lines: list[FetchLine]
    warnings: list[str]
    gone: list[str] = field(default_factory=list)
    coverage: str = ""
    constituents: str = ""

    @property
    def headline(self) -> str:
        """How much is new, and what the user should know."""
        return " ".join([f"{sum(line.new for line in self.lines):,} new rows.", *self.warnings, self.coverage]).strip()

    def frame(self) -> pd.DataFrame:
        """A row a label: rows that came, were left out, were kept and were new."""
        rows = [(line.label, line.came, sum(line.left_out.values()), line.received, line.new) for line in self.lines]
        return pd.DataFrame(rows, columns=["label", "came", "left_out", "kept", "new"])


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
    refuse_earlier(store, today)
    deliveries = deliver(store, path=path, today=today, progress=progress)
    try:
        report = _stored(store, provider, chain(deliveries, leader_bars(store, provider, target, today, progress)), today, progress)
    finally:
        if provider == "live" and store.market is not None:
            store.note(LAST_FETCH, str(today))
    if not any(line.received or line.current for line in report.lines):
        raise FetchFailed(
            f"{provider!r} delivered nothing. " + (" ".join(report.warnings[:3]) or "Check the network and try again.")
        )
    news = rewriting_lines(rewritten(store, today.normalize(), fetched_at=today))
    news += [late.words for late in late_arrivals(store, today.normalize(), fetched_at=today)]
    months = coverage_by_month(store, today, today - RECENT_COINS)[-1:] if provider == "live" else []
    listed = breadth_basis(store, today, today) if stored_lists(store) else ""
    covered = "".join(month.words for month in months)
    return replace(report, warnings=report.warnings + news, coverage=covered, constituents=listed)


def _stored(store: Store, provider: str, deliveries: Deliveries, today: pd.Timestamp, progress: Progress) -> FetchReport:
    """The report of a fetch that stores each batch on arrival."""
    lines: dict[str, FetchLine] = {}
    warnings: list[str] = []
    gone: list[str] = []
    done: Counter[str] = Counter()
    newest: pd.Timestamp | None = None
    for delivery in deliveries:
        if isinstance(delivery, Skipped):
            warnings.append(f"{delivery.label}: {delivery.reason}")
            gone += warnings[-1:] if delivery.gone else []
            continue
        if delivery.current:
            lines[delivery.label] = _added(lines.get(delivery.label), FetchLine(delivery.label, 0, 0, {}, delivery.current))
            continue
        if not delivery.daily:
            check_batch(delivery)
        for batch in _storable(delivery, warnings) if delivery.daily else (delivery,):
            line, reclassified = _store(store, provider, batch, today)
            lines[delivery.label] = _added(lines.get(delivery.label), line)
            warnings += reclassified
            bars = batch.frame["observed"] if batch.table == "bars" else pd.Series(dtype="datetime64[us]")
            newest = max(filter(pd.notna, (newest, bars.max())), default=None)
        done[delivery.label] += 1
        progress(delivery.label, done[delivery.label], delivery.of)
    asked_for_all = not any(line.current for line in lines.values())  # else only what ended long ago may have come
    warnings += warn_of_old_bars(newest, today) if provider == "live" and asked_for_all else ()
    return FetchReport(list(lines.values()), warnings, gone)


def _storable(batch: Batch, warnings: list[str]) -> Iterator[Batch]:
    """The storable part of a service's batch. A bad series alone is left out, with a warning."""
    code = "symbol" if batch.table == "bars" else "series"
    try:
        check_batch(batch)
        if not batch.frame.duplicated([code, "observed"]).any():
            yield batch
            return
    except BadInput:
        pass
    for name, rows in batch.frame.groupby(code, sort=False, observed=True):
        alone = replace(batch, frame=rows, dropped={})
        try:
            check_batch(alone)
            refuse_duplicates(alone)
        except BadInput as error:
            why = str(error).removesuffix(ADVICE).removeprefix(f"{batch.label}: ").strip().rstrip(".;")
            warnings.append(f"{name}: {batch.source} sent what can't be stored ({why}). It is left out and asked for again.")
        else:
            yield alone


def leader_bars(store: Store, provider: str, target: Target, today: pd.Timestamp, progress: Progress) -> Deliveries:
    """Bars of a leader of its own, which the live provider wouldn't bring by itself; others bring all they have."""
    if provider != "live" or target.leader == Leader():
        return iter(())
    from sources.live import funds_named

    return funds_named(store, (target.leader.index, target.leader.fund), today=today, progress=progress)


def _store(store: Store, provider: str, batch: Batch, today: pd.Timestamp) -> tuple[FetchLine, list[str]]:
    if not batch.frame.empty:
        store.claim_market(provider)
    moved = [f"{batch.label}: {note}" for note in batch.notes] + _reclassified(store, batch)
    return FetchLine(batch.label, len(batch.frame), store.append(batch, today), dict(batch.dropped)), moved


def _added(so_far: FetchLine | None, line: FetchLine) -> FetchLine:
    if so_far is None:
        return line
    dropped = dict(Counter(so_far.dropped) + Counter(line.dropped))
    return FetchLine(line.label, so_far.received + line.received, so_far.new + line.new, dropped, so_far.current + line.current)


def _reclassified(store: Store, batch: Batch) -> list[str]:
    """A note if a provider changed the class of symbols. A symbol keeps the class it was first stored with."""
    if batch.universe is None or "asset_class" not in batch.frame:
        return []
    stored = store.asset_classes(batch.universe)
    classes = batch.frame.drop_duplicates("symbol")[["symbol", "asset_class"]].astype("str").itertuples(index=False)
    moved = [symbol for symbol, asset_class in classes if stored.get(symbol, asset_class) != asset_class]
    return [f"{batch.label}: {len(moved)} symbols keep their first class, among them {moved[0]}"] if moved else []
