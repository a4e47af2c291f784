"""Writes the results of docs/power.md anew from docs/power.json, between the two marks there.

altrally power ... --json > docs/power.json; python benchmarks/power_table.py
"""

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from altrally.power_page import needed_sentence, size_sentence

DOCS = Path(__file__).parents[1] / "docs"
BEGIN, END = "<!-- results -->\n", "<!-- end of results -->\n"

OURS = {"drift": "drift score", "history": "history supports it", "live": "shown live"}
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
    head = ["years", "strength", "inputs", "markets", "skill against volatility", "against climatology", *tests.values()]
    rows = [
        [
            row["years"],
            f"{row['strength']:g}",
            row["inputs"],
            row["markets"],
            skill(row["skill"]["volatility"]),
            skill(row["skill"]["climatology"]),
            *(share(row[test]) for test in tests),
        ]
        for row in report["cells"]
    ]
    return "\n".join(f"| {' | '.join(map(str, cells))} |" for cells in [head, ["---"] * len(head), *rows])


def results(report: Mapping[str, Any]) -> str:
    """Every table and sentence that rests on the figures."""
    needed = "\n".join(f"- {needed_sentence(row)}" for row in report["years_needed"])
    parts = (
        f"Study `{report['configuration']}`, seed {report['seed']}, coins {report['lag_weeks']} weeks behind liquidity.",
        "The grades:",
        table(report, OURS),
        "\n".join([*(f"- {size_sentence(row)}" for row in report["size_kept"]), needed]).strip(),
        "Tests that are usual, on the same markets:",
        table(report, USUAL),
        "Single slopes, Newey–West over 13 weeks:",
        table(report, SLOPES),
    )
    return "\n\n".join(part for part in parts if part) + "\n"


def main() -> None:
    """Replace what stands between the marks."""
    page = DOCS / "power.md"
    before, rest = page.read_text().split(BEGIN)
    _, after = rest.split(END)
    page.write_text(before + BEGIN + results(json.loads((DOCS / "power.json").read_text())) + END + after)


if __name__ == "__main__":
    main()
