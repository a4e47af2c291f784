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
    """The event whose probability is told, on one line."""
    return SENTENCES[target.outcome].format(subject=target.subject, move=f"{100 * target.threshold:.4g}%", **directions(target))


def condition(target: Target, *, move: str, day: str) -> str:
    """What counts as the event, for the page; `move` and `day` as they are to be read."""
    told = CONDITIONS[target.outcome].format(move=move, day=day, **directions(target))
    return f"{capitalised(the_subject(target))} {told}"


def directions(target: Target) -> dict[str, str]:
    """Up or down."""
    return {"beyond": "below", "further": "lower"} if target.falls else {"beyond": "above", "further": "higher"}


def the_subject(target: Target) -> str:
    """What moves, in the middle of a sentence; an index has an article."""
    return f"the {target.subject}" if target.subject.endswith(("index", "basket")) else target.subject


def level(target: Target) -> str:
    """What formulas read: of what is to fall, the inverse that rises as it does."""
    return f"the inverse of {target.subject}" if target.falls else the_subject(target)


def pictured(target: Target) -> str:
    """What the pictures show, at the head of a sentence."""
    return capitalised(level(target))


def holding(target: Target) -> str:
    """What it is that moves."""
    return HOLDINGS[target.universe].format(coins=", ".join(target.coins))


def for_target(text: str, target: Target) -> str:
    """A text about the altcoin index and the Russell 2000, of what stands in their place."""
    words = {"the altcoin index": level(target), "Altcoin index": pictured(target)}
    words |= {"Russell 2000": target.leader.index, "IWM": target.leader.fund} if target.leader != Leader() else {}
    for said, instead in words.items():
        text = text.replace(said, instead)
    return text


def event_noun(target: Target) -> str:
    """The event's noun, the last word of its name: rally."""
    return target.name.split()[-1]


def event_nouns(target: Target) -> str:
    """The plural of the event's noun: rallies."""
    noun = event_noun(target)
    return f"{noun[:-1]}ies" if noun.endswith("y") else f"{noun}s"


def article(target: Target) -> str:
    """The event's whole name with its article: an altcoin rally."""
    return with_article(target.name)


def an_event(target: Target) -> str:
    """The event's noun with its article: a rally."""
    return with_article(event_noun(target))


def with_article(name: str) -> str:
    """A name with a or an before it."""
    return f"{'an' if name[0] in VOWELS else 'a'} {name}"


def capitalised(text: str) -> str:
    """Its first letter large, the others as they are."""
    return text[:1].upper() + text[1:]


def leaders(target: Target) -> str:
    """The stocks that lead, in the plural: small caps."""
    return f"{target.leader.name.replace('-', ' ')}s"
