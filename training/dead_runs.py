"""Closes the MLflow runs of processes that died: KILLED runs, FAILED models, and their abandoned temporary folders."""

import os
import platform
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pandas as pd

from core.files import is_abandoned, remove_abandoned_folders
from core.home import hidden_tag
from models.champion import experiments_of

DEAD_AFTER = pd.Timedelta(days=1)


def close_dead_runs(client: Any, home: Path) -> int:
    """Mark RUNNING runs of dead processes as KILLED and their unfinished models as FAILED; return the number of runs."""
    running = client.search_runs(experiments_of(client), "attributes.status = 'RUNNING'", max_results=1000)
    dead = [run.info.run_id for run in running if is_dead(home, run.data.tags, pd.Timestamp(run.info.start_time, unit="ms"))]
    models = client.search_logged_models(experiments_of(client), max_results=50) if dead else []
    for model in models:
        if model.source_run_id in dead and model.status == "PENDING":
            client.finalize_logged_model(model.model_id, "FAILED")
    for run_id in dead:
        client.set_terminated(run_id, "KILLED")
    remove_abandoned_folders(home)
    return len(dead)


def is_dead(home: Path, tags: Mapping[str, str], started: pd.Timestamp) -> bool:
    """Whether the process of a run has ended on this machine, or the run has lasted longer than any training does.

    The process id may belong to another process now, but its temporary folder is then abandoned.
    """
    if pd.Timestamp.now("UTC").tz_localize(None) - started > DEAD_AFTER:
        return True
    if hidden_tag(tags, "host") != platform.node():
        return False
    return not is_alive(int(hidden_tag(tags, "pid", "0"))) or is_abandoned(home, hidden_tag(tags, "room"))


def is_alive(pid: int) -> bool:
    """Whether a process with this id runs here; True on systems where checking could end the process."""
    if os.name != "posix":
        return True
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    except PermissionError:
        return True
    return pid > 0
