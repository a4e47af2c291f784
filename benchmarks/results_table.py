"""The tables of docs/results.md, from `altrally verify --json` on standard input: skill at each horizon, and year by year."""

import json
import sys
from collections.abc import Sequence
from typing import Any

DAYS = 60
BASELINES = ("volatility", "climatology", "random_walk", "momentum")
Row = dict[str, Any]


def cell(skill: dict[str, float | None]) -> str:
    """A skill with its interval."""
    value, low, high = (skill[key] for key in ("value", "low", "high"))
    if value is None or low is None or high is None:
        return "–"
    return f"{value:+.3f} [{low:+.3f}, {high:+.3f}]"


def line(row: Row) -> str:
    """One model at one horizon."""
    skills = (cell(row[f"skill_{name}"]) for name in BASELINES)
    nulls = (p_value(row[name]) for name in ("null_p", "claim_null_p", "best_of_n_p"))
    return f"| {row['model']} | {row['brier']:.4f} | {' | '.join(skills)} | {' | '.join(nulls)} | {row['grade']} |"


def p_value(p: float | None) -> str:
    """A p-value, or a dash where it can't be had."""
    return "–" if p is None else f"{p:.3f}"


def skill_table(rows: Sequence[Row], days: int) -> None:
    """Every model at one horizon, in Markdown."""
    here = [row for row in rows if row["horizon"] == days]
    first = here[0]
    windows = f"{first['n']} weeks, about {first['n_effective']:.0f} independent windows"
    print(f"**{days} days**: {windows}; a rally followed {first['base_rate']:.0%} of them.\n")
    print(
        "| model | Brier | against volatility | climatology | random walk | momentum | null p | claim's p | best-of-N p | grade |"
    )
    print("|---|---|---|---|---|---|---|---|---|---|")
    print("\n".join(line(row) for row in here), end="\n\n")


def year_table(rows: Sequence[Row]) -> None:
    """The Brier score of each model less that of the best baseline, by the year of the forecast, 60 days ahead."""
    here = {row["model"]: {one["year"]: one for one in row["by_year"]} for row in rows if row["horizon"] == DAYS}
    years = list(next(iter(here.values())))
    print("| Brier score less the best baseline's | " + " | ".join(map(str, years)) + " | worst |")
    print("|---|" + "---|" * (len(years) + 1))
    for model, by_year in here.items():
        gaps = [by_year[year]["brier"] - min(here[name][year]["brier"] for name in BASELINES) for year in years]
        print(f"| {model} | " + " | ".join(f"{gap:+.3f}" for gap in gaps) + f" | {max(gaps):+.3f} |")


def main() -> None:
    """Print them."""
    rows = json.load(sys.stdin)
    drift = rows[0]["drift"]
    print(f"Drift score: p {drift['p']:.3f} over {drift['shifts']} shifts of {drift['weeks']} weeks. ", end="")
    print(f"{rows[0]['trials']} tries were counted.\n")
    for days in sorted({row["horizon"] for row in rows}):
        skill_table(rows, days)
    year_table(rows)


if __name__ == "__main__":
    main()
