"""Drawn puppets as training pairs, without end."""

from __future__ import annotations

import numpy as np
import torch

from maskanim.train.data.pairs import Loaded, Pair, Pairs
from maskanim.train.puppets import Puppet

MOTION_SECONDS = 600.0  # the puppets' motions are quasi-periodic: this long, no two frames are alike


class SyntheticPairs(Pairs):
    """An endless set of puppet pairs: pair number i is a function of the seed and i alone.

    Args:
        identities: how many identities of the training split to draw from.
        seed: another seed gives other pairs of the same identities.
        population: the seed of the identities themselves.
    """

    has_figures = True

    def __init__(self, identities: int, seed: int, population: int = 0) -> None:
        super().__init__(f"drawn puppets of {identities:,} identities")
        self.identities, self.seed, self.population = identities, seed, population

    def reseeded(self, seed: int) -> SyntheticPairs:
        return SyntheticPairs(self.identities, seed, self.population)

    def load(self, index: int) -> Loaded:
        rng = np.random.default_rng([self.seed, index])
        puppet = Puppet(int(rng.integers(self.identities)), "train", self.population)
        source, driving = (puppet.frame(time) for time in rng.uniform(0, MOTION_SECONDS, 2))
        images = (torch.from_numpy(frame.image).permute(2, 0, 1).contiguous() for frame in (source, driving))
        figures = (torch.from_numpy(frame.figure_map)[None] for frame in (source, driving))
        return Loaded(Pair(*images, *figures), {})
