"""Counts of the configurations and sweeps tried on one target and market, stored in MLflow before they are judged."""

import re
from collections.abc import Iterator, Sequence
from itertools import takewhile

import pandas as pd

from evaluation.multiple_testing import PRIOR_TRIALS, TrialHistory
from training.settings import SEARCHED
from training.tracking import Tracker, count, counted_tags, database_lock

TOGETHER, CONFIGURATION_DIGITS = 200, 16
MANY = "many-"


def count_trials(tracker: Tracker, family: str, label: str, configurations: Sequence[str]) -> dict[str, int]:
    """Count `configurations` as tried; return the trial number of every configuration of the family, by name. The largest is the
    count.

    The counts are stored as tags of the experiment and in the home, so deleting runs doesn't reset them. A configuration that was
    only searched and is judged now keeps its number and counts as judged.
    """
    with database_lock(tracker.place):
        counted = trials_of(tracker, family)
        numbers = {name: number for name, (number, _) in counted.items()}
        new = [name for name in dict.fromkeys(configurations) if name not in numbers]
        first = PRIOR_TRIALS + len(numbers) + 1
        numbers |= {name: first + position for position, name in enumerate(new)}
        tags = trial_tags(new, first, label)
        if SEARCHED not in label:
            searched = [name for name in configurations if name in counted and SEARCHED in counted[name][1]]
            tags |= {name: f"{counted[name][0]} {label}" for name in searched}
        count(tracker, {f"trial.{family}.{name}": value for name, value in tags.items()})
    return numbers


def count_sweeps(tracker: Tracker, family: str, name: str, first_test: pd.Timestamp, last: pd.Timestamp) -> int:
    """Count a sweep; return how many sweeps of the family, this one included, judged a winner on the days `first_test` to `last`.

    Tags of the experiment and the home store the last day that each sweep judged on.
    """
    prefix = f"sweep.{family}."
    with database_lock(tracker.place):
        count(tracker, {f"{prefix}{name}": f"{last:%Y-%m-%d}"})
        tags = counted_tags(tracker)
    return sum(key.startswith(prefix) and pd.Timestamp(value) >= first_test for key, value in tags.items())


def trial_tags(configurations: Sequence[str], first: int, label: str) -> dict[str, str]:
    """Tags that count new configurations, numbered from `first`: one tag each, or one per `TOGETHER` configurations if there are
    more."""
    if len(configurations) <= TOGETHER:
        return {name: f"{first + position} {label}" for position, name in enumerate(configurations)}
    parts = [configurations[start : start + TOGETHER] for start in range(0, len(configurations), TOGETHER)]
    return {f"{MANY}{first + number * TOGETHER}": f"{' '.join(part)} {label}" for number, part in enumerate(parts)}


def trials_of(tracker: Tracker, family: str) -> dict[str, tuple[int, str]]:
    """Trial number and label of every configuration of a family that was ever tried, by configuration."""
    prefix = f"trial.{family}."
    tags = counted_tags(tracker)
    trials = {key.removeprefix(prefix): value for key, value in tags.items() if key.startswith(prefix)}
    together_first = sorted(trials.items(), key=lambda tag: not tag[0].startswith(MANY))  # a tag of its own overrides the others
    return {name: counted for key, value in together_first for name, counted in read_trials(key, value)}


def read_trials(key: str, value: str) -> Iterator[tuple[str, tuple[int, str]]]:
    """Configurations in one tag of `trial_tags`, each with its trial number and label."""
    if not key.startswith(MANY):
        number, _, label = value.partition(" ")
        yield key, (int(number), label)
        return
    words = value.split(" ")
    names = list(takewhile(re.compile(f"[0-9a-f]{{{CONFIGURATION_DIGITS}}}").fullmatch, words))
    label = " ".join(words[len(names) :])
    yield from ((name, (int(key.removeprefix(MANY)) + position, label)) for position, name in enumerate(names))


def trial_history(tracker: Tracker, family: str, label: str) -> TrialHistory:
    """Number of trials of a family, and the configurations tried with this label.

    Two trainings on one server may give two configurations the same number; both count.
    """
    counted = trials_of(tracker, family)
    return TrialHistory(
        trials=max([PRIOR_TRIALS + len(counted), *(number for number, _ in counted.values())]),
        configurations=frozenset(name for name, (_, trial_label) in counted.items() if trial_label == label),
    )
