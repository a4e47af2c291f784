"""Is skill declared where there is none, and found where there is? One simulated market, judged by the project's three grades.

A market passes the code real data pass: drop-in frames, features as they were known, purged walk-forward. Where liquidity moves
no coin it is judged twice: with inputs of its `own`, of which crypto's state may still know how far prices move, and with
`independent` ones, those of another market, on which nothing that follows can depend.
"""

from collections.abc import Mapping
from dataclasses import asdict, dataclass, replace
from typing import Any

import numpy as np
import pandas as pd

from evaluation.evidence import ENOUGH, LEVEL, Grade, grade_of, tilt_factor
from features.builder import COMPOSITE_LOOKBACK, build, matrix
from models.catalog import CLAIM, COMPOSITES, MODELS
from models.law_model import LawModel
from sources.layout import batches
from sources.memory import Memory, hold
from sources.progress import silent
from sources.simulated import simulate
from training.dataset import Dataset, prepare
from training.judged import BASELINES, JUDGED_DAYS, judged
from training.plain import plain
from training.scores import brier_score
from training.settings import TrainSettings
from training.usual_tests import auc_p, slope_p_values, smaller_loss_p
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
    """One market: its number, the years its coins trade, and how strongly liquidity moves them `lag_weeks` later."""

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
        """As on the real market: rows from the second year on, forecasts from the fifth."""
        first, test = (self.start + pd.DateOffset(years=years) for years in (YEARS_TO_FIRST_ROW, YEARS_TO_FIRST_TEST))
        return TrainSettings(start=first, first_test=test, models=(JUDGED_MODEL,))

    def drawn(self, which: int) -> Memory:
        """The market `ITSELF`, or `ANOTHER` of the same kind."""
        seed = int(np.random.SeedSequence([self.seed, self.market, which]).generate_state(1)[0])
        span = {"start": f"{self.start:%Y-%m-%d}", "end": f"{END:%Y-%m-%d}"}
        frames = simulate(seed=seed, **span, strength=self.strength, lag_weeks=self.lag_weeks, stocks=STOCKS, coins=COINS)
        return hold(batches(frames, "simulated"), "simulated", f"seed {seed}")


@dataclass(frozen=True)
class Judgement:
    """What was found on one market, 60 days ahead; p-values under `usual` are those of tests that don't hold.

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
    """The judgements of one market, by its inputs: `own`, and `independent` (None where liquidity moves coins)."""
    settings = scenario.settings
    data = prepare(scenario.drawn(ITSELF), settings, END)
    own = asdict(judgement_of(data, settings))
    if scenario.strength:
        return {"own": own, "independent": None}
    return {"own": own, "independent": asdict(judgement_of(with_inputs_of(scenario.drawn(ANOTHER), data, settings), settings))}


def with_inputs_of(other: Memory, data: Dataset, settings: TrainSettings) -> Dataset:
    """The rows of `data` with the composites of another market; what the baselines read stays."""
    inputs = matrix(build(other, END, start=settings.start - COMPOSITE_LOOKBACK), pd.DatetimeIndex(data.X.index))
    return replace(data, X=data.X.assign(**inputs.X[list(COMPOSITES)]), neutral=inputs.neutral)


def judgement_of(data: Dataset, settings: TrainSettings) -> Judgement:
    """The three grades and the usual tests, of the pool."""
    folds = usable(quarters(settings.first_test, END), data.outcomes)
    walks = walk_all(data, settings, [JUDGED_MODEL], folds, silent)
    found = judged({name: walk.probabilities for name, walk in walks.items()}, data.outcomes.events, JUDGED_DAYS)
    scores = {name: brier_score(found.probabilities[name], found.outcome) for name in (JUDGED_MODEL, *BASELINES)}
    ahead = all(scores[JUDGED_MODEL] < scores[name] for name in BASELINES)
    drift = drift_of(data)
    assert drift is not None  # six years hold weeks to shift
    path = evidence_path(walks[JUDGED_MODEL], data)
    usual = {
        "auc": auc_p(found.probabilities[JUDGED_MODEL], found.outcome),
        "diebold_mariano": smaller_loss_p(found.loss(JUDGED_MODEL), found.loss("climatology"), JUDGED_DAYS),
    }
    slopes = slope_p_values(data.X[list(COMPOSITES)], data.outcomes.events, settings.horizons)
    return Judgement(
        skill={name: skill(found.loss(JUDGED_MODEL), found.loss(name)) for name in BASELINES},
        drift_p=drift.p,
        ahead_of_all=ahead,
        drift=drift.p < LEVEL,
        history=grade_of(drift.p, ahead, 1.0) == Grade.SUPPORTED,
        live=bool(path.max(initial=1.0) >= ENOUGH),
        e_value=float(path[-1]) if len(path) else 1.0,
        weeks=len(path),
        usual=plain(usual | {f"slope_{name}": slopes[name] for name in CLAIM} | {"slope_crypto_state": slopes["crypto_state"]}),
    )


def evidence_path(walk: WalkForward, data: Dataset) -> np.ndarray:
    """Evidence (weeks,) after each week that was forecast out of sample, as the ledger would have kept it from the first on."""
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
