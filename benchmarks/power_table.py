"""Writes the results of docs/power.md anew from docs/power.json, between the two marks there, and draws docs/images/power.png.

altrally power ... --json > docs/power.json; python benchmarks/power_table.py
"""

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import matplotlib.pyplot as plt
from matplotlib.ticker import PercentFormatter

from altrally.study_pages import needed_sentence, size_sentence

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


def draw(report: Mapping[str, Any], file: Path) -> None:
    """How often each grade is given, with exact 95 % intervals: a panel a grade, a line a kind of market."""
    cells = report["cells"]
    figure, panels = plt.subplots(1, len(OURS), sharey=True, figsize=(10, 3.6), layout="constrained")
    places = range(len(cells), 0, -1)
    for axes, (test, title) in zip(panels, OURS.items(), strict=True):
        for place, row in zip(places, cells, strict=True):
            part = row[test]
            colour = "#2b6cb0" if row["strength"] else "#718096"
            axes.plot([part["low"], part["high"]], [place, place], color=colour, linewidth=2)
            axes.plot(part["value"], place, "o", color=colour)
        axes.axvline(report["level"], color="#c53030", linewidth=1, linestyle="--")
        axes.set(title=title, xlim=(-0.03, 1.03), xlabel="share of markets")
        axes.xaxis.set_major_formatter(PercentFormatter(1.0, decimals=0))
        axes.grid(axis="x", alpha=0.3)
    labels = [label(row) for row in cells]
    panels[0].set_yticks(list(places), labels)
    figure.savefig(file, dpi=120)


def label(row: Mapping[str, Any]) -> str:
    """What kind of market a line stands for."""
    signal = f"strength {row['strength']:g}" if row["strength"] else f"no signal, {row['inputs']} inputs"
    return f"{signal}, {row['years']} years ({row['markets']})"


def main() -> None:
    """Replace what stands between the marks, and draw the picture."""
    page = DOCS / "power.md"
    before, rest = page.read_text().split(BEGIN)
    _, after = rest.split(END)
    report = json.loads((DOCS / "power.json").read_text())
    page.write_text(before + BEGIN + results(report) + END + after)
    draw(report, DOCS / "images" / "power.png")


if __name__ == "__main__":
    main()
