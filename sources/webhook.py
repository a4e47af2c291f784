"""Tell a webhook: one JSON body, tried a few times. Its address often is a secret, so nothing that is said or logged holds it."""

import logging
from collections.abc import Mapping
from typing import Any
from urllib.parse import urlsplit

import httpx

from core.errors import BadInput, FetchFailed
from sources.http import BUSY, RetryPolicy, TransientError, retries, retry_after

PATIENCE = RetryPolicy(attempts=3, first_wait=1.0, longest_wait=10.0, timeout=10.0, pause=0.0)


def require_address(address: str, option: str = "--webhook") -> str:
    """The host of a webhook, which is all of its address that may be shown. Raises BadInput where it isn't one."""
    try:
        parts = urlsplit(address)
        usable = parts.scheme in ("http", "https") and parts.hostname and (parts.port is None or parts.port > 0)
    except ValueError:
        usable = None
    if not usable:
        raise BadInput(f"{option} must be an address that begins with https:// or http:// and names a host.")
    return str(parts.hostname)


def post(address: str, body: Mapping[str, Any], patience: RetryPolicy = PATIENCE) -> None:
    """POST `body` until it is taken. Raises BadInput, or FetchFailed where it isn't taken, naming the host alone."""
    host, failure = require_address(address), ""
    logging.getLogger("httpx").addFilter(not_posted)
    try:
        for attempt in retries(patience):
            with attempt:
                failure = refusal(address, body, patience)
    except TransientError as passing:
        failure = str(passing)
    if failure:
        raise FetchFailed(f"The webhook at {host} didn't take the message: {failure}.")


def refusal(address: str, body: Mapping[str, Any], patience: RetryPolicy) -> str:
    """Why it wasn't taken and won't be, empty if it was. Raises Passing for what may pass."""
    try:
        answer = httpx.post(address, json=dict(body), timeout=patience.timeout, follow_redirects=False)
    except httpx.TimeoutException:
        answer, reason = None, f"no answer within {patience.timeout:.0f} s"
    except httpx.HTTPError as error:
        answer, reason = None, type(error).__name__
    # Raised out here, so that no exception chain holds the request and its address.
    if answer is None:
        raise TransientError(reason, reached=False)
    if answer.status_code in BUSY:
        raise TransientError(f"HTTP {answer.status_code}", wait=retry_after(answer.headers))
    return "" if answer.is_success else f"HTTP {answer.status_code}"


def not_posted(record: logging.LogRecord) -> bool:
    """False for httpx's line about a POST, which holds its address."""
    return not (isinstance(record.args, tuple) and record.args[:1] == ("POST",))
