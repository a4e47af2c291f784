"""Processes that work for this one, started so that Ctrl-C reaches only the one a user started."""

import signal
from collections.abc import Iterator
from contextlib import contextmanager


@contextmanager
def shielded() -> Iterator[None]:
    """Processes that begin inside never hear Ctrl-C, which a terminal sends to all of them: whoever started them ends them.

    Half imported they would answer with a traceback. The helpers that joblib and Python start beside the workers come first: each
    of them unblocks the signal once it runs.
    """
    from multiprocessing import resource_tracker

    from joblib.externals.loky.backend.resource_tracker import ensure_running

    ensure_running()
    resource_tracker.ensure_running()
    before = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT})
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)
