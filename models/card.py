"""The card saved beside a model: what a user of its forecasts must know."""

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass, fields
from typing import Any, get_origin

from core.errors import BadInput
from core.target import Target, target_from_summary

OUTCOME_FIELDS = ("kind", "threshold")
SKILL_FIELDS = ("brier_skill_score", "low", "high", "null_p", "shown", "sentence", "start", "end")


@dataclass(frozen=True)
class FoldCard:
    """One walk-forward model: the days it answers for (both included), its base rates and training means."""

    test_start: str
    test_end: str
    base_rates: list[float]
    means: dict[str, float]


@dataclass(frozen=True)
class Card:
    """What was trained, on what, and what it is worth.

    Days are ISO strings. `outcome` holds kind and threshold, and the target where it isn't the default one. `horizons` are days,
    `base_rates` one a horizon, `columns` the inputs in order and `means` their training means. `skill` is the Brier skill against
    climatology at the horizon judged with its 95 % interval, as known then, from `start` to `end`. `configuration` is the hash that
    tells a refresh from a different model, `snapshot` names the data seen, `trials` were tried.
    """

    model: str
    family: str
    market: str
    outcome: dict[str, Any]
    horizons: list[int]
    columns: list[str]
    label: str
    configuration: str
    snapshot: str
    trained_as_of: str
    last_label_end: str
    base_rates: list[float]
    folds: list[FoldCard]
    means: dict[str, float]
    skill: dict[str, Any]
    draws: int
    trials: int

    @property
    def target(self) -> Target:
        """The question it answers."""
        return target_from_summary(self.outcome, self.horizons)

    def to_dict(self) -> dict[str, Any]:
        """Plain dicts and lists; raises BadInput where a number isn't finite, because JSON has no such number (missing is None)."""
        plain = asdict(self)
        try:
            json.dumps(plain, allow_nan=False)
        except ValueError as error:
            raise BadInput(f"A card can't be saved: {error}.") from None
        return plain


def read_card(text: str) -> Card:
    """The card in a JSON text; BadInput names what is damaged."""
    try:
        plain = json.loads(text)
    except ValueError as error:
        raise damaged(f"not JSON ({error})") from None
    outer = checked_fields(Card, plain)
    card = Card(**outer | {"folds": [FoldCard(**checked_fields(FoldCard, fold)) for fold in outer["folds"]]})
    require("outcome", card.outcome, OUTCOME_FIELDS)
    require("skill", card.skill, SKILL_FIELDS)
    parts: list[Card | FoldCard] = [card, *card.folds]
    for part in parts:
        require("means", part.means, card.columns)
        if len(part.base_rates) != len(card.horizons):
            raise damaged(f"base_rates are {part.base_rates} for horizons {card.horizons}")
    return card


def checked_fields(kind: type[Card] | type[FoldCard], plain: Any) -> dict[str, Any]:
    """Fields of a card. Raises BadInput where one is missing, unknown or of another type."""
    if not isinstance(plain, dict):
        raise damaged(f"a {kind.__name__} is {type(plain).__name__}, not an object")
    declared = {field.name: get_origin(field.type) or field.type for field in fields(kind)}
    strange = sorted(set(plain) ^ set(declared))
    if strange:
        raise damaged(f"field {strange[0]!r} is {'unknown' if strange[0] in plain else 'missing'}")
    wrong = [name for name, type_ in declared.items() if not isinstance(plain[name], type_)]  # type: ignore[arg-type]
    if wrong:
        raise damaged(f"field {wrong[0]!r} is {plain[wrong[0]]!r}")
    return plain


def require(name: str, value: Mapping[str, Any], keys: Any) -> None:
    """Raise BadInput where a key is missing."""
    missing = [key for key in keys if key not in value]
    if missing:
        raise damaged(f"{name} lacks {missing[0]!r}")


def damaged(how: str) -> BadInput:
    """Error for a card that can't be read."""
    return BadInput(f"The model's card is damaged: {how}. Train again.")
