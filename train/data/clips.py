"""Real clips as training pairs: two random frames of one clip (section 3.1)."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from functools import lru_cache

import cv2
import numpy as np
from numpy.lib.npyio import NpzFile
from numpy.typing import NDArray

from maskanim.errors import MaskanimError
from maskanim.ops import Array, Frame, centre_square
from maskanim.spec import IMAGE_SIZE
from maskanim.train.data.frames import open_frames
from maskanim.train.data.layouts import ClipFile, ClipList, Kind
from maskanim.train.data.pairs import Pair, Pairs, pair_of
from maskanim.train.data.worsen import worsen_alike
from maskanim.train.settings import DataSettings

TRIES = 32  # with fewer than half of the clips damaged, so many in a row are as likely as 2 ** -32
EXAMINED = 200  # clips opened to say what a data set holds; of larger ones, a sample


class ClipPairs(Pairs):
    """An endless set of pairs from the clips of a folder: pair number i is a function of the seed, i and their names.

    Pass after pass goes through all clips in a random order, a pair of each; with `settings.identity_sampling`, through
    all identities, a pair of one random clip of each. The two frames are drawn apart from one another, so they may be
    in either order and, rarely, the same. Where a clip turns out to be damaged, another is drawn instead by the same
    generator, and no clip is remembered as damaged for the drawing: a resumed run draws what the first one drew.
    """

    def __init__(self, clips: ClipList, settings: DataSettings, seed: int) -> None:
        damaged: dict[str, str] = {}
        super().__init__(describe(clips, settings, damaged), seed)
        self.clips, self.settings, self.fingerprint = clips, settings, clips.fingerprint
        everyone = range(len(clips.clips))
        self.has_figures = all(clip.truth.is_file() for clip in clips.clips)
        self._units = list(clips.identities().values()) if settings.identity_sampling else [[i] for i in everyone]
        self.units = len(self._units)
        self.note(damaged)

    def load(self, index: int, damaged: dict[str, str]) -> Pair:
        rng = np.random.default_rng([self.seed, index])
        unit = self._unit(index)
        for _ in range(TRIES):
            clip = self.clips.clips[unit[int(rng.integers(len(unit)))]]
            try:
                return self._pair(clip, rng)
            except MaskanimError as error:
                damaged[clip.name] = clip.reason(error)
            unit = self._units[int(rng.integers(len(self._units)))]
        told = f"{TRIES} draws, and no clip of them could be read; {clip.name}: {damaged[clip.name]}"
        raise self._refusal(told)

    def note(self, damaged: Mapping[str, str]) -> None:
        super().note(damaged)
        if 2 * len(self.damaged) > len(self.clips.clips):
            name, reason = next(iter(self.damaged.items()))
            told = f"{len(self.damaged)} of {len(self.clips.clips)} clips are damaged, as {name}: {reason}"
            raise self._refusal(told)

    def _refusal(self, received: str) -> MaskanimError:
        return MaskanimError(str(self.clips.folder), received, "clips of which most can be read", "Copy them again")

    def _unit(self, index: int) -> Sequence[int]:
        a_pass, place = divmod(index, len(self._units))
        return self._units[_order(len(self._units), self.seed, a_pass)[place]]

    def _pair(self, clip: ClipFile, rng: np.random.Generator) -> Pair:
        with open_frames(clip) as frames:
            if frames.count < 2:
                raise MaskanimError(str(clip.path), "a clip of a single frame", "at least two frames")
            chosen = rng.integers(frames.count, size=2).tolist()
            images = [square(image) for image in frames.read(chosen)]
        maps = list(_figure_maps(clip, chosen)) if self.has_figures else []
        mirrored = rng.random() < self.settings.mirror
        if mirrored:
            images, maps = [image[:, ::-1] for image in images], [each[:, ::-1] for each in maps]
        if self.settings.worsen:
            images = worsen_alike(images, self.settings.worsen, rng)
        if self.settings.across:
            driver = self._driver(clip, chosen[1], mirrored, rng)
            images.append(images[1] if driver is None else driver)
        return pair_of(images, maps)

    def _driver(self, clip: ClipFile, frame: int, mirrored: bool, rng: np.random.Generator) -> Frame | None:
        """Another person who moves as the clip's does in a frame; None where the pair is to be one person's."""
        if rng.random() >= self.settings.across:
            return None
        with _truth(clip) as truth:
            strip = np.asarray(cv2.imdecode(truth["driver"], cv2.IMREAD_COLOR), np.uint8)[..., ::-1]
        image = np.split(strip, strip.shape[1] // strip.shape[0], axis=1)[frame]
        return worsen_alike([image[:, ::-1] if mirrored else image], self.settings.worsen, rng)[0]


def _figure_maps(clip: ClipFile, frames: Sequence[int]) -> Array:
    """(F, 64, 64) in [0, 1]: of some frames of a clip with ground truth."""
    with _truth(clip) as truth:
        return np.asarray(truth["figure_map"][list(frames)], np.float32) / np.float32(255)


@contextmanager
def _truth(clip: ClipFile) -> Iterator[NpzFile]:
    try:
        with np.load(clip.truth, allow_pickle=False) as truth:
            yield truth
    except Exception as error:  # a damaged file ends in whichever of a dozen types its first bad byte leads to
        expected = "the ground truth of its clip, as maskanim-train people writes it"
        raise MaskanimError(str(clip.truth), f"damaged ({type(error).__name__})", expected) from error


@lru_cache(4)
def _order(units: int, seed: int, a_pass: int) -> NDArray[np.int64]:
    """The order of one pass. The last key keeps its generator apart from those of the pairs."""
    return np.random.default_rng([seed, a_pass, 1]).permutation(units)


def square(frame: Frame, side: int = IMAGE_SIZE) -> Frame:
    """The largest centred square, resized as `maskanim.ops.preprocess` does it, rounded to eight bits.

    Args:
        frame: (H, W, 3) uint8 RGB; both sides at least 64.

    Returns:
        (side, side, 3) uint8 RGB.
    """
    image = centre_square(frame)
    if len(image) == side:
        return image
    how = cv2.INTER_AREA if len(image) > side else cv2.INTER_LINEAR
    return np.asarray(cv2.resize(image, (side, side), interpolation=how), np.uint8)


def describe(clips: ClipList, settings: DataSettings, damaged: dict[str, str]) -> str:
    """What a data set holds, in one line, by opening its clips, or a sample of many.

    Args:
        damaged: receives the names of the clips that cannot be read, and why.
    """
    every = -(-len(clips.clips) // EXAMINED)
    sizes: set[tuple[int, int]] = set()
    count = 0
    for clip in clips.clips[::every]:
        try:
            with open_frames(clip) as frames:
                height, width = frames.read([0])[0].shape[:2]
                count += frames.count
            sizes.add((width, height))
        except MaskanimError as error:
            damaged[clip.name] = clip.reason(error)
    about = f"about {float(f'{count * every:.2g}'):,.0f}" if every > 1 else f"{count:,}"
    told = [f"{len(clips.clips):,} clips: {_kinds(clips)} of {_range(sizes)} frames, {about} frames"]
    if settings.identity_sampling:
        told.append(f"{len(clips.identities()):,} identities")
    if settings.train_clips is not None and settings.train_clips != len(clips.clips):
        told.append(f"the paper: {settings.train_clips:,} clips")
    if damaged:
        told.append(f"{len(damaged)} damaged")
    if clips.others:
        told.append(f"{clips.others} other files passed over")
    return "; ".join(told)


def _kinds(clips: ClipList) -> str:
    names: dict[Kind, str] = {"video": "video", "frames": "folder", "strip": "strip"}
    counts = Counter(names[clip.kind] for clip in clips.clips)
    if len(counts) == 1:
        return f"{next(iter(counts))}s"
    kinds = [name for name in names.values() if counts[name]]
    return ", ".join(f"{counts[name]} {name}{'s' if counts[name] > 1 else ''}" for name in kinds)


def _range(sizes: set[tuple[int, int]]) -> str:
    ordered = [f"{width}x{height}" for width, height in sorted(sizes, key=lambda size: size[0] * size[1])]
    return " to ".join(dict.fromkeys((ordered[0], ordered[-1]))) if ordered else "unreadable"
