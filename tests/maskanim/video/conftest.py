"""Clips written here with PyAV, what files hold, and where the real clips are."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from fractions import Fraction
from pathlib import Path

import av
import numpy as np
import pytest

from maskanim.ops import Frame
from maskanim.video import ClipWriter, Encoding, open_clip

DATA = Path(__file__).resolve().parents[4] / "shared/data"
FAST = Encoding(crf=30, preset="ultrafast")

Draw = Callable[..., Frame]
Tone = Callable[[int, int, int], av.AudioFrame]
WriteClip = Callable[..., Path]
Shown = Callable[[Path], list[tuple[Fraction, Fraction]]]


@pytest.fixture
def data_folder() -> Path:
    """The folder of real clips."""
    if not DATA.is_dir():
        pytest.skip(f"the real clips are not at {DATA}")
    return DATA


@pytest.fixture(scope="session")
def fast_encoding() -> Encoding:
    """The encoding of clips of which only times and audio matter."""
    return FAST


@pytest.fixture(scope="session")
def draw() -> Draw:
    """Draw frame number `i`: gradients whose colours move from one frame to the next."""

    def frame(i: int = 0, height: int = 96, width: int = 128) -> Frame:
        y, x = np.mgrid[:height, :width]
        return np.stack([x * 2 + 7 * i, y * 2 + 3 * i, np.full_like(x, 20 * i)], -1).astype(np.uint8)

    return frame


@pytest.fixture(scope="session")
def tone() -> Tone:
    """A frame of `count` samples of a 440 Hz tone, from the sample `start` on."""

    def samples(start: int, count: int, rate: int) -> av.AudioFrame:
        wave = 8000 * np.sin(2 * np.pi * 440 * (np.arange(count) + start) / rate)
        frame = av.AudioFrame.from_ndarray(wave.astype(np.int16)[None], "s16", "mono")
        frame.rate, frame.pts, frame.time_base = rate, start, Fraction(1, rate)
        return frame

    return samples


@pytest.fixture(scope="session")
def make_clip(draw: Draw, tone: Tone) -> WriteClip:
    """Write a clip whose last frame lasts `duration` ticks; with audio, a tone as long as the video."""

    def make(
        path: Path,
        pts: Iterable[int] = range(12),
        time_base: Fraction = Fraction(1, 25),
        duration: int = 1,
        *,
        codec: str = "libx264",
        b_frames: int = 0,
        audio: str | None = None,
        audio_start: int = 0,
        audio_rate: int = 44100,
        size: tuple[int, int] = (128, 96),
        options: dict[str, str] | None = None,
        container_options: dict[str, str] | None = None,
    ) -> Path:
        muxing = {"movie_timescale": str(time_base.denominator)} if path.suffix in {".mp4", ".mov"} else {}
        with av.open(str(path), "w", container_options={**muxing, **(container_options or {})}) as output:
            video = output.add_stream(codec, rate=25, options=options or {})
            video.width, video.height = size
            video.pix_fmt = {"gif": "rgb8", "mjpeg": "yuvj420p"}.get(codec, "yuv420p")
            video.codec_context.time_base = time_base
            video.codec_context.max_b_frames = b_frames
            sound = output.add_stream(audio, rate=audio_rate, layout="mono") if audio else None
            heard = audio_start
            for i, at in enumerate(pts):
                frame = av.VideoFrame.from_ndarray(draw(i, size[1], size[0]), "rgb24")
                frame.pts, frame.time_base = at, time_base
                for packet in video.encode(frame):
                    packet.duration = duration
                    output.mux(packet)
                while sound and heard < (at + duration) * time_base * audio_rate:
                    output.mux(sound.encode(tone(heard, 1000, audio_rate)))
                    heard += 1000
            for packet in video.encode(None):
                packet.duration = duration
                output.mux(packet)
            if sound:
                output.mux(sound.encode(None))
        return path

    return make


@pytest.fixture(scope="session")
def copy_clip() -> WriteClip:
    """Write the frames of a driving clip, or the first `count` of them, as they are."""

    def copy(driving: Path | str, path: Path | str, encoding: Encoding = FAST, count: int | None = None) -> Path:
        with open_clip(driving) as clip, ClipWriter(path, clip, encoding) as writer:
            for i, (image, pts) in enumerate(clip):
                writer.write(image, pts)
                if i + 1 == count:
                    break
        return Path(path)

    return copy


@pytest.fixture(scope="session")
def shown() -> Shown:
    """(start, duration) in seconds of every frame of a file, as PyAV reads it."""

    def read(path: Path) -> list[tuple[Fraction, Fraction]]:
        with av.open(str(path)) as container:
            return [
                (frame.pts * frame.time_base, frame.duration * frame.time_base)
                for frame in container.decode(container.streams.video[0])
            ]

    return read


@pytest.fixture(scope="session")
def starts(shown: Shown) -> Callable[[Path], list[Fraction]]:
    """The start in seconds of every frame of a file, as PyAV reads it."""
    return lambda path: [start for start, _ in shown(path)]


@pytest.fixture(scope="session")
def assert_nothing_left() -> Callable[..., None]:
    """Assert that a folder holds the files named and no other."""

    def check(folder: Path, *names: str) -> None:
        assert sorted(path.name for path in folder.iterdir()) == sorted(names)

    return check
