"""Strips of columns, and P_test against published masks."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from contextlib import ExitStack
from pathlib import Path

import cv2
import numpy as np
import pytest

from maskanim.benchmarks.judges.perception import Perception
from maskanim.benchmarks.scoring.engine import score_video
from maskanim.benchmarks.scoring.videos import AUTHORS, Columns, mask_agreement
from maskanim.errors import MaskanimError
from maskanim.ops import Frame

Save = Callable[[Path, Sequence[Frame]], Path]


def strip(*cells: Frame) -> Frame:
    return np.hstack(cells)


def test_columns_by_name(see_spot: Perception, spot: Callable[..., Frame], tmp_path: Path, save: Save) -> None:
    white = np.full((256, 256, 3), 255, np.uint8)
    frames = [strip(spot(20, 20), white, spot(20, 30 + i), spot(23, 34 + i), spot(20, 30 + i)) for i in range(20)]
    path = save(tmp_path / "a.mp4", frames)
    columns = Columns("source, -, driving, theirs, ours")
    assert columns.methods == ("theirs", "ours")
    theirs, ours = score_video(columns.case(path), see_spot)
    assert (theirs.figure("AKD"), ours.figure("AKD"), ours.figure("CSIM")) == (5, 0, 1)
    assert theirs.video == "a" and theirs.frames == 20
    assert theirs.difficulty is not None and theirs.difficulty.totals.tolist() == [10.0 + i for i in range(20)]
    assert score_video(columns.case(path, every=8), see_spot)[0].frames == 3


def test_a_drawn_border_is_no_part_of_the_picture(spot: Callable[..., Frame], tmp_path: Path, save: Save) -> None:
    """Its pixels take their neighbours' values, and nothing moves."""
    framed = spot(100, 50)
    framed[:2] = framed[-2:] = 255
    framed[:, :2] = framed[:, -2:] = 255
    path = save(tmp_path / "a.mp4", [strip(framed, framed)])
    with ExitStack() as stack:
        for cell in next(Columns("driving,ours", border=2).cells(path, stack)):
            np.testing.assert_array_equal(cell, spot(100, 50))


def test_a_border_that_leaves_nothing(spot: Callable[..., Frame], tmp_path: Path, save: Save) -> None:
    path = save(tmp_path / "a.mp4", [strip(spot(1, 1), spot(1, 1))])
    with ExitStack() as stack, pytest.raises(MaskanimError, match=r"--border 128: .* cells of 256 pixels"):
        next(Columns("driving,ours", border=128).cells(path, stack))


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("source,ours", "'driving' and at least one method"),
        ("source,driving,-", "'driving' and at least one method"),
        ("driving,ours,ours", "a name twice"),
        ("driving,,ours", "an empty one"),
    ],
)
def test_columns_that_make_no_sense(text: str, told: str) -> None:
    with pytest.raises(MaskanimError, match=told):
        Columns(text)


def test_a_strip_of_another_width(spot: Callable[..., Frame], tmp_path: Path, save: Save) -> None:
    path = save(tmp_path / "a.mp4", [strip(spot(), spot())])
    refused = pytest.raises(MaskanimError, match="512x256 pixels; expected 3 columns of 256 pixels: 768")
    with refused, ExitStack() as stack:
        Columns("source,driving,ours").case(path).open(stack)


def test_the_masks_of_p_test_agree_with_themselves(tmp_path: Path, save: Save) -> None:
    """Masks drawn at 64x64; a quarter of the perturbed one's kept pixels then turned to zero is told exactly."""
    rng = np.random.default_rng(0)
    mask = rng.choice([10, 90, 200], (64, 64)).astype(np.uint8)
    kept = np.where(mask > 60, mask, 0).astype(np.uint8)
    wrong = kept.copy()
    wrong[:, :16] = 0
    cells = [
        cv2.merge([cv2.resize(each, (256, 256), interpolation=cv2.INTER_NEAREST)] * 3) for each in (mask, kept, wrong)
    ]
    columns = Columns("driving_mask,perturbed_mask,driving,ours")
    right = save(tmp_path / "right.mp4", [strip(cells[0], cells[1], cells[0], cells[0])])
    assert mask_agreement(columns, right, 60 / 255) == 1
    off = save(tmp_path / "off.mp4", [strip(cells[0], cells[2], cells[0], cells[0])])
    assert mask_agreement(columns, off, 60 / 255) == 1 - (kept[:, :16] > 0).sum() / 64**2


@pytest.mark.parametrize(
    ("folder", "threshold", "least"), [("Taichi", 60, 0.99), ("RoboNet", 60, 0.99), ("Vox", 100, 0.95)]
)
def test_p_test_reproduces_the_published_masks(samples: Path, folder: str, threshold: int, least: float) -> None:
    """At the released code's thresholds; what is left is video compression at the border of what is kept."""
    files = sorted((samples / folder).glob("*.mp4"), key=lambda file: file.stat().st_size)[:2]
    columns = Columns(AUTHORS, border=2)
    assert min(mask_agreement(columns, file, threshold / 255, every=30) for file in files) >= least
    wrong = mask_agreement(columns, files[0], (threshold + 60) / 255, every=60)
    assert wrong < least
