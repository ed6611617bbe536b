"""Cold starts: each in a fresh process, from its start to its first animated frame. That process runs this module."""

from __future__ import annotations

import json
import logging
import re
import subprocess
import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

FIRST_LINE = time.time()  # a clock that the processes share
DECIMALS = 4  # of seconds

# What takes long to import is imported where it is timed.
if TYPE_CHECKING:
    from maskanim.benchmarks.latency.material import Material
    from maskanim.benchmarks.latency.records import ColdStart
    from maskanim.bundle import Bundle
    from maskanim.runtime.backends import RunOptions
    from maskanim.runtime.runner import Runner


class Task(NamedTuple):
    """What the process is to do."""

    began: float  # `time.time` just before the process was started
    bundle: str  # the model's folder
    engine: str  # a subject's name
    options: tuple[Any, ...]  # batch, precision and CUDA binding, as in `backends.RunOptions`
    folder: str  # of the material; the result goes there, too
    clip: bool  # whether the clip is animated after that, for the memory it takes

    @property
    def result(self) -> Path:
        """JSON: seconds of each part and, with a clip, the memory; or the arguments of a MaskanimError."""
        return Path(self.folder) / "start.json"


def start(bundle: Bundle, engine: str, options: RunOptions, material: Material, *, clip: bool) -> ColdStart:
    """Start a process that opens a subject and animates a frame; with `clip`, also the whole clip.

    Returns:
        The one start; the memory only with `clip`.

    Raises:
        MaskanimError: the subject does not work; as it was raised there.
    """
    from maskanim.benchmarks.latency.records import ColdStart
    from maskanim.errors import MaskanimError

    task = Task(time.time(), str(bundle.path.resolve()), engine, tuple(options), str(material.folder), clip)
    task.result.unlink(missing_ok=True)
    command = [sys.executable, "-m", "maskanim.benchmarks.latency.cold", json.dumps(task)]
    ended = subprocess.run(command, capture_output=True, text=True, check=False)
    if ended.returncode or not task.result.is_file():
        last = (ended.stderr.strip().splitlines() or ["no message"])[-1]
        received = f"its process ended with code {ended.returncode} ({last})"
        raise MaskanimError(f"engine {engine}, cold start", received, "an animated frame")
    values = json.loads(task.result.read_text("utf-8"))
    if "error" in values:
        raise MaskanimError(*values["error"])
    return ColdStart.model_validate(values)


def main(task: Task) -> None:
    """Do it, and write the result."""
    from maskanim.errors import MaskanimError

    try:
        result = _start(task)
    except MaskanimError as error:
        result = {"error": [error.subject, error.received, error.expected, error.next_step]}
    task.result.write_text(json.dumps(result), "utf-8")


def _start(task: Task) -> dict[str, Any]:
    from maskanim.benchmarks.latency.subjects import import_library, open_subject
    from maskanim.bundle import Bundle
    from maskanim.runtime.backends import RunOptions

    import_library(task.engine)
    imported = time.time()
    free, built = _device_memory_free(), _log_of_tensorrt()
    began = time.time()
    bundle = Bundle.open(Path(task.bundle))
    runner, _ = open_subject(bundle, task.engine, RunOptions(*task.options))
    loaded = time.time()
    _animate_one(runner, task)
    parts = {
        "interpreter": FIRST_LINE - task.began,
        "imports": imported - FIRST_LINE,
        "load": loaded - began,
        "first_frame": time.time() - loaded,
    }
    parts = {name: round(seconds, DECIMALS) for name, seconds in parts.items()}
    memory = _memory_after_clip(bundle, runner, task, free) if task.clip else {}
    runner.close()
    return {"starts": [parts | {"built": bool(built)}], "seconds": sum(parts.values()), **memory}


def _log_of_tensorrt() -> list[logging.LogRecord]:
    """What is logged of TensorRT from now on: that engines are being built."""
    logged: list[logging.LogRecord] = []
    handler, logger = logging.Handler(logging.INFO), logging.getLogger("maskanim.trt")
    handler.emit = logged.append  # type: ignore[assignment]
    logger.setLevel(logging.INFO)
    logger.addHandler(handler)
    return logged


def _animate_one(runner: Runner, task: Task) -> None:
    import numpy as np

    picture, driving = np.load(Path(task.folder) / "pictures.npy")
    for result in runner.run(runner.encode_source(picture), [runner.prepare(driving)]):
        result.finish()


def _memory_after_clip(bundle: Bundle, runner: Runner, task: Task, before: int | None) -> dict[str, int | None]:
    from maskanim.benchmarks.latency.material import render_clip

    render_clip(bundle, runner, Path(task.folder))
    free = _device_memory_free()
    taken = None if free is None or before is None else max(0, before - free)
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
