"""Tracked runs beside each other, on the days all of them forecast."""

from collections.abc import Mapping, Sequence
from dataclasses import asdict
from typing import Any

import pandas as pd

from models.registry import find_run, list_runs
from sources.errors import NoChampion, Refused
from training.bootstrap import difference_interval, skill_interval
from training.scores import auc, brier_losses, brier_score, log_score
from training.tracking import Tracker, TrackingPlace, champion, forecasts_of, tracking, version_of
from training.verify import plain

SEED = 7


def compare(place: TrackingPlace, runs: Sequence[str]) -> list[dict[str, Any]]:
    """One row a run and horizon, all on the same days, each paired with the first.

    runs: ids, beginnings of ids or names; a training stands for all its models. None named: the last training, paired with the
    champion. Each row: run_id, model, version, trained_as_of, label, market, horizon, n, brier, log_score, auc, skill_climatology,
    `against` (the model and run it is paired with) and brier_difference (positive where this run is the better), both None for that
    run itself. Raises Refused where runs forecast different outcomes or were judged by unequal ones.
    """
    listed = list_runs(place.uri)
    with tracking(place) as tracker:
        chosen = named(listed, runs) if runs else last_training(tracker, listed)
        require_one_label(chosen)
        table = common_days({str(run["run_id"]): forecasts_of(tracker, str(run["run_id"])) for run in chosen})
        versions = {str(run["run_id"]): version_of(tracker, str(run["run_id"])) for run in chosen}
    rows = []
    for run in chosen:
        registered = versions[str(run["run_id"])]
        about = facts(run) | {"version": registered.version if registered else None}
        rows += [about | score for score in scored_beside(table, str(run["run_id"]), chosen[0])]
    return rows


def named(listed: pd.DataFrame, runs: Sequence[str]) -> list[pd.Series]:
    """The runs named, a training replaced by its models, each once."""
    found = [child for run in runs for child in models_of(listed, find_run(listed, run))]
    return list({str(run["run_id"]): run for run in found}.values())


def models_of(listed: pd.DataFrame, run: pd.Series) -> list[pd.Series]:
    """A run of one model itself; of a training its finished models, in the order they were logged."""
    if run["parent_id"] is not None and not pd.isna(run["parent_id"]):
        return [run]
    children = listed[(listed["parent_id"] == run["run_id"]) & (listed["status"] == "FINISHED")]
    if children.empty:
        raise Refused(f"Training {run['name']} has no finished model to compare.")
    return [child for _, child in children[::-1].iterrows()]


def last_training(tracker: Tracker, listed: pd.DataFrame) -> list[pd.Series]:
    """The models of the newest finished training; the champion first, if it forecasts the same."""
    trainings = listed[listed["parent_id"].isna() & (listed["status"] == "FINISHED")] if len(listed) else listed
    if trainings.empty:
        raise NoChampion("Nothing has been trained in this home yet. Run `altrally train` first.")
    models = models_of(listed, trainings.iloc[0])
    current = champion(tracker)
    first = listed[listed["run_id"] == current.run_id] if current else listed[:0]
    if first.empty or label_of(first.iloc[0]) != label_of(models[0]):
        return models
    return [first.iloc[0], *(run for run in models if run["run_id"] != first.iloc[0]["run_id"])]


def label_of(run: pd.Series) -> tuple[str, str]:
    """What a run forecasts, and on which market."""
    return str(run["tags.label"]), str(run["tags.market"])


def require_one_label(runs: Sequence[pd.Series]) -> None:
    """Refuse to compare forecasts of different things."""
    labels = list(dict.fromkeys(label_of(run) for run in runs))
    if len(labels) > 1:
        raise Refused(
            f"These runs forecast different outcomes: {'; '.join(f'{label} ({market} market)' for label, market in labels)}."
        )


def facts(run: pd.Series) -> dict[str, Any]:
    """What a run is."""
    label, market = label_of(run)
    named_so = {"run_id": run["run_id"], "model": run["name"], "label": label, "market": market}
    return named_so | {"trained_as_of": run["tags.trained_as_of"]}


def common_days(forecasts: Mapping[str, pd.DataFrame]) -> pd.DataFrame:
    """Probability, climatology and outcome of every run, by horizon and day, where all have forecast and the outcome is known."""
    parts = {
        run: frame.set_index(["horizon", "as_of"])[["probability", "climatology", "outcome"]] for run, frame in forecasts.items()
    }
    table = pd.concat(parts, axis=1, join="inner").dropna().sort_index()
    outcomes = pd.DataFrame({run: table[run]["outcome"] for run in forecasts})
    unlike = int((outcomes.max(axis=1) != outcomes.min(axis=1)).sum())
    if unlike:
        raise Refused(f"The runs were judged by unequal outcomes on {unlike} of {len(table)} common rows: their data differ.")
    return table


def scored_beside(table: pd.DataFrame, run: str, first: pd.Series) -> list[dict[str, Any]]:
    """Scores of one run at each horizon, and its difference from the first."""
    against = str(first["run_id"])
    rows = []
    for days in table.index.unique("horizon"):
        here = table.loc[days]
        outcome, probability = here[run]["outcome"].to_numpy(), here[run]["probability"].to_numpy()
        loss, theirs = brier_losses(probability, outcome), brier_losses(here[against]["probability"].to_numpy(), outcome)
        climate = brier_losses(here[run]["climatology"].to_numpy(), outcome)
        difference = None if run == against else plain(asdict(difference_interval(loss, theirs, int(days), seed=SEED)))
        rows.append(
            {
                "horizon": int(days),
                "n": len(outcome),
                "brier": plain(brier_score(probability, outcome)),
                "log_score": plain(log_score(probability, outcome)),
                "auc": plain(auc(probability, outcome)),
                "skill_climatology": plain(asdict(skill_interval(loss, climate, int(days), seed=SEED))),
                "against": None if run == against else {"run_id": against, "model": first["name"]},
                "brier_difference": difference,
            }
        )
    return rows
