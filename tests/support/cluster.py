"""A dask cluster on loopback: a real scheduler and real workers, each a process of its own."""

import os
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from places import ROOT, SUPPORT

COMMAND = [sys.executable, "-m"]
QUIET = ["--no-dashboard", "--host", "127.0.0.1"]


@dataclass(frozen=True)
class Cluster:
    """Where its scheduler listens, and its processes."""

    scheduler: str
    process: subprocess.Popen[bytes]
    workers: list[subprocess.Popen[bytes]]

    def kill_one(self) -> None:
        """End one worker without a word; nothing starts it again."""
        self.workers[0].kill()
        self.workers[0].wait()

    def kill_scheduler(self) -> None:
        """End the scheduler."""
        self.process.kill()
        self.process.wait()


def once_there(path: Path, function: Callable[..., Any], *words: Any) -> Any:
    """A part that can't be over before a file is there."""
    while not path.exists():
        time.sleep(0.01)
    return function(*words)


@contextmanager
def cluster(folder: Path, workers: int = 2) -> Iterator[Cluster]:
    """A scheduler that waits for `workers`, ended with them."""
    where = folder / "scheduler.json"
    environment = os.environ | {"PYTHONPATH": os.pathsep.join([str(ROOT), str(SUPPORT), str(ROOT / "tests" / "models")])}
    words = {"cwd": folder, "env": environment, "stdout": subprocess.DEVNULL, "stderr": subprocess.DEVNULL}
    here = ["--scheduler-file", str(where)]
    started = [subprocess.Popen([*COMMAND, "distributed.cli.dask_scheduler", *QUIET, *here, "--port", "0"], **words)]  # type: ignore[call-overload]
    one = [*COMMAND, "distributed.cli.dask_worker", *QUIET, *here, "--no-nanny", "--nthreads", "1", "--memory-limit", "0"]
    started += [subprocess.Popen(one, **words) for _ in range(workers)]  # type: ignore[call-overload]
    try:
        from distributed import Client

        with Client(scheduler_file=str(where), timeout=120) as client:
            client.wait_for_workers(workers, timeout=120)
            address = client.scheduler.address
        yield Cluster(address, started[0], started[1:])
    finally:
        for process in started:
            process.kill()
            process.wait()
