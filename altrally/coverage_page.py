"""What `status` says of how much of the market has a price, and from where. Numbers come in finished; nothing is computed here."""

from collections import Counter
from collections.abc import Mapping
from typing import Any

from rich.console import Group, RenderableType
from rich.text import Text

CHANGES = 5


def coverage_part(facts: Mapping[str, Any]) -> RenderableType:
    """The last month's coverage, the lowest of the past, the sources of coins and the last changes of source."""
    return Group(*(Text(line) for line in lines(facts)))


def lines(facts: Mapping[str, Any]) -> list[str]:
    """One fact a line."""
    said: list[str] = []
    if facts["coverage"]:
        last, worst = facts["coverage"][-1], min(facts["coverage"], key=lambda month: month["share"])
        missing = f"; missing: {', '.join(last['missing'])}" if last["missing"] else ""
        of = "of the market cap of the 50 largest known coins"
        said.append(f"Prices for {last['share']:.0%} {of} on {last['month_end']}{missing}.")
        said.append(f"The least was {worst['share']:.0%} on {worst['month_end']}.")
    else:
        said.append("How much of the market has a price can't be told: no market caps are known of coins without one.")
    by_coin = Counter(row["symbol"] for row in facts["coin_sources"])
    counts = Counter({row["symbol"]: row["source"] for row in facts["coin_sources"]}.values())
    said.append("Coins by source of their price: " + ", ".join(f"{name} {count}" for name, count in counts.most_common()) + ".")
    changed = [row for row in facts["coin_sources"] if by_coin[row["symbol"]] > 1]
    said += [f"{row['symbol']}: {row['source']} from {row['first']} to {row['last']}" for row in changed[-2 * CHANGES :]]
    if facts["needs_key"] and facts["market"] == "live":
        said.append(f"{', '.join(facts['needs_key'])} are revised after the fact; they need a free key in FRED_API_KEY.")
    if facts["from_the_future"]:
        said.append(f"{facts['from_the_future']:,} rows were stored under a clock that was ahead. Run `altrally repair`.")
    return said
