"""Clips as the figures see them: 256x256, every so many frames."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from contextlib import ExitStack
from itertools import islice
from pathlib import Path
from typing import TypeVar

from maskanim.errors import MaskanimError
from maskanim.ops import Frame, postprocess, preprocess
from maskanim.spec import IMAGE_SIZE
from maskanim.video import open_clip, read_picture
from maskanim.video.picture import PICTURE_SUFFIXES

T = TypeVar("T")


def square(image: Frame) -> Frame:
    """What a network of ours would get: the largest centred square, resized to 256x256; uint8 RGB."""
    return image if image.shape == (IMAGE_SIZE, IMAGE_SIZE, 3) else postprocess(preprocess(image))


def open_squares(path: Path, opened: ExitStack, every: int = 1) -> Iterator[Frame]:
    """The frames of a video, a strip or a folder of pictures, as 256x256 squares.

    Args:
        path: the clip.
        opened: closes it.
        every: 12 takes the frames 0, 12, 24, ...

    Raises:
        MaskanimError: at once, if there is no such clip; at the frame where it is damaged.
    """
    clip = opened.enter_context(open_clip(path))
    return (square(image) for image, _ in islice(clip, 0, None, every))


def first_square(path: Path) -> Frame:
    """A picture, or the first frame of a clip, as a 256x256 square.

    Raises:
        MaskanimError: there is none.
    """
    if path.suffix.lower() in PICTURE_SUFFIXES:
        image = read_picture(path)
        height, width = image.shape[:2]
        return square(image[:, :height] if width % height == 0 else image)  # a strip's first frame
    with ExitStack() as opened:
        return first_of(open_squares(path, opened), path)


def first_of(frames: Iterable[T], path: Path) -> T:
    """The first of what a clip yields.

    Raises:
        MaskanimError: there is none.
    """
    for frame in frames:
        return frame
    raise MaskanimError(str(path), "no frame in it", "at least one")
