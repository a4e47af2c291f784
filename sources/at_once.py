"""Ask a source for many things, a few at a time: one that never answers doesn't hold up the others."""

from collections.abc import Callable, Generator, Iterable
from concurrent.futures import Future
from functools import partial
from queue import SimpleQueue
from threading import Thread
from typing import TypeVar

from sources.errors import FetchFailed
from sources.http import Patience

ASKER = "altrally asks"
Thing = TypeVar("Thing")
Found = TypeVar("Found")


def answers(
    ask: Callable[[Thing], Found], things: Iterable[Thing], patience: Patience
) -> Generator[tuple[Thing, Found | FetchFailed], None, None]:
    """Each of `things` with what `ask` returned, or the `FetchFailed` it raised, as they come.

    They are asked for in order, `patience.pause` apart, at most `patience.at_once` unanswered at a time. Anything else that is
    raised is raised here. All threads have ended once the last answer came; after an interruption they end, in silence, with the
    request they wait for, and they die with the process: an interruption needn't wait for a source.
    """
    todo: SimpleQueue[Callable[[], None] | None] = SimpleQueue()
    done: SimpleQueue[tuple[Thing, Future[Found]]] = SimpleQueue()
    threads = [Thread(target=_work, args=(todo,), name=ASKER, daemon=True) for _ in range(patience.at_once)]
    for thread in threads:
        thread.start()
    come = partial(_next, done)
    waiting = 0
    try:
        for thing in things:
            if waiting == patience.at_once:
                yield come()
                waiting -= 1
            todo.put(partial(_answer, ask, thing, done))
            waiting += 1
            patience.sleep(patience.pause)
        for _ in range(waiting):
            yield come()
        waiting = 0
    finally:
        for _ in threads:
            todo.put(None)
        for thread in threads if not waiting else ():
            thread.join()


def _work(todo: "SimpleQueue[Callable[[], None] | None]") -> None:
    while (job := todo.get()) is not None:
        job()


def _answer(ask: Callable[[Thing], Found], thing: Thing, done: "SimpleQueue[tuple[Thing, Future[Found]]]") -> None:
    answer: Future[Found] = Future()
    try:
        answer.set_result(ask(thing))
    except Exception as error:
        answer.set_exception(error)
    done.put((thing, answer))


def _next(done: "SimpleQueue[tuple[Thing, Future[Found]]]") -> tuple[Thing, Found | FetchFailed]:
    thing, answer = done.get()
    failed = answer.exception()
    return thing, failed if isinstance(failed, FetchFailed) else answer.result()
