"""A clip that takes a while."""

from __future__ import annotations

import os
from pathlib import Path

import av
import cv2
import numpy as np
import pytest


@pytest.fixture
def long_clip(tmp_path: Path) -> Path:
    """Six hundred frames of 64x64: three segments."""
    path, rng = tmp_path / "long.mp4", np.random.default_rng(0)
    with av.open(os.fspath(path), "w") as output:
        stream = output.add_stream("libx264", rate=25, options={"preset": "ultrafast"})
        stream.width = stream.height = 64
        for _ in range(600):
            small = rng.integers(0, 256, (8, 8, 3), np.uint8)
            image = cv2.resize(small, (64, 64), interpolation=cv2.INTER_CUBIC)
            output.mux(stream.encode(av.VideoFrame.from_ndarray(image, format="rgb24")))
        output.mux(stream.encode(None))
    return path
