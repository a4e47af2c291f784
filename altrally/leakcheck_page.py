"""What people see of a leak check in a terminal."""

from rich.console import Group
from rich.markup import escape
from rich.table import Table
from rich.text import Text

from altrally.leakcheck import CLEAN, NO_VALUE, Finding, LeakReport
from altrally.render import market_banner

STYLES = {CLEAN: "green", NO_VALUE: "dim"}


def leakcheck_page(found: LeakReport) -> Group:
    """What was done, a row a feature, and what it comes to."""
    table = Table("feature", "block", "verdict", "first day that differs", "by", "cut after", box=None, pad_edge=False)
    for one in found.findings:
        verdict = Text(one.verdict, style=STYLES.get(one.verdict, "bold red"))
        table.add_row(escape(one.name), one.block, verdict, one.first_day or "–", gap(one), where(one))
    thinned = "; ".join(f"{name}: {share} names" for name, share in found.thinned.items())
    return Group(
        market_banner(found.market),
        Text(told(found)),
        Text(f"Read in part: {thinned}." if thinned else "Every name was read.", style="dim"),
        table,
        *(Text(f"{one.name}: {one.why}.", style="dim") for one in found.findings if one.why),
        Text(verdict_of(found), style="bold"),
    )


def told(found: LeakReport) -> str:
    """What was done."""
    return (
        f"Data to {found.as_of}, cut at {found.refits} refit dates, each future spoilt in two ways, "
        f"and {found.random_cuts} random days, in one or the other."
    )


def gap(one: Finding) -> str:
    """By how much the first day differs."""
    if one.first_day is None:
        return "–"
    return "missing in one" if one.by is None else f"{one.by:.3g}"


def where(one: Finding) -> str:
    """The cut that showed it, how the future was spoilt, and in how many runs."""
    return "–" if one.cut is None else f"{one.cut}, {one.kind} ({one.differing} of {one.runs} runs)"


def verdict_of(found: LeakReport) -> str:
    """One sentence."""
    if found.leaking:
        return f"{len(found.leaking)} of {len(found.findings)} know the future, or can't be shown not to."
    return f"None of {len(found.findings)} moved by a bit. A clean verdict covers these cuts and this data, nothing more."
