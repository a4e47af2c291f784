"""What docs/team/compose.yaml describes, without containers: a real PostgreSQL and a real MLflow server on loopback."""

import os
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml
from places import ROOT

TEAM = ROOT / "docs" / "team"
DATABASE_PASSWORD, ADMIN_PASSWORD = "of the database, not told", "of the admin, not told"
LEAST_SECONDS = 180


@dataclass(frozen=True)
class Team:
    """The server's address, where artifacts lie, and the folder of both programs' logs."""

    address: str
    artifacts: Path
    logs: Path


def program(name: str) -> str | None:
    """A program of PostgreSQL, wherever the newest one is."""
    installed = sorted(Path("/usr/lib/postgresql").glob(f"*/bin/{name}"), key=lambda path: int(path.parts[-3]))
    return shutil.which(name) or (str(installed[-1]) if installed else None)


def unprivileged() -> dict[str, Any]:
    """PostgreSQL refuses to be run by root: then nobody runs it."""
    return {"user": "nobody", "group": "nogroup", "extra_groups": []} if os.geteuid() == 0 else {}


def free_port() -> int:
    """A port of loopback nobody listens on."""
    with socket.socket() as one:
        one.bind(("127.0.0.1", 0))
        return int(one.getsockname()[1])


def wait_for(port: int, process: subprocess.Popen[bytes], log: Path) -> None:
    """Until something listens; what a process that ended instead wrote is the failure."""
    until = time.monotonic() + LEAST_SECONDS
    while time.monotonic() < until:
        if process.poll() is not None:
            raise AssertionError(f"ended with {process.returncode}:\n{log.read_text()[-2000:]}")
        with socket.socket() as one:
            if one.connect_ex(("127.0.0.1", port)) == 0:
                return
        time.sleep(0.05)
    raise AssertionError(f"nothing listens on port {port}:\n{log.read_text()[-2000:]}")


@contextmanager
def running(command: list[str], port: int, log: Path, environment: Mapping[str, str], **how: Any) -> Iterator[None]:
    """A program for as long as it is needed, in a group of its own that is ended with it."""
    with log.open("wb") as out:
        process = subprocess.Popen(command, env=environment, stdout=out, stderr=out, start_new_session=True, **how)
    try:
        wait_for(port, process, log)
        yield
    finally:
        if process.poll() is None:
            os.killpg(process.pid, signal.SIGTERM)
        process.wait(60)


@contextmanager
def database(folder: Path) -> Iterator[dict[str, str]]:
    """A PostgreSQL of its own with an empty database `mlflow`; what libpq must find in the environment to reach it."""
    data, secret, port = folder / "data", folder / "password", free_port()
    secret.write_text(DATABASE_PASSWORD)
    if unprivileged():
        for path in (folder, secret):
            shutil.chown(path, "nobody", "nogroup")
    here = {"cwd": folder, **unprivileged()}
    initdb, postgres, createdb = (str(program(name)) for name in ("initdb", "postgres", "createdb"))
    made = [initdb, "--pgdata", str(data), "--username=mlflow", "--auth=scram-sha-256", f"--pwfile={secret}", "--no-sync"]
    subprocess.run([*made, "--encoding=UTF8"], check=True, capture_output=True, **here)
    reach = {"PGHOST": "127.0.0.1", "PGPORT": str(port), "PGUSER": "mlflow", "PGPASSWORD": DATABASE_PASSWORD}
    command = [postgres, "-D", str(data), "-p", str(port), "-h", "127.0.0.1", "-k", str(folder), "-c", "fsync=off"]
    with running(command, port, folder / "postgres.log", dict(os.environ), **here):
        ready = [createdb, "mlflow"]
        while subprocess.run(ready, env=os.environ | reach, capture_output=True, check=False, cwd=folder).returncode:
            time.sleep(0.1)
        yield reach


def documented_command(artifacts: Path, port: int) -> list[str]:
    """The server's command as the compose file has it, on loopback and with one worker."""
    words = yaml.safe_load((TEAM / "compose.yaml").read_text())["services"]["mlflow"]["command"]
    here = {"--artifacts-destination": artifacts, "--host": "127.0.0.1", "--port": port, "--workers": 1}
    changed = [f"{name}={here[name]}" if (name := word.partition("=")[0]) in here else word for word in words]
    assert changed[0] == "mlflow"
    return [sys.executable, "-m", *changed]


@contextmanager
def team() -> Iterator[Team]:
    """Both, from nothing."""
    with tempfile.TemporaryDirectory(prefix="team") as name:
        folder, port = Path(name), free_port()
        (folder / "postgres").mkdir()
        folder.chmod(0o755)
        settings = {
            "MLFLOW_AUTH_CONFIG_PATH": str(TEAM / "auth.ini"),
            "MLFLOW_AUTH_ADMIN_PASSWORD": ADMIN_PASSWORD,
            "MLFLOW_FLASK_SERVER_SECRET_KEY": "of the server, not told",
            "MLFLOW_DISABLE_TELEMETRY": "true",
            "MLFLOW_ENABLE_AI_GATEWAY": "false",
            "MLFLOW_SERVER_ENABLE_JOB_EXECUTION": "false",
        }
        outside = {name: value for name, value in os.environ.items() if not name.startswith(("MLFLOW_", "PG"))}
        with database(folder / "postgres") as reach:
            command = documented_command(folder / "artifacts", port)
            with running(command, port, folder / "mlflow.log", outside | reach | settings, cwd=folder):
                yield Team(f"http://127.0.0.1:{port}", folder / "artifacts", folder)
