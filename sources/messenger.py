"""Tell a chat service: each with the body it really takes, sent as any webhook is."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any
from urllib.parse import quote

from core.errors import BadInput, UnknownName
from sources.http import RetryPolicy
from sources.webhook import PATIENCE, post, require_address

TELEGRAM = "https://api.telegram.org"
LONGEST = {"discord": 2000, "slack": 40_000, "telegram": 4096}
"""Characters of a message that each service takes, of its own documentation."""

Body = dict[str, Any]


@dataclass(frozen=True)
class Messenger:
    """A place that is told: the kind of service, the address to POST to, which is a secret, and the chat where it needs one."""

    kind: str
    address: str
    chat: str = ""


def discord(text: str, _: Messenger) -> Body:
    """A Discord webhook's body. Nobody is mentioned, whatever the text holds."""
    return {"content": text, "allowed_mentions": {"parse": []}}


def slack(text: str, _: Messenger) -> Body:
    """A Slack incoming webhook's body; &, < and > stand for themselves."""
    return {"text": text.replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;")}


def telegram(text: str, messenger: Messenger) -> Body:
    """The body of Telegram's sendMessage."""
    return {"chat_id": messenger.chat, "text": text, "disable_web_page_preview": True}


BODIES: dict[str, Callable[[str, Messenger], Body]] = {"discord": discord, "slack": slack, "telegram": telegram}


def messenger_named(typed: str, telegram_server: str = TELEGRAM) -> Messenger:
    """A messenger as typed: discord:URL, slack:URL or telegram:TOKEN@CHAT. Raises UnknownName or BadInput, which show no secret."""
    kind, _, place = typed.partition(":")
    if kind not in BODIES:
        raise UnknownName("messenger", kind if kind.isalpha() else "that was given", BODIES)
    if kind != "telegram":
        require_address(place, f"--notify {kind}:URL")
        return Messenger(kind, place)
    token, _, chat = place.rpartition("@")
    if not token or not chat:
        raise BadInput("--notify telegram must be telegram:TOKEN@CHAT, the bot's token and the number or name of the chat.")
    named = chat if chat.lstrip("-").isdigit() else f"@{chat}"
    return Messenger(kind, f"{telegram_server}/bot{quote(token.rstrip('@'), safe=':')}/sendMessage", named)


def send(to: Messenger, notice: Mapping[str, Any], patience: RetryPolicy = PATIENCE) -> None:
    """Send the text of a notice. Raises FetchFailed where it isn't taken, naming the host alone."""
    text = str(notice["text"])[: LONGEST[to.kind]]
    post(to.address, BODIES[to.kind](text, to), patience)
