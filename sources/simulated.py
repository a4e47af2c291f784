"""The simulated market: the embedded default, in the shape of the drop-in files, and said to be simulated wherever it is shown.

A hidden liquidity state moves the Federal Reserve's balance sheet, then credit, stocks and small caps, week after week, and, if
`strength` isn't 0, altcoins `lag_weeks` later. With strength 0 altcoins know nothing of it. So it can be asked whether the claim
would be detected if it were true (power), and whether it is seen where it is not (size).
"""

from collections.abc import Iterator
from pathlib import Path

import pandas as pd

from core.errors import BadInput
from core.progress import Progress
from sources.batches import Batch
from sources.layout import batches as layout_batches
from sources.simulated_coins import crypto_frame, draw_coins, ohlcv_frame, stablecoins_frame
from sources.simulated_liquidity import Liquidity, Plan, draw_liquidity
from sources.simulated_macro import constituents_frame, draw_macro, fred_frame, prices_frame
from sources.store import Store

SHORTEST = pd.Timedelta(days=4 * 365)


def simulate(
    *,
    seed: int = 7,
    start: str = "2012-01-01",
    end: str = "2024-12-31",
    strength: float = 1.0,
    lag_weeks: int = 8,
    stocks: int = 60,
    coins: int = 90,
) -> dict[str, pd.DataFrame]:
    """One simulated market as drop-in frames, by the name of their file.

    `start` and `end` bound the coins; stocks, funds and macro series begin eight years earlier. `strength` 1 makes the claim
    clearly true: one standard deviation of liquidity moves altcoins by 0.35 % a day, `lag_weeks` later, so that +30 % within 60
    days comes after 0.17 of the days with little liquidity and 0.59 of those with much (outer thirds, mean of six seeds).
    0 makes it false: then coins are the same bit for bit whatever liquidity does.
    Raises `BadInput` where the span is under four years, or a count, the strength or the lag is out of range.
    """
    plan = Plan(seed, pd.Timestamp(start), pd.Timestamp(end), strength, lag_weeks)
    if plan.end - plan.start < SHORTEST or strength < 0 or lag_weeks < 0 or stocks < 1 or coins < 2:
        raise BadInput(
            f"A simulated market needs four years, strength and lag of at least 0, a stock and 2 coins; "
            f"got {start} to {end}, strength {strength}, lag {lag_weeks} weeks, {stocks} stocks, {coins} coins."
        )
    return frames(plan, draw_liquidity(plan), stocks=stocks, coins=coins)


def frames(plan: Plan, liquidity: Liquidity, *, stocks: int, coins: int) -> dict[str, pd.DataFrame]:
    """The drop-in frames of a market with a given liquidity."""
    macro = draw_macro(plan, liquidity)
    living = draw_coins(plan, liquidity, coins)
    return {
        "prices": prices_frame(plan, liquidity, macro),
        "fred": fred_frame(plan, liquidity, macro),
        "crypto": crypto_frame(plan, living),
        "crypto_ohlcv": ohlcv_frame(plan, living),
        "constituents": constituents_frame(plan, liquidity, macro, stocks),
        "stablecoins": stablecoins_frame(plan, living),
    }


def batches(store: Store, *, path: Path | None, today: pd.Timestamp, progress: Progress) -> Iterator[Batch]:
    """The default simulated market, ending on 2024-12-31 whatever `today` is; `store` and `path` are not looked at."""
    progress("simulating the market", 0, 1)
    market = simulate()
    progress("simulating the market", 1, 1)
    return layout_batches(market, "simulated")
