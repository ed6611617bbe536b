"""A folder as the pages suppose it: pictures, clips, lists of them, and a small current model."""

from __future__ import annotations

import os
import shutil
from pathlib import Path

import cv2
import pytest

from maskanim import models
from maskanim.bundle import Bundle
from maskanim.ops import Frame


@pytest.fixture
def material(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, tiny_bundle: Bundle, tiny_clip: Path, tiny_frames: list[Frame]
) -> Path:
    """The current folder from now on."""
    monkeypatch.setenv(models.HOME_VARIABLE, str(tmp_path / "home"))
    models.register(tiny_bundle)
    here = tmp_path / "here"
    for folder in ("faces", "clips"):
        (here / folder).mkdir(parents=True)
    for name in ("a.jpg", "c.jpg", "faces/one.png", "faces/two.png"):
        cv2.imwrite(os.fspath(here / name), tiny_frames[0][..., ::-1])
    for name in ("b.mp4", "long.mp4", "clips/one.mp4"):
        shutil.copy(tiny_clip, here / name)
    (here / "pairs.csv").write_text("source,driving\na.jpg,b.mp4\nc.jpg,b.mp4\n")
    monkeypatch.chdir(here)
    return here


@pytest.fixture(scope="session")
def root() -> Path:
    return Path(__file__).resolve().parents[2]
