"""Training pairs, numbered without end, and their batches: pair number i is the same whoever loads it, and whenever."""

from __future__ import annotations

import gc
import signal
from abc import ABC, abstractmethod
from collections.abc import Generator, Iterator, Mapping, Sized
from typing import NamedTuple

import cv2
import torch
from torch import Tensor
from torch.utils.data import DataLoader, Dataset, Sampler, default_collate

from maskanim.errors import MaskanimError
from maskanim.runtime.jobs.interrupts import SIGNALS
from maskanim.spec import IMAGE_SIZE


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


class Loaded(NamedTuple):
    """A pair, or a batch of them, and the clips that had to be passed over to get it."""

    pair: Pair  # what training sees
    damaged: dict[str, str]  # the names of damaged clips that were drawn first, and what is wrong with each


class Pairs(ABC, Dataset[Pair]):
    """An endless set of training pairs.

    Args:
        summary: what it holds, in one line.

    Attributes:
        summary: as above.
        units: how many clips, or identities, one pass goes through; None where there is no such number.
        fingerprint: of the list of files, empty without files: pair number i depends on the seed, i and this alone.
        has_figures: whether every pair has figure maps, which m can be warmed up on.
        damaged: the names of the damaged clips met so far in this process, and what is wrong with each.
    """

    units: int | None = None
    fingerprint = ""
    has_figures = False

    def __init__(self, summary: str) -> None:
        self.summary = summary
        self.damaged: dict[str, str] = {}
        self._told: set[str] = set()

    @abstractmethod
    def load(self, index: int) -> Loaded:
        """Pair number `index`, and the damaged clips that were passed over on the way to it.

        Raises:
            MaskanimError: hardly anything can be read.
        """

    @abstractmethod
    def reseeded(self, seed: int) -> Pairs:
        """The same data in another order, for the warm-up."""

    def __getitem__(self, index: int) -> Pair:
        loaded = self.load(index)
        self.note(loaded.damaged)
        return loaded.pair

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


class _Numbers(Sampler[int], Sized):
    """The numbers of the pairs of one process: its slice of every step's joint batch."""

    def __init__(self, start: int, steps: int, batch: int, rank: int, world: int) -> None:
        self.start, self.steps, self.batch, self.rank, self.world = start, steps, batch, rank, world

    def __iter__(self) -> Iterator[int]:
        for step in range(self.steps):
            first = self.start + (step * self.world + self.rank) * self.batch
            yield from range(first, first + self.batch)

    def __len__(self) -> int:
        return self.steps * self.batch


class _Loads(Dataset["Loaded | MaskanimError"]):
    """Errors as values: a worker could not raise one of ours with its four parts."""

    def __init__(self, pairs: Pairs) -> None:
        self.pairs = pairs

    def __getitem__(self, index: int) -> Loaded | MaskanimError:
        try:
            return self.pairs.load(index)
        except MaskanimError as error:
            return error


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
    loader = DataLoader(
        _Loads(pairs),
        batch,
        sampler=_Numbers(start, steps, batch, rank, world),
        num_workers=workers,
        collate_fn=_collate,
        worker_init_fn=_prepare_worker,
        pin_memory=torch.cuda.is_available(),
    )
    for loaded in _forked(loader):
        if isinstance(loaded, MaskanimError):
            raise loaded
        pairs.note(loaded.damaged)
        yield loaded.pair


def _forked(loader: DataLoader[Loaded | MaskanimError]) -> Iterator[Loaded | MaskanimError]:
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


def _collate(loads: list[Loaded | MaskanimError]) -> Loaded | MaskanimError:
    damaged: dict[str, str] = {}
    pairs = []
    for loaded in loads:
        if isinstance(loaded, MaskanimError):
            return loaded
        pairs.append(loaded.pair)
        damaged |= loaded.damaged
    return Loaded(default_collate(pairs), damaged)


def _prepare_worker(worker: int) -> None:
    """The workers are the threads: OpenCV would start as many again in each of them.

    Signals are for the process that they load for: it ends them when it has saved what it has.
    """
    cv2.setNumThreads(0)
    for number in SIGNALS:
        signal.signal(number, signal.SIG_IGN)
