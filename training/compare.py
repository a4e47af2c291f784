"""Compare tracked runs on the days that all of them forecast."""

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from functools import partial
from pathlib import Path
from typing import Any

import pandas as pd

from core.errors import MissingData, NoChampion, Refused
from core.json import plain
from core.target import ALTCOINS, Target, judged_horizon
from evaluation.bootstrap import difference_interval, skill_interval
from evaluation.comparison import cumulative_lead, diebold_mariano_p
from evaluation.sample import EvaluationSample
from evaluation.scores import auc, brier_losses, brier_score, log_losses, log_score
from models.champion import find_run, list_runs
from models.metric_names import metric_name
from training.model_versions import (
    champion,
    forecasts_of,
    version_of,
)
from training.run_log import log_comparison
from training.settings import family
from training.tracking import (
    Tracker,
    TrackingPlace,
    tracking,
)

SEED = 7
NOTHING_PAIRED = dict.fromkeys(("against", "brier_difference", "log_difference", "diebold_mariano_p"))


@dataclass(frozen=True)
class Candidate:
    """A run to compare: its row of the run list, its forecasts, and its registered version."""

    run: pd.Series
    forecasts: pd.DataFrame
    version: str | None

    @property
    def run_id(self) -> str:
        """Id of the run."""
        return str(self.run["run_id"])

    @property
    def label(self) -> str:
        """Name of the model and the first 8 characters of the run id."""
        return f"{self.run['model']} {self.run_id[:8]}"


def compare(place: TrackingPlace, runs: Sequence[str], target: Target = ALTCOINS) -> list[dict[str, Any]]:
    """A row per run and horizon, all on the same days, each run paired with the first.

    runs: ids, beginnings of ids, or names of runs of `target`; a training stands for all its models. With no runs given: the last
    training of `target`, paired with its champion. The comparison of given runs is logged to MLflow: metrics gain_…, and a figure.
    Each row: run_id, model, version, trained_as_of, label, market, horizon, n, left_out (days of its own that the others lack),
    brier, log_score, auc, skill_climatology, and paired with the run it is `against` (None for that run itself): brier_difference
    and log_difference (positive where this run is the better), diebold_mariano_p, and the place of the picture (None: not drawn).
    Raises Refused where runs forecast different outcomes or were judged by unequal ones.
    """
    listed = list_runs(place.uri)
    with tracking(place) as tracker:
        chosen = runs_by_name(listed, runs, target) if runs else last_training(tracker, listed, target)
        labels = list(dict.fromkeys(label_of(run) for run in chosen))
        if len(labels) > 1:
            raise Refused(
                f"These runs forecast different outcomes: {'; '.join(f'{label} ({market} market)' for label, market in labels)}."
            )
        candidates = []
        for run in chosen:
            version = version_of(tracker, str(run["run_id"]))
            forecasts = forecasts_of(tracker, str(run["run_id"]))
            candidates.append(Candidate(run, forecasts, version.version if version else None))
        table = common_days({candidate.run_id: candidate.forecasts for candidate in candidates})
        if table.empty:
            raise MissingData("No day that all of these runs forecast has a known outcome yet: there is nothing to compare.")
        rows = [row for candidate in candidates for row in comparison_rows(table, candidate, candidates[0])]
        figures = log_gains(tracker, table, candidates, rows) if runs else {}
    return [row | {"picture": figures.get(row["run_id"])} for row in rows]


def log_gains(
    tracker: Tracker, table: pd.DataFrame, candidates: Sequence[Candidate], rows: Sequence[Mapping[str, Any]]
) -> dict[str, str]:
    """Log each run's gain over the first as metrics and a figure; return the address of each figure by run id."""
    first, figures = candidates[0], {}
    for candidate in candidates[1:]:
        metrics: dict[str, float | None] = {}
        for row in (row for row in rows if row["run_id"] == candidate.run_id):
            gain = row["brier_difference"]
            limits = {"gain": gain["value"], "gain_low": gain["low"], "gain_high": gain["high"]}
            limits |= {"gain_hac_p": row["diebold_mariano_p"]}
            metrics |= {metric_name(row["horizon"], name): value for name, value in limits.items()}
        figures[candidate.run_id] = log_comparison(
            tracker,
            candidate.run_id,
            against=first.label,
            metrics=metrics,
            draw=partial(draw_lead, table, candidate, first),
        )
    return figures


def draw_lead(table: pd.DataFrame, mine: Candidate, theirs: Candidate, path: Path) -> None:
    """Draw the cumulative lead in Brier score at the horizon judged."""
    from training.panel_figures import draw_cumulative

    days = judged_horizon(table.index.unique("horizon"))
    on_days, names = table.loc[days], {candidate.run_id: candidate.label for candidate in (mine, theirs)}
    forecasts = {name: on_days[run]["probability"].to_numpy() for run, name in names.items()}
    sample = EvaluationSample(int(days), pd.DatetimeIndex(on_days.index), forecasts, on_days[mine.run_id]["outcome"].to_numpy())
    me, other = names.values()
    draw_cumulative([cumulative_lead(sample, me, other, seed=SEED)], me, path)


def runs_by_name(listed: pd.DataFrame, runs: Sequence[str], target: Target) -> list[pd.Series]:
    """The runs of a target with these names or ids, each once; a training is replaced by its models."""
    chosen = [child for run in runs for child in models_of(listed, find_run(listed, run, target))]
    return list({str(run["run_id"]): run for run in chosen}.values())


def models_of(listed: pd.DataFrame, run: pd.Series) -> list[pd.Series]:
    """The run itself if it is of one model; for a training its finished models, in the order they were logged."""
    if run["parent_id"] is not None and not pd.isna(run["parent_id"]):
        return [run]
    children = listed[(listed["parent_id"] == run["run_id"]) & (listed["status"] == "FINISHED")]
    if children.empty:
        raise Refused(f"Training {run['name']} has no finished model to compare.")
    return [child for _, child in children[::-1].iterrows()]


def last_training(tracker: Tracker, listed: pd.DataFrame, target: Target) -> list[pd.Series]:
    """The models of the newest finished training of a target; its champion first, if it forecasts the same."""
    trainings = listed
    if not listed.empty:
        families = listed["tags.market"].map(lambda market: family(market, target), na_action="ignore")
        finished = listed["parent_id"].isna() & (listed["status"] == "FINISHED")
        trainings = listed[finished & (listed["tags.family"] == families)]
    if trainings.empty:
        suffix = "" if target.is_default else f" for {target.name!r}"
        raise NoChampion(f"Nothing has been trained{suffix} in this home yet. Run `altrally train` first.")
    models = models_of(listed, trainings.iloc[0])
    current = champion(tracker, target)
    first = listed[listed["run_id"] == current.run_id] if current else listed[:0]
    if first.empty or label_of(first.iloc[0]) != label_of(models[0]):
        return models
    return [first.iloc[0], *(run for run in models if run["run_id"] != first.iloc[0]["run_id"])]


def label_of(run: pd.Series) -> tuple[str, str]:
    """Label of the outcome that a run forecasts, and its market."""
    return str(run["tags.label"]), str(run["tags.market"])


def common_days(forecasts: Mapping[str, pd.DataFrame]) -> pd.DataFrame:
    """Probability, climatology and outcome of every run by horizon and day, on the days that all forecast with a known outcome."""
    parts = {
        run: frame.set_index(["horizon", "as_of"])[["probability", "climatology", "outcome"]] for run, frame in forecasts.items()
    }
    table = pd.concat(parts, axis=1, join="inner").dropna().sort_index()
    outcomes = pd.DataFrame({run: table[run]["outcome"] for run in forecasts})
    unequal = int((outcomes.max(axis=1) != outcomes.min(axis=1)).sum())
    if unequal:
        raise Refused(f"The runs were judged by unequal outcomes on {unequal} of {len(table)} common rows: their data differ.")
    return table


def comparison_rows(table: pd.DataFrame, mine: Candidate, first: Candidate) -> list[dict[str, Any]]:
    """A row per horizon: scores of a run, and its differences from the first run."""
    own = mine.forecasts.dropna(subset=["outcome"]).groupby("horizon").size()
    label, market = label_of(mine.run)
    about = {
        "run_id": mine.run["run_id"],
        "model": mine.run["model"],
        "label": label,
        "market": market,
        "trained_as_of": mine.run["tags.trained_as_of"],
        "version": mine.version,
        "same_snapshot": mine.run["tags.snapshot"] == first.run["tags.snapshot"],
    }
    rows = []
    for days in table.index.unique("horizon"):
        common = table.loc[days]
        counts = {"horizon": int(days), "n": len(common), "left_out": int(own[days]) - len(common)}
        pair = NOTHING_PAIRED if mine is first else paired_with(common, mine, first, int(days))
        rows.append(about | counts | scores_of(common[mine.run_id], int(days)) | pair)
    return rows


def scores_of(own: pd.DataFrame, days: int) -> dict[str, Any]:
    """Scores of one run at a horizon (days). own: probability, climatology and outcome on the common days."""
    outcome, probability, climatology = (own[name].to_numpy() for name in ("outcome", "probability", "climatology"))
    skill = skill_interval(brier_losses(probability, outcome), brier_losses(climatology, outcome), days, seed=SEED)
    scores = {
        "brier": brier_score(probability, outcome),
        "log_score": log_score(probability, outcome),
        "auc": auc(probability, outcome),
    }
    fields: dict[str, Any] = plain(scores | {"skill_climatology": asdict(skill)})
    return fields


def paired_with(common: pd.DataFrame, mine: Candidate, first: Candidate, days: int) -> dict[str, Any]:
    """Differences of a run from the first at a horizon (days), on the common days."""
    outcome = common[mine.run_id]["outcome"].to_numpy()
    forecasts = [common[candidate.run_id]["probability"].to_numpy() for candidate in (mine, first)]
    brier, log = ([losses(forecast, outcome) for forecast in forecasts] for losses in (brier_losses, log_losses))
    fields: dict[str, Any] = plain(
        {
            "against": {"run_id": first.run_id, "model": first.run["model"]},
            "brier_difference": asdict(difference_interval(brier[0], brier[1], days, seed=SEED)),
            "log_difference": asdict(difference_interval(log[0], log[1], days, seed=SEED)),
            "diebold_mariano_p": diebold_mariano_p(brier[1] - brier[0], days),
        }
    )
    return fields
