"""Tables that fit a terminal. A narrow terminal leaves columns out and says which; no value is broken across lines."""

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


def fit_to_width(table: Table, width: int) -> tuple[Table, list[str]]:
    """The table narrowed to `width` cells, and the heads of the columns that were left out.

    It is wider than `width` where the columns that are never left out need more.
    """
    columns, left_out = list(table.columns), list[str]()
    for head in getattr(table, "least_needed", ()):
        if sum(map(least_width, columns)) + GAP * (len(columns) - 1) <= width:
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
    """Width of each column in cells: as wide as its content, else its least width and a proportional share of the room left."""
    wanted = [max(map(cell_len, texts(column))) for column in columns]
    least = [least_width(column) for column in columns]
    room = width - GAP * (len(columns) - 1) - sum(least)
    missing = sum(wanted) - sum(least)
    if room >= missing:
        return wanted
    if missing == 0:
        return least
    return [low + max(room, 0) * (high - low) // missing for low, high in zip(least, wanted, strict=True)]


def least_width(column: Column) -> int:
    """Cells a column needs: its longest value, the longest word of its head, and for prose at least a width that reads well."""
    head, *cells = texts(column)
    prose = [cell for cell in cells if cell_len(cell) > LONGEST_VALUE]
    pieces = [cell for cell in cells if cell not in prose] + [word for cell in prose for word in cell.split()]
    return max([*map(cell_len, [*head.split(), *pieces]), NARROWEST_PROSE if prose else 0], default=0)


def texts(column: Column) -> list[str]:
    """The head and every line of every cell, without markup."""
    plain = [cell.plain if isinstance(cell, Text) else Text.from_markup(str(cell)).plain for cell in (column.header, *column.cells)]
    return [plain[0], *(line for text in plain[1:] for line in text.splitlines() or [""])]


def total_width(table: Table) -> int:
    """Width in cells of a table whose columns have widths."""
    return sum(column.width or 0 for column in table.columns) + GAP * (len(table.columns) - 1)


def show(*parts: RenderableType) -> None:
    """Print to the terminal in its width; without a terminal, in COLUMNS cells or as wide as the widest table needs."""
    console = Console()
    if not console.is_terminal and "COLUMNS" not in os.environ:
        console = Console(width=WIDE)
    for part in flattened(parts):
        if isinstance(part, Table):
            show_table(console, part)
            continue
        text = Text(part) if isinstance(part, str) else part
        if not isinstance(text, Text):
            console.print(text)
        elif text.plain:
            longest_word = max(map(cell_len, text.plain.split()), default=0)
            console.print(text, soft_wrap=longest_word > console.width)  # a path isn't broken


def show_table(console: Console, table: Table) -> None:
    """Print a table under its title, and the names of the columns that didn't fit."""
    if table.title:
        console.print(Text(str(table.title), style="italic"))
    narrow, left_out = fit_to_width(table, console.width)
    wide = console if total_width(narrow) <= console.width else Console(width=total_width(narrow))
    wide.print(narrow)
    if left_out:
        console.print(Text(f"Left out in {console.width} columns: {', '.join(left_out)}.", style="dim"))


def flattened(parts: Iterable[RenderableType]) -> Iterator[RenderableType]:
    """The parts in order, with the members of each group in its place."""
    for part in parts:
        if isinstance(part, Group):
            yield from flattened(part.renderables)
        else:
            yield part
