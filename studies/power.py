"""Size and power of the evidence grades: many simulated markets are judged by the three grades and by naive tests."""

import hashlib
import json
import os
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from filelock import FileLock, Timeout

from core.errors import BadInput, Refused
from core.json import plain
from core.progress import Progress, silent
from evaluation.evidence import ENOUGH, LEVEL, Grade, grade_of, tilt_factor
from evaluation.sample import BASELINES, JUDGED_DAYS, evaluation_sample
from evaluation.scores import brier_score
from features.build import COMPOSITE_LOOKBACK, build, matrix
from features.registry import FEATURES
from models.catalog import CLAIM, COMPOSITES, MODELS
from models.law_model import LawModel
from models.parallel import run_in_parallel
from sources.layout import batches
from sources.reader import Memory, hold
from sources.simulated import simulate
from studies.naive_tests import auc_p, slope_p_values, smaller_loss_p
from training.dataset import Dataset, prepare
from training.settings import TrainSettings, configuration
from training.verify import drift_of, skill, walk_all
from training.walk_forward import WalkForward, quarters, usable

END = pd.Timestamp("2024-12-31")
YEARS_TO_FIRST_ROW, YEARS_TO_FIRST_TEST = 1, 4
LEAST_YEARS = 6
STOCKS, COINS = 20, 60
JUDGED_MODEL = "pool"
ITSELF, ANOTHER = 0, 1


@dataclass(frozen=True)
class Scenario:
    """One simulated market: its number, its years of coin data, and how strongly liquidity moves coins `lag_weeks` later."""

    seed: int
    market: int
    years: int
    strength: float
    lag_weeks: int

    @property
    def start(self) -> pd.Timestamp:
        """First day of coins."""
        return END - pd.DateOffset(years=self.years) + pd.Timedelta(days=1)

    @property
    def settings(self) -> TrainSettings:
        """Training settings as on the real market: rows from the second year on, forecasts from the fifth."""
        first, test = (self.start + pd.DateOffset(years=years) for years in (YEARS_TO_FIRST_ROW, YEARS_TO_FIRST_TEST))
        return TrainSettings(start=first, first_test=test, models=(JUDGED_MODEL,))

    def draw_market(self, which: int) -> Memory:
        """The simulated data of this market (`ITSELF`), or of an independent one of the same kind (`ANOTHER`)."""
        seed = int(np.random.SeedSequence([self.seed, self.market, which]).generate_state(1)[0])
        span = {"start": f"{self.start:%Y-%m-%d}", "end": f"{END:%Y-%m-%d}"}
        frames = simulate(seed=seed, **span, strength=self.strength, lag_weeks=self.lag_weeks, stocks=STOCKS, coins=COINS)
        return hold(batches(frames, "simulated"), "simulated", f"seed {seed}")


@dataclass(frozen=True)
class Judgement:
    """Results on one market, 60 days ahead; `usual` holds the p-values of naive tests, which aren't valid here.

    `skill` are Brier skills of the pool against each baseline. `drift` says whether the drift score rejects, `history` whether its
    grade would be "history supports it", `live` whether the evidence of `weeks` weeks ever reached 20; `e_value` is its last value.
    """

    skill: Mapping[str, float]
    drift_p: float
    ahead_of_all: bool
    drift: bool
    history: bool
    live: bool
    e_value: float
    weeks: int
    usual: Mapping[str, float | None]


def judge_market(scenario: Scenario) -> dict[str, Any]:
    """Judgements of one market, with its `own` inputs and with `independent` ones (None where liquidity moves coins)."""
    settings = scenario.settings
    data = prepare(scenario.draw_market(ITSELF), settings, END)
    own_judgement = asdict(judgement_of(data, settings))
    if scenario.strength:
        return {"own": own_judgement, "independent": None}
    return {
        "own": own_judgement,
        "independent": asdict(judgement_of(with_inputs_of(scenario.draw_market(ANOTHER), data, settings), settings)),
    }


def with_inputs_of(other: Memory, data: Dataset, settings: TrainSettings) -> Dataset:
    """The rows of `data` with the composites of another market; the inputs of the baselines stay."""
    inputs = matrix(build(other, END, start=settings.start - COMPOSITE_LOOKBACK), pd.DatetimeIndex(data.X.index))
    return replace(data, X=data.X.assign(**inputs.X[list(COMPOSITES)]), neutral=inputs.neutral)


def judgement_of(data: Dataset, settings: TrainSettings) -> Judgement:
    """Grades and naive tests of the pool on one market."""
    folds = usable(quarters(settings.first_test, END), data.outcomes)
    walks = walk_all(data, settings, [JUDGED_MODEL], folds, silent)
    sample = evaluation_sample({name: walk.probabilities for name, walk in walks.items()}, data.outcomes.events, JUDGED_DAYS)
    scores = {name: brier_score(sample.probabilities[name], sample.outcome) for name in (JUDGED_MODEL, *BASELINES)}
    ahead = all(scores[JUDGED_MODEL] < scores[name] for name in BASELINES)
    drift = drift_of(data)
    assert drift is not None  # six years are enough weeks to shift
    path = evidence_path(walks[JUDGED_MODEL], data)
    naive_tests = {
        "auc": auc_p(sample.probabilities[JUDGED_MODEL], sample.outcome),
        "diebold_mariano": smaller_loss_p(sample.loss(JUDGED_MODEL), sample.loss("climatology"), JUDGED_DAYS),
    }
    slopes = slope_p_values(data.X[list(COMPOSITES)], data.outcomes.events, settings.horizons)
    return Judgement(
        skill={name: skill(sample.loss(JUDGED_MODEL), sample.loss(name)) for name in BASELINES},
        drift_p=drift.p,
        ahead_of_all=ahead,
        drift=drift.p < LEVEL,
        history=grade_of(drift.p, ahead, 1.0) == Grade.SUPPORTED,
        live=bool(path.max(initial=1.0) >= ENOUGH),
        e_value=float(path[-1]) if len(path) else 1.0,
        weeks=len(path),
        usual=plain(
            naive_tests | {f"slope_{name}": slopes[name] for name in CLAIM} | {"slope_crypto_state": slopes["crypto_state"]}
        ),
    )


def evidence_path(walk: WalkForward, data: Dataset) -> np.ndarray:
    """E-values (weeks,) after each week of out-of-sample forecasts, as the ledger would have recorded them."""
    factors = []
    for fold in walk.models:
        rows = data.X.loc[fold.start : fold.end, list(MODELS[JUDGED_MODEL].columns)]
        if rows.empty or not isinstance(fold.model, LawModel):
            continue
        tilts, sigmas = fold.model.edge(rows)
        followed = data.week_after.loc[rows.index].to_numpy()
        factors += [
            tilt_factor(float(tilt), float(sigma), float(move))
            for tilt, sigma, move in zip(tilts, sigmas, followed, strict=True)
            if np.isfinite(move) and sigma > 0
        ]
    return np.cumprod(factors)


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
        """Raise BadInput where the study can't be simulated."""
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
        """Hash (16 hex digits) of all settings that decide the result on a given market, code excluded."""
        spec = MODELS[JUDGED_MODEL]
        settings = TrainSettings()
        params = spec.for_target(settings.target).get_params()
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
    """Judge every market of the study that isn't in the file yet; return all lines of the file.

    processes: how many at once, None for one per core; the number doesn't change the result. Raises Refused where the file is in
    use or belongs to another study, BadInput where it is a folder.
    """
    if file.is_dir():
        raise BadInput(f"--out {file} is a folder: name a file.")
    file.parent.mkdir(parents=True, exist_ok=True)
    with study_lock(file):
        lines = finished_lines(file, study)
        done = {key(line) for line in lines}
        scenarios = study.scenarios()
        pending = [scenario for scenario in scenarios if (scenario.years, scenario.strength, scenario.market) not in done]
        progress("markets", len(scenarios) - len(pending), len(scenarios))
        with file.open("ab", buffering=0) as out:
            jobs = [(study.configuration, scenario) for scenario in pending]
            for line in run_in_parallel(line_of, jobs, processes=processes, ordered=False):
                append(out.fileno(), line)
                lines.append(line)
                progress("markets", len(scenarios) - len(pending) + len(lines) - len(done), len(scenarios))
    return sorted(lines, key=key)


def line_of(configuration: str, scenario: Scenario) -> Line:
    """The line to store for one market."""
    about = {"configuration": configuration, "years": scenario.years, "strength": scenario.strength, "market": scenario.market}
    return about | judge_market(scenario)


def key(line: Line) -> tuple[int, float, int]:
    """Years, strength and number: they identify a market within a study."""
    return line["years"], line["strength"], line["market"]


@contextmanager
def study_lock(file: Path) -> Iterator[None]:
    """Lock the file against other studies. Raises Refused where one is writing to it."""
    try:
        with FileLock(f"{file}.lock", timeout=0):
            yield
    except Timeout:
        raise Refused(f"{file} is being written by another `altrally power`; wait for it, or name another --out.") from None


def finished_lines(file: Path, study: Study) -> list[Line]:
    """Lines of the markets in a file. An incomplete last line, left by a kill, is removed from the file."""
    content = file.read_bytes() if file.exists() else b""
    whole = content[: content.rfind(b"\n") + 1]
    if whole != content:
        os.truncate(file, len(whole))
    lines = [parse_line(file, number, text) for number, text in enumerate(whole.splitlines(), 1)]
    for line in lines:
        if line["configuration"] != study.configuration:
            raise Refused(f"{file} holds study {line['configuration']}, not {study.configuration}: name another --out.")
    return lines


def parse_line(file: Path, number: int, text: bytes) -> Line:
    """A line of the file, parsed. Raises BadInput where it isn't a market of a study."""
    try:
        line: Line = json.loads(text)
        if {"configuration", "years", "strength", "market", "own", "independent"} <= line.keys():
            return line
    except (ValueError, AttributeError):
        pass
    raise BadInput(f"Line {number} of {file} isn't a market of a power study: move the file away, or name another --out.")


def append(handle: int, line: Line) -> None:
    """Append one whole line and write it to disk."""
    os.write(handle, json.dumps(line, allow_nan=False).encode() + b"\n")
    os.fsync(handle)
