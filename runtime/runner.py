"""One model on one backend: from the pixels of a picture and of driving frames to animated frames."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from itertools import islice
from pathlib import Path
from typing import Any, Generic, Literal, NamedTuple, Protocol, TypeVar

from maskanim import pipeline
from maskanim.errors import MaskanimError
from maskanim.ops import Array, Frame

T = TypeVar("T")

Source = pipeline.Source[Array]
Animation = pipeline.Animation[Array]
# What goes in and what is wanted. frame: driving frames give animated ones; record: with m_dp; steps: with every step.
# replay: perturbed masks, (1, 1, 64, 64) float32 in [0, 1], go in where driving frames would: equations (4) to (6).
Mode = Literal["frame", "record", "steps", "replay"]


class Steps(NamedTuple):
    """A driving frame as the networks saw it, (1, 3, 256, 256) float32 in [0, 1], and what became of it."""

    driving: Array
    animation: Animation


class FrameResult(NamedTuple):
    """An animated frame."""

    finish: Callable[[], Frame]  # to be called once, from any thread: (256, 256, 3) uint8 RGB
    # with ``record`` m_dp, (1, 1, 64, 64) float32 in [0, 1], in an array that belongs to the caller
    perturbed: Array | None = None
    steps: Steps | None = None  # with ``steps`` every step


class Replay(Generic[T]):
    """A model's networks and operations for what enters at equation (4): given m_dp for d, `pipeline` keeps it."""

    def __init__(self, nets: pipeline.Nets[T], ops: pipeline.Ops[T]) -> None:
        self.r, self.l, self.h = nets.r, nets.l, nets.h
        self.downscale, self.upscale = ops.downscale, ops.upscale

    def m(self, perturbed: T, /) -> T:
        return perturbed

    def perturb(self, perturbed: T, /) -> T:
        return perturbed


class EncodesSources(Protocol):
    """A runner, or what has one."""

    def encode_source(self, image: Frame, /) -> Any: ...


class Runner(ABC):
    """Runs `pipeline` where the backend is: over NumPy arrays, or over buffers of a GPU.

    Pictures and frames are (H, W, 3) uint8 RGB of any size from 64x64; their largest centred square is used. What
    `encode_source` and `prepare` return is for the same runner only. All but `prepare` is called from one thread at
    a time.
    """

    # the folder of what was built for it, in which results about it are kept; None if nothing was
    kept_in: Path | None = None

    @abstractmethod
    def encode_source(self, image: Frame) -> Any:
        """All that depends on the source alone; it may be kept as long as the runner is open.

        Raises:
            MaskanimError: not a picture, or too small; the backend failed.
        """

    @abstractmethod
    def source_arrays(self, source: Any) -> Source:
        """An encoded source's pictures and masks as NCHW float32 in [0, 1]."""

    @abstractmethod
    def prepare(self, frame: Frame) -> Any:
        """The part of the work on a driving frame that another thread can do before.

        Raises:
            MaskanimError: not a frame, or too small.
        """

    @abstractmethod
    def run(self, source: Any, inputs: Iterable[Any], mode: Mode = "frame") -> Iterator[FrameResult]:
        """Animate, in order; several inputs may be taken before the first result comes out.

        Args:
            inputs: prepared driving frames; for ``replay`` perturbed masks. The masks of ``record`` give its frames to
                the bit, on the same runner in batches of the same size.

        Raises:
            MaskanimError: the backend failed, or has no such mode.
        """

    def mask(self, image: Frame) -> Array:
        """M of a picture, (1, 1, 64, 64) float32 in [0, 1]; raises as `encode_source`."""
        with encoded_source(self, image) as source:
            return self.source_arrays(source).mask

    @abstractmethod
    def close(self) -> None:
        """Release the backend; closing again does nothing."""


@contextmanager
def encoded_source(model: EncodesSources, image: Frame) -> Iterator[Any]:
    """`encode_source` for as long as the block lasts: on a GPU a source has memory that is else kept until the end."""
    source = model.encode_source(image)
    try:
        yield source
    finally:
        if hasattr(source, "close"):
            source.close()


def require_mode(runner: Runner, mode: Mode, *known: Mode) -> None:
    """For runners that do not have every mode.

    Raises:
        MaskanimError: it is not among those known.
    """
    if mode not in known:
        raise MaskanimError("motion", f"{type(runner).__name__}, which has no mode '{mode}'", "another engine")


def in_batches(items: Iterable[T], size: int) -> Iterator[list[T]]:
    """Lists of `size` items; the last one may be shorter."""
    remaining = iter(items)
    while batch := list(islice(remaining, size)):
        yield batch
