"""Every odd input gives its result or one clear line, prints nothing of its own, and leaves no stray file."""

from __future__ import annotations

import re
from pathlib import Path

import numpy as np
import pytest

from helpers.odd_inputs import DRIVING, SOURCES, Case, Moving, Still
from maskanim.errors import MaskanimError
from maskanim.ops import Frame
from maskanim.video import open_clip, read_source

LOSSY = 14  # eight-bit steps by which a flat colour may come back different from a JPEG, a palette or an H.264


def files_in(folder: Path) -> set[Path]:
    return set(folder.rglob("*"))


def means_of_quarters(image: Frame) -> list[list[float]]:
    """The mean colours away from the edges of the quarters."""
    height, width = image.shape[0] // 2, image.shape[1] // 2
    parts = [image[y : y + height, x : x + width] for y in (0, height) for x in (0, width)]
    return [part[8:-8, 8:-8].reshape(-1, *image.shape[2:]).mean(0).tolist() for part in parts]


@pytest.mark.parametrize("case", [pytest.param(case, id=name) for name, case in SOURCES.items()])
def test_source(tmp_path: Path, capfd: pytest.CaptureFixture[str], case: Case) -> None:
    path = case.make(tmp_path)
    before = files_in(tmp_path)
    capfd.readouterr()
    if isinstance(case.expected, str):
        with pytest.raises(MaskanimError, match=case.expected) as told:
            read_source(path, **case.options)
        assert "\n" not in str(told.value)
    else:
        assert isinstance(case.expected, Still)
        image, alpha = read_source(path, **case.options)
        assert image.dtype == np.uint8 and image.flags.c_contiguous
        assert image.shape == (case.expected.height, case.expected.width, 3)
        wanted = case.expected.alpha
        seen = [quarter for quarter, opacity in enumerate(wanted or (255,) * 4) if opacity]
        means = means_of_quarters(image)
        for quarter in seen if case.expected.colours else ():
            np.testing.assert_allclose(means[quarter], case.expected.colours[quarter], atol=LOSSY)
        assert (alpha is None) == (wanted is None)
        if alpha is not None:
            assert means_of_quarters(alpha) == list(wanted or ())
    assert capfd.readouterr() == ("", "") and files_in(tmp_path) == before


@pytest.mark.parametrize("case", [pytest.param(case, id=name) for name, case in DRIVING.items()])
def test_driving(tmp_path: Path, capfd: pytest.CaptureFixture[str], case: Case) -> None:
    path = case.make(tmp_path)
    before = files_in(tmp_path)
    capfd.readouterr()
    if isinstance(case.expected, str):
        with pytest.raises(MaskanimError, match=case.expected) as told, open_clip(path, **case.options) as clip:
            list(clip)
        assert "\n" not in str(told.value)
    else:
        assert isinstance(case.expected, Moving)
        with open_clip(path, **case.options) as clip:
            frames = [(image.shape, pts * clip.time_base) for image, pts in clip]
            assert clip.finished
        check(case.expected, frames, clip.warning)
    assert capfd.readouterr() == ("", "") and files_in(tmp_path) == before


def check(expected: Moving, frames: list[tuple[tuple[int, ...], object]], warning: str | None) -> None:
    assert {shape for shape, _ in frames} == {(expected.height, expected.width, 3)}
    times = expected.times
    if expected.warning:
        assert warning and re.search(expected.warning, warning) and "\n" not in warning
        assert 10 <= len(frames) < 41
    else:
        assert warning is None
        exact = [i / 25 for i in range(times)] if isinstance(times, int) else list(times)
        assert [float(at) for _, at in frames] == pytest.approx(exact, abs=1e-9)  # type: ignore[arg-type]
