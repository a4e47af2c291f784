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

from altrally import terminal
from core.errors import StoreUnusable
from core.home import folder_address
from models.champion import ENVIRONMENT
from sources.reach import is_healthy, require_free_port

HOST = "127.0.0.1"
STARTS_WITHIN = 60.0
"""Seconds until MLflow must answer; on a slow disk its import takes some of them."""

POLL_SECONDS = 0.1
STOP_SIGNALS = (signal.SIGTERM, signal.SIGHUP)
FAREWELL = terminal.farewell("ui", Path())
INSTALLED = Path(sys.prefix)
"""Where the server starts. Python and gunicorn run files of certain names that lie there; a home may have been given by others."""

SERVER_OPTIONS = "--threads=8 --no-control-socket"
"""A control socket would stay in the user's folder when the server is killed."""

FOREIGN_VARIABLES = ("TRACKING_URI", "REGISTRY_URI", "GUNICORN_CMD_ARGS")
"""How variables of the environment end that would send the server to another store, or configure another server."""


@contextmanager
def mlflow_pages(tracking_uri: str, port: int, folder: Path) -> Iterator["subprocess.Popen[bytes]"]:
    """The process that serves MLflow's pages, ready to answer; it is killed at the end of the `with`, and with this process.

    folder: that of the home. Raises BadInput where the port isn't free, StoreUnusable where MLflow doesn't start.
    """
    require_free_port(HOST, port)
    for number in STOP_SIGNALS:
        signal.signal(number, lambda *_: terminal.end_process(lambda: FAREWELL))
    with TemporaryFile() as log:
        process = start_server(tracking_uri, port, folder, log)
        try:
            with terminal.killed_with_us(process.pid):
                wait_until_healthy(process, port, log)
                yield process
        finally:
            terminal.kill_group(process.pid)
            process.wait()


def address_of(port: int) -> str:
    """The address of the pages on a port."""
    return f"http://{HOST}:{port}"


def start_server(tracking_uri: str, port: int, folder: Path, log: IO[bytes]) -> "subprocess.Popen[bytes]":
    """Start MLflow's server in its own process group: Ctrl-C in a terminal doesn't reach it, so it prints no traceback."""
    server = ("--backend-store-uri", tracking_uri, "--host", HOST, "--port", str(port), "--workers", "1")
    artifacts = ("--artifacts-destination", folder_address(folder / "mlartifacts"))
    return subprocess.Popen(
        [sys.executable, "-m", "mlflow", "server", *server, *artifacts, f"--gunicorn-opts={SERVER_OPTIONS}"],
        stdin=subprocess.DEVNULL,
        stdout=log,
        stderr=subprocess.STDOUT,
        cwd=INSTALLED,
        env=server_environment(os.environ),
        start_new_session=True,
    )


def server_environment(ours: Mapping[str, str]) -> dict[str, str]:
    """Environment variables of MLflow's server: no telemetry, no job runner, no gateway, and no address of another store."""
    return {**ENVIRONMENT, **{name: value for name, value in ours.items() if not name.endswith(FOREIGN_VARIABLES)}}


def wait_until_healthy(process: "subprocess.Popen[bytes]", port: int, log: IO[bytes]) -> None:
    """Wait until the pages answer. Raises StoreUnusable, with the last line MLflow printed, where it ended or takes too long."""
    deadline = time.monotonic() + STARTS_WITHIN
    while not is_healthy(address_of(port)):
        if process.poll() is not None or time.monotonic() > deadline:
            log.seek(0)
            lines = log.read().decode("utf-8", "replace").strip().splitlines()
            raise StoreUnusable(f"MLflow's pages don't start: {lines[-1].strip() if lines else 'it printed nothing.'}")
        time.sleep(POLL_SECONDS)


def serve_until_stopped(process: "subprocess.Popen[bytes]") -> None:
    """Wait until the user stops the server. Raises StoreUnusable where MLflow ends by itself."""
    process.wait()
    raise StoreUnusable("MLflow's pages ended. Start them again with `altrally ui`.")
