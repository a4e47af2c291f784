"""How a study of simulated markets looks in a terminal. Numbers come in finished; nothing is computed here."""

from collections.abc import Mapping
from typing import Any

from rich.console import Group
from rich.table import Table
from rich.text import Text

from altrally.render import market_banner

OURS = {"drift": "drift score", "history": "history supports it", "live": "shown live"}
USUAL = {"auc": "AUC, rows as independent", "diebold_mariano": "Diebold–Mariano", "any_slope": "any of 5 slopes"}
TESTS = {"drift": "the drift score to reject", "history": "history to support it", "live": "skill to be shown live"}


def power_page(report: Mapping[str, Any]) -> Group:
    """Shares of markets by test, promised sizes, and the years the claim would need."""
    about = (
        f"study {report['configuration']} · seed {report['seed']} · lag {report['lag_weeks']} weeks · {report['stocks']} stocks, "
        f"{report['coins']} coins · 60 days ahead"
    )
    return Group(
        market_banner(report["market"]),
        Text(about, style="dim"),
        share_table(report, OURS, f"Share of markets on which each grade is given, level {report['level']:.0%} [95 % exact]"),
        share_table(report, USUAL, "The same for tests that are usual, and don't hold here"),
        *(Text(size_sentence(row)) for row in report["size_kept"]),
        *(Text(needed_sentence(row)) for row in report["years_needed"]),
    )


def share_table(report: Mapping[str, Any], tests: Mapping[str, str], title: str) -> Table:
    """One row a length, strength and kind of inputs."""
    table = Table(
        "years",
        "strength",
        "inputs",
        "markets",
        "skill against volatility",
        *tests.values(),
        title=title,
        title_justify="left",
        box=None,
    )
    for row in report["cells"]:
        about = (
            str(row["years"]),
            f"{row['strength']:g}",
            row["inputs"],
            str(row["markets"]),
            f"{row['skill']['volatility']['value']:+.3f}",
        )
        table.add_row(*about, *(share_text(row[name]) for name in tests))
    return table


def share_text(part: Mapping[str, Any] | None) -> Text:
    """A share with its interval, in percent."""
    return Text("–") if part is None else Text(f"{part['value']:.1%} [{part['low']:.1%}, {part['high']:.1%}]")


def size_sentence(row: Mapping[str, Any]) -> str:
    """Whether the tests reject too often where there is nothing to find, at one length."""
    broken = [words for name, words in OURS.items() if not row[name]]
    told = f"NOT kept by {', '.join(broken)}" if broken else "kept, no interval lies above the level"
    return f"Size where there is nothing to find, {row['years']} years: {told}."


def needed_sentence(row: Mapping[str, Any]) -> str:
    """How many years of coins the claim would need."""
    years = f"not within {row['longest']} years" if row["years"] is None else f"{row['years']:.0f} years"
    within = f"at most {years}" if row["at_most"] else years
    return f"Years of coins for {TESTS[row['test']]} with {row['power']:.0%} power, at strength {row['strength']:g}: {within}."
