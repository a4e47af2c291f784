"""Print, as hex, what the features and a model of a small market come to in this process: to be compared between processes."""

import hashlib
import json
import sys
from pathlib import Path

import numpy as np
import pandas as pd

import features.build as builder
from evaluation.bootstrap import block_weights
from features.build import COMPOSITE_LOOKBACK, build, matrix
from models.catalog import MODELS
from sources.store import Store


def told(home: Path, threads: int) -> dict[str, object]:
    """The snapshot, a digest of every bit of the features, and forecasts with their draws."""
    builder.THREADS = threads
    day = pd.Timestamp("2020-12-27")
    with Store.open(home / "store.duckdb", read_only=True) as store:
        table = build(store, day, start=day - COMPOSITE_LOOKBACK)
        snapshot = store.snapshot(day)
    X = matrix(table, pd.date_range("2017-01-01", day, freq="W-SUN")).X[list(MODELS["hazard"].columns)]
    Y = np.maximum.accumulate(np.random.default_rng(1).uniform(size=(len(X), 3)) < 0.3, axis=1).astype(float)
    model = MODELS["hazard"].make("first_passage", 0.3).fit(X, Y)
    model.fit_draws(X, Y, block_weights(len(X), 13, 20, np.random.default_rng(7)))
    bits = [frame.to_numpy(dtype=np.float64).tobytes() for frame in (table.features, table.composites)]
    return {
        "snapshot": snapshot,
        "names": list(table.features),
        "features": hashlib.sha256(b"".join(bits)).hexdigest(),
        "scores": [model.predict(X[-5:]).tolist(), [limit.tolist() for limit in model.interval(X[-5:])]],
    }


if __name__ == "__main__":
    sys.stdout.write(json.dumps(told(Path(sys.argv[1]), int(sys.argv[2]))))
