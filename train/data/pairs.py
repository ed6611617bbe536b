"""Training pairs, numbered without end, and their batches: pair number i is the same whoever loads it, and whenever."""

from __future__ import annotations

import gc
import signal
from abc import ABC, abstractmethod
from collections.abc import Generator, Iterator, Mapping, Sequence
from copy import copy
from typing import Any, NamedTuple

import cv2
import numpy as np
import torch
from torch import Tensor
from torch.utils.data import DataLoader, Dataset, default_collate

from maskanim.errors import MaskanimError
from maskanim.ops import Array, Frame
from maskanim.runtime.jobs.interrupts import SIGNALS
from maskanim.spec import IMAGE_SIZE, MASK_SIZE


class Pair(NamedTuple):
    """Two frames of one clip; batched by the loader."""

    # source, driving: (3, 256, 256) uint8
    source: Tensor
    driving: Tensor
    # source_figure, driving_figure: (1, 64, 64) float32 in [0, 1], the figure maps of drawn and rendered data; (0, 64,
    # 64), no map, for real clips
    source_figure: Tensor
    driving_figure: Tensor
    # (3, 256, 256) uint8, whose mask stands for the driving frame's when r learns: the driving frame itself, or another
    # person who moves alike; (0, 256, 256) where no driver is asked for, which means the former
    driver: Tensor = torch.empty(0, IMAGE_SIZE, IMAGE_SIZE, dtype=torch.uint8)


def pair_of(images: Sequence[Frame], maps: Sequence[Array] = ()) -> Pair:
    """A pair of a source, a driving frame and possibly a driver, (256, 256, 3) uint8 RGB each.

    Args:
        maps: the figure maps of the first two, (64, 64) float32 in [0, 1]; none for real clips.
    """
    tensors = [torch.from_numpy(np.ascontiguousarray(image.transpose(2, 0, 1))) for image in images]
    figures = [torch.from_numpy(np.ascontiguousarray(each)[None]) for each in maps]
    none = torch.empty(0, MASK_SIZE, MASK_SIZE)
    return Pair(*tensors[:2], *(figures or (none, none)), *tensors[2:])


_Batch = tuple[Pair, dict[str, str]] | MaskanimError  # with the damaged clips that were passed over


class Pairs(ABC, Dataset[Pair]):
    """An endless set of training pairs.

    Args:
        summary: what it holds, in one line.
        seed: another seed gives other pairs.
    """

    units: int | None = None  # how many clips, or identities, one pass goes through; None where there is no such number
    fingerprint = ""  # of the list of files, empty without files: a pair depends on the seed, its number and this alone
    has_figures = False  # whether every pair has figure maps, which m can be warmed up on

    def __init__(self, summary: str, seed: int) -> None:
        self.summary, self.seed = summary, seed
        # the names of the damaged clips met so far in this process, and what is wrong with each
        self.damaged: dict[str, str] = {}
        self._told: set[str] = set()

    @abstractmethod
    def load(self, index: int, damaged: dict[str, str]) -> Pair:
        """Pair number `index`.

        Args:
            damaged: receives the names of the clips that were passed over on the way to it, and why.

        Raises:
            MaskanimError: hardly anything can be read.
        """

    def reseeded(self, seed: int) -> Pairs:
        """The same data in another order, for the warm-up."""
        other = copy(self)
        other.seed = seed
        return other

    def __getitem__(self, index: int) -> Pair:
        damaged: dict[str, str] = {}
        pair = self.load(index, damaged)
        self.note(damaged)
        return pair

    def __getitems__(self, indices: Sequence[int]) -> _Batch:
        """What a worker loads. An error is a value: torch could not raise one of ours there, with its four parts."""
        damaged: dict[str, str] = {}
        try:
            pairs = [self.load(index, damaged) for index in indices]
        except MaskanimError as error:
            return error
        return default_collate(pairs), damaged

    def note(self, damaged: Mapping[str, str]) -> None:
        """Remember damaged clips.

        Raises:
            MaskanimError: there are too many of them to go on.
        """
        self.damaged.update(damaged)

    def news(self) -> list[str]:
        """One line for each damaged clip that no earlier call has named."""
        fresh = [name for name in self.damaged if name not in self._told]
        self._told.update(fresh)
        return [f"passed over {name}: {self.damaged[name]}" for name in fresh]


def batches(
    pairs: Pairs, start: int, steps: int, batch: int, workers: int, *, rank: int = 0, world: int = 1
) -> Generator[Pair]:
    """Batches in order of the pairs' numbers; damaged clips that the workers meet are noted in `pairs`.

    One call for a whole run keeps the workers, and what they know about the clips, alive.

    Args:
        start: the number of the first pair, of all processes together.
        batch: pairs of one batch of this process.
        workers: processes that load; 0 loads in this one.
        rank, world: this process and how many there are. All processes of a step together see the pairs that one
            process with the joint batch would.

    Raises:
        MaskanimError: too many clips are damaged.
    """
    firsts = (start + (step * world + rank) * batch for step in range(steps))
    loader: DataLoader[Pair] = DataLoader(
        pairs,
        batch_sampler=(list(range(first, first + batch)) for first in firsts),
        num_workers=workers,
        collate_fn=_as_it_is,
        worker_init_fn=_prepare_worker,
        pin_memory=torch.cuda.is_available(),
    )
    for loaded in _forked(loader):
        if isinstance(loaded, MaskanimError):
            raise loaded
        pair, damaged = loaded
        pairs.note(damaged)
        yield pair


def _as_it_is(batch: Any) -> Any:
    return batch


def _forked(loader: DataLoader[Pair]) -> Iterator[_Batch]:
    """Start the workers, which are copies of this process, with nothing in them that is left to be collected.

    FFmpeg's scaler keeps threads, and freeing it waits for them for ever in a copy, which has none. A frame in a
    reference cycle, as PyAV makes them, would be freed there whenever Python's collector runs.
    """
    gc.collect()
    gc.freeze()  # the copies' collector passes over what is alive now
    try:
        return iter(loader)
    finally:
        gc.unfreeze()


def _prepare_worker(worker: int) -> None:
    """The workers are the threads: OpenCV would start as many again in each of them.

    Signals are for the process that they load for: it ends them when it has saved what it has.
    """
    cv2.setNumThreads(0)
    for number in SIGNALS:
        signal.signal(number, signal.SIG_IGN)
