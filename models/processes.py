"""Processes that work for this one, started so that Ctrl-C reaches only the one a user started."""

import signal
from collections.abc import Iterator
from contextlib import contextmanager


@contextmanager
def shielded() -> Iterator[None]:
    """Processes that begin inside never hear Ctrl-C, which a terminal sends to all of them: whoever started them ends them.

    Half imported they would answer with a traceback. joblib's own helper is started first, for it lifts the shield as it begins.
    """
    from joblib.externals.loky.backend.resource_tracker import ensure_running

    ensure_running()
    before = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT})
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)
