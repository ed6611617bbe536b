"""Where a frame's time goes: the same pipeline, with a clock around each of its stages."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from time import perf_counter
from types import SimpleNamespace
from typing import Any, ParamSpec, Protocol, TypeVar, runtime_checkable

import numpy as np

from maskanim import pipeline
from maskanim.ops import Frame, postprocess
from maskanim.runtime.cuda.runner import StreamingRunner
from maskanim.runtime.runner import Runner
from maskanim.runtime.sessions.host import HostRunner

P = ParamSpec("P")
R = TypeVar("R")

STAGES = ("copy in", "preprocess", "m", "P_test", "r", "l", "U", "h", "postprocess", "copy out")
NETS = {name: name for name in ("m", "r", "l", "h")}
OPS = {"perturb": "P_test", "upscale": "U"}


@runtime_checkable
class StagedRunner(Protocol):
    """A runner that times its own stages."""

    def stage_times(self, source: Any, frames: Sequence[Frame]) -> Mapping[str, float]:
        """Animate frames as one batch.

        Args:
            source: from the runner's `encode_source`.
            frames: (H, W, 3) uint8 RGB, as many as the runner's batch.

        Returns:
            Milliseconds of each stage, by its name in STAGES; a stage that the runner does not have is left out.
        """


class Stopwatch:
    """Adds up the time that functions take.

    Args:
        synchronize: waits until what was queued on a device is done.
    """

    def __init__(self, synchronize: Callable[[], object] = lambda: None) -> None:
        self.milliseconds: dict[str, float] = {}
        self._synchronize = synchronize

    def around(self, stage: str, work: Callable[P, R]) -> Callable[P, R]:
        """The same function, timed as a stage."""

        def timed(*args: P.args, **kwargs: P.kwargs) -> R:
            began = perf_counter()
            result = work(*args, **kwargs)
            self._synchronize()
            self.milliseconds[stage] = self.milliseconds.get(stage, 0.0) + 1000 * (perf_counter() - began)
            return result

        return timed

    def methods(self, target: object, stages: Mapping[str, str]) -> Any:
        """An object with some methods of another, each timed as a stage."""
        return SimpleNamespace(**{name: self.around(stage, getattr(target, name)) for name, stage in stages.items()})

    def animate(self, nets: object, ops: object, source: Any, driving: Any) -> Any:
        """`pipeline.animate_frame`, each network and operation timed."""
        return pipeline.animate_frame(self.methods(nets, NETS), self.methods(ops, OPS), source, driving)


def stage_times(runner: Runner, source: Any, frames: Sequence[Frame]) -> Mapping[str, float] | None:
    """Animate frames as one batch, stage by stage.

    On a GPU every stage is waited for, without a graph: together they take longer than the frame does.

    Args:
        source: from the runner's `encode_source`.
        frames: (H, W, 3) uint8 RGB, as many as the runner's batch, of one size.

    Returns:
        Milliseconds of each stage, by its name in STAGES; one that the runner does not have is left out. None if
        the runner is of an unknown kind.
    """
    if isinstance(runner, StagedRunner):
        return runner.stage_times(source, frames)
    if isinstance(runner, StreamingRunner):
        return _device_stage_times(runner, source, frames)
    return _host_stage_times(runner, source, frames) if isinstance(runner, HostRunner) else None


def _device_stage_times(runner: StreamingRunner, source: Any, frames: Sequence[Frame]) -> Mapping[str, float]:
    runner.use(source)
    squares = [runner.prepare(frame) for frame in frames]
    slot, side = runner.cuda.idle_slot(squares), len(squares[0])
    slot.synchronize()
    watch = Stopwatch(slot.synchronize)
    watch.around("copy in", slot.copy_in)(side)
    watch.around("preprocess", slot.preprocess)(side)
    animation = watch.animate(slot.nets, slot.ops, slot.source, slot.images)
    watch.around("postprocess", slot.postprocess)(animation.frame)
    watch.around("copy out", slot.copy_out)()
    return watch.milliseconds


def _host_stage_times(runner: HostRunner, source: Any, frames: Sequence[Frame]) -> Mapping[str, float]:
    watch = Stopwatch()
    prepared = watch.around("preprocess", lambda: [runner.prepare(frame) for frame in frames])()
    driving = prepared[0] if len(prepared) == 1 else np.concatenate(prepared)
    animation = watch.animate(runner.nets, runner.ops, source, driving)
    watch.around("postprocess", lambda: [postprocess(image) for image in animation.frame])()
    return watch.milliseconds
