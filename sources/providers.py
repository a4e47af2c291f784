"""The visible registry of providers. A provider's module is imported when it is asked for."""

from importlib import import_module
from pathlib import Path
from typing import Protocol

import pandas as pd

from sources.batches import Deliveries
from sources.errors import UnknownName
from sources.progress import Progress
from sources.store import Store


class Provider(Protocol):
    """Hands out batches to be stored, and what it had to skip. `path` is the folder of `files`; `today` the running UTC day."""

    def __call__(self, store: Store, *, path: Path | None, today: pd.Timestamp, progress: Progress) -> Deliveries: ...


def batches_of(module: str) -> Provider:
    """The function `batches` of `module`, imported at its first call."""

    def provider(store: Store, *, path: Path | None, today: pd.Timestamp, progress: Progress) -> Deliveries:
        deliveries: Deliveries = import_module(module).batches(store, path=path, today=today, progress=progress)
        return deliveries

    return provider


PROVIDERS: dict[str, Provider] = {
    "live": batches_of("sources.live"),
    "files": batches_of("sources.files"),
    "simulated": batches_of("sources.simulated"),
}


def provider_named(name: str) -> Provider:
    """The provider called `name`. Raises `UnknownName`."""
    if name not in PROVIDERS:
        raise UnknownName("provider", name, PROVIDERS)
    return PROVIDERS[name]
