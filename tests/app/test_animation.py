"""From files to the two videos, without the page."""

from __future__ import annotations

import logging
import os
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from threading import Event

import av
import numpy as np
import pytest

from helpers.odd_files import coloured, pq
from maskanim.app.animation import CancelledError, Request, animate
from maskanim.app.limits import Limits
from maskanim.app.worker import LoadedModel
from maskanim.errors import MaskanimError
from maskanim.logs import LOGGER
from maskanim.ops import Frame
from maskanim.provenance import read_provenance
from maskanim.runtime import Animator
from maskanim.video import open_clip


@pytest.fixture(autouse=True)
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """No key is left in the user's folder."""
    monkeypatch.setenv("MASKANIM_HOME", str(tmp_path / "home"))


@pytest.fixture(scope="module")
def loaded() -> Iterator[LoadedModel]:
    with Animator.open("demo", "ort") as animator:
        yield LoadedModel(animator, Event())


@pytest.fixture
def make_request(tmp_path: Path, picture: Path, tiny_clip: Path) -> Callable[..., Request]:
    def make(clip: Path | None = None, image: Path | None = None, **limits: float) -> Request:
        folder = tmp_path / "result"
        folder.mkdir()
        return Request(image or picture, clip or tiny_clip, folder, Limits(**limits))  # type: ignore[arg-type]

    return make


def decoded(path: Path) -> tuple[list[Frame], list[int | None]]:
    with av.open(os.fspath(path)) as container:
        frames = list(container.decode(video=0))
    return [frame.to_ndarray(format="rgb24") for frame in frames], [frame.pts for frame in frames]


def test_both_videos_have_every_frame_at_its_time(
    make_request: Callable[..., Request], loaded: LoadedModel, tiny_times: tuple[int, ...], tiny_frames: list[Frame]
) -> None:
    request = make_request()
    done = animate(request, loaded)
    pictures, times = decoded(done.result)
    masks, mask_times = decoded(done.masks)
    assert times == mask_times == list(tiny_times) and done.frames == request.done == len(tiny_times)
    assert pictures[0].shape == (256, 256, 3) and masks[0].shape == (256, 1024, 3)
    with open_clip(done.result) as result, open_clip(done.masks) as silent:
        assert result.audio_rate and not silent.audio_rate
    # The first cell is the driver; H.264 at this quality moves a pixel by a few levels.
    driver = loaded.animator.runner.prepare(tiny_frames[0])[0].transpose(1, 2, 0) * 255
    assert np.abs(masks[0][:, :256] - driver).mean() < 8


def test_the_result_says_that_it_is_generated(make_request: Callable[..., Request], loaded: LoadedModel) -> None:
    pytest.importorskip("c2pa", reason="signing needs the extra provenance")
    assert read_provenance(animate(make_request(), loaded).result)


def test_without_the_package_that_signs_the_page_says_so(
    make_request: Callable[..., Request], loaded: LoadedModel, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "c2pa", None)
    request = make_request()
    assert animate(request, loaded).result.is_file() and "will not be marked as synthetic" in request.notes[0]


def test_what_is_done_about_an_odd_clip_is_told(
    make_request: Callable[..., Request], loaded: LoadedModel, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "c2pa", None)
    monkeypatch.setattr(LOGGER, "level", logging.WARNING)
    odd = coloured(tmp_path / "odd.mkv", pq(np.full((4, 3), 100.0)), (9, 16, 9))
    request = make_request(odd)
    animate(request, loaded)
    assert request.notes[1:] == ["odd.mkv: HDR (PQ); shown as SDR, in BT.709"]
    assert LOGGER.level == logging.WARNING and not LOGGER.handlers


def test_what_a_clip_lacks_is_told_without_its_folder(
    make_request: Callable[..., Request], loaded: LoadedModel, cut_clip: Path
) -> None:
    request = make_request(cut_clip)
    animate(request, loaded)
    assert any(note.startswith("cut.mp4: damaged or cut short") for note in request.notes), request.notes


def test_the_result_is_what_the_runner_makes(
    make_request: Callable[..., Request], loaded: LoadedModel, picture: Path
) -> None:
    request = make_request()
    frame = decoded(animate(request, loaded).result)[0][3]
    with open_clip(request.clip) as clip:
        driving = [image for image, _ in clip][3]
    expected = loaded.animator.animate(loaded.source(request.picture, lambda: driving), driving)
    # crf 18: the mean error of 8 bits stays below a few levels
    assert np.abs(frame.astype(int) - expected).mean() < 6


def test_a_job_nobody_waits_for_stops_and_leaves_no_video(
    make_request: Callable[..., Request], loaded: LoadedModel
) -> None:
    request = make_request()
    request.cancelled.set()
    with pytest.raises(CancelledError):
        animate(request, loaded)
    assert request.done == 1 and not list(request.folder.iterdir())


def test_over_a_limit(make_request: Callable[..., Request], loaded: LoadedModel) -> None:
    request = make_request(seconds=0.1)
    with pytest.raises(MaskanimError, match=r"clip.mp4: a clip of 0.\d s; expected at most 0.1 s"):
        animate(request, loaded)
    assert not list(request.folder.iterdir())


@pytest.mark.parametrize("which", ["image", "clip"])
def test_a_bad_file(which: str, make_request: Callable[..., Request], loaded: LoadedModel, tmp_path: Path) -> None:
    bad = tmp_path / "bad.mp4"
    bad.write_bytes(b"neither\n" * 100)
    request = make_request(**{which: bad})
    with pytest.raises(MaskanimError, match=r"bad\.mp4"):
        animate(request, loaded)
    assert not list(request.folder.iterdir())
