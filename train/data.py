"""Training pairs: a source and a driving frame of the same clip."""

from __future__ import annotations

from collections.abc import Iterator, Sized
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor
from torch.utils.data import DataLoader, Dataset, Sampler

from maskanim.train.puppets import Puppet

MOTION_SECONDS = 600.0  # the puppets' motions are quasi-periodic: this long, no two frames are alike


class Pair(NamedTuple):
    """Two frames of one clip; batched by the loader.

    Attributes:
        source, driving: (3, 256, 256) uint8.
        source_figure, driving_figure: (1, 64, 64) float32 in [0, 1], the drawn figure maps.
    """

    source: Tensor
    driving: Tensor
    source_figure: Tensor
    driving_figure: Tensor


class SyntheticPairs(Dataset[Pair]):
    """An endless set of puppet pairs: pair number i is a function of the seed and i alone.

    Args:
        identities: how many identities of the training split to draw from.
        seed: another seed gives other pairs of the same identities.
        population: the seed of the identities themselves.
    """

    def __init__(self, identities: int, seed: int, population: int = 0) -> None:
        self.identities, self.seed, self.population = identities, seed, population

    def __getitem__(self, index: int) -> Pair:
        rng = np.random.default_rng([self.seed, index])
        puppet = Puppet(int(rng.integers(self.identities)), "train", self.population)
        source, driving = (puppet.frame(time) for time in rng.uniform(0, MOTION_SECONDS, 2))
        images = (torch.from_numpy(frame.image).permute(2, 0, 1).contiguous() for frame in (source, driving))
        figures = (torch.from_numpy(frame.figure_map)[None] for frame in (source, driving))
        return Pair(*images, *figures)


class _From(Sampler[int], Sized):
    """The indices from `start` on."""

    def __init__(self, start: int, count: int) -> None:
        self.start, self.count = start, count

    def __iter__(self) -> Iterator[int]:
        return iter(range(self.start, self.start + self.count))

    def __len__(self) -> int:
        return self.count


def batches(pairs: Dataset[Pair], start: int, steps: int, batch: int, workers: int) -> Iterator[Pair]:
    """`steps` batches, beginning with pair number `start`."""
    return iter(DataLoader(pairs, batch, sampler=_From(start, steps * batch), num_workers=workers, drop_last=True))
