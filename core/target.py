"""The question: what moves, how far, within how long, and which stocks are said to lead it. Declared in Python or a TOML file."""

import hashlib
import json
import re
import sys
import tomllib
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass, field, replace
from difflib import get_close_matches
from functools import cached_property
from pathlib import Path
from typing import Any

from core.errors import BadInput, UnknownName

KINDS: Mapping[str, float] = {"first_passage": 0.30, "terminal": 0.20, "relative": 0.0}
"""Kinds of outcome and the move each asks for by default."""

TOP_ALTCOINS, NAMED_COINS, DOMINANCE = UNIVERSES = ("altcoins", "coins", "bitcoin dominance")
LABEL = re.compile(r"(?P<name>.*) \([0-9a-f]{6}\): .*")
LARGEST_RISE = 5.0
ALREADY_RISEN = 0.30


@dataclass(frozen=True)
class Leader:
    """The stocks said to lead: `index` whose record closes count, `fund` whose strength and volume do; `name` as an adjective."""

    name: str = "small-cap"
    index: str = "^RUT"
    fund: str = "IWM"


@dataclass(frozen=True)
class Target:
    """What is forecast: the question that features, outcome, training, score, ledger and report answer.

    `name` says the event ("ETH rally"), `subject` what moves ("ETH"). `universe`: the top 50 altcoins; `coins` by their asset id,
    bought and held like those; or BTC's share in the market cap of all coins, which is asked to fall. `move` is a share (0.3 is
    30 %), None the default of the outcome; `horizons` are calendar days. Raises BadInput on what can't be asked.
    """

    name: str = "altcoin rally"
    subject: str = "altcoin index"
    universe: str = TOP_ALTCOINS
    coins: tuple[str, ...] = ()
    leader: Leader = field(default_factory=Leader)
    outcome: str = "first_passage"
    move: float | None = None
    horizons: tuple[int, ...] = (30, 60, 90)

    def __post_init__(self) -> None:
        """Raise BadInput where the question makes no sense."""
        if self.outcome not in KINDS:
            raise UnknownName("outcome", self.outcome, KINDS)
        if sorted(set(self.horizons)) != list(self.horizons) or not self.horizons or self.horizons[0] < 1:
            raise BadInput(f"Horizons must be rising numbers of days, not {self.horizons}.")
        if self.falls and self.outcome == "relative":
            raise BadInput("The outcome `relative` has no meaning for BTC dominance, which is already counted against BTC.")
        if self.coins == ("bitcoin",) and self.outcome == "relative":
            raise BadInput("The outcome `relative` asks whether BTC is beaten, which BTC can't be by itself.")
        if self.move is not None:
            require_move(self.outcome, self.move, falls=self.falls)

    @property
    def falls(self) -> bool:
        """Whether the event is a fall. Then the level is inverted, so that all formulas see a rise."""
        return self.universe == DOMINANCE

    @property
    def threshold(self) -> float:
        """The move that counts as the event, as a share; by default that of the outcome."""
        return KINDS[self.outcome] if self.move is None else self.move

    @property
    def rise(self) -> float:
        """Share by which the level must rise; 1/(1 − fall) − 1 for an inverted level."""
        return 1 / (1 - self.threshold) - 1 if self.falls else self.threshold

    @property
    def under_way(self) -> float:
        """Share above the lowest close of 90 days from which the event counts as already under way (STATISTICS 15)."""
        return ALREADY_RISEN if self.is_default or self.outcome != "first_passage" else self.rise

    @cached_property
    def definition(self) -> dict[str, Any]:
        """The question as plain lists and dicts, without the outcome, the move and the horizons."""
        about = {name: getattr(self, name) for name in ("name", "subject", "universe")}
        return about | {"coins": list(self.coins), "leader": asdict(self.leader)}

    @property
    def is_default(self) -> bool:
        """Whether it asks about the altcoin index and the Russell 2000; outcome, move and horizons may differ."""
        return self.definition == ALTCOINS.definition

    @property
    def slug(self) -> str:
        """The name in lower case with hyphens, for families, registered models and files."""
        return "-".join("".join(letter if letter.isalnum() else " " for letter in self.name.lower()).split())

    @property
    def registered_model(self) -> str:
        """Name of its registered model in MLflow."""
        return "altrally" if self.is_default else f"altrally-{self.slug}"

    @property
    def name_suffix(self) -> str:
        """Words that follow a model's name, such as " of 'ETH rally'"; empty for the default target."""
        return "" if self.is_default else f" of {self.name!r}"

    @property
    def label(self) -> str:
        """Text that names what is forecast. Only forecasts of the same label can be compared."""
        question = f"{self.outcome} {self.threshold:g} within {'/'.join(map(str, self.horizons))} days"
        return question if self.is_default else f"{self.name} ({digest(self.definition)[:6]}): {question}"

    @property
    def summary(self) -> dict[str, Any]:
        """Outcome as cards, scores and ledger lines hold it: kind, threshold, and the definition unless it is the default."""
        summary = {"kind": self.outcome, "threshold": self.threshold}
        return summary if self.is_default else {**summary, "target": self.definition}

    def with_outcome(self, outcome: str | None = None, move: float | None = None) -> "Target":
        """The same question with another outcome or move, where given."""
        if outcome is None or outcome == self.outcome:
            return self if move is None else replace(self, move=move)
        return replace(self, outcome=outcome, move=move)


ALTCOINS = Target()
"""The question of the claim."""


def target_from_summary(summary: Mapping[str, Any], horizons: Sequence[int]) -> Target:
    """The target of a card, a score or a ledger line, from its `Target.summary` and its horizons (days)."""
    about = dict(summary.get("target") or {})
    if about:
        about |= {"coins": tuple(about["coins"]), "leader": Leader(**about["leader"])}
    return Target(**about, outcome=summary["kind"], move=summary["threshold"], horizons=tuple(horizons))


def name_suffix(label: str) -> str:
    """`Target.name_suffix` of the target that a label is of."""
    named = LABEL.fullmatch(label)
    return f" of {named['name']!r}" if named else ""


def judged_horizon(horizons: Iterable[int]) -> int:
    """The horizon by which skill is judged: the middle one, the later of two (STATISTICS 8: 60 of 30, 60, 90)."""
    rising = sorted(horizons)
    return int(rising[len(rising) // 2])


def require_move(outcome: str, move: float, *, falls: bool) -> None:
    """Raise BadInput where the outcome can't have this threshold."""
    if outcome == "relative" and move != 0:
        raise BadInput(f"--threshold {move:g} has no meaning for `relative`, which asks whether the index beats BTC.")
    if falls and not 0 < move < 1:
        raise BadInput(f"--threshold {move:g} is not a share between 0 and 1; 0.1 is a fall of 10 %.")
    if outcome == "terminal" and not -1 < move <= LARGEST_RISE:
        raise BadInput(f"--threshold {move:g} is not a share between -1 and {LARGEST_RISE:g}; 0.2 is 20 %.")
    if outcome == "first_passage" and not 0 < move <= LARGEST_RISE:
        raise BadInput(f"--threshold {move:g} is not a share between 0 and {LARGEST_RISE:g}; 0.3 is 30 %.")


def digest(definition: Mapping[str, Any]) -> str:
    """The first 16 hex digits of the SHA-256 of a definition."""
    return hashlib.sha256(json.dumps(definition, sort_keys=True).encode()).hexdigest()[:16]


NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9 .&+-]{0,39}")
TICKER = re.compile(r"[\^A-Za-z0-9][A-Za-z0-9.=-]{0,19}")
ASSET = re.compile(r"[a-z0-9][a-z0-9-]{0,59}")
MOST_COINS, MOST_HORIZONS = 50, 6
SHORTEST, LONGEST = 7, 365
LONGEST_SHOWN, LONGEST_REASON = 60, 150


@dataclass(frozen=True)
class Key:
    """One key of the file: a check of its value, and the words for what to write instead."""

    holds: Callable[[Any], bool]
    wanted: str


def matches(pattern: re.Pattern[str]) -> Callable[[Any], bool]:
    """A check that a value is a string that matches the pattern."""
    return lambda value: isinstance(value, str) and pattern.fullmatch(value) is not None


def is_number(value: Any) -> bool:
    """Whether a value is a number that a float can hold; booleans are not."""
    return isinstance(value, int | float) and not isinstance(value, bool) and abs(value) <= sys.float_info.max


def are_coin_ids(value: Any) -> bool:
    """Whether a value is a list of 1 to 50 different asset ids."""
    if not isinstance(value, list) or not all(isinstance(coin, str) and ASSET.fullmatch(coin) for coin in value):
        return False
    return 0 < len(value) <= MOST_COINS and len(set(value)) == len(value)


def are_horizons(value: Any) -> bool:
    """Whether a value is a list of rising whole numbers of days."""
    if not isinstance(value, list) or not all(type(days) is int and SHORTEST <= days <= LONGEST for days in value):
        return False
    return 0 < len(value) <= MOST_HORIZONS and sorted(set(value)) == value


WORDS = "a few plain words, at most 40 letters, digits, spaces and . & + -"
SHARE = "a number; 0.3 is 30 %"
KEYS: Mapping[str, Key] = {
    "name": Key(matches(NAME), f'{WORDS}: the event, as in "ETH rally"'),
    "subject": Key(matches(NAME), f'{WORDS}: what moves, as in "ETH"'),
    "universe": Key(lambda value: value in (TOP_ALTCOINS, DOMINANCE), f'"{TOP_ALTCOINS}" or "{DOMINANCE}"; or name coins'),
    "coins": Key(are_coin_ids, 'a list of 1 to 50 asset ids, each once, as in ["ethereum"]'),
    "outcome": Key(lambda value: isinstance(value, str) and value in KINDS, f"one of {', '.join(KINDS)}"),
    "rise": Key(is_number, SHARE),
    "fall": Key(is_number, SHARE),
    "horizons": Key(
        are_horizons, f"1 to {MOST_HORIZONS} rising whole numbers of days from {SHORTEST} to {LONGEST}, as in [30, 60, 90]"
    ),
    "leader": Key(
        lambda value: isinstance(value, dict) and bool(value), "a table [leader] with name, index and fund, or leave it out"
    ),
}
LEADER_KEYS: Mapping[str, Key] = {
    "name": Key(matches(NAME), f'{WORDS}: an adjective, as in "mid-cap"'),
    "index": Key(matches(TICKER), 'a ticker of the store, as in "^RUT"'),
    "fund": Key(matches(TICKER), 'a ticker of the store, as in "IWM"'),
}


def read_target(path: Path) -> Target:
    """The target a file declares. Raises BadInput: file, key, value, what to do."""
    return parse_target(read_toml(path, "docs/targets shows three that are"), path.name)


def read_toml(path: Path, example: str) -> dict[str, Any]:
    """Content of a TOML file. Raises BadInput, which ends with what to do; `example` says where a file is shown."""
    try:
        text = path.read_text(encoding="utf-8-sig")
    except OSError as error:
        raise BadInput(f"{path} can't be read: {error.strerror or error}.") from None
    except UnicodeDecodeError as error:
        line = error.object[: error.start].count(b"\n") + 1
        raise BadInput(f"{path} isn't text in UTF-8 (line {line}). Save it as UTF-8; {example}.") from None
    if not text.strip():
        raise BadInput(f"{path} is empty; {example}.")
    try:
        declared = tomllib.loads(text)
    except (ValueError, RecursionError) as error:
        raise BadInput(f"{path} isn't a TOML file: {short(str(error), LONGEST_REASON)}. {example}.") from None
    require_last_line(text, declared, path)
    return declared


GOES_ON = ("7", ".7")
"""What may follow a number."""


def require_last_line(text: str, declared: Mapping[str, Any], path: Path) -> None:
    """Raise BadInput where a file breaks off in a number: what stands there may be half of one."""
    if not text.endswith("\n") and any(parsed(text + more) not in (None, declared) for more in GOES_ON):
        raise BadInput(
            f"{path} breaks off in its last line ({short(text.splitlines()[-1])!r}), which has no line end: its number may be cut. "
            "Copy the file again, or end the last line if it is whole."
        )


def parsed(text: str) -> dict[str, Any] | None:
    """What a text of TOML declares; None where it is none."""
    try:
        return tomllib.loads(text)
    except ValueError:
        return None


def parse_target(declared: Mapping[str, Any], file: str) -> Target:
    """The target that a parsed file declares. Raises BadInput."""
    require_keys(declared, KEYS, file, "")
    require_keys(declared.get("leader", {}), LEADER_KEYS, file, "leader.")
    for key in ("name", "subject"):
        if key not in declared:
            raise BadInput(f"{file}: {key} is missing; write {KEYS[key].wanted}.")
    universe = universe_of(declared, file)
    move = "fall" if universe == DOMINANCE else "rise"
    require_move_key(declared, file, move)
    question = {
        "outcome": declared.get("outcome", ALTCOINS.outcome),
        "horizons": tuple(declared.get("horizons", ALTCOINS.horizons)),
    }
    leader = Leader(**{**vars(Leader()), **declared.get("leader", {})})
    try:
        target = Target(
            declared["name"],
            declared["subject"],
            universe,
            tuple(declared.get("coins", ())),
            leader,
            move=declared.get(move),
            **question,
        )
    except BadInput as error:
        raise BadInput(f"{file}: {str(error).replace('--threshold', move)}") from None
    require_own_name(target, file)
    return target


def require_keys(declared: Mapping[str, Any], keys: Mapping[str, Key], file: str, table: str, *, of: str = "target") -> None:
    """Raise BadInput where a key is unknown or its value is not allowed; `of`: what the file declares."""
    for key, value in declared.items():
        if key not in keys:
            near = get_close_matches(key, keys, n=1)
            hint = f"did you mean {near[0]}?" if near else f"the keys are {', '.join(keys)}."
            raise BadInput(f"{file}: {table}{shown(key)} = {short_repr(value)} is no key of a {of}; {hint}")
        if not keys[key].holds(value):
            raise BadInput(f"{file}: {table}{key} = {short_repr(value)} will not do; write {keys[key].wanted}.")


def universe_of(declared: Mapping[str, Any], file: str) -> str:
    """The universe a file names. Raises BadInput unless it names exactly one."""
    if ("coins" in declared) == ("universe" in declared):
        problem = "both are there" if "coins" in declared else "neither is there"
        raise BadInput(
            f'{file}: name either coins, as in coins = ["ethereum"], or universe, as in universe = "altcoins"; {problem}.'
        )
    return NAMED_COINS if "coins" in declared else str(declared["universe"])


def require_move_key(declared: Mapping[str, Any], file: str, move: str) -> None:
    """Raise BadInput where a file names a fall of what must rise, or the reverse, or leaves out a needed fall."""
    other = "rise" if move == "fall" else "fall"
    if other in declared:
        raise BadInput(
            f"{file}: {other} = {short_repr(declared[other])} has no meaning here; write {move} = {short_repr(declared[other])}."
        )
    if move == "fall" and "fall" not in declared:
        raise BadInput(f"{file}: fall is missing; write the share by which BTC dominance must fall, as in fall = 0.1.")


def require_own_name(target: Target, file: str) -> None:
    """Raise BadInput where a file gives the default's name to another question, or another name to the default's question.

    Trials are counted by name.
    """
    if target.slug == ALTCOINS.slug and not target.is_default:
        raise BadInput(
            f"{file}: name = {short_repr(target.name)} is that of the built-in target, which asks something else; choose another."
        )
    same = (target.universe, target.leader) == (ALTCOINS.universe, ALTCOINS.leader)
    if same and target.slug != ALTCOINS.slug:
        raise BadInput(
            f"{file}: name = {short_repr(target.name)} asks what the built-in target asks; write "
            f'name = "{ALTCOINS.name}" and subject = "{ALTCOINS.subject}", so that its tries are counted where they belong.'
        )


def shown(key: str) -> str:
    """A key as one short line for an error: as it stands where it is a plain word."""
    return key if len(key) <= LONGEST_SHOWN and key.isidentifier() else short_repr(key)


def short_repr(value: Any) -> str:
    """A value as one short line for an error."""
    return short(repr(value))


def short(text: str, longest: int = LONGEST_SHOWN) -> str:
    """A text as one short line for an error."""
    line = " ".join(text.split())
    return line if len(line) <= longest else f"{line[: longest - 3]}..."
