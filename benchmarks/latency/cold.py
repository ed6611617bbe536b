"""Cold starts: each in a fresh process, from its start to its first animated frame."""

from __future__ import annotations

import json
import subprocess
import sys
import time
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

from maskanim.benchmarks.latency.first_frame import Task
from maskanim.benchmarks.latency.material import Material
from maskanim.benchmarks.latency.records import ColdStart, Start, median, rounded
from maskanim.bundle import Bundle
from maskanim.errors import MaskanimError
from maskanim.runtime.backends import RunOptions


class Started(NamedTuple):
    """One start; the memory only where a clip was animated after it, in bytes."""

    start: Start
    peak_memory: int | None = None
    device_memory: int | None = None


def start(bundle: Bundle, engine: str, options: RunOptions, material: Material, *, clip: bool) -> Started:
    """Start a process that opens a subject and animates a frame; with `clip`, also the whole clip.

    Raises:
        MaskanimError: the subject does not work; as it was raised there.
    """
    result = material.pictures.with_name("start.json")
    result.unlink(missing_ok=True)
    task = Task(
        began=time.time(),
        bundle=str(bundle.path.resolve()),
        engine=engine,
        options=(options.batch, options.precision, options.cuda_binding),
        pictures=str(material.pictures),
        clip=str(material.clip) if clip else "",
        result=str(result),
    )
    command = [sys.executable, "-m", "maskanim.benchmarks.latency.first_frame", json.dumps(task)]
    ended = subprocess.run(command, capture_output=True, text=True, check=False)
    return _started(engine, result, ended)


def _started(engine: str, result: Path, ended: subprocess.CompletedProcess[str]) -> Started:
    if ended.returncode or not result.is_file():
        last = (ended.stderr.strip().splitlines() or ["no message"])[-1]
        received = f"its process ended with code {ended.returncode} ({last})"
        raise MaskanimError(f"engine {engine}, cold start", received, "an animated frame")
    values = json.loads(result.read_text("utf-8"))
    if "error" in values:
        raise MaskanimError(*values["error"])
    parts = {name: value if name == "built" else rounded(value) for name, value in values["start"].items()}
    return Started(Start.model_validate(parts), values.get("peak_memory"), values.get("device_memory"))


def cold_start(started: Sequence[Started]) -> ColdStart:
    """All starts of a subject as one record."""
    last = started[-1]
    cold = ColdStart(
        starts=tuple(each.start for each in started),
        seconds=0.0,
        peak_memory=last.peak_memory,
        device_memory=last.device_memory,
    )
    return cold.model_copy(update={"seconds": median([each.total for each in cold.usual])})
