"""The daily feature table of a store, kept on disk: built once for what is stored and the code that computes it."""

import sys
from contextlib import suppress
from functools import cache
from hashlib import sha256
from importlib.metadata import version
from io import BytesIO
from pathlib import Path
from uuid import uuid4

import numpy as np
import pandas as pd

from core.target import ALTCOINS, Target
from features.build import FeatureTable, build
from features.registry import BLOCKS
from features.targets import features_of
from sources.reader import Reader

FIRST_DAY = pd.Timestamp("2009-01-01")
"""Six years before the first training row. Every table begins here: where running sums begin decides their last bits."""

MOST_FILES = 4
DECIDES_BITS = ("numpy", "pandas", "bottleneck", "numba", "scipy")
"""Packages whose versions may change the last bits of a feature."""


def daily_table(store: Reader, as_of: pd.Timestamp, target: Target = ALTCOINS, *, start: pd.Timestamp = FIRST_DAY) -> FeatureTable:
    """Every feature and composite of a target on the days from `FIRST_DAY`, or `start` where that is earlier, to `as_of`.

    The same bits as `features.build.build`. Where the store has a cache folder, the table is read from there, unless the stored
    rows, the code of the features or a package that computes them has changed since it was written. Raises RevisedWithoutVintages.
    """
    days = pd.date_range(min(start, FIRST_DAY), pd.Timestamp(as_of).normalize(), unit="us", name="day")
    if store.cache is None:
        return build(store, days[-1], start=days[0], target=target)
    names = list(features_of(target))
    file = store.cache / f"features-{table_key(store, days, target, names)}.bin"
    values = read_values(file, (len(days), len(names) + len(BLOCKS)))
    if values is None:
        table = build(store, days[-1], start=days[0], target=target)
        write_values(file, np.hstack([table.features.to_numpy(dtype=np.float64), table.composites.to_numpy(dtype=np.float64)]))
        return table
    features, blocks = values[:, : len(names)], values[:, len(names) :]
    return FeatureTable(days[-1], pd.DataFrame(features, days, names), pd.DataFrame(blocks, days, list(BLOCKS)))


def table_key(store: Reader, days: pd.DatetimeIndex, target: Target, names: list[str]) -> str:
    """16 hex digits that name all a table depends on: what is stored, the days, the target, the features and their code."""
    parts = [store.contents(), f"{days[0]:%Y-%m-%d}", f"{days[-1]:%Y-%m-%d}", repr(target), *names, code_digest()]
    modules = {feature.function.__code__.co_filename for feature in features_of(target).values()}
    parts += [sha256(Path(module).read_bytes()).hexdigest() for module in sorted(modules) if Path(module).is_file()]
    return sha256("\n".join(parts).encode()).hexdigest()[:16]


@cache
def code_digest() -> str:
    """SHA-256 of the code that reads the store and computes features, and of the versions it computes with."""
    root = Path(__file__).resolve().parents[1]
    files = [root / "core" / "target.py", *sorted(root.glob("features/*.py")), *sorted(root.glob("sources/*.py"))]
    digest = sha256(" ".join([sys.version, *(version(package) for package in DECIDES_BITS)]).encode())
    for file in files:
        digest.update(file.read_bytes())
    return digest.hexdigest()


def read_values(file: Path, shape: tuple[int, int]) -> np.ndarray | None:
    """The values in a file; None where there is none, or where it isn't what was written."""
    try:
        content = file.read_bytes()
        if sha256(content[32:]).digest() != content[:32]:
            return None
        values = np.load(BytesIO(content[32:]), allow_pickle=False)
    except (OSError, ValueError, EOFError):
        return None
    return values if values.shape == shape else None


def write_values(file: Path, values: np.ndarray) -> None:
    """Write values after their SHA-256, in one step, and remove all but the newest files. A full or read-only disk is no error."""
    buffer = BytesIO()
    np.save(buffer, values, allow_pickle=False)
    content = buffer.getvalue()
    unfinished = file.with_name(f"{file.name}.{uuid4().hex}.new")
    with suppress(OSError):
        file.parent.mkdir(parents=True, exist_ok=True)
        try:
            unfinished.write_bytes(sha256(content).digest() + content)
            unfinished.replace(file)
        finally:
            unfinished.unlink(missing_ok=True)
        by_age = sorted(file.parent.glob("features-*"), key=lambda path: path.stat().st_mtime, reverse=True)
        for old in by_age[MOST_FILES:]:
            old.unlink(missing_ok=True)
