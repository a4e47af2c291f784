"""MLflow's own pages over the runs of a home, on this machine only, opened at a view prepared for comparing."""

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
from models.champion import ENVIRONMENT
from sources.reach import is_healthy, require_free_port

HOST = "127.0.0.1"
STARTS_WITHIN = 60.0
"""Seconds that MLflow may take to answer: importing it takes some of them on a slow disk."""

LOOK_AGAIN = 0.1
STOPPED_BY = (signal.SIGTERM, signal.SIGHUP)
CLOSED = stopping.farewell("ui", Path())


@contextmanager
def mlflow_pages(tracking_uri: str, port: int, folder: Path) -> Iterator["subprocess.Popen[bytes]"]:
    """The process that serves MLflow's pages, once they answer; it is killed at the end, and with this process.

    folder: where it works; it writes nothing there. Raises BadInput where the port isn't free, StoreUnusable where MLflow doesn't
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
    return subprocess.Popen(
        [sys.executable, "-m", "mlflow", "server", *server],
        stdin=subprocess.DEVNULL,
        stdout=log,
        stderr=subprocess.STDOUT,
        cwd=folder,
        env=environment(os.environ),
        start_new_session=True,
    )


def environment(ours: Mapping[str, str]) -> dict[str, str]:
    """What MLflow's server is started with: no telemetry, no job runner, and no address of another store."""
    return {**ENVIRONMENT, **{name: value for name, value in ours.items() if not name.endswith(("TRACKING_URI", "REGISTRY_URI"))}}


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
