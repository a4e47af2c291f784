"""The entry point of the command line: options of every command, and errors as one line with exit code 1.

Only typer is imported here; everything else is imported where it is needed, so that --help answers at once.
"""

from __future__ import annotations

import errno
import gc
import os
import sys
from collections.abc import Sequence
from functools import partial
from pathlib import Path
from typing import Annotated, Any

import typer

from altrally.commands import app
from altrally.options import file_path

DISK_ERRORS = (errno.ENOSPC, errno.EROFS, errno.EACCES, errno.EPERM, errno.EDQUOT, errno.EEXIST, errno.ENOTDIR, errno.EISDIR)
"""Error numbers of a full or protected disk, or of a home that is no folder. The user can mend these; they are no fault of ours."""

GLOBAL_OPTIONS = ("--home", "--tracking-server")
"""Options of every command."""

INTERRUPTED = 130
"""What typer returns for a command that was interrupted."""


def print_version(typed: bool) -> None:
    """Print the version and exit, if --version was typed."""
    if typed:
        from importlib.metadata import version

        print(f"altrally {version('altrally')}")  # noqa: T201
        raise typer.Exit


@app.callback()
def main(
    context: typer.Context,
    home: Annotated[
        Path | None,
        typer.Option(
            envvar="ALTRALLY_HOME",
            parser=file_path,
            metavar="DIR",
            help="Folder of the store and the runs.  [default: ~/.altrally]",
        ),
    ] = None,
    tracking_server: Annotated[
        str | None,
        typer.Option(envvar="MLFLOW_TRACKING_URI", help="An MLflow server to track in, instead of the home."),
    ] = None,
    version: Annotated[
        bool, typer.Option("--version", is_eager=True, callback=print_version, help="Print the version and nothing else.")
    ] = False,
) -> None:
    """Remember the home and the tracking server, creating nothing. Both options may stand after the command too."""
    from altrally.terminal import farewell, stoppable
    from core.home import DEFAULT_HOME, DEMO_HOME

    context.obj = (home, tracking_server)
    command = context.invoked_subcommand
    folder = home or (DEMO_HOME if command == "demo" else DEFAULT_HOME)
    context.with_resource(stoppable(partial(farewell, command, folder)))


def run() -> None:
    """Run the command line; an error the user can mend becomes one line and exit code 1."""
    from altrally.terminal import plain_signs
    from core.errors import NO_DOCSTRINGS

    plain_signs()
    if sys.flags.optimize > 1:
        fail(NO_DOCSTRINGS)
    gc.set_threshold(100_000)  # imported modules stay; collecting garbage among them costs 0.2 s in a `score`
    try:
        code = app(global_options_first(sys.argv[1:]) or ["--help"], standalone_mode=False)
    except KeyboardInterrupt:
        code = INTERRUPTED
    except Exception as error:
        reason = user_message(error)
        if reason is None:
            raise
        fail(reason)
    if code == INTERRUPTED:
        fail("Stopped. What was recorded before stays.")
    raise SystemExit(1 if code else 0)


def global_options_first(words: Sequence[str]) -> list[str]:
    """The words of a command line with --home and --tracking-server moved before the command."""
    first: list[str] = []
    rest = list(words)
    for position in range(len(rest) - 1, -1, -1):
        if "--" in rest[:position]:
            continue
        if rest[position] in GLOBAL_OPTIONS and position + 1 < len(rest):
            first[:0] = [rest.pop(position), rest.pop(position)]
        elif rest[position].startswith(tuple(f"{option}=" for option in GLOBAL_OPTIONS)):
            first.insert(0, rest.pop(position))
    return first + rest


def user_message(error: Exception) -> str | None:
    """The message of an error the user can mend (bad input, a mistyped command, a disk); None for a fault of the program."""
    from core.errors import AltrallyError

    if isinstance(error, AltrallyError):
        return str(error)
    if isinstance(error, OSError) and error.errno in DISK_ERRORS:
        return f"{error.filename or 'The disk'} can't be read or written: {error.strerror}. Nothing recorded before is lost."
    if hasattr(error, "format_message"):  # typer's own
        return f"{error.format_message().rstrip('.')} (--help says what there is)"
    return None


def fail(reason: Any) -> None:
    """Print one line without secrets on standard error and exit with code 1."""
    from core.errors import without_secrets

    print(f"altrally: {without_secrets(' '.join(str(reason).split()), os.environ)}", file=sys.stderr)  # noqa: T201
    raise SystemExit(1)
