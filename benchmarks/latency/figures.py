"""A run as figures, each with what it was computed from: what tables show and `compare` compares."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from maskanim.benchmarks.latency.records import Measured, median

# Of the tables, in order.
MODEL_ONLY = "model only, ms from a prepared frame to its picture"
END_TO_END = "end to end, as maskanim-run does it: decoding, encoding and signing included"
COLD_START = "cold start in a fresh process, s; building: of engines, the first time"
STAGES = "stages, median ms per call, each with a clock around it"


class Figure(NamedTuple):
    """Something that was measured."""

    # table, name, unit: where it is shown, as what, and in which unit
    table: str
    name: str
    unit: str
    value: float  # as it is shown
    # what it was computed from: rows of milliseconds or seconds, each row taken at one time. None where there is one
    # value, whose noise nobody knows.
    rounds: NDArray[np.float64] | None = None
    percentile: float = 50.0  # the figure is this one of all the values in the rows; a rate comes from the median
    compared: str = ""  # its name where two runs are compared; empty where it says nothing that others do not


def figures(measured: Measured) -> Iterator[Figure]:
    """All that there are of a subject, in the order in which they are shown."""
    timing, clips, cold = measured.model_only, measured.end_to_end, measured.cold
    calls = np.array(timing.rounds)
    yield Figure(MODEL_ONLY, "p50", "ms", timing.p50, calls, compared="p50")
    yield Figure(MODEL_ONLY, "p90", "ms", timing.p90)
    yield Figure(MODEL_ONLY, "p95", "ms", timing.p95, calls, 95.0, compared="p95")
    yield Figure(MODEL_ONLY, "p99", "ms", timing.p99)
    yield Figure(MODEL_ONLY, "mean", "ms", timing.mean)
    yield Figure(MODEL_ONLY, "frames/s", "frames/s", timing.frames_per_second)
    if rate := timing.streamed_frames_per_second:
        yield Figure(MODEL_ONLY, "streamed", "frames/s", rate, _column(timing.streamed_rounds), compared="streamed")
    if clips:
        rate = clips.frames_per_second
        yield Figure(END_TO_END, "frames/s", "frames/s", rate, _column(clips.seconds), compared="end to end")
        yield Figure(END_TO_END, "of model only", "share", rate / timing.best_rate)
    source = median(measured.source_ms)
    yield Figure(END_TO_END, "source ms", "ms", source, _column(measured.source_ms), compared="source")
    for name, size in (("memory", cold.peak_memory), ("VRAM", cold.device_memory)) if cold else ():
        if size:
            old = {"memory": "peak memory", "VRAM": "device memory"}[name]
            yield Figure(END_TO_END, f"{name} MB", "MB", size / 1e6, compared=old)
    if cold:
        for name in ("interpreter", "imports", "load", "first_frame"):
            value = median([getattr(start, name) for start in cold.usual])
            yield Figure(COLD_START, name.replace("_", " "), "s", value)
        totals = _column([start.total for start in cold.usual])
        yield Figure(COLD_START, "together", "s", cold.seconds, totals, compared="start to first frame")
        if cold.building is not None:
            yield Figure(COLD_START, "building", "s", cold.building)
    if stages := measured.stages:
        for stage, times in stages.rounds.items():
            yield Figure(STAGES, stage, "ms", stages.medians[stage], _column(times), compared=stage)
        yield Figure(STAGES, "together", "ms", sum(stages.medians.values()))


def _column(values: Sequence[float]) -> NDArray[np.float64]:
    return np.array(values)[:, None]
