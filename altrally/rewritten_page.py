"""What `status` says of sources that rewrote their past or brought it late. Numbers come in finished; nothing is computed here."""

from collections.abc import Mapping, Sequence
from typing import Any

import pandas as pd
from rich.console import Group, RenderableType
from rich.markup import escape
from rich.table import Table
from rich.text import Text

LINES = 12
NAMED = 3


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


def late_part(found: Sequence[Mapping[str, Any]]) -> RenderableType:
    """The newest of what came late."""
    if not found:
        return Text("")
    table = Table("came late", "on", "from", "days", "of", "to", "known from", box=None, pad_edge=False)
    for one in found[:LINES]:
        codes = ", ".join(one["codes"][:NAMED]) + (f" and {len(one['codes']) - NAMED} more" if len(one["codes"]) > NAMED else "")
        known = one["known"] if one["dated_late"] else "its own day (stored by an older version)"
        table.add_row(escape(codes), one["fetched_at"], one["source"], f"{one['days']:,}", one["first"], one["last"], known)
    more = len(found) - LINES
    return Group(table, Text(f"{more} more in `altrally status --json`.", style="dim")) if more > 0 else table
