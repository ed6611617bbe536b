"""A clip to sign, and an installation that has no key yet."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest

from maskanim import models
from maskanim.provenance import Claim


@pytest.fixture
def claim() -> Claim:
    """A claim about a model that does not exist."""
    return Claim("a model", "5e" * 32)


@pytest.fixture
def installation(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The folder of an installation that never signed."""
    folder = tmp_path / "installation"
    monkeypatch.setenv(models.HOME_VARIABLE, str(folder))
    return folder


@pytest.fixture
def video(tmp_path: Path, installation: Path, tiny_clip: Path) -> Path:
    """An unsigned mp4, alone in its folder."""
    folder = tmp_path / "videos"
    folder.mkdir()
    return Path(shutil.copy(tiny_clip, folder / "video.mp4"))
