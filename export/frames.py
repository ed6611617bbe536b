"""The frames on which an export is verified."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import islice
from pathlib import Path
from typing import TypeVar

from maskanim.errors import MaskanimError
from maskanim.export.parity import FramePair
from maskanim.models import DEMO
from maskanim.ops import Frame, postprocess, preprocess
from maskanim.video import open_clip, read_picture
from maskanim.video.pictures import PICTURE_SUFFIXES

T = TypeVar("T")

FRAMES_PER_CLIP = 8
DEMO_FRAMES = (DEMO / "source.png", DEMO / "driving.mp4")


def read_pairs(paths: Sequence[Path], count: int = FRAMES_PER_CLIP) -> list[FramePair]:
    """Each frame, in 8 bits as any video has it, as the source of the next one, the last as that of the first.

    Args:
        paths: pictures, folders of pictures, videos. Empty: the embedded demo's.
        count: of a folder or a video, so many frames spread over it.

    Raises:
        MaskanimError: a path that is none of these, or no path where there is no demo.
    """
    if not paths and not all(path.is_file() for path in DEMO_FRAMES):
        wanted = "pictures to compare the exported networks on"
        raise MaskanimError("--frames", "not given, and there is no embedded demo", wanted, "Add --frames FOLDER")
    frames = [
        preprocess(postprocess(preprocess(frame))) for path in paths or DEMO_FRAMES for frame in _frames(path, count)
    ]
    return [FramePair(frames[i - 1], frames[i]) for i in range(len(frames))]


def _frames(path: Path, count: int) -> list[Frame]:
    if path.suffix.lower() in PICTURE_SUFFIXES and not path.is_dir():
        return [read_picture(path)]
    with open_clip(path) as clip:
        chosen = spread(range(clip.frame_count or count), count)
        return [frame.image for i, frame in enumerate(islice(clip, chosen[-1] + 1)) if i in chosen]


def spread(items: Sequence[T], count: int) -> Sequence[T]:
    """So many of the items, or all where there are fewer, evenly spread over them."""
    return [items[i * len(items) // count] for i in range(count)] if len(items) > count else items
