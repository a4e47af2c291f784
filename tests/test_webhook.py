"""The webhook client against a server on this machine: what is sent, how often it is tried, and that its address stays secret."""

import logging
import traceback

import pytest
from listening import SECRET, Listener

from core.errors import BadInput, FetchFailed
from sources.http import RetryPolicy
from sources.webhook import post, require_address

QUICK = RetryPolicy(attempts=3, first_wait=0.0, longest_wait=0.0, timeout=5.0, pause=0.0)


def test_the_body_arrives_whole(listener: Listener) -> None:
    post(listener.address, {"event": "crossed", "level": 0.6}, QUICK)
    assert listener.heard == [(f"/hooks/{SECRET}?token={SECRET}", {"event": "crossed", "level": 0.6})]


def test_a_busy_server_is_tried_again_and_not_for_ever(listener: Listener) -> None:
    listener.answers = [503, 429, 204]
    post(listener.address, {}, QUICK)
    assert len(listener.heard) == 3
    listener.answers = [503]
    with pytest.raises(FetchFailed, match="HTTP 503"):
        post(listener.address, {}, QUICK)
    assert len(listener.heard) == 6


@pytest.mark.parametrize("status", [302, 400, 404])
def test_a_refusal_is_final(listener: Listener, status: int) -> None:
    listener.answers = [status]
    with pytest.raises(FetchFailed, match=f"127.0.0.1 didn't take the message: HTTP {status}"):
        post(listener.address, {}, QUICK)
    assert len(listener.heard) == 1


def test_no_error_and_no_log_line_holds_the_address(listener: Listener, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO)
    listener.answers = [500, 404]
    with pytest.raises(FetchFailed) as refused:
        post(listener.address, {}, QUICK)
    gone = listener.address.replace(str(listener.server_port), "1")
    with pytest.raises(FetchFailed, match="ConnectError") as unreachable:
        post(gone, {}, QUICK)
    said = caplog.text + "".join("".join(traceback.format_exception(told.value)) for told in (refused, unreachable))
    assert SECRET not in said


@pytest.mark.parametrize(
    "address", ["hooks.example.org/x", "ftp://example.org", "https://?token=1", "http://[bad", "http://example.org:port/"]
)
def test_what_is_no_address_is_refused_without_being_shown(address: str) -> None:
    with pytest.raises(BadInput, match="--webhook must be an address") as told:
        require_address(address)
    assert address not in str(told.value)
