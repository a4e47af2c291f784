"""Paths as addresses, and back: the one place where a path becomes a text that SQLite, MLflow or a shell parses."""

import re
from pathlib import Path
from shlex import quote
from urllib.parse import unquote, urlsplit

from sources.errors import BadInput

SQLITE = "sqlite:///"
SQLITE_ESCAPED = "sqlite+pysqlite:///"
"""MLflow makes a folder for an address that begins with plain `sqlite:///`, and would name it by the escapes in it."""

PARSED = re.compile(r"[%?#\\]")


def sqlite_address(file: Path) -> str:
    """What SQLAlchemy and MLflow are given for an SQLite file: a path that holds signs they parse is escaped."""
    escaped = PARSED.sub(lambda sign: f"%{ord(sign[0]):02X}", str(file))
    return (SQLITE if escaped == str(file) else SQLITE_ESCAPED) + escaped


def sqlite_file(address: str) -> Path | None:
    """The file that such an address names; None where it names something else, as a server."""
    for beginning in (SQLITE, SQLITE_ESCAPED):
        if address.startswith(beginning):
            return Path(unquote(address.removeprefix(beginning).partition("?")[0]))
    return None


def read_only(file: Path) -> str:
    """What `sqlite3.connect(…, uri=True)` is given to read a file and never write or create it."""
    return f"{file.resolve().as_uri()}?mode=ro"


def folder_address(folder: Path) -> str:
    """What MLflow is given for a folder of artifacts."""
    return folder.resolve().as_uri()


def folder_at(address: str) -> Path | None:
    """The folder on this machine that MLflow takes an address for; None where it is on a server.

    Homes from before addresses were escaped hold plain paths.
    """
    if address.startswith("file:"):
        return Path(unquote(urlsplit(address).path))
    return Path(unquote(address)) if address.startswith("/") else None


def expanded(named: str | Path) -> Path:
    """A path as typed, with `~` followed. Raises BadInput where there is no such user."""
    try:
        return Path(named).expanduser()
    except RuntimeError as error:
        raise BadInput(f"{named} leads nowhere ({str(error).rstrip('.')}). Name another folder.") from None


def command(home: Path, words: str) -> str:
    """What to type into a shell for a home; `words` are what follows."""
    return f"altrally --home {quote(str(home))} {words}"
