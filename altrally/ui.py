"""MLflow's own pages over the runs of a home, on this machine only, opened at a view prepared for comparing.

They are served by gunicorn, not by MLflow's default server, because the latter has the routes of MLflow's Assistant, by which
anyone on the machine can have programs run as the user who started the pages.
"""

import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from tempfile import TemporaryFile
from typing import IO

from altrally import terminal as stopping
from core.errors import StoreUnusable
from core.home import folder_address
from models.champion import ENVIRONMENT
from sources.reach import is_healthy, require_free_port

HOST = "127.0.0.1"
STARTS_WITHIN = 60.0
"""Seconds that MLflow may take to answer: importing it takes some of them on a slow disk."""

LOOK_AGAIN = 0.1
STOPPED_BY = (signal.SIGTERM, signal.SIGHUP)
CLOSED = stopping.farewell("ui", Path())
INSTALLED = Path(sys.prefix)
"""Where the server starts. Python and gunicorn run files of certain names that lie there; a home may have been given by others."""

SERVER_OPTIONS = "--threads=8 --no-control-socket"
"""A control socket would stay in the user's folder when the server is killed."""

LEFT_OUT = ("TRACKING_URI", "REGISTRY_URI", "GUNICORN_CMD_ARGS")
"""How variables of the environment end that would send the server to another store, or configure another server."""


@contextmanager
def mlflow_pages(tracking_uri: str, port: int, folder: Path) -> Iterator["subprocess.Popen[bytes]"]:
    """The process that serves MLflow's pages, once they answer; it is killed at the end, and with this process.

    folder: that of the home. Raises BadInput where the port isn't free, StoreUnusable where MLflow doesn't
    start.
    """
    require_free_port(HOST, port)
    for number in STOPPED_BY:
        signal.signal(number, lambda *_: stopping.end_process(lambda: CLOSED))
    with TemporaryFile() as log:
        process = started(tracking_uri, port, folder, log)
        try:
            with stopping.killed_with_us(process.pid):
                wait_until_healthy(process, port, log)
                yield process
        finally:
            stopping.kill_group(process.pid)
            process.wait()


def address_of(port: int) -> str:
    """Where the pages are."""
    return f"http://{HOST}:{port}"


def started(tracking_uri: str, port: int, folder: Path, log: IO[bytes]) -> "subprocess.Popen[bytes]":
    """MLflow's server in a process group of its own: a terminal's Ctrl-C doesn't reach it, so it prints no traceback."""
    server = ("--backend-store-uri", tracking_uri, "--host", HOST, "--port", str(port), "--workers", "1")
    artifacts = ("--artifacts-destination", folder_address(folder / "mlartifacts"))
    return subprocess.Popen(
        [sys.executable, "-m", "mlflow", "server", *server, *artifacts, f"--gunicorn-opts={SERVER_OPTIONS}"],
        stdin=subprocess.DEVNULL,
        stdout=log,
        stderr=subprocess.STDOUT,
        cwd=INSTALLED,
        env=environment(os.environ),
        start_new_session=True,
    )


def environment(ours: Mapping[str, str]) -> dict[str, str]:
    """What MLflow's server is started with: no telemetry, no job runner, no gateway, and no address of another store."""
    return {**ENVIRONMENT, **{name: value for name, value in ours.items() if not name.endswith(LEFT_OUT)}}


def wait_until_healthy(process: "subprocess.Popen[bytes]", port: int, log: IO[bytes]) -> None:
    """Wait until the pages answer. Raises StoreUnusable, with the last line MLflow printed, where it ended or takes too long."""
    until = time.monotonic() + STARTS_WITHIN
    while not is_healthy(address_of(port)):
        if process.poll() is not None or time.monotonic() > until:
            raise StoreUnusable(f"MLflow's pages don't start: {last_line(log)}")
        time.sleep(LOOK_AGAIN)


def last_line(log: IO[bytes]) -> str:
    """The last line of a log, or that it is empty."""
    log.seek(0)
    lines = log.read().decode("utf-8", "replace").strip().splitlines()
    return lines[-1].strip() if lines else "it printed nothing."


def serve_until_stopped(process: "subprocess.Popen[bytes]") -> None:
    """Wait until the user stops it. Raises StoreUnusable where MLflow ends by itself."""
    process.wait()
    raise StoreUnusable("MLflow's pages ended. Start them again with `altrally ui`.")
