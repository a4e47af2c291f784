"""Numbers and names in plain words, and the finding each picture carries as its title."""

from collections.abc import Iterable, Sequence
from math import expm1
from typing import Any

import pandas as pd
from scipy.special import expit

from altrally.forecast import HighestClose, HorizonForecast, Score
from altrally.live_evidence import LiveRow
from altrally.report.analogues import Analogues
from altrally.report.content import Facts, FeatureState, Movement
from altrally.report.contributions import Part, Sensitivity
from altrally.report.past_forecasts import Bin, History, beats_every_baseline
from altrally.report.rungs import Rung
from altrally.wording import an_event, capitalised, condition
from core.number_format import number, signed
from core.target import Target, judged_horizon
from evaluation.evidence import Grade
from training.model_card import BASELINE_WORDS

BLOCK_NAMES = {
    "breadth": "Small-cap breadth",
    "breakout": "Record breakout",
    "volume": "Small-cap volume",
    "liquidity": "Liquidity",
    "ladder": "Bonds-to-stocks ladder",
    "crypto_state": "Crypto’s own state",
}
SKILLS = {f"skill_{name}": f"against {words}" for name, words in BASELINE_WORDS.items()}
TRUST = {
    str(Grade.SHOWN): "Its live forecasts have gathered the evidence that shows an edge.",
    str(
        Grade.SUPPORTED
    ): "Past data support it; live forecasts haven’t shown it yet. The people who chose the inputs knew these years.",
    str(Grade.NOT_SHOWN): "Past data don’t support the claim’s part of it; most of the number is volatility and the base rate.",
}
CAUSES = {"model": "The model changed", "corrections": "Data corrected since"}
CAUSE_NOTES = {
    "model": "That day’s inputs put through this day’s model, less the answer given then: what refitting and new weights did.",
    "corrections": "The same model put to that day’s inputs as they are known now.",
}
CAPITALS = {"mbs": "MBS"}
NARROW = "\u202f"  # a space that neither breaks nor gapes
COUNTS = ("none", "one", "two", "three", "four", "five", "six", "seven", "eight", "nine", "ten")


def percent(share: float | None, digits: int = 0) -> str:
    """A share, 0-1, where people read."""
    return "–" if share is None else f"{100 * share:.{digits}f}{NARROW}%"


def signed_percent(share: float | None, digits: int = 0) -> str:
    """A change, in percent."""
    return "–" if share is None else f"{signed(100 * share, digits)}{NARROW}%"


def amount(value: float | None, unit: str) -> str:
    """A feature's value as people read it: log changes and shares in percent."""
    if value is None:
        return "missing"
    if unit.startswith("log"):
        return signed_percent(expm1(value), 1)
    if unit.startswith("share"):
        return percent(value, 1)
    if unit.startswith("percentage points"):
        return f"{signed(value)} pp"
    return f"{value:.3g}".replace("-", "−")


def count(number: int) -> str:
    """A small number in letters."""
    return COUNTS[number] if number < len(COUNTS) else str(number)


def long_date(day: str) -> str:
    """31 December 2024."""
    stamp = pd.Timestamp(day)
    return f"{stamp.day} {stamp:%B %Y}"


def block_name(block: str) -> str:
    """A block for people."""
    return BLOCK_NAMES.get(block, feature_name(block))


def feature_name(name: str) -> str:
    """A feature for people; its formula stands beside it."""
    spaced = " ".join(CAPITALS.get(word, word) for word in name.split("_"))
    return spaced[:1].upper() + spaced[1:]


def part_name(part: Part) -> str:
    """A line of contributions for people."""
    return CAUSES.get(part.name) or (block_name(part.name) if part.name == part.block else feature_name(part.name))


def horizons(days: Iterable[int]) -> list[str]:
    """Horizons as heads of columns."""
    return [f"{number} days" for number in days]


def at(forecasts: Sequence[HorizonForecast]) -> HorizonForecast:
    """The forecast of the horizon judged."""
    days = judged_horizon([one.days for one in forecasts])
    return next(one for one in forecasts if one.days == days)


def event(facts: Facts) -> str:
    """What counts as the event."""
    target = facts.score.target
    return condition(target, move=percent(target.threshold), day=long_date(facts.score.as_of))


def seated(facts: Facts, name: str) -> FeatureState | None:
    """The feature behind a line of contributions, or what stands in for it on the day; None where the line is no feature."""
    state = facts.features.get(name)
    return facts.features[state.stood_in_by] if state and state.stood_in_by else state


def fresh_finding(freshness: Sequence[dict[str, Any]]) -> str:
    """How many series can't be relied on."""
    stale = sum(not line["fresh"] for line in freshness)
    if not stale:
        return f"All {len(freshness)} series are fresh"
    return f"{count(stale).capitalize()} of {len(freshness)} series {'is' if stale == 1 else 'are'} missing or out of date"


def verdict(facts: Facts) -> str:
    """The grade of the evidence, by the one rule."""
    grade = str(facts.score.skill["evidence"]["grade"])
    return grade[:1].upper() + grade[1:]


def trust(facts: Facts) -> str:
    """What the grade means for a reader."""
    return TRUST[str(facts.score.skill["evidence"]["grade"])]


def highest_at(score: Score) -> HighestClose:
    """The highest close of the horizon judged."""
    assert score.curve is not None
    days = judged_horizon([one.days for one in score.curve.horizons])
    return next(one for one in score.curve.horizons if one.days == days)


def highest_finding(one: HighestClose) -> str:
    """What the curve says in one sentence."""
    middle, high = (signed_percent(one.quantiles[level]) for level in ("0.5", "0.9"))
    return f"Half of the time the highest close within {one.days} days lies below {middle}, nine times in ten below {high}"


def live_finding(rows: Sequence[LiveRow]) -> str:
    """The largest live evidence so far."""
    most = max(rows, key=lambda row: row.e_value)
    return f"Live evidence so far reaches {number(most.e_value)} of the 20 that would show an edge ({most.model.replace('_', ' ')})"


def champion_row(facts: Facts) -> dict[str, Any] | None:
    """The champion's verification at the horizon that is judged."""
    rows = facts.record.rows
    return next(
        (row for row in rows if (row["model"], row["horizon"]) == (facts.score.model["name"], at(facts.score.horizons).days)), None
    )


def against_usual(one: HorizonForecast) -> str:
    """A probability against its base rate."""
    if one.low <= one.base_rate <= one.high:
        return f"The usual {percent(one.base_rate)} lies inside its 90 % interval."
    return f"The whole 90 % interval lies {'above' if one.low > one.base_rate else 'below'} the usual {percent(one.base_rate)}."


HARDLY = 0.005
"""Log-odds that are shown as zero."""


def recent_finding(weeks: Sequence[tuple[str, float]]) -> str:
    """From where to where the probability went, and between which bounds it stayed."""
    shares = [share for _, share in weeks]
    moved = f"from {percent(shares[0])} to {percent(shares[-1])}"
    bounds = f"never below {percent(min(shares))} or above {percent(max(shares))}"
    return f"Since {long_date(weeks[0][0])} the chance went {moved}, {bounds}"


def agreement_finding(others: Sequence[tuple[str, float]], champion: HorizonForecast) -> str:
    """How far apart the models are."""
    shares = [*(share for _, share in others), champion.probability]
    return f"Today’s {len(shares)} models say {percent(min(shares))} to {percent(max(shares))}"


def drivers_finding(blocks: Sequence[Part]) -> str:
    """Which block raises the odds most, and which lowers them."""
    highest, lowest = max(blocks, key=lambda part: part.log_odds), min(blocks, key=lambda part: part.log_odds)
    up = f"{block_name(highest.block)} raises the odds most" if highest.log_odds > HARDLY else "Nothing raises the odds"
    down = f"{lower_first(block_name(lowest.block))} lowers them most" if lowest.log_odds < -HARDLY else "nothing lowers them"
    return f"{up}; {down}"


def lower_first(text: str) -> str:
    """For the middle of a sentence."""
    return text[:1].lower() + text[1:]


def movement_finding(movement: Movement) -> str:
    """From where to where, and by what most."""
    parts = [*movement.data.features, *([movement.other] if movement.other else [])]
    most = max(parts, key=lambda part: abs(part.log_odds))
    start, end = float(expit(movement.start)), float(expit(movement.end))
    verb = "stayed at" if percent(start) == percent(end) else "rose" if end > start else "fell"
    way = f"stayed at {percent(end)}" if verb == "stayed at" else f"{verb} from {percent(start)} to {percent(end)}"
    push = "upwards" if most.log_odds > 0 else "downwards"
    return f"Since {long_date(movement.as_of)} the chance {way}; the largest push, {push}, was this: {lower_first(part_name(most))}"


def sensitivity_finding(ranked: Sequence[Sensitivity]) -> str:
    """What would change the forecast most."""
    if not ranked:
        return "This model reads no composite, so nothing here can be moved"
    most = ranked[0]
    low, high = sorted((most.lower, most.higher))
    way = f"one standard deviation either way gives {percent(low)} to {percent(high)}"
    return f"{block_name(most.block)} would change it most: {way}"


def cascade_finding(rungs: Sequence[Rung]) -> str:
    """How far up the ladder stands above the middle of its past."""
    known = [rung for rung in rungs if rung.percentile is not None]
    above = [rung for rung in known if (rung.percentile or 0) > 0.5]
    first = next((rung for rung in known if (rung.percentile or 0) <= 0.5), None)
    stand = "stands" if len(above) == 1 else "stand"
    head = f"{count(len(above)).capitalize()} of {count(len(rungs))} rungs {stand} above the middle of their past three years"
    return head if first is None else f"{head}; the first that doesn’t is {lower_first(first.name)}"


def moments_finding(like: Analogues, event: str) -> str:
    """What followed similar moments, beside what usually follows."""
    days = judged_horizon(list(like.base_rates))
    came = sum(moment.came[days] for moment in like.moments)
    usual = percent(like.base_rates[days])
    after = f"within {days} days {event} followed {count(came)} of the {count(len(like.moments))} most similar moments"
    return f"{capitalised(after)}, and {usual} of all weeks"


def unusual_sentence(like: Analogues) -> str:
    """How far from the usual today is."""
    farther = f"Today lies farther from the middle of its past than {percent(like.percentile)} of {like.rows} earlier weeks"
    return f"{farther}: the model is asked about something it has hardly seen." if like.unusual else f"{farther}."


def history_finding(history: History, target: Target) -> str:
    """Mean forecast before events and before none."""
    weeks = {came: [history.probability[week] for week in history.judged if history.came[week] is came] for came in (True, False)}
    if not weeks[True] or not weeks[False]:
        return "Too few weeks have been judged to compare"
    before, without = (sum(weeks[came]) / len(weeks[came]) for came in (True, False))
    return f"Weeks followed by {an_event(target)} had been given {percent(before)} on average, the others {percent(without)}"


def reliability_finding(bins: Sequence[Bin], event: str) -> str:
    """The fullest bin told as a sentence."""
    if not bins:
        return "No forecast has been judged yet"
    fullest = max(bins, key=lambda one: one.count)
    return f"When it said about {percent(fullest.probability)}, {event} followed {percent(fullest.share)} of the time"


def models_finding(rows: Sequence[dict[str, Any]], days: int) -> str:
    """Whether any model's intervals lie above all baselines."""
    judged = [row for row in rows if row["horizon"] == days]
    better = sum(beats_every_baseline(row) for row in judged)
    if not better:
        return "No model lies above every baseline by more than its interval"
    return f"{count(better).capitalize()} of {count(len(judged))} models lie above every baseline by more than their intervals"
