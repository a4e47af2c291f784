"""The command line, run within the process of a test."""

import sys
from collections.abc import Callable
from typing import NamedTuple

import pytest

from altrally.cli import run


class Ran(NamedTuple):
    """What a command left behind."""

    code: int
    out: str
    err: str


Invoke = Callable[..., Ran]


def invoker(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Invoke:
    """Runs a command line as the installed script does."""

    def invoke(*words: object) -> Ran:
        monkeypatch.setattr(sys, "argv", ["altrally", *map(str, words)])
        capsys.readouterr()
        try:
            run()
            code = 0
        except SystemExit as stop:
            code = int(stop.code or 0)
        return Ran(code, *capsys.readouterr())

    return invoke
