"""The ledger: one line per forecast issued and per outcome, in a hash chain, so that any change is found."""

import hashlib
import json
import sqlite3
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import closing, contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING, Any, NamedTuple, Self

import pandas as pd

from altrally.ledger_chain import (
    BEGINNING,
    LOCK_SECONDS,
    Head,
    broken,
    canonical,
    chained,
    clear_errors,
    head_file,
    ledger_lock,
    read_head,
    require_continued,
    write_head,
)
from core.errors import LedgerBroken, StoreUnusable
from core.files import append_missing_lines, set_aside, text_copy, text_copy_lines, unfinished_path
from core.home import read_only
from core.target import ALTCOINS, Target

if TYPE_CHECKING:
    from altrally.forecast import Score

SCORE, OUTCOME, SHADOW, REGISTRATION, WEEK = "score", "outcome", "shadow", "registration", "week"
NO_FORECAST = "No forecast has been issued in this home yet. Run `altrally score` first."
LIVE, BACKTEST, IN_SAMPLE = "live", "backtest", "in_sample"
LIVE_WITHIN = pd.Timedelta(days=3)
"""A forecast is live only if issued within this of the end of its day (STATISTICS 1)."""

TIME_FIELDS = ("line", "issued_at", "resolved_at")
"""Fields by which the same forecast may differ when it is recorded again."""

IDENTITY_FIELDS: Mapping[str, tuple[str, ...]] = {OUTCOME: ("days",), SHADOW: (), REGISTRATION: ("configuration",), WEEK: ()}
"""Lines of these kinds are recorded once per day, market, outcome and these fields; the first one stands."""

TABLES = (
    "CREATE TABLE lines (number INTEGER PRIMARY KEY, key TEXT NOT NULL UNIQUE, body TEXT NOT NULL, hash TEXT NOT NULL) STRICT",
    "CREATE TRIGGER never_changed BEFORE UPDATE ON lines BEGIN SELECT RAISE(ABORT, 'a line of the ledger is never changed'); END",
    "CREATE TRIGGER never_removed BEFORE DELETE ON lines BEGIN SELECT RAISE(ABORT, 'a line of the ledger is never removed'); END",
    "CREATE TRIGGER never_replaced BEFORE INSERT ON lines WHEN NEW.number <> (SELECT coalesce(max(number), 0) + 1 FROM lines) "
    "OR EXISTS (SELECT 1 FROM lines WHERE key = NEW.key) BEGIN SELECT RAISE(ABORT, 'a line of the ledger follows the last'); END",
)
"""INSERT OR REPLACE removes a line without firing the trigger on DELETE; the third trigger forbids that."""


RAW_LINES = """
SELECT number, CAST(body AS BLOB), CAST(hash AS BLOB),
    CASE WHEN json_valid(body) THEN (body ->> 'line') IS number AND (body ->> 'key') IS key ELSE 0 END
FROM lines ORDER BY number
"""
"""Bodies and hashes as bytes, because a damaged one may not be text, and whether number and key are those in the body."""


class Entry(NamedTuple):
    """The number of the line that holds a record; `new` is False where it was recorded before and nothing was added."""

    number: int
    new: bool


@dataclass(frozen=True)
class Line:
    """One line as stored; its hash covers `body` and the hash of the line before."""

    number: int
    body: dict[str, Any]
    hash: str

    @property
    def kind(self) -> str:
        """'score', 'outcome', 'shadow' (forecasts of other models, not shown), 'registration' or 'week' (return of a week)."""
        return str(self.body["kind"])

    @property
    def as_of(self) -> pd.Timestamp:
        """The day at whose end the forecast stands."""
        return pd.Timestamp(self.body["as_of"])

    def is_of(self, target: Target) -> bool:
        """Whether the line is about the market of a target; outcome, threshold and horizons may differ."""
        return bool(self.body["outcome"].get("target") == target.summary.get("target"))

    @property
    def is_question(self) -> bool:
        """Whether a score answers another rise or horizon than the champion's own."""
        return bool(self.body.get("question"))

    @property
    def record(self) -> str:
        """Of a score or a shadow: 'live', 'backtest' (issued long after its day) or 'in_sample' (the model knew the outcome)."""
        if self.body.get("in_sample"):
            return IN_SAMPLE
        return LIVE if is_live(self.as_of, pd.Timestamp(self.body["issued_at"]).tz_localize(None)) else BACKTEST


class Ledger:
    """One home's ledger, an SQLite file that refuses to change or remove a line. Use as a context manager.

    Its head is kept in a second file, so that lines cut off its end are noticed. A line is acknowledged once it is on the disk.
    Raises StoreUnusable where it can't be read or written, LedgerBroken where it isn't what was written.
    """

    def __init__(self, path: Path, connection: sqlite3.Connection) -> None:
        self.path = path
        self._connection = connection

    @classmethod
    def open(cls, path: Path) -> Self:
        """Open the ledger at `path`, an empty one where there is none. The folder must exist."""
        with clear_errors(path), ledger_lock(path):
            connection = sqlite3.connect(path, isolation_level=None, timeout=LOCK_SECONDS)
            ledger = cls(path, connection)
            try:
                ledger._prepare()
            except BaseException:
                ledger.close()
                raise
        return ledger

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        self.close()

    def close(self) -> None:
        """Close the file."""
        self._connection.close()

    def append_score(
        self, score: "Score", *, inputs: Mapping[str, float | None], issued_at: pd.Timestamp, code_version: str
    ) -> Entry:
        """Record a forecast as issued at `issued_at` (UTC), with the inputs its model read.

        The same forecast again (same day, snapshot, model, code and answer) adds nothing.
        """
        body = {
            "kind": SCORE,
            "issued_at": moment(issued_at),
            "code_version": code_version,
            "skill_shown": score.skill["shown"],
            "grade": score.skill.get("evidence", {}).get("grade"),
            "inputs": dict(inputs),
            "horizons": [asdict(horizon) for horizon in score.horizons],
            "drivers": [asdict(driver) for driver in score.drivers],
            **{name: getattr(score, name) for name in ("as_of", "market", "snapshot", "model", "outcome", "neutral", "in_sample")},
            **({"configuration": score.configuration} if score.configuration else {}),
            **({"edge": asdict(score.edge)} if score.edge else {}),
            **({"question": True} if score.question else {}),
        }
        return self._append([body])[0]

    def append_shadows(self, shadows: Mapping[str, Any], issued_at: pd.Timestamp) -> Entry:
        """Record the forecasts of other models for a day: as_of, market, snapshot, outcome, horizons, models. One line per day."""
        return self._append([{"kind": SHADOW, "issued_at": moment(issued_at), **shadows}])[0]

    def append_registration(self, registration: Mapping[str, Any], issued_at: pd.Timestamp) -> Entry:
        """Record the day from which a configuration gathers evidence: configuration, model, as_of, market, outcome."""
        return self._append([{"kind": REGISTRATION, "issued_at": moment(issued_at), **registration}])[0]

    def append_weeks(self, weeks: Sequence[Mapping[str, Any]], resolved_at: pd.Timestamp) -> list[Entry]:
        """Record closes at both ends of weeks: as_of (day of the first close), end, closes, market, outcome, snapshot."""
        return self._append([{"kind": WEEK, "resolved_at": moment(resolved_at), **week} for week in weeks])

    def append_outcomes(self, outcomes: Sequence[Mapping[str, Any]], resolved_at: pd.Timestamp) -> list[Entry]:
        """Record outcomes of forecasts: as_of, market, outcome, days, event, label_end, known, snapshot.

        The first outcome of a day, event and horizon stands; a second one adds nothing, whatever it says.
        """
        return self._append([{"kind": OUTCOME, "resolved_at": moment(resolved_at), **outcome} for outcome in outcomes])

    def of_kinds(self, *kinds: str) -> Iterator[Line]:
        """The lines of some kinds, oldest first."""
        return self._lines(f"WHERE body ->> 'kind' IN ({', '.join('?' * len(kinds))}) ORDER BY number", *kinds)

    def lines(self, since: int = 1) -> Iterator[Line]:
        """The lines from number `since` on, oldest first."""
        return self._lines("WHERE number >= ? ORDER BY number", since)

    def head(self) -> Head:
        """Number and hash of the last line, not verified."""
        row = self._connection.execute("SELECT number, hash FROM lines ORDER BY number DESC LIMIT 1").fetchone()
        return Head(*row) if row else Head(0, BEGINNING)

    def last_live(self, before: pd.Timestamp | None = None, target: Target = ALTCOINS) -> Line | None:
        """The newest live forecast of a target, for a day before `before` if given; None where there is none."""
        live = (line for line in self._lines("ORDER BY number DESC") if line.kind == SCORE and line.record == LIVE)
        of_target = (line for line in live if line.is_of(target) and not line.is_question)
        return next((line for line in of_target if before is None or line.as_of < before), None)

    def forecast_of(self, as_of: pd.Timestamp, target: Target = ALTCOINS) -> Line | None:
        """The forecast of a target for a day that counts: the first one not in sample; None where there is none."""
        scores = (line for line in self._lines_of_day(as_of) if line.kind == SCORE and not line.is_question)
        return next((line for line in scores if line.record != IN_SAMPLE and line.is_of(target)), None)

    def has_shadows(self, as_of: pd.Timestamp, target: Target = ALTCOINS) -> bool:
        """Whether the other models' forecasts of a day are recorded."""
        return any(line.kind == SHADOW and line.is_of(target) for line in self._lines_of_day(as_of))

    def has_outcome(self, outcome: Mapping[str, Any]) -> bool:
        """Whether an outcome of this as_of, market, outcome and days is recorded."""
        key = identity({"kind": OUTCOME, **outcome})
        return self._connection.execute("SELECT 1 FROM lines WHERE key = ?", (key,)).fetchone() is not None

    def verify(self) -> Head:
        """Check the chain from the first line to the last. Raises LedgerBroken, naming the first line that isn't as written."""
        with clear_errors(self.path):
            head, last = read_head(self.path), Head(0, BEGINNING)
            for number, body, digest, filed in self._connection.cursor().execute(RAW_LINES):
                why = flaw(last, number, body, digest, filed)
                if why:
                    raise broken(self.path, f"line {last.lines + 1} {why}")
                last = Head(number, digest.decode())
                if number == head.lines and last != head:
                    raise broken(self.path, f"line {number} isn't the one its head record names")
            if last.lines < head.lines:
                raise broken(self.path, f"line {last.lines + 1} is missing, as is all to line {head.lines}")
            self._require_sound()
        return last

    def verify_mirror(self) -> None:
        """Raise StoreUnusable where the text copy of the ledger exists and doesn't hold its lines."""
        with clear_errors(self.path):
            if text_copy(self.path).exists() and list(text_copy_lines(self.path)) != self._bodies_after(0):
                raise StoreUnusable("it doesn't hold the lines of the ledger")

    def write_mirror(self) -> None:
        """Write the text copy again from the lines; the former one is kept beside it."""
        with clear_errors(self.path), ledger_lock(self.path):
            set_aside(text_copy(self.path))
            append_missing_lines(self.path, self._bodies_after)

    def _require_sound(self) -> None:
        """Raise LedgerBroken where a trigger that forbids changes is missing, or SQLite finds the file damaged."""
        tables = {sql for (sql,) in self._connection.execute("SELECT sql FROM sqlite_schema WHERE sql IS NOT NULL")}
        if tables != set(TABLES):
            raise broken(self.path, "its guards against change are gone")
        verdict = self._connection.execute("PRAGMA integrity_check(1)").fetchone()[0]
        if verdict != "ok":
            raise broken(self.path, f"SQLite finds {verdict}")

    def _append(self, bodies: Sequence[Mapping[str, Any]]) -> list[Entry]:
        """Append lines, all or none; they and the head are on the disk when this returns."""
        with clear_errors(self.path), ledger_lock(self.path):
            head, last = read_head(self.path), self.head()
            require_continued(self.path, head, last, self._hash_of(head.lines))
            with self._transaction():
                entries = [self._append_unless_recorded(body) for body in bodies]
            if self.head() != head:
                write_head(self.path, self.head())
            append_missing_lines(self.path, self._bodies_after)  # always: after a kill the text copy may lack lines
        return entries

    def _append_unless_recorded(self, body: Mapping[str, Any]) -> Entry:
        key = identity(body)
        row = self._connection.execute("SELECT number FROM lines WHERE key = ?", (key,)).fetchone()
        if row:
            return Entry(row[0], new=False)
        return self._insert(key, canonical({**body, "key": key, "line": self.head().lines + 1}))

    def _insert(self, key: str, text: str) -> Entry:
        last = self.head()
        row = (last.lines + 1, key, text, chained(last.hash, text.encode()))
        self._connection.execute("INSERT INTO lines VALUES (?, ?, ?, ?)", row)
        return Entry(row[0], new=True)

    def _hash_of(self, number: int) -> str | None:
        """The hash of a line; None where there is no such line."""
        row = self._connection.execute("SELECT hash FROM lines WHERE number = ?", (number,)).fetchone()
        return BEGINNING if number == 0 else row and str(row[0])

    def _bodies_after(self, number: int) -> list[str]:
        rows = self._connection.execute("SELECT body FROM lines WHERE number > ? ORDER BY number", (number,))
        return [text for (text,) in rows]

    def _lines_of_day(self, as_of: pd.Timestamp) -> Iterator[Line]:
        lines = self._lines("WHERE instr(body, ?) ORDER BY number", f'"as_of":"{as_of:%Y-%m-%d}"')
        return (line for line in lines if line.as_of == as_of)

    def _lines(self, clause: str, *values: object) -> Iterator[Line]:
        with clear_errors(self.path):
            for number, body, digest in self._connection.cursor().execute(f"SELECT number, body, hash FROM lines {clause}", values):
                yield Line(number, json.loads(body), digest)

    def _prepare(self) -> None:
        """Create the tables of a new ledger, after its head: a ledger with lines and no head counts as broken."""
        self._connection.execute("PRAGMA synchronous = FULL")
        if not self._connection.execute("SELECT 1 FROM sqlite_schema LIMIT 1").fetchone():
            if not head_file(self.path).exists():
                write_head(self.path, Head(0, BEGINNING))
            self._create()

    def _create(self, texts: Iterable[str] = ()) -> None:
        """Create the tables, and the lines whose canonical JSON is given."""
        self._connection.execute("PRAGMA journal_mode = WAL")
        with self._transaction():
            for table in TABLES:
                self._connection.execute(table)
            for text in texts:
                self._insert(json.loads(text)["key"], text)

    @contextmanager
    def _transaction(self) -> Iterator[None]:
        """Commit all changes or none, also when the process is killed."""
        self._connection.execute("BEGIN IMMEDIATE")
        try:
            yield
            self._connection.execute("COMMIT")
        except BaseException:
            if self._connection.in_transaction:
                self._connection.execute("ROLLBACK")
            raise


def is_live(as_of: pd.Timestamp, issued_at: pd.Timestamp) -> bool:
    """Whether a forecast for a day was issued within three days of its end (moments in UTC)."""
    return issued_at <= as_of + pd.Timedelta(days=1) + LIVE_WITHIN


def identity(body: Mapping[str, Any]) -> str:
    """The key of a line, SHA-256 in hex: of a forecast all fields but its times, of other kinds their `IDENTITY_FIELDS`."""
    if body["kind"] in IDENTITY_FIELDS:
        fields = {name: body[name] for name in ("kind", "as_of", "market", "outcome", *IDENTITY_FIELDS[body["kind"]])}
    else:
        fields = {name: value for name, value in body.items() if name not in TIME_FIELDS}
    return hashlib.sha256(canonical(fields).encode()).hexdigest()


def flaw(last: Head, number: int, body: bytes, digest: bytes, filed: int) -> str | None:
    """What is wrong with the line after `last`, None if it is as it was written."""
    if number != last.lines + 1:
        return "is missing"
    if digest != chained(last.hash, body).encode():
        return "isn't what was written"
    return None if filed else "isn't filed as it was written"


def moment(when: pd.Timestamp) -> str:
    """A UTC moment as text, to the second."""
    return f"{when:%Y-%m-%dT%H:%M:%SZ}"


def rebuild(path: Path) -> Head:
    """Write a ledger again from its text copy, and its head if that is damaged; returns the new head.

    Raises LedgerBroken where the text copy lacks the last line that the head names, or the database where the head is gone.
    """
    unfinished = unfinished_path(path)
    with clear_errors(path), ledger_lock(path):
        try:
            required = read_head(path)
        except LedgerBroken:
            with closing(sqlite3.connect(read_only(path), uri=True)) as connection:
                required = Ledger(path, connection).head()
        with closing(sqlite3.connect(unfinished, isolation_level=None)) as connection:
            ledger = Ledger(unfinished, connection)
            ledger._create(text_copy_lines(path))
            last, copied_hash = ledger.head(), ledger._hash_of(required.lines)
        if copied_hash != required.hash:
            raise broken(path, f"its mirror doesn't hold line {required.lines} either")
        set_aside(path)
        unfinished.replace(path)
        write_head(path, last)
    return last
