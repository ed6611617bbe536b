"""Where a frame's time goes: the same pipeline, with a clock around each of its stages."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from time import perf_counter
from types import SimpleNamespace
from typing import Any, TypeVar

import numpy as np

from maskanim import pipeline
from maskanim.ops import Frame, postprocess
from maskanim.runtime.cuda.runner import StreamingRunner
from maskanim.runtime.runner import Runner
from maskanim.runtime.sessions.host import HostRunner

R = TypeVar("R")

STAGES = ("copy in", "preprocess", "m", "P_test", "r", "l", "U", "h", "postprocess", "copy out")
NETS = {name: name for name in ("m", "r", "l", "h")}
OPS = {"perturb": "P_test", "upscale": "U"}


class Stopwatch:
    """Adds up the milliseconds that stages take.

    Args:
        synchronize: waits until what was queued on a device is done.
    """

    def __init__(self, synchronize: Callable[[], object] = lambda: None) -> None:
        self.milliseconds: dict[str, float] = {}
        self._synchronize = synchronize

    def time(self, stage: str, work: Callable[..., R], *arguments: Any) -> R:
        """What a function returns, timed as a stage."""
        began = perf_counter()
        result = work(*arguments)
        self._synchronize()
        self.milliseconds[stage] = self.milliseconds.get(stage, 0.0) + 1000 * (perf_counter() - began)
        return result

    def animate(self, nets: object, ops: object, source: Any, driving: Any) -> Any:
        """`pipeline.animate_frame`, each network and operation timed."""
        return pipeline.animate_frame(self._timed(nets, NETS), self._timed(ops, OPS), source, driving)

    def _timed(self, target: object, stages: Mapping[str, str]) -> Any:
        methods = {name: (stage, getattr(target, name)) for name, stage in stages.items()}
        return SimpleNamespace(
            **{name: lambda *values, each=each: self.time(*each, *values) for name, each in methods.items()}
        )


def stage_times(runner: Runner, source: Any, frames: Sequence[Frame]) -> Mapping[str, float] | None:
    """Animate frames as one batch, stage by stage.

    On a GPU every stage is waited for, without a graph: together they take longer than the frame does.

    Args:
        runner: may time itself, with a method `stage_times` of the other arguments.
        source: from the runner's `encode_source`.
        frames: (H, W, 3) uint8 RGB, as many as the runner's batch, of one size.

    Returns:
        Milliseconds of each stage, by its name in STAGES; one that the runner does not have is left out. None if
        the runner is of an unknown kind.
    """
    if isinstance(runner, StreamingRunner):
        return _device_stage_times(runner, source, frames)
    if isinstance(runner, HostRunner):
        return _host_stage_times(runner, source, frames)
    itself: Any = getattr(runner, "stage_times", lambda *_: None)
    found: Mapping[str, float] | None = itself(source, frames)
    return found


def _device_stage_times(runner: StreamingRunner, source: Any, frames: Sequence[Frame]) -> Mapping[str, float]:
    runner.use(source)
    squares = [runner.prepare(frame) for frame in frames]
    slot, side = runner.cuda.idle_slot(squares), len(squares[0])
    slot.synchronize()
    watch = Stopwatch(slot.synchronize)
    watch.time("copy in", slot.copy_in, side)
    watch.time("preprocess", slot.preprocess, side)
    animation = watch.animate(slot.nets, slot.ops, slot.source, slot.images)
    watch.time("postprocess", slot.postprocess, animation.frame)
    watch.time("copy out", slot.copy_out)
    return watch.milliseconds


def _host_stage_times(runner: HostRunner, source: Any, frames: Sequence[Frame]) -> Mapping[str, float]:
    watch = Stopwatch()
    prepared = watch.time("preprocess", lambda: [runner.prepare(frame) for frame in frames])
    driving = prepared[0] if len(prepared) == 1 else np.concatenate(prepared)
    animation = watch.animate(runner.nets, runner.ops, source, driving)
    watch.time("postprocess", lambda: [postprocess(image) for image in animation.frame])
    return watch.milliseconds
