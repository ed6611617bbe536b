"""Work for several processes."""

from __future__ import annotations

from collections.abc import Callable, Generator, Sequence
from concurrent.futures import ProcessPoolExecutor, as_completed
from multiprocessing import get_context
from typing import Any, TypeVar

Job = TypeVar("Job")
Result = TypeVar("Result")


def in_processes(
    work: Callable[[Job], Result],
    jobs: Sequence[Job],
    workers: int,
    prepare: Callable[..., None] | None = None,
    given: tuple[Any, ...] = (),
) -> Generator[tuple[Job, Result]]:
    """Each job with what comes of it, as it is done; when one raises, those that have not begun are dropped.

    The processes are not forked: the threads of PyTorch or OpenGL would be missing in the copies.

    Args:
        prepare: what each process calls first, with the arguments `given`.
    """
    with ProcessPoolExecutor(workers, get_context("spawn"), prepare, given) as pool:
        tasks = {pool.submit(work, job): job for job in jobs}
        try:
            for task in as_completed(tasks):
                yield tasks[task], task.result()
        finally:
            pool.shutdown(cancel_futures=True)
