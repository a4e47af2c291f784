"""Tables that fit a terminal: a narrow one leaves columns out and says which, and breaks no value across lines."""

import os
from collections.abc import Iterable, Iterator, Sequence

from rich.cells import cell_len
from rich.console import Console, Group, RenderableType
from rich.table import Column, Table
from rich.text import Text

GAP = 2
WIDE = 200
"""Columns of output that goes to no terminal."""

LONGEST_VALUE = 36
"""A cell up to this long is a value and stays on one line; a longer one is prose and breaks between words."""

NARROWEST_PROSE = 20


class PlainTable(Table):
    """A table without lines. `least_needed` names the columns that a narrow terminal leaves out, the first one first."""

    def __init__(self, *heads: str, least_needed: Sequence[str] = (), title: str | None = None) -> None:
        super().__init__(*heads, title=title, title_justify="left", box=None, pad_edge=False)
        self.least_needed = tuple(least_needed)


def fitted(table: Table, width: int) -> tuple[Table, list[str]]:
    """The table cut to a width in cells, and the heads of the columns that were left out.

    Where even the columns that are always needed are wider than that, the table is as wide as they are.
    """
    columns, left_out = list(table.columns), list[str]()
    for head in getattr(table, "least_needed", ()):
        if needed_width(columns) <= width:
            break
        columns = [column for column in columns if column.header != head]
        left_out.append(head)
    narrow = Table(box=None, pad_edge=False)
    for column, cells in zip(columns, column_widths(columns, width), strict=True):
        narrow.add_column(column.header, style=column.style, width=cells)
    for row in zip(*(column.cells for column in columns), strict=True):
        narrow.add_row(*row)
    return narrow, left_out


def column_widths(columns: Sequence[Column], width: int) -> list[int]:
    """Cells for each column: all it wants where there is room, else no less than its longest value, the rest shared by want."""
    wanted = [max(map(cell_len, texts(column))) for column in columns]
    least = [least_width(column) for column in columns]
    room = width - GAP * (len(columns) - 1) - sum(least)
    lacking = sum(wanted) - sum(least)
    if room >= lacking:
        return wanted
    if lacking == 0:
        return least
    return [low + max(room, 0) * (high - low) // lacking for low, high in zip(least, wanted, strict=True)]


def needed_width(columns: Sequence[Column]) -> int:
    """Cells a row takes without breaking any value."""
    return sum(map(least_width, columns)) + GAP * (len(columns) - 1)


def least_width(column: Column) -> int:
    """The longest word of the head, the longest value, and of prose the longest word or the width that reads well."""
    head, *cells = texts(column)
    prose = [cell for cell in cells if cell_len(cell) > LONGEST_VALUE]
    pieces = [cell for cell in cells if cell not in prose] + [word for cell in prose for word in cell.split()]
    return max([*map(cell_len, [*head.split(), *pieces]), NARROWEST_PROSE if prose else 0], default=0)


def texts(column: Column) -> list[str]:
    """The head and every line of every cell as they are read, without markup."""
    plain = [cell.plain if isinstance(cell, Text) else Text.from_markup(str(cell)).plain for cell in (column.header, *column.cells)]
    return [plain[0], *(line for text in plain[1:] for line in text.splitlines() or [""])]


def total_width(table: Table) -> int:
    """Cells a fitted table takes."""
    return sum(column.width or 0 for column in table.columns) + GAP * (len(table.columns) - 1)


def show(*parts: RenderableType) -> None:
    """Print to the terminal, fitted to its width; where there is none, as wide as COLUMNS says or the widest table needs."""
    console = Console()
    if not console.is_terminal and "COLUMNS" not in os.environ:
        console = Console(width=WIDE)
    for part in flat(parts):
        if isinstance(part, Table):
            show_table(console, part)
            continue
        text = Text(part) if isinstance(part, str) else part
        if not isinstance(text, Text) or text.plain:
            console.print(text, soft_wrap=isinstance(text, Text) and longest_word(text) > console.width)  # a path isn't broken


def longest_word(text: Text) -> int:
    """Cells of the longest word of a text."""
    return max(map(cell_len, text.plain.split()), default=0)


def show_table(console: Console, table: Table) -> None:
    """Print a table under its title, and name the columns that didn't fit."""
    if table.title:
        console.print(Text(str(table.title), style="italic"))
    narrow, left_out = fitted(table, console.width)
    wide = console if total_width(narrow) <= console.width else Console(width=total_width(narrow))
    wide.print(narrow)
    if left_out:
        console.print(Text(f"Left out in {console.width} columns: {', '.join(left_out)}.", style="dim"))


def flat(parts: Iterable[RenderableType]) -> Iterator[RenderableType]:
    """What groups hold, one after the other."""
    for part in parts:
        if isinstance(part, Group):
            yield from flat(part.renderables)
        else:
            yield part
