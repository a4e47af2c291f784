"""Pages of an audit, a leak check, a power study and a sweep for the terminal. Nothing is computed here."""

from collections.abc import Iterable, Mapping
from typing import Any

from rich.console import Group, RenderableType
from rich.markup import escape
from rich.table import Table
from rich.text import Text

from altrally.columns import PlainTable
from altrally.render import market_banner
from core.number_format import interval, number, signed, signed_share
from studies.audit.breakouts import BREAKOUT_RULE, IN_WINDOW, RISE, WITHIN, Event, Followed, window_name
from studies.audit.claim import Audit
from studies.audit.verdicts import NOT_SUPPORTED, SUPPORTED
from studies.leakcheck import CLEAN, NO_VALUE, LeakReport
from training.model_card import baseline_clause

VERDICT_STYLES = {SUPPORTED: "green", NOT_SUPPORTED: "yellow"}
P_HEAD = "p (rotations, independent)"
HIT_WORDS = {True: "hit", False: "miss", None: "unknown"}


def audit_page(audit: Audit) -> Group:
    """An audit: the verdicts and their rule, then the tables of each part."""
    return Group(
        market_banner(audit.market),
        Text.assemble((f"The claim, as known on {audit.as_of}", "bold"), f" · {audit.market} market · snapshot {audit.snapshot}"),
        verdict_table(audit),
        Text(f"Rule: {audit.rule}", style="dim"),
        Text(audit.chance, style="dim"),
        *section("Breakouts", audit.breakouts.how, [event_table(audit), rate_table(audit), article_table(audit)]),
        *section("Order of the cascade", audit.cascade.how, [test_table(audit)]),
        *section("Amplifier", audit.amplifier.how, [amplifier_table(audit)]),
        *section("Supercycle", audit.supercycle.how, [measure_table(audit), rally_table(audit)]),
        Text("Not investment advice.", style="dim"),
    )


def section(title: str, how: str, tables: Iterable[RenderableType]) -> Iterable[RenderableType]:
    """A heading, the method, and the tables."""
    yield Text(f"\n{title}", style="bold")
    yield Text(how, style="dim")
    yield from tables


def verdict_table(audit: Audit) -> Table:
    """One row per line of the claim: effect with 95 % interval, p-values and verdict."""
    table = PlainTable(
        "claim", "effect, 95 %", "needed", "p", "placebo's p", "verdict", least_needed=("placebo's p", "p", "needed")
    )
    for line in audit.lines:
        evidence = line.evidence
        if evidence.effect is None:
            effect = evidence.missing
        else:
            effect = interval({"value": evidence.effect, "low": evidence.low, "high": evidence.high}, 2)
        p_values = (number(evidence.p, 3), number(evidence.placebo_p, 3))
        verdict = Text(line.verdict, style=VERDICT_STYLES.get(line.verdict, ""))
        table.add_row(line.claim, escape(effect), signed(evidence.needed), *p_values, verdict)
    return table


def event_table(audit: Audit) -> Table:
    """Breakouts by the two rules of 252 quiet sessions, oldest first."""
    after = [f"altcoins {row} d" for row in (30, 60, 90, 180)]
    windows = (window_name(WITHIN), window_name(IN_WINDOW))
    least = ("IWM 90 d", "BTC 90 d", after[3], after[0], "rule", after[1], after[2])
    table = PlainTable("breakout", "rule", *after, "BTC 90 d", "IWM 90 d", "+30 % after", *windows, least_needed=least)
    for event in sorted((row for row in audit.breakouts.events if row.quiet == BREAKOUT_RULE[1]), key=lambda row: row.day):
        moves = [*event.followed["altcoins"], event.followed["BTC"][2], event.followed["IWM"][2]]
        marks = [HIT_WORDS[event.hits[window_name(window)]] for window in (WITHIN, IN_WINDOW)]
        table.add_row(event.day, event.kind, *map(return_text, moves), first_passage_text(event), *marks)
    return table


def return_text(followed: Followed) -> str:
    """The return at the horizon and the highest until then, in percent."""
    if followed.value is None or followed.highest is None:
        return "–"
    return f"{signed_share(followed.value)} (max {signed_share(followed.highest)})"


def first_passage_text(event: Event) -> str:
    """Days until altcoins first stood 30 % higher, or why there is no such number."""
    if event.first_passage_days is not None:
        return f"{event.first_passage_days} d"
    return event.unknown or f"not in {event.days_seen} d"


def rate_table(audit: Audit) -> Table:
    """Hit rates of the two rules with exact 95 % intervals, beside base rates."""
    table = PlainTable("rule", "window", "hits", "rate, exact 95 %", "base rate, all days", P_HEAD, least_needed=(P_HEAD,))
    for row in audit.breakouts.grid:
        if row.quiet == BREAKOUT_RULE[1] and row.rise == RISE and (row.first_day, row.last_day) in (WITHIN, IN_WINDOW):
            window = window_name((row.first_day, row.last_day))
            rate = "–" if row.rate is None else escape(f"{row.rate:.2f} [{row.low:.2f}, {row.high:.2f}]")
            p = "–" if row.p is None else f"{row.p:.2f} ({row.rotations:,}, about {row.independent})"
            table.add_row(row.kind, window, f"{row.hits} of {row.n}", rate, number(row.base_rate, 2), p)
    return table


def article_table(audit: Audit) -> Table:
    """The periods the article names, and the breakouts by rule in each."""
    table = PlainTable(
        "the article says", "record breakouts in it", "52-week breakouts in it", "last record breakout before its end"
    )
    for row in audit.breakouts.article:
        if row.over:
            table.add_row(
                row.said, *(", ".join(days) or "none" for days in (row.records, row.year_highs)), row.last_record_breakout
            )
        else:
            table.add_row(row.said, "not over yet", "not over yet", "–")
    return table


def test_table(audit: Audit) -> Table:
    """One row per lag test: each link as claimed, and in the reverse direction."""
    heads = ("driver → target", "direction", "span", "weeks", "effect, 95 %", "of weeks 1-4, 5-8, 9-13", "p", "p, Holm")
    table = PlainTable(*heads, least_needed=(heads[5], "span", "p", "weeks"))
    for link in audit.cascade.tests:
        names = (f"{link.driver} → {link.target}", link.direction, link.span)
        test = link.test
        if test is None:
            table.add_row(*names, "too few", *"––––")
            continue
        size = escape(interval({"value": test.effect, "low": test.low, "high": test.high}, 2))
        parts = ", ".join(map(signed, test.parts))
        table.add_row(*names, str(test.weeks), size, parts, f"{test.p:.3f}", number(link.p_holm, 3))
    return table


def amplifier_table(audit: Audit) -> Table:
    """Returns and rally rates in four cells per state variable."""
    table = PlainTable(
        "state", "positive", "after capitulation", "weeks", "spells", "mean 60-day log return", "+30 % within 60 days"
    )
    for difference in audit.amplifier.differences:
        for cell in difference.cells:
            marks = ["yes" if mark else "no" for mark in (cell.positive, cell.capitulation)]
            counts = (str(cell.weeks), str(cell.spells))
            table.add_row(difference.state, *marks, *counts, signed(cell.response), number(cell.rally))
    return table


def measure_table(audit: Audit) -> Table:
    """The percentile of each measure's latest value in its past, with a 95 % interval."""
    heads = ("measure", "latest, of", "value", "percentile on the claim's side, 95 %", "past values (worth)", "p")
    table = PlainTable(*heads, least_needed=("past values (worth)", "latest, of"))
    for row in audit.supercycle.measures:
        share = "–" if row.percentile is None else escape(f"{row.percentile:.2f} [{row.low:.2f}, {row.high:.2f}]")
        past = f"{row.n} ({row.n_effective:.0f})"
        table.add_row(row.name, row.day or "–", number(row.value, 2), share, past, number(row.p, 2))
    return table


def rally_table(audit: Audit) -> Table:
    """One row per rally of the altcoin index: dates, rise, pullback and the share of coins that rose."""
    table = PlainTable("rally from", "highest", "over", "days", "rise", "pullback", "rising coins")
    for row in audit.supercycle.rallies:
        over = row.end or "goes on"
        rising = "–" if row.rising_coins is None else f"{row.rising_coins:.0%} of {row.coins}"
        table.add_row(row.low, row.high, over, str(row.days), signed_share(row.rise), f"{row.pullback:.0%}", rising)
    return table


LEAK_STYLES = {CLEAN: "green", NO_VALUE: "dim"}


def leakcheck_page(report: LeakReport) -> Group:
    """A leak check: what was cut, one row per feature, and the verdict in one sentence."""
    heads = ("feature", "block", "verdict", "first day that differs", "by", "cut after")
    table = PlainTable(*heads, least_needed=("block", "by", "cut after"))
    for row in report.findings:
        verdict = Text(row.verdict, style=LEAK_STYLES.get(row.verdict, "bold red"))
        difference = "–" if row.first_day is None else "missing in one" if row.by is None else f"{row.by:.3g}"
        cut = "–" if row.cut is None else f"{row.cut}, {row.kind} ({row.differing} of {row.runs} runs)"
        table.add_row(escape(row.name), row.block, verdict, row.first_day or "–", difference, cut)
    thinned = "; ".join(f"{name}: {share} names" for name, share in report.thinned.items())
    checked = len(report.findings)
    if report.leaking:
        conclusion = f"{len(report.leaking)} of {checked} know the future, or can't be shown not to."
    else:
        conclusion = f"None of {checked} moved by a bit. A clean verdict covers these cuts and this data, nothing more."
    return Group(
        market_banner(report.market),
        Text(
            f"Data to {report.as_of}, cut at {report.refits} refit dates, each future spoilt in two ways, "
            f"and {report.random_cuts} random days, in one or the other."
        ),
        Text(f"Read in part: {thinned}." if thinned else "Every name was read.", style="dim"),
        table,
        *(Text(f"{row.name}: {row.why}.", style="dim") for row in report.findings if row.why),
        Text(conclusion, style="bold"),
    )


GRADES = {"drift": "drift score", "history": "history supports it", "live": "shown live"}
NAIVE_TESTS = {"auc": "AUC, rows as independent", "diebold_mariano": "Diebold–Mariano", "any_slope": "any of 5 slopes"}
NEEDED_FOR = {"drift": "the drift score to reject", "history": "history to support it", "live": "skill to be shown live"}


def power_page(report: Mapping[str, Any]) -> Group:
    """A power study: share of markets on which each test rejects, the size kept or not, and the years that the claim needs."""
    details = (
        f"study {report['configuration']} · seed {report['seed']} · lag {report['lag_weeks']} weeks · {report['stocks']} stocks, "
        f"{report['coins']} coins · 60 days ahead"
    )
    return Group(
        market_banner(report["market"]),
        Text(details, style="dim"),
        share_table(report, GRADES, f"Share of markets on which each grade is given, level {report['level']:.0%} [95 % exact]"),
        share_table(report, NAIVE_TESTS, "The same for naive tests, which don't hold here"),
        *(Text(size_sentence(row)) for row in report["size_kept"]),
        *(Text(needed_sentence(row)) for row in report["years_needed"]),
    )


def share_table(report: Mapping[str, Any], tests: Mapping[str, str], title: str) -> PlainTable:
    """One row per length, strength and kind of inputs."""
    heads = ("years", "strength", "inputs", "markets", "skill against volatility", *tests.values())
    table = PlainTable(*heads, title=title, least_needed=("markets", "inputs", "skill against volatility"))
    for row in report["cells"]:
        market = (str(row["years"]), f"{row['strength']:g}", row["inputs"], str(row["markets"]))
        skill = signed(row["skill"]["volatility"]["value"], 3)
        table.add_row(*market, skill, *(share_text(row[name]) for name in tests))
    return table


def share_text(part: Mapping[str, Any] | None) -> Text:
    """A share with its 95 % interval, in percent; a dash where it is missing."""
    return Text("–") if part is None else Text(f"{part['value']:.1%} [{part['low']:.1%}, {part['high']:.1%}]")


def size_sentence(row: Mapping[str, Any]) -> str:
    """Whether the tests reject too often where there is nothing to find, at one length."""
    oversized = [words for name, words in GRADES.items() if not row[name]]
    verdict = f"NOT kept by {', '.join(oversized)}" if oversized else "kept, no interval lies above the level"
    return f"Size where there is nothing to find, {row['years']} years: {verdict}."


def needed_sentence(row: Mapping[str, Any]) -> str:
    """How many years of coin data a test needs for its power at a strength of the cascade."""
    years = f"not within {row['longest']} years" if row["years"] is None else f"{row['years']:.0f} years"
    within = f"at most {years}" if row["at_most"] else years
    return f"Years of coins for {NEEDED_FOR[row['test']]} with {row['power']:.0%} power, at strength {row['strength']:g}: {within}."


def sweep_page(result: dict[str, Any]) -> Group:
    """A sweep: what was searched, the best configuration, and whether it shows skill."""
    details = f" · {result['market']} market · snapshot {result['snapshot']} · {result['label']}"
    header = Text.assemble((result["target"], "bold"), details)
    return Group(market_banner(result["market"]), header, *(Text(line) for line in sweep_lines(result)))


def sweep_lines(result: dict[str, Any]) -> list[str]:
    """The text lines of `sweep_page`; `result` is the dict that `sweep --json` prints."""
    winner, test, null, sweeps = result["winner"], result["test"], result["search_null"], result["sweeps"]
    skills = ", ".join(f"{interval(test[f'skill_{name}'])} against {words}" for name, words in baseline_clause(test).items())
    mean, low, high = (signed(null[name], 3) for name in ("mean", "low", "high"))
    penalty = f", {sweeps} times that of one sweep, as {sweeps} have judged a winner on these days" if sweeps > 1 else ""
    if result["found"]:
        verdict = "Found: the winner's intervals exclude zero against all three baselines, and the best-of-N p is below 0.05."
    else:
        verdict = "Nothing found: that would take intervals above zero against all three baselines, and a best-of-N p below 0.05."
    return [
        f"{result['tried']} of {result['of']} configurations tried on {result['searched_weeks']} weeks before "
        f"{result['first_test']} ({result['cut_short']} cut short); {result['trials']} tries counted so far.",
        f"Winner: {winner['model']} on {', '.join(winner['columns'])}, prior sd {winner['prior_sd']:g}, move {winner['move']:g}; "
        f"skill in the search {signed(result['search_skill'], 3)}.",
        f"After it, {result['horizon']} days ahead, {test['n']} weeks (about {number(test['n_effective'], 0)} independent): "
        f"Brier skill {skills}.",
        f"The same search on {null['shifts']} rotations of outcomes, about {null['independent']} of them independent, finds "
        f"{mean} on average (5 to 95 %: {low} to {high}): p {result['search_p']:.3f}. "
        f"Best of N p {number(result['best_of_n_p'], 3)}{penalty}.",
        verdict,
    ]
