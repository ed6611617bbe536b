"""One model on one engine: from the pixels of a picture and of driving frames to animated frames."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Iterable, Iterator
from itertools import islice
from typing import Any, Generic, NamedTuple, TypeVar

from maskanim import pipeline
from maskanim.errors import MaskanimError
from maskanim.ops import Array, Frame

T = TypeVar("T")

Source = pipeline.Source[Array]
Animation = pipeline.Animation[Array]


class Steps(NamedTuple):
    """A driving frame as the networks saw it, (1, 3, 256, 256) float32 in [0, 1], and what became of it."""

    driving: Array
    animation: Animation


class Recorded(NamedTuple):
    """An animated frame, by a function as of `Runner.frames`, and its m_dp, (1, 1, 64, 64) float32 in [0, 1]."""

    finish: Callable[[], Frame]
    perturbed: Array


class Replay(Generic[T]):
    """A model's networks and operations for what enters at equation (4): given m_dp for d, `pipeline` keeps it."""

    def __init__(self, nets: pipeline.Nets[T], ops: pipeline.Ops[T]) -> None:
        self.r, self.l, self.h = nets.r, nets.l, nets.h
        self.downscale, self.upscale = ops.downscale, ops.upscale

    def m(self, perturbed: T, /) -> T:
        return perturbed

    def perturb(self, perturbed: T, /) -> T:
        return perturbed


class Runner(ABC):
    """Runs `pipeline` where the engine is: over NumPy arrays, or over buffers of a GPU.

    Pictures and frames are (H, W, 3) uint8 RGB of any size from 64x64; their largest centred square is used. What
    `encode_source` and `prepare` return is for the same runner only. All but `prepare` is called from one thread at
    a time.
    """

    @abstractmethod
    def encode_source(self, image: Frame) -> Any:
        """All that depends on the source alone; it may be kept as long as the runner is open.

        Raises:
            MaskanimError: not a picture, or too small; the engine failed.
        """

    @abstractmethod
    def source_arrays(self, source: Any) -> Source:
        """An encoded source's pictures and masks as NCHW float32 in [0, 1]."""

    @abstractmethod
    def prepare(self, frame: Frame) -> Any:
        """The part of the work on a driving frame that another thread can do ahead.

        Raises:
            MaskanimError: not a frame, or too small.
        """

    @abstractmethod
    def frames(self, source: Any, prepared: Iterable[Any]) -> Iterator[Callable[[], Frame]]:
        """Animate prepared driving frames, in order; several may be taken before the first comes out.

        Yields:
            For each a function, to be called once and from any thread, that gives (256, 256, 3) uint8 RGB.
        """

    @abstractmethod
    def steps(self, source: Any, prepared: Iterable[Any]) -> Iterator[Steps]:
        """As `frames`, with every step between as arrays."""

    def mask(self, image: Frame) -> Array:
        """m of a picture, (1, 1, 64, 64) float32 in [0, 1]; raises as `encode_source`."""
        return self.source_arrays(self.encode_source(image)).mask

    def recorded(self, source: Any, prepared: Iterable[Any]) -> Iterator[Recorded]:
        """As `frames`, each with the perturbed mask that it was made from, in an array that belongs to the caller."""
        raise _frames_only(self)

    def replayed(self, source: Any, masks: Iterable[Array]) -> Iterator[Callable[[], Frame]]:
        """As `frames`, from perturbed masks, each (1, 1, 64, 64) float32 in [0, 1]: equations (4) to (6).

        The masks of `recorded` give its frames to the bit, on the same runner in batches of the same size.
        """
        raise _frames_only(self)

    @abstractmethod
    def close(self) -> None:
        """Release the engine; closing again does nothing."""


def _frames_only(runner: Runner) -> MaskanimError:
    return MaskanimError("motion", f"{type(runner).__name__}, which animates by frames only", "another engine")


def in_batches(items: Iterable[T], size: int) -> Iterator[list[T]]:
    """Lists of `size` items; the last one may be shorter."""
    remaining = iter(items)
    while batch := list(islice(remaining, size)):
        yield batch
