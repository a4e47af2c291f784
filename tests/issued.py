"""Forecasts made by hand, to be put into a ledger."""

import pandas as pd

from altrally.forecast import Driver, HorizonForecast, Score
from altrally.ledger import Entry, Ledger

INPUTS: dict[str, float | None] = {"breadth": 0.5, "liquidity": 0.0, "momentum": None}


def made_score(
    as_of: str,
    *probabilities: float,
    snapshot: str = "64acf7a19a56f8ff",
    base_rate: float = 0.4,
    in_sample: bool = False,
    market: str = "files",
    threshold: float = 0.3,
) -> Score:
    """A forecast of 30, 60 and 90 days."""
    return Score(
        as_of=as_of,
        market=market,
        snapshot=snapshot,
        model={"name": "hazard", "version": "8", "run_id": "1174ddf094e24f0e8cd7fa5cc302f42a"},
        outcome={"kind": "first_passage", "threshold": threshold},
        horizons=[
            HorizonForecast(days, p, p / 2, (1 + p) / 2, base_rate)
            for days, p in zip((30, 60, 90), probabilities or (0.2, 0.4, 0.5), strict=True)
        ],
        skill={"shown": False},
        drivers=[Driver("breadth", 0.25), Driver("liquidity", -0.1)],
        neutral=["liquidity"],
        in_sample=in_sample,
        freshness=[],
    )


def put(ledger: Ledger, score: Score, *, days_later: float = 1.25, code_version: str = "0.1.0") -> Entry:
    """Issue a forecast, by default six hours after its day has ended."""
    issued_at = pd.Timestamp(score.as_of) + pd.Timedelta(days=days_later)
    return ledger.append_score(score, inputs=INPUTS, issued_at=issued_at, code_version=code_version)


def came(as_of: str, days: int, event: int, market: str = "files") -> dict[str, object]:
    """An outcome as the ledger holds it."""
    end = pd.Timestamp(as_of) + pd.Timedelta(days=days)
    dates = {"as_of": as_of, "label_end": f"{end:%Y-%m-%d}", "known": f"{end + pd.Timedelta(days=1):%Y-%m-%d}"}
    return {
        **dates,
        "market": market,
        "outcome": {"kind": "first_passage", "threshold": 0.3},
        "days": days,
        "event": event,
        "snapshot": "0" * 16,
    }
