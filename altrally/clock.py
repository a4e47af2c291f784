"""The clock, read here and nowhere else, and passed in everywhere."""

import pandas as pd


def now() -> pd.Timestamp:
    """The moment, UTC, without a zone."""
    return pd.Timestamp.now("UTC").tz_localize(None)
