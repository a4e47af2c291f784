"""Many simulated markets on every core; each finished one is a line of a file, so that a killed study goes on where it stopped."""

import hashlib
import json
import os
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from filelock import FileLock, Timeout

from features.registry import FEATURES
from models.catalog import MODELS
from models.engine import spread
from sources.errors import BadInput, Refused
from sources.progress import Progress
from training.power import COINS, END, JUDGED_MODEL, LEAST_YEARS, STOCKS, Scenario, judge_market
from training.settings import TrainSettings, configuration

Line = dict[str, Any]

MOST_YEARS = 100


@dataclass(frozen=True)
class Study:
    """`markets` markets of each length in `years` and each cascade strength, `lag_weeks` behind liquidity, drawn from `seed`."""

    markets: int
    years: tuple[int, ...]
    strengths: tuple[float, ...]
    lag_weeks: int
    seed: int

    def __post_init__(self) -> None:
        """Refuse what can't be simulated."""
        for option, value, least in (("--markets", self.markets, 1), ("--lag-weeks", self.lag_weeks, 0), ("--seed", self.seed, 0)):
            if value < least:
                raise BadInput(f"{option} must be at least {least}, not {value}.")
        for length in self.years:
            if not LEAST_YEARS <= length <= MOST_YEARS:
                raise BadInput(f"--years {length} isn't between {LEAST_YEARS} and {MOST_YEARS}.")
        for strength in self.strengths:
            if not 0 <= strength < float("inf"):
                raise BadInput(f"--strength {strength:g} must be 0 (no signal) or more.")

    @property
    def configuration(self) -> str:
        """16 hex digits of all that decides what is found on a market of given number, length and strength, the code apart."""
        spec = MODELS[JUDGED_MODEL]
        settings = TrainSettings()
        params = spec.asked(settings.target).get_params()
        model = configuration(JUDGED_MODEL, params, [*spec.columns, *FEATURES], settings)
        parts = [model, self.seed, self.lag_weeks, STOCKS, COINS, f"{END:%Y-%m-%d}"]
        return hashlib.sha256(json.dumps(parts).encode()).hexdigest()[:16]

    def scenarios(self) -> list[Scenario]:
        """Every market, those without signal first."""
        return [
            Scenario(self.seed, market, years, strength, self.lag_weeks)
            for strength in sorted(set(self.strengths))
            for years in sorted(set(self.years))
            for market in range(self.markets)
        ]


def run_study(study: Study, file: Path, *, processes: int | None, progress: Progress) -> list[Line]:
    """Judge every market of `study` that `file` doesn't hold yet, and return all lines it then holds.

    `processes` at once, None for one a core, change no result. Raises Refused where the file is in use, or another study's,
    BadInput where it is a folder.
    """
    if file.is_dir():
        raise BadInput(f"--out {file} is a folder: name a file.")
    file.parent.mkdir(parents=True, exist_ok=True)
    with alone(file):
        lines = finished(file, study)
        done = {key(line) for line in lines}
        scenarios = study.scenarios()
        left = [scenario for scenario in scenarios if (scenario.years, scenario.strength, scenario.market) not in done]
        progress("markets", len(scenarios) - len(left), len(scenarios))
        with file.open("ab", buffering=0) as out:
            for line in judged_markets(study, left, processes):
                append(out.fileno(), line)
                lines.append(line)
                progress("markets", len(scenarios) - len(left) + len(lines) - len(done), len(scenarios))
    return sorted(lines, key=key)


def judged_markets(study: Study, scenarios: Sequence[Scenario], processes: int | None) -> Iterator[Line]:
    """A line a market as it is finished, in any order."""
    named = study.configuration
    yield from spread(line_of, [(named, scenario) for scenario in scenarios], processes=processes, ordered=False)


def line_of(named: str, scenario: Scenario) -> Line:
    """One market as it is kept."""
    about = {"configuration": named, "years": scenario.years, "strength": scenario.strength, "market": scenario.market}
    return about | judge_market(scenario)


def key(line: Line) -> tuple[int, float, int]:
    """What tells one market of a study from another."""
    return line["years"], line["strength"], line["market"]


@contextmanager
def alone(file: Path) -> Iterator[None]:
    """No other study writes to the file meanwhile."""
    try:
        with FileLock(f"{file}.lock", timeout=0):
            yield
    except Timeout:
        raise Refused(f"{file} is being written by another `altrally power`; wait for it, or name another --out.") from None


def finished(file: Path, study: Study) -> list[Line]:
    """The markets a file holds; a line that was cut off when its writer was killed is taken away."""
    written = file.read_bytes() if file.exists() else b""
    whole = written[: written.rfind(b"\n") + 1]
    if whole != written:
        os.truncate(file, len(whole))
    lines = [line_in(file, number, text) for number, text in enumerate(whole.splitlines(), 1)]
    for line in lines:
        if line["configuration"] != study.configuration:
            raise Refused(f"{file} holds study {line['configuration']}, not {study.configuration}: name another --out.")
    return lines


def line_in(file: Path, number: int, text: bytes) -> Line:
    """One line read back."""
    try:
        line: Line = json.loads(text)
        return (
            line if {"configuration", "years", "strength", "market", "own", "independent"} <= line.keys() else no_line(file, number)
        )
    except (ValueError, AttributeError):
        return no_line(file, number)


def no_line(file: Path, number: int) -> Line:
    """Refuse a file of something else."""
    raise BadInput(f"Line {number} of {file} isn't a market of a power study: move the file away, or name another --out.")


def append(handle: int, line: Line) -> None:
    """One whole line, on disk before the next market is counted."""
    os.write(handle, json.dumps(line, allow_nan=False).encode() + b"\n")
    os.fsync(handle)
