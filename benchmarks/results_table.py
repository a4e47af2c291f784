"""The README's table of results, from `altrally verify --json` on standard input: one row a model, 60 days, 95 % intervals."""

import json
import sys
from typing import Any

DAYS = 60
BASELINES = ("climatology", "random_walk", "momentum")


def cell(skill: dict[str, float | None]) -> str:
    """A skill with its interval."""
    value, low, high = (skill[key] for key in ("value", "low", "high"))
    if value is None or low is None or high is None:
        return "–"
    return f"{value:+.3f} [{low:+.3f}, {high:+.3f}]"


def line(row: dict[str, Any]) -> str:
    """One model."""
    cells = (cell(row[f"skill_{name}"]) for name in BASELINES)
    return f"| {row['model']} | {row['brier']:.4f} | {row['log_score']:.3f} | {row['auc']:.2f} | {' | '.join(cells)} |"


def main() -> None:
    """Print it as Markdown."""
    rows = [row for row in json.load(sys.stdin) if row["horizon"] == DAYS]
    first = rows[0]
    windows = f"{first['n']} weeks, about {first['n_effective']:.0f} independent windows"
    print(f"{windows}; a rally followed {first['base_rate']:.0%} of them.\n")
    print("| model | Brier | log | AUC | skill against climatology | against the random walk | against momentum |")
    print("|---|---|---|---|---|---|---|")
    print("\n".join(line(row) for row in rows))


if __name__ == "__main__":
    main()
