"""Every error a user can meet, in one tree, and what of an error text may be shown: never a password, a token or a key."""

import re
from collections.abc import Iterable, Mapping
from difflib import get_close_matches

NO_DOCSTRINGS = "Python leaves docstrings out (PYTHONOPTIMIZE=2 or -OO), and formulas stand in them: run it without that setting."


class AltrallyError(Exception):
    """Base of every error whose text is meant for the user."""


class BadInput(AltrallyError):
    """An argument, a file or a cell is not what it must be."""


class UnknownName(BadInput):
    """No series, feature, model, provider or run has that name."""

    def __init__(self, kind: str, name: str, allowed: Iterable[str]) -> None:
        names = sorted(allowed)
        near = get_close_matches(name, names, n=1)
        hint = f"Did you mean {near[0]!r}? " if near else ""
        super().__init__(f"No {kind} {name!r}. {hint}Known: {', '.join(names) or 'none'}.")


class MissingData(AltrallyError):
    """What is asked for was not known by then, or was never fetched."""


class GateClosed(AltrallyError):
    """Data is there, but too thin or too old to be trusted."""


class RevisedWithoutVintages(AltrallyError):
    """A revised series without its vintages would show the past what only the future knew."""


class FetchFailed(AltrallyError):
    """A source did not answer, or answered with something that can't be stored."""


class SourceUnreachable(FetchFailed):
    """A source doesn't answer, or refuses whatever is asked; asking it for anything else is no use now."""


class StoreUnusable(AltrallyError):
    """The store is locked, damaged or holds another market."""


class Damaged(StoreUnusable):
    """SQLite, DuckDB, or a hash kept with what was written, says that a file isn't what was written."""


class InUse(StoreUnusable):
    """Another process is at work in it: sound, and for the moment not ours."""


class OtherVersion(StoreUnusable):
    """Another version of MLflow or DuckDB left a file as it is: sound, and not to be read by this one."""


class NoChampion(AltrallyError):
    """Nothing has been trained in this home yet."""


class Lost(NoChampion):
    """A run was deleted from MLflow for good, or a file of one is gone; what is left is sound."""


class Refused(AltrallyError):
    """A rule of STATISTICS forbids what was asked; the text names the rule."""


class EngineLost(AltrallyError):
    """The cluster doesn't answer, lost its workers, or would compute something else than we do."""


class LeakFound(AltrallyError):
    """A model was about to learn what its test days couldn't know, or a feature changes with the future."""


class LedgerBroken(AltrallyError):
    """The ledger isn't what was written: a line was changed, removed or put in."""


CREDENTIALS = re.compile(r"(?<=://)[^/\s@]*@")
QUERY = re.compile(r"(\w+://[^\s?#'\"]*)\?[^\s'\"]*")
SECRET_VARIABLES = ("FRED_API_KEY", "MLFLOW_TRACKING_PASSWORD", "MLFLOW_TRACKING_TOKEN")


def redacted(text: str) -> str:
    """`text` with user, password and query of every address in it replaced by ***."""
    return QUERY.sub(r"\1?***", CREDENTIALS.sub("***@", text))


def without_secrets(text: str, environment: Mapping[str, str]) -> str:
    """As `redacted`, and without the values of the variables that hold secrets."""
    for value in (environment.get(name, "").strip() for name in SECRET_VARIABLES):
        text = text.replace(value, "***") if value else text
    return redacted(text)
