"""Reads the definition of a sweep from a TOML file, and checks each key."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import date
from pathlib import Path
from typing import Any

import pandas as pd

from core.errors import BadInput
from core.target import ALTCOINS, Key, Target, is_number, read_target, read_toml, require_keys
from features.registry import BLOCKS, FEATURES
from models.catalog import MODELS
from studies.search_space import Sweep

MOST_TRIALS = 100_000
LONGEST_PATH = 200
LEAST_PRIOR, LARGEST_PRIOR = 0.001, 100


def are_distinct(value: Any, holds: Callable[[Any], bool]) -> bool:
    """Whether a value is a list of different items that each pass the check `holds`."""
    return isinstance(value, list) and bool(value) and all(map(holds, value)) and len({*value}) == len(value)


def is_tunable(name: Any) -> bool:
    """Whether a value names a model whose prior a sweep can vary."""
    return isinstance(name, str) and name in TUNABLE


def is_file_name(value: Any) -> bool:
    """Whether a value may name a file."""
    return isinstance(value, str) and value.isprintable() and 0 < len(value) <= LONGEST_PATH


def is_prior(value: Any) -> bool:
    """Whether a value may be the standard deviation of a prior: squared and inverted it stays a number."""
    return is_number(value) and LEAST_PRIOR <= value <= LARGEST_PRIOR


COLUMNS = BLOCKS
TUNABLE = ("hazard", "logit")
KEYS: Mapping[str, Key] = {
    "target": Key(is_file_name, "the file of a target, seen from this one"),
    "trials": Key(lambda value: type(value) is int and 1 <= value <= MOST_TRIALS, f"a whole number from 1 to {MOST_TRIALS}"),
    "seed": Key(lambda value: type(value) is int and value >= 0, "a whole number of at least 0"),
    "first_test": Key(lambda value: type(value) is date, "a day, as in 2018-01-01 without quotes"),
    "columns": Key(
        lambda value: are_distinct(value, lambda name: isinstance(name, str) and name in (*COLUMNS, *FEATURES)),
        f"a list of blocks ({', '.join(COLUMNS)}) or features (`altrally features` lists them), each once",
    ),
    "models": Key(lambda value: are_distinct(value, is_tunable), f"a list of any of {', '.join(TUNABLE)}, each once"),
    "prior_sd": Key(
        lambda value: are_distinct(value, is_prior),
        f"a list of different numbers from {LEAST_PRIOR} to {LARGEST_PRIOR}, as in [0.1, 0.3]",
    ),
    "moves": Key(lambda value: are_distinct(value, is_number), "a list of different shares, as in [0.2, 0.3]"),
}


@dataclass(frozen=True)
class Defaults:
    """Defaults of the optional keys."""

    trials: int = 1000
    seed: int = 7
    first_test: date = date(2018, 1, 1)
    columns: tuple[str, ...] = COLUMNS
    models: tuple[str, ...] = ("hazard",)
    prior_sd: tuple[float, ...] = (0.1, 0.2, 0.3, 0.5, 1.0)


def read_sweep(path: Path) -> Sweep:
    """The sweep a file declares. Raises BadInput: file, key, value, what to do."""
    declared = read_toml(path, "docs/sweep.md shows one that is")
    require_keys(declared, KEYS, path.name, "", of="sweep")
    return parse_sweep({**vars(Defaults()), **declared}, target_beside(path, declared), path.name)


def target_beside(path: Path, declared: Mapping[str, Any]) -> Target:
    """The target named, or the built-in one."""
    return read_target(path.parent / declared["target"]) if "target" in declared else ALTCOINS


def parse_sweep(values: Mapping[str, Any], target: Target, file: str) -> Sweep:
    """The sweep from checked values. Raises BadInput where they don't fit together."""
    try:
        targets = tuple(target.with_outcome(move=float(move)) for move in values["moves"]) if "moves" in values else (target,)
    except BadInput as error:
        raise BadInput(f"{file}: moves: {str(error).replace('--threshold ', '')}") from None
    for name in values["models"]:
        if target.outcome not in MODELS[name].kinds:
            raise BadInput(f"{file}: models: {name!r} can't speak of the outcome {target.outcome}; write logit.")
    return Sweep(
        targets=targets,
        columns=tuple(values["columns"]),
        models=tuple(values["models"]),
        prior_sd=tuple(float(sd) for sd in values["prior_sd"]),
        trials=values["trials"],
        first_test=pd.Timestamp(values["first_test"]),
        seed=values["seed"],
    )
