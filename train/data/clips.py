"""Real clips as training pairs: two random frames of one clip (section 3.1)."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from functools import lru_cache
from zipfile import BadZipFile

import cv2
import numpy as np
import torch
from numpy.lib.npyio import NpzFile
from numpy.typing import NDArray
from torch import Tensor

from maskanim.errors import MaskanimError
from maskanim.ops import Frame, centre_square
from maskanim.spec import IMAGE_SIZE, MASK_SIZE
from maskanim.train.data.frames import open_frames
from maskanim.train.data.layouts import ClipFile, ClipList, Kind
from maskanim.train.data.pairs import Loaded, Pair, Pairs
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

    Args:
        seed: another seed gives other orders and frames.
        summary: what it holds, in one line; left out, `describe` finds out.
    """

    def __init__(self, clips: ClipList, settings: DataSettings, seed: int, summary: str | None = None) -> None:
        damaged: dict[str, str] = {}
        super().__init__(describe(clips, settings, damaged) if summary is None else summary)
        self.clips, self.settings, self.seed = clips, settings, seed
        self.fingerprint = clips.fingerprint
        everyone = range(len(clips.clips))
        self.has_figures = all(clip.truth.is_file() for clip in clips.clips)
        self._units = list(clips.identities().values()) if settings.identity_sampling else [[i] for i in everyone]
        self.units = len(self._units)
        self.note(damaged)

    def reseeded(self, seed: int) -> ClipPairs:
        return ClipPairs(self.clips, self.settings, seed, self.summary)

    def load(self, index: int) -> Loaded:
        rng = np.random.default_rng([self.seed, index])
        damaged: dict[str, str] = {}
        unit = self._unit(index)
        for _ in range(TRIES):
            clip = self.clips.clips[unit[int(rng.integers(len(unit)))]]
            try:
                return Loaded(self._pair(clip, rng), damaged)
            except MaskanimError as error:
                damaged[clip.name] = clip.reason(error)
            unit = self._units[int(rng.integers(len(self._units)))]
        name, reason = next(iter(damaged.items()))
        raise self._refusal(f"{TRIES} draws, and no clip of them could be read; {name}: {reason}")

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
        maps = _figure_maps(clip, chosen) if self.has_figures else None
        mirrored = rng.random() < self.settings.mirror
        if mirrored:
            images = [image[:, ::-1] for image in images]
            maps = None if maps is None else maps[..., ::-1]
        if self.settings.worsen:
            images = worsen_alike(images, self.settings.worsen, rng)
        driver = self._driver(clip, chosen[1], mirrored, rng) if self.settings.across else None
        figures = torch.empty(2, 0, MASK_SIZE, MASK_SIZE)
        if maps is not None:
            figures = torch.from_numpy(maps.astype(np.float32) / 255)[:, None]
        pair = Pair(_tensor(images[0]), _tensor(images[1]), figures[0], figures[1])
        if self.settings.across:
            pair = pair._replace(driver=pair.driving if driver is None else _tensor(driver))
        return pair

    def _driver(self, clip: ClipFile, frame: int, mirrored: bool, rng: np.random.Generator) -> Frame | None:
        """Another person who moves as the clip's does in a frame; None where the pair is to be one person's."""
        if rng.random() >= self.settings.across:
            return None
        with _truth(clip) as truth:
            strip = np.asarray(cv2.imdecode(truth["driver"], cv2.IMREAD_COLOR), np.uint8)[..., ::-1]
        image = np.split(strip, strip.shape[1] // strip.shape[0], axis=1)[frame]
        return worsen_alike([image[:, ::-1] if mirrored else image], self.settings.worsen, rng)[0]


def _figure_maps(clip: ClipFile, frames: Sequence[int]) -> NDArray[np.uint8]:
    """(F, 64, 64): of some frames of a clip with ground truth."""
    with _truth(clip) as truth:
        return np.asarray(truth["figure_map"][list(frames)], np.uint8)


@contextmanager
def _truth(clip: ClipFile) -> Iterator[NpzFile]:
    try:
        with np.load(clip.truth, allow_pickle=False) as truth:
            yield truth
    except (OSError, ValueError, KeyError, IndexError, BadZipFile) as error:
        expected = "the ground truth of its clip, as maskanim-train people writes it"
        raise MaskanimError(str(clip.truth), f"damaged ({type(error).__name__})", expected) from error


@lru_cache(4)
def _order(units: int, seed: int, a_pass: int) -> NDArray[np.int64]:
    """The order of one pass. The last key keeps its generator apart from those of the pairs."""
    return np.random.default_rng([seed, a_pass, 1]).permutation(units)


def square(frame: Frame) -> Frame:
    """The pixels of `maskanim.ops.preprocess`: the largest centred square, resized.

    Args:
        frame: (H, W, 3) uint8 RGB; both sides at least 64.

    Returns:
        (256, 256, 3) uint8 RGB.
    """
    image = centre_square(frame)
    if len(image) == IMAGE_SIZE:
        return image
    how = cv2.INTER_AREA if len(image) > IMAGE_SIZE else cv2.INTER_LINEAR
    return np.asarray(cv2.resize(image, (IMAGE_SIZE, IMAGE_SIZE), interpolation=how), np.uint8)


def _tensor(image: Frame) -> Tensor:
    return torch.from_numpy(np.ascontiguousarray(image.transpose(2, 0, 1)))


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
    names: dict[Kind, str] = {"video": "videos", "frames": "folders", "strip": "strips"}
    counts = {name: sum(clip.kind == kind for clip in clips.clips) for kind, name in names.items()}
    kinds = {name: count for name, count in counts.items() if count}
    return (
        next(iter(kinds))
        if len(kinds) == 1
        else ", ".join(f"{count} {name if count > 1 else name[:-1]}" for name, count in kinds.items())
    )


def _range(sizes: set[tuple[int, int]]) -> str:
    ordered = [f"{width}x{height}" for width, height in sorted(sizes, key=lambda size: size[0] * size[1])]
    return " to ".join(dict.fromkeys((ordered[0], ordered[-1]))) if ordered else "unreadable"
