"""The ledger: what is acknowledged stays, what is changed is found, and nothing is said twice."""

import json
import os
import re
import signal
import sqlite3
import subprocess
import sys
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import pandas as pd
import pytest
from issued import INPUTS, came, made_score, put
from places import ROOT, SUPPORT

from altrally.ledger import Entry, Ledger
from altrally.ledger_chain import BEGINNING, canonical, chained, read_head
from altrally.repair import repair
from altrally.track_record import publish
from core.errors import LedgerBroken, StoreUnusable
from core.files import damaged_path, text_copy
from core.home import Home

DAYS = [f"2024-03-{day:02}" for day in range(1, 7)]
APPENDING = """
import sys
from pathlib import Path
sys.path.insert(0, sys.argv[3])
from issued import made_score, put
from altrally.ledger import Ledger
with Ledger.open(Path(sys.argv[1])) as ledger:
    print("ready", flush=True)
    for number in range(int(sys.argv[4])):
        print(put(ledger, made_score("2024-03-01", snapshot=f"{sys.argv[2]}-{number}")).number, flush=True)
"""


@pytest.fixture
def path(tmp_path: Path) -> Path:
    """A ledger of six forecasts and one outcome, closed."""
    file = tmp_path / "ledger.db"
    with Ledger.open(file) as ledger:
        for day in DAYS:
            put(ledger, made_score(day))
        ledger.append_outcomes([came(DAYS[0], 30, 1)], pd.Timestamp("2024-04-02"))
    return file


@pytest.fixture
def ledger(tmp_path: Path) -> Iterator[Ledger]:
    """An empty one."""
    with Ledger.open(tmp_path / "ledger.db") as opened:
        yield opened


def verified(path: Path) -> int:
    """Lines of a ledger that is whole."""
    with Ledger.open(path) as ledger:
        return ledger.verify().lines


def tamper(path: Path, *statements: str, keep_guards: bool = False) -> None:
    """Work on the file as someone would who has it, guards first."""
    with closing(sqlite3.connect(path)) as connection, connection:
        guards = connection.execute("SELECT name, sql FROM sqlite_schema WHERE type = 'trigger'").fetchall()
        for name, _ in guards:
            connection.execute(f"DROP TRIGGER {name}")
        for statement in statements:
            connection.execute(statement)
        for _, sql in [] if keep_guards else guards:
            connection.execute(sql)


def test_a_line_holds_all_that_was_said(ledger: Ledger) -> None:
    assert put(ledger, made_score("2024-03-01", 0.1, 0.2, 0.3)) == Entry(1, new=True)
    (line,) = ledger.lines()
    assert (line.number, line.kind, line.record) == (1, "score", "live")
    assert line.body["inputs"] == INPUTS
    assert line.body["issued_at"] == "2024-03-02T06:00:00Z"
    assert [row["probability"] for row in line.body["horizons"]] == [0.1, 0.2, 0.3]
    said = {"code_version", "as_of", "market", "snapshot", "model", "outcome", "drivers", "neutral", "in_sample", "skill_shown"}
    assert said <= line.body.keys()
    assert line.hash == chained(BEGINNING, canonical(line.body).encode())


def test_the_identical_forecast_adds_nothing_and_another_answer_does(ledger: Ledger) -> None:
    put(ledger, made_score("2024-03-01"))
    assert put(ledger, made_score("2024-03-01"), days_later=400) == Entry(1, new=False)
    assert put(ledger, made_score("2024-03-01", snapshot="other")) == Entry(2, new=True)
    assert put(ledger, made_score("2024-03-01", 0.3, 0.4, 0.5)) == Entry(3, new=True)
    assert put(ledger, made_score("2024-03-01"), code_version="0.2.0") == Entry(4, new=True)
    assert ledger.verify().lines == 4


@pytest.mark.parametrize(("days_later", "record"), [(1, "live"), (4, "live"), (4.001, "backtest"), (400, "backtest")])
def test_only_what_is_issued_within_three_days_of_the_end_of_its_day_is_live(
    ledger: Ledger, days_later: float, record: str
) -> None:
    put(ledger, made_score("2024-03-01"), days_later=days_later)
    assert next(ledger.lines()).record == record
    assert (ledger.last_live() is None) == (record != "live")


def test_in_sample_is_never_live_and_never_the_forecast_of_a_day(ledger: Ledger) -> None:
    put(ledger, made_score("2024-03-01", in_sample=True))
    assert next(ledger.lines()).record == "in_sample"
    assert ledger.last_live() is None
    assert ledger.forecast_of(pd.Timestamp("2024-03-01")) is None


def test_the_first_forecast_of_a_day_is_its_forecast_and_the_last_live_is_of_an_earlier_day(path: Path) -> None:
    with Ledger.open(path) as ledger:
        put(ledger, made_score(DAYS[2], 0.6, 0.7, 0.8))
        found, before, last = ledger.forecast_of(pd.Timestamp(DAYS[2])), ledger.last_live(pd.Timestamp(DAYS[4])), ledger.last_live()
    assert (found and found.number, before and before.number, last and last.number) == (3, 8, 8)


def test_what_was_resolved_stays(ledger: Ledger) -> None:
    later = pd.Timestamp("2024-05-01")
    assert ledger.append_outcomes([came("2024-03-01", 30, 1), came("2024-03-01", 60, 0)], later) == [Entry(1, True), Entry(2, True)]
    assert ledger.append_outcomes([came("2024-03-01", 30, 0)], later) == [Entry(1, new=False)]
    assert [line.body["event"] for line in ledger.lines()] == [1, 0]


@pytest.mark.parametrize(
    "statement",
    [
        "UPDATE lines SET body = body WHERE number = 2",
        "DELETE FROM lines WHERE number = 7",
        "INSERT OR REPLACE INTO lines SELECT number, key, 'forged', hash FROM lines WHERE number = 2",
        "INSERT OR REPLACE INTO lines SELECT 8, key, 'forged', hash FROM lines WHERE number = 2",
        "INSERT INTO lines VALUES (100, 'k', 'b', 'h')",
        "INSERT INTO lines VALUES (0, 'k', 'b', 'h')",
    ],
)
def test_the_file_refuses_to_change_or_remove_a_line(path: Path, statement: str) -> None:
    with closing(sqlite3.connect(path)) as connection, pytest.raises(sqlite3.IntegrityError, match="a line of the ledger"):
        connection.execute(statement)
    assert verified(path) == 7


@pytest.mark.parametrize("number", [1, 4, 7])
@pytest.mark.parametrize("column", ["key", "body", "hash"])
def test_a_byte_changed_in_any_column_is_found_and_its_line_named(path: Path, column: str, number: int) -> None:
    with closing(sqlite3.connect(path)) as connection:
        (text,) = connection.execute(f"SELECT {column} FROM lines WHERE number = {number}").fetchone()
    for place in range(0, len(text), len(text) // 12):
        changed = text[:place] + chr(ord(text[place]) ^ 1) + text[place + 1 :]
        tamper(path, f"UPDATE lines SET {column} = '{changed.replace(chr(39), chr(39) * 2)}' WHERE number = {number}")
        with Ledger.open(path) as ledger, pytest.raises(LedgerBroken, match=rf"broken: line {number} "):
            ledger.verify()
    tamper(path, f"UPDATE lines SET {column} = '{text}' WHERE number = {number}")
    assert verified(path) == 7


@pytest.mark.parametrize(
    ("statement", "named"),
    [
        ("UPDATE lines SET number = 8 WHERE number = 7", "line 7"),
        ("UPDATE lines SET number = 0 WHERE number = 1", "line 1"),
        ("DELETE FROM lines WHERE number = 3", "line 3"),
        ("DELETE FROM lines WHERE number = 7", "line 7"),
        ("DELETE FROM lines WHERE number > 4", "line 5"),
        ("DELETE FROM lines", "line 1"),
        ("UPDATE lines SET body = CAST(x'ff00ff' AS TEXT) WHERE number = 5", "line 5"),
    ],
)
def test_lines_moved_removed_or_cut_off_are_found_and_nothing_is_added_to_a_cut_end(path: Path, statement: str, named: str) -> None:
    tamper(path, statement)
    with Ledger.open(path) as ledger:
        with pytest.raises(LedgerBroken, match=rf"broken: {named} "):
            ledger.verify()
        if "DELETE" in statement and "= 3" not in statement:
            with pytest.raises(LedgerBroken, match=rf"broken: {named} "):
                put(ledger, made_score("2024-05-05"))


def test_guards_that_are_gone_are_missed(path: Path) -> None:
    tamper(path, keep_guards=True)
    with Ledger.open(path) as ledger, pytest.raises(LedgerBroken, match="guards"):
        ledger.verify()


def test_a_chain_written_anew_is_not_the_one_its_head_names(path: Path) -> None:
    with Ledger.open(path) as ledger:
        bodies = [line.body for line in ledger.lines()]
    path.unlink()
    head = path.with_suffix(".head")
    kept = head.read_text()
    head.unlink()
    with Ledger.open(path) as forged:
        forged._append([{key: value for key, value in body.items() if key != "line"} | {"market": "live"} for body in bodies])
    head.write_text(kept)
    with Ledger.open(path) as ledger, pytest.raises(LedgerBroken, match="line 7 isn't the one its head record names"):
        ledger.verify()


def test_a_head_that_is_gone_or_damaged_is_told(path: Path) -> None:
    head = path.with_suffix(".head")
    for text, word in ((None, "gone"), ("", "damaged"), ('{"lines":7}', "damaged"), ("[]", "damaged")):
        head.unlink() if text is None else head.write_text(text)
        with Ledger.open(path) as ledger, pytest.raises(LedgerBroken, match=word):
            ledger.verify()


def test_a_kill_before_the_head_was_written_breaks_nothing_and_the_next_line_mends_it(path: Path) -> None:
    head = path.with_suffix(".head")
    with Ledger.open(path) as ledger:
        behind = head.read_text()
        put(ledger, made_score("2024-05-01"))
        head.write_text(behind)
        assert ledger.verify().lines == 8
        put(ledger, made_score("2024-05-02"))
        assert read_head(path) == ledger.verify()


def test_any_byte_of_the_file_changed_is_found_or_changes_nothing_that_is_read(path: Path) -> None:
    sound = path.read_bytes()
    with Ledger.open(path) as ledger:
        lines = list(ledger.lines())
    found = 0
    for place in range(3, len(sound), 211):
        path.write_bytes(sound[:place] + bytes([sound[place] ^ 0x5A]) + sound[place + 1 :])
        try:
            with Ledger.open(path) as ledger:
                ledger.verify()
                assert list(ledger.lines()) == lines, place
        except (LedgerBroken, StoreUnusable):
            found += 1
    assert found > 10


def test_a_file_that_is_no_ledger_is_named(tmp_path: Path) -> None:
    (tmp_path / "ledger.db").write_bytes(b"not a database" * 500)
    with pytest.raises(LedgerBroken, match=r"ledger\.db"):
        Ledger.open(tmp_path / "ledger.db")


def test_a_ledger_that_cannot_be_written_says_so_in_one_line(tmp_path: Path) -> None:
    (tmp_path / "ledger.db").mkdir()
    with pytest.raises(StoreUnusable, match="what isn't recorded isn't issued") as told:
        Ledger.open(tmp_path / "ledger.db")
    assert "\n" not in str(told.value)


@pytest.mark.skipif(not hasattr(os, "geteuid") or os.geteuid() == 0, reason="root may write everywhere")
def test_a_read_only_home_says_so(path: Path) -> None:
    path.parent.chmod(0o500)
    try:
        with pytest.raises(StoreUnusable, match="what isn't recorded isn't issued"):
            Ledger.open(path)
    finally:
        path.parent.chmod(0o700)


def appending(path: Path, name: str, count: int) -> subprocess.Popen[str]:
    """A process that appends `count` lines and prints the number of each once it is acknowledged."""
    words = [sys.executable, "-c", APPENDING, str(path), name, str(SUPPORT), str(count)]
    return subprocess.Popen(words, stdout=subprocess.PIPE, text=True)


def test_a_kill_loses_no_acknowledged_line(tmp_path: Path) -> None:
    path, acknowledged = tmp_path / "ledger.db", 0
    for name, after in (("a", 3), ("b", 17), ("c", 40)):
        with appending(path, name, 10_000) as process:
            assert process.stdout is not None
            read = [process.stdout.readline() for _ in range(1 + after)]
            process.send_signal(signal.SIGKILL)
            read += process.stdout.readlines()
        whole = [line for line in read[1:] if line.endswith("\n")]
        assert int(whole[0]) > acknowledged
        acknowledged = int(whole[-1])
        assert acknowledged <= verified(path) <= acknowledged + 1
        acknowledged = verified(path)


@pytest.mark.parametrize("harm", ["cut", "changed"])
def test_a_mirror_that_is_not_the_same_is_written_anew_from_a_whole_chain(path: Path, harm: str) -> None:
    home, file = Home(path.parent), text_copy(path)
    written = file.read_bytes()
    damaged = written[:-9] if harm == "cut" else written.replace(b'"line":2', b'"line":7')
    file.write_bytes(damaged)
    (finding,) = repair(home)
    assert (finding.file, finding.next) == (str(file), None)
    assert file.read_bytes() == written
    assert damaged_path(file).read_bytes() == damaged
    assert repair(home) == []


def test_a_kill_before_the_mirror_followed_is_mended_by_the_same_forecast_again(path: Path) -> None:
    written = text_copy(path).read_bytes()
    text_copy(path).write_bytes(written[: written[:-1].rfind(b"\n") + 1])
    with Ledger.open(path) as ledger:
        assert not put(ledger, made_score(DAYS[0])).new
        ledger.verify_mirror()
    assert text_copy(path).read_bytes() == written


def test_two_processes_keep_the_chain_whole(tmp_path: Path) -> None:
    path, count = tmp_path / "ledger.db", 60
    both = [appending(path, name, count) for name in ("a", "b")]
    numbers = [int(line) for process in both for line in process.communicate()[0].splitlines()[1:]]
    assert sorted(numbers) == list(range(1, 2 * count + 1))
    assert verified(path) == 2 * count


def test_what_is_published_can_be_checked_by_the_lines_that_the_docs_give(path: Path, tmp_path: Path) -> None:
    docs = (ROOT / "docs" / "ledger.md").read_text()
    (snippet,) = re.findall(r"```python\n(.*?)```", docs, flags=re.DOTALL)
    file = tmp_path / "record.jsonl"
    with Ledger.open(path) as ledger:
        publish(ledger, file)
        head = ledger.verify()

    def check() -> subprocess.CompletedProcess[str]:
        return subprocess.run([sys.executable, "-c", snippet, file], capture_output=True, text=True, check=False)

    assert check().stdout.split() == [str(head.lines), head.hash]
    lines = file.read_text().splitlines()
    forged = json.loads(lines[2])
    forged["line"]["horizons"][0]["probability"] += 0.01
    file.write_text("\n".join([*lines[:2], canonical(forged), *lines[3:]]) + "\n")
    assert "line 3" in check().stderr
