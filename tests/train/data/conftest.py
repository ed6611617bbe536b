"""Clips of every layout, of which each frame says its number."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from fractions import Fraction
from pathlib import Path

import av
import numpy as np
import pytest

from maskanim.ops import Frame
from maskanim.video import write_picture

REAL = Path(__file__).resolve().parents[4] / "shared/data"
SIDE = 96

Write = Callable[..., Path]


def numbered(i: int, side: int = SIDE) -> Frame:
    """A flat grey of 4 i + 16, with a red square that moves along the top."""
    image = np.full((side, side, 3), 16 + 4 * i, np.uint8)
    image[: side // 4, 4 * i % side : 4 * i % side + side // 4] = 200, 40, 40
    return image


@pytest.fixture(scope="session")
def number_of() -> Callable[[Frame], int]:
    """Tells which frame it was, from the grey of its lower half: compression moves it by less than two."""
    return lambda image: round((image[len(image) // 2 :].astype(float).mean() - 16) / 4)


@pytest.fixture(scope="session")
def write_video() -> Write:
    """Write a video; `pts` are in units of `time_base`."""

    def write(
        path: Path,
        pts: Iterable[int] = range(20),
        time_base: Fraction = Fraction(1, 25),
        *,
        codec: str = "libx264",
        b_frames: int = 0,
        keys: int = 250,
        options: dict[str, str] | None = None,
        container_options: dict[str, str] | None = None,
    ) -> Path:
        path.parent.mkdir(parents=True, exist_ok=True)
        with av.open(str(path), "w", container_options=container_options or {}) as output:
            video = output.add_stream(codec, rate=25, options=options or {})
            video.width = video.height = SIDE
            video.pix_fmt = {"gif": "rgb8", "mjpeg": "yuvj420p"}.get(codec, "yuv420p")
            video.codec_context.time_base = time_base
            video.codec_context.max_b_frames, video.codec_context.gop_size = b_frames, keys
            for i, at in enumerate(pts):
                frame = av.VideoFrame.from_ndarray(numbered(i), "rgb24")
                frame.pts, frame.time_base = at, time_base
                output.mux(video.encode(frame))
            output.mux(video.encode(None))
        return path

    return write


@pytest.fixture(scope="session")
def write_folder() -> Write:
    """Write a folder of frames, named without leading zeros."""

    def write(path: Path, count: int = 12) -> Path:
        path.mkdir(parents=True)
        for i in range(count):
            write_picture(path / f"{i}.png", numbered(i))
        return path

    return write


@pytest.fixture(scope="session")
def write_strip() -> Write:
    """Write a strip."""

    def write(path: Path, count: int = 12, first: int = 0) -> Path:
        path.parent.mkdir(parents=True, exist_ok=True)
        write_picture(path, np.concatenate([numbered(first + i) for i in range(count)], 1))
        return path

    return write


@pytest.fixture
def real_data() -> Path:
    """The folder of real clips."""
    if not REAL.is_dir():
        pytest.skip(f"the real clips are not at {REAL}")
    return REAL
