"""Writing motion files, whole or not at all."""

from __future__ import annotations

import os
import secrets
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from fractions import Fraction
from pathlib import Path
from types import TracebackType
from typing import BinaryIO, Protocol

import numpy as np

from maskanim.bundle import Bundle
from maskanim.errors import MaskanimError
from maskanim.ops import Array
from maskanim.runtime.motion import coding
from maskanim.runtime.motion.coding import Precision
from maskanim.runtime.motion.layout import (
    COUNT,
    END,
    FRAMES,
    FRAMES_PER_BLOCK,
    HEADER,
    MAGIC,
    PREFIX,
    SUFFIX,
    VERSION,
    Chain,
    End,
    Header,
    MotionModel,
    pack_block,
)
from maskanim.spec import MASK_SIZE, Record

SHAPE = (1, 1, MASK_SIZE, MASK_SIZE)


class Timed(Protocol):
    """What a motion takes its times from: a `Clip`, or another motion."""

    @property
    def time_base(self) -> Fraction: ...
    @property
    def rate(self) -> Fraction: ...
    @property
    def frame_duration(self) -> int: ...


class MotionWriter:
    """Writes the motion of a driving clip; a context manager.

    The file appears under its name when the block ends without an exception. Otherwise nothing is left, and what was
    there before is untouched. A few seconds of masks are in memory, whatever the length.

    Args:
        path: the file to write, ending in .mmot.
        driving: the clip; its time base and rate are taken now, and its last frame's duration at the end.
        model: whose masks they are.
        precision: ``exact``, with which replaying gives the clip's frames to the bit, or ``compact``, a quarter of the
            size.

    Raises:
        MaskanimError: the file cannot be written there; see `check_motion_output`.
    """

    def __init__(self, path: str | Path, driving: Timed, model: Bundle, precision: Precision = "exact") -> None:
        self.path, self._driving, self._precision = check_motion_output(path), driving, precision
        self._header = Header(
            model=MotionModel.of(model),
            precision=precision,
            time_base=str(Fraction(driving.time_base)),
            rate=str(Fraction(driving.rate)),
        )
        self._unfinished = self.path.with_name(f".maskanim-{secrets.token_hex(8)}{SUFFIX}")
        self._file: BinaryIO | None = None
        self._chain = Chain()
        self._times: list[int] = []
        self._masks: list[Array] = []
        self._frames, self._last_pts = 0, -(2**63)

    def __enter__(self) -> MotionWriter:
        return self

    def write(self, mask: Array, pts: int) -> None:
        """Append a frame's perturbed mask.

        Args:
            mask: (1, 1, 64, 64) float32 in [0, 1].
            pts: its time in units of the clip's ``time_base``, later than the frame before.

        Raises:
            MaskanimError: it is no such mask, comes out of order, or cannot be written.
        """
        subject = f"mask at {pts} of {self.path.name}"
        if mask.dtype != np.float32 or mask.shape != SHAPE:
            raise MaskanimError(subject, f"{mask.dtype} of shape {mask.shape}", f"float32 of shape {SHAPE}")
        if not (mask.min() >= 0 and mask.max() <= 1):  # False for NaN
            raise MaskanimError(subject, f"values from {mask.min()} to {mask.max()}", "values in [0, 1]")
        if pts <= self._last_pts:
            raise MaskanimError(subject, f"the frame before is at {self._last_pts}", "frames in order of time")
        self._times.append(pts)
        self._masks.append(mask[0, 0].copy())
        self._last_pts = pts
        if len(self._times) == FRAMES_PER_BLOCK:
            self._flush()

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        try:
            if kind is None:
                self._finish()
        finally:
            if self._file:
                self._file.close()
            self._unfinished.unlink(missing_ok=True)

    def _flush(self) -> None:
        """Write the frames that wait, as one block."""
        if self._times:
            count = len(self._times)
            content = coding.encode(np.array(self._times, np.int64), np.stack(self._masks), self._precision)
            self._put(FRAMES, COUNT.pack(count) + content)
            self._frames += count
            self._times, self._masks = [], []

    def _finish(self) -> None:
        self._flush()
        if not self._frames or self._file is None:
            raise MaskanimError(str(self.path), "no mask was written", "at least one", "Check the driving clip")
        self._put(END, _json(End(frames=self._frames, duration=max(self._driving.frame_duration, 0))))
        with _writing(self.path):
            self._file.close()
            self._unfinished.replace(self.path)

    def _put(self, kind: bytes, content: bytes) -> None:
        with _writing(self.path):
            if self._file is None:
                self._file = self._unfinished.open("wb")
                self._file.write(PREFIX.pack(MAGIC, VERSION) + pack_block(self._chain, HEADER, _json(self._header)))
            self._file.write(pack_block(self._chain, kind, content))


def check_motion_output(path: str | Path) -> Path:
    """Check, before any work, that a motion file can be written.

    Returns:
        The path with symbolic links followed; an existing file there is allowed, and left alone.

    Raises:
        MaskanimError: the name does not end in .mmot, it is a folder, or its parent is missing or cannot be written to.
    """
    subject, path = os.fspath(path), Path(path).resolve()
    if path.suffix.lower() != SUFFIX:
        raise MaskanimError(subject, f"a name ending in '{path.suffix}'", f"one ending in {SUFFIX}")
    if path.is_dir():
        raise MaskanimError(subject, "a folder", "the name of a file to write")
    if not path.parent.is_dir():
        raise MaskanimError(subject, f"{path.parent} is not a folder", "an existing folder", "Create it first")
    with _writing(path), tempfile.NamedTemporaryFile(dir=path.parent, prefix="."):
        return path


def _json(record: Record) -> bytes:
    return record.model_dump_json().encode()


@contextmanager
def _writing(path: Path) -> Iterator[None]:
    try:
        yield
    except OSError as error:
        received = f"writing it failed ({error.strerror})"
        raise MaskanimError(str(path), received, "a folder with room that can be written to") from error
