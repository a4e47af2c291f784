"""The style of all figures, and the figure of forecasts over time."""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from core.plotting import import_matplotlib

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


def draw_history(forecasts: pd.DataFrame, title: str, path: Path) -> None:
    """Draw forecast and climatology over time, a panel per horizon; days followed by the event and days not over yet are shaded."""
    horizons = sorted(forecasts["horizon"].unique())
    with canvas(len(horizons), 1, (9.5, 1.9 * len(horizons) + 0.9), space=0.3) as (figure, axes):
        for axis, days in zip(axes[:, 0], horizons, strict=True):
            panel = forecasts[forecasts["horizon"] == days].sort_values("as_of")
            dates, outcome = panel["as_of"].to_numpy(), panel["outcome"].to_numpy()
            event = {"where": outcome == 1, "color": EVENT, "alpha": 0.55, "label": "event followed"}
            pending = {"where": np.isnan(outcome), "color": FAINT, "label": "not over yet"}
            for shading in (event, pending):
                axis.fill_between(dates, 0, 1, step="post", linewidth=0, **shading)
            axis.plot(dates, panel["climatology"], color=REFERENCE, linewidth=1.1, linestyle=(0, (4, 3)), label="climatology")
            axis.plot(dates, panel["probability"], color=INK, linewidth=1.3, label="forecast")
            axis.set(title=f"within {days} days", ylim=(0, 1), yticks=[0, 0.25, 0.5, 0.75, 1], ylabel="probability")
            axis.margins(x=0.01)
        axes[-1, 0].legend(loc="upper center", bbox_to_anchor=(0.5, -0.12), ncols=4)
        finish(figure, title, "", path)


@contextmanager
def canvas(rows: int, columns: int, size: tuple[float, float], *, space: float, **grid: Any) -> Iterator[tuple[Any, Any]]:
    """A figure of a size in inches and its axes (rows, columns), in the common style. Fixed margins save half a second of
    fitting."""
    import_matplotlib()
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
    """Write title and note into the figure and save it to a file."""
    width, height = figure.get_size_inches()
    figure.text(0.12 / width, 1 - 0.28 / height, title, fontsize=12, fontweight="bold")
    figure.text(0.12 / width, 0.1 / height, note, fontsize=8, color=MUTED)
    figure.savefig(path)
