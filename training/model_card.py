"""The card of a model: all that a forecast needs besides the model, with its skill in numbers and in one sentence."""

from collections.abc import Mapping
from typing import Any

import pandas as pd

from core.number_format import interval
from evaluation.evidence import Grade, LiveEvidence, evidence
from models.card import Card, FoldCard
from training.training_job import TrainedModel, TrainingJob, headline_row
from training.walk_forward import base_rates, training_rows

VERDICTS = {
    str(Grade.SHOWN): "Skill has been shown live",
    str(Grade.SUPPORTED): "Skill has not been shown live, history supports it",
    str(Grade.NOT_SHOWN): "Skill has not been shown",
}
BASELINE_WORDS = {
    "volatility": "volatility alone",
    "climatology": "climatology",
    "random_walk": "the random walk",
    "momentum": "momentum",
}


def make_card(job: TrainingJob, model: TrainedModel, total_trials: int) -> Card:
    """The card of a trained model; `total_trials` counts all trials so far."""
    data, events = job.data, job.data.outcomes.events.dropna(how="all")
    ends = data.outcomes.label_end.loc[events.index].where(events.notna())
    return Card(
        model=model.name,
        family=job.family,
        market=data.market,
        outcome=job.settings.target.summary,
        horizons=list(job.settings.horizons),
        columns=model.columns,
        label=job.settings.label,
        configuration=model.configuration,
        snapshot=data.snapshot,
        trained_as_of=f"{data.until:%Y-%m-%d}",
        last_label_end=f"{ends.max().max():%Y-%m-%d}",
        base_rates=base_rates(events),
        folds=[fold_card(job, model, position) for position in range(len(job.folds))],
        means=means(data.X.loc[events.index, model.columns]),
        skill=skill_card(model),
        draws=job.settings.draws,
        trials=total_trials,
    )


def fold_card(job: TrainingJob, model: TrainedModel, position: int) -> FoldCard:
    """The card of one fold's model: its days, base rates and input means."""
    fold = job.folds[position]
    rows = training_rows(job.data.outcomes, fold.test_start).index
    return FoldCard(
        test_start=f"{fold.test_start:%Y-%m-%d}",
        test_end=f"{fold.test_end:%Y-%m-%d}",
        base_rates=model.walk.base_rates[position],
        means=means(job.data.X.loc[rows, model.columns]),
    )


def means(inputs: pd.DataFrame) -> dict[str, Any]:
    """Mean of each input, by name; None for an input without values."""
    return {str(name): None if pd.isna(mean) else float(mean) for name, mean in inputs.mean().items()}


def skill_card(model: TrainedModel) -> dict[str, Any]:
    """Skill at the horizon judged, as plain values and a sentence, with the historical evidence."""
    row = headline_row(model)
    judged = model.forecasts[(model.forecasts["horizon"] == row["horizon"])].dropna(subset=["outcome"])["as_of"]
    start, end = (f"{day:%Y-%m-%d}" if len(judged) else None for day in (judged.min(), judged.max()))
    climatology, drift = row["skill_climatology"], row["drift"]
    history = evidence(None if drift is None else drift["p"], row["ahead_of_all"], LiveEvidence())
    return {
        "brier_skill_score": climatology["value"],
        "low": climatology["low"],
        "high": climatology["high"],
        "null_p": row["null_p"],
        "shown": history.grade == Grade.SHOWN,
        "sentence": skill_sentence(row, start, end, history.grade),
        "start": start,
        "end": end,
        "evidence": history.to_dict(),
    }


def skill_sentence(row: Mapping[str, Any], start: str | None, end: str | None, grade: str) -> str:
    """Sentence with the grade, the months judged, and the skill against each baseline. All outputs print this one."""
    if row["n"] == 0 or start is None or end is None:
        return "Skill has not been shown: no forecast has been judged yet."
    against = ", ".join(f"{interval(row[f'skill_{name}'])} against {words}" for name, words in baseline_clause(row).items())
    windows, null = f"about {row['n_effective']:.0f} independent windows", row["null"]
    if null is not None:
        windows += f"; null p {null['p']:.3f} of {null['shifts']} rotations, about {null['independent']} independent"
    best, tries = row["best_of_n_p"], f"{row['trials']} tries counted"
    # This p-value doesn't cover the earlier trials, so their number stands beside it.
    best_of = f"no p as the best, {tries}" if best is None else f"p {best:.3f} as the best of those judged together, {tries}"
    return (
        f"{VERDICTS[grade]}: from {start[:7]} to {end[:7]} the {row['horizon']}-day Brier skill was {against} "
        f"(95 % intervals, {windows}; {best_of})."
    )


def baseline_clause(row: Mapping[str, Any]) -> dict[str, str]:
    """Words for the baselines, by name. Without a law of prices some baselines equal climatology, and only climatology is named."""
    same = [name for name in ("volatility", "random_walk") if row[f"skill_{name}"] == row["skill_climatology"]]
    return {name: words for name, words in BASELINE_WORDS.items() if name not in same}
