"""Strips of columns in one video file, the form in which the paper's authors published their samples."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import ExitStack
from functools import partial
from itertools import islice, tee
from pathlib import Path

import cv2
import numpy as np

from maskanim.benchmarks.scoring.engine import Case, Footage
from maskanim.benchmarks.scoring.frames import first_of, square
from maskanim.errors import MaskanimError
from maskanim.ops import Array, Frame, perturb
from maskanim.spec import MASK_SIZE, Perturbation
from maskanim.video import open_clip

SKIPPED = "-"
ROLES = ("source", "target")
MASKS = ("driving_mask", "perturbed_mask")  # not scored, but held against P_test
# The authors' samples; everything that is not a method is left out.
AUTHORS = "source,-,driving,driving_mask,perturbed_mask,-,low_res,x2face,monkeynet,fomm,ours"


class Columns:
    """What the columns of a strip are.

    Args:
        text: a name for each, with commas: ``source``, ``driving`` (needed), ``target``, ``driving_mask`` and
            ``perturbed_mask``, ``-`` for one to be left out; any other name is that of a method.
        border: pixels along the edge of each cell that are a drawn frame's; their neighbours take their place, so that
            nothing moves.

    Raises:
        MaskanimError: a name comes twice, or there is no driving column or no method.
    """

    def __init__(self, text: str, border: int = 0) -> None:
        self.names = [name.strip() for name in text.split(",")]
        self.border = border
        kept = [name for name in self.names if name != SKIPPED]
        subject = f"--columns {text}"
        if len(kept) != len(set(kept)) or "" in kept:
            raise MaskanimError(
                subject, "a name twice, or an empty one", "a name for each column, '-' to leave one out"
            )
        self.methods = tuple(name for name in kept if name not in (*ROLES, *MASKS, "driving"))
        if "driving" not in kept or not self.methods:
            raise MaskanimError(subject, ", ".join(kept) or "no column", "'driving' and at least one method")

    def cells(self, path: Path, stack: ExitStack, every: int = 1) -> Iterator[list[Frame]]:
        """The cells of every so many frames, in the order of the columns; as they are in the file.

        Raises:
            MaskanimError: the file cannot be read, or its frames do not divide into so many squares.
        """
        clip = stack.enter_context(open_clip(path))
        for image, _ in islice(clip, 0, None, every):
            height, width = image.shape[:2]
            if width != height * len(self.names):
                told = f"{len(self.names)} columns of {height} pixels: {height * len(self.names)} pixels wide"
                raise MaskanimError(str(path), f"frames of {width}x{height} pixels", told)
            yield [self._without_border(cell) for cell in np.split(image, len(self.names), axis=1)]

    def case(self, path: Path, every: int = 1) -> Case:
        """One file as a video to score."""

        def opened_on(stack: ExitStack) -> Footage:
            with ExitStack() as first:
                source = (
                    self._pick("source", first_of(self.cells(path, first), path)) if "source" in self.names else None
                )

            # One decoding for all columns: the copies run a batch apart at most, and hold no more than that.
            wanted = [name for name in ("driving", "target", *self.methods) if name in self.names]
            copies = zip(wanted, tee(self.cells(path, stack, every), len(wanted)), strict=True)
            streams = {name: map(partial(self._pick, name), copy) for name, copy in copies}
            return Footage(
                driving=streams["driving"],
                generated={name: streams[name] for name in self.methods},
                target=streams.get("target"),
                source=source,
            )

        return Case(path.stem, opened_on, self.methods)

    def _pick(self, name: str, cells: Sequence[Frame]) -> Frame:
        return square(cells[self.names.index(name)])

    def _without_border(self, cell: Frame) -> Frame:
        b, side = self.border, len(cell)
        return np.pad(cell[b : side - b, b : side - b], ((b, b), (b, b), (0, 0)), mode="edge")


def mask_agreement(columns: Columns, path: Path, threshold: float, every: int = 1) -> float:
    """Whether the published perturbed masks are P_test of the published driving masks (equation (3)).

    Args:
        columns: with ``driving_mask`` and ``perturbed_mask``.
        path: the file.
        threshold: of P_test's kind ``fixed``, in [0, 1].
        every: 12 takes the frames 0, 12, 24, ...

    Returns:
        The share of the pixels of 64x64 that are kept in both or zero in both. P_test keeps no pixel as dark as the
        threshold, so that in the compressed cell one is taken for kept from half of it.
    """
    driving, perturbed = (columns.names.index(name) for name in MASKS)
    perturbation = Perturbation(kind="fixed", threshold=threshold)
    same = []
    with ExitStack() as stack:
        for cells in columns.cells(path, stack, every):
            ours = perturb(_mask(cells[driving]), perturbation) > 0
            same.append((ours == (_mask(cells[perturbed]) > threshold / 2)).mean())
    return float(np.mean(same))


def _mask(cell: Frame) -> Array:
    """(1, 1, 64, 64) float32 in [0, 1]."""
    grey = cell.astype(np.float32).mean(-1) / 255
    return np.asarray(cv2.resize(grey, (MASK_SIZE, MASK_SIZE), interpolation=cv2.INTER_AREA))[None, None]
