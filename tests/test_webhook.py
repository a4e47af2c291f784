"""The webhook client against a server on this machine: what is sent, how often it is tried, and that its address stays secret."""

import json
import logging
import threading
import traceback
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import pytest

from sources.errors import BadInput, FetchFailed
from sources.http import Patience
from sources.webhook import post, require_address

QUICK = Patience(attempts=3, first_wait=0.0, longest_wait=0.0, timeout=5.0, pause=0.0)
SECRET = "T000-B000-tok3n"


class Listener(ThreadingHTTPServer):
    """Answers each POST with the next of `answers`, the last one for ever; keeps what it was told."""

    daemon_threads = True

    def __init__(self, *answers: int) -> None:
        self.answers, self.heard = list(answers), list[tuple[str, dict[str, object]]]()
        super().__init__(("127.0.0.1", 0), Handler)

    @property
    def address(self) -> str:
        return f"http://127.0.0.1:{self.server_port}/hooks/{SECRET}?token={SECRET}"


class Handler(BaseHTTPRequestHandler):
    server: Listener

    def do_POST(self) -> None:
        body = self.rfile.read(int(self.headers["Content-Length"]))
        self.server.heard.append((self.path, json.loads(body)))
        answers = self.server.answers
        self.send_response_only(answers.pop(0) if len(answers) > 1 else answers[0])
        self.send_header("Content-Length", "0")
        self.end_headers()

    def log_message(self, *args: object) -> None:
        pass


@pytest.fixture
def listener() -> Iterator[Listener]:
    with Listener(200) as server:
        threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02}, daemon=True).start()
        yield server
        server.shutdown()


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
