"""How many configurations and sweeps were tried on a question, counted in MLflow before they are judged."""

from collections.abc import Iterator, Mapping, Sequence
from itertools import takewhile
from typing import TYPE_CHECKING

import pandas as pd

from evaluation.multiple_testing import PRIOR_TRIALS, TrialHistory
from training.settings import SEARCHED
from training.tracking import Tracker, count, counted_tags, database_lock

if TYPE_CHECKING:
    pass

TOGETHER, CONFIGURATION_DIGITS = 200, 16
MANY = "many-"


def count_trials(tracker: Tracker, family: str, label: str, configurations: Sequence[str]) -> dict[str, int]:
    """The number each configuration was tried as, those of now included; the largest is how many were tried so far.

    Kept as tags of the experiment and in the home, so that deleting runs doesn't reset it. What was only searched and is judged
    now keeps its number and is counted among the judged.
    """
    with database_lock(tracker.place):
        counted = trials_of(tracker, family)
        tried = {name: number for name, (number, _) in counted.items()}
        judged_now = {} if SEARCHED in label else only_searched(counted, configurations, label)
        new = [one for one in dict.fromkeys(configurations) if one not in tried]
        first = PRIOR_TRIALS + len(tried) + 1
        tried |= {one: first + place for place, one in enumerate(new)}
        tags = trial_tags(new, first, label) | judged_now
        count(tracker, {f"trial.{family}.{one}": value for one, value in tags.items()})
    return tried


def only_searched(counted: Mapping[str, tuple[int, str]], configurations: Sequence[str], label: str) -> dict[str, str]:
    """Tags by which configurations that a sweep had counted answer the question of a label from now on."""
    return {one: f"{counted[one][0]} {label}" for one in configurations if one in counted and SEARCHED in counted[one][1]}


def count_sweeps(tracker: Tracker, family: str, name: str, first_test: pd.Timestamp, last: pd.Timestamp) -> int:
    """How many sweeps of a family, the one of that name included, judged a winner on days of this test, `first_test` to `last`.

    Kept as tags of the experiment and in the home: the last day that each has judged on.
    """
    prefix = f"sweep.{family}."
    with database_lock(tracker.place):
        count(tracker, {f"{prefix}{name}": f"{last:%Y-%m-%d}"})
        tags = counted_tags(tracker)
    return sum(key.startswith(prefix) and pd.Timestamp(value) >= first_test for key, value in tags.items())


def trial_tags(configurations: Sequence[str], first: int, label: str) -> dict[str, str]:
    """Tags that count new configurations from the number `first` on: one each, or of many one for every `TOGETHER`."""
    if len(configurations) <= TOGETHER:
        return {one: f"{first + place} {label}" for place, one in enumerate(configurations)}
    parts = [configurations[at : at + TOGETHER] for at in range(0, len(configurations), TOGETHER)]
    return {f"{MANY}{first + at * TOGETHER}": f"{' '.join(part)} {label}" for at, part in enumerate(parts)}


def trials_of(tracker: Tracker, family: str) -> dict[str, tuple[int, str]]:
    """Number and label of every configuration of a family ever tried here."""
    prefix = f"trial.{family}."
    tags = counted_tags(tracker)
    told = {key.removeprefix(prefix): value for key, value in tags.items() if key.startswith(prefix)}
    told = dict(sorted(told.items(), key=lambda tag: not tag[0].startswith(MANY)))  # one by one counts over together
    return {name: counted for key, value in told.items() for name, counted in read_trials(key, value)}


def read_trials(key: str, value: str) -> Iterator[tuple[str, tuple[int, str]]]:
    """Configurations of one tag of `trial_tags`, each with its number and label."""
    if not key.startswith(MANY):
        number, _, label = value.partition(" ")
        yield key, (int(number), label)
        return
    words = value.split(" ")
    names = list(takewhile(is_configuration, words))
    label = " ".join(words[len(names) :])
    yield from ((name, (int(key.removeprefix(MANY)) + place, label)) for place, name in enumerate(names))


def is_configuration(word: str) -> bool:
    """16 hex digits."""
    return len(word) == CONFIGURATION_DIGITS and all(digit in "0123456789abcdef" for digit in word)


def trial_history(tracker: Tracker, family: str, label: str) -> TrialHistory:
    """How much was tried in a family, and what of it asked the question of this label.

    Two who count on a server at once may give two configurations one number: both count.
    """
    counted = trials_of(tracker, family)
    return TrialHistory(
        trials=max([PRIOR_TRIALS + len(counted), *(number for number, _ in counted.values())]),
        configurations=frozenset(name for name, (_, asked) in counted.items() if asked == label),
    )
