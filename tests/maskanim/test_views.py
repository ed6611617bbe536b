"""Side by side, masks as pictures to a 65535th, and sheets that show the whole clip, evenly, with readable times."""

from __future__ import annotations

from pathlib import Path

import cv2
import numpy as np
import pytest

from maskanim.errors import MaskanimError
from maskanim.ops import Frame
from maskanim.views import (
    DEPTH,
    FOLDERS,
    GAP,
    LABEL,
    PAPER,
    Masks,
    _sampled,
    check_mask_folder,
    contact_sheet,
    format_time,
    mask_folder,
    side_by_side,
)


def test_three_squares_stay_as_they_are() -> None:
    pictures = list(np.random.default_rng(0).integers(0, 256, (3, 256, 256, 3), np.uint8))
    np.testing.assert_array_equal(side_by_side(*pictures), np.hstack(pictures))


def test_all_are_as_high_as_the_result_and_keep_their_proportions() -> None:
    source, driving = np.full((600, 300, 3), 10, np.uint8), np.full((64, 96, 3), 20, np.uint8)
    row = side_by_side(source, driving, np.full((300, 400, 3), 30, np.uint8))
    assert row.shape == (300, 150 + 450 + 400, 3) and row.dtype == np.uint8
    assert (row[:, :150] == 10).all() and (row[:, 150:600] == 20).all() and (row[:, 600:] == 30).all()


@pytest.fixture
def masks() -> Masks:
    return Masks(*np.random.default_rng(0).random((3, 1, 1, 64, 64), np.float32))


def test_they_come_back_to_half_a_step(tmp_path: Path, masks: Masks) -> None:
    with mask_folder(tmp_path / "masks") as write:
        for i in range(3):
            write(Masks(*(mask / (i + 1) for mask in masks)))
    for name, mask in zip(FOLDERS, masks, strict=True):
        files = sorted((tmp_path / "masks" / name).iterdir())
        assert [file.name for file in files] == ["000000.png", "000001.png", "000002.png"]
        for i, file in enumerate(files):
            found = cv2.imread(str(file), cv2.IMREAD_UNCHANGED)
            assert found.dtype == np.uint16 and found.shape == (64, 64)
            np.testing.assert_allclose(found / DEPTH, mask[0, 0] / (i + 1), rtol=0, atol=0.51 / DEPTH)
    assert [path.name for path in tmp_path.iterdir()] == ["masks"]


def test_an_older_folder_is_replaced_whole(tmp_path: Path, masks: Masks) -> None:
    for count in (3, 1):
        with mask_folder(tmp_path / "masks") as write:
            for _ in range(count):
                write(masks)
    assert len(list((tmp_path / "masks" / "refined").iterdir())) == 1


@pytest.mark.parametrize("error", [ValueError, KeyboardInterrupt])
def test_a_failure_leaves_what_was_there(tmp_path: Path, masks: Masks, error: type[BaseException]) -> None:
    with mask_folder(tmp_path / "masks") as write:
        write(masks)
    before = {path: path.read_bytes() for path in tmp_path.rglob("*.png")}
    with pytest.raises(error), mask_folder(tmp_path / "masks") as write:
        write(masks)
        write(masks)
        raise error
    assert {path: path.read_bytes() for path in tmp_path.rglob("*.png")} == before
    assert [path.name for path in tmp_path.iterdir()] == ["masks"]


def test_a_folder_with_other_things_is_left_alone(tmp_path: Path) -> None:
    """Also if it has the names of ours, as a folder of drivers may."""
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine" / "thesis.txt").write_text("years of work")
    for name in ("faces", "mixed"):
        for folder in FOLDERS if name == "mixed" else FOLDERS[:1]:
            (tmp_path / name / folder).mkdir(parents=True)
    (tmp_path / "faces/driving/000000.png").touch()
    (tmp_path / "mixed/driving/clip.mp4").touch()
    (tmp_path / "file").write_text("")
    for name, told in (
        ("mine", "a folder with other things in it; expected a new or empty one"),
        ("faces", "a folder with other things in it"),
        ("mixed", "a folder with other things in it"),
        ("file", "a file; expected a folder for the masks"),
        ("none/masks", "expected an existing folder"),
    ):
        with pytest.raises(MaskanimError, match=told):
            check_mask_folder(tmp_path / name)
    assert (tmp_path / "mine" / "thesis.txt").read_text() == "years of work"


def test_a_disk_that_refuses_is_one_line(tmp_path: Path, masks: Masks, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(path: Path, content: bytes) -> int:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(Path, "write_bytes", refuse)
    with (
        pytest.raises(MaskanimError, match=r"masks: writing it failed \(No space left on device\)"),
        mask_folder(tmp_path / "masks") as write,
    ):
        write(masks)
    assert not list(tmp_path.iterdir())


def numbered(i: int, height: int = 64, width: int = 96) -> Frame:
    """A frame that is its number."""
    return np.full((height, width, 3), (i % 200 + 30, i // 200, 7), np.uint8)


def shown(sheet: Frame, columns: int, height: int = 64, width: int = 96) -> list[int]:
    """The numbers of a sheet's frames."""
    tops = range(GAP, len(sheet) - height, height + LABEL + GAP)
    pixels = [sheet[top, GAP + column * (width + GAP)] for top in tops for column in range(columns)]
    return [int(pixel[0]) - 30 + 200 * int(pixel[1]) for pixel in pixels if not np.array_equal(pixel, PAPER)]


@pytest.mark.parametrize("frames", [12, 13, 47, 48, 49, 100, 1000, 4999])
def test_frames_are_spread_evenly_over_the_clip(frames: int) -> None:
    clip = [(numbered(i), i / 25) for i in range(frames)]
    assert len(_sampled(clip, 12)) <= 48
    numbers = shown(contact_sheet(clip, 12), columns=4)
    assert len(numbers) == 12 and numbers[0] == 0 and numbers[-1] >= frames * 0.95 - 1
    gaps = np.diff(numbers)
    assert gaps.min() >= 1 and gaps.max() - gaps.min() <= max(1, 0.07 * frames)


def test_a_short_clip_is_shown_whole() -> None:
    drawn = contact_sheet(((numbered(i), i / 25) for i in range(5)), 12)
    assert shown(drawn, columns=3) == [0, 1, 2, 3, 4]
    assert drawn.shape == (2 * (64 + LABEL + GAP) + GAP, 3 * (96 + GAP) + GAP, 3)


def test_each_frame_has_its_time_below_it() -> None:
    drawn = [contact_sheet([(numbered(0), seconds)], 1) for seconds in (0.0, 61.25)]
    label = np.s_[GAP + 64 : GAP + 64 + LABEL]
    assert all(np.count_nonzero(picture[label].max(2) > 60) > 150 for picture in drawn)  # ink for seven signs
    np.testing.assert_array_equal(drawn[0][: GAP + 64], drawn[1][: GAP + 64])
    assert (drawn[0][label] != drawn[1][label]).any()


def test_large_frames_are_shown_small() -> None:
    drawn = contact_sheet([(numbered(i, 1080, 1920), i) for i in range(2)], 2)
    assert drawn.shape == (
        144 + LABEL + 2 * GAP,
        2 * (256 + GAP) + GAP,
        3,
    )


def test_what_is_no_sheet() -> None:
    with pytest.raises(MaskanimError, match="a clip without frames"):
        contact_sheet([])


@pytest.mark.parametrize(
    ("seconds", "told"),
    [
        (0, "0:00.00"),
        (3.479, "0:03.48"),
        (59.996, "1:00.00"),
        (3723.5, "1:02:03.50"),
        (-0.04, "-0:00.04"),
        (-0.001, "0:00.00"),
    ],
)
def test_times_as_a_person_reads_them(seconds: float, told: str) -> None:
    assert format_time(seconds) == told
