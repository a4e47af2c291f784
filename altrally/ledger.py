"""The ledger: every forecast issued and every outcome that came of it, one line each, chained so that no change goes unseen."""

import hashlib
import json
import os
import sqlite3
from collections.abc import Iterator, Mapping, Sequence
from contextlib import closing, contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING, Any, NamedTuple, Self

import pandas as pd
from filelock import FileLock, Timeout

from core.errors import InUse, LedgerBroken, StoreUnusable
from core.files import append_missing_lines, set_aside, text_copy, text_copy_lines, unfinished_path
from core.home import read_only
from core.target import ALTCOINS, Target

if TYPE_CHECKING:
    from altrally.forecast import Score

SCORE, OUTCOME, SHADOW, REGISTRATION, WEEK = "score", "outcome", "shadow", "registration", "week"
LIVE, BACKTEST, IN_SAMPLE = "live", "backtest", "in_sample"
LIVE_WITHIN = pd.Timedelta(days=3)
"""A forecast is live only if issued within this of the end of its day (STATISTICS 1)."""

BEGINNING = "0" * 64
LOCK_SECONDS = 30
SAYS_WHEN = ("line", "issued_at", "resolved_at")
SAID_ONCE: Mapping[str, tuple[str, ...]] = {OUTCOME: ("days",), SHADOW: (), REGISTRATION: ("configuration",), WEEK: ()}
"""Of a day, market and outcome each of these has one line, told apart by these fields; what was said first stands."""


TABLES = (
    "CREATE TABLE lines (number INTEGER PRIMARY KEY, key TEXT NOT NULL UNIQUE, body TEXT NOT NULL, hash TEXT NOT NULL) STRICT",
    "CREATE TRIGGER never_changed BEFORE UPDATE ON lines BEGIN SELECT RAISE(ABORT, 'a line of the ledger is never changed'); END",
    "CREATE TRIGGER never_removed BEFORE DELETE ON lines BEGIN SELECT RAISE(ABORT, 'a line of the ledger is never removed'); END",
    "CREATE TRIGGER never_replaced BEFORE INSERT ON lines WHEN NEW.number <> (SELECT coalesce(max(number), 0) + 1 FROM lines) "
    "OR EXISTS (SELECT 1 FROM lines WHERE key = NEW.key) BEGIN SELECT RAISE(ABORT, 'a line of the ledger follows the last'); END",
)
"""INSERT OR REPLACE removes a line without firing the trigger on DELETE, hence the third."""


AS_WRITTEN = """
SELECT number, CAST(body AS BLOB), CAST(hash AS BLOB),
    CASE WHEN json_valid(body) THEN (body ->> 'line') IS number AND (body ->> 'key') IS key ELSE 0 END
FROM lines ORDER BY number
"""
"""Texts as they lie on the disk, because a damaged one may be text no more, and whether number and key are those the line gives."""


class Entry(NamedTuple):
    """The line that holds what was said; `new` is False where it was said before and nothing was added."""

    number: int
    new: bool


class Head(NamedTuple):
    """How many lines there are and the hash of the last: whoever keeps this can tell whether any of them changed."""

    lines: int
    hash: str


@dataclass(frozen=True)
class Line:
    """One line as stored; `body` is what its hash covers, together with the hash of the line before."""

    number: int
    body: dict[str, Any]
    hash: str

    @property
    def kind(self) -> str:
        """'score', 'outcome', 'shadow' (forecasts of other models, never shown), 'registration' or 'week' (what followed)."""
        return str(self.body["kind"])

    @property
    def as_of(self) -> pd.Timestamp:
        """The day at whose end the forecast stands."""
        return pd.Timestamp(self.body["as_of"])

    def is_of(self, target: Target) -> bool:
        """Whether it speaks of what a target asks about; outcome, threshold and horizons may differ."""
        return bool(self.body["outcome"].get("target") == target.summary.get("target"))

    @property
    def is_question(self) -> bool:
        """Whether a score answers a question asked besides the champion's own."""
        return bool(self.body.get("question"))

    @property
    def record(self) -> str:
        """Of a score or a shadow: 'live', 'backtest' (issued long after its day) or 'in_sample' (the model had seen what came)."""
        if self.body.get("in_sample"):
            return IN_SAMPLE
        return LIVE if is_live(self.as_of, pd.Timestamp(self.body["issued_at"]).tz_localize(None)) else BACKTEST


class Ledger:
    """One home's ledger, an SQLite file that refuses to change or remove a line. Use as a context manager.

    Its head is kept in a file beside it, so that lines cut off its end are missed. A line is acknowledged once it is on the disk.
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
        """Release the file."""
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
        """Record what other models forecast for a day: as_of, market, snapshot, outcome, horizons, models. One line a day."""
        return self._append([{"kind": SHADOW, "issued_at": moment(issued_at), **shadows}])[0]

    def append_registration(self, registration: Mapping[str, Any], issued_at: pd.Timestamp) -> Entry:
        """Record from which day on a configuration gathers evidence: configuration, model, as_of, market, outcome."""
        return self._append([{"kind": REGISTRATION, "issued_at": moment(issued_at), **registration}])[0]

    def append_weeks(self, weeks: Sequence[Mapping[str, Any]], resolved_at: pd.Timestamp) -> list[Entry]:
        """Record what followed in weeks that were bet on: as_of (its first close), end, closes, market, outcome, snapshot."""
        return self._append([{"kind": WEEK, "resolved_at": moment(resolved_at), **week} for week in weeks])

    def append_outcomes(self, outcomes: Sequence[Mapping[str, Any]], resolved_at: pd.Timestamp) -> list[Entry]:
        """Record what came of forecasts: as_of, market, outcome, days, event, label_end, known, snapshot.

        What was once resolved stands: a second outcome of the same day, event and horizon adds nothing, whatever it says.
        """
        return self._append([{"kind": OUTCOME, "resolved_at": moment(resolved_at), **outcome} for outcome in outcomes])

    def of_kinds(self, *kinds: str) -> Iterator[Line]:
        """Every line of some kinds, oldest first."""
        return self._lines(f"WHERE body ->> 'kind' IN ({', '.join('?' * len(kinds))}) ORDER BY number", *kinds)

    def lines(self, since: int = 1) -> Iterator[Line]:
        """Every line from number `since` on, oldest first."""
        return self._lines("WHERE number >= ? ORDER BY number", since)

    def head(self) -> Head:
        """Number and hash of the last line, not verified."""
        found = self._connection.execute("SELECT number, hash FROM lines ORDER BY number DESC LIMIT 1").fetchone()
        return Head(*found) if found else Head(0, BEGINNING)

    def last_live(self, before: pd.Timestamp | None = None, target: Target = ALTCOINS) -> Line | None:
        """The newest live forecast of a target, of a day before `before` where that is given; None where there is none."""
        newest = (line for line in self._lines("ORDER BY number DESC") if line.kind == SCORE and line.record == LIVE)
        newest_first = (line for line in newest if line.is_of(target) and not line.is_question)
        return next((line for line in newest_first if before is None or line.as_of < before), None)

    def forecast_of(self, as_of: pd.Timestamp, target: Target = ALTCOINS) -> Line | None:
        """The first forecast of a target for a day, in-sample answers aside: the one that counts; None where there is none."""
        of_the_day = self._lines("WHERE instr(body, ?) ORDER BY number", f'"as_of":"{as_of:%Y-%m-%d}"')
        scores = (line for line in of_the_day if line.kind == SCORE and line.as_of == as_of and not line.is_question)
        return next((line for line in scores if line.record != IN_SAMPLE and line.is_of(target)), None)

    def has_shadows(self, as_of: pd.Timestamp, target: Target = ALTCOINS) -> bool:
        """Whether the other models' forecasts of a day are recorded."""
        of_the_day = self._lines("WHERE instr(body, ?) ORDER BY number", f'"as_of":"{as_of:%Y-%m-%d}"')
        return any(line.kind == SHADOW and line.as_of == as_of and line.is_of(target) for line in of_the_day)

    def verify(self) -> Head:
        """Follow the chain from the first line to the last. Raises LedgerBroken, naming the first line that isn't as written."""
        with clear_errors(self.path):
            head = read_head(self.path)
            last = self._followed(head)
            if last.lines < head.lines:
                raise broken(self.path, f"line {last.lines + 1} is missing, as is all to line {head.lines}")
            self._require_sound()
        return last

    def verify_mirror(self) -> None:
        """The mirror, where there is one, holds the lines of the ledger. Raises StoreUnusable."""
        with clear_errors(self.path):
            if text_copy(self.path).exists() and list(text_copy_lines(self.path)) != self._after(0):
                raise StoreUnusable("it doesn't hold the lines of the ledger")

    def write_mirror(self) -> None:
        """Write the mirror anew from the lines; what stood there is kept beside it."""
        with clear_errors(self.path), ledger_lock(self.path):
            set_aside(text_copy(self.path))
            append_missing_lines(self.path, self._after)

    def _followed(self, head: Head) -> Head:
        last = Head(0, BEGINNING)
        for number, body, digest, filed in self._connection.cursor().execute(AS_WRITTEN):
            why = flaw(last, number, body, digest, filed)
            if why:
                raise broken(self.path, f"line {last.lines + 1} {why}")
            last = Head(number, digest.decode())
            if number == head.lines and last != head:
                raise broken(self.path, f"line {number} isn't the one its head record names")
        return last

    def _require_sound(self) -> None:
        """The guards are in place, and the index agrees with the lines."""
        tables = {sql for (sql,) in self._connection.execute("SELECT sql FROM sqlite_schema WHERE sql IS NOT NULL")}
        if tables != set(TABLES):
            raise broken(self.path, "its guards against change are gone")
        verdict = self._connection.execute("PRAGMA integrity_check(1)").fetchone()[0]
        if verdict != "ok":
            raise broken(self.path, f"SQLite finds {verdict}")

    def _append(self, bodies: Sequence[Mapping[str, Any]]) -> list[Entry]:
        """Put lines at the end, all or none; on the disk, head included, when this returns."""
        with clear_errors(self.path), ledger_lock(self.path):
            head, last = read_head(self.path), self.head()
            require_continued(self.path, head, last, self._hash_of(head.lines))
            with self._transaction():
                entries = [self._put(body) for body in bodies]
            if self.head() != head:
                write_head(self.path, self.head())
            append_missing_lines(self.path, self._after)  # always: a kill may have left the mirror behind
        return entries

    def recorded(self, outcome: Mapping[str, Any]) -> bool:
        """Whether an outcome of this as_of, market, outcome and days stands in any line."""
        key = identity({"kind": OUTCOME, **outcome})
        return self._connection.execute("SELECT 1 FROM lines WHERE key = ?", (key,)).fetchone() is not None

    def _after(self, number: int) -> list[str]:
        rows = self._connection.execute("SELECT body FROM lines WHERE number > ? ORDER BY number", (number,))
        return [text for (text,) in rows]

    def _put(self, body: Mapping[str, Any]) -> Entry:
        key = identity(body)
        found = self._connection.execute("SELECT number FROM lines WHERE key = ?", (key,)).fetchone()
        if found:
            return Entry(found[0], new=False)
        return self._add(key, canonical({**body, "key": key, "line": self.head().lines + 1}))

    def _add(self, key: str, text: str) -> Entry:
        last = self.head()
        row = (last.lines + 1, key, text, chained(last.hash, text.encode()))
        self._connection.execute("INSERT INTO lines VALUES (?, ?, ?, ?)", row)
        return Entry(row[0], new=True)

    def _hash_of(self, number: int) -> str | None:
        found = self._connection.execute("SELECT hash FROM lines WHERE number = ?", (number,)).fetchone()
        return BEGINNING if number == 0 else found and str(found[0])

    def _lines(self, which: str, *values: object) -> Iterator[Line]:
        with clear_errors(self.path):
            for number, body, digest in self._connection.cursor().execute(f"SELECT number, body, hash FROM lines {which}", values):
                yield Line(number, json.loads(body), digest)

    def _prepare(self) -> None:
        """Create what a new ledger holds, its head first: a ledger with lines and no head has lost it."""
        self._connection.execute("PRAGMA synchronous = FULL")
        if not self._connection.execute("SELECT 1 FROM sqlite_schema LIMIT 1").fetchone():
            if not head_file(self.path).exists():
                write_head(self.path, Head(0, BEGINNING))
            self._create()

    def _create(self) -> None:
        self._connection.execute("PRAGMA journal_mode = WAL")
        with self._transaction():
            for table in TABLES:
                self._connection.execute(table)

    @contextmanager
    def _transaction(self) -> Iterator[None]:
        """All or nothing, also when the process is killed."""
        self._connection.execute("BEGIN IMMEDIATE")
        try:
            yield
            self._connection.execute("COMMIT")
        except BaseException:
            if self._connection.in_transaction:
                self._connection.execute("ROLLBACK")
            raise


def is_live(as_of: pd.Timestamp, issued_at: pd.Timestamp) -> bool:
    """Whether a forecast of a day was issued soon enough after it to count as live."""
    return issued_at <= as_of + pd.Timedelta(days=1) + LIVE_WITHIN


def canonical(value: Any) -> str:
    """The one way to write a line: JSON with sorted keys and no spaces. Raises ValueError where a number isn't finite."""
    return json.dumps(value, sort_keys=True, separators=(",", ":"), allow_nan=False, ensure_ascii=False)


def chained(previous: str, body: bytes) -> str:
    """SHA-256 over the hash of the line before, a line feed, and the line."""
    return hashlib.sha256(previous.encode() + b"\n" + body).hexdigest()


def identity(body: Mapping[str, Any]) -> str:
    """What a line is about: a forecast by all it says except when, all else by what can be said once."""
    if body["kind"] in SAID_ONCE:
        about = {name: body[name] for name in ("kind", "as_of", "market", "outcome", *SAID_ONCE[body["kind"]])}
    else:
        about = {name: value for name, value in body.items() if name not in SAYS_WHEN}
    return hashlib.sha256(canonical(about).encode()).hexdigest()


def flaw(last: Head, number: int, body: bytes, digest: bytes, filed: int) -> str | None:
    """What is wrong with the line after `last`, None if it is as it was written."""
    if number != last.lines + 1:
        return "is missing"
    if digest != chained(last.hash, body).encode():
        return "isn't what was written"
    return None if filed else "isn't filed as it was written"


def moment(when: pd.Timestamp) -> str:
    """A UTC moment, to the second."""
    return f"{when:%Y-%m-%dT%H:%M:%SZ}"


def head_file(path: Path) -> Path:
    """Where the head of a ledger is kept."""
    return path.with_suffix(".head")


def write_head(path: Path, head: Head) -> None:
    """Keep the head."""
    put_whole(head_file(path), canonical(head._asdict()) + "\n")


def put_whole(path: Path, text: str) -> None:
    """Write a small file and put it in its place at once, so that a kill leaves the former one or this."""
    unfinished = path.with_name(path.name + ".new")
    with unfinished.open("w", encoding="utf-8") as file:
        file.write(text)
        file.flush()
        os.fsync(file.fileno())
    unfinished.replace(path)


def read_head(path: Path) -> Head:
    """The head as last written. Raises LedgerBroken where it is gone or damaged."""
    try:
        said = json.loads(head_file(path).read_text(encoding="utf-8"))
        return Head(int(said["lines"]), str(said["hash"]))
    except FileNotFoundError:
        raise broken(path, f"its head record {head_file(path).name} is gone") from None
    except (ValueError, KeyError, TypeError):
        raise broken(path, f"its head record {head_file(path).name} is damaged") from None


def require_continued(path: Path, head: Head, last: Head, hash_at_head: str | None) -> None:
    """Refuse to go on where the end isn't what the head says. A kill may have left the head behind the lines, never ahead."""
    if last.lines < head.lines:
        raise broken(path, f"line {last.lines + 1} is missing, as is all to line {head.lines}")
    if hash_at_head != head.hash:
        raise broken(path, f"line {head.lines} isn't the one its head record names")


def broken(path: Path, why: str) -> LedgerBroken:
    """The error of every ledger that can't be believed."""
    return LedgerBroken(
        f"{path} is broken: {why}. Run `altrally repair`; if that can't help, bring back a copy that is whole, or move "
        f"{path.name} and {head_file(path).name} away together to begin a new record."
    )


def rebuild(path: Path) -> Head:
    """Write a ledger anew from its mirror, which must reach as far as its head; the head is written again if it is damaged.

    Raises LedgerBroken where the mirror doesn't hold what the head, or where it is gone the database, names as its last line.
    """
    place = unfinished_path(path)
    with clear_errors(path), ledger_lock(path):
        promised = promise(path)
        with closing(sqlite3.connect(place, isolation_level=None)) as connection:
            ledger = Ledger(place, connection)
            ledger._create()
            with ledger._transaction():
                for text in text_copy_lines(path):
                    ledger._add(json.loads(text)["key"], text)
            last, reached = ledger.head(), ledger._hash_of(promised.lines)
        if reached != promised.hash:
            raise broken(path, f"its mirror doesn't hold line {promised.lines} either")
        set_aside(path)
        place.replace(path)
        write_head(path, last)
    return last


def promise(path: Path) -> Head:
    """What the head says, or the database where the head is gone or damaged."""
    try:
        return read_head(path)
    except LedgerBroken:
        with closing(sqlite3.connect(read_only(path), uri=True)) as connection:
            return Ledger(path, connection).head()


@contextmanager
def ledger_lock(path: Path) -> Iterator[None]:
    """One process appends at a time, head included."""
    try:
        with FileLock(path.with_suffix(".lock"), timeout=LOCK_SECONDS):
            yield
    except Timeout:
        raise InUse(f"{path} has been in use by another altrally process for {LOCK_SECONDS} seconds; try again.") from None


@contextmanager
def clear_errors(path: Path) -> Iterator[None]:
    """Turn what SQLite and the disk say into one line."""
    try:
        yield
    except (sqlite3.OperationalError, OSError) as error:
        why = str(error).splitlines()[0]
        raise StoreUnusable(f"{path} can't be read or written ({why}), and what isn't recorded isn't issued.") from error
    except ValueError as error:
        raise broken(path, f"a line isn't JSON ({error})") from error
    except sqlite3.IntegrityError:
        raise
    except sqlite3.DatabaseError as error:
        raise broken(path, str(error).splitlines()[0]) from error
