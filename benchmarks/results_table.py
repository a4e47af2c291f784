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
    skills = (cell(row[f"skill_{name}"]) for name in BASELINES)
    chance = (p_value(row[name]) for name in ("null_p", "claim_null_p", "best_of_n_p"))
    return f"| {row['model']} | {row['brier']:.4f} | {row['auc']:.2f} | {' | '.join(skills)} | {' | '.join(chance)} |"


def p_value(p: float | None) -> str:
    """A p-value, or a dash where it can't be had."""
    return "–" if p is None else f"{p:.3f}"


def main() -> None:
    """Print it as Markdown."""
    rows = [row for row in json.load(sys.stdin) if row["horizon"] == DAYS]
    first = rows[0]
    windows = f"{first['n']} weeks, about {first['n_effective']:.0f} independent windows"
    print(f"{windows}; a rally followed {first['base_rate']:.0%} of them. {first['trials']} tries were counted.\n")
    print("| model | Brier | AUC | skill against climatology | random walk | momentum | null p | claim's p | best-of-N p |")
    print("|---|---|---|---|---|---|---|---|---|")
    print("\n".join(line(row) for row in rows))


if __name__ == "__main__":
    main()
