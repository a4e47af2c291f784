"""`altrally ui`: MLflow's pages send nothing, start no program, and run no file that lies in a home."""

import json
import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from shutil import which
from typing import Any

import httpx
import pytest
from team_server import free_port
from training_jobs import place_in

from training.tracking import tracking

PROGRAM = "from altrally.cli import run; run()"
ASSISTANT = "/ajax-api/3.0/mlflow/assistant"
AGENTS = ("claude", "codex", "docker")
RUN_WHERE_THEY_LIE = ("gunicorn.conf.py", "yaml.py", "click.py", "flask.py", "sitecustomize.py")
"""Names of files that Python or gunicorn would run from the folder they start in."""

TELLS_A_TEST = (
    "PYTEST_",
    "CI",
    "GITHUB_ACTIONS",
    "GITLAB_CI",
    "JENKINS_URL",
    "BUILDKITE",
    "TEAMCITY_VERSION",
    "DO_NOT_TRACK",
    "MLFLOW_",
)
"""How variables begin by which MLflow knows that it is tested, and then sends nothing by itself."""


@dataclass(frozen=True)
class Pages:
    """The pages of a home: their address, the user's own folder, and where a program or file that is run leaves its mark."""

    address: str
    user: Path
    marks: Path

    def ask(self, method: str, path: str, **more: Any) -> httpx.Response:
        """What they answer, to a program that isn't a browser."""
        return httpx.request(method, f"{self.address}{path}", timeout=60, **more)


def outside(folder: Path) -> dict[str, str]:
    """The environment of a user who tests nothing."""
    ours = {name: value for name, value in os.environ.items() if not name.startswith(TELLS_A_TEST)}
    return ours | {"HOME": str(folder), "XDG_CONFIG_HOME": str(folder / "config")}


@pytest.fixture(scope="module")
def pages(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Pages]:
    """The pages of a home that somebody gave, for a user who has coding assistants installed."""
    home, user, marks = (tmp_path_factory.mktemp(name) for name in ("given", "user", "marks"))
    with tracking(place_in(home)) as tracker:
        run = tracker.client.create_run(tracker.experiment_id)
        tracker.client.set_terminated(run.info.run_id)
    for name in RUN_WHERE_THEY_LIE:
        (home / name).write_text(f"import pathlib\npathlib.Path({str(marks / name)!r}).touch()\n")
    for name in AGENTS:
        (user / name).write_text(f"#!/bin/sh\ntouch '{marks / name}'\n")
        (user / name).chmod(0o755)
    environment = outside(user) | {"PATH": os.pathsep.join([str(user), os.environ["PATH"]])}
    assert which("claude", path=environment["PATH"]) == str(user / "claude")
    port = free_port()
    command = [sys.executable, "-c", PROGRAM, "--home", str(home), "ui", "--port", str(port)]
    process = subprocess.Popen(command, env=environment, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, cwd=user)
    assert process.stdout is not None
    shown: list[str] = []
    try:
        while "Ctrl-C ends it." not in "".join(shown):
            shown.append(process.stdout.readline())
            assert shown[-1], shown
        yield Pages(f"http://127.0.0.1:{port}", user, marks)
    finally:
        process.send_signal(signal.SIGTERM)
        process.wait()
        process.stdout.close()


def test_the_pages_are_served_and_keep_other_sites_out(pages: Pages) -> None:
    path = "/ajax-api/2.0/mlflow/experiments/get-by-name?experiment_name=altrally"
    assert "MLflow" in pages.ask("GET", "/").text
    assert pages.ask("GET", path).json()["experiment"]["name"] == "altrally"
    assert pages.ask("GET", path, headers={"Host": "elsewhere.example"}).status_code == 403
    experiment = {"experiment_id": "1"}
    origin = {"Origin": "http://elsewhere.example"}
    assert pages.ask("POST", "/ajax-api/2.0/mlflow/experiments/delete", json=experiment, headers=origin).status_code == 403


def test_mlflows_assistant_is_not_there_and_no_program_is_started(pages: Pages) -> None:
    from mlflow.server.assistant.api import assistant_router

    routes = [(method, route.path) for route in assistant_router.routes for method in route.methods]  # type: ignore[attr-defined]
    assert len(routes) > 5, "these are the paths by which MLflow's default server runs programs"
    for method, path in routes:
        assert path.startswith(ASSISTANT)
        answer = pages.ask(method, path.replace("{", "").replace("}", ""), json={"message": "hello", "context": {}})
        assert answer.status_code == 404, (method, path, answer.text)
    assert not [name for name in AGENTS if (pages.marks / name).exists()]
    assert not (pages.user / ".mlflow").exists()


def test_mlflows_gateway_to_language_models_is_off(pages: Pages) -> None:
    assert pages.ask("POST", "/gateway/mlflow/v1/chat/completions", json={"model": "any", "messages": []}).status_code == 404
    assert pages.ask("GET", "/ajax-api/3.0/mlflow/server-info").json()["features_enabled"] == {"gateway": False}


def test_the_pages_tell_the_browser_to_report_nothing_and_take_no_report(pages: Pages) -> None:
    path = "/ajax-api/3.0/mlflow/ui-telemetry"
    assert pages.ask("GET", path).json() == {"disable_ui_telemetry": True, "disable_ui_events": [], "ui_rollout_percentage": 0}
    assert pages.ask("POST", path, json={"records": [{"event_name": "seen"}]}).json() == {"status": "disabled"}
    assert not list(pages.user.rglob("telemetry.json")), "no number of this installation is kept"


def test_no_file_of_a_home_is_run(pages: Pages) -> None:
    assert not [name for name in RUN_WHERE_THEY_LIE if (pages.marks / name).exists()]


def test_nothing_is_left_in_the_users_folder(pages: Pages) -> None:
    assert {path.name for path in pages.user.iterdir()} == set(AGENTS)


REPORTER = """
import json, os, sys
{before}
import mlflow
from mlflow.telemetry.client import get_telemetry_client
from mlflow.telemetry.utils import is_telemetry_disabled
{after}
print(json.dumps([get_telemetry_client() is not None, is_telemetry_disabled()]))
"""


@pytest.mark.parametrize(
    ("before", "after", "reports", "disabled"),
    [
        ("", "", True, False),
        ("from training.tracking import quieten_mlflow; quieten_mlflow()", "", False, True),
        ("", "from training.tracking import quieten_mlflow; quieten_mlflow()", True, True),
    ],
    ids=["MLflow alone reports", "not within altrally", "nor once altrally works in a notebook that imported MLflow first"],
)
def test_a_command_reports_nothing_to_mlflows_makers(
    tmp_path: Path, before: str, after: str, reports: bool, disabled: bool
) -> None:
    program = REPORTER.format(before=before, after=after)
    done = subprocess.run(
        [sys.executable, "-c", program], env=outside(tmp_path), capture_output=True, text=True, check=True, cwd=tmp_path
    )
    assert json.loads(done.stdout) == [reports, disabled]
