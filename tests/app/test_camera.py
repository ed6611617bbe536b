"""A camera's frames, and what a request may choose, without the page."""

from __future__ import annotations

import base64
import shutil
from collections.abc import Iterator
from pathlib import Path
from threading import Event
from typing import Any

import cv2
import numpy as np
import pytest

from maskanim.app.camera import BusyError, animate_camera, camera_frame
from maskanim.app.html import message, progress, still, without_folders
from maskanim.app.limits import AppContext, Limits
from maskanim.app.worker import ModelWorker
from maskanim.errors import MaskanimError
from maskanim.models import DEMO
from maskanim.ops import Frame


@pytest.fixture
def context(tmp_path: Path) -> Iterator[AppContext]:
    shutil.copy(DEMO / "source.png", tmp_path / "cat.png")
    with ModelWorker() as worker:
        yield AppContext(worker, {"demo": "demo"}, ["auto", "ort"], Limits(), tmp_path)


def sent(image: Frame, kind: str = "png") -> dict[str, Any]:
    encoded = base64.b64encode(cv2.imencode(f".{kind}", image[..., ::-1])[1].tobytes()).decode()
    return {"path": None, "url": f"data:image/{kind};base64,{encoded}"}


def test_a_frame_is_animated_as_by_the_model(context: AppContext) -> None:
    image = np.random.default_rng(0).integers(0, 255, (120, 160, 3), np.uint8)
    picture = {"path": str(context.folder / "cat.png")}
    seen = animate_camera(context, sent(image), picture, "demo", "ort")
    expected = context.worker.submit(
        "demo",
        "ort",
        lambda loaded: loaded.animator.animate(loaded.source(context.folder / "cat.png", lambda: image), image),
    ).result()
    assert np.array_equal(seen.frame, expected) and seen.seconds > 0
    told = context.worker.metrics.text().decode().splitlines()
    assert "maskanim_frames_total 1.0" in told and "maskanim_frame_age_seconds_count 1.0" in told
    assert any(line.startswith("maskanim_engine_info{") and 'engine="ort"' in line for line in told)


def test_colours_come_through() -> None:
    image = np.zeros((64, 64, 3), np.uint8)
    image[..., 0] = 200
    assert np.array_equal(camera_frame(sent(image)), image)


@pytest.mark.parametrize(
    "value",
    [
        None,
        {},
        {"url": "data:image/png;base64,AAAA"},
        {"url": "data:image/png;base64,@@"},
        {"url": "data:text/html;base64,AAAA"},
        {"url": "https://example.org/cat.png"},
        sent(np.zeros((2001, 2000, 3), np.uint8)),
    ],
)
def test_what_is_no_frame_is_refused(value: Any) -> None:
    with pytest.raises(MaskanimError, match="a frame that cannot be read"):
        camera_frame(value)


def test_a_frame_does_not_wait_behind_a_clip(context: AppContext) -> None:
    go_on = Event()
    future = context.worker.submit("demo", "ort", lambda loaded: go_on.wait(10))
    try:
        with pytest.raises(BusyError):
            animate_camera(
                context, sent(np.zeros((64, 64, 3), np.uint8)), {"path": str(context.folder / "cat.png")}, "demo", "ort"
            )
        assert "maskanim_dropped_frames_total 1.0" in context.worker.metrics.text().decode()
    finally:
        go_on.set()
    assert future.result(10)


def test_only_what_is_offered_can_be_chosen(context: AppContext) -> None:
    for name in ("/etc", None, ["demo"], ""):
        with pytest.raises(MaskanimError, match="expected one of demo"):
            context.model(name)
        with pytest.raises(MaskanimError, match="expected one of auto, ort"):
            context.engine(name)
    path = str(context.folder / "cat.png")
    assert (
        context.uploaded({"path": path}, "picture") == context.uploaded({"video": {"path": path}}, "clip") == Path(path)
    )
    for value in (None, {}, ""):
        with pytest.raises(MaskanimError, match="picture: none was chosen"):
            context.uploaded(value, "picture")
    for value in ({"path": "/etc/passwd"}, {"video": None}, ["x"], 7):
        with pytest.raises(MaskanimError, match="not uploaded"):
            context.uploaded(value, "picture")


def test_what_is_said_shows_no_folder_and_no_markup() -> None:
    error = MaskanimError("/tmp/uploads/<b>.png", "not a picture", "one")
    assert without_folders(error) == "<b>.png: not a picture; expected one."
    assert "&lt;b&gt;.png" in message(without_folders(error), wrong=True) and 'role="alert"' in message("x", wrong=True)
    assert 'max="10" value="4"' in progress(4, 10) and 'max="1" value="0"' in progress(0, None)
    assert "data:image/jpeg;base64," in still(np.zeros((256, 256, 3), np.uint8)) and "empty" in still(None)
