"""What the button does, without a browser."""

from __future__ import annotations

import shutil
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from maskanim.app.limits import Limits
from maskanim.app.setting import Setting
from maskanim.app.stage import Stage
from maskanim.models import DEMO


@pytest.fixture
def setting(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Setting]:
    pytest.importorskip("gradio", reason="the page needs the extra app")
    monkeypatch.setenv("MASKANIM_HOME", str(tmp_path / "home"))
    folder = tmp_path / "uploads"
    folder.mkdir()
    for name in ("source.png", "driving.mp4"):
        shutil.copy(DEMO / name, folder)
    with Stage() as stage:
        yield Setting(stage, {"demo": "demo"}, ["auto", "ort"], Limits(), folder)


def pressed(setting: Setting, clip: str = "driving.mp4", engine: str = "ort") -> Iterator[tuple[Any, ...]]:
    from maskanim.app.page import animated

    picture, driving = ({"path": str(setting.folder / name)} for name in ("source.png", clip))
    return animated(setting, picture, driving, "demo", engine)


def test_who_leaves_ends_his_job(setting: Setting) -> None:
    shown = pressed(setting)
    while "Frame " not in next(shown)[-1]:
        pass
    shown.close()  # type: ignore[attr-defined]
    end = time.monotonic() + 10
    while setting.stage.waiting:
        assert time.monotonic() < end
        time.sleep(0.05)
    (folder,) = setting.folder.glob("result-*")
    assert not list(folder.iterdir())


def test_what_is_wrong_is_told_on_the_page(setting: Setting) -> None:
    (setting.folder / "bad.mp4").write_bytes(b"no clip\n" * 100)
    for clip, engine, line in (
        ("bad.mp4", "ort", "bad.mp4: not a video"),
        ("gone.mp4", "ort", "not uploaded to this page"),
        ("driving.mp4", "tpu", "expected one of auto, ort"),
    ):
        last = list(pressed(setting, clip, engine))[-1][-1]
        assert line in last and 'role="alert"' in last and str(setting.folder) not in last


def test_closing_the_stage_ends_what_is_shown(setting: Setting) -> None:
    shown = pressed(setting)
    while "Frame " not in next(shown)[-1]:
        pass
    setting.stage.close()
    assert "Stopped" in list(shown)[-1][-1]
