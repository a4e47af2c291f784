"""The models of one training in one table and one figure, stored with its run in MLflow."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from markupsafe import Markup, escape

from core.target import judged_horizon
from models.catalog import MODELS
from training.figures import INK, MUTED, REFERENCE, canvas, finish

LEADERBOARD_FILE, FOREST_FILE = "leaderboard.html", "forest.png"
BASELINES = {"volatility": "volatility alone", "climatology": "the base rate"}
"""What skill is shown against, in words."""

STYLE = """
body { font: 15px/1.5 system-ui, sans-serif; color: #1f2a44; background: #fff; margin: 2rem auto;
  max-width: 78rem; padding: 0 1rem }
table { border-collapse: collapse; width: 100%; margin: .5rem 0 1.5rem }
th, td { text-align: left; padding: .35rem .6rem; border-bottom: 1px solid #e5e7eb; white-space: nowrap }
th { color: #6b7280; font-weight: 600 } td.number { font-variant-numeric: tabular-nums }
tr.champion { background: #fff7e6; font-weight: 600 } tr.baseline { color: #6b7280 }
.note { color: #6b7280; max-width: 60rem } .warning { color: #b45309; font-weight: 600 }
"""
PAGE = Markup("""<!doctype html>
<html lang="en"><head><meta charset="utf-8"><title>{title}</title><style>{style}</style></head><body>
<h1>{title}</h1>
{warning}<p>{about}</p>
{decisions}
{tables}
<h2>How to read it</h2>
<p class="note">The Brier score is the mean squared distance between forecast and outcome: lower is better. Skill is
1 − Brier score / Brier score of the baseline: above 0 is better than the baseline. Brackets hold the 95 % interval; where it
includes 0, chance alone may explain the skill. “p as the best” is how often the best of these models would look as good if none had
skill. The grade says what the evidence for a model is worth. All forecasts are out of sample. Not investment advice.</p>
</body></html>
""")
TABLE = Markup("""<h2>Within {days} days</h2>
<table><thead><tr><th>place</th><th>model</th><th>role</th><th>version</th><th>Brier score</th>
<th>skill against volatility alone</th><th>skill against the base rate</th><th>p as the best</th><th>grade</th></tr></thead>
<tbody>
{rows}
</tbody></table>
""")
ROW = Markup(
    '<tr class="{role}"><td>{place}</td><td>{model}</td><td>{role}</td><td>{version}</td><td class="number">{brier}</td>'
    '<td class="number">{volatility}</td><td class="number">{climatology}</td><td class="number">{best}</td><td>{grade}</td></tr>'
)


@dataclass(frozen=True)
class Leaderboard:
    """Content of the page of a training: verification rows of all its models, with `versions` and `roles` by model.

    A role is champion, challenger, baseline or candidate; `decisions` are sentences about the champion.
    """

    training: str
    label: str
    market: str
    snapshot: str
    rows: Sequence[Mapping[str, Any]]
    versions: Mapping[str, str]
    roles: Mapping[str, str]
    decisions: Sequence[str] = field(default=())


def role_of(model: str) -> str:
    """Role of a model before any decision: baseline, or candidate for champion."""
    return "baseline" if MODELS[model].baseline else "candidate"


def leaderboard_html(board: Leaderboard) -> str:
    """A self-contained HTML page: a table per horizon, the judged one first, models ordered from best to worst."""
    days = sorted({row["horizon"] for row in board.rows})
    judged = judged_horizon(days)
    tables = [table(board, horizon) for horizon in sorted(days, key=lambda horizon: (horizon != judged, horizon))]
    simulated = Markup('<p class="warning">Simulated market. Nothing below is about the real one.</p>\n')
    return str(
        PAGE.format(
            title=f"Leaderboard of {board.training}",
            style=Markup(STYLE),
            warning=simulated if board.market == "simulated" else "",
            about=f"{board.label}, {board.market} market, snapshot {board.snapshot}. Skill is judged within {judged} days.",
            decisions=Markup("\n").join(Markup("<p>{}</p>").format(decision) for decision in board.decisions),
            tables=Markup("\n").join(tables),
        )
    )


def table(board: Leaderboard, days: int) -> Markup:
    """HTML table of the models at one horizon, lowest Brier score first; models without a judged forecast come last."""
    rows = [
        ROW.format(
            place=rank,
            model=row["model"],
            role=board.roles.get(row["model"], role_of(row["model"])),
            version=f"v{board.versions[row['model']]}" if row["model"] in board.versions else "–",
            brier="–" if row["brier"] is None else f"{row['brier']:.4f}",
            volatility=interval(row["skill_volatility"]),
            climatology=interval(row["skill_climatology"]),
            best="–" if row["best_of_n_p"] is None else f"{row['best_of_n_p']:.3f}",
            grade=escape(row["grade"]),
        )
        for rank, row in enumerate(ranked(board.rows, days), 1)
    ]
    return TABLE.format(days=days, rows=Markup("\n").join(rows))


def ranked(rows: Sequence[Mapping[str, Any]], days: int) -> list[Mapping[str, Any]]:
    """The rows of one horizon, lowest Brier score first."""
    at_horizon = [row for row in rows if row["horizon"] == days]
    return sorted(at_horizon, key=lambda row: (row["brier"] is None, row["brier"] or 0.0))


def interval(skill: Mapping[str, float | None]) -> str:
    """A skill with its 95 % interval as text, with a true minus sign; a dash where it is missing."""
    value, low, high = (skill[key] for key in ("value", "low", "high"))
    if value is None:
        return "–"
    if low is None or high is None:
        return signed(value)
    return f"{signed(value)} [{signed(low)}, {signed(high)}]"


def signed(value: float) -> str:
    """A number with three decimals and a sign; zero has no sign."""
    text = f"{value:+.3f}"
    return "0.000" if float(text) == 0 else text.replace("-", "−")


def draw_forest(rows: Sequence[Mapping[str, Any]], about: str, path: Path) -> None:
    """Draw a forest plot of skill at the horizon judged: a panel per baseline, a line per model with its 95 % interval, best on
    top."""
    days = judged_horizon({row["horizon"] for row in rows})
    judged = [row for row in ranked(rows, days) if row["brier"] is not None]
    if not judged:
        return
    ahead = sum((row["skill_volatility"]["low"] or 0.0) > 0 for row in judged)
    title = f"The 95 % intervals of {ahead} of {len(judged)} models lie above volatility alone, within {days} days"
    with canvas(1, len(BASELINES), (10.5, 0.32 * len(judged) + 1.9), space=0.3) as (figure, axes):
        figure.subplots_adjust(left=0.13)
        for axis, (baseline, words) in zip(axes[0], BASELINES.items(), strict=True):
            forest_panel(axis, judged, baseline)
            axis.set(title=f"Brier skill against {words}", xlabel="skill, 95 % interval; above 0 is better")
        axes[0, 0].set_yticks(range(len(judged)), [row["model"] for row in judged])
        axes[0, 0].invert_yaxis()
        finish(figure, title, f"{about}. Each interval is by itself: the best of many models looks good by chance.", path)


def forest_panel(axis: Any, rows: Sequence[Mapping[str, Any]], baseline: str) -> None:
    """Draw the models' skill against one baseline; baselines are drawn paler."""
    axis.axvline(0, color=REFERENCE, linewidth=1)
    for height, row in enumerate(rows):
        skill, color = row[f"skill_{baseline}"], MUTED if MODELS[row["model"]].baseline else INK
        if skill["value"] is None:
            continue
        if skill["low"] is not None and skill["high"] is not None:
            axis.plot([skill["low"], skill["high"]], [height, height], color=color, linewidth=1.6, solid_capstyle="butt")
        axis.plot([skill["value"]], [height], "o", color=color, markersize=5)
    axis.margins(y=0.08)
