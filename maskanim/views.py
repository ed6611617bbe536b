"""Ways of seeing what was animated: every step in a row, side by side, masks by themselves, a clip on one sheet."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Iterator
from contextlib import ExitStack, contextmanager
from math import ceil, sqrt
from pathlib import Path
from typing import NamedTuple

import cv2
import numpy as np

from maskanim.atomic import check_writable, disk_errors, replace_folder, sibling_folder
from maskanim.errors import MaskanimError
from maskanim.ops import Array, Frame, postprocess
from maskanim.pipeline import Animation, Source
from maskanim.spec import IMAGE_SIZE

DEPTH = 65535  # of a mask's picture, 16 bits: a step is 1.5e-5, which no threshold of a mask cares for
FOLDERS = ("driving", "perturbed", "refined")
MASK = re.compile(r"\d{6,}\.png")

LONGEST_SIDE = 256  # of a picture on the sheet
LABEL = 22  # pixels of the line with the time
GAP = 4
KEPT = 4  # times as many frames as are shown: the times of those chosen from them are nearly even
PAPER, INK = (24, 24, 24), (235, 235, 235)
FONT, FONT_SCALE = cv2.FONT_HERSHEY_SIMPLEX, 0.5  # digits of 11 pixels


def draw_grid(source: Source[Array], driving: Array, steps: Animation[Array]) -> Frame:
    """All steps of one driving frame, in the order of the paper's Figure 4: s, m_s, d, m_d, m_dp, m_dr, c, f.

    Args:
        driving: (1, 3, 256, 256) float32 in [0, 1], the prepared driving frame.

    Returns:
        (256, 2048, 3) uint8 RGB.
    """
    shown = (steps.mask, steps.perturbed, steps.refined, steps.coarse, steps.frame)
    return draw_cells(source.image, source.mask, driving, *shown)


def draw_cells(*images: Array) -> Frame:
    """Images and masks in a row, each 256x256.

    Args:
        images: each (1, C, H, W) float32 in [0, 1], of 64x64 or 256x256.

    Returns:
        (256, 256 * number of images, 3) uint8 RGB; masks are grey, each of their pixels a 4x4 block.
    """
    size = (IMAGE_SIZE, IMAGE_SIZE)
    cells = [cv2.resize(postprocess(image), size, interpolation=cv2.INTER_NEAREST) for image in images]
    return np.asarray(np.hstack(cells), np.uint8)


def side_by_side(source: Frame, driving: Frame, result: Frame) -> Frame:
    """The three in a row, as high as the result.

    Args:
        source, driving, result: (H, W, 3) uint8 RGB, each of any size.

    Returns:
        (H of the result, all widths, 3) uint8 RGB; each keeps its proportions.
    """
    return np.hstack([_at_height(picture, len(result)) for picture in (source, driving, result)])


def _at_height(picture: Frame, height: int) -> Frame:
    if len(picture) == height:
        return picture
    width = max(1, round(picture.shape[1] * height / len(picture)))
    interpolation = cv2.INTER_AREA if height < len(picture) else cv2.INTER_CUBIC
    return np.asarray(cv2.resize(picture, (width, height), interpolation=interpolation), np.uint8)


class Masks(NamedTuple):
    """m_d, m_dp and m_dr of one frame, each (1, 1, 64, 64) float32 in [0, 1]."""

    driving: Array
    perturbed: Array
    refined: Array


@contextmanager
def mask_folder(path: str | Path) -> Iterator[Callable[[Masks], None]]:
    """Write masks as 16-bit grey PNGs of 64x64: ``driving/000000.png`` is m_d of the first frame, and so on.

    A folder of PNGs and not a video: nothing is lost, frame k is the file of that number, and every program opens it.
    The folder appears when the block ends without an exception, in place of an older one; otherwise what was there is
    untouched.

    Yields:
        A function that appends a frame's masks.

    Raises:
        MaskanimError: it cannot be written there; see `check_mask_folder`.
    """
    path, count = check_mask_folder(path), 0
    with ExitStack() as opened:
        with disk_errors(path):
            partial = opened.enter_context(sibling_folder(path))
            for name in FOLDERS:
                (partial / name).mkdir()

        def write(masks: Masks) -> None:
            nonlocal count
            with disk_errors(path):
                for name, mask in zip(FOLDERS, masks, strict=True):
                    levels = np.rint(mask[0, 0] * np.float32(DEPTH)).astype(np.uint16)
                    (partial / name / f"{count:06d}.png").write_bytes(cv2.imencode(".png", levels)[1].tobytes())
            count += 1

        yield write
        with disk_errors(path):
            replace_folder(partial, path)


def check_mask_folder(path: str | Path) -> Path:
    """Check, before any work, that a folder of masks can be written.

    Returns:
        The path with symbolic links followed.

    Raises:
        MaskanimError: it is a file or holds anything but masks, or its parent is missing or cannot be written to.
    """
    subject, folder = str(path), Path(path)
    if folder.is_file():
        raise MaskanimError(subject, "a file", "a folder for the masks, or a new name")
    if folder.is_dir() and not _holds_masks_alone(folder):
        raise MaskanimError(subject, "a folder with other things in it", "a new or empty one", "Choose another name")
    return check_writable(path, folder=True)


def _holds_masks_alone(folder: Path) -> bool:
    """Whether it is empty or as `mask_folder` leaves it; a folder of somebody's may well hold one called driving."""
    inside = list(folder.iterdir())
    ours = {entry.name for entry in inside if entry.is_dir()} == set(FOLDERS) and len(inside) == len(FOLDERS)
    return not inside or (ours and all(MASK.fullmatch(path.name) for entry in inside for path in entry.iterdir()))


def contact_sheet(frames: Iterable[tuple[Frame, float]], count: int = 12) -> Frame:
    """A clip on one sheet: frames from its whole length, each with its time.

    Args:
        frames: (H, W, 3) uint8 RGB and seconds; at most four times as many as are shown are in memory, and small.
        count: how many are shown, where the clip has as many.

    Returns:
        (H, W, 3) uint8 RGB: rows of frames, evenly spread over the clip from its first, their times below them.

    Raises:
        MaskanimError: the clip has no frame.
    """
    cells = _sampled(frames, count)
    if not cells:
        raise MaskanimError("contact sheet", "a clip without frames", "at least one")
    chosen = np.linspace(0, len(cells) - 1, min(count, len(cells))).round().astype(int)
    cells = [cells[i] for i in chosen]
    height, width = (max(frame.shape[axis] for frame, _ in cells) for axis in (0, 1))
    columns = ceil(sqrt(len(cells)))
    step = height + LABEL + GAP, width + GAP
    sheet = np.full((ceil(len(cells) / columns) * step[0] + GAP, columns * step[1] + GAP, 3), PAPER, np.uint8)
    for i, (frame, seconds) in enumerate(cells):
        top, left = i // columns * step[0] + GAP, i % columns * step[1] + GAP
        sheet[top : top + frame.shape[0], left : left + frame.shape[1]] = frame
        place = left + 2, top + height + LABEL - 6
        cv2.putText(sheet, format_time(seconds), place, FONT, FONT_SCALE, INK, 1, cv2.LINE_AA)
    return sheet


def _sampled(frames: Iterable[tuple[Frame, float]], count: int) -> list[tuple[Frame, float]]:
    """At least `count` frames, evenly spread and small; as they go by, every other one goes when there are too many."""
    kept: list[tuple[Frame, float]] = []
    step = 1
    for i, (frame, seconds) in enumerate(frames):
        if i % step:
            continue
        if len(kept) == KEPT * count:  # an even number: every other one goes, and this frame stays
            kept, step = kept[::2], 2 * step
        kept.append((_small(frame), seconds))
    return kept


def _small(frame: Frame) -> Frame:
    scale = LONGEST_SIDE / max(frame.shape[:2])
    if scale >= 1:
        return frame.copy()
    width, height = (max(1, round(side * scale)) for side in (frame.shape[1], frame.shape[0]))
    return np.asarray(cv2.resize(frame, (width, height), interpolation=cv2.INTER_AREA), np.uint8)


def format_time(seconds: float) -> str:
    """A time as a person reads it: ``1:02.04``, or ``1:00:02.04`` beyond an hour."""
    hundredths = round(abs(seconds) * 100)
    minutes, rest = divmod(hundredths, 6000)
    hours, minutes = divmod(minutes, 60)
    sign, tail = "-" if seconds < 0 < hundredths else "", f"{rest // 100:02d}.{rest % 100:02d}"
    return f"{sign}{hours}:{minutes:02d}:{tail}" if hours else f"{sign}{minutes}:{tail}"
