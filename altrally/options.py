"""Options that several commands share, and the home and the engine they choose."""

from __future__ import annotations

from contextlib import AbstractContextManager
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

if TYPE_CHECKING:
    from core.home import Home


class Nulls(StrEnum):
    """Which models are refitted on circular shifts of the outcomes: the fast ones (quick) or all (full)."""

    QUICK = "quick"
    FULL = "full"


class EngineName(StrEnum):
    """Where independent parts of a job run: on this machine or on a dask cluster."""

    LOCAL = "local"
    DASK = "dask"


def file_path(text: str) -> Path:
    """The file or folder typed. Raises BadParameter on an empty name, which would stand for the current folder."""
    if not text:
        raise typer.BadParameter("'' names no file or folder")
    return Path(text)


AsJson = Annotated[bool, typer.Option("--json", help="Print JSON for programs.")]
AsOf = Annotated[str | None, typer.Option(metavar="DATE", help="Stand at the end of this UTC day.  [default: the last one known]")]
EveryHorizon = Annotated[bool, typer.Option("--all", help="Print every horizon, baseline and p-value.")]
FilesFolder = Annotated[
    Path | None, typer.Option(parser=file_path, metavar="DIR", help="Folder of drop-in files, for --provider files.")
]
TargetFile = Annotated[
    Path | None,
    typer.Option(
        "--target", parser=file_path, metavar="FILE", help="A question of your own, as TOML.  [default: the altcoin rally]"
    ),
]
Outcome = Annotated[str | None, typer.Option(metavar="KIND", help="first_passage, terminal or relative.  [default: the target's]")]
Threshold = Annotated[
    float | None, typer.Option(metavar="X", help="Move that counts, as a share: 0.3 is 30 %.  [default: the target's]")
]
Models = Annotated[list[str] | None, typer.Option("--model", metavar="NAME", help="Only this model; may be given several times.")]
Engine = Annotated[EngineName, typer.Option(help="Where refits of trees, sweeps and simulated markets are spread: local or dask.")]
Scheduler = Annotated[str | None, typer.Option(metavar="ADDRESS", help="The scheduler of a dask cluster, as tcp://host:8786.")]


def on_engine(engine: EngineName, scheduler: str | None) -> AbstractContextManager[None]:
    """Context in which independent parts of a job run on the engine that was chosen."""
    from models.parallel import engine as parallel_engine

    return parallel_engine(engine, scheduler)


def chosen_home(context: typer.Context) -> Home:
    """The home given with --home, else the default one."""
    from core.home import open_home

    return open_home(*context.obj)
