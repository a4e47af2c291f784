"""Every model there is: its name, the columns it reads, the outcomes it can speak of."""

from collections.abc import Callable
from dataclasses import dataclass

from models.base import HorizonModel
from models.boosted import Boosted
from models.climatology import Climatology
from models.combination import Combination
from models.conditional_rate import ConditionalRate
from models.hazard import Hazard
from models.hazard_beyond_volatility import HazardBeyondVolatility
from models.hazard_signed import SignedHazard
from models.logit import RidgeLogit
from models.probit import Probit
from models.random_walk import RandomWalk
from models.random_walk_fitted import RandomWalkFitted
from sources.errors import Refused, UnknownName
from sources.target import ALTCOINS, KINDS, Target

FIRST_PASSAGE, TERMINAL, RELATIVE = KINDS
COMPOSITES = ("breadth", "breakout", "volume", "liquidity", "ladder", "crypto_state")
CLAIM = tuple(block for block in COMPOSITES if block != "crypto_state")
"""The blocks the claim speaks of; crypto's own state isn't one."""
LAGGED_LIQUIDITY = tuple("liquidity_lagged" if name == "liquidity" else name for name in COMPOSITES)
RISEN = 0.30
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

    def asked(self, target: Target) -> HorizonModel:
        """As `make`, for the question of a target."""
        return self.make(target.outcome, target.rise, target.horizons)


def default_model(kind: str) -> str:
    """The model that becomes champion of an empty home."""
    return "hazard" if kind == FIRST_PASSAGE else "logit"


def random_walk(kind: str, threshold: float, horizons: tuple[int, ...]) -> HorizonModel:
    return RandomWalk(threshold, horizons, terminal=kind == TERMINAL)


def random_walk_fitted(kind: str, threshold: float, horizons: tuple[int, ...]) -> HorizonModel:
    return RandomWalkFitted(threshold, horizons, terminal=kind == TERMINAL)


def momentum(kind: str, threshold: float, horizons: tuple[int, ...]) -> HorizonModel:
    return RidgeLogit(standardise=True, ordered=nested(kind))


def persistence(kind: str, threshold: float, horizons: tuple[int, ...]) -> HorizonModel:
    return ConditionalRate(RISEN if kind == RELATIVE else threshold, ordered=nested(kind))


def breakout_rule(kind: str, threshold: float, horizons: tuple[int, ...]) -> HorizonModel:
    return ConditionalRate(BREAKOUT_DAYS, above=False, ordered=nested(kind))


def altseason_rule(kind: str, threshold: float, horizons: tuple[int, ...]) -> HorizonModel:
    return ConditionalRate(ALTSEASON_SHARE, ordered=nested(kind))


def nested(kind: str) -> bool:
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
            ("altcoin_volatility",),
            lambda kind, threshold, horizons: Climatology(ordered=nested(kind)),
            True,
            ANY_KIND,
            "How often it happened before; the column only carries the rows.",
        ),
        ModelSpec(
            "random_walk", ("altcoin_volatility",), random_walk, True, PRICED, "What volatility alone predicts, without drift."
        ),
        ModelSpec(
            "random_walk_fitted",
            ("altcoin_volatility",),
            random_walk_fitted,
            True,
            PRICED,
            "The random walk, calibrated on its past.",
        ),
        ModelSpec("momentum", ("altcoin_momentum",), momentum, True, ANY_KIND, "Logit on the altcoin index's 90-day log return."),
        ModelSpec(
            "persistence", ("rise_from_low",), persistence, True, ANY_KIND, "Base rate while a rally is already on, and while not."
        ),
        ModelSpec(
            "breakout_rule",
            ("days_since_breakout",),
            breakout_rule,
            True,
            ANY_KIND,
            "The article's rule: base rate within 90 days of a Russell 2000 breakout.",
        ),
        ModelSpec(
            "altseason_rule",
            ("altcoin_season",),
            altseason_rule,
            True,
            ANY_KIND,
            "The published index's rule: base rate while 75 % of the top 50 beat bitcoin.",
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
            "hazard_signed",
            COMPOSITES,
            lambda kind, threshold, horizons: SignedHazard(),
            False,
            PASSAGE,
            "The hazard with a prior that believes the declared signs.",
        ),
        ModelSpec(
            "hazard_lagged",
            LAGGED_LIQUIDITY,
            lambda kind, threshold, horizons: Hazard(),
            False,
            PASSAGE,
            "The hazard on liquidity as it was 5 to 16 weeks before.",
        ),
        ModelSpec(
            "hazard_beyond_volatility",
            (*COMPOSITES, "altcoin_volatility"),
            lambda kind, threshold, horizons: HazardBeyondVolatility(threshold, horizons),
            False,
            PASSAGE,
            "The hazard that begins at the random walk's odds and explains only what volatility doesn't.",
        ),
        ModelSpec(
            "boosted",
            COMPOSITES,
            lambda kind, threshold, horizons: Boosted(ordered=nested(kind)),
            False,
            ANY_KIND,
            "Gradient boosting on the composites, monotone in each.",
        ),
        ModelSpec(
            "combination",
            COMPOSITES,
            lambda kind, threshold, horizons: Combination(ordered=nested(kind)),
            False,
            ANY_KIND,
            "Mean of one-block models, half-way to climatology.",
        ),
        ModelSpec(
            "logit",
            COMPOSITES,
            lambda kind, threshold, horizons: RidgeLogit(ordered=nested(kind)),
            False,
            ANY_KIND,
            "Ridge logit on the composites, one a horizon.",
        ),
        ModelSpec(
            "probit",
            COMPOSITES,
            lambda kind, threshold, horizons: Probit(ordered=nested(kind)),
            False,
            ANY_KIND,
            "Probit on the composites without a prior, one a horizon, as recessions are forecast.",
        ),
    )
}
