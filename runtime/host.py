"""The pipeline over NumPy arrays, for engines that run on the processor."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from functools import partial

import numpy as np

from maskanim import pipeline
from maskanim.ops import Array, Frame, NumpyOps, postprocess, preprocess
from maskanim.runtime.runner import Animation, Recorded, Replay, Runner, Source, Steps, in_batches
from maskanim.runtime.sessions.nets import SessionNets
from maskanim.spec import Perturbation


class HostRunner(Runner):
    """Runs a model's sessions.

    Args:
        nets: the loaded networks; closed with the runner.
        perturbation: the model's.
        batch: how many driving frames go through the networks together.
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

    def frames(self, source: Source, prepared: Iterable[Array]) -> Iterator[Callable[[], Frame]]:
        for _, animation in self._animations(source, prepared):
            yield from (partial(postprocess, image) for image in animation.frame)

    def steps(self, source: Source, prepared: Iterable[Array]) -> Iterator[Steps]:
        for driving, animation in self._animations(source, prepared):
            for i in range(len(driving)):
                steps = {name: value[i : i + 1] for name, value in vars(animation).items()}
                yield Steps(driving[i : i + 1], Animation(**steps))

    def mask(self, image: Frame) -> Array:
        return self.nets.m(preprocess(image))

    def recorded(self, source: Source, prepared: Iterable[Array]) -> Iterator[Recorded]:
        for _, animation in self._animations(source, prepared):
            for i, image in enumerate(animation.frame):
                yield Recorded(partial(postprocess, image), animation.perturbed[i : i + 1])

    def replayed(self, source: Source, masks: Iterable[Array]) -> Iterator[Callable[[], Frame]]:
        replay = Replay(self.nets, self.ops)
        for batch in in_batches(masks, self.batch):
            animation = pipeline.animate_frame(replay, replay, source, np.concatenate(batch))
            yield from (partial(postprocess, image) for image in animation.frame)

    def _animations(self, source: Source, prepared: Iterable[Array]) -> Iterator[tuple[Array, Animation]]:
        for batch in in_batches(prepared, self.batch):
            driving = batch[0] if len(batch) == 1 else np.concatenate(batch)
            yield driving, pipeline.animate_frame(self.nets, self.ops, source, driving)

    def close(self) -> None:
        self.nets.close()
