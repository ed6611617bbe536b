"""The masks of a clip as pictures.

A folder of PNGs and not a video: nothing is lost, frame k is the file of that number, and every program opens it. What
videos carry without loss at this depth, hardly any player shows. A motion file keeps masks small.
"""

from __future__ import annotations

import tempfile
from contextlib import ExitStack
from pathlib import Path
from types import TracebackType
from typing import NamedTuple

import cv2
import numpy as np

from maskanim.errors import MaskanimError
from maskanim.folders import replace_folder, sibling_folder
from maskanim.ops import Array

DEPTH = 65535  # 16 bits: a step is 1.5e-5, which no threshold of a mask cares for
FOLDERS = ("driving", "perturbed", "refined")


class Masks(NamedTuple):
    """m_d, m_dp and m_dr of one frame, each (1, 1, 64, 64) float32 in [0, 1]; m_d is None where nobody knows it."""

    driving: Array | None
    perturbed: Array
    refined: Array


class MaskFolder:
    """Writes masks as 16-bit grey PNGs of 64x64; a context manager.

    ``driving/000000.png`` is m_d of the first frame, ``perturbed`` holds m_dp, ``refined`` m_dr. The folder appears
    when the block ends without an exception, in place of an older one; otherwise what was there is untouched.

    Args:
        path: the folder.

    Raises:
        MaskanimError: it cannot be written there; see `check_mask_folder`.
    """

    def __init__(self, path: str | Path) -> None:
        self.path, self._frames = check_mask_folder(path), 0
        self._owned = ExitStack()

    def __enter__(self) -> MaskFolder:
        try:
            self._partial = self._owned.enter_context(sibling_folder(self.path))
        except OSError as error:
            raise _refused(self.path, error) from error
        return self

    def write(self, masks: Masks) -> None:
        """Append a frame's masks.

        Raises:
            MaskanimError: the disk refuses.
        """
        for name, mask in zip(FOLDERS, masks, strict=True):
            if mask is not None:
                self._write(self._partial / name / f"{self._frames:06d}.png", mask)
        self._frames += 1

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        with self._owned:
            if kind is None:
                try:
                    replace_folder(self._partial, self.path)
                except OSError as refusal:
                    raise _refused(self.path, refusal) from refusal

    def _write(self, file: Path, mask: Array) -> None:
        encoded = cv2.imencode(".png", np.rint(mask[0, 0] * np.float32(DEPTH)).astype(np.uint16))[1]
        try:
            file.parent.mkdir(exist_ok=True)
            file.write_bytes(encoded.tobytes())
        except OSError as error:
            raise _refused(self.path, error) from error


def check_mask_folder(path: str | Path) -> Path:
    """Check, before any work, that a folder of masks can be written.

    Returns:
        The path with symbolic links followed.

    Raises:
        MaskanimError: it is a file or holds anything but masks, or its parent is missing or cannot be written to.
    """
    subject, path = str(path), Path(path).resolve()
    if path.exists() and not path.is_dir():
        raise MaskanimError(subject, "a file", "a folder for the masks, or a new name")
    if path.is_dir() and any(entry.name not in FOLDERS for entry in path.iterdir()):
        raise MaskanimError(subject, "a folder with other things in it", "a new or empty one", "Choose another name")
    if not path.parent.is_dir():
        raise MaskanimError(subject, f"{path.parent} is not a folder", "an existing folder", "Create it first")
    try:
        with tempfile.TemporaryDirectory(dir=path.parent, prefix="."):
            return path
    except OSError as error:
        raise _refused(path, error) from error


def _refused(path: Path, error: OSError) -> MaskanimError:
    return MaskanimError(str(path), f"writing it failed ({error.strerror})", "a place with room that can be written to")
