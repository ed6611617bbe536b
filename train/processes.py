"""Work for several processes."""

from __future__ import annotations

from collections.abc import Callable, Generator, Sequence
from concurrent.futures import ProcessPoolExecutor, as_completed
from concurrent.futures.process import BrokenProcessPool
from multiprocessing import get_context
from typing import TypeVar

from maskanim.errors import MaskanimError

Job = TypeVar("Job")
Result = TypeVar("Result")


def in_processes(work: Callable[[Job], Result], jobs: Sequence[Job], workers: int) -> Generator[tuple[Job, Result]]:
    """Each job with what comes of it, as it is done; when one raises, those that have not begun are dropped.

    The processes are not forked: the threads of PyTorch or OpenGL would be missing in the copies.

    Raises:
        MaskanimError: a process was killed.
    """
    with ProcessPoolExecutor(workers, get_context("spawn")) as pool:
        tasks = {pool.submit(work, job): job for job in jobs}
        try:
            for task in as_completed(tasks):
                yield tasks[task], task.result()
        except BrokenProcessPool:
            received, next_step = "one was killed", "The same command goes on from here; let it have fewer processes"
            raise MaskanimError(f"{workers} processes", received, "memory for all of them", next_step) from None
        finally:
            pool.shutdown(cancel_futures=True)
