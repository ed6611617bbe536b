"""What the button does, without a browser."""

from __future__ import annotations

import shutil
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from maskanim.app.limits import AppContext, Limits
from maskanim.app.worker import ModelWorker
from maskanim.models import DEMO


@pytest.fixture
def context(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[AppContext]:
    pytest.importorskip("gradio", reason="the page needs the extra app")
    monkeypatch.setenv("MASKANIM_HOME", str(tmp_path / "home"))
    folder = tmp_path / "uploads"
    folder.mkdir()
    for name in ("source.png", "driving.mp4"):
        shutil.copy(DEMO / name, folder)
    with ModelWorker() as worker:
        yield AppContext(worker, {"demo": "demo"}, ["auto", "ort"], Limits(), folder)


def pressed(context: AppContext, clip: str = "driving.mp4", engine: str = "ort") -> Iterator[tuple[Any, ...]]:
    from maskanim.app.page import animated

    picture, driving = ({"path": str(context.folder / name)} for name in ("source.png", clip))
    return animated(context, picture, driving, "demo", engine)


def test_who_leaves_ends_his_job(context: AppContext) -> None:
    shown = pressed(context)
    while "Frame " not in next(shown)[-1]:
        pass
    shown.close()  # type: ignore[attr-defined]
    end = time.monotonic() + 10
    while context.worker.waiting:
        assert time.monotonic() < end
        time.sleep(0.05)
    (folder,) = context.folder.glob("result-*")
    assert not list(folder.iterdir())


def test_what_is_wrong_is_told_on_the_page(context: AppContext) -> None:
    (context.folder / "bad.mp4").write_bytes(b"no clip\n" * 100)
    for clip, engine, line in (
        ("bad.mp4", "ort", "bad.mp4: not a video"),
        ("gone.mp4", "ort", "not uploaded to this page"),
        ("driving.mp4", "tpu", "expected one of auto, ort"),
    ):
        last = list(pressed(context, clip, engine))[-1][-1]
        assert line in last and 'role="alert"' in last and str(context.folder) not in last


def test_closing_the_stage_ends_what_is_shown(context: AppContext) -> None:
    shown = pressed(context)
    while "Frame " not in next(shown)[-1]:
        pass
    context.worker.close()
    assert "Stopped" in list(shown)[-1][-1]
