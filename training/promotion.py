"""Rules for the champion: refresh, challenge, promote. A refusal lists every reason."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass

import numpy as np
import pandas as pd

from core.errors import AltrallyError, BadInput, Refused
from core.target import ALTCOINS, Target, judged_horizon, name_suffix
from evaluation.bootstrap import Interval, difference_interval
from evaluation.evidence import ENOUGH
from evaluation.sample import JUDGED_DAYS, LEVEL
from evaluation.scores import brier_losses
from models.catalog import MODELS
from models.champion import find_run, list_runs
from models.metric_names import metric_name
from training.model_versions import (
    ModelVersion,
    aliased_champion,
    champion,
    champion_named,
    forecasts_of,
    metrics_of,
    set_alias,
    tag_version,
    version_of,
)
from training.records import ModelRecord
from training.tracking import (
    Tracker,
    TrackingPlace,
    tracking,
)

AGREEMENT = 1e-9
SEED = 7
NULLS = {
    "null_p": "circular-shift null p-value",
    "claim_null_p": "claim's null p-value",
    "best_of_n_p": "best-of-N p-value",
}


def update_aliases(
    tracker: Tracker, default: str, versions: Mapping[str, ModelVersion], records: Mapping[str, ModelRecord]
) -> list[str]:
    """Update champion and challenger after a training; return the decisions, a sentence each.

    An empty home gets the `default` model as champion. Else the champion is refreshed if its configuration was trained again, and
    the best other model becomes challenger. Nothing else moves the champion but `promote`.
    """
    target = next(iter(records.values())).card.target
    current = champion(tracker, target)
    if current is None:
        return first_champion(tracker, default, versions, records, aliased_champion(tracker, target.registered_model))
    what = (current.tags.get("market"), current.tags.get("label"))
    if any((record.card.market, record.card.label) != what for record in records.values()):
        return [f"{version_label('Champion', current)} forecasts {described(current.tags)}; nothing here was compared with it."]
    return refresh(tracker, current, versions, records) + new_default(current, default, versions)


def new_default(current: ModelVersion, default: str, versions: Mapping[str, ModelVersion]) -> list[str]:
    """A sentence that the default model has changed, if the champion comes from a version without grades; else an empty list."""
    if "grade" in current.tags or default not in versions:
        return []
    name, target = (
        version_label(current.tags.get("model", "the champion"), current),
        " --target FILE" if target_suffix(current) else "",
    )
    return [
        f"The default model is {default} now; {name} stays champion until you decide: "
        f'`altrally promote {default}{target} --force --why "the new default"`.'
    ]


def first_champion(
    tracker: Tracker,
    default: str,
    versions: Mapping[str, ModelVersion],
    records: Mapping[str, ModelRecord],
    former: ModelVersion | None,
) -> list[str]:
    """Make the `default` model champion where there is none, or where the run of the `former` champion was deleted; the
    decisions."""
    if default not in versions:
        return [f"There is no champion, and {default}, which would become it, wasn't trained this time: run `altrally train`."]
    set_alias(tracker, "champion", versions[default])
    first = "the first of its target" if target_suffix(versions[default]) else "the first model of this home"
    why = first if former is None else f"the run of the former v{former.version} was deleted"
    decision = f"{version_label(default, versions[default])} is champion: {why}, {standing(records[default])}."
    return [decision, *challenge(tracker, versions[default], versions, records)]


def version_label(name: str, version: ModelVersion) -> str:
    """Text that names a model: with its version, and with its target unless that is the default one."""
    return f"{name} v{version.version}{target_suffix(version)}"


def target_suffix(version: ModelVersion) -> str:
    """Text that names the target of a version, as in " of NAME"; empty for the default target."""
    return name_suffix(version.tags.get("label", "")) or (
        f" of {version.name}" if version.name != ALTCOINS.registered_model else ""
    )


def standing(record: ModelRecord) -> str:
    """The grade of a model's evidence, as text."""
    return str(record.card.skill["evidence"]["grade"])


def described(tags: Mapping[str, str]) -> str:
    """Text that says what a version forecasts, on which market."""
    return f"{tags.get('label', 'an unnamed outcome')} on the {tags.get('market', 'unknown')} market"


def refresh(
    tracker: Tracker, current: ModelVersion, versions: Mapping[str, ModelVersion], records: Mapping[str, ModelRecord]
) -> list[str]:
    """Refresh the champion if its configuration was trained and nothing forbids it, name the challenger; return the decisions."""
    name = next((name for name, record in records.items() if record.card.configuration == current.tags.get("configuration")), None)
    if name is None:
        decisions = [f"{version_label('Champion', current)} stays: its configuration wasn't trained this time."]
        return decisions + challenge(tracker, current, versions, records)
    reasons = refresh_refusals(tracker, current, records[name])
    if reasons:
        decisions = [
            f"{version_label('Champion', current)} isn't refreshed by {name} v{versions[name].version}: {'; '.join(reasons)}."
        ]
        return decisions + challenge(tracker, current, versions, records)
    set_alias(tracker, "champion", versions[name])
    moved = f"{version_label(name, versions[name])} is champion: a refresh of v{current.version}, {standing(records[name])}."
    return [moved, *challenge(tracker, versions[name], versions, records)]


def refresh_refusals(tracker: Tracker, current: ModelVersion, record: ModelRecord) -> list[str]:
    """Reasons why a new training of the champion's configuration may not replace it; empty if it may (STATISTICS 2)."""
    reasons = []
    if record.card.trained_as_of < current.tags.get("trained_as_of", ""):
        reasons.append(f"it knows less ({record.card.trained_as_of}) than the champion ({current.tags['trained_as_of']})")
    if record.tags["gates"] != "pass":
        reasons.append(record.tags["gates"])
    try:
        reasons += disagreement(forecasts_of(tracker, current.run_id), record.forecasts)
    except AltrallyError as error:
        reasons.append(f"the champion's forecasts can't be read ({error})")
    return reasons


def disagreement(old: pd.DataFrame, new: pd.DataFrame) -> list[str]:
    """A reason if two runs' forecasts of the same days differ by more than 1e-9, or no day is common; else an empty list."""
    common = old.merge(new, on=["as_of", "horizon"], suffixes=("_old", "_new"))
    if common.empty:
        return ["they have no day in common"]
    apart = (common["probability_old"] - common["probability_new"]).abs()
    if apart.max() <= AGREEMENT:
        return []
    count, days = common.loc[apart > AGREEMENT, "as_of"].nunique(), common["as_of"].nunique()
    return [f"forecasts of {count} of {days} common days differ by up to {apart.max():.2g}, so inputs of the past have changed"]


def challenge(
    tracker: Tracker, current: ModelVersion, versions: Mapping[str, ModelVersion], records: Mapping[str, ModelRecord]
) -> list[str]:
    """Make the best other model of this training challenger, baselines excluded; return the decision, if any."""
    champions = current.tags.get("configuration")
    scores = {
        name: score
        for name, record in records.items()
        if not MODELS[name].baseline and record.card.configuration != champions
        if (score := record.metrics.get(metric_name(judged_horizon(record.card.horizons), "brier"))) is not None
    }
    if not scores:
        return []
    best = min(scores, key=lambda name: scores[name])
    set_alias(tracker, "challenger", versions[best])
    days = judged_horizon(records[best].card.horizons)
    return [f"{version_label(best, versions[best])} is challenger ({days}-day Brier score {scores[best]:.4f})."]


@dataclass(frozen=True)
class Promotion:
    """Result of a promotion: the new champion, the version it replaces (None: there was none), and the conditions it `lacked`."""

    model: str
    version: str
    run_id: str
    registered_model: str
    former_version: str | None
    forced: bool
    lacked: list[str]
    sentence: str


LiveLead = Callable[[str, str], float]
"""Function from the configurations of a challenger and the champion to the live evidence (e-value) that the challenger is
better."""


def no_lead(challenger: str, current: str) -> float:
    """Live evidence without a live record: 1, no evidence."""
    return 1.0


def promote(
    place: TrackingPlace,
    run: str,
    target: Target = ALTCOINS,
    *,
    force: bool = False,
    why: str | None = None,
    live_lead: LiveLead = no_lead,
) -> Promotion:
    """Make the model of a run champion of its target if the rules allow it; return what was done.

    run: an id or the beginning of one, or the name of a run of `target`.

    The rules ask for a paired interval above zero and significant null tests, or for live evidence of 20 against the champion. With
    `force` it becomes champion anyway; the conditions it lacked and `why` are stored as tags of the version.
    Raises Refused with every reason, UnknownName, BadInput where `force` and `why` don't come together, or NoChampion where nothing
    was trained.
    """
    if force != bool(why and why.strip()):
        raise BadInput("--force needs --why TEXT, and --why is for --force: say why the rules shouldn't hold this once.")
    listed = find_run(list_runs(place.uri), run, target)
    with tracking(place) as tracker:
        candidate = version_of(tracker, str(listed["run_id"]))
        if candidate is None:
            raise Refused(f"Run {run} holds no model; name a run of one model. `altrally compare` lists them.")
        name, current = version_label(str(listed["model"]), candidate), champion_named(tracker, candidate.name)
        if current is not None and current.run_id == candidate.run_id:
            raise Refused(f"{name} is champion already.")
        reasons = [] if leads_live(current, candidate, live_lead) else promotion_refusals(tracker, current, candidate)
        if reasons and not force:
            raise Refused(f"{name} isn't promoted: {'; '.join(reasons)}.")
        if force:
            tag_version(tracker, candidate, {"forced": str(why).strip(), "lacked": "; ".join(reasons) or "nothing"})
        set_alias(tracker, "champion", candidate)
    by_force = f", by force: {str(why).strip()}. It lacked: {'; '.join(reasons) or 'nothing'}" if force else ""
    return Promotion(
        model=str(listed["model"]),
        version=candidate.version,
        run_id=candidate.run_id,
        registered_model=candidate.name,
        former_version=current.version if current else None,
        forced=force,
        lacked=reasons,
        sentence=f"{name} is champion{by_force}.",
    )


def leads_live(current: ModelVersion | None, candidate: ModelVersion, live_lead: LiveLead) -> bool:
    """Whether live forecasts of the same days show a better Brier score of the candidate than of the champion."""
    if current is None or candidate.tags.get("label") != current.tags.get("label"):
        return False
    return live_lead(candidate.tags.get("configuration", ""), current.tags.get("configuration", "")) >= ENOUGH


def promotion_refusals(tracker: Tracker, current: ModelVersion | None, candidate: ModelVersion) -> list[str]:
    """Reasons why another configuration may not become champion; empty if it may (STATISTICS 2, 8)."""
    forecasts = forecasts_of(tracker, candidate.run_id)
    judged = judged_horizon(forecasts["horizon"].unique())
    gates = candidate.tags.get("gates", "its data gates weren't checked")
    reasons = null_refusals(metrics_of(tracker, candidate.run_id), judged) + ([] if gates == "pass" else [gates])
    if current is None:
        return reasons
    if (current.tags.get("label"), current.tags.get("market")) != (candidate.tags.get("label"), candidate.tags.get("market")):
        return [f"it forecasts {described(candidate.tags)}, the champion {described(current.tags)}", *reasons]
    try:
        days = paired(forecasts, forecasts_of(tracker, current.run_id), judged)
    except AltrallyError as error:
        return [str(error).rstrip("."), *reasons]
    gain = difference_interval(days["mine"].to_numpy(), days["theirs"].to_numpy(), judged, seed=SEED)
    return interval_refusals(gain, len(days), judged) + reasons


def interval_refusals(difference: Interval, days: int, horizon: int = JUDGED_DAYS) -> list[str]:
    """A reason if the paired interval doesn't lie above zero; else an empty list."""
    if difference.low > 0:
        return []
    if np.isnan(difference.low):
        return [f"{days} common days are too few for an interval"]
    shown = f"{difference.value:+.4f} [{difference.low:+.4f}, {difference.high:+.4f}]"
    return [f"its {horizon}-day Brier score gains {shown} on the champion's on {days} common days, which doesn't exclude zero"]


def null_refusals(metrics: Mapping[str, float], horizon: int = JUDGED_DAYS) -> list[str]:
    """Reasons for each null test that is missing or has a p-value of 0.05 or more."""
    nulls = {metric_name(horizon, name): what for name, what in NULLS.items()}
    missing = [f"its {what} hasn't been computed" for name, what in nulls.items() if name not in metrics]
    weak = [
        f"its {what} is {metrics[name]:.3f}, not below {LEVEL}" for name, what in nulls.items() if metrics.get(name, 0) >= LEVEL
    ]
    return missing + weak


def paired(mine: pd.DataFrame, theirs: pd.DataFrame, days: int) -> pd.DataFrame:
    """Brier losses of two runs at one horizon (days), on their common days with a known outcome: as_of, mine, theirs.

    Raises Refused where their outcomes differ.
    """
    common = mine[mine["horizon"] == days].merge(theirs[theirs["horizon"] == days], on="as_of", suffixes=("", "_theirs"))
    known = common.dropna(subset=["outcome", "outcome_theirs"])
    unequal = int((known["outcome"] != known["outcome_theirs"]).sum())
    if unequal:
        raise Refused(f"The runs were judged by unequal outcomes on {unequal} of {len(known)} common days: their data differ.")
    outcome = known["outcome"].to_numpy()
    losses = {
        "mine": brier_losses(known["probability"].to_numpy(), outcome),
        "theirs": brier_losses(known["probability_theirs"].to_numpy(), outcome),
    }
    return pd.DataFrame({"as_of": known["as_of"].to_numpy(), **losses})
