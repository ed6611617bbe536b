"""Small clips, a perception that knows the answer, and real networks and samples where they lie beside the checkout."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path

import av
import numpy as np
import pytest

from maskanim.benchmarks.judges import Feature, Nets, Observed, Perception
from maskanim.ops import Frame
from maskanim.train.people.assets import read_pack
from maskanim.train.people.clip import PersonFrame, Studio
from maskanim.train.people.dataset import Order, draw_clip

DATA = Path(__file__).resolve().parents[3] / "shared/data"


@pytest.fixture(scope="session")
def nets() -> Nets:
    """The evaluation networks."""
    if not (DATA / "eval-nets").is_dir():
        pytest.skip("the evaluation networks are not beside the checkout")
    return Nets(DATA / "eval-nets")


@pytest.fixture(scope="session")
def assets() -> Path:
    """MakeHuman's data, of which people are rendered."""
    if not (DATA / "people").is_dir():
        pytest.skip("MakeHuman's data are not beside the checkout")
    pytest.importorskip("moderngl", reason="moderngl is not installed: pip install 'maskanim[people]'")
    return DATA / "people"


@pytest.fixture(scope="session")
def rendered(assets: Path) -> list[PersonFrame]:
    """Frames of twenty-four test identities, turned by at most 60 degrees."""
    studio = Studio(read_pack(assets))
    frames = [frame for i in range(24) for frame in draw_clip(studio, Order((0, 0), 4, step=1.2), "test", i)]
    return [frame for frame in frames if abs(frame.angles[0]) < 60]


@pytest.fixture(scope="session")
def samples() -> Path:
    """The authors' published samples: Taichi, Vox, RoboNet."""
    if not (DATA / "authors-samples").is_dir():
        pytest.skip("the authors' samples are not beside the checkout")
    return DATA / "authors-samples"


@pytest.fixture
def spot() -> Callable[..., Frame]:
    """A square of 16 pixels on black, its corner at x and y: what `see_spot` looks for."""

    def draw(x: int = 0, y: int = 0, shade: int = 255) -> Frame:
        image = np.zeros((256, 256, 3), np.uint8)
        image[y : y + 16, x : x + 16] = shade
        return image

    return draw


def _bright(observed: Observed) -> np.ndarray[tuple[int, ...], np.dtype[np.bool_]]:
    return np.stack(observed.frames)[..., 0] > 0


def _keypoints(observed: Observed) -> Feature:
    """One key-point: the corner of the square."""
    bright = _bright(observed)
    corners = np.stack([bright.any(1).argmax(1), bright.any(2).argmax(1)], -1)
    return Feature(corners[:, None].astype(np.float64), bright.any((1, 2))[:, None])


def _people(observed: Observed) -> Feature:
    bright = _bright(observed)
    return Feature(bright, bright.any((1, 2)))


def _shades(observed: Observed) -> Feature:
    shades = np.stack(observed.frames).max((1, 2, 3)).astype(np.float32)
    return Feature(np.stack([np.cos(shades / 100), np.sin(shades / 100)], -1).astype(np.float32), shades > 0)


def _expressions(observed: Observed) -> Feature:
    shades = np.stack(observed.frames).max((1, 2, 3))
    return Feature(shades.astype(np.int64) // 64, shades > 0)


@pytest.fixture
def see_spot() -> Perception:
    """Sees where a bright square is, and takes its shade for identity and expression."""
    observers = {
        "keypoints": _keypoints,
        "people": _people,
        "identity": _shades,
        "embedding": _shades,
        "expression": _expressions,
    }
    words = dict.fromkeys(observers, "spot")
    return Perception("body", observers, dict.fromkeys(observers, "spot finder 1"), {}, {}, words)


@pytest.fixture
def save() -> Callable[[Path, Sequence[Frame]], Path]:
    """Writes frames as a video without loss."""

    def save_frames(path: Path, frames: Sequence[Frame]) -> Path:
        path.parent.mkdir(parents=True, exist_ok=True)
        with av.open(str(path), "w", format="mp4") as output:
            stream = output.add_stream("libx264rgb", rate=25, options={"crf": "0", "preset": "ultrafast"})
            stream.height, stream.width = frames[0].shape[:2]
            stream.pix_fmt = "rgb24"
            for i, image in enumerate(frames):
                frame = av.VideoFrame.from_ndarray(np.ascontiguousarray(image), format="rgb24")
                frame.pts = i
                output.mux(stream.encode(frame))
            output.mux(stream.encode(None))
        return path

    return save_frames
