"""How metrics are named in MLflow: `60d/brier`, grouped by horizon. Names of earlier versions are read as the same metrics."""

import re
from collections.abc import Mapping

OLD_NAMES = (
    (r"(brier|log_score|auc|n|n_effective|base_rate)_(\d+)", r"\2d/\1"),
    (r"skill_climatology_(\d+)_null_p", r"\1d/null_p"),
    (r"claim_(\d+)_null_p", r"\1d/claim_null_p"),
    (r"best_of_n_(\d+)_p", r"\1d/best_of_n_p"),
    (r"skill_(volatility|climatology|random_walk|momentum)_(\d+)", r"\2d/skill_vs_\1"),
    (r"skill_(volatility|climatology|random_walk|momentum)_(\d+)_lo", r"\2d/skill_vs_\1_low"),
    (r"skill_(volatility|climatology|random_walk|momentum)_(\d+)_hi", r"\2d/skill_vs_\1_high"),
    (r"gain_(\d+)", r"\1d/gain"),
    (r"gain_(\d+)_lo", r"\1d/gain_low"),
    (r"gain_(\d+)_hi", r"\1d/gain_high"),
    (r"gain_(\d+)_dm_p", r"\1d/gain_hac_p"),
)
"""Patterns of the names that earlier versions logged, and what such a metric is called now."""


def metric_name(days: int, what: str) -> str:
    """The name of a metric at one horizon, as `60d/brier`."""
    return f"{days}d/{what}"


def renamed(metrics: Mapping[str, float | None]) -> dict[str, float | None]:
    """Metrics by the names of today; a name that is none of the old ones stays."""
    return {current_name(name): value for name, value in metrics.items()}


def current_name(name: str) -> str:
    """What a metric is called now."""
    for old, new in OLD_NAMES:
        match = re.fullmatch(old, name)
        if match:
            return match.expand(new)
    return name
