"""The captured pipeline as a Runner: frames go in and come out in order, several in flight."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterable, Iterator
from contextlib import ExitStack
from functools import partial
from itertools import groupby
from typing import Any, TypeVar

import numpy as np

from maskanim.ops import Array, Frame, centre_square, preprocess
from maskanim.runtime.cuda.runner import CudaRunner, DeviceSource, Ticket
from maskanim.runtime.runner import Animation, Recorded, Runner, Source, Steps, in_batches

T = TypeVar("T")


class StreamingRunner(Runner):
    """A CudaRunner fed with pictures in host memory.

    Args:
        cuda: what runs.
        resources: what to close with it, the runner itself included.
    """

    def __init__(self, cuda: CudaRunner, resources: ExitStack) -> None:
        self.cuda, self._resources = cuda, resources
        self._in_use: DeviceSource | None = None

    def encode_source(self, image: Frame) -> DeviceSource:
        return self.cuda.encode_source(image)

    def source_arrays(self, source: DeviceSource) -> Source:
        return source.arrays()

    def mask(self, image: Frame) -> Array:
        with self.cuda.encode_source(image) as source:
            return source.arrays().mask

    def prepare(self, frame: Frame) -> Frame:
        """The centred square, so that no more is copied to the GPU than is used."""
        return np.ascontiguousarray(centre_square(frame))

    def frames(self, source: DeviceSource, prepared: Iterable[Frame]) -> Iterator[Callable[[], Frame]]:
        for ticket in self._tickets(source, _batches(prepared, self.cuda.batch), self.cuda.submit):
            yield from self._collected(ticket)

    def recorded(self, source: DeviceSource, prepared: Iterable[Frame]) -> Iterator[Recorded]:
        submit = partial(self.cuda.submit, record=True)
        for ticket in self._tickets(source, _batches(prepared, self.cuda.batch), submit):
            masks = self.cuda.collect_masks(ticket)
            for i, finish in enumerate(self._collected(ticket)):
                yield Recorded(finish, masks[i : i + 1])

    def replayed(self, source: DeviceSource, masks: Iterable[Array]) -> Iterator[Callable[[], Frame]]:
        for ticket in self._tickets(source, in_batches(masks, self.cuda.batch), self.cuda.submit_masks):
            yield from self._collected(ticket)

    def _tickets(
        self, source: DeviceSource, batches: Iterable[list[T]], submit: Callable[[list[T]], Ticket]
    ) -> Iterator[Ticket]:
        """Keep all slots busy; each ticket comes out when another batch needs its slot, or at the end."""
        waiting: deque[Ticket] = deque()
        self.use(source)
        for batch in batches:
            if len(waiting) == self.cuda.slots:
                yield waiting.popleft()
            waiting.append(submit(batch))
        yield from waiting

    def _collected(self, ticket: Ticket) -> Iterator[Callable[[], Frame]]:
        # Not in the function that finishes a frame: the device belongs to this thread.
        return (partial(np.asarray, frame) for frame in self.cuda.collect(ticket))

    def steps(self, source: DeviceSource, prepared: Iterable[Frame]) -> Iterator[Steps]:
        self.use(source)
        for batch in _batches(prepared, self.cuda.batch):
            arrays: dict[str, Array] = vars(self.cuda.steps(self.cuda.submit(batch)))
            for i, frame in enumerate(batch):
                animation = Animation(**{name: value[i : i + 1] for name, value in arrays.items()})
                yield Steps(preprocess(frame), animation)

    def use(self, source: DeviceSource) -> None:
        """Copy another source into place; the one that is there already costs nothing."""
        if source is not self._in_use:
            self.cuda.use(source)
            self._in_use = source

    def close(self) -> None:
        self._in_use = None
        self._resources.close()


def _batches(prepared: Iterable[Frame], size: int) -> Iterator[list[Any]]:
    """Batches of pictures of one size, as `CudaRunner.submit` takes them."""
    for _, alike in groupby(prepared, key=len):
        yield from in_batches(alike, size)
