"""Saves models to skops files and loads them, with an explicit list of trusted types. Pickles are never loaded."""

import io
import json
import zipfile
from collections.abc import Mapping
from hashlib import sha256
from pathlib import Path
from typing import TYPE_CHECKING

from core.errors import Refused

if TYPE_CHECKING:  # scikit-learn takes a second to import, and finding a champion needs none of it
    from models.base import HorizonModel
    from models.forecaster import Forecaster

TRUSTED_TYPES: list[str] = [
    "models.boosted.Boosted",
    "models.rules.Climatology",
    "models.rules.ConditionalRate",
    "models.forecaster.Forecaster",
    "models.hazard.Hazard",
    "models.logit.RidgeLogit",
    "models.passage.Passage",
    "models.pool.Pool",
    "models.random_walk.RandomWalk",
    "models.volatility.Volatility",
]

PLAIN = ("builtins", "numpy")
"""Packages of plain values and arrays."""


def load(path: Path, sha: str) -> "Forecaster":
    """Read a skops file whose SHA-256 must be `sha`; raises Refused where it isn't, or where it holds a type that isn't ours."""
    from models.forecaster import Forecaster

    forecaster = unpack(read_saved(path, sha), path.name)
    if not isinstance(forecaster, Forecaster):
        raise Refused(f"{path.name} holds a {type(forecaster).__name__}, not a Forecaster.")
    return forecaster


def save_models(models: Mapping[str, "HorizonModel"], path: Path) -> None:
    """Write models by name to one file."""
    import skops.io

    skops.io.dump(dict(models), path)


def load_models(path: Path, sha: str) -> "dict[str, HorizonModel]":
    """Read models by name from a file whose SHA-256 must be `sha`. Raises as `load` does."""
    models = unpack(read_saved(path, sha), path.name)
    if not isinstance(models, dict):
        raise Refused(f"{path.name} holds a {type(models).__name__}, not models by name.")
    return models


def read_saved(path: Path, sha: str) -> bytes:
    """Content of a file; raises Refused where its SHA-256 isn't `sha`."""
    content = path.read_bytes()
    if sha256(content).hexdigest() != sha:
        raise Refused(f"{path.name} isn't the file that was saved: its SHA-256 differs from the registered {sha[:12]}…")
    return content


def unpack(content: bytes, name: str) -> object:
    """The object in a skops file, if every type in it is trusted. Whatever a damaged or hostile file raises is a refusal."""
    import skops.io

    try:
        strange = sorted({*skops.io.get_untrusted_types(data=content), *types_in(content)} - set(TRUSTED_TYPES))
    except Exception as error:
        raise Refused(f"{name} isn't a skops file ({first_line(error)}). Pickles are never loaded.") from None
    if strange:
        raise Refused(f"{name} holds types that aren't trusted: {', '.join(strange)}.")
    try:
        return skops.io.loads(content, trusted=TRUSTED_TYPES)
    except Exception as error:
        raise Refused(f"{name} can't be loaded ({first_line(error)}). Train again.") from None


def types_in(content: bytes) -> set[str]:
    """The types a skops file names, but for Python's and NumPy's own.

    skops by itself also trusts every estimator of scikit-learn; nobody checks what those hold.
    """
    with zipfile.ZipFile(io.BytesIO(content)) as archive:
        todo = [json.loads(archive.read("schema.json"))]
    found = set()
    while todo:
        node = todo.pop()
        if isinstance(node, dict) and "__class__" in node and str(node.get("__module__")).partition(".")[0] not in PLAIN:
            found.add(f"{node.get('__module__')}.{node['__class__']}")
        todo.extend(node.values() if isinstance(node, dict) else node if isinstance(node, list) else ())
    return found


def first_line(error: Exception) -> str:
    """First line of an error's message, at most 200 characters."""
    return (str(error).strip().splitlines() or [type(error).__name__])[0][:200]


def digest(path: Path) -> str:
    """SHA-256 of a file, in hex."""
    return sha256(path.read_bytes()).hexdigest()
