"""The tables of docs/power.md from the figures beside it: python benchmarks/power_table.py < docs/power.json"""

import json
import sys
from collections.abc import Mapping
from typing import Any

OURS = {"shift": "shift p", "claim": "claim's p", "best_of_n": "best-of-N p", "shown": "skill shown"}
USUAL = {
    "auc": "AUC above 0.5, weeks as independent",
    "diebold_mariano": "Diebold–Mariano, HAC",
    "any_slope": "any of the claim's 5 slopes",
}
SLOPES = {f"slope_{name}": name for name in ("breadth", "breakout", "volume", "liquidity", "ladder", "crypto_state")}


def share(part: Mapping[str, Any] | None) -> str:
    """A share with its exact interval, in percent."""
    return "–" if part is None else f"{part['value']:.1%} [{part['low']:.1%}, {part['high']:.1%}]"


def skill(part: Mapping[str, Any]) -> str:
    """Mean skill with its interval."""
    return f"{part['value']:+.3f}" if part["low"] is None else f"{part['value']:+.3f} [{part['low']:+.3f}, {part['high']:+.3f}]"


def table(report: Mapping[str, Any], tests: Mapping[str, str]) -> str:
    """Rows of lengths, strengths and inputs; columns of tests."""
    head = ["years", "strength", "inputs", "markets", "mean skill", *tests.values()]
    rows = [
        [
            row["years"],
            f"{row['strength']:g}",
            row["inputs"],
            row["markets"],
            skill(row["skill"]),
            *(share(row[test]) for test in tests),
        ]
        for row in report["cells"]
    ]
    return "\n".join(f"| {' | '.join(map(str, cells))} |" for cells in [head, ["---"] * len(head), *rows])


def main() -> None:
    """Print them, ours first."""
    report = json.load(sys.stdin)
    print("\n\n".join(table(report, tests) for tests in (OURS, USUAL, SLOPES)))


if __name__ == "__main__":
    main()
