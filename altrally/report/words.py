"""Numbers and names in words, and the sentence that is the title of each picture."""

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
from core.number_format import interval, number, signed
from core.target import Target, judged_horizon
from evaluation.evidence import Grade
from models.law import median_fall
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
NARROW_SPACE = "\u202f"  # a space that neither breaks nor gapes
COUNTS = ("none", "one", "two", "three", "four", "five", "six", "seven", "eight", "nine", "ten")


def percent(share: float | None, digits: int = 0) -> str:
    """A share (0-1) in percent."""
    return "–" if share is None else f"{100 * share:.{digits}f}{NARROW_SPACE}%"


def signed_percent(share: float | None, digits: int = 0) -> str:
    """A change (0.1 is 10 %) in percent, with its sign."""
    return "–" if share is None else f"{signed(100 * share, digits)}{NARROW_SPACE}%"


def amount(value: float | None, unit: str) -> str:
    """A feature's value with its unit as text; log changes and shares in percent."""
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
    """A number as a word up to ten."""
    return COUNTS[number] if number < len(COUNTS) else str(number)


def long_date(day: str) -> str:
    """A day as text, e.g. 31 December 2024."""
    stamp = pd.Timestamp(day)
    return f"{stamp.day} {stamp:%B %Y}"


def block_name(block: str) -> str:
    """The name of a block on the page."""
    return BLOCK_NAMES.get(block, feature_name(block))


def feature_name(name: str) -> str:
    """The name of a feature on the page."""
    spaced = " ".join(CAPITALS.get(word, word) for word in name.split("_"))
    return spaced[:1].upper() + spaced[1:]


def part_name(part: Part) -> str:
    """The name of a part of the contributions on the page."""
    return CAUSES.get(part.name) or (block_name(part.name) if part.name == part.block else feature_name(part.name))


def horizons(days: Iterable[int]) -> list[str]:
    """Heads of columns for horizons, e.g. 30 days."""
    return [f"{number} days" for number in days]


def event(facts: Facts) -> str:
    """The condition of the event."""
    target = facts.score.target
    return condition(target, move=percent(target.threshold), day=long_date(facts.score.as_of))


def feature_of_part(facts: Facts, name: str) -> FeatureState | None:
    """The feature of a part of the contributions, or the one that replaces it on the day; None where the part is no feature."""
    state = facts.features.get(name)
    return facts.features[state.stood_in_by] if state and state.stood_in_by else state


def fresh_finding(freshness: Sequence[dict[str, Any]]) -> str:
    """How many series are missing or out of date."""
    stale = sum(not line["fresh"] for line in freshness)
    if not stale:
        return f"All {len(freshness)} series are fresh"
    return f"{count(stale).capitalize()} of {len(freshness)} series {'is' if stale == 1 else 'are'} missing or out of date"


def verdict(facts: Facts) -> str:
    """The grade of the evidence, by the one rule."""
    grade = str(facts.score.skill["evidence"]["grade"])
    return grade[:1].upper() + grade[1:]


def trust(facts: Facts) -> str:
    """What the grade of the evidence means."""
    return TRUST[str(facts.score.skill["evidence"]["grade"])]


def highest_at(score: Score) -> HighestClose:
    """The highest close at the judged horizon."""
    assert score.curve is not None
    days = judged_horizon([row.days for row in score.curve.horizons])
    return next(row for row in score.curve.horizons if row.days == days)


def highest_finding(highest: HighestClose) -> str:
    """Median and 90 % quantile of the highest close in one sentence."""
    middle, high = (signed_percent(highest.quantiles[level]) for level in ("0.5", "0.9"))
    return f"Half of the time the highest close within {highest.days} days lies below {middle}, nine times in ten below {high}"


def live_finding(rows: Sequence[LiveRow]) -> str:
    """The largest live evidence so far."""
    most = max(rows, key=lambda row: row.e_value)
    return f"Live evidence so far reaches {number(most.e_value)} of the 20 that would show an edge ({most.model.replace('_', ' ')})"


def champion_row(facts: Facts) -> dict[str, Any] | None:
    """The champion's verification row at the judged horizon; None where none is kept."""
    rows = facts.record.rows
    return next(
        (row for row in rows if (row["model"], row["horizon"]) == (facts.score.model["name"], facts.score.judged.days)),
        None,
    )


def typical_fall(score: Score, days: int) -> str:
    """How far below today's close the lowest close of the coming `days` lies half of the time; a dash for a model without a law."""
    return "–" if score.edge is None else signed_percent(-median_fall(score.edge.volatility, score.edge.tilt, days))


def season_sentence(facts: Facts) -> str:
    """The popular altcoin-season index on the day, and what a rule that follows it was worth on past data; empty where unknown."""
    state, days = facts.features.get("altcoin_season"), facts.score.judged.days
    row = next((row for row in facts.record.rows if (row["model"], row["horizon"]) == ("altseason_rule", days)), None)
    if state is None or state.value is None or row is None or row["skill_climatology"]["value"] is None:
        return ""
    skill = row["skill_climatology"]
    clear = skill["low"] is not None and (skill["low"] > 0 or skill["high"] < 0)
    worth = ("better" if skill["value"] > 0 else "worse") if clear else "neither clearly better nor clearly worse"
    return (
        f"The altcoin-season index stands at {100 * state.value:.0f} of 100; from 75 on it is called altcoin season. On past data "
        f"a rule that follows it forecast {worth} than the base rate ({days} days, Brier skill {interval(skill)})."
    )


def base_rate_sentence(forecast: HorizonForecast) -> str:
    """Whether the base rate lies inside the interval of a probability."""
    usual = percent(forecast.base_rate)
    if forecast.low <= forecast.base_rate <= forecast.high:
        return f"The usual {usual} lies inside its 90 % interval."
    return f"The whole 90 % interval lies {'above' if forecast.low > forecast.base_rate else 'below'} the usual {usual}."


NEGLIGIBLE = 0.005
"""Log-odds below this are shown as zero."""


def recent_finding(weeks: Sequence[tuple[str, float]]) -> str:
    """First and last probability of the weeks, and their range."""
    shares = [share for _, share in weeks]
    moved = f"from {percent(shares[0])} to {percent(shares[-1])}"
    bounds = f"never below {percent(min(shares))} or above {percent(max(shares))}"
    return f"Since {long_date(weeks[0][0])} the chance went {moved}, {bounds}"


def agreement_finding(others: Sequence[tuple[str, float]], champion: HorizonForecast) -> str:
    """The range of all models' probabilities."""
    shares = [*(share for _, share in others), champion.probability]
    return f"Today’s {len(shares)} models say {percent(min(shares))} to {percent(max(shares))}"


def drivers_finding(blocks: Sequence[Part]) -> str:
    """The block that raises the odds most, and the one that lowers them most."""
    highest, lowest = max(blocks, key=lambda part: part.log_odds), min(blocks, key=lambda part: part.log_odds)
    up = f"{block_name(highest.block)} raises the odds most" if highest.log_odds > NEGLIGIBLE else "Nothing raises the odds"
    down = f"{lower_first(block_name(lowest.block))} lowers them most" if lowest.log_odds < -NEGLIGIBLE else "nothing lowers them"
    return f"{up}; {down}"


def lower_first(text: str) -> str:
    """The text with its first letter in lower case."""
    return text[:1].lower() + text[1:]


def movement_finding(movement: Movement) -> str:
    """The change of the probability, and its largest cause."""
    parts = [*movement.data.features, *([movement.other] if movement.other else [])]
    most = max(parts, key=lambda part: abs(part.log_odds))
    start, end = float(expit(movement.start)), float(expit(movement.end))
    verb = "stayed at" if percent(start) == percent(end) else "rose" if end > start else "fell"
    way = f"stayed at {percent(end)}" if verb == "stayed at" else f"{verb} from {percent(start)} to {percent(end)}"
    push = "upwards" if most.log_odds > 0 else "downwards"
    return f"Since {long_date(movement.as_of)} the chance {way}; the largest push, {push}, was this: {lower_first(part_name(most))}"


def sensitivity_finding(ranked: Sequence[Sensitivity]) -> str:
    """The composite whose change would move the forecast most."""
    if not ranked:
        return "This model reads no composite, so nothing here can be moved"
    most = ranked[0]
    low, high = sorted((most.lower, most.higher))
    way = f"one standard deviation either way gives {percent(low)} to {percent(high)}"
    return f"{block_name(most.block)} would change it most: {way}"


def cascade_finding(rungs: Sequence[Rung]) -> str:
    """How many rungs lie above the middle of their past."""
    known = [rung for rung in rungs if rung.percentile is not None]
    above = [rung for rung in known if (rung.percentile or 0) > 0.5]
    first = next((rung for rung in known if (rung.percentile or 0) <= 0.5), None)
    stand = "stands" if len(above) == 1 else "stand"
    head = f"{count(len(above)).capitalize()} of {count(len(rungs))} rungs {stand} above the middle of their past three years"
    return head if first is None else f"{head}; the first that doesn’t is {lower_first(first.name)}"


def analogues_finding(analogues: Analogues, event: str) -> str:
    """How often the event followed the analogues, and how often all weeks."""
    days = judged_horizon(list(analogues.base_rates))
    occurred = sum(analogue.event_occurred[days] for analogue in analogues.nearest)
    usual = percent(analogues.base_rates[days])
    after = f"within {days} days {event} followed {count(occurred)} of the {count(len(analogues.nearest))} most similar moments"
    return f"{capitalised(after)}, and {usual} of all weeks"


def unusual_sentence(analogues: Analogues) -> str:
    """How unusual the inputs of today are."""
    farther = (
        f"Today lies farther from the middle of its past than {percent(analogues.percentile)} of {analogues.rows} earlier weeks"
    )
    return f"{farther}: the model is asked about something it has hardly seen." if analogues.unusual else f"{farther}."


def history_finding(history: History, target: Target) -> str:
    """Mean forecast of weeks followed by the event, and of the others."""
    forecasts = {
        outcome: [history.probability[week] for week in history.judged if history.event_occurred[week] is outcome]
        for outcome in (True, False)
    }
    if not forecasts[True] or not forecasts[False]:
        return "Too few weeks have been judged to compare"
    before, without = (sum(forecasts[outcome]) / len(forecasts[outcome]) for outcome in (True, False))
    return f"Weeks followed by {an_event(target)} had been given {percent(before)} on average, the others {percent(without)}"


def reliability_finding(bins: Sequence[Bin], event: str) -> str:
    """The bin with most forecasts in a sentence."""
    if not bins:
        return "No forecast has been judged yet"
    fullest = max(bins, key=lambda row: row.count)
    return f"When it said about {percent(fullest.probability)}, {event} followed {percent(fullest.share)} of the time"


def models_finding(rows: Sequence[dict[str, Any]], days: int) -> str:
    """How many models beat every baseline by more than their intervals."""
    judged = [row for row in rows if row["horizon"] == days]
    better = sum(beats_every_baseline(row) for row in judged)
    if not better:
        return "No model lies above every baseline by more than its interval"
    return f"{count(better).capitalize()} of {count(len(judged))} models lie above every baseline by more than their intervals"
