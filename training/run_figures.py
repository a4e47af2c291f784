"""Every picture kept with a tracked model."""

from collections.abc import Mapping
from pathlib import Path

import pandas as pd

from sources.target import judged_horizon
from training import panel_figures as figures
from training.cumulative import cumulative_lead
from training.decision_value import murphy, value_curve
from training.judged import Judged
from training.nulls import null_of
from training.panel import by_year, sharpness
from training.reliability import reliability_curve

STATISTICS = {"shift": "Brier skill against climatology", "claim": "Brier skill added to crypto's own state"}


def draw_reliability(found: Mapping[int, Judged], model: str, about: str, folder: Path, *, seed: int) -> None:
    """Whether events come as often as forecast, where any forecast was judged."""
    curves = {days: reliability_curve(one, model, seed=seed) for days, one in found.items() if len(one.outcome)}
    if curves:
        figures.draw_corp(curves, about, folder / "reliability.png")


def draw_panel(found: Mapping[int, Judged], model: str, about: str, folder: Path, *, seed: int) -> None:
    """What the forecasts were worth, to whom, and when; nothing where none was judged."""
    if not all(len(one.outcome) for one in found.values()):
        return
    beside = {days: tuple(dict.fromkeys((model, "climatology", one.baselines["volatility"]))) for days, one in found.items()}
    spread = {days: {name: sharpness(one.probabilities[name]) for name in beside[days]} for days, one in found.items()}
    figures.draw_murphy({days: murphy(one, model, seed=seed) for days, one in found.items()}, about, folder / "murphy.png")
    figures.draw_value({days: value_curve(one, model, seed=seed) for days, one in found.items()}, about, folder / "value.png")
    figures.draw_sharpness(spread, about, folder / "sharpness.png")
    figures.draw_by_year({days: by_year(one, model, seed=seed) for days, one in found.items()}, about, folder / "by_year.png")
    draw_leads(found[judged_horizon(list(found))], model, about, folder / "cumulative.png", seed=seed)


def draw_leads(found: Judged, model: str, about: str, path: Path, *, seed: int) -> None:
    """The lead over each baseline, added up over time."""
    rivals = [name for name in dict.fromkeys(found.baselines.values()) if name != model]
    figures.draw_cumulative([cumulative_lead(found, model, other, seed=seed) for other in rivals], about, path)


def draw_nulls(rotations: pd.DataFrame, independent: int, about: str, folder: Path) -> None:
    """Skill on the true dates among what rotations give, at the horizon judged. rotations: null, shift, horizon, skill."""
    if rotations.empty:
        return
    days = judged_horizon(rotations["horizon"].unique())
    judged = rotations[rotations["horizon"] == days].sort_values("shift")
    for name, rows in judged.groupby("null"):
        skill = rows["skill"].to_numpy()
        found, title = null_of(skill, independent), f"{about}, within {days} days"
        path = folder / f"null_{name}.png"
        figures.draw_null(found.observed, skill[1:], found.p, independent, STATISTICS[str(name)], title, path)
