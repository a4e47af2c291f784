"""The description and the prepared run tables that MLflow's own pages show for an experiment."""

import json
from collections.abc import Mapping, Sequence
from typing import Any

from core.home import HIDDEN
from core.target import Target, judged_horizon
from models.metric_names import metric_name

LAST_TRAINING, ALL_TRAININGS = "altrally", "altrally-all"
"""Names of the two prepared views, as they stand in an address."""

HEADLINE_BASELINES = ("volatility", "climatology")
"""What a run's metrics compare a model with; the other baselines stand in the table of the training."""

SORTED_BY = "skill_vs_volatility"
DRAWN_FIRST, MOST_BARS = ("skill_vs_volatility", "skill_vs_climatology", "brier", "best_of_n_p"), 20
SHARED_VIEW = "mlflow.sharedViewState."
"""MLflow 3 keeps a shared view of a run table in a tag of the experiment that begins so."""

RUN_NAME, CREATED = "attributes.`Run Name`", "runDateAndNestInfo"
WIDTHS = {RUN_NAME: 250, CREATED: 140, "tags.`standing`": 95, "tags.`grade`": 125}
TAG_WIDTH, METRIC_WIDTH = 172, 112
"""Widths of columns in pixels, those not named above by their kind."""

ABOUT = """\
**{event}** on one market. One run for each training, and below it one run for each model.

**How to compare**
1. Open the prepared view: `altrally ui` prints its address. It lists the models of the last training, best first.
2. Read `{days}d skill vs volatility`: 1 − Brier score / Brier score of volatility alone. Above 0 is better than that baseline.
   Brackets hold the 95 % interval: where it includes 0, chance alone may explain the skill. Then `{days}d skill vs climatology`,
   against the base rate. The same numbers are metrics, to sort, search and draw: `{days}d/skill_vs_volatility`, `_low`, `_high`.
3. The tag `standing` says which model is champion. `grade` says what its evidence is worth.
4. `leaderboard.html` and `forest.png` among a training's artifacts say the same in one table and one picture.
5. Two runs are compared on the same days only by `altrally compare MODEL MODEL`, which also writes `{days}d/gain` here.

Every model that was tried is counted (tag `trials`). The best of many looks good by chance: `{days}d/best_of_n_p` accounts for the
models judged together. To search: `metrics."{days}d/brier" < 0.23 and tags.standing != "baseline"`.
"""


def experiment_tags(target: Target, last_training: str) -> dict[str, str]:
    """Tags of a target's experiment: its description, its kind, and the two prepared views."""
    days = judged_horizon(target.horizons)
    event = f"Forecasts of the {target.name} within {', '.join(map(str, target.horizons))} days"
    best_first, newest_first = canonical("metrics", metric_name(days, SORTED_BY)), "attributes.start_time"
    only_last = f'tags.training = "{last_training}"' if last_training else ""
    return {
        "mlflow.note.content": ABOUT.format(event=event, days=days),
        "mlflow.experimentKind": "custom_model_development",
        f"{HIDDEN}target": target.name,
        f"{SHARED_VIEW}{LAST_TRAINING}": view(target.horizons, search=only_last, order_by=best_first),
        f"{SHARED_VIEW}{ALL_TRAININGS}": view(target.horizons, search="", order_by=newest_first),
    }


def skill_tag(days: int, baseline: str) -> str:
    """Name of the tag that holds a skill with its interval as text, as in `60d skill vs volatility`."""
    return f"{days}d skill vs {baseline}"


def view(horizons: Sequence[int], *, search: str, order_by: str) -> str:
    """The state of MLflow's run table as its pages store it: columns, their order and widths, sorting, search, and charts."""
    days = judged_horizon(horizons)
    skills = [f"skill_vs_{baseline}{ending}" for baseline in HEADLINE_BASELINES for ending in ("", "_low", "_high")]
    metrics = [metric_name(days, what) for what in ("brier", "best_of_n_p", *skills)]
    tags = ["standing", *(skill_tag(days, baseline) for baseline in HEADLINE_BASELINES), "grade"]
    texts, numbers = [canonical("tags", name) for name in tags], [canonical("metrics", name) for name in metrics]
    shown = [*texts, *numbers]
    widths = dict.fromkeys(texts, TAG_WIDTH) | dict.fromkeys(numbers, METRIC_WIDTH) | WIDTHS
    state: Mapping[str, Any] = {
        "searchFilter": search,
        "orderByKey": order_by,
        "orderByAsc": False,
        "startTime": "ALL",
        "lifecycleFilter": "Active",
        "modelVersionFilter": "All Runs",
        "datasetsFilter": [],
        "selectedColumns": shown,
        "columnOrder": [RUN_NAME, CREATED, *shown],
        "columnWidths": widths,
        "runsHiddenMode": "FIRST_20_RUNS",
        "viewMaximized": True,
        **charts(horizons),
    }
    return json.dumps(state, separators=(",", ":"))


def charts(horizons: Sequence[int]) -> dict[str, Any]:
    """The state of the chart view: bars of the headline metrics first, in the section of the horizon judged; others are folded.

    MLflow's pages add a chart for each metric that isn't named here.
    """
    judged = judged_horizon(horizons)
    sections = [
        {"uuid": f"{days}d", "name": f"{days}d", "display": days == judged, "isReordered": True, "isGenerated": True}
        for days in sorted(horizons, key=lambda days: (days != judged, days))
    ]
    bars = [
        {
            "uuid": what,
            "type": "BAR",
            "metricKey": metric_name(judged, what),
            "displayName": what,
            "metricSectionId": f"{judged}d",
            "runsCountToCompare": MOST_BARS,
            "isGenerated": True,
            "deleted": False,
        }
        for what in DRAWN_FIRST
    ]
    return {"compareRunSections": sections, "compareRunCharts": bars, "isAccordionReordered": True}


def canonical(kind: str, name: str) -> str:
    """The name that MLflow's pages give to a column."""
    return f"{kind}.`{name}`"


def view_address(server: str, experiment_id: str, view_name: str) -> str:
    """The address of a prepared view on a server, in MLflow's pages for training models rather than for language models."""
    return f"{server.rstrip('/')}/#/experiments/{experiment_id}/runs?workflowType=machine_learning&viewStateShareKey={view_name}"
