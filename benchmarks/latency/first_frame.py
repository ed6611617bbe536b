"""One cold start, timed from inside: `cold` runs this as a process of its own."""

from __future__ import annotations

import json
import re
import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

FIRST_LINE = time.time()  # a clock that the processes share

# What takes long to import is imported where it is timed.
if TYPE_CHECKING:
    from maskanim.runtime.animator import Animator


class Task(NamedTuple):
    """What the process is to do.

    Attributes:
        began: `time.time` just before the process was started.
        bundle: the model's folder.
        engine: a subject's name.
        options: batch, precision and CUDA binding, as in `engines.RunOptions`.
        pictures: an .npy file of a source and a driving frame, (2, H, W, 3) uint8.
        clip: a clip to animate after that, for the memory it takes; or empty.
        result: where the result goes, as JSON: a record of the seconds of each part and, with a clip, the memory;
            or the arguments of a MaskanimError.
    """

    began: float
    bundle: str
    engine: str
    options: tuple[int, str, str]
    pictures: str
    clip: str
    result: str


def main(task: Task) -> None:
    """Do it, and write the result."""
    from maskanim.errors import MaskanimError

    try:
        result = _start(task)
    except MaskanimError as error:
        result = {"error": [error.subject, error.received, error.expected, error.next_step]}
    Path(task.result).write_text(json.dumps(result), "utf-8")


def _start(task: Task) -> dict[str, object]:
    from maskanim.benchmarks.latency.subjects import import_library, open_subject
    from maskanim.bundle import Bundle
    from maskanim.runtime.backends import RunOptions

    import_library(task.engine)
    imported = time.time()
    free = _device_memory_free()
    began = time.time()
    built = _logged()
    options = RunOptions(*task.options)
    with open_subject(Bundle.open(Path(task.bundle)), task.engine, options) as animator:
        loaded = time.time()
        _animate_one(animator, task)
        seconds = {
            "interpreter": FIRST_LINE - task.began,
            "imports": imported - FIRST_LINE,
            "load": loaded - began,
            "first_frame": time.time() - loaded,
        }
        memory = _memory_after_clip(animator, task, free) if task.clip else {}
    return {"start": seconds | {"built": bool(built)}, **memory}


def _logged() -> list[str]:
    """What is logged of TensorRT from now on: that engines are being built."""
    import logging

    lines: list[str] = []

    class Handler(logging.Handler):
        def emit(self, record: logging.LogRecord) -> None:
            lines.append(record.getMessage())

    logger = logging.getLogger("maskanim.trt")
    logger.setLevel(logging.INFO)
    logger.addHandler(Handler())
    return lines


def _animate_one(animator: Animator, task: Task) -> None:
    import numpy as np

    picture, driving = np.load(task.pictures)
    animator.animate(animator.encode_source(picture), driving)


def _memory_after_clip(animator: Animator, task: Task, free_before: int | None) -> dict[str, int | None]:
    from maskanim.runtime.jobs import Job, render

    render(animator, Job(Path(task.pictures).with_name("source.png"), task.clip, Path(task.result).with_suffix(".mp4")))
    free = _device_memory_free()
    taken = None if free is None or free_before is None else max(0, free_before - free)
    return {"peak_memory": peak_memory(), "device_memory": taken}


def peak_memory() -> int | None:
    """The most memory that this process has held, in bytes; None where the system does not tell."""
    try:
        # Linux counts into a process's ru_maxrss what its parent held when it was started; this starts anew.
        found = re.search(r"^VmHWM:\s+(\d+) kB$", Path("/proc/self/status").read_text("utf-8"), re.MULTILINE)
        if found:
            return 1024 * int(found[1])
    except OSError:
        pass
    try:
        import resource
    except ImportError:
        return None
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return peak if sys.platform == "darwin" else 1024 * peak


def _device_memory_free() -> int | None:
    """Bytes of the first GPU that no process holds."""
    from maskanim.driver import read_driver

    gpus = read_driver().gpus
    return gpus[0].memory_free if gpus else None


if __name__ == "__main__":
    main(Task(*json.loads(sys.argv[1])))
