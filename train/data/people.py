"""Rendered people as training pairs, without end, drawn as they are needed."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import torch

from maskanim.train.data.pairs import Loaded, Pair, Pairs
from maskanim.train.data.worsen import worsen_alike
from maskanim.train.people.assets import read_pack
from maskanim.train.people.clip import PersonFrame, Studio
from maskanim.train.settings import DataSettings

MOTION_SECONDS = 600.0  # motions are quasi-periodic: this long, no two frames are alike
REUSED = 4  # pairs that are drawn of a person before the next: posing is cheap, dressing is not


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
        super().__init__(f"rendered people of {identities:,} identities")
        self.assets, self.identities, self.settings, self.seed = assets, identities, settings, seed
        self.fingerprint = (pack := read_pack(assets)).fingerprint
        self._pack = pack
        self._studio: Studio | None = None
        self._drawn: tuple[int, list[PersonFrame], list[PersonFrame]] = (-1, [], [])

    def reseeded(self, seed: int) -> PeoplePairs:
        return PeoplePairs(self.assets, self.identities, self.settings, seed)

    def load(self, index: int) -> Loaded:
        group, place = divmod(index, REUSED)
        if self._drawn[0] != group:
            self._drawn = group, *self._draw(group)
        _, frames, others = self._drawn
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
        source, driving, *driver = (np.ascontiguousarray(image.transpose(2, 0, 1)) for image in images)
        arrays = source, driving, *(np.ascontiguousarray(each)[None] for each in maps), *driver
        return Loaded(Pair(*map(torch.from_numpy, arrays)), {})

    def _draw(self, group: int) -> tuple[list[PersonFrame], list[PersonFrame]]:
        """One person at random times, whose frames make the pairs of a group; and another who moves alike, if asked."""
        if self._studio is None:  # in the process that draws: a context of OpenGL is not shared
            self._studio = Studio(self._pack, self.settings.framing)
        rng = np.random.default_rng([self.seed, group])
        numbers = rng.integers(self.identities, size=2 if self.settings.across else 1).tolist()
        motion, times = self._studio.motion(numbers[0]), rng.uniform(0, MOTION_SECONDS, REUSED + 1)
        drawn = [[], []]  # type: list[list[PersonFrame]]
        for number, frames in zip(numbers, drawn, strict=False):
            person, scene = self._studio.person(number), self._studio.scene(number)
            frames += self._studio.frames(person, scene, [motion.at(time) for time in times])
        return drawn[0], drawn[1]
