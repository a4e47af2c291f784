"""One thread at a time: our matrices are small, and threads that wait for each other cost more than the work."""

from contextlib import AbstractContextManager
from functools import cache

from threadpoolctl import ThreadpoolController


def one_thread() -> AbstractContextManager[object]:
    """Keep BLAS and OpenMP to one thread inside a `with`; results then don't depend on the number of cores either."""
    return controller().limit(limits=1)


@cache
def controller() -> ThreadpoolController:
    """Made once, because looking for the loaded libraries takes 10 ms."""
    return ThreadpoolController()
