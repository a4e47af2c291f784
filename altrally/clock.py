"""The clock, read here and passed in; only what MLflow notes of itself is timed where it is noted (`training/tracking.py`)."""

import pandas as pd


def now() -> pd.Timestamp:
    """The moment, UTC, without a zone."""
    return pd.Timestamp.now("UTC").tz_localize(None)
