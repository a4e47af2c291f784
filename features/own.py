"""Features of one's own, declared in a file or module outside the catalogue. Loading it runs its code."""

import importlib
import importlib.util
import sys
from functools import cache
from pathlib import Path
from types import ModuleType

from features import builder  # noqa: F401  (the catalogue is declared first, so that a name of it can't be taken)
from features.registry import FEATURES
from sources.errors import BadInput

OWN_MODULE = "own_features"


@cache
def load_own(place: str) -> tuple[str, ...]:
    """Names of the features that a Python file, or a module by its dotted name, declares. It runs once a process.

    Raises BadInput where there is no such file or module, where it fails, or where it declares none.
    """
    before = set(FEATURES)
    try:
        _file(Path(place)) if place.endswith(".py") else importlib.import_module(place)
    except Exception as error:  # whatever a stranger's code may raise
        for name in set(FEATURES) - before:
            del FEATURES[name]
        said = str(error).strip().splitlines() or [""]
        raise BadInput(f"--own {place} can't be loaded: {type(error).__name__}: {said[0]}") from error
    declared = tuple(name for name in FEATURES if name not in before)
    if not declared:
        raise BadInput(f"--own {place} declares no feature: decorate a function with `features.registry.feature`.")
    return declared


def _file(path: Path) -> ModuleType:
    if not path.is_file():
        raise FileNotFoundError("there is no such file")
    spec = importlib.util.spec_from_file_location(f"{OWN_MODULE}_{path.stem}", path)
    if spec is None or spec.loader is None:
        raise ImportError("it isn't a Python file")
    module = importlib.util.module_from_spec(spec)
    sys.modules[spec.name] = module
    spec.loader.exec_module(module)
    return module
