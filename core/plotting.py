"""Matplotlib, imported so that no setting of the shell or notebook a command is started from can stop it."""

import os
from contextlib import suppress


def import_matplotlib() -> None:
    """Import it also where MPLBACKEND names a backend that isn't here, as that of the notebook this was started from."""
    backend = os.environ.pop("MPLBACKEND", None)
    import matplotlib

    if backend is not None:
        os.environ["MPLBACKEND"] = backend
        with suppress(ValueError):
            matplotlib.rcParams["backend"] = backend
