"""Every table fits a terminal of 80, 100 or 160 columns, and no value in it is broken across lines."""

import re
import sys
from pathlib import Path

import pytest
from invoking import Invoke
from rich.console import Console, RenderableType
from rich.text import Text

from altrally.columns import PlainTable, fit_to_width, show
from core.number_format import interval, number, signed, signed_share

WIDTHS = (80, 100, 160)
AT = "at a width of "
OPEN_BRACKET = re.compile(r"\[[^\]]*$")
COMMANDS = (
    ("score",),
    ("status",),
    ("features",),
    ("compare",),
    ("verify", "--model", "pool", "--from", "2023-01-01"),
    ("verify", "--model", "pool", "--from", "2023-01-01", "--all"),
    ("audit",),
    ("leakcheck", "--cuts", "1"),
)


def lines_of(table: PlainTable, width: int) -> list[str]:
    """What a terminal of some width shows of a table."""
    narrow, _ = fit_to_width(table, width)
    console = Console(width=width)
    with console.capture() as capture:
        console.print(narrow)
    return [line.rstrip() for line in capture.get().splitlines()]


@pytest.mark.parametrize("words", COMMANDS, ids=" ".join)
def test_no_line_is_wider_than_the_terminal_and_no_interval_is_broken(
    altrally: Invoke, trained_home: Path, monkeypatch: pytest.MonkeyPatch, words: tuple[str, ...]
) -> None:
    """A command runs once, and what it shows is printed at each width."""

    def show_at_each_width(*parts: RenderableType) -> None:
        for width in WIDTHS:
            monkeypatch.setenv("COLUMNS", str(width))
            sys.stdout.write(f"{AT}{width}\n")
            show(*parts)

    monkeypatch.setattr("altrally.columns.show", show_at_each_width)
    ran = altrally(*words, "--home", trained_home)
    assert ran.code == 0, ran.err
    width = 0
    for line in ran.out.splitlines():
        if line.startswith(AT):
            width = int(line.removeprefix(AT))
            continue
        assert len(line.rstrip()) <= width or str(trained_home) in line, line
        if line.startswith(("pool", "climatology", "hazard")):
            assert not OPEN_BRACKET.search(line), line
    assert width == WIDTHS[-1]


def test_columns_leave_in_the_order_declared_until_the_rest_fits() -> None:
    table = PlainTable("name", "first", "second", least_needed=("first", "second"))
    table.add_row("a", "1" * 20, "2" * 20)
    assert fit_to_width(table, 48)[1] == []
    assert fit_to_width(table, 47)[1] == ["first"]
    assert fit_to_width(table, 20)[1] == ["first", "second"]


def test_prose_breaks_between_words_and_values_stay_whole() -> None:
    table = PlainTable("value", "prose")
    table.add_row("+0.058 \\[+0.013, +0.104]", "a long sentence that has to be broken somewhere, between two words")
    lines = lines_of(table, 48)
    assert max(map(len, lines)) <= 48
    assert any("+0.058 [+0.013, +0.104]" in line for line in lines)
    words = ["a", "long", "sentence", "that", "has", "to", "be", "broken", "somewhere,", "between", "two", "words"]
    assert " ".join(lines).replace("+0.058 [+0.013, +0.104]", "").split()[2:] == words


def test_a_table_that_can_not_be_narrower_keeps_its_values(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("COLUMNS", "30")
    table = PlainTable("value")
    table.add_row("1234567890123456789012345678901234")
    show(table)
    assert "1234567890123456789012345678901234" in capsys.readouterr().out


def test_what_was_left_out_is_said(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("COLUMNS", "40")
    table = PlainTable("name", "much", least_needed=("much",))
    table.add_row("a" * 30, "b" * 30)
    show(table)
    assert "Left out in 40 columns: much." in capsys.readouterr().out


def test_a_path_stays_in_one_piece(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("COLUMNS", "40")
    path = "/a/folder/whose/name/is/longer/than/the/terminal/is/wide"
    show(Text(f"See {path} for more"))
    assert path in capsys.readouterr().out


def test_no_number_is_minus_zero_and_minus_is_a_sign() -> None:
    assert signed(-0.0004, 3) == "+0.000"
    assert signed(-0.25) == "−0.25"
    assert number(-0.001, 2) == "0.00"
    assert number(None) == signed(None) == interval(None) == interval({"value": None}) == "–"
    assert interval({"value": -0.0001, "low": -0.2, "high": 0.1}) == "+0.000 [−0.200, +0.100]"
    assert signed_share(-0.004) == "+0%"
