"""A contact sheet shows the whole clip, evenly, with readable times."""

from __future__ import annotations

import numpy as np
import pytest

from maskanim.errors import MaskanimError
from maskanim.ops import Frame
from maskanim.views import ContactSheet
from maskanim.views.sheet import GAP, LABEL, PAPER, told_time


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
    sheet = ContactSheet(12)
    for i in range(frames):
        sheet.add(numbered(i), i / 25)
        assert len(sheet._kept) <= 48
    numbers = shown(sheet.draw(), columns=4)
    assert len(numbers) == 12 and numbers[0] == 0 and numbers[-1] >= frames * 0.95 - 1
    gaps = np.diff(numbers)
    assert gaps.min() >= 1 and gaps.max() - gaps.min() <= max(1, 0.07 * frames)


def test_a_short_clip_is_shown_whole() -> None:
    sheet = ContactSheet(12)
    for i in range(5):
        sheet.add(numbered(i), i / 25)
    drawn = sheet.draw()
    assert shown(drawn, columns=3) == [0, 1, 2, 3, 4]
    assert drawn.shape == (2 * (64 + LABEL + GAP) + GAP, 3 * (96 + GAP) + GAP, 3)


def test_each_frame_has_its_time_below_it() -> None:
    drawn = []
    for seconds in (0.0, 61.25):
        sheet = ContactSheet(1)
        sheet.add(numbered(0), seconds)
        drawn.append(sheet.draw())
    label = np.s_[GAP + 64 : GAP + 64 + LABEL]
    assert all(np.count_nonzero(picture[label].max(2) > 60) > 150 for picture in drawn)  # ink for seven signs
    np.testing.assert_array_equal(drawn[0][: GAP + 64], drawn[1][: GAP + 64])
    assert (drawn[0][label] != drawn[1][label]).any()


def test_large_frames_are_shown_small() -> None:
    sheet = ContactSheet(2)
    for i in range(2):
        sheet.add(numbered(i, 1080, 1920), i)
    assert sheet.draw().shape == (144 + LABEL + 2 * GAP, 2 * (256 + GAP) + GAP, 3)


def test_what_is_no_sheet() -> None:
    with pytest.raises(MaskanimError, match="0 frames; expected one or more"):
        ContactSheet(0)
    with pytest.raises(MaskanimError, match="a clip without frames"):
        ContactSheet().draw()


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
    assert told_time(seconds) == told
