"""Reading motion files."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

from maskanim.bundle import Bundle
from maskanim.errors import MaskanimError
from maskanim.ops import Array
from maskanim.runtime.motion import coding
from maskanim.runtime.motion.layout import (
    COUNT,
    END,
    EXPECTED,
    FRAMES,
    HEADER,
    Block,
    End,
    Header,
    MotionModel,
    damaged,
    parse,
    read_blocks,
)


class TimedMask(NamedTuple):
    """A perturbed mask and its time.

    Attributes:
        mask: (1, 1, 64, 64) float32 in [0, 1].
        pts: when its frame is shown, in units of the motion's ``time_base``.
    """

    mask: Array
    pts: int


class Motion:
    """A motion file that was found whole. Iterating reads its masks, in order of time; again begins anew.

    Where a `ClipWriter` wants the driving clip it takes a motion as well: it has a clip's attributes, and no audio.

    Attributes:
        path: the file.
        header: what it says of itself.
        time_base: seconds per tick of every ``pts``.
        rate: frames per second; the average where it varies.
        frame_count: how many masks there are.
        frame_duration: ticks for which the last frame is shown.
        finished: whether every mask has been read.
    """

    audio = None
    audio_rate = None

    def __init__(self, path: Path, header: Header, end: End) -> None:
        self.path, self.header = path, header
        self.time_base, self.rate = header.fractions()
        self.frame_count, self.frame_duration = end.frames, end.duration
        self.finished = False

    def require_model(self, bundle: Bundle) -> None:
        """Refuse a model for which these masks mean something else.

        Raises:
            MaskanimError: its m or its perturbation is another.
        """
        model, own = MotionModel.of(bundle), self.header.model
        if not own.same_masks(model):
            received = f"masks by m of model {own.name}, {own.m_sha256[:12]}"
            expected = f"masks by m of model {model.name}, {model.m_sha256[:12]}, with the same perturbation"
            next_step = "Run it with the model that made it, or make it anew with this one"
            raise MaskanimError(str(self.path), received, expected, next_step)

    def __iter__(self) -> Iterator[TimedMask]:
        """The masks; a few seconds of them are in memory.

        Raises:
            MaskanimError: the file was changed since it was opened.
        """
        self.finished = False
        for block in _blocks(self.path):
            if block.kind == FRAMES:
                yield from _decoded(block, self.header, str(self.path))
        self.finished = True


def open_motion(path: str | Path) -> Motion:
    """Read a motion file once through and check all of it.

    Raises:
        MaskanimError: there is no such file, it is not a motion file, it is of a newer version, any byte of it is
            damaged, or it is cut short.
    """
    path = Path(path)
    subject, header, end, frames = str(path), None, None, 0
    for block in _blocks(path):
        if header is None:
            header = _header(block, subject)
        elif block.kind == END:
            end = parse(End, block, subject)
        elif block.kind == FRAMES:
            frames += _count(block, subject)
        else:
            raise damaged(subject, f"a block of an unknown kind, {block.kind!r}")
    if header is None or end is None or frames != end.frames:
        raise damaged(subject, f"{frames} frames, and another number at its end")
    return Motion(path, header, end)


def _blocks(path: Path) -> Iterator[Block]:
    try:
        with path.open("rb") as file:
            yield from read_blocks(file, str(path))
    except FileNotFoundError:
        raise MaskanimError(str(path), "there is no such file", EXPECTED, "Check the path") from None
    except OSError as error:
        raise MaskanimError(str(path), f"cannot be read ({error.strerror})", "a readable file") from error


def _header(block: Block, subject: str) -> Header:
    if block.kind != HEADER:
        raise damaged(subject, "no header")
    header: Header = parse(Header, block, subject)
    return header


def _count(block: Block, subject: str) -> int:
    if len(block.content) <= COUNT.size:
        raise damaged(subject, "an empty block")
    return int(COUNT.unpack_from(block.content)[0])


def _decoded(block: Block, header: Header, subject: str) -> Iterator[TimedMask]:
    try:
        times, masks = coding.decode(block.content[COUNT.size :], _count(block, subject), header.precision)
    except ValueError as error:
        raise damaged(subject, f"frames that cannot be decoded ({error})") from error
    for mask, pts in zip(masks, times, strict=True):
        yield TimedMask(mask[None, None], int(pts))
