"""What became of the forecasts in the ledger: outcomes recorded once they are known, and the running scores."""

import json
from collections.abc import Hashable, Iterable, Mapping
from dataclasses import asdict
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pandas as pd

from altrally.ledger import BACKTEST, IN_SAMPLE, LIVE, OUTCOME, SCORE, Ledger, Line, canonical
from altrally.live_evidence import live_rows
from core.arrays import Floats
from core.errors import BadInput
from core.target import target_from_summary
from evaluation.bootstrap import COVERAGE, DRAWS, block_starts, block_sums
from evaluation.reliability import reliability_bins
from evaluation.scores import brier_losses, brier_score, log_score
from features.targets import load_target_index
from sources.series import COIN_PRICE
from sources.store import Store
from training.dataset import Outcomes, index_outcomes

READ_BEFORE = pd.Timedelta(days=400)
"""How far before a forecast the index is read: the ranking reaches back 124 days, further where a source failed for months."""

LEAST_WINDOWS = 12
WIDENING = 2.0
"""Limits of an interval move this much further from the estimate. Measured by `python benchmarks/short_records.py` (seed 3, 400
records each): from 12 windows on doubled limits cover 94.8 % or more at every horizon, plain ones 70 to 87 %; of 8 windows of
30 days even doubled ones cover 89 %."""

SEED = 7
EVENT = {"as_of": "datetime64[us]", "market": "str", "target": "str", "outcome": "str", "threshold": "float64", "horizon": "int64"}
ISSUED = {
    "line": "int64",
    "issued_at": "datetime64[us]",
    "record": "str",
    "snapshot": "str",
    "model": "str",
    "version": "str",
    "run_id": "str",
    **EVENT,
    **dict.fromkeys(("probability", "low", "high", "base_rate"), "float64"),
}
CAME = {**EVENT, "event": "float64", "known": "datetime64[us]"}


def forecasts(lines: Iterable[Line]) -> pd.DataFrame:
    """Every forecast with its outcome, a row a line and horizon (days), oldest first: the columns of `ISSUED`, and

    judged: the first forecast issued for a day in its record (live, backtest, in_sample), the only one that counts;
    event: 0, 1 or NaN while it isn't resolved; known: the day it was known.
    """
    issued: list[dict[str, Any]] = []
    came: list[dict[str, Any]] = []
    for line in lines:
        if line.kind in (SCORE, OUTCOME):
            (issued if line.kind == SCORE else came).extend(rows_of(line))
    table = pd.DataFrame(issued, columns=list(ISSUED)).astype(ISSUED)
    table["judged"] = ~table.duplicated(["record", *EVENT]) & (table["record"] != IN_SAMPLE)
    return table.merge(pd.DataFrame(came, columns=list(CAME)).astype(CAME), on=list(EVENT), how="left")


def rows_of(line: Line) -> list[dict[str, Any]]:
    """One row a horizon of a forecast, one of an outcome."""
    body = line.body
    event = {"as_of": line.as_of, "market": body["market"], "outcome": body["outcome"]["kind"]}
    event["threshold"] = float(body["outcome"]["threshold"])
    event["target"] = canonical(body["outcome"].get("target", {}))
    if line.kind == OUTCOME:
        return [event | {"horizon": body["days"], "event": float(body["event"]), "known": pd.Timestamp(body["known"])}]
    model = body["model"]
    about = event | {
        "line": line.number,
        "issued_at": pd.Timestamp(body["issued_at"]).tz_localize(None),
        "record": line.record,
        "snapshot": body["snapshot"],
        "model": model["name"],
        "version": model["version"],
        "run_id": model["run_id"],
    }
    return [about | {"horizon": row["days"], **{name: row[name] for name in row if name != "days"}} for row in body["horizons"]]


class Resolved(NamedTuple):
    """How many outcomes were recorded, and the first line that may hold a forecast without one."""

    new: int
    open_from: int


def resolve(ledger: Ledger, store: Store, *, until: pd.Timestamp, now: pd.Timestamp, since: int = 1) -> Resolved:
    """Record every outcome known by the end of `until` that isn't recorded yet, of forecasts of this market in lines from `since`.

    The index is read as known by then. What was recorded before stays, whatever the data say now.
    """
    following = ledger.head().lines + 1  # before reading: a line added meanwhile is left to the next look
    table = forecasts(ledger.lines(since))
    waiting = table[table["event"].isna() & (table["market"] == store.market)]
    due = overdue(waiting, until)
    told_before = [index for index, row in due.iterrows() if ledger.recorded(event_of(row.to_dict()))]  # in a line before `since`
    waiting, due = waiting.drop(told_before), due.drop(told_before)
    open_from = following if waiting.empty else int(waiting["line"].min())
    return Resolved(record_outcomes(ledger, store, due, until, now), open_from)


def record_outcomes(ledger: Ledger, store: Store, due: pd.DataFrame, until: pd.Timestamp, now: pd.Timestamp) -> int:
    """Record the outcomes of rows of `forecasts` that are `due`; returns how many are known."""
    if due.empty:
        return 0
    snapshot = store.snapshot(until)
    came: list[dict[str, Any]] = []
    for _, rows in due.drop_duplicates(list(EVENT)).groupby(["target", "outcome", "threshold"]):
        target = target_from_summary(outcome_of(rows.iloc[0].to_dict()), sorted({*rows["horizon"]}))
        level = load_target_index(store, until, target, rows["as_of"].min() - READ_BEFORE).level
        made = index_outcomes(store, level, pd.DatetimeIndex(rows["as_of"].unique()), target, until)
        came += [{**said, "snapshot": snapshot} for row in rows.to_dict("records") if (said := what_came(made, row))]
    return sum(entry.new for entry in ledger.append_outcomes(came, now))


def outcome_of(row: Mapping[Hashable, Any]) -> dict[str, Any]:
    """The outcome of a row of `forecasts` as its line carries it."""
    asked: dict[str, Any] = {"kind": row["outcome"], "threshold": row["threshold"]}
    target = json.loads(row["target"])
    return {**asked, "target": target} if target else asked


def what_came(made: Outcomes, row: Mapping[Hashable, Any]) -> dict[str, Any] | None:
    """The outcome of one forecast as the ledger holds it; None where the index is missing on a day it needs."""
    as_of, days = row["as_of"], row["horizon"]
    found: list[Any] = [frame.loc[as_of, days] for frame in (made.events, made.label_end, made.known)]
    event, label_end, known = found
    if pd.isna(event):
        return None
    dates = {"label_end": f"{label_end:%Y-%m-%d}", "known": f"{known:%Y-%m-%d}"}
    return {**event_of(row), **dates, "event": int(event)}


def event_of(row: Mapping[Hashable, Any]) -> dict[str, Any]:
    """What a row of `forecasts` speaks of, as the ledger names it."""
    day = f"{row['as_of']:%Y-%m-%d}"
    return {"as_of": day, "market": row["market"], "outcome": outcome_of(row), "days": int(row["horizon"])}


def overdue(table: pd.DataFrame, until: pd.Timestamp) -> pd.DataFrame:
    """Forecasts without an outcome whose horizon was over, and that known, by the end of `until`."""
    known = table["as_of"] + pd.to_timedelta(table["horizon"], unit="D") + COIN_PRICE.release_lag
    return table[table["event"].isna() & (known <= until)]


def track_record_summary(ledger: Ledger, market: str, until: pd.Timestamp) -> dict[str, Any]:
    """The track record as the command line tells it."""
    table, head = forecasts(ledger.lines()), ledger.verify()
    issued = table.drop_duplicates("line")
    counts = issued.loc[issued["judged"] | (issued["record"] == IN_SAMPLE), "record"].value_counts()
    return {
        "ledger": str(ledger.path),
        "as_of": f"{until:%Y-%m-%d}",
        "lines": head.lines,
        "head": head.hash,
        "forecasts": {record: int(counts.get(record, 0)) for record in (LIVE, BACKTEST, IN_SAMPLE)}
        | {"repeated": len(issued) - int(counts.sum())},
        "outcomes": sum(1 for _ in ledger.of_kinds(OUTCOME)),
        "records": records(table, until),
        "evidence": [asdict(row) for row in live_rows(ledger, market)],
    }


def publish(ledger: Ledger, file: Path) -> None:
    """Write every line as JSON: its hash, and the line that the hash covers together with the hash before."""
    try:
        with file.open("w", encoding="utf-8") as out:
            for line in ledger.lines():
                out.write(canonical({"hash": line.hash, "line": line.body}) + "\n")
    except OSError as error:
        raise BadInput(f"{file} can't be written: {error.strerror}.") from error


def records(table: pd.DataFrame, until: pd.Timestamp) -> list[dict[str, Any]]:
    """Running scores of the judged rows of `forecasts`: live before backtest, one dict an event and horizon; None, not NaN."""
    judged = table[table["judged"]]
    keys = ["record", "target", "outcome", "threshold", "horizon"]
    cases = judged[keys].drop_duplicates().sort_values(keys, ascending=[False, False, True, True, True]).to_dict("records")
    return [
        {
            "record": case["record"],
            "outcome": outcome_of(case),
            "horizon": case["horizon"],
            **horizon_scores(judged[(judged[keys] == pd.Series(case)).all(axis=1)], case["horizon"], until),
        }
        for case in cases
    ]


def horizon_scores(rows: pd.DataFrame, days: int, until: pd.Timestamp) -> dict[str, Any]:
    """Scores of one horizon: n resolved, how many are pending, and the base rate issued with each forecast beside them."""
    known = rows.dropna(subset=["event"]).sort_values("as_of")
    probability, event, base_rate = (known[name].to_numpy(dtype=np.float64) for name in ("probability", "event", "base_rate"))
    windows = apart(pd.DatetimeIndex(known["as_of"]), days)
    skill = against_base_rate(known, days) if windows >= LEAST_WINDOWS else [None, None, None]
    return {
        "n": len(known),
        "pending": int(rows["event"].isna().sum()),
        "overdue": len(overdue(rows, until)),
        "windows": windows,
        "event_rate": number(event.mean()) if len(known) else None,
        "base_rate": number(base_rate.mean()) if len(known) else None,
        "brier": number(brier_score(probability, event)),
        "base_rate_brier": number(brier_score(base_rate, event)),
        "log_score": number(log_score(probability, event)),
        "skill_base_rate": dict(zip(("value", "low", "high"), skill, strict=True)),
        "note": None if windows >= LEAST_WINDOWS else f"n too small: {windows} of {LEAST_WINDOWS} windows that don't overlap",
        "reliability": reliability(probability, event),
    }


def reliability(probability: Floats, event: Floats) -> list[dict[str, Any]]:
    """For each tenth of the scale that holds any: its lower edge, mean forecast, share of events, count."""
    bins = reliability_bins(probability, event)
    bins.insert(0, "low", bins.index.to_numpy().round(1))
    return [{str(name): value for name, value in row.items()} for row in bins.to_dict("records")]


def apart(as_of: pd.DatetimeIndex, days: int) -> int:
    """How many of the rising days `as_of` can be chosen with at least `days` between each and the next."""
    chosen, last = 0, None
    for day in as_of:
        if last is None or day - last >= pd.Timedelta(days=days):
            chosen, last = chosen + 1, day
    return chosen


def against_base_rate(known: pd.DataFrame, days: int) -> list[float | None]:
    """1 − Brier score / Brier score of the base rate issued with each forecast, and its 95 % limits.

    Calendar days are drawn in circular blocks as long as the horizon, days without a forecast among them and counting for nothing.
    """
    calendar = pd.date_range(known["as_of"].iloc[0], known["as_of"].iloc[-1])
    place, event = calendar.get_indexer(pd.Index(known["as_of"])), known["event"].to_numpy()
    mine, base = np.zeros(len(calendar)), np.zeros(len(calendar))
    mine[place] = brier_losses(known["probability"].to_numpy(), event)
    base[place] = brier_losses(known["base_rate"].to_numpy(), event)
    starts = block_starts(len(calendar), days, DRAWS, np.random.default_rng(SEED))
    with np.errstate(invalid="ignore", divide="ignore"):
        drawn = 1 - block_sums(mine, starts, days) / block_sums(base, starts, days)
        value = 1 - mine.sum() / base.sum()
    low, high = (float(limit) for limit in np.quantile(drawn, [(1 - COVERAGE) / 2, (1 + COVERAGE) / 2]))
    return [number(value), number(value + WIDENING * (low - value)), number(value + WIDENING * (high - value))]


def number(value: float) -> float | None:
    """A plain number; None where it can't be had."""
    return float(value) if np.isfinite(value) else None
