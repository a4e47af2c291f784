"""A target as a user writes it: one TOML file, checked key by key."""

import re
import tomllib
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from difflib import get_close_matches
from pathlib import Path
from typing import Any

from sources.errors import BadInput
from sources.target import ALTCOINS, DOMINANCE, KINDS, NAMED_COINS, TOP_ALTCOINS, Leader, Target

NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9 .&+-]{0,39}")
TICKER = re.compile(r"[\^A-Za-z0-9][A-Za-z0-9.=-]{0,19}")
ASSET = re.compile(r"[a-z0-9][a-z0-9-]{0,59}")
MOST_COINS, MOST_HORIZONS = 50, 6
SHORTEST, LONGEST = 7, 365


@dataclass(frozen=True)
class Key:
    """One key of the file: whether a value will do, and what to write instead."""

    holds: Callable[[Any], bool]
    wanted: str


def text(pattern: re.Pattern[str]) -> Callable[[Any], bool]:
    """A string of that shape."""
    return lambda value: isinstance(value, str) and pattern.fullmatch(value) is not None


def number(value: Any) -> bool:
    """A finite number; true and false are none."""
    return isinstance(value, int | float) and not isinstance(value, bool) and abs(value) < float("inf")


def coins(value: Any) -> bool:
    """One to fifty asset ids, each once."""
    if not isinstance(value, list) or not all(isinstance(one, str) and ASSET.fullmatch(one) for one in value):
        return False
    return 0 < len(value) <= MOST_COINS and len(set(value)) == len(value)


def horizons(value: Any) -> bool:
    """Rising whole days."""
    if not isinstance(value, list) or not all(type(one) is int and SHORTEST <= one <= LONGEST for one in value):
        return False
    return 0 < len(value) <= MOST_HORIZONS and sorted(set(value)) == value


WORDS = "a few plain words, at most 40 letters, digits, spaces and . & + -"
SHARE = "a number; 0.3 is 30 %"
KEYS: Mapping[str, Key] = {
    "name": Key(text(NAME), f'{WORDS}: the event, as in "ETH rally"'),
    "subject": Key(text(NAME), f'{WORDS}: what moves, as in "ETH"'),
    "universe": Key(lambda value: value in (TOP_ALTCOINS, DOMINANCE), f'"{TOP_ALTCOINS}" or "{DOMINANCE}"; or name coins'),
    "coins": Key(coins, 'a list of 1 to 50 asset ids, each once, as in ["ethereum"]'),
    "outcome": Key(lambda value: isinstance(value, str) and value in KINDS, f"one of {', '.join(KINDS)}"),
    "rise": Key(number, SHARE),
    "fall": Key(number, SHARE),
    "horizons": Key(
        horizons, f"1 to {MOST_HORIZONS} rising whole numbers of days from {SHORTEST} to {LONGEST}, as in [30, 60, 90]"
    ),
    "leader": Key(lambda value: isinstance(value, dict), "a table [leader] with name, index and fund"),
}
LEADER_KEYS: Mapping[str, Key] = {
    "name": Key(text(NAME), f'{WORDS}: an adjective, as in "mid-cap"'),
    "index": Key(text(TICKER), 'a ticker of the store, as in "^RUT"'),
    "fund": Key(text(TICKER), 'a ticker of the store, as in "IWM"'),
}


def read_target(path: Path) -> Target:
    """The target a file declares. Raises BadInput: file, key, value, what to do."""
    return target_in(read_toml(path, "docs/targets shows three that are"), path.name)


def read_toml(path: Path, example: str) -> dict[str, Any]:
    """What a TOML file holds; `example` says where one is shown. Raises BadInput."""
    try:
        return tomllib.loads(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise BadInput(f"{path} can't be read: {error.strerror or error}.") from None
    except (tomllib.TOMLDecodeError, UnicodeDecodeError, RecursionError) as error:
        raise BadInput(f"{path} isn't a TOML file: {error}. {example}.") from None


def target_in(declared: Mapping[str, Any], file: str) -> Target:
    """The target of a parsed file."""
    require_keys(declared, KEYS, file, "")
    require_keys(declared.get("leader", {}), LEADER_KEYS, file, "leader.")
    for key in ("name", "subject"):
        if key not in declared:
            raise BadInput(f"{file}: {key} is missing; write {KEYS[key].wanted}.")
    universe = universe_of(declared, file)
    move = "fall" if universe == DOMINANCE else "rise"
    require_move_key(declared, file, move)
    asked = {"outcome": declared.get("outcome", ALTCOINS.outcome), "horizons": tuple(declared.get("horizons", ALTCOINS.horizons))}
    leader = Leader(**{**vars(Leader()), **declared.get("leader", {})})
    try:
        target = Target(
            declared["name"],
            declared["subject"],
            universe,
            tuple(declared.get("coins", ())),
            leader,
            move=declared.get(move),
            **asked,
        )
    except BadInput as error:
        raise BadInput(f"{file}: {str(error).replace('--threshold', move)}") from None
    require_own_name(target, file)
    return target


def require_keys(declared: Mapping[str, Any], keys: Mapping[str, Key], file: str, table: str) -> None:
    """Each key is known and its value will do."""
    for key, value in declared.items():
        if key not in keys:
            near = get_close_matches(key, keys, n=1)
            hint = f"did you mean {near[0]}?" if near else f"the keys are {', '.join(keys)}."
            raise BadInput(f"{file}: {table}{key} = {quoted(value)} is no key of a target; {hint}")
        if not keys[key].holds(value):
            raise BadInput(f"{file}: {table}{key} = {quoted(value)} will not do; write {keys[key].wanted}.")


def universe_of(declared: Mapping[str, Any], file: str) -> str:
    """Which of the three; exactly one must be named."""
    if ("coins" in declared) == ("universe" in declared):
        said = "both are there" if "coins" in declared else "neither is there"
        raise BadInput(f'{file}: name either coins, as in coins = ["ethereum"], or universe, as in universe = "altcoins"; {said}.')
    return NAMED_COINS if "coins" in declared else str(declared["universe"])


def require_move_key(declared: Mapping[str, Any], file: str, move: str) -> None:
    """BTC dominance falls, all else rises; a fall has no default."""
    other = "rise" if move == "fall" else "fall"
    if other in declared:
        raise BadInput(
            f"{file}: {other} = {quoted(declared[other])} has no meaning here; write {move} = {quoted(declared[other])}."
        )
    if move == "fall" and "fall" not in declared:
        raise BadInput(f"{file}: fall is missing; write the share by which BTC dominance must fall, as in fall = 0.1.")


def require_own_name(target: Target, file: str) -> None:
    """A name that is the default's means the default, and the default's question has no second name: tries are counted by name."""
    if target.slug == ALTCOINS.slug and not target.is_default:
        raise BadInput(
            f"{file}: name = {quoted(target.name)} is that of the built-in target, which asks something else; choose another."
        )
    same = (target.universe, target.leader) == (ALTCOINS.universe, ALTCOINS.leader)
    if same and target.slug != ALTCOINS.slug:
        raise BadInput(
            f"{file}: name = {quoted(target.name)} asks what the built-in target asks; write "
            f'name = "{ALTCOINS.name}" and subject = "{ALTCOINS.subject}", so that its tries are counted where they belong.'
        )


def quoted(value: Any) -> str:
    """A value in an error: short, on one line."""
    told = " ".join(repr(value).split())
    return told if len(told) <= 60 else f"{told[:57]}..."
