"""The list of features for people: what each says, why, how old it is, and how much of it this store can say."""

import pandas as pd

from features.builder import build
from features.registry import Feature
from features.targets import features_of
from sources.series import COIN_PRICE
from sources.store import Store
from sources.target import ALTCOINS, Target


def catalogue(store: Store, as_of: pd.Timestamp, target: Target = ALTCOINS) -> pd.DataFrame:
    """One row a feature of a target, in order of declaration.

    block, name, formula, unit, sources, release_lag_days, sign, rationale, reference, first_day (YYYY-MM-DD, empty where there is
    none), coverage (share of days with a value, from the first coin price to `as_of`).
    """
    first = store.inventory(as_of).set_index("name")["first"][COIN_PRICE.name]
    values = build(store, as_of, start=as_of if pd.isna(first) else first, target=target).features
    return pd.DataFrame([_row(feature, values[name]) for name, feature in features_of(target).items()])


def _row(feature: Feature, values: pd.Series) -> dict[str, object]:
    first = values.first_valid_index()
    return {
        "block": feature.block,
        "name": feature.name,
        "formula": feature.formula,
        "unit": feature.unit,
        "sources": ", ".join(source.name for source in feature.sources),
        "release_lag_days": feature.release_lag.days,
        "sign": feature.sign,
        "rationale": feature.rationale,
        "reference": feature.reference,
        "first_day": "" if first is None else pd.Timestamp(str(first)).strftime("%Y-%m-%d"),
        "coverage": float(values.notna().mean()),
    }
