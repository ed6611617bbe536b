"""A model and a clip, small enough for any machine."""

from __future__ import annotations

import logging
import os
import signal
from fractions import Fraction
from pathlib import Path

import av
import cv2
import numpy as np
import pytest

from maskanim.bundle import Bundle, Manifest, network_file, write_bundle
from maskanim.driver import Gpu
from maskanim.errors import MaskanimError
from maskanim.logs import LOGGER
from maskanim.ops import Frame
from maskanim.runtime.cuda import backends
from maskanim.spec import NETWORKS, ModelSpec, Widths

TINY = ModelSpec(widths=Widths(m=4, r=4, l=8, h=4))
TIME_BASE = Fraction(1, 12000)  # the mp4 muxer would multiply one coarser than 1/10000
SAMPLE_RATE = 16000
SECONDS_OF_AUDIO = 0.25


def pytest_configure() -> None:
    """Run with nohup or in the background of a shell, the commands that tests start would ignore these signals."""
    for number in (signal.SIGINT, *([signal.SIGHUP] if hasattr(signal, "SIGHUP") else [])):
        if signal.getsignal(number) == signal.SIG_IGN:
            signal.signal(number, signal.default_int_handler if number == signal.SIGINT else signal.SIG_DFL)


@pytest.fixture(autouse=True)
def no_gpu(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    """The same machine for every test: one without a GPU, unless the test is marked as one for a GPU."""
    if request.node.get_closest_marker("gpu"):
        return

    def refuse() -> Gpu:
        raise MaskanimError("the GPU", "no NVIDIA driver", "an NVIDIA GPU with its driver")

    monkeypatch.setattr(backends, "first_gpu", refuse)


@pytest.fixture(autouse=True)
def quiet_logs() -> None:
    """A command that ran in a test, or in a fixture before it, has shown the log; each test finds the library quiet."""
    LOGGER.handlers.clear()
    LOGGER.setLevel(logging.NOTSET)


@pytest.fixture(scope="session")
def tiny_bundle(tmp_path_factory: pytest.TempPathFactory) -> Bundle:
    """Random networks of the smallest widths, exported."""
    import torch

    from maskanim.export.onnx_export import OPSET, to_onnx
    from maskanim.networks import Networks

    torch.manual_seed(0)
    nets = Networks(TINY).eval()
    contents = {name: to_onnx(getattr(nets, name), spec).SerializeToString() for name, spec in NETWORKS.items()}
    networks = {name: network_file(name, content) for name, content in contents.items()}
    manifest = Manifest(name="tiny", model=TINY, opset=OPSET, networks=networks)
    return write_bundle(tmp_path_factory.mktemp("models") / "tiny", manifest, contents)


@pytest.fixture(scope="session")
def tiny_times() -> tuple[int, ...]:
    """The timestamps of the clip's frames: a variable rate, in units of TIME_BASE."""
    return 0, 400, 900, 1001, 1800, 2200, 2621, 3200


@pytest.fixture(scope="session")
def tiny_frames(tiny_times: tuple[int, ...]) -> list[Frame]:
    """The clip's frames, 96x72 pixels: a disc that moves over a gradient."""
    return [_disc_at(24 + 4 * i) for i in range(len(tiny_times))]


def _disc_at(x: int) -> Frame:
    rows, columns = np.mgrid[:72, :96]
    image = np.stack((rows * 2, columns * 2, rows + columns), -1).astype(np.uint8)
    cv2.circle(image, (x, 36), 14, (230, 60, 40), -1)
    return image


@pytest.fixture
def picture(tmp_path: Path, tiny_frames: list[Frame]) -> Path:
    """The first frame as a PNG file."""
    path = tmp_path / "picture.png"
    cv2.imwrite(os.fspath(path), tiny_frames[0][..., ::-1])
    return path


@pytest.fixture(scope="session")
def tiny_clip(tmp_path_factory: pytest.TempPathFactory, tiny_frames: list[Frame], tiny_times: tuple[int, ...]) -> Path:
    """The frames as an mp4 with audio, its index before them."""
    path = tmp_path_factory.mktemp("clips") / "clip.mp4"
    with av.open(os.fspath(path), "w", container_options={"movflags": "+faststart"}) as output:
        video = output.add_stream("libx264", rate=25, options={"bf": "0"})
        video.width, video.height, video.pix_fmt, video.codec_context.time_base = 96, 72, "yuv420p", TIME_BASE
        audio = output.add_stream("aac", rate=SAMPLE_RATE, layout="mono")
        for image, pts in zip(tiny_frames, tiny_times, strict=True):
            frame = av.VideoFrame.from_ndarray(image, format="rgb24")
            frame.pts, frame.time_base = pts, TIME_BASE
            output.mux(video.encode(frame))
        sound = av.AudioFrame.from_ndarray(_tone(), format="fltp", layout="mono")
        sound.sample_rate, sound.pts = SAMPLE_RATE, 0
        output.mux(audio.encode(sound))
        output.mux([*video.encode(None), *audio.encode(None)])
    return path


def _tone() -> np.ndarray[tuple[int, int], np.dtype[np.float32]]:
    t = np.arange(int(SECONDS_OF_AUDIO * SAMPLE_RATE)) / SAMPLE_RATE
    return np.sin(2 * np.pi * 440 * t).astype(np.float32)[None]


@pytest.fixture
def cut_clip(tmp_path: Path, tiny_clip: Path) -> Path:
    """The clip's first two thirds: it opens, and the loss only shows while it is decoded."""
    path = tmp_path / "cut.mp4"
    content = tiny_clip.read_bytes()
    path.write_bytes(content[: len(content) * 2 // 3])
    return path


@pytest.fixture
def broken_frames(tmp_path: Path, tiny_frames: list[Frame]) -> Path:
    """A folder of frames of which the last is no picture: that shows when the others have been read."""
    folder = tmp_path / "broken"
    folder.mkdir()
    for number, frame in enumerate(tiny_frames):
        cv2.imwrite(os.fspath(folder / f"{number}.png"), frame[..., ::-1])
    (folder / "9.png").write_bytes(b"no picture")
    return folder
