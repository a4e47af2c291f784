"""Equal parts of work on the cores of this machine or by the workers of a dask cluster, one thread each, shielded from Ctrl-C."""

import logging
import os
import signal
from collections.abc import Callable, Iterable, Iterator
from contextlib import AbstractContextManager, contextmanager
from functools import cache, partial
from importlib.metadata import PackageNotFoundError, version
from typing import TYPE_CHECKING, Any, TypeVar

from threadpoolctl import ThreadpoolController

from core.errors import BadInput, EngineLost, UnknownName

if TYPE_CHECKING:
    from distributed import Client


def one_thread() -> AbstractContextManager[object]:
    """Keep BLAS and OpenMP to one thread inside a `with`; results then don't depend on the number of cores either."""
    return controller().limit(limits=1)


@cache
def controller() -> ThreadpoolController:
    """Made once, because looking for the loaded libraries takes 10 ms."""
    return ThreadpoolController()


@contextmanager
def told_to_children(**variables: str) -> Iterator[None]:
    """Processes that start inside find these variables in their environment."""
    former = {name: os.environ.get(name) for name in variables}
    os.environ.update(variables)
    try:
        yield
    finally:
        for name, value in former.items():
            del os.environ[name]
            if value is not None:
                os.environ[name] = value


@contextmanager
def shielded_from_interrupts() -> Iterator[None]:
    """Processes that begin inside never hear Ctrl-C, which a terminal sends to all of them: whoever started them ends them.

    Half imported they would answer with a traceback. The helpers that joblib and Python start beside the workers come first: each
    of them unblocks the signal once it runs, and would warn of what a killed process left and it removes. None of them looks for
    modules in the folder it starts in: a user's own `types.py` there would be taken for Python's.
    """
    from multiprocessing import resource_tracker

    from joblib.externals.loky.backend.resource_tracker import ensure_running

    with told_to_children(PYTHONSAFEPATH="1"):
        with told_to_children(PYTHONWARNINGS="ignore"):
            ensure_running()
            resource_tracker.ensure_running()
        before = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT})
        try:
            yield
        finally:
            signal.pthread_sigmask(signal.SIG_SETMASK, before)


Result = TypeVar("Result")

ENGINES = ("local", "dask")
SECONDS_TO_ANSWER = 15
DECIDES_BITS = ("altrally", "numpy", "scipy", "pandas", "scikit-learn")
"""Packages that a worker must have in our versions: a result must not depend on who computed it."""


@contextmanager
def engine(name: str = "local", scheduler: str | None = None) -> Iterator[None]:
    """Inside a `with`, `run_in_parallel` hands its parts to engine `name`; `dask` needs the address of its `scheduler`.

    Raises UnknownName, BadInput, or EngineLost where the cluster doesn't answer, has no worker, or runs other versions than we do.
    """
    if name not in ENGINES:
        raise UnknownName("engine", name, ENGINES)
    if (name == "dask") != (scheduler is not None):
        raise BadInput("--engine dask needs --scheduler ADDRESS, and --scheduler is for --engine dask.")
    if scheduler is None:
        yield
        return
    from joblib import parallel_config

    with cluster_client(scheduler), parallel_config("dask"):
        yield


def run_in_parallel(
    function: Callable[..., Result], parts: Iterable[tuple[Any, ...]], *, processes: int | None = None, ordered: bool = True
) -> Iterator[Result]:
    """Results of `function` for each of the arguments in `parts`, as they are ready; out of order if not `ordered`.

    `processes` at once on this machine, None for one a core; a cluster decides for itself.
    """
    from joblib import Parallel, delayed

    runner = Parallel(
        n_jobs=processes or -1, batch_size=1, pre_dispatch="all", return_as="generator" if ordered else "generator_unordered"
    )
    with lost_cluster_message():
        with shielded_from_interrupts():
            results = runner(delayed(partial(in_one_thread, function, *part))() for part in parts)
        yield from results


def in_one_thread(function: Callable[..., Result], *part: Any) -> Result:
    """One part, in one thread. (Arguments bound to a function travel with it: joblib would leave large ones with one worker.)"""
    with one_thread():
        return function(*part)


@contextmanager
def cluster_client(scheduler: str) -> Iterator["Client"]:
    """Client of a cluster whose workers have the same package versions."""
    try:
        from distributed import Client
    except ImportError:
        raise BadInput("--engine dask needs Dask: `pip install '.[cluster]'` in a checkout of altrally.") from None
    for name in ("distributed", "distributed.client"):
        logging.getLogger(name).setLevel(logging.CRITICAL)  # what goes wrong is raised, and said once
    try:
        client = Client(scheduler, timeout=SECONDS_TO_ANSWER)
    except (OSError, ValueError) as error:
        raise EngineLost(f"No dask scheduler answers at {scheduler}: {error}. Start one with `dask scheduler`.") from None
    with client:
        require_like_workers(client, scheduler)
        yield client


def require_like_workers(client: "Client", scheduler: str) -> None:
    """Raise EngineLost where a cluster has no workers, or a worker has other package versions."""
    try:
        client.wait_for_workers(1, timeout=SECONDS_TO_ANSWER)
    except TimeoutError:
        raise EngineLost(f"The scheduler at {scheduler} has no workers. Start some with `dask worker {scheduler}`.") from None
    local_versions = versions()
    for worker, worker_versions in client.run(versions, on_error="return").items():
        if worker_versions != local_versions:
            raise EngineLost(
                f"The worker at {worker} doesn't have what is here: {version_differences(local_versions, worker_versions)}."
            )


def versions() -> dict[str, str]:
    """Installed version of each package that can change results."""
    return {name: version_here(name) for name in DECIDES_BITS}


def version_here(name: str) -> str:
    """Installed version of a package, or "not installed"."""
    try:
        return version(name)
    except PackageNotFoundError:
        return "not installed"


def version_differences(local_versions: dict[str, str], worker_versions: Any) -> str:
    """Text that lists how a worker's package versions differ from the local ones."""
    if not isinstance(worker_versions, dict):
        return f"it can't import altrally ({worker_versions})"
    return ", ".join(
        f"{name} is {worker_versions[name]}, not {version}"
        for name, version in local_versions.items()
        if worker_versions[name] != version
    )


@contextmanager
def lost_cluster_message() -> Iterator[None]:
    """A cluster that went away, or workers that kept dying, in one line."""
    try:
        yield
    except Exception as error:
        if type(error).__module__.partition(".")[0] not in ("distributed", "joblib"):
            raise
        raise EngineLost(
            f"The cluster was lost ({type(error).__name__}). Run it again: what is kept of it isn't computed twice."
        ) from error
