"""Names of outputs, and what a live run says."""

from __future__ import annotations

import sys
import time
from collections.abc import Callable
from fractions import Fraction
from pathlib import Path
from threading import Timer
from types import ModuleType
from typing import Any

import numpy as np
import pytest

from maskanim.errors import MaskanimError, MissingPackageError
from maskanim.ops import Frame
from maskanim.provenance import read_provenance
from maskanim.runtime import Animator
from maskanim.runtime.jobs import Inputs, RenderSettings
from maskanim.runtime.live import FileOutput, LiveReport, Page, VirtualCamera
from maskanim.runtime.live.command import animate_live, open_outputs
from maskanim.video import Clip, Picture, SourceFrame


@pytest.fixture(autouse=True)
def home(tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch) -> None:
    """No key is left in the user's folder."""
    monkeypatch.setenv("MASKANIM_HOME", str(tmp_path_factory.mktemp("home")))


def run(
    animator: Animator, clip: Clip, to: list[str], host: str = "127.0.0.1", provenance: bool | None = False
) -> LiveReport:
    """Animate a black picture live."""
    inputs = Inputs(Picture(np.zeros((64, 64, 3), np.uint8)), clip)
    outputs = open_outputs(to, host, clip, animator, provenance)
    return animate_live(animator, inputs, RenderSettings(), outputs)


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
        run(slow_animator(0), numbered_clip(5), [str(path), str(path)], provenance=provenance)
    assert not list(tmp_path.iterdir())


def test_a_recording_says_that_it_is_generated_unless_told_not_to(
    slow_animator: Callable[[float], Animator], numbered_clip: Callable[..., Clip], tmp_path: Path
) -> None:
    pytest.importorskip("c2pa", reason="signing needs the extra provenance")
    for name, wanted in (("signed.mp4", None), ("unsigned.mp4", False)):
        run(slow_animator(0), numbered_clip(5), [str(tmp_path / name)], provenance=wanted)
    assert read_provenance(tmp_path / "signed.mp4")
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
    page, file = open_outputs(names, "127.0.0.1", numbered_clip(1), slow_animator(0), None)
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
    sent: list[Frame] = []

    class Camera:
        device = "/dev/video9"

        def __init__(self, width: int, height: int, fps: float) -> None:
            assert (width, height, round(fps)) == (256, 256, 25)

        def send(self, frame: Frame) -> None:
            sent.append(frame)

        def close(self) -> None:
            sent.append(np.zeros(0, np.uint8))

    stand_in(monkeypatch, Camera)
    with VirtualCamera(0.04) as camera:
        camera.show(np.ones((256, 256, 3), np.uint8), 0)
    assert camera.place == "virtual camera /dev/video9" and [len(frame) for frame in sent] == [256, 0]
