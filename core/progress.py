"""How far long work is, told to whoever watches."""

from collections.abc import Callable

Progress = Callable[[str, int, int], None]
"""`progress(label, done, total)`; a total of 0 means that it isn't known."""


def silent(label: str, done: int, total: int) -> None:
    """Nobody watches."""
