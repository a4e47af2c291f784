"""Ctrl-C, typed on a real terminal in every phase of the long commands: said at once, gone within two seconds, and true."""

import fcntl
import os
import pty
import shutil
import signal
import socket
import subprocess
import sys
import termios
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from time import perf_counter

import pytest
from faulting import World, content, orphans, statuses
from invoking import Invoke
from places import ROOT

from altrally.cli import app
from altrally.terminal import GOES_ON, farewell
from core.home import Home
from sources.reach import is_healthy
from sources.store import Store
from training.tracking import TrackingPlace, tracking

GONE_WITHIN = 2.0
PROGRAM = "from altrally.cli import run; run()"
TRAIN = ("train", "--model", "momentum", "--model", "logit")


@dataclass
class Terminal:
    """A command on a terminal of its own, and what it has shown so far."""

    process: subprocess.Popen[bytes]
    screen: int
    shown: str = ""

    def read(self) -> bool:
        """Read on; False once nothing will come."""
        try:
            more = os.read(self.screen, 65_536)
        except OSError:  # Linux: nobody has the other end open any more
            return False
        self.shown += more.decode("utf-8", "replace")
        return bool(more)

    def until(self, label: str) -> None:
        """Read until the progress bar shows a label."""
        while label not in self.shown:
            assert self.read(), self.shown

    def interrupted(self) -> float:
        """Type Ctrl-C; the seconds until the process is gone."""
        self.shown, start = "", perf_counter()
        os.write(self.screen, b"\x03")
        self.process.wait(60)
        seconds = perf_counter() - start
        while self.read():
            pass
        return seconds


@contextmanager
def typed(*words: object) -> Iterator[Terminal]:
    """A command on a terminal that controls it, as in a shell."""
    screen, inner = pty.openpty()
    command = [sys.executable, "-c", PROGRAM, *map(str, words)]

    def take_terminal() -> None:
        fcntl.ioctl(inner, termios.TIOCSCTTY, 0)

    environment = os.environ | {"TERM": "xterm", "COLUMNS": "200"}
    process = subprocess.Popen(
        command, stdin=inner, stdout=inner, stderr=inner, env=environment, start_new_session=True, preexec_fn=take_terminal
    )
    os.close(inner)
    try:
        yield Terminal(process, screen)
    finally:
        with suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)
        process.wait()
        os.close(screen)


def left_of(group: int) -> list[str]:
    """Processes of a group that are still there, those that only clear up after the others aside."""
    listed = subprocess.run(["ps", "-eo", "pgid=,stat=,args="], capture_output=True, text=True, check=True).stdout
    found = [line.split(None, 2) for line in listed.splitlines()]
    return [args for pgid, state, args in found if pgid == str(group) and state[0] != "Z" and "resource_tracker" not in args]


@pytest.fixture
def fetched(simulated_home: Path, tmp_path: Path) -> Path:
    """The simulated market of the demonstration, in a home of its own."""
    shutil.copy(simulated_home / "store.duckdb", tmp_path)
    return tmp_path


SWEEP = """
trials = 40
models = ["logit"]
columns = ["breadth", "liquidity", "volume", "crypto_state"]
prior_sd = [0.3, 1.0]
first_test = 2022-01-01
"""
PHASES = {
    "train, features": (TRAIN, "building features", "Nothing of this training is kept."),
    "train, walk-forward": (TRAIN, "walk-forward", "Nothing of this training is kept."),
    "train, null tests": (TRAIN, "null by", "Nothing of this training is kept."),
    "verify": (("verify", "--model", "momentum"), "building features", "What was tried stays counted."),
    "verify, null tests": (("verify", "--model", "logit"), "null by", "What was tried stays counted."),
    "verify, trees in processes": (("verify", "--model", "boosted"), "walk-forward: boosted", "What was tried stays counted."),
    "leakcheck in processes": (("leakcheck",), "cutting", "The same command starts anew."),
    "audit": (("audit",), "cascade", "The same command starts anew."),
    "power in processes": (("power", "--markets", "4"), "markets", "Finished markets are kept"),
    "sweep": (("sweep", "sweep.toml"), "building features", "What was searched is kept"),
}


QUICK = ("train, features", "train, null tests", "leakcheck in processes", "power in processes", "sweep")


@pytest.mark.parametrize("phase", [phase if phase in QUICK else pytest.param(phase, marks=pytest.mark.long) for phase in PHASES])
def test_a_long_command_says_so_at_once_and_is_gone(fetched: Path, monkeypatch: pytest.MonkeyPatch, phase: str) -> None:
    words, label, said = PHASES[phase]
    (fetched / "sweep.toml").write_text(SWEEP)
    monkeypatch.chdir(fetched)
    monkeypatch.setenv("PYTHONPATH", str(ROOT))
    with typed("--home", fetched, *words) as terminal:
        terminal.until(label)
        seconds = terminal.interrupted()
        assert left_of(terminal.process.pid) == []
    assert seconds < GONE_WITHIN
    assert terminal.process.returncode == 1
    after = terminal.shown.partition("Stopping ...")[2].splitlines()
    assert "Stopping ..." in terminal.shown
    assert after[1].startswith("altrally: Stopped. ")
    assert said in after[1]
    assert "Traceback" not in terminal.shown
    assert "Warning" not in terminal.shown
    assert "\x1b[?25h" in terminal.shown
    with Store.open(fetched / "store.duckdb", read_only=True) as store:
        assert store.damage() is None


def test_a_fetch_that_was_stopped_goes_on_and_ends_as_if_it_had_not_been(world: World, tmp_path: Path, altrally: Invoke) -> None:
    words = ("--home", tmp_path / "home", "fetch", "--provider", "files", "--path", world.drop)
    with typed(*words) as terminal:
        terminal.until("━")  # the bar itself: a label may be gone before it is drawn
        assert terminal.interrupted() < GONE_WITHIN
    assert "What came is stored; the same command goes on from there." in terminal.shown
    assert altrally(*words).code == 0
    assert content(Home(tmp_path / "home")) == content(world.fetched)


def test_a_home_in_which_a_training_was_stopped_is_whole(fetched: Path, altrally: Invoke) -> None:
    with typed("--home", fetched, *TRAIN) as terminal:
        terminal.until("walk-forward")
        terminal.interrupted()
    assert altrally("--home", fetched, "repair").code == 0
    assert statuses(Home(fetched)) == []
    assert orphans(Home(fetched)) == []


def test_what_is_said_of_a_training_is_what_was_kept(tmp_path: Path) -> None:
    assert "Nothing of this training is kept" in farewell("train", tmp_path)
    (tmp_path / "spool").mkdir()
    for name in ("a.lock", "a.new"):
        (tmp_path / "spool" / name).touch()
    assert "Nothing of this training is kept" in farewell("train", tmp_path)
    (tmp_path / "spool" / "a").mkdir()
    assert "What was learnt is kept, and the next training logs it." in farewell("train", tmp_path)
    assert farewell(None, Path("~nobody-of-this-name")) == "Stopped. The same command starts anew."


def test_only_commands_that_can_go_on_say_so() -> None:
    assert {command for command, words in GOES_ON.items() if "goes on" in words} == {"fetch", "sweep", "power"}
    assert set(GOES_ON) <= {command.callback.__name__ for command in app.registered_commands if command.callback}


def test_what_the_caller_does_with_the_signal_is_as_before_afterwards(altrally: Invoke, tmp_path: Path) -> None:
    handler, mask = signal.getsignal(signal.SIGINT), signal.pthread_sigmask(signal.SIG_BLOCK, set())
    altrally("--home", tmp_path / "none", "status")
    assert signal.getsignal(signal.SIGINT) is handler
    assert signal.pthread_sigmask(signal.SIG_BLOCK, set()) == mask
    assert signal.set_wakeup_fd(-1) == -1


WORKER = """
import re, signal
from pathlib import Path
from models.parallel import run_in_parallel

def blocks_interrupts(_):
    blocked = int(re.search(r"SigBlk:\\s+(\\w+)", Path("/proc/self/status").read_text())[1], 16)
    return bool(blocked >> (signal.SIGINT - 1) & 1)

if __name__ == "__main__":
    print(all(run_in_parallel(blocks_interrupts, [(part,) for part in range(4)], processes=2)))
"""


def test_workers_never_hear_ctrl_c_from_their_first_moment(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "worker.py").write_text(WORKER)
    monkeypatch.setenv("PYTHONPATH", str(ROOT))
    done = subprocess.run([sys.executable, tmp_path / "worker.py"], capture_output=True, text=True, check=True)
    assert done.stdout == "True\n"


def test_a_process_that_was_told_to_ignore_it_goes_on() -> None:
    program = (
        "import os, signal\n"
        "signal.signal(signal.SIGINT, signal.SIG_IGN)\n"
        "from altrally.terminal import stoppable\n"
        "with stoppable(lambda: 'never'):\n"
        "    os.kill(os.getpid(), signal.SIGINT)\n"
        "print('went on')\n"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=False)
    assert (done.returncode, done.stdout, done.stderr) == (0, "went on\n", "")


@pytest.fixture(scope="module")
def with_a_run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A home in which one run is tracked."""
    home = tmp_path_factory.mktemp("tracked")
    place = TrackingPlace(f"sqlite:///{home / 'mlruns' / 'mlflow.db'}", home / "mlruns" / "artifacts", home)
    with tracking(place) as tracker:
        run = tracker.client.create_run(tracker.experiment_id)
        tracker.client.set_terminated(run.info.run_id)
    return home


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def test_the_pages_of_mlflow_end_with_ctrl_c_and_leave_nothing_behind(with_a_run: Path) -> None:
    port, before = free_port(), sorted(with_a_run.iterdir())
    with typed("--home", with_a_run, "ui", "--port", port) as terminal:
        terminal.until("Ctrl-C ends it.")
        assert f"http://127.0.0.1:{port}/#/experiments/1/runs?" in terminal.shown
        assert is_healthy(f"http://127.0.0.1:{port}")
        seconds = terminal.interrupted()
    assert seconds < GONE_WITHIN
    assert "MLflow's pages are closed; the runs stay." in terminal.shown
    assert "Traceback" not in terminal.shown
    assert not is_healthy(f"http://127.0.0.1:{port}")
    assert sorted(with_a_run.iterdir()) == before


def test_a_port_in_use_is_one_line(with_a_run: Path, altrally: Invoke) -> None:
    with socket.socket() as other:
        other.bind(("127.0.0.1", 0))
        other.listen()
        port = other.getsockname()[1]
        ran = altrally("--home", with_a_run, "ui", "--port", port)
    assert (ran.code, ran.err.count("\n")) == (1, 1)
    assert f"--port {port} isn't free on 127.0.0.1: another program uses it." in ran.err


def test_a_home_without_runs_has_no_pages_and_a_server_that_is_down_is_one_line(
    with_a_run: Path, tmp_path: Path, altrally: Invoke
) -> None:
    for words, said in (
        (("--home", tmp_path / "none", "ui"), "Nothing has been trained in this home yet."),
        (("--home", with_a_run, "--tracking-server", "http://127.0.0.1:9", "ui"), "No tracking server answers"),
    ):
        ran = altrally(*words)
        assert (ran.code, ran.err.count("\n")) == (1, 1)
        assert said in ran.err
