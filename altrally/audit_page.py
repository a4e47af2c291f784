"""What people see of an audit in a terminal. Numbers come in finished; nothing is computed here."""

from collections.abc import Iterable

from rich.console import Group, RenderableType
from rich.markup import escape
from rich.table import Table
from rich.text import Text

from altrally.audit import Audit
from altrally.audits.breakouts import IN_WINDOW, RISE, RULE, WITHIN, Event, Followed, HitRate, window_name
from altrally.audits.verdicts import NOT_SUPPORTED, SUPPORTED, Evidence
from altrally.render import market_banner, number

STYLES = {SUPPORTED: "green", NOT_SUPPORTED: "yellow"}
MARKS = {True: "hit", False: "miss", None: "unknown"}


def audit_page(found: Audit) -> Group:
    """The verdicts and their rule first, then what each part measured."""
    return Group(
        market_banner(found.market),
        Text.assemble((f"The claim, as known on {found.as_of}", "bold"), f" · {found.market} market · snapshot {found.snapshot}"),
        verdict_table(found),
        Text(f"Rule: {found.rule}", style="dim"),
        Text(found.chance, style="dim"),
        *section("Breakouts", found.breakouts.how, [event_table(found), rate_table(found), article_table(found)]),
        *section("Order of the cascade", found.cascade.how, [test_table(found)]),
        *section("Amplifier", found.amplifier.how, [amplifier_table(found)]),
        *section("Supercycle", found.supercycle.how, [measure_table(found), rally_table(found)]),
        Text("Not investment advice.", style="dim"),
    )


def section(title: str, how: str, tables: Iterable[RenderableType]) -> Iterable[RenderableType]:
    """A heading, how it was measured, and the tables."""
    yield Text(f"\n{title}", style="bold")
    yield Text(how, style="dim")
    yield from tables


def verdict_table(found: Audit) -> Table:
    """One row a line of the claim."""
    table = plain("claim", "effect, 95 %", "needed", "p", "placebo's p", "verdict")
    for line in found.lines:
        e = line.evidence
        told = Text(line.verdict, style=STYLES.get(line.verdict, ""))
        table.add_row(line.claim, effect(e), f"{e.needed:+.2f}", number(e.p, ".3f"), number(e.placebo_p, ".3f"), told)
    return table


def effect(evidence: Evidence) -> str:
    """The effect with its interval, or why there is none."""
    if evidence.effect is None:
        return escape(evidence.missing)
    if evidence.low is None or evidence.high is None:
        return f"{evidence.effect:+.2f}"
    return escape(f"{evidence.effect:+.2f} [{evidence.low:+.2f}, {evidence.high:+.2f}]")


def event_table(found: Audit) -> Table:
    """Breakouts by the two rules of 252 quiet sessions, oldest first."""
    after = [f"altcoins {row} d" for row in (30, 60, 90, 180)]
    table = plain("breakout", "rule", *after, "BTC 90 d", "IWM 90 d", "+30 % after", window_name(WITHIN), window_name(IN_WINDOW))
    for event in sorted((row for row in found.breakouts.events if row.quiet == RULE[1]), key=lambda row: row.day):
        moves = [*event.followed["altcoins"], event.followed["BTC"][2], event.followed["IWM"][2]]
        marks = [MARKS[event.hits[window_name(window)]] for window in (WITHIN, IN_WINDOW)]
        table.add_row(event.day, event.kind, *map(move, moves), passage(event), *marks)
    return table


def move(followed: Followed) -> str:
    """Return at the horizon, and the highest until then."""
    if followed.value is None or followed.highest is None:
        return "–"
    return f"{followed.value:+.0%} (max {followed.highest:+.0%})"


def passage(event: Event) -> str:
    """When altcoins first stood 30 % higher, or why that isn't known."""
    if event.first_passage_days is not None:
        return f"{event.first_passage_days} d"
    return event.unknown or f"not in {event.days_seen} d"


def rate_table(found: Audit) -> Table:
    """Hit rates of the two rules beside base rates."""
    table = plain("rule", "window", "hits", "rate, exact 95 %", "base rate, all days", "p (rotations, independent)")
    for row in found.breakouts.grid:
        if row.quiet == RULE[1] and row.rise == RISE and (row.first_day, row.last_day) in (WITHIN, IN_WINDOW):
            window = window_name((row.first_day, row.last_day))
            table.add_row(row.kind, window, f"{row.hits} of {row.n}", rate(row), number(row.base_rate, ".2f"), chance(row))
    return table


def rate(row: HitRate) -> str:
    """A rate with its interval."""
    return "–" if row.rate is None else escape(f"{row.rate:.2f} [{row.low:.2f}, {row.high:.2f}]")


def chance(row: HitRate) -> str:
    """p and what it rests on."""
    return "–" if row.p is None else f"{row.p:.2f} ({row.rotations:,}, about {row.independent})"


def article_table(found: Audit) -> Table:
    """The dates the article names, and what the rule says of them."""
    table = plain("the article says", "record breakouts in it", "52-week breakouts in it", "last record breakout before its end")
    for row in found.breakouts.article:
        if row.over:
            table.add_row(
                row.said, *(", ".join(days) or "none" for days in (row.records, row.year_highs)), row.last_record_breakout
            )
        else:
            table.add_row(row.said, "not over yet", "not over yet", "–")
    return table


def test_table(found: Audit) -> Table:
    """Every lag test: as claimed, then turned around."""
    table = plain("driver → target", "", "span", "weeks", "effect, 95 %", "of weeks 1-4, 5-8, 9-13", "p", "p, Holm")
    for link in found.cascade.tests:
        names = (f"{link.driver} → {link.target}", link.direction, link.span)
        test = link.test
        if test is None:
            table.add_row(*names, "too few", *"––––")
            continue
        size = escape(f"{test.effect:+.2f} [{test.low:+.2f}, {test.high:+.2f}]")
        parts = ", ".join(f"{part:+.2f}" for part in test.parts)
        table.add_row(*names, str(test.weeks), size, parts, f"{test.p:.3f}", number(link.p_holm, ".3f"))
    return table


def amplifier_table(found: Audit) -> Table:
    """Four cells a state."""
    table = plain("state", "positive", "after capitulation", "weeks", "spells", "mean 60-day log return", "+30 % within 60 days")
    for difference in found.amplifier.differences:
        for cell in difference.cells:
            marks = ["yes" if mark else "no" for mark in (cell.positive, cell.capitulation)]
            counts = (str(cell.weeks), str(cell.spells))
            table.add_row(difference.state, *marks, *counts, number(cell.response, "+.2f"), number(cell.rally, ".2f"))
    return table


def measure_table(found: Audit) -> Table:
    """Where the latest value stands in its past."""
    table = plain("measure", "latest, of", "value", "percentile on the claim's side, 95 %", "past values (worth)", "p")
    for row in found.supercycle.measures:
        share = "–" if row.percentile is None else escape(f"{row.percentile:.2f} [{row.low:.2f}, {row.high:.2f}]")
        past = f"{row.n} ({row.n_effective:.0f})"
        table.add_row(row.name, row.day or "–", number(row.value, ".2f"), share, past, number(row.p, ".2f"))
    return table


def rally_table(found: Audit) -> Table:
    """Every rally."""
    table = plain("rally from", "highest", "over", "days", "rise", "pullback", "rising coins")
    for row in found.supercycle.rallies:
        over = row.end or "goes on"
        rising = "–" if row.rising_coins is None else f"{row.rising_coins:.0%} of {row.coins}"
        table.add_row(row.low, row.high, over, str(row.days), f"{row.rise:+.0%}", f"{row.pullback:.0%}", rising)
    return table


def plain(*columns: str) -> Table:
    """A table without lines."""
    return Table(*columns, box=None, pad_edge=False)
