"""Is skill declared where there is none, and found where there is? One simulated market, judged by the project's rule.

A market passes the code real data pass: drop-in frames, features as they were known, purged walk-forward, intervals, nulls. Where
liquidity moves no coin it is judged twice: with inputs of its `own`, of which crypto's state may still know how far prices move,
and with `independent` ones, those of another market, of which no outcome can depend on anything.
"""

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from functools import partial
from typing import Any

import numpy as np
import pandas as pd

from features.builder import COMPOSITE_LOOKBACK, build, matrix
from models.catalog import COMPOSITES, MODELS
from sources.layout import batches
from sources.memory import Memory, hold
from sources.progress import silent
from sources.simulated import simulate
from training.bootstrap import block_length
from training.dataset import Dataset, prepare
from training.judged import JUDGED_DAYS, judged
from training.nulls import Null, claim_null, shift_null
from training.plain import plain
from training.plotting import import_matplotlib
from training.scores import Floats, brier_losses
from training.settings import TrainSettings
from training.train import skill_shown
from training.usual_tests import auc_p, slope_p_values, smaller_loss_p
from training.verify import scored, walk, walk_all
from training.walk_forward import Fold, quarters, usable

END = pd.Timestamp("2024-12-31")
YEARS_TO_FIRST_ROW, YEARS_TO_FIRST_TEST = 1, 4
LEAST_YEARS = 6
STOCKS, COINS = 20, 60
SHIFTS = 100
"""Rotations of each null, evenly spread over the 450 there are in 11 years: p is then below 0.05 in 5 of 101 ranks."""

REPETITIONS = 500
REFITTED = "hazard"
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
        return TrainSettings(start=first, first_test=test, models=(REFITTED,))

    def drawn(self, which: int) -> Memory:
        """The market `ITSELF`, or `ANOTHER` of the same kind."""
        seed = int(np.random.SeedSequence([self.seed, self.market, which]).generate_state(1)[0])
        span = {"start": f"{self.start:%Y-%m-%d}", "end": f"{END:%Y-%m-%d}"}
        frames = simulate(seed=seed, **span, strength=self.strength, lag_weeks=self.lag_weeks, stocks=STOCKS, coins=COINS)
        return hold(batches(frames, "simulated"), "simulated", f"seed {seed}")


@dataclass(frozen=True)
class Judgement:
    """What was found on one market, 60 days ahead. `shown` is the rule; p-values under `usual` are those of tests that don't hold.

    `skill` is Brier skill against climatology, `rotated_skill` its mean over rotated outcomes, `low` its lower limit against each
    baseline, `superior_p` the largest p of superior predictive ability over them. None where it can't be had.
    """

    skill: float | None
    rotated_skill: float
    low: Mapping[str, float | None]
    auc: float | None
    shift_p: float
    superior_p: float
    claim_p: float | None
    best_of_n_p: float
    shown: bool
    usual: Mapping[str, float | None]


def judge_market(scenario: Scenario) -> dict[str, Any]:
    """The judgements of one market, by its inputs: `own`, and `independent` (None where liquidity moves coins)."""
    settings = scenario.settings
    data = prepare(scenario.drawn(ITSELF), settings, END)
    folds = usable(quarters(settings.first_test, END), data.outcomes)
    walks = walk_all(data, settings, [REFITTED], folds, silent)
    forecasts = {name: walked.probabilities for name, walked in walks.items()}
    own = judgement_of(forecasts, data, settings, folds, claim=True)
    if scenario.strength:
        return {"own": asdict(own), "independent": None}
    other = with_inputs_of(scenario.drawn(ANOTHER), data, settings)
    forecasts[REFITTED] = walk(MODELS[REFITTED], other, settings, folds, None).probabilities
    return {"own": asdict(own), "independent": asdict(judgement_of(forecasts, other, settings, folds, claim=False))}


def with_inputs_of(other: Memory, data: Dataset, settings: TrainSettings) -> Dataset:
    """The rows of `data` with the composites of another market; what the baselines read stays."""
    inputs = matrix(build(other, END, start=settings.start - COMPOSITE_LOOKBACK), pd.DatetimeIndex(data.X.index))
    return replace(data, X=data.X.assign(**inputs.X[list(COMPOSITES)]), neutral=inputs.neutral)


def judgement_of(
    forecasts: Mapping[str, pd.DataFrame], data: Dataset, settings: TrainSettings, folds: Sequence[Fold], *, claim: bool
) -> Judgement:
    """The project's rule and the usual tests, of the hazard; the claim's null only where asked for."""
    hazard, outcome, references = compared(forecasts, data)
    row = scored(hazard, outcome, references, np.zeros(len(outcome), dtype=bool), JUDGED_DAYS, settings.seed)
    loss = brier_losses(hazard, outcome)
    shift, claim_p = by_chance(data, settings, folds, claim=claim)
    superior = max(superior_p(loss, reference, settings.seed) for reference in references.values())
    best = best_of_one(shift.p, superior)
    usual = {"auc": auc_p(hazard, outcome), "diebold_mariano": smaller_loss_p(loss, references["climatology"], JUDGED_DAYS)}
    slopes = slope_p_values(data.X[list(COMPOSITES)], data.outcomes.events, settings.horizons)
    return Judgement(
        skill=row["skill_climatology"]["value"],
        rotated_skill=shift.mean,
        low={name: row[f"skill_{name}"]["low"] for name in references},
        auc=row["auc"],
        shift_p=shift.p,
        superior_p=superior,
        claim_p=claim_p,
        best_of_n_p=best,
        shown=skill_shown(row | {"best_of_n_p": best}),
        usual=plain(usual | {f"slope_{name}": p for name, p in slopes.items()}),
    )


def compared(forecasts: Mapping[str, pd.DataFrame], data: Dataset) -> tuple[Floats, Floats, dict[str, Floats]]:
    """Forecasts of the hazard (n,), outcomes (n,), and the Brier losses (n,) of the three baselines on the same days."""
    found = judged(forecasts, data.outcomes.events, JUDGED_DAYS)
    return found.probabilities[REFITTED], found.outcome, {name: found.loss(model) for name, model in found.baselines.items()}


def by_chance(data: Dataset, settings: TrainSettings, folds: Sequence[Fold], *, claim: bool) -> tuple[Null, float | None]:
    """The null of skill against climatology when outcomes are rotated, and the claim's p where asked for."""
    make = partial(MODELS[REFITTED].asked, settings.target)
    rotate = (make, data.X[list(COMPOSITES)], data.outcomes, folds, (settings.first_test, END))
    place = settings.horizons.index(JUDGED_DAYS)
    shift, added = shift_null(*rotate, most=SHIFTS), claim_null(*rotate, most=SHIFTS) if claim else None
    assert shift is not None  # six years hold two to rotate
    return shift.null(shift.skill, place), None if added is None else added.null(added.skill, place).p


def best_of_one(shift_p: float, superior: float) -> float:
    """Best-of-N p where one model was tried: both the rotations and the comparison with every baseline must speak for it."""
    return max(shift_p, superior)


def superior_p(loss: Floats, reference: Floats, seed: int) -> float:
    """p that the model of `loss` (n,) isn't better than `reference` (n,), circular blocks as for the intervals.

    Reference: Hansen, "A test for superior predictive ability", Journal of Business & Economic Statistics 23 (2005).
    """
    import_matplotlib()  # arch imports it
    from arch.bootstrap import SPA

    block = block_length(reference - loss, JUDGED_DAYS)
    test = SPA(reference, loss[:, None], block_size=block, reps=REPETITIONS, bootstrap="circular", seed=seed)
    test.compute()
    return float(test.pvalues["consistent"])
