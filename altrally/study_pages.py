"""What people see in a terminal of an audit, a leak check, a power study and a sweep. Nothing is computed here."""

from collections.abc import Iterable, Mapping
from typing import Any

from rich.console import Group, RenderableType
from rich.markup import escape
from rich.table import Table
from rich.text import Text

from altrally.columns import PlainTable
from altrally.render import market_banner
from core.number_format import interval, number, signed, signed_share
from studies.audit.breakouts import BREAKOUT_RULE, IN_WINDOW, RISE, WITHIN, Event, Followed, HitRate, window_name
from studies.audit.claim import Audit
from studies.audit.verdicts import NOT_SUPPORTED, SUPPORTED, Evidence
from studies.leakcheck import CLEAN, NO_VALUE, Finding, LeakReport
from training.model_card import baseline_clause

VERDICT_STYLES = {SUPPORTED: "green", NOT_SUPPORTED: "yellow"}
CHANCE = "p (rotations, independent)"
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
    table = PlainTable(
        "claim", "effect, 95 %", "needed", "p", "placebo's p", "verdict", least_needed=("placebo's p", "p", "needed")
    )
    for line in found.lines:
        e = line.evidence
        told = Text(line.verdict, style=VERDICT_STYLES.get(line.verdict, ""))
        table.add_row(line.claim, effect(e), signed(e.needed), number(e.p, 3), number(e.placebo_p, 3), told)
    return table


def effect(evidence: Evidence) -> str:
    """The effect with its interval, or why there is none."""
    if evidence.effect is None:
        return escape(evidence.missing)
    return escape(interval({"value": evidence.effect, "low": evidence.low, "high": evidence.high}, 2))


def event_table(found: Audit) -> Table:
    """Breakouts by the two rules of 252 quiet sessions, oldest first."""
    after = [f"altcoins {row} d" for row in (30, 60, 90, 180)]
    windows = (window_name(WITHIN), window_name(IN_WINDOW))
    least = ("IWM 90 d", "BTC 90 d", after[3], after[0], "rule", after[1], after[2])
    table = PlainTable("breakout", "rule", *after, "BTC 90 d", "IWM 90 d", "+30 % after", *windows, least_needed=least)
    for event in sorted((row for row in found.breakouts.events if row.quiet == BREAKOUT_RULE[1]), key=lambda row: row.day):
        moves = [*event.followed["altcoins"], event.followed["BTC"][2], event.followed["IWM"][2]]
        marks = [MARKS[event.hits[window_name(window)]] for window in (WITHIN, IN_WINDOW)]
        table.add_row(event.day, event.kind, *map(move, moves), passage(event), *marks)
    return table


def move(followed: Followed) -> str:
    """Return at the horizon, and the highest until then."""
    if followed.value is None or followed.highest is None:
        return "–"
    return f"{signed_share(followed.value)} (max {signed_share(followed.highest)})"


def passage(event: Event) -> str:
    """When altcoins first stood 30 % higher, or why that isn't known."""
    if event.first_passage_days is not None:
        return f"{event.first_passage_days} d"
    return event.unknown or f"not in {event.days_seen} d"


def rate_table(found: Audit) -> Table:
    """Hit rates of the two rules beside base rates."""
    table = PlainTable("rule", "window", "hits", "rate, exact 95 %", "base rate, all days", CHANCE, least_needed=(CHANCE,))
    for row in found.breakouts.grid:
        if row.quiet == BREAKOUT_RULE[1] and row.rise == RISE and (row.first_day, row.last_day) in (WITHIN, IN_WINDOW):
            window = window_name((row.first_day, row.last_day))
            table.add_row(row.kind, window, f"{row.hits} of {row.n}", rate(row), number(row.base_rate, 2), chance(row))
    return table


def rate(row: HitRate) -> str:
    """A rate with its interval."""
    return "–" if row.rate is None else escape(f"{row.rate:.2f} [{row.low:.2f}, {row.high:.2f}]")


def chance(row: HitRate) -> str:
    """p and what it rests on."""
    return "–" if row.p is None else f"{row.p:.2f} ({row.rotations:,}, about {row.independent})"


def article_table(found: Audit) -> Table:
    """The dates the article names, and what the rule says of them."""
    table = PlainTable(
        "the article says", "record breakouts in it", "52-week breakouts in it", "last record breakout before its end"
    )
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
    heads = ("driver → target", "direction", "span", "weeks", "effect, 95 %", "of weeks 1-4, 5-8, 9-13", "p", "p, Holm")
    table = PlainTable(*heads, least_needed=(heads[5], "span", "p", "weeks"))
    for link in found.cascade.tests:
        names = (f"{link.driver} → {link.target}", link.direction, link.span)
        test = link.test
        if test is None:
            table.add_row(*names, "too few", *"––––")
            continue
        size = escape(interval({"value": test.effect, "low": test.low, "high": test.high}, 2))
        parts = ", ".join(map(signed, test.parts))
        table.add_row(*names, str(test.weeks), size, parts, f"{test.p:.3f}", number(link.p_holm, 3))
    return table


def amplifier_table(found: Audit) -> Table:
    """Four cells a state."""
    table = PlainTable(
        "state", "positive", "after capitulation", "weeks", "spells", "mean 60-day log return", "+30 % within 60 days"
    )
    for difference in found.amplifier.differences:
        for cell in difference.cells:
            marks = ["yes" if mark else "no" for mark in (cell.positive, cell.capitulation)]
            counts = (str(cell.weeks), str(cell.spells))
            table.add_row(difference.state, *marks, *counts, signed(cell.response), number(cell.rally))
    return table


def measure_table(found: Audit) -> Table:
    """Where the latest value stands in its past."""
    heads = ("measure", "latest, of", "value", "percentile on the claim's side, 95 %", "past values (worth)", "p")
    table = PlainTable(*heads, least_needed=("past values (worth)", "latest, of"))
    for row in found.supercycle.measures:
        share = "–" if row.percentile is None else escape(f"{row.percentile:.2f} [{row.low:.2f}, {row.high:.2f}]")
        past = f"{row.n} ({row.n_effective:.0f})"
        table.add_row(row.name, row.day or "–", number(row.value, 2), share, past, number(row.p, 2))
    return table


def rally_table(found: Audit) -> Table:
    """Every rally."""
    table = PlainTable("rally from", "highest", "over", "days", "rise", "pullback", "rising coins")
    for row in found.supercycle.rallies:
        over = row.end or "goes on"
        rising = "–" if row.rising_coins is None else f"{row.rising_coins:.0%} of {row.coins}"
        table.add_row(row.low, row.high, over, str(row.days), signed_share(row.rise), f"{row.pullback:.0%}", rising)
    return table


LEAK_STYLES = {CLEAN: "green", NO_VALUE: "dim"}


def leakcheck_page(found: LeakReport) -> Group:
    """What was done, a row a feature, and what it comes to."""
    heads = ("feature", "block", "verdict", "first day that differs", "by", "cut after")
    table = PlainTable(*heads, least_needed=("block", "by", "cut after"))
    for one in found.findings:
        verdict = Text(one.verdict, style=LEAK_STYLES.get(one.verdict, "bold red"))
        table.add_row(escape(one.name), one.block, verdict, one.first_day or "–", gap(one), where(one))
    thinned = "; ".join(f"{name}: {share} names" for name, share in found.thinned.items())
    return Group(
        market_banner(found.market),
        Text(leakcheck_summary(found)),
        Text(f"Read in part: {thinned}." if thinned else "Every name was read.", style="dim"),
        table,
        *(Text(f"{one.name}: {one.why}.", style="dim") for one in found.findings if one.why),
        Text(verdict_of(found), style="bold"),
    )


def leakcheck_summary(found: LeakReport) -> str:
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


def share_table(report: Mapping[str, Any], tests: Mapping[str, str], title: str) -> PlainTable:
    """One row a length, strength and kind of inputs."""
    heads = ("years", "strength", "inputs", "markets", "skill against volatility", *tests.values())
    table = PlainTable(*heads, title=title, least_needed=("markets", "inputs", "skill against volatility"))
    for row in report["cells"]:
        about = (
            str(row["years"]),
            f"{row['strength']:g}",
            row["inputs"],
            str(row["markets"]),
            signed(row["skill"]["volatility"]["value"], 3),
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


def sweep_page(found: dict[str, Any]) -> Group:
    """What was searched, which configuration won, and whether that means anything."""
    about = f" · {found['market']} market · snapshot {found['snapshot']} · {found['label']}"
    header = Text.assemble((found["target"], "bold"), about)
    return Group(market_banner(found["market"]), header, *(Text(line) for line in lines(found)))


def lines(found: dict[str, Any]) -> list[str]:
    """One after the other."""
    winner, test, null = found["winner"], found["test"], found["search_null"]
    skills = ", ".join(f"{interval(test[f'skill_{name}'])} against {words}" for name, words in baseline_clause(test).items())
    mean, low, high = (signed(null[name], 3) for name in ("mean", "low", "high"))
    return [
        f"{found['tried']} of {found['of']} configurations tried on {found['searched_weeks']} weeks before {found['first_test']} "
        f"({found['cut_short']} cut short); {found['trials']} tries counted so far.",
        f"Winner: {winner['model']} on {', '.join(winner['columns'])}, prior sd {winner['prior_sd']:g}, move {winner['move']:g}; "
        f"skill in the search {signed(found['search_skill'], 3)}.",
        f"After it, {found['horizon']} days ahead, {test['n']} weeks (about {number(test['n_effective'], 0)} independent): "
        f"Brier skill {skills}.",
        f"The same search on {null['shifts']} rotations of outcomes, about {null['independent']} of them independent, finds "
        f"{mean} on average (5 to 95 %: {low} to {high}): p {found['search_p']:.3f}. "
        f"Best of N p {number(found['best_of_n_p'], 3)}{several(found['sweeps'])}.",
        verdict(found),
    ]


def several(sweeps: int) -> str:
    """What other sweeps cost."""
    return f", {sweeps} times that of one sweep, as {sweeps} have judged a winner on these days" if sweeps > 1 else ""


def verdict(found: dict[str, Any]) -> str:
    """By the one rule."""
    if found["found"]:
        return "Found: the winner's intervals exclude zero against all three baselines, and the best-of-N p is below 0.05."
    return "Nothing found: that would take intervals above zero against all three baselines, and a best-of-N p below 0.05."
