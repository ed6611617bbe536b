"""Names of outputs, and what a live run says."""

from __future__ import annotations

import sys
from collections.abc import Callable
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
import pytest

from maskanim.errors import MaskanimError, MissingPackageError
from maskanim.ops import Frame
from maskanim.provenance import read_provenance
from maskanim.runtime import Animator
from maskanim.runtime.live import FileOutput, Page, VirtualCamera
from maskanim.runtime.live.command import open_output, run_live
from maskanim.video import Clip


@pytest.fixture(autouse=True)
def home(tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch) -> None:
    """No key is left in the user's folder."""
    monkeypatch.setenv("MASKANIM_HOME", str(tmp_path_factory.mktemp("home")))


def test_a_run_says_where_to_look_and_how_it_went(
    slow_animator: Callable[[float], Animator], numbered_clip: Callable[..., Clip], black: Frame, tmp_path: Path
) -> None:
    said: list[str] = []
    output = tmp_path / "live.mp4"
    report = run_live(slow_animator(0.02), black, numbered_clip(30), ["page:0", str(output)], say=said.append)
    assert said[0].startswith("live: http://127.0.0.1:") and said[1] == f"live: {output} (end it with Ctrl-C)"
    assert said[-1] == f"live: ended; {report}" and "dropped" in said[-1] and output.stat().st_size


def test_a_recording_says_that_it_is_generated_unless_told_not_to(
    slow_animator: Callable[[float], Animator], numbered_clip: Callable[..., Clip], black: Frame, tmp_path: Path
) -> None:
    pytest.importorskip("c2pa", reason="signing needs the extra provenance")

    def record(name: str, wanted: bool | None) -> Path:
        output = tmp_path / name
        to = [str(output)]
        run_live(slow_animator(0), black, numbered_clip(5), to, provenance=wanted, say=lambda line: None)
        return output

    assert read_provenance(record("signed.mp4", None))
    with pytest.raises(MaskanimError, match="no C2PA manifest"):
        read_provenance(record("unsigned.mp4", False))


def test_a_lost_camera_is_raised_after_everything_was_finished(
    slow_animator: Callable[[float], Animator], numbered_clip: Callable[..., Clip], black: Frame, tmp_path: Path
) -> None:
    lost = MaskanimError("camera:0", "reading it failed", "a camera")
    with pytest.raises(MaskanimError, match="camera:0: reading it failed"):
        run_live(
            slow_animator(0.02), black, numbered_clip(9, then=lost), [str(tmp_path / "live.mp4")], say=lambda line: None
        )
    assert (tmp_path / "live.mp4").stat().st_size


def test_everyone_can_watch_is_a_warning(
    slow_animator: Callable[[float], Animator], numbered_clip: Callable[..., Clip], black: Frame
) -> None:
    said: list[str] = []
    run_live(slow_animator(0), black, numbered_clip(2), ["page:0"], host="0.0.0.0", say=said.append)
    assert "warning: everyone who reaches 0.0.0.0 can watch" in said


@pytest.mark.parametrize("name", ["window", "page:http", "live.avi", ""])
def test_unknown_outputs(name: str) -> None:
    with pytest.raises(MaskanimError, match="no such output; expected page, page:PORT, camera"):
        open_output(name, "127.0.0.1", 0.04)


def test_outputs_that_were_opened_are_closed_when_the_next_cannot_be(
    slow_animator: Callable[[float], Animator], numbered_clip: Callable[..., Clip], black: Frame
) -> None:
    with pytest.raises(MaskanimError, match="no such output"):
        run_live(slow_animator(0), black, numbered_clip(2), ["page:0", "window"], say=lambda line: None)


def test_kinds(tmp_path: Path) -> None:
    with open_output("page:0", "127.0.0.1", 0.04) as page:
        assert isinstance(page, Page)
    assert isinstance(open_output(str(tmp_path / "live.mp4"), "127.0.0.1", 0.04), FileOutput)


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
