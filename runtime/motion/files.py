"""Motion files: how they are laid out, and reading and writing them.

A magic, a version, and blocks in a chain of hashes. A block is its length (4 bytes, little-endian), a letter that says
what it is, its content, and a SHA-256 over all of that and the hash before it; the first follows on that of magic and
version. So each hash vouches for the file up to there, and the last one for the whole. The blocks are one header (H),
frames (F), and one end (E), without which a file is not whole.
"""

from __future__ import annotations

import hashlib
import os
import struct
from collections.abc import Iterator
from contextlib import ExitStack
from fractions import Fraction
from pathlib import Path
from types import TracebackType
from typing import BinaryIO, Literal, TypeVar, cast

import numpy as np
from pydantic import Field, ValidationError

from maskanim.atomic import check_writable, disk_errors, replacing
from maskanim.bundle import Bundle
from maskanim.errors import MaskanimError
from maskanim.ops import Array, Frame
from maskanim.runtime.motion import coding
from maskanim.spec import MASK_SIZE, Perturbation, Record
from maskanim.video import Clip, FrameSource, SourceFrame

SUFFIX = ".mmot"
MAGIC = b"MMOT\r\n\x1a\n"  # a transfer as text, which changes line ends, shows in it
VERSION = 1
PREFIX = struct.Struct("<8sH")
LENGTH = struct.Struct("<I")
COUNT = struct.Struct("<H")  # of frames, before the content of a block of frames
HEADER, FRAMES, END = b"H", b"F", b"E"
HASH_SIZE = hashlib.sha256().digest_size

FRAMES_PER_BLOCK = 64
MAX_BLOCK = 2 * FRAMES_PER_BLOCK * 64 * 64 * 4  # more than any block has: a damaged length takes no memory
SHAPE = (1, 1, MASK_SIZE, MASK_SIZE)
FRACTION = r"^[1-9]\d{0,18}(/[1-9]\d{0,18})?$"

EXPECTED = "a motion file, as --save-motion writes it"

R = TypeVar("R", bound=Record)


class MotionModel(Record):
    """Whose masks a motion file holds: r understands those of the m that it was trained with, and no other's."""

    name: str  # the model's, for messages; two models may have one name
    m_sha256: str = Field(pattern=r"^[0-9a-f]{64}$")  # of m's file
    perturbation: Perturbation  # P_test

    @classmethod
    def of(cls, bundle: Bundle) -> MotionModel:
        """A bundle's."""
        manifest = bundle.manifest
        return cls(name=manifest.name, m_sha256=manifest.networks["m"].sha256, perturbation=manifest.model.perturbation)


class Header(Record):
    """What a motion file says of itself."""

    model: MotionModel  # whose masks they are
    precision: Literal["exact"] = "exact"  # of the values; ``exact`` keeps every bit
    time_base: str = Field(pattern=FRACTION)  # seconds per tick, as a fraction
    rate: str = Field(pattern=FRACTION)  # frames per second, as a fraction; the average where it varies


class End(Record):
    """The end of a motion file: how many frames there are, and for how many ticks the last of them is shown."""

    frames: int = Field(ge=1)
    duration: int = Field(ge=0)


class HashChain:
    """The hashes of a file's blocks, each over the one before."""

    def __init__(self) -> None:
        self._last = hashlib.sha256(PREFIX.pack(MAGIC, VERSION)).digest()

    def next(self, block: bytes) -> bytes:
        """The hash of a block with its length."""
        self._last = hashlib.sha256(self._last + block).digest()
        return self._last


class Motion(FrameSource):
    """A motion file that was found whole: a source of masks, each (1, 1, 64, 64) float32 in [0, 1], for frames.

    Attributes:
        header: what it says of itself; see `FrameSource` for the others.
    """

    def __init__(self, path: Path, header: Header, end: End) -> None:
        self.path, self.header, self._end = path, header, end
        self.time_base, self.rate, self.frame_count = Fraction(header.time_base), Fraction(header.rate), end.frames
        self.first = next(self.frames()).pts

    def require_model(self, bundle: Bundle) -> None:
        """Refuse a model for which these masks mean something else.

        Raises:
            MaskanimError: its m or its perturbation is another.
        """
        model, own = MotionModel.of(bundle), self.header.model
        if (own.m_sha256, own.perturbation) != (model.m_sha256, model.perturbation):
            received = f"masks by m of model {own.name}, {own.m_sha256[:12]}"
            expected = f"masks by m of model {model.name}, {model.m_sha256[:12]}, with the same perturbation"
            next_step = "Run it with the model that made it, or make it anew with this one"
            raise MaskanimError(str(self.path), received, expected, next_step)

    def frames(self, since: int | None = None) -> Iterator[SourceFrame]:
        """See `FrameSource`; each lasts until the next one comes. A few seconds of masks are in memory.

        Raises:
            MaskanimError: the file was changed since it was opened.
        """
        masks = self.masks()
        mask, pts = next(masks)
        for following, later in masks:
            yield SourceFrame(cast(Frame, mask), pts, later - pts)
            mask, pts = following, later
        yield SourceFrame(cast(Frame, mask), pts, self._end.duration)

    def masks(self) -> Iterator[tuple[Array, int]]:
        """Each mask and its time, in ticks; see `frames`."""
        for kind, content in _read_blocks(self.path):
            if kind != FRAMES:
                continue
            try:
                times, masks = coding.decode(content[COUNT.size :], _count(content, self.path))
            except ValueError as error:
                raise _damaged(self.path, f"frames that cannot be decoded ({error})") from error
            for mask, pts in zip(masks, times, strict=True):
                yield mask[None, None], int(pts)


def open_motion(path: str | Path) -> Motion:
    """Read a motion file once through and check all of it.

    Raises:
        MaskanimError: there is no such file, it is not a motion file, it is of a newer version, any byte of it is
            damaged, or it is cut short.
    """
    path = Path(path)
    header, end, frames = None, None, 0
    for kind, content in _read_blocks(path):
        if header is None:
            if kind != HEADER:
                raise _damaged(path, "no header")
            header = _parsed(Header, content, path)
        elif kind == END:
            end = _parsed(End, content, path)
        elif kind == FRAMES:
            frames += _count(content, path)
        else:
            raise _damaged(path, f"a block of an unknown kind, {kind!r}")
    if header is None or end is None or frames != end.frames:
        raise _damaged(path, f"{frames} frames, and another number at its end")
    return Motion(path, header, end)


def _read_blocks(path: Path) -> Iterator[tuple[bytes, bytes]]:
    """The letter and the content of each block, verified before it comes; memory for one is taken."""
    try:
        with path.open("rb") as file:
            prefix = file.read(PREFIX.size)
            if len(prefix) < PREFIX.size or not prefix.startswith(MAGIC):
                raise MaskanimError(str(path), "not a motion file", EXPECTED)
            if (version := PREFIX.unpack(prefix)[1]) != VERSION:
                told, known = (
                    f"a motion file of format version {version}",
                    f"version {VERSION}, which this maskanim reads",
                )
                raise MaskanimError(str(path), told, known, "Install a newer maskanim")
            hashes, frames, where, kind = HashChain(), 0, "damaged at its beginning", b""
            while kind != END:
                kind, content = _read_block(file, hashes, path, where)
                yield kind, content
                frames += _count(content, path) if kind == FRAMES else 0
                where = f"damaged behind {frames} whole frames"
            if file.read(1):
                raise _damaged(path, "something behind its end")
    except FileNotFoundError:
        raise MaskanimError(str(path), "there is no such file", EXPECTED, "Check the path") from None
    except OSError as error:
        raise MaskanimError(str(path), f"cannot be read ({error.strerror})", "a readable file") from error


def _read_block(file: BinaryIO, hashes: HashChain, path: Path, where: str) -> tuple[bytes, bytes]:
    length = file.read(LENGTH.size)
    size = LENGTH.unpack(length)[0] if len(length) == LENGTH.size else 0
    if size > MAX_BLOCK:
        raise _damaged(path, where)
    content, digest = file.read(size), file.read(HASH_SIZE)
    if len(digest) < HASH_SIZE or not size:
        raise _damaged(path, f"{where}, or cut short there")
    if hashes.next(length + content) != digest:
        raise _damaged(path, where)
    return content[:1], content[1:]


def _count(content: bytes, path: Path) -> int:
    """How many frames a block of frames holds."""
    if len(content) <= COUNT.size:
        raise _damaged(path, "an empty block")
    return int(COUNT.unpack_from(content)[0])


def _parsed(record: type[R], content: bytes, path: Path) -> R:
    """A record from a block of JSON; one that says something else, although its hash is right, is refused."""
    try:
        return record.model_validate_json(content)
    except ValidationError as error:
        raise _damaged(path, f"its {record.__name__.lower()} says something else") from error


def _damaged(path: Path, received: str) -> MaskanimError:
    next_step = "Copy it again from where it is whole, or make it anew with --save-motion"
    return MaskanimError(str(path), received, "a whole motion file", next_step)


class MotionWriter:
    """Writes the motion of a driving clip; a context manager.

    The file appears under its name when the block ends without an exception. Otherwise nothing is left, and what was
    there before is untouched. A few seconds of masks are in memory, whatever the length.

    Args:
        path: the file to write, ending in .mmot.
        driving: the clip; its time base and rate are taken now, and its last frame's duration at the end.
        model: whose masks they are.

    Raises:
        MaskanimError: the file cannot be written there; see `check_motion_output`.
    """

    def __init__(self, path: str | Path, driving: Clip, model: Bundle) -> None:
        self.path, self._driving = check_motion_output(path), driving
        time_base, rate = str(Fraction(driving.time_base)), str(Fraction(driving.rate))
        self._header = Header(model=MotionModel.of(model), precision="exact", time_base=time_base, rate=rate)
        self._hashes = HashChain()
        self._waiting: list[tuple[int, Array]] = []
        self._frames, self._last_pts = 0, -(2**63)

    def __enter__(self) -> MotionWriter:
        with disk_errors(self.path), ExitStack() as opened:
            self._file = opened.enter_context(opened.enter_context(replacing(self.path)).open("wb"))
            self._file.write(PREFIX.pack(MAGIC, VERSION))
            self._write_block(HEADER, self._header.model_dump_json().encode())
            self._opened = opened.pop_all()
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
        self._waiting.append((pts, mask[0, 0].copy()))
        self._last_pts = pts
        if len(self._waiting) == FRAMES_PER_BLOCK:
            with disk_errors(self.path):
                self._flush()

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        with disk_errors(self.path), self._opened:
            if error is not None:
                self._opened.__exit__(kind, error, at)
                return
            self._flush()
            if not self._frames:
                raise MaskanimError(str(self.path), "no mask was written", "at least one", "Check the driving clip")
            end = End(frames=self._frames, duration=max(self._driving.frame_duration, 0))
            self._write_block(END, end.model_dump_json().encode())

    def _flush(self) -> None:
        """Write the frames that wait, as one block."""
        if self._waiting:
            times, masks = zip(*self._waiting, strict=True)
            content = coding.encode(np.array(times, np.int64), np.stack(masks))
            self._write_block(FRAMES, COUNT.pack(len(times)) + content)
            self._frames += len(times)
            self._waiting = []

    def _write_block(self, kind: bytes, content: bytes) -> None:
        self._file.write(pack_block(self._hashes, kind, content))


def pack_block(hashes: HashChain, kind: bytes, content: bytes) -> bytes:
    """A block as it is written."""
    block = LENGTH.pack(len(kind) + len(content)) + kind + content
    return block + hashes.next(block)


def check_motion_output(path: str | Path) -> Path:
    """Check, before any work, that a motion file can be written.

    Returns:
        The path with symbolic links followed; an existing file there is allowed, and left alone.

    Raises:
        MaskanimError: the name does not end in .mmot, or as `atomic.check_writable`.
    """
    if Path(path).suffix.lower() != SUFFIX:
        raise MaskanimError(os.fspath(path), f"a name ending in '{Path(path).suffix}'", f"one ending in {SUFFIX}")
    return check_writable(path)
