"""Any frames of a clip, without reading all of it."""

from __future__ import annotations

from collections.abc import Sequence
from functools import lru_cache
from pathlib import Path

import numpy as np

from maskanim.errors import MaskanimError
from maskanim.ops import Frame
from maskanim.train.data.layouts import ClipFile
from maskanim.train.data.video import Frames, Seeker, index_video
from maskanim.video import read_picture
from maskanim.video.pictures import PICTURE_SUFFIXES, require_file
from maskanim.video.read import natural_order

KNOWN_CLIPS = 16384  # whose times or names a process remembers; 2.5 KB each for 300 frames of video


def open_frames(clip: ClipFile) -> Frames:
    """Open a clip for reading any of its frames.

    What has to be known of a video or a folder beforehand, the times or names of its frames, is read once in a process.

    Raises:
        MaskanimError: it is damaged, cut short, without frames or not what its name says.
    """
    if clip.kind == "strip":
        return _Strip(clip.path)
    if clip.kind == "frames":
        return _Folder(clip.path)
    require_file(clip.path, "a video")
    stat = clip.path.stat()
    return Seeker(clip.path, _known_index(clip.path, stat.st_mtime_ns, stat.st_size))


class _Strip(Frames):
    """Square frames side by side; the picture is decoded whole."""

    def __init__(self, path: Path) -> None:
        picture = read_picture(path)
        height, width = picture.shape[:2]
        if width % height:
            expected = "a strip of square frames, its width a whole multiple of its height"
            raise MaskanimError(str(path), f"a picture of {width}x{height} pixels", expected)
        self.count = width // height
        self._frames = np.split(picture, self.count, axis=1)

    def read(self, numbers: Sequence[int]) -> list[Frame]:
        return [self._frames[i] for i in numbers]


class _Folder(Frames):
    """Pictures in natural order (2 before 10)."""

    def __init__(self, path: Path) -> None:
        self._path = path
        try:
            self._names = _picture_names(path, path.stat().st_mtime_ns)
        except OSError as error:
            raise MaskanimError(str(path), f"cannot be read ({error.strerror})", "the frames of a clip") from error
        self.count = len(self._names)
        if not self.count:
            raise MaskanimError(str(path), "a folder without pictures", "the frames of a clip")

    def read(self, numbers: Sequence[int]) -> list[Frame]:
        return [read_picture(self._path / self._names[i]) for i in numbers]


@lru_cache(KNOWN_CLIPS)
def _picture_names(folder: Path, changed: int) -> tuple[str, ...]:
    """`changed`, when a file was last added or removed, is there to tell one state of a folder from the next."""
    files = (path for path in folder.iterdir() if not path.name.startswith("."))
    return tuple(sorted((file.name for file in files if file.suffix.lower() in PICTURE_SUFFIXES), key=natural_order))


_known_index = lru_cache(KNOWN_CLIPS)(lambda path, changed, size: index_video(path))
