"""The event of a target in words, the same wherever it is printed."""

from core.target import Leader, Target

SENTENCES = {
    "first_passage": "P({subject} closes ≥ {move} {beyond} its close at as_of, within …)",
    "terminal": "P({subject} ≥ {move} {further} at the horizon)",
    "relative": "P({subject} beats BTC at the horizon)",
}
CONDITIONS = {
    "first_passage": "closes at least once {move} {beyond} its close of {day}, or {further}, within that time",
    "terminal": "stands at least {move} {beyond} its close of {day} at the end of that time",
    "relative": "has done better than bitcoin since {day} at the end of that time",
}
VOWELS = "AEIOaeio"
HOLDINGS = {
    "altcoins": "The index holds the 50 largest coins without bitcoin, stablecoins, wrapped and staked ones.",
    "coins": "It holds {coins}, bought and held within the month.",
    "bitcoin dominance": "It is the share of bitcoin in the market cap of bitcoin and all altcoins.",
}


def sentence(target: Target) -> str:
    """The event whose probability is forecast, on one line: P(…)."""
    return SENTENCES[target.outcome].format(subject=target.subject, move=f"{100 * target.threshold:.4g}%", **directions(target))


def condition(target: Target, *, move: str, day: str) -> str:
    """The condition of the event as a sentence without its end; `move` and `day` are texts."""
    predicate = CONDITIONS[target.outcome].format(move=move, day=day, **directions(target))
    return f"{capitalised(the_subject(target))} {predicate}"


def directions(target: Target) -> dict[str, str]:
    """The words for the direction of a target's move: above and higher, or below and lower."""
    return {"beyond": "below", "further": "lower"} if target.falls else {"beyond": "above", "further": "higher"}


def the_subject(target: Target) -> str:
    """The subject of a target in the middle of a sentence, with an article for an index or basket."""
    return f"the {target.subject}" if target.subject.endswith(("index", "basket")) else target.subject


def level(target: Target) -> str:
    """The name of the level that formulas read; for a target that falls, it is the inverse of the subject."""
    return f"the inverse of {target.subject}" if target.falls else the_subject(target)


def level_title(target: Target) -> str:
    """The name of the level that the pictures show, with a capital letter."""
    return capitalised(level(target))


def holdings_sentence(target: Target) -> str:
    """A sentence on what the subject of a target is made of."""
    return HOLDINGS[target.universe].format(coins=", ".join(target.coins))


def for_target(text: str, target: Target) -> str:
    """The text with the altcoin index and the Russell 2000 replaced by the target's level and leader."""
    words = {"the altcoin index": level(target), "Altcoin index": level_title(target)}
    words |= {"Russell 2000": target.leader.index, "IWM": target.leader.fund} if target.leader != Leader() else {}
    for default, name in words.items():
        text = text.replace(default, name)
    return text


def event_noun(target: Target) -> str:
    """The last word of the event's name, e.g. rally."""
    return target.name.split()[-1]


def event_nouns(target: Target) -> str:
    """The plural of the event's noun, e.g. rallies."""
    noun = event_noun(target)
    return f"{noun[:-1]}ies" if noun.endswith("y") else f"{noun}s"


def event_name(target: Target) -> str:
    """The event's whole name with an article, e.g. an altcoin rally."""
    return with_article(target.name)


def an_event(target: Target) -> str:
    """The event's noun with an article, e.g. a rally."""
    return with_article(event_noun(target))


def with_article(name: str) -> str:
    """A name with 'a' or 'an' before it."""
    return f"{'an' if name[0] in VOWELS else 'a'} {name}"


def capitalised(text: str) -> str:
    """The text with its first letter as a capital, the others as they are."""
    return text[:1].upper() + text[1:]


def leaders(target: Target) -> str:
    """The stocks that lead, in the plural, e.g. small caps."""
    return f"{target.leader.name.replace('-', ' ')}s"
