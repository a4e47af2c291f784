"""Progress of long work, reported through a callback."""

from collections.abc import Callable

Progress = Callable[[str, int, int], None]
"""`progress(label, done, total)`; a total of 0 means that it isn't known."""


def silent(label: str, done: int, total: int) -> None:
    """Show nothing."""
