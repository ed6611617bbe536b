"""Names of outputs, and what a live run says."""

from __future__ import annotations

import sys
import time
from collections.abc import Callable
from fractions import Fraction
from pathlib import Path
from threading import Timer
from threading import enumerate as enumerate_threads
from types import ModuleType
from typing import Any

import numpy as np
import pytest

from maskanim.errors import MaskanimError, MissingPackageError
from maskanim.ops import Frame
from maskanim.provenance import read_provenance
from maskanim.runtime import Animator
from maskanim.runtime.jobs import Inputs, Job, RenderSettings
from maskanim.runtime.live import FileOutput, LiveReport, Page, VirtualCamera
from maskanim.runtime.live.command import animate_live, open_live, open_outputs
from maskanim.video import Clip, Picture, SourceFrame


@pytest.fixture(autouse=True)
def home(tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch) -> None:
    """No key is left in the user's folder."""
    monkeypatch.setenv("MASKANIM_HOME", str(tmp_path_factory.mktemp("home")))


def run(animator: Animator, clip: Clip, to: list[str], host: str = "127.0.0.1", **settings: Any) -> LiveReport:
    """Animate a black picture live."""
    inputs = Inputs(Picture(np.zeros((64, 64, 3), np.uint8)), clip)
    asked = RenderSettings(**{"provenance": False} | settings)
    return animate_live(animator, inputs, asked, open_outputs(to, host, clip, animator, asked))


def test_page_and_recording_at_once(
    slow_animator: Callable[[float], Animator], numbered_clip: Callable[..., Clip], tmp_path: Path
) -> None:
    output = tmp_path / "live.mp4"
    report = run(slow_animator(0.02), numbered_clip(30), ["page:0", str(output)])
    assert report.shown > 0 and "dropped" in str(report) and output.stat().st_size


@pytest.mark.parametrize("provenance", [False, None])
def test_two_do_not_record_to_one_file(
    slow_animator: Callable[[float], Animator],
    numbered_clip: Callable[..., Clip],
    tmp_path: Path,
    provenance: bool | None,
) -> None:
    path = tmp_path / "live.mp4"
    with pytest.raises(MaskanimError, match=r"/live\.mp4: another render is writing it"):
        run(slow_animator(0), numbered_clip(5), [str(path), str(path), "page:0"], provenance=provenance)
    assert not list(tmp_path.iterdir())
    assert "maskanim-page" not in {thread.name for thread in enumerate_threads()}


def test_what_is_wrong_with_a_recording_shows_before_a_model_is_loaded(picture: Path, tiny_clip: Path) -> None:
    job, path = Job(picture, str(tiny_clip), Path()), str(picture.parent / "live.mp4")
    for to, told in (
        ([path, path], "another render is writing it"),
        ([str(tiny_clip)], "the same file as an input"),
        (["live.avi"], "no such output"),
    ):
        with pytest.raises(MaskanimError, match=told):
            open_live(job, RenderSettings(), to)
    with pytest.raises(MaskanimError, match=r"no place for a C2PA manifest|is not installed"):
        open_live(job, RenderSettings(provenance=True), [path.replace("mp4", "webm")])
    open_live(job, RenderSettings(), [path, "page", "camera"]).close()
    assert not list(picture.parent.glob(".*lock"))


def test_a_recording_says_that_it_is_generated_unless_told_not_to(
    slow_animator: Callable[[float], Animator], numbered_clip: Callable[..., Clip], tmp_path: Path
) -> None:
    pytest.importorskip("c2pa", reason="signing needs the extra provenance")
    for name, wanted in (("signed.mp4", None), ("unsigned.mp4", False)):
        run(slow_animator(0), numbered_clip(5), [str(tmp_path / name)], provenance=wanted)
    assert read_provenance(tmp_path / "signed.mp4").source_type == "trainedAlgorithmicMedia"
    run(slow_animator(0), numbered_clip(5), [str(tmp_path / "beside.mp4")], provenance=True, view="side-by-side")
    assert read_provenance(tmp_path / "beside.mp4").source_type == "compositeWithTrainedAlgorithmicMedia"
    with pytest.raises(MaskanimError, match="no C2PA manifest"):
        read_provenance(tmp_path / "unsigned.mp4")


def test_what_is_recorded_of_a_lost_camera_stays(
    slow_animator: Callable[[float], Animator], numbered_clip: Callable[..., Clip], tmp_path: Path
) -> None:
    lost = MaskanimError("camera:0", "reading it failed", "a camera")
    assert run(slow_animator(0.02), numbered_clip(9, then=lost), [str(tmp_path / "live.mp4")]).lost is lost
    assert (tmp_path / "live.mp4").stat().st_size


def test_a_pause_in_a_clip_is_no_silence(
    slow_animator: Callable[[float], Animator], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setattr("maskanim.runtime.live.loop.SECONDS_OF_SILENCE", 0.2)
    report = run(slow_animator(0), paused(0, 45), [str(tmp_path / "live.mp4")])
    assert report.shown == 2 and report.lost is None


def test_a_pause_in_a_clip_delays_no_end(slow_animator: Callable[[float], Animator], tmp_path: Path) -> None:
    clip, begun = paused(0, 30 * 600), time.monotonic()
    Timer(0.5, clip.stop).start()
    assert run(slow_animator(0), clip, [str(tmp_path / "live.mp4")]).shown == 1
    assert time.monotonic() - begun < 10


def paused(*times: int) -> Clip:
    """Frames at these thirtieths of a second."""
    frames = (SourceFrame(np.zeros((64, 64, 3), np.uint8), at, 1) for at in times)
    return Clip(Path("paused.mp4"), frames, Fraction(1, 30), Fraction(30), len(times))


@pytest.mark.parametrize("name", ["window", "page:http", "live.avi", ""])
def test_unknown_outputs(
    name: str, slow_animator: Callable[[float], Animator], numbered_clip: Callable[..., Clip]
) -> None:
    """Those that were opened before are closed again: no thread is left."""
    with pytest.raises(MaskanimError, match="no such output; expected page, page:PORT, camera"):
        run(slow_animator(0), numbered_clip(2), ["page:0", name])


def test_kinds(slow_animator: Callable[[float], Animator], numbered_clip: Callable[..., Clip], tmp_path: Path) -> None:
    names = ["page:0", str(tmp_path / "live.mp4")]
    page, file = open_outputs(names, "127.0.0.1", numbered_clip(1), slow_animator(0), RenderSettings())
    with page:
        assert isinstance(page, Page) and isinstance(file, FileOutput)


def test_no_package_for_a_virtual_camera(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "pyvirtualcam", None)
    with pytest.raises(MissingPackageError, match=r"pip install 'maskanim\[live\]'"):
        VirtualCamera(0.04)


def stand_in(monkeypatch: pytest.MonkeyPatch, camera: Any) -> None:
    package = ModuleType("pyvirtualcam")
    package.Camera = camera  # type: ignore[attr-defined]
    monkeypatch.setitem(sys.modules, "pyvirtualcam", package)


def test_no_virtual_camera_on_this_machine(monkeypatch: pytest.MonkeyPatch) -> None:
    def none(*_: object, **__: object) -> None:
        raise RuntimeError("'v4l2loopback' backend: no device\nfound.")

    stand_in(monkeypatch, none)
    with pytest.raises(MaskanimError, match=r"^virtual camera: none on this machine \('v4l2loopback' backend: no dev"):
        VirtualCamera(0.04)


def test_a_virtual_camera_gets_the_pictures(monkeypatch: pytest.MonkeyPatch) -> None:
    told: list[tuple[int, ...]] = []

    class Camera:
        device = "/dev/video9"

        def __init__(self, width: int, height: int, fps: float) -> None:
            assert round(fps) == 25
            self.shape = (height, width, 3)
            told.append(self.shape)

        def send(self, frame: Frame) -> None:
            assert frame.shape == self.shape, "as pyvirtualcam wants it"
            told.append((int(frame[0, 0, 0]),))

        def close(self) -> None:
            told.append(())

    stand_in(monkeypatch, Camera)
    with VirtualCamera(0.04) as camera:
        camera.show(np.full((256, 256, 3), 1, np.uint8), 0)
        for number in (2, 3):  # side by side, or put back into a picture
            camera.show(np.full((257, 513, 3), number, np.uint8), number)
    assert camera.place == "virtual camera /dev/video9"
    assert told == [(256, 256, 3), (1,), (), (256, 512, 3), (2,), (3,), ()]
