"""Forecasts of the champion's rivals, recorded each day beside its own and never shown as a forecast, to earn live evidence."""

from dataclasses import asdict
from typing import Any

import pandas as pd

from altrally.ledger import Ledger
from altrally.score import Inputs, edge_of
from altrally.settings import Home
from models.card import Card
from models.registry import Shadow, load_shadows


def record_shadows(home: Home, ledger: Ledger, card: Card, inputs: Inputs, now: pd.Timestamp) -> int:
    """Record what every model of the newest training forecasts for the day of the inputs; how many models.

    `card` is the champion's. Raises Refused or StoreUnusable where the models can't be read.
    """
    models = load_shadows(home.tracking_uri, home.folder, card.family, card.label)
    if not models:
        return 0
    about = {"as_of": f"{inputs.as_of:%Y-%m-%d}", "market": card.market, "outcome": card.outcome, "snapshot": inputs.snapshot}
    forecasts = [forecast_of(shadow, inputs) for shadow in models]
    ledger.append_shadows({**about, "horizons": card.horizons, "models": forecasts}, now)
    return len(models)


def forecast_of(shadow: Shadow, inputs: Inputs) -> dict[str, Any]:
    """One model's probabilities, a horizon each, and the edge they rest on where it has a law."""
    X = inputs.row.X[shadow.columns]
    edge = edge_of(shadow.model, X)
    return {
        "name": shadow.name,
        "version": shadow.version,
        "configuration": shadow.configuration,
        "probabilities": [float(p) for p in shadow.model.predict(X)[0]],
        "edge": None if edge is None else asdict(edge),
    }
