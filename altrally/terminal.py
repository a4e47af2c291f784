"""The terminal: plain signs where its encoding lacks others, and Ctrl-C, which ends the process and its workers at once."""

import codecs
import os
import signal
import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from unicodedata import combining, normalize

HANDLER = "altrally.plain_signs"
PLAIN = {
    "●": "o",
    "━": "=",
    "│": "|",
    "·": ".",
    "–": "-",
    "—": "-",
    "−": "-",
    "…": "...",
    "≥": ">=",
    "≤": "<=",
    "×": "x",
    "÷": "/",
    "±": "+/-",
    "→": "->",
    "Σ": "sum",
    "\N{LEFT SINGLE QUOTATION MARK}": "'",
    "\N{RIGHT SINGLE QUOTATION MARK}": "'",
    "\N{LEFT DOUBLE QUOTATION MARK}": '"',
    "\N{RIGHT DOUBLE QUOTATION MARK}": '"',
}
"""ASCII in place of signs we print; of other letters accents are left out, and anything else becomes a question mark."""


def plain_signs() -> None:
    """Make this process print ASCII in place of signs that the encoding of its output lacks."""
    codecs.register_error(HANDLER, replace_unencodable)
    for stream in (sys.stdout, sys.stderr):
        if hasattr(stream, "reconfigure"):
            stream.reconfigure(errors=HANDLER)


def replace_unencodable(error: UnicodeError) -> tuple[str, int]:
    """ASCII for the part of the text that can't be encoded, and the position after it (an error handler of `codecs`)."""
    if not isinstance(error, UnicodeEncodeError):
        raise error
    return "".join(map(plain, error.object[error.start : error.end])), error.end


def plain(sign: str) -> str:
    """One sign as ASCII text."""
    if sign in PLAIN:
        return PLAIN[sign]
    letters = [letter for letter in normalize("NFKD", sign) if not combining(letter)]
    return "".join(letter if letter.isascii() else "?" for letter in letters) or "?"


STOPPING = "Stopping ..."
SHOW_CURSOR = "\r\x1b[K\x1b[?25h"
"""Clears the line of a progress bar and shows the cursor again."""

STARTS_ANEW = "The same command starts anew."
GOES_ON = {
    "fetch": "What came is stored; the same command goes on from there.",
    "sweep": "What was searched is kept; the same command goes on from there.",
    "power": "Finished markets are kept; the same command goes on from there.",
    "ui": "MLflow's pages are closed; the runs stay.",
    "watch": "What is done is kept; the next round does the rest.",
    "demo": "What came is stored; the same command trains anew.",
    "verify": f"{STARTS_ANEW} What was tried stays counted.",
    "train": f"Nothing of this training is kept. {STARTS_ANEW} What was tried stays counted.",
}
WORKING_GROUPS: set[int] = set()
"""Process groups that are killed with this process, besides the processes of multiprocessing."""

TRAINING_KEPT = "What was learnt is kept, and the next training logs it."
ROTATIONS_KEPT = "Rotations that --nulls full has finished are kept; all else starts anew."


def farewell(command: str | None, folder: Path) -> str:
    """One line on what a stopped command leaves in the home `folder` (as typed), and how to go on."""
    folder = Path(os.path.expanduser(folder))  # noqa: PTH111  (this one never fails)
    if command in ("train", "demo") and any(not file.suffix for file in (folder / "spool").glob("*")):
        return f"Stopped. {TRAINING_KEPT}"
    if command == "verify" and any((folder / "cache").glob("*")):
        return f"Stopped. {ROTATIONS_KEPT}"
    return f"Stopped. {GOES_ON.get(command or '', STARTS_ANEW)}"


@contextmanager
def stoppable(last_words: Callable[[], str]) -> Iterator[None]:
    """Inside a `with`, Ctrl-C prints what `last_words` returns and ends this process at once with exit code 1.

    A thread waits for it, because the main thread may be inside a library. A process that ignores Ctrl-C, as one in the background
    does, goes on ignoring it.
    """
    if threading.current_thread() is not threading.main_thread() or signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
        yield
        return
    read_end, write_end = os.pipe()
    os.set_blocking(write_end, False)
    threading.Thread(target=wait_for_signal, args=(read_end, last_words), daemon=True).start()
    former_descriptor = signal.set_wakeup_fd(write_end, warn_on_full_buffer=False)
    former_handler = signal.signal(signal.SIGINT, lambda *_: None)
    try:
        yield
    finally:
        signal.signal(signal.SIGINT, former_handler)
        signal.set_wakeup_fd(former_descriptor)
        os.close(write_end)


def wait_for_signal(read_end: int, last_words: Callable[[], str]) -> None:
    """End the process when SIGINT arrives in the pipe; return when its other end is closed."""
    while number := os.read(read_end, 1):
        if number[0] == signal.SIGINT:
            end_process(last_words)
    os.close(read_end)


def end_process(last_words: Callable[[], str]) -> None:
    """Print that the process stops and `last_words`, kill its workers, and exit with code 1."""
    try:
        write_line((SHOW_CURSOR if os.isatty(2) else "") + STOPPING)
        write_line(f"altrally: {last_words()}")
        end_children()
    finally:
        os._exit(1)


def write_line(line: str) -> None:
    """Write a line to standard error without any buffer or lock."""
    os.write(2, f"{line}\n".encode("ascii", "replace"))


def end_children() -> None:
    """Kill every worker process of this one."""
    multiprocessing = sys.modules.get("multiprocessing.process")
    for child in multiprocessing.active_children() if multiprocessing else ():
        with suppress(ProcessLookupError):
            os.kill(child.pid, signal.SIGKILL)
    for group in tuple(WORKING_GROUPS):
        kill_group(group)


@contextmanager
def killed_with_us(group: int) -> Iterator[None]:
    """Inside a `with`, Ctrl-C also kills the process group `group`."""
    WORKING_GROUPS.add(group)
    try:
        yield
    finally:
        WORKING_GROUPS.discard(group)


def kill_group(group: int) -> None:
    """Kill a process group, if it is still there."""
    with suppress(ProcessLookupError, PermissionError):
        os.killpg(group, signal.SIGKILL)
