"""The audit: every line of the claim measured on the data known at the end of a day, with intervals and verdicts."""

from dataclasses import asdict, dataclass
from typing import Any

import pandas as pd

from core.progress import Progress, silent
from sources.series import RUT
from sources.store import Store
from studies.audit import verdicts
from studies.audit.amplifier import Amplifier, amplifier, amplifier_lines
from studies.audit.breakouts import Breakouts, breakout_lines, breakouts
from studies.audit.cascade import Cascade, cascade, cascade_lines
from studies.audit.market_state import Facts, facts_known
from studies.audit.supercycle import Supercycle, supercycle, supercycle_lines
from studies.audit.verdicts import LEVEL, Line

SEED, DRAWS = 7, 10_000


@dataclass(frozen=True)
class History:
    """Closes of the last session or day of each week, for pictures; None where there is none."""

    days: list[str]
    small_caps: list[float | None]
    altcoins: list[float | None]


@dataclass(frozen=True)
class Audit:
    """Result of an audit; other programs read `to_dict`."""

    as_of: str
    market: str
    snapshot: str
    rule: str
    chance: str
    lines: list[Line]
    breakouts: Breakouts
    cascade: Cascade
    amplifier: Amplifier
    supercycle: Supercycle
    history: History

    def to_dict(self) -> dict[str, Any]:
        """Plain lists and dicts."""
        return asdict(self)


def audit(store: Store, as_of: pd.Timestamp, *, seed: int = SEED, draws: int = DRAWS, progress: Progress = silent) -> Audit:
    """Measure and judge every line of the claim on the data known at the end of `as_of`; lines without data say so."""
    progress("reading", 0, 5)
    facts = facts_known(store, as_of)
    progress("breakouts", 1, 5)
    broken = breakouts(facts)
    progress("order of the cascade", 2, 5)
    ordered = cascade(facts)
    progress("amplifier", 3, 5)
    amplified = amplifier(facts, seed=seed, draws=draws)
    progress("supercycle", 4, 5)
    cycle = supercycle(facts)
    lines = [*breakout_lines(broken), *cascade_lines(ordered), *amplifier_lines(amplified), *supercycle_lines(cycle)]
    return Audit(
        as_of=f"{as_of:%Y-%m-%d}",
        market=store.market or "unknown",
        snapshot=store.snapshot(as_of),
        rule=verdicts.RULE,
        chance=chance(lines),
        lines=lines,
        breakouts=broken,
        cascade=ordered,
        amplifier=amplified,
        supercycle=cycle,
        history=history(facts),
    )


def chance(lines: list[Line]) -> str:
    """Sentence with the number of lines that chance alone would support."""
    with_p = sum(line.evidence.p is not None for line in lines)
    return f"Of {with_p} lines with a p-value up to {LEVEL * with_p:.1f} would be supported by chance, were the claim false in all."


def history(facts: Facts) -> History:
    """Weekly closes of ^RUT and the altcoin index."""
    small_caps = facts.closes(RUT)
    closes = pd.DataFrame({"small_caps": small_caps, "altcoins": facts.index.level})
    weeks = closes.resample("W-SUN").last() if len(closes) else closes
    columns = [[None if pd.isna(value) else float(value) for value in weeks[name]] for name in closes]
    return History([f"{day:%Y-%m-%d}" for day in weeks.index], *columns)
