"""The panel and what following would have meant, as the tables of docs/panel.md and docs/following.md.

    python benchmarks/panel_results.py HOME [--model pool] [--trials 195] [--figures DIR]

Reads the store of HOME, walks forward with the whole ladder and prints Markdown; with --figures it draws every picture too.
"""

import argparse
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import pandas as pd

from core.progress import silent
from evaluation.bootstrap import Interval
from evaluation.sample import evaluation_samples
from features.altcoin_index import load_index
from sources.quality import last_known
from sources.store import Store
from studies import study_figures
from studies.backtest import Following, following
from training import panel_figures as figures
from training.dataset import bitcoin, prepare
from training.panel_figures import draw_panel, draw_reliability
from training.robustness import BlockContribution, CycleScores, ablation, leave_one_cycle_out, panel_of
from training.settings import TrainSettings
from training.verify import model_names, walk_all
from training.walk_forward import quarters, usable

SETTINGS = TrainSettings()


def main() -> None:
    """Measure, print, draw."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("home", type=Path)
    parser.add_argument("--model", default="pool")
    parser.add_argument("--trials", type=int, default=195)
    parser.add_argument("--figures", type=Path)
    typed = parser.parse_args()
    with Store.open(typed.home / "store.duckdb", read_only=True) as store:
        until = last_known(store)
        data, level, coin = prepare(store, SETTINGS, until), load_index(store, until).level, bitcoin(store, until)
    folds, names = usable(quarters(SETTINGS.first_test, until), data.outcomes), model_names(SETTINGS)
    walks = walk_all(data, SETTINGS, names, folds, silent)
    forecasts = {name: walk.probabilities for name, walk in walks.items()}
    panel = timed("panel", lambda: panel_of(forecasts, data, SETTINGS))
    cycles = timed("cycles left out", lambda: leave_one_cycle_out(data, SETTINGS, names))
    blocks = timed("blocks left out", lambda: ablation(data, SETTINGS, folds, (SETTINGS.first_test, until)))
    probability, base_rate = forecasts[typed.model][60], forecasts["climatology"][60]
    told = {"model": typed.model, "market": data.market, "horizon": 60, "trials": typed.trials, "seed": SETTINGS.seed}
    followed = timed("following", lambda: following(probability, base_rate, level, coin, **told))
    tell(panel, cycles, blocks, followed, typed.model)
    if typed.figures:
        typed.figures.mkdir(parents=True, exist_ok=True)
        found, about = (
            evaluation_samples(forecasts, data.outcomes.events, SETTINGS.horizons),
            f"{typed.model} · {data.market} market",
        )
        draw_reliability(found, typed.model, about, typed.figures, seed=SETTINGS.seed)
        draw_panel(found, typed.model, about, typed.figures, seed=SETTINGS.seed)
        figures.draw_ablation(blocks, about, typed.figures / "ablation.png")
        study_figures.draw_following(followed, typed.figures / "following.png")


def timed(label: str, job: Callable[[], Any]) -> Any:
    """What the job gives; its seconds are printed."""
    begun = time.perf_counter()
    done = job()
    print(f"{label}: {time.perf_counter() - begun:.1f} s")
    return done


def tell(
    panel: Mapping[tuple[str, int], Any],
    cycles: list[CycleScores],
    blocks: list[BlockContribution],
    followed: Following,
    model: str,
) -> None:
    """Every table."""
    rows = [(name, days, fields) for (name, days), fields in panel.items()]
    print(table([reliability_row(*row) for row in rows]), table([power_row(*row) for row in rows if row[1] == 60]), sep="\n\n")
    years = [{"days": days, **year} for name, days, fields in rows if name == model for year in fields["by_year"]]
    print("", table([{**year, "skill_climatology": worth(Interval(**year["skill_climatology"]))} for year in years]), sep="\n")
    print("", table([{**vars(row), "gain": worth(row.gain)} for row in cycles if row.horizon == 60]), sep="\n")
    print("", table([{**vars(row), "incremental": worth(row.incremental)} for row in blocks]), sep="\n")
    print("", table([vars(row) for row in followed.records]), sep="\n")
    print("", table([{**vars(row), "log_growth": worth(row.log_growth)} for row in followed.leads]), sep="\n")
    print("", table([vars(row) for row in followed.timings]), followed.sentence, sep="\n")


def reliability_row(name: str, days: int, fields: Mapping[str, Any]) -> dict[str, Any]:
    """The Brier score taken apart, and the spread."""
    return {"model": name, "days": days, **fields["reliability"], "sd": fields["sharpness"]["sd"]}


def power_row(name: str, days: int, fields: Mapping[str, Any]) -> dict[str, Any]:
    """Least effects and years."""
    least = {f"least against {baseline}": effect for baseline, effect in fields["minimum_detectable_effect"].items()}
    years = {f"years against {baseline}": number for baseline, number in fields["years_for_0_05"].items()}
    return {"model": name, "days": days, **least, **years}


def worth(found: Interval) -> str:
    """A value with its interval."""
    return f"{found.value:+.3f} [{found.low:+.3f}, {found.high:+.3f}]"


def table(rows: list[dict[str, Any]]) -> str:
    """Rows as Markdown."""
    frame = pd.DataFrame(rows).map(cell)
    lines = [frame.columns, ["---"] * frame.shape[1], *frame.to_numpy()]
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)


def cell(value: object) -> str:
    """A number to three digits, a dash where there is none."""
    if isinstance(value, float):
        return "–" if pd.isna(value) else f"{value:.3f}"
    return str(value)


if __name__ == "__main__":
    main()
