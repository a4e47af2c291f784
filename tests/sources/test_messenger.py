"""What each chat service is sent, against a server on this machine; and that no token or address is ever shown."""

import re
from pathlib import Path

import pytest
from listening import SECRET, Listener

from altrally.watch import Watch
from core.errors import BadInput, FetchFailed
from core.home import Home
from sources.http import RetryPolicy
from sources.messenger import LONGEST, messenger_named, send

QUICK = RetryPolicy(attempts=2, first_wait=0.0, longest_wait=0.0, timeout=5.0, pause=0.0)
TEXT = "P(rally within 60 days) rose to 0.6 <@everyone> & more"
TOKEN = "123456:AA-secret_token"


def server_of(listener: Listener) -> str:
    return f"http://127.0.0.1:{listener.server_port}"


def test_discord_takes_content_and_mentions_nobody(listener: Listener) -> None:
    send(messenger_named(f"discord:{listener.address}"), {"text": TEXT, "event": "crossed"}, QUICK)
    assert listener.heard == [(f"/hooks/{SECRET}?token={SECRET}", {"content": TEXT, "allowed_mentions": {"parse": []}})]


def test_slack_takes_text_with_its_own_signs_escaped(listener: Listener) -> None:
    send(messenger_named(f"slack:{listener.address}"), {"text": TEXT}, QUICK)
    assert listener.heard[0][1] == {"text": "P(rally within 60 days) rose to 0.6 &lt;@everyone&gt; &amp; more"}


@pytest.mark.parametrize(("chat", "sent"), [("-100123", "-100123"), ("rallies", "@rallies"), ("@rallies", "@rallies")])
def test_telegram_takes_a_chat_and_a_text_at_the_bots_address(listener: Listener, chat: str, sent: str) -> None:
    send(messenger_named(f"telegram:{TOKEN}@{chat}", server_of(listener)), {"text": TEXT}, QUICK)
    assert listener.heard == [
        (f"/bot{TOKEN}/sendMessage", {"chat_id": sent, "text": TEXT, "disable_web_page_preview": True}),
    ]


@pytest.mark.parametrize("kind", sorted(LONGEST))
def test_a_message_is_cut_to_what_the_service_takes(listener: Listener, kind: str) -> None:
    place = f"{TOKEN}@1" if kind == "telegram" else listener.address
    send(messenger_named(f"{kind}:{place}", server_of(listener)), {"text": "x" * 50_000}, QUICK)
    (_, body), *_ = listener.heard
    assert len(str(body.get("content", body.get("text")))) == LONGEST[kind]


def test_a_refusal_shows_the_host_alone(listener: Listener) -> None:
    listener.answers = [401]
    with pytest.raises(FetchFailed, match=re.escape("127.0.0.1 didn't take the message: HTTP 401")) as refused:
        send(messenger_named(f"telegram:{TOKEN}@1", server_of(listener)), {"text": "x"}, QUICK)
    assert "secret" not in str(refused.value)


@pytest.mark.parametrize(
    "typed",
    [f"telegram:{TOKEN}", f"telegram:{TOKEN}@", "slack:hooks.slack.example/x", f"matrix:{SECRET}", f"https://{SECRET}", SECRET],
)
def test_what_is_no_messenger_is_refused_without_being_shown(typed: str) -> None:
    with pytest.raises(BadInput) as refused:
        messenger_named(typed)
    assert SECRET not in str(refused.value)
    assert "secret" not in str(refused.value)


def test_one_place_is_told(tmp_path: Path, listener: Listener) -> None:
    with pytest.raises(BadInput, match="give one"):
        Watch(Home(tmp_path), webhook=listener.address, messenger=messenger_named(f"slack:{listener.address}"))
