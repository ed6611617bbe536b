"""Reports of runs that never were, with noise and changes that are known."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest

from maskanim.benchmarks.latency.records import (
    ColdStart,
    Conditions,
    EndToEnd,
    LatencyReport,
    Measured,
    Model,
    Settings,
    Stages,
    Start,
    timing,
)
from maskanim.spec import ModelSpec

MakeReport = Callable[..., LatencyReport]

ROUNDS, CALLS, REPEATS = 10, 5, 5


@pytest.fixture(scope="session")
def make_report() -> MakeReport:
    """A function that makes a report of one engine; see `_report`."""
    return _report


def _report(
    seed: int = 0,
    factor: float = 1.0,
    *,
    between: float = 0.02,
    within: float = 0.01,
    rounds: int = ROUNDS,
    engine: str = "ort",
    processor: str = "a processor",
) -> LatencyReport:
    """Frames of 20 ms times `factor`, whose logarithms differ by normal noise of each round and of each call."""
    rng = np.random.default_rng(seed)

    def noisy(count: int, mean: float) -> tuple[float, ...]:
        return tuple(mean * factor * np.exp(rng.normal(0, between, count)))

    calls = 20 * factor * np.exp(rng.normal(0, between, (rounds, 1)) + rng.normal(0, within, (rounds, CALLS)))
    seconds = noisy(REPEATS, 1.0)
    starts = tuple(Start(interpreter=0.05, imports=0.3, load=load, first_frame=0.1) for load in noisy(REPEATS, 0.5))
    stages = {"m": noisy(rounds, 2.0), "h": noisy(rounds, 12.0)}
    measured = Measured(
        engine=engine,
        batch=1,
        detail="a library",
        cold=ColdStart(starts=starts, seconds=float(np.median([start.total for start in starts])), peak_memory=10**8),
        model_only=timing(calls.tolist(), 1),
        end_to_end=EndToEnd(frames=50, seconds=seconds, frames_per_second=50 / float(np.median(seconds))),
        stages=Stages(rounds=stages, medians={name: float(np.median(times)) for name, times in stages.items()}),
        source_ms=noisy(rounds, 3.0),
    )
    return LatencyReport(
        model=Model(name="tiny", size="custom", spec=ModelSpec(), weights="float32", lowering={}, sha256={}),
        conditions=_conditions(processor),
        settings=Settings(
            rounds=rounds, frames=50, warm_up=3, settling=1, repeats=REPEATS, clip="none", precision="fp16",
            cuda_binding="cuda-core",
        ),
        measured=(measured,),
    )  # fmt: skip


def _conditions(processor: str) -> Conditions:
    return Conditions(
        date="2026-01-01T00:00:00+00:00", processor=processor, extensions=(), cores=2, system="Linux", python="3.11",
        libraries={"numpy": "2.0"},
    )  # fmt: skip
