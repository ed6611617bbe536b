"""Pairs without end, drawn as they are needed: puppets, and rendered people."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from maskanim.train.data.pairs import Pair, Pairs, pair_of
from maskanim.train.data.worsen import worsen_alike
from maskanim.train.people.assets import read_pack
from maskanim.train.people.clip import PersonFrame, Studio
from maskanim.train.puppets import Puppet
from maskanim.train.settings import DataSettings

MOTION_SECONDS = 600.0  # motions are quasi-periodic: this long, no two frames are alike
REUSED = 4  # pairs that are drawn of a person before the next: posing is cheap, dressing is not


class SyntheticPairs(Pairs):
    """An endless set of puppet pairs: pair number i is a function of the seed and i alone.

    Args:
        identities: how many identities of the training split to draw from.
        seed: another seed gives other pairs of the same identities.
        population: the seed of the identities themselves.
    """

    has_figures = True

    def __init__(self, identities: int, seed: int, population: int = 0) -> None:
        super().__init__(f"drawn puppets of {identities:,} identities", seed)
        self.identities, self.population = identities, population

    def load(self, index: int, damaged: dict[str, str]) -> Pair:
        rng = np.random.default_rng([self.seed, index])
        puppet = Puppet(int(rng.integers(self.identities)), "train", self.population)
        frames = [puppet.frame(time) for time in rng.uniform(0, MOTION_SECONDS, 2)]
        return pair_of([frame.image for frame in frames], [frame.figure_map for frame in frames])


class PeoplePairs(Pairs):
    """An endless set of pairs of rendered people: pair number i is a function of the seed and i alone.

    Args:
        assets: MakeHuman's data folder.
        identities: how many identities of the training split to draw from.
        settings: heads or bodies, and how often pairs are mirrored, made worse, and given another driver.
        seed: another seed gives other pairs of the same identities.
    """

    has_figures = True

    def __init__(self, assets: Path, identities: int, settings: DataSettings, seed: int) -> None:
        super().__init__(f"rendered people of {identities:,} identities", seed)
        self.identities, self.settings = identities, settings
        self._pack = read_pack(assets)
        self.fingerprint = self._pack.fingerprint
        self._studio: Studio | None = None
        self._drawn: list[list[PersonFrame]] = []
        self._drawn_of = (-1, -1)  # the seed and the group of pairs

    def load(self, index: int, damaged: dict[str, str]) -> Pair:
        group, place = divmod(index, REUSED)
        if self._drawn_of != (self.seed, group):
            self._drawn, self._drawn_of = self._draw(group), (self.seed, group)
        frames, others = self._drawn
        rng = np.random.default_rng([self.seed, index, 1])
        chosen = [frames[place], frames[place + 1]]
        images = worsen_alike([frame.image for frame in chosen], self.settings.worsen, rng)
        maps = [frame.figure_map for frame in chosen]
        if others and rng.random() < self.settings.across:
            images += worsen_alike([others[place + 1].image], self.settings.worsen, rng)
        elif others:
            images.append(images[1])
        if rng.random() < self.settings.mirror:
            images, maps = [image[:, ::-1] for image in images], [each[:, ::-1] for each in maps]
        return pair_of(images, maps)

    def _draw(self, group: int) -> list[list[PersonFrame]]:
        """One person at random times, whose frames make the pairs of a group; and another who moves alike, if asked."""
        if self._studio is None:  # in the process that draws: a context of OpenGL is not shared
            self._studio = Studio(self._pack, self.settings.framing)
        rng = np.random.default_rng([self.seed, group])
        numbers = rng.integers(self.identities, size=2 if self.settings.across else 1).tolist()
        motion, times = self._studio.motion(numbers[0]), rng.uniform(0, MOTION_SECONDS, REUSED + 1)
        drawn: list[list[PersonFrame]] = [[], []]
        for number, frames in zip(numbers, drawn, strict=False):
            person, scene = self._studio.person(number), self._studio.scene(number)
            frames += self._studio.frames(person, scene, [motion.at(time) for time in times])
        return drawn
