"""The layouts of data sets in this field: videos, folders of frames and strips, with or without train/ and test/."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Literal, NamedTuple

from maskanim.errors import MaskanimError
from maskanim.video.pictures import PICTURE_SUFFIXES, VIDEO_SUFFIXES
from maskanim.video.read import natural_order

Split = Literal["train", "test"]
Kind = Literal["video", "frames", "strip"]

SPLITS: tuple[Split, ...] = ("train", "test")
TRUTH_SUFFIX = ".npz"
LAYOUTS = "videos, folders of frames or strips"


class ClipFile(NamedTuple):
    """One clip of a data set."""

    path: Path  # the file, or the folder of frames
    name: str  # its path below the data set's folder, with '/'
    kind: Kind  # how its frames are stored

    @property
    def truth(self) -> Path:
        """Where the ground truth of a rendered clip lies."""
        return self.path.with_suffix(".npz")

    @property
    def identity(self) -> str:
        """Who is in it: the sub-folder it lies in, else its name, up to the first '#' (``ID#video#start#end.mp4``)."""
        return self.name.split("/")[0].split("#")[0]

    def reason(self, error: MaskanimError) -> str:
        """What an error says is wrong with this clip; of a folder, in which file."""
        part = Path(error.subject).name
        return error.received if part == self.path.name else f"{part}: {error.received}"


@dataclass(frozen=True)
class ClipList:
    """The clips of a folder, in the order of their names."""

    folder: Path  # where they lie: the data set's folder, or its train/ or test/
    clips: tuple[ClipFile, ...]  # at least one
    others: int  # how many files are none of a clip's

    @property
    def fingerprint(self) -> str:
        """A hash of the names in their order."""
        return hashlib.sha256("\n".join(clip.name for clip in self.clips).encode("utf-8", "surrogatepass")).hexdigest()

    def identities(self) -> dict[str, list[int]]:
        """The numbers of the clips of each identity, in the order of the clips."""
        found: dict[str, list[int]] = {}
        for i, clip in enumerate(self.clips):
            found.setdefault(clip.identity, []).append(i)
        return found


def has_splits(folder: Path) -> bool:
    """Whether a data set brings its own train/ and test/, or one of them."""
    return any((folder / split).is_dir() for split in SPLITS)


def list_clips(folder: Path, split: Split | None = None) -> ClipList:
    """Recognise the clips of a folder; kinds may be mixed.

    A video is a file with a video's ending. A picture that lies in the folder itself is a strip, a file for a clip;
    pictures in a sub-folder are the frames of one clip, whatever the sub-folder is called (some data sets call it
    ``ID#video#start#end.mp4``). Sub-folders without pictures are searched. Hidden files are no part of it.

    Args:
        split: with train/ or test/ in the folder, which one; a folder without them is its own ``train``. None: all of
            the folder, its train/ and test/ being sub-folders like any other.

    Raises:
        MaskanimError: there is no such folder or split, or no clip in it.
    """
    if not folder.is_dir():
        received = "a file" if folder.exists() else "there is no such folder"
        raise MaskanimError(str(folder), received, f"a folder of {LAYOUTS}")
    root = folder if split is None else _split_folder(folder, split)
    found = list(_search(root, root))
    clips = sorted((clip for clip in found if clip), key=lambda clip: natural_order(clip.name))
    if not clips:
        raise MaskanimError(str(root), "no clip in it", LAYOUTS, f"Videos end in {', '.join(sorted(VIDEO_SUFFIXES))}")
    return ClipList(root, tuple(clips), len(found) - len(clips))


def _split_folder(folder: Path, split: Split) -> Path:
    if (folder / split).is_dir():
        return folder / split
    if split == "train" and not has_splits(folder):
        return folder
    next_step = "maskanim-train prepare splits clips into train/ and test/"
    raise MaskanimError(str(folder), f"no {split}/ in it", f"a folder with {split}/", next_step)


def _search(folder: Path, root: Path) -> Iterator[ClipFile | None]:
    """The clips below a folder; None for each file that belongs to none."""
    folders, pictures, files = [], 0, 0
    with os.scandir(folder) as entries:
        for entry in entries:
            if entry.name.startswith("."):
                continue
            files += 1
            suffix = "." + entry.name.rpartition(".")[2].lower()
            if entry.is_dir():
                folders.append(Path(entry.path))
            elif suffix in VIDEO_SUFFIXES:
                yield _clip(Path(entry.path), root, "video")
            elif suffix == TRUTH_SUFFIX and folder == root:
                files -= 1  # it belongs to the clip beside it
            elif suffix not in PICTURE_SUFFIXES:
                yield None
            elif folder == root:
                yield _clip(Path(entry.path), root, "strip")
            else:
                pictures += 1
    if pictures or not files:  # an empty folder is a clip without frames: it counts as damaged
        yield _clip(folder, root, "frames")
    for path in folders:
        yield from _search(path, root)


def _clip(path: Path, root: Path, kind: Kind) -> ClipFile | None:
    return ClipFile(path, path.relative_to(root).as_posix(), kind) if path != root else None
