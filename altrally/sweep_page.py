"""What a sweep found, as people see it in a terminal. Numbers come in finished; nothing is computed here."""

from typing import Any

from rich.console import Group
from rich.text import Text

from altrally.render import interval, market_banner, number
from training.train import baselines_told


def sweep_page(found: dict[str, Any]) -> Group:
    """What was searched, which configuration won, and whether that means anything."""
    about = f" · {found['market']} market · snapshot {found['snapshot']} · {found['label']}"
    header = Text.assemble((found["target"], "bold"), about)
    return Group(market_banner(found["market"]), header, *(Text(line) for line in lines(found)))


def lines(found: dict[str, Any]) -> list[str]:
    """One after the other."""
    winner, test, null = found["winner"], found["test"], found["search_null"]
    skills = ", ".join(f"{interval(test[f'skill_{name}'])} against {words}" for name, words in baselines_told(test).items())
    return [
        f"{found['tried']} of {found['of']} configurations tried on {found['searched_weeks']} weeks before {found['first_test']} "
        f"({found['cut_short']} cut short); {found['trials']} tries counted so far.",
        f"Winner: {winner['model']} on {', '.join(winner['columns'])}, prior sd {winner['prior_sd']:g}, move {winner['move']:g}; "
        f"skill in the search {found['search_skill']:+.3f}.",
        f"After it, {found['horizon']} days ahead, {test['n']} weeks (about {number(test['n_effective'], '.0f')} independent): "
        f"Brier skill {skills}.",
        f"The same search on {null['shifts']} rotations of outcomes, about {null['independent']} of them independent, finds "
        f"{null['mean']:+.3f} on average (5 to 95 %: {null['low']:+.3f} to {null['high']:+.3f}): p {found['search_p']:.3f}. "
        f"Best of N p {number(found['best_of_n_p'], '.3f')}{several(found['sweeps'])}.",
        verdict(found),
    ]


def several(sweeps: int) -> str:
    """What other sweeps cost."""
    return f", {sweeps} times that of one sweep, as {sweeps} have judged a winner on these days" if sweeps > 1 else ""


def verdict(found: dict[str, Any]) -> str:
    """By the one rule."""
    if found["found"]:
        return "Found: the winner's intervals exclude zero against all three baselines, and the best-of-N p is below 0.05."
    return "Nothing found: that would take intervals above zero against all three baselines, and a best-of-N p below 0.05."
