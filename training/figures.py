"""Two pictures of a verification; the numbers come in finished or are counted here from forecasts, nothing is fitted."""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

BIN_WIDTH = 0.1
INK, MUTED, FAINT, EVENT, REFERENCE = "#1f2a44", "#6b7280", "#e5e7eb", "#f3c98b", "#b45309"
STYLE: dict[str, Any] = {
    "font.size": 9,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.edgecolor": MUTED,
    "axes.titlesize": 10,
    "axes.titlelocation": "left",
    "axes.labelcolor": MUTED,
    "xtick.color": MUTED,
    "ytick.color": MUTED,
    "text.color": INK,
    "legend.frameon": False,
    "savefig.dpi": 110,
}


def reliability_bins(probability: np.ndarray, outcome: np.ndarray) -> pd.DataFrame:
    """Mean forecast, share of events and count of rows in each tenth of the scale that holds any; indexed by its lower edge."""
    tenth = np.clip(np.floor(probability / BIN_WIDTH + 1e-9), 0, round(1 / BIN_WIDTH) - 1) * BIN_WIDTH
    grouped = pd.DataFrame({"probability": probability, "outcome": outcome}).groupby(tenth)
    return grouped.agg(probability=("probability", "mean"), share=("outcome", "mean"), count=("outcome", "size"))


def draw_reliability(forecasts: pd.DataFrame, title: str, path: Path) -> None:
    """Share of events against forecast, one column a horizon, with the count of rows in each bin below.

    forecasts: one model's as_of, horizon, probability, climatology, outcome.
    """
    horizons = sorted(forecasts["horizon"].unique())
    with canvas(2, len(horizons), (3.1 * len(horizons) + 0.5, 4.6), space=0.12, height_ratios=[4, 1]) as (figure, axes):
        for (above, below), days in zip(axes.T, horizons, strict=True):
            panel = forecasts[forecasts["horizon"] == days].dropna(subset=["outcome"])
            reliability_panel(above, below, panel, f"within {days} days (n = {len(panel)})")
        axes[0, 0].set_ylabel("share of events")
        axes[1, 0].set_ylabel("weeks")
        finish(figure, title, "Overlapping weekly rows: far fewer are independent. Diagonal: reliable. Dashes: base rate.", path)


def reliability_panel(above: Any, below: Any, panel: pd.DataFrame, title: str) -> None:
    """One horizon."""
    bins = reliability_bins(panel["probability"].to_numpy(), panel["outcome"].to_numpy())
    above.plot([0, 1], [0, 1], color=FAINT, linewidth=1.5, zorder=0)
    if len(panel):
        above.axhline(panel["outcome"].mean(), color=REFERENCE, linewidth=1, linestyle=(0, (4, 3)))
    above.plot(bins["probability"], bins["share"], color=INK, linewidth=1.2, zorder=2)
    above.scatter(bins["probability"], bins["share"], s=14 + 0.9 * bins["count"], color=INK, edgecolor="white", zorder=3)
    above.set(title=title, xlim=(0, 1), ylim=(-0.03, 1.03))
    bars = below.bar(bins.index, bins["count"], BIN_WIDTH * 0.9, align="edge", color=EVENT)
    below.bar_label(bars, fontsize=7, color=MUTED, padding=1)
    below.set(xlabel="forecast", yticks=[])
    below.margins(y=0.3)


def draw_history(forecasts: pd.DataFrame, title: str, path: Path) -> None:
    """Forecast and climatology over time, one panel a horizon; shaded days were followed by the event, hatched ones aren't over."""
    horizons = sorted(forecasts["horizon"].unique())
    with canvas(len(horizons), 1, (9.5, 1.9 * len(horizons) + 0.9), space=0.3) as (figure, axes):
        for axis, days in zip(axes[:, 0], horizons, strict=True):
            history_panel(axis, forecasts[forecasts["horizon"] == days].sort_values("as_of"), f"within {days} days")
        axes[-1, 0].legend(loc="upper center", bbox_to_anchor=(0.5, -0.12), ncols=4)
        finish(figure, title, "", path)


def history_panel(axis: Any, panel: pd.DataFrame, title: str) -> None:
    """One horizon."""
    days, outcome = panel["as_of"].to_numpy(), panel["outcome"].to_numpy()
    axis.fill_between(days, 0, 1, where=outcome == 1, step="post", color=EVENT, alpha=0.55, linewidth=0, label="event followed")
    axis.fill_between(days, 0, 1, where=np.isnan(outcome), step="post", color=FAINT, linewidth=0, label="not over yet")
    axis.plot(days, panel["climatology"], color=REFERENCE, linewidth=1.1, linestyle=(0, (4, 3)), label="climatology")
    axis.plot(days, panel["probability"], color=INK, linewidth=1.3, label="forecast")
    axis.set(title=title, ylim=(0, 1), yticks=[0, 0.25, 0.5, 0.75, 1], ylabel="probability")
    axis.margins(x=0.01)


@contextmanager
def canvas(rows: int, columns: int, size: tuple[float, float], *, space: float, **grid: Any) -> Iterator[tuple[Any, Any]]:
    """A figure and its axes (rows, columns) in one style, without a window. Margins are fixed: fitting them takes half a second."""
    from matplotlib import rc_context
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    width, height = size
    edges = {"left": 0.6 / width, "right": 1 - 0.15 / width, "bottom": 0.75 / height, "top": 1 - 0.65 / height}
    with rc_context(dict(STYLE)):  # type: ignore[arg-type]
        figure = Figure(figsize=size)
        FigureCanvasAgg(figure)
        figure.subplots_adjust(**edges, hspace=space, wspace=0.12)
        yield figure, figure.subplots(rows, columns, squeeze=False, sharex=rows > 1, sharey="row", gridspec_kw=grid)


def finish(figure: Any, title: str, note: str, path: Path) -> None:
    """Title, note, file."""
    width, height = figure.get_size_inches()
    figure.text(0.12 / width, 1 - 0.28 / height, title, fontsize=12, fontweight="bold")
    figure.text(0.12 / width, 0.1 / height, note, fontsize=8, color=MUTED)
    figure.savefig(path)
