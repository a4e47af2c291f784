"""The terminal: plain signs where its encoding has no others, and Ctrl-C, which ends the process and its workers at once."""

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
"""Signs of ours that ASCII lacks; accents are left out, and anything else becomes a question mark."""


def plain_signs() -> None:
    """From now on what this process prints is shown as well as the terminal can."""
    codecs.register_error(HANDLER, replaced)
    for stream in (sys.stdout, sys.stderr):
        if hasattr(stream, "reconfigure"):
            stream.reconfigure(errors=HANDLER)


def replaced(error: UnicodeError) -> tuple[str, int]:
    """Plain signs for those that couldn't be encoded, and where to go on."""
    if not isinstance(error, UnicodeEncodeError):
        raise error
    return "".join(map(plain, error.object[error.start : error.end])), error.end


def plain(sign: str) -> str:
    """One sign in ASCII."""
    if sign in PLAIN:
        return PLAIN[sign]
    letters = [letter for letter in normalize("NFKD", sign) if not combining(letter)]
    return "".join(letter if letter.isascii() else "?" for letter in letters) or "?"


STOPPING = "Stopping ..."
SHOW_CURSOR = "\r\x1b[K\x1b[?25h"
"""What a terminal is told that showed a progress bar."""

ANEW = "The same command starts anew."
GOES_ON = {
    "fetch": "What came is stored; the same command goes on from there.",
    "sweep": "What was searched is kept; the same command goes on from there.",
    "power": "Finished markets are kept; the same command goes on from there.",
    "ui": "MLflow's pages are closed; the runs stay.",
    "watch": "What is done is kept; the next round does the rest.",
    "demo": "What came is stored; the same command trains anew.",
    "verify": f"{ANEW} What was tried stays counted.",
    "train": f"Nothing of this training is kept. {ANEW} What was tried stays counted.",
}
WORKING_GROUPS: set[int] = set()
"""Process groups that work for this process, besides the processes of multiprocessing."""

LEARNT = "What was learnt is kept, and the next training logs it."
ROTATED = "Rotations that --nulls full has finished are kept; all else starts anew."


def farewell(command: str | None, folder: Path) -> str:
    """What becomes of a command that was stopped in the home `folder` (as typed), in one line."""
    folder = Path(os.path.expanduser(folder))  # noqa: PTH111  (this one never fails)
    if command in ("train", "demo") and any(not kept.suffix for kept in (folder / "spool").glob("*")):
        return f"Stopped. {LEARNT}"
    if command == "verify" and any((folder / "cache").glob("*")):
        return f"Stopped. {ROTATED}"
    return f"Stopped. {GOES_ON.get(command or '', ANEW)}"


@contextmanager
def stoppable(last_words: Callable[[], str]) -> Iterator[None]:
    """Inside a `with`, Ctrl-C ends this process at once with exit code 1, after saying what `last_words` returns.

    One thread waits for it, because the main one may be in the middle of a library's work. A process told to ignore it, as one in
    the background, goes on ignoring it.
    """
    if threading.current_thread() is not threading.main_thread() or signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
        yield
        return
    heard, told = os.pipe()
    os.set_blocking(told, False)
    threading.Thread(target=wait_for_signal, args=(heard, last_words), daemon=True).start()
    former_descriptor = signal.set_wakeup_fd(told, warn_on_full_buffer=False)
    former_handler = signal.signal(signal.SIGINT, lambda *_: None)
    try:
        yield
    finally:
        signal.signal(signal.SIGINT, former_handler)
        signal.set_wakeup_fd(former_descriptor)
        os.close(told)


def wait_for_signal(heard: int, last_words: Callable[[], str]) -> None:
    """End the process when the signal is heard; nothing, once nobody can tell of it any more."""
    while number := os.read(heard, 1):
        if number[0] == signal.SIGINT:
            end_process(last_words)
    os.close(heard)


def end_process(last_words: Callable[[], str]) -> None:
    """Say so, kill what works for this process, and be gone."""
    try:
        write_line((SHOW_CURSOR if os.isatty(2) else "") + STOPPING)
        write_line(f"altrally: {last_words()}")
        end_children()
    finally:
        os._exit(1)


def write_line(line: str) -> None:
    """A line on standard error, past every buffer and lock."""
    os.write(2, f"{line}\n".encode("ascii", "replace"))


def end_children() -> None:
    """Kill every process that works for this one."""
    known = sys.modules.get("multiprocessing.process")
    for child in known.active_children() if known else ():
        with suppress(ProcessLookupError):
            os.kill(child.pid, signal.SIGKILL)
    for group in tuple(WORKING_GROUPS):
        kill_group(group)


@contextmanager
def killed_with_us(group: int) -> Iterator[None]:
    """Inside a `with`, Ctrl-C also kills that process group."""
    WORKING_GROUPS.add(group)
    try:
        yield
    finally:
        WORKING_GROUPS.discard(group)


def kill_group(group: int) -> None:
    """Kill a process group, if it is still there."""
    with suppress(ProcessLookupError, PermissionError):
        os.killpg(group, signal.SIGKILL)
