"""The track record: outcomes of forecasts in the ledger, recorded once they are known, and the running scores."""

import json
from collections.abc import Hashable, Iterable, Mapping
from dataclasses import asdict
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pandas as pd

from altrally.ledger import BACKTEST, IN_SAMPLE, LIVE, OUTCOME, SCORE, Ledger, Line
from altrally.ledger_chain import canonical
from altrally.live_evidence import live_rows
from core.errors import BadInput
from core.target import target_from_summary
from evaluation.bootstrap import COVERAGE, DRAWS, block_starts, block_sums
from evaluation.reliability import reliability_bins
from evaluation.scores import brier_losses, brier_score, log_score
from features.targets import load_target_index
from sources.series import COIN_PRICE
from sources.store import Store
from training.dataset import index_outcomes

READ_BEFORE = pd.Timedelta(days=400)
"""How far before a forecast the index is read: the ranking reaches back 124 days, further where a source failed for months."""

LEAST_WINDOWS = 12
WIDENING = 2.0
"""Limits of an interval move this much further from the estimate. Measured by `python benchmarks/short_records.py` (seed 3, 400
records each): from 12 windows on doubled limits cover 94.8 % or more at every horizon, plain ones 70 to 87 %; of 8 windows of
30 days even doubled ones cover 89 %."""

SEED = 7
EVENT_COLUMNS = {
    "as_of": "datetime64[us]",
    "market": "str",
    "target": "str",
    "outcome": "str",
    "threshold": "float64",
    "horizon": "int64",
}
FORECAST_COLUMNS = {
    "line": "int64",
    "issued_at": "datetime64[us]",
    "record": "str",
    "snapshot": "str",
    "model": "str",
    "version": "str",
    "run_id": "str",
    **EVENT_COLUMNS,
    **dict.fromkeys(("probability", "low", "high", "base_rate"), "float64"),
}
OUTCOME_COLUMNS = {**EVENT_COLUMNS, "event": "float64", "known": "datetime64[us]"}


def forecasts(lines: Iterable[Line]) -> pd.DataFrame:
    """Every forecast with its outcome, one row per line and horizon (days), oldest first: `FORECAST_COLUMNS` and

    judged: whether it is the first forecast issued for a day in its record (live or backtest); only that one counts;
    event: 0, 1 or NaN while it isn't resolved; known: the day from which the outcome was known.
    """
    issued: list[dict[str, Any]] = []
    outcomes: list[dict[str, Any]] = []
    for line in lines:
        if line.kind in (SCORE, OUTCOME):
            (issued if line.kind == SCORE else outcomes).extend(rows_from_line(line))
    table = pd.DataFrame(issued, columns=list(FORECAST_COLUMNS)).astype(FORECAST_COLUMNS)
    table["judged"] = ~table.duplicated(["record", *EVENT_COLUMNS]) & (table["record"] != IN_SAMPLE)
    resolved = pd.DataFrame(outcomes, columns=list(OUTCOME_COLUMNS)).astype(OUTCOME_COLUMNS)
    return table.merge(resolved, on=list(EVENT_COLUMNS), how="left")


def rows_from_line(line: Line) -> list[dict[str, Any]]:
    """One row per horizon of a line with a forecast; one row of a line with an outcome."""
    body = line.body
    event = {"as_of": line.as_of, "market": body["market"], "outcome": body["outcome"]["kind"]}
    event["threshold"] = float(body["outcome"]["threshold"])
    event["target"] = canonical(body["outcome"].get("target", {}))
    if line.kind == OUTCOME:
        return [event | {"horizon": body["days"], "event": float(body["event"]), "known": pd.Timestamp(body["known"])}]
    model = body["model"]
    forecast = event | {
        "line": line.number,
        "issued_at": pd.Timestamp(body["issued_at"]).tz_localize(None),
        "record": line.record,
        "snapshot": body["snapshot"],
        "model": model["name"],
        "version": model["version"],
        "run_id": model["run_id"],
    }
    return [forecast | {"horizon": row["days"], **{name: row[name] for name in row if name != "days"}} for row in body["horizons"]]


class Resolved(NamedTuple):
    """The number of outcomes recorded, and the number of the first line that may hold a forecast without one."""

    new: int
    open_from: int


def resolve(ledger: Ledger, store: Store, *, until: pd.Timestamp, now: pd.Timestamp, since: int = 1) -> Resolved:
    """Record every outcome known by the end of `until` that isn't recorded yet, of forecasts of this market in lines from `since`.

    The index is read as known by then. Outcomes recorded before stay, whatever the data say now.
    """
    next_line = ledger.head().lines + 1  # before reading: a line added meanwhile is left to the next call
    table = forecasts(ledger.lines(since))
    unresolved = table[table["event"].isna() & (table["market"] == store.market)]
    due = overdue(unresolved, until)
    recorded = [index for index, row in due.iterrows() if ledger.has_outcome(event_of(row.to_dict()))]  # in a line before `since`
    unresolved, due = unresolved.drop(recorded), due.drop(recorded)
    open_from = next_line if unresolved.empty else int(unresolved["line"].min())
    return Resolved(record_outcomes(ledger, store, due, until, now), open_from)


def record_outcomes(ledger: Ledger, store: Store, due: pd.DataFrame, until: pd.Timestamp, now: pd.Timestamp) -> int:
    """Record the outcomes of the rows `due` of `forecasts`; returns how many were new. An outcome without prices isn't recorded."""
    if due.empty:
        return 0
    snapshot = store.snapshot(until)
    resolved: list[dict[str, Any]] = []
    for _, rows in due.drop_duplicates(list(EVENT_COLUMNS)).groupby(["target", "outcome", "threshold"]):
        target = target_from_summary(outcome_of(rows.iloc[0].to_dict()), sorted({*rows["horizon"]}))
        level = load_target_index(store, until, target, rows["as_of"].min() - READ_BEFORE).level
        outcomes = index_outcomes(store, level, pd.DatetimeIndex(rows["as_of"].unique()), target, until)
        for row in rows.to_dict("records"):
            as_of, days = row["as_of"], row["horizon"]
            cells: list[Any] = [frame.loc[as_of, days] for frame in (outcomes.events, outcomes.label_end, outcomes.known)]
            event, label_end, known = cells
            if not pd.isna(event):
                dates = {"label_end": f"{label_end:%Y-%m-%d}", "known": f"{known:%Y-%m-%d}"}
                resolved.append({**event_of(row), **dates, "event": int(event), "snapshot": snapshot})
    return sum(entry.new for entry in ledger.append_outcomes(resolved, now))


def outcome_of(row: Mapping[Hashable, Any]) -> dict[str, Any]:
    """The outcome of a row of `forecasts` as a line of the ledger holds it: kind, threshold, target if it isn't the default."""
    outcome: dict[str, Any] = {"kind": row["outcome"], "threshold": row["threshold"]}
    target = json.loads(row["target"])
    return {**outcome, "target": target} if target else outcome


def event_of(row: Mapping[Hashable, Any]) -> dict[str, Any]:
    """The event of a row of `forecasts` as a line of the ledger holds it: as_of, market, outcome, days."""
    day = f"{row['as_of']:%Y-%m-%d}"
    return {"as_of": day, "market": row["market"], "outcome": outcome_of(row), "days": int(row["horizon"])}


def overdue(table: pd.DataFrame, until: pd.Timestamp) -> pd.DataFrame:
    """Rows of `forecasts` without an outcome whose horizon was over and whose last close was known by the end of `until`."""
    known = table["as_of"] + pd.to_timedelta(table["horizon"], unit="D") + COIN_PRICE.release_lag
    return table[table["event"].isna() & (known <= until)]


def track_record_summary(ledger: Ledger, market: str, until: pd.Timestamp) -> dict[str, Any]:
    """The dict that `ledger --json` prints."""
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
    """Write every line of the ledger as JSON with its hash. Raises BadInput where the file can't be written."""
    try:
        with file.open("w", encoding="utf-8") as out:
            for line in ledger.lines():
                out.write(canonical({"hash": line.hash, "line": line.body}) + "\n")
    except OSError as error:
        raise BadInput(f"{file} can't be written: {error.strerror}.") from error


def records(table: pd.DataFrame, until: pd.Timestamp) -> list[dict[str, Any]]:
    """Running scores of judged rows of `forecasts`, live before backtest, one dict per event and horizon; None instead of NaN."""
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
    windows = count_non_overlapping(pd.DatetimeIndex(known["as_of"]), days)
    skill = base_rate_skill(known, days) if windows >= LEAST_WINDOWS else [None, None, None]
    bins = reliability_bins(probability, event)  # a row for each tenth of the scale that holds any forecast
    bins.insert(0, "low", bins.index.to_numpy().round(1))
    return {
        "n": len(known),
        "pending": int(rows["event"].isna().sum()),
        "overdue": len(overdue(rows, until)),
        "windows": windows,
        "event_rate": finite_or_none(event.mean()) if len(known) else None,
        "base_rate": finite_or_none(base_rate.mean()) if len(known) else None,
        "brier": finite_or_none(brier_score(probability, event)),
        "base_rate_brier": finite_or_none(brier_score(base_rate, event)),
        "log_score": finite_or_none(log_score(probability, event)),
        "skill_base_rate": dict(zip(("value", "low", "high"), skill, strict=True)),
        "note": None if windows >= LEAST_WINDOWS else f"n too small: {windows} of {LEAST_WINDOWS} windows that don't overlap",
        "reliability": [{str(name): value for name, value in row.items()} for row in bins.to_dict("records")],
    }


def count_non_overlapping(as_of: pd.DatetimeIndex, days: int) -> int:
    """How many of the sorted days `as_of` can be chosen at least `days` apart from each other."""
    chosen, last = 0, None
    for day in as_of:
        if last is None or day - last >= pd.Timedelta(days=days):
            chosen, last = chosen + 1, day
    return chosen


def base_rate_skill(known: pd.DataFrame, days: int) -> list[float | None]:
    """1 − Brier score / Brier score of the base rate issued with each forecast, and its 95 % limits.

    Calendar days are drawn in circular blocks as long as the horizon, those without a forecast included, with a loss of 0.
    """
    calendar = pd.date_range(known["as_of"].iloc[0], known["as_of"].iloc[-1])
    position, event = calendar.get_indexer(pd.Index(known["as_of"])), known["event"].to_numpy()
    mine, base = np.zeros(len(calendar)), np.zeros(len(calendar))
    mine[position] = brier_losses(known["probability"].to_numpy(), event)
    base[position] = brier_losses(known["base_rate"].to_numpy(), event)
    starts = block_starts(len(calendar), days, DRAWS, np.random.default_rng(SEED))
    with np.errstate(invalid="ignore", divide="ignore"):
        drawn = 1 - block_sums(mine, starts, days) / block_sums(base, starts, days)
        value = 1 - mine.sum() / base.sum()
    low, high = (float(limit) for limit in np.quantile(drawn, [(1 - COVERAGE) / 2, (1 + COVERAGE) / 2]))
    return [
        finite_or_none(value),
        finite_or_none(value + WIDENING * (low - value)),
        finite_or_none(value + WIDENING * (high - value)),
    ]


def finite_or_none(value: float) -> float | None:
    """The value as a float; None where it is NaN or infinite."""
    return float(value) if np.isfinite(value) else None
