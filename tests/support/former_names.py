"""The project under the names it had before `core` and `studies`, for scripts beside the project that still use them.

python tests/support/former_names.py SCRIPT ARGUMENTS ...
"""

import runpy
import sys
from importlib import import_module

FORMER = {
    "altrally.clock": "altrally.api",
    "altrally.settings": "core.home",
    "features.builder": "features.build",
    "sources.gates": "sources.quality",
    "sources.target": "core.target",
}
FORMER_FUNCTIONS = {"altrally.api": {"opened": "open_store", "place_of": "tracking_place"}}


def give_former_names() -> None:
    """Make the former names importable in this process."""
    for former, name in FORMER.items():
        module = import_module(name)
        sys.modules[former] = module
        package, _, attribute = former.partition(".")
        setattr(import_module(package), attribute, module)
    for name, functions in FORMER_FUNCTIONS.items():
        module = import_module(name)
        for former, function in functions.items():
            setattr(module, former, getattr(module, function))


if __name__ == "__main__":
    sys.argv = sys.argv[1:]
    give_former_names()
    runpy.run_path(sys.argv[0], run_name="__main__")
