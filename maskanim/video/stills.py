"""Driving clips made of still pictures: folders, strips, single pictures and animated ones."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Sequence
from fractions import Fraction
from functools import partial
from pathlib import Path

import numpy as np
from PIL import Image

from maskanim.errors import MaskanimError
from maskanim.ops import Frame
from maskanim.video.clip import Footage, ShownFrame
from maskanim.video.container import DRIVING_KINDS
from maskanim.video.picture import PICTURE_SUFFIXES, count_frames, opened_picture, pixels, read_picture

MILLISECOND = Fraction(1, 1000)
UNSTATED_DURATION = 100  # milliseconds; browsers show frames that state none for so long


class Stills(Footage):
    """Pictures, each shown for one tick.

    Args:
        path: the file or folder they come from.
        draw: one function per frame that reads it.
        rate: frames per second.
    """

    def __init__(self, path: Path, draw: Sequence[Callable[[], Frame]], rate: Fraction) -> None:
        self.path, self.time_base, self.rate, self.frame_count = path, 1 / rate, rate, len(draw)
        self._draw = draw

    def shown(self, since: int | None = None) -> Iterator[ShownFrame]:
        """See `Footage`."""
        first = min(since or 0, len(self._draw) - 1)
        return (ShownFrame(self._draw[i], i, 1) for i in range(first, len(self._draw)))


def folder_of_pictures(folder: Path, rate: Fraction) -> Stills:
    """The pictures of a folder in natural order.

    Raises:
        MaskanimError: there are none.
    """
    visible = (path for path in folder.iterdir() if not path.name.startswith("."))
    pictures = [path for path in visible if path.suffix.lower() in PICTURE_SUFFIXES]
    if not pictures:
        kinds = ", ".join(sorted(PICTURE_SUFFIXES))
        raise MaskanimError(str(folder), "a folder without pictures", DRIVING_KINDS, f"Pictures end in {kinds}")
    pictures.sort(key=lambda path: natural_order(path.name))
    return Stills(folder, [partial(read_picture, path) for path in pictures], rate)


def natural_order(name: str) -> list[str | int]:
    """A sort key by which ``frame10`` comes behind ``frame9``."""
    return [int(part) if part.isdecimal() else part.lower() for part in re.split(r"(\d+)", name)]


def picture_clip(path: Path, rate: Fraction) -> Footage:
    """A picture file: an animation, a strip of squares, or else one frame.

    Raises:
        MaskanimError: as `read_picture`.
    """
    with opened_picture(path) as opened:
        if count_frames(opened) > 1 and opened.format in {"AVIF", "WEBP"}:
            return Animation(path, opened)
        picture = pixels(opened).image
    height, width = picture.shape[:2]
    count = 1 if width % height else width // height
    squares = [np.ascontiguousarray(square) for square in np.split(picture, count, axis=1)]
    return Stills(path, [partial(np.asarray, square) for square in squares], rate)


class Animation(Footage):
    """An animated WebP, which FFmpeg does not decode: the frames as Pillow composes them, in milliseconds."""

    def __init__(self, path: Path, opened: Image.Image) -> None:
        self.path, self.time_base = path, MILLISECOND
        self.frame_count = self._count = count_frames(opened)
        pixels(opened)
        self.rate = Fraction(1000, _duration(opened))

    def shown(self, since: int | None = None) -> Iterator[ShownFrame]:
        """See `Footage`."""
        at = 0
        with opened_picture(self.path) as opened:
            for i in range(self._count):
                image = pixels(opened, i).image
                yield ShownFrame(image, at, _duration(opened))
                at += _duration(opened)


def _duration(opened: Image.Image) -> int:
    return round(opened.info.get("duration", 0)) or UNSTATED_DURATION
