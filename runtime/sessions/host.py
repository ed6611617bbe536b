"""The pipeline over NumPy arrays, for backends that run on the processor."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from functools import partial
from typing import Any

import numpy as np

from maskanim import pipeline
from maskanim.ops import Array, Frame, NumpyOps, postprocess, preprocess
from maskanim.runtime.runner import Animation, FrameResult, Mode, Replay, Runner, Source, Steps, in_batches
from maskanim.runtime.sessions.session import SessionNets
from maskanim.spec import Perturbation


class HostRunner(Runner):
    """Runs a model's sessions; driving frames that are those before, as in recordings of a screen, cost nothing.

    Args:
        nets: the loaded networks; closed with the runner.
    """

    def __init__(self, nets: SessionNets, perturbation: Perturbation, batch: int = 1) -> None:
        self.nets, self.ops, self.batch = nets, NumpyOps(perturbation), batch

    def encode_source(self, image: Frame) -> Source:
        return pipeline.encode_source(self.nets, self.ops, preprocess(image))

    def source_arrays(self, source: Source) -> Source:
        return source

    def prepare(self, frame: Frame) -> Array:
        """(1, 3, 256, 256) float32 in [0, 1]."""
        return preprocess(frame)

    def run(self, source: Source, inputs: Iterable[Array], mode: Mode = "frame") -> Iterator[FrameResult]:
        nets: Any = self.nets
        ops: Any = self.ops
        if mode == "replay":
            nets = ops = Replay(self.nets, self.ops)
        last: tuple[Array, Animation] | None = None
        for batch in in_batches(inputs, self.batch):
            driving = batch[0] if len(batch) == 1 else np.concatenate(batch)
            # Of steps the arrays are the caller's, who may have changed them.
            repeats = last is not None and mode != "steps" and np.array_equal(driving, last[0])
            animation = last[1] if last and repeats else pipeline.animate_frame(nets, ops, source, driving)
            last = driving, animation
            for i, image in enumerate(animation.frame):
                perturbed = animation.perturbed[i : i + 1].copy() if mode == "record" else None
                steps = _steps(driving, animation, i) if mode == "steps" else None
                yield FrameResult(partial(postprocess, image), perturbed, steps)

    def mask(self, image: Frame) -> Array:
        return self.nets.m(preprocess(image))

    def close(self) -> None:
        self.nets.close()


def _steps(driving: Array, animation: Animation, i: int) -> Steps:
    return Steps(driving[i : i + 1], Animation(**{name: value[i : i + 1] for name, value in vars(animation).items()}))
