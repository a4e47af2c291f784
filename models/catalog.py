"""Catalogue of models: the name of each, the columns it reads, and the outcomes it can forecast."""

from collections.abc import Callable
from dataclasses import dataclass

from core.errors import Refused, UnknownName
from core.target import ALTCOINS, KINDS, Target
from models.base import HorizonModel
from models.boosted import Boosted
from models.hazard import Hazard
from models.logit import RidgeLogit
from models.passage import Passage
from models.pool import Pool
from models.random_walk import RandomWalk
from models.rules import Climatology, ConditionalRate
from models.volatility import Volatility

FIRST_PASSAGE, TERMINAL, RELATIVE = KINDS
COMPOSITES = ("breadth", "breakout", "volume", "liquidity", "ladder", "crypto_state")
CLAIM = tuple(block for block in COMPOSITES if block != "crypto_state")
"""The blocks the claim speaks of; crypto's own state isn't one."""

SIGMA, SIGMA_90 = "blended_volatility", "altcoin_volatility"
"""Daily volatility of the index: blended of four memories, and over the past 90 days."""

BREAKOUT_DAYS = 90
ALTSEASON_SHARE = 0.75


@dataclass(frozen=True)
class ModelSpec:
    """A model by name: `columns` it reads in order, whether it is a `baseline`, and the `kinds` of outcome it may forecast.

    `build` takes the kind of outcome, its threshold (0.3 is a rise of 30 %) and its horizons in days; call it through `make`.
    """

    name: str
    columns: tuple[str, ...]
    build: Callable[[str, float, tuple[int, ...]], HorizonModel]
    baseline: bool
    kinds: frozenset[str]
    description: str

    def make(self, kind: str, threshold: float, horizons: tuple[int, ...] = ALTCOINS.horizons) -> HorizonModel:
        """A new, unfitted estimator; raises Refused where this model can't speak of that kind of outcome."""
        if kind not in KINDS:
            raise UnknownName("outcome", kind, KINDS)
        if kind not in self.kinds:
            raise Refused(
                f"Model {self.name!r} forecasts {' and '.join(sorted(self.kinds))} only, not {kind}: "
                f"there horizons aren't nested. Try --model {default_model(kind)}."
            )
        return self.build(kind, threshold, horizons)

    def for_target(self, target: Target) -> HorizonModel:
        """As `make`, for the question of a target."""
        return self.make(target.outcome, target.rise, target.horizons)


def default_model(kind: str) -> str:
    """The model that becomes champion of an empty home."""
    return "logit" if kind == RELATIVE else "pool"


def events_are_nested(kind: str) -> bool:
    """Whether the event by one horizon implies the event by the next (STATISTICS 5)."""
    return kind == FIRST_PASSAGE


ANY_KIND = frozenset(KINDS)
PRICED = frozenset({FIRST_PASSAGE, TERMINAL})
PASSAGE = frozenset({FIRST_PASSAGE})

MODELS: dict[str, ModelSpec] = {
    spec.name: spec
    for spec in (
        ModelSpec(
            "climatology",
            (SIGMA_90,),
            lambda kind, threshold, horizons: Climatology(ordered=events_are_nested(kind)),
            True,
            ANY_KIND,
            "How often it happened before; the column only carries the rows.",
        ),
        ModelSpec(
            "volatility",
            (SIGMA,),
            lambda kind, threshold, horizons: Volatility(threshold, horizons, terminal=kind == TERMINAL),
            True,
            PRICED,
            "What volatility alone predicts: no drift, volatility blended of four memories and itself uncertain.",
        ),
        ModelSpec(
            "random_walk",
            (SIGMA_90,),
            lambda kind, threshold, horizons: RandomWalk(threshold, horizons, terminal=kind == TERMINAL),
            True,
            PRICED,
            "A random walk without drift at the volatility of the past 90 days.",
        ),
        ModelSpec(
            "momentum",
            ("altcoin_momentum",),
            lambda kind, threshold, horizons: RidgeLogit(standardise=True, ordered=events_are_nested(kind)),
            True,
            ANY_KIND,
            "Logit on the altcoin index's 90-day log return.",
        ),
        ModelSpec(
            "breakout_rule",
            ("days_since_breakout",),
            lambda kind, threshold, horizons: ConditionalRate(BREAKOUT_DAYS, above=False, ordered=events_are_nested(kind)),
            True,
            ANY_KIND,
            "The article's rule: base rate within 90 days of a Russell 2000 breakout.",
        ),
        ModelSpec(
            "altseason_rule",
            ("altcoin_season",),
            lambda kind, threshold, horizons: ConditionalRate(ALTSEASON_SHARE, ordered=events_are_nested(kind)),
            True,
            ANY_KIND,
            "The published index's rule: base rate while 75 % of the top 50 beat bitcoin.",
        ),
        ModelSpec(
            "pool",
            (*COMPOSITES, SIGMA, SIGMA_90),
            lambda kind, threshold, horizons: Pool(threshold, horizons, terminal=kind == TERMINAL),
            False,
            PRICED,
            "Mixture of passage, volatility, random walk and climatology, weighted by their past forecasts.",
        ),
        ModelSpec(
            "passage",
            (*COMPOSITES, SIGMA),
            lambda kind, threshold, horizons: Passage(threshold, horizons, terminal=kind == TERMINAL),
            False,
            PRICED,
            "Volatility with a drift that the composites give, held back by a sceptical prior.",
        ),
        ModelSpec(
            "hazard",
            COMPOSITES,
            lambda kind, threshold, horizons: Hazard(),
            False,
            PASSAGE,
            "Discrete-time hazard on the composites; coherent by construction.",
        ),
        ModelSpec(
            "logit",
            COMPOSITES,
            lambda kind, threshold, horizons: RidgeLogit(ordered=events_are_nested(kind)),
            False,
            ANY_KIND,
            "Ridge logit on the composites, one a horizon.",
        ),
        ModelSpec(
            "boosted",
            COMPOSITES,
            lambda kind, threshold, horizons: Boosted(ordered=events_are_nested(kind)),
            False,
            ANY_KIND,
            "Gradient boosting on the composites, monotone in each.",
        ),
    )
}
