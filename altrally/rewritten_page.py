"""What `status` says of sources that rewrote their past. Numbers come in finished; nothing is computed here."""

from collections.abc import Mapping, Sequence
from typing import Any

import pandas as pd
from rich.console import Group, RenderableType
from rich.markup import escape
from rich.table import Table
from rich.text import Text

LINES = 12


def rewritten_part(found: Sequence[Mapping[str, Any]], remembered: pd.Timedelta) -> RenderableType:
    """The newest of what was rewritten, silent corrections and published revisions."""
    if not found:
        return Text(f"No source rewrote its past within {remembered.days} days.", style="dim")
    table = Table("rewritten", "on", "by", "days", "from", "to", "largest change", box=None, pad_edge=False)
    for one in found[:LINES]:
        by = f"{one['source']}{' (a published revision)' if one['revision'] else ''}"
        change = "–" if one["largest"] is None else f"{one['largest']:.2%}"
        table.add_row(escape(one["code"]), one["known"], by, f"{one['days']:,}", one["first"], one["last"], change)
    more = len(found) - LINES
    return Group(table, Text(f"{more} more in `altrally status --json`.", style="dim")) if more > 0 else table
