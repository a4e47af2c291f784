"""How a command hands out its result: JSON on standard output, and a progress bar on standard error."""

import json
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any


def print_json(value: Any) -> None:
    """Print a value as bare JSON, ready to be piped. Raises ValueError on NaN: a number that is missing must be None."""
    print(json.dumps(value, indent=2, allow_nan=False, default=str))  # noqa: T201


@contextmanager
def progress_bar() -> Iterator[Any]:
    """A function `report(label, done, total)` that moves a bar, shown only in a terminal; a total of 0 means it isn't known."""
    from rich.console import Console
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn

    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeElapsedColumn())
    terminal = Console(stderr=True)
    with Progress(*columns, console=terminal, transient=True, disable=not terminal.is_terminal) as bars:
        task = bars.add_task("", total=None)

        def report(label: str, done: int, total: int) -> None:
            bars.update(task, description=label, completed=done, total=total or None)

        yield report
