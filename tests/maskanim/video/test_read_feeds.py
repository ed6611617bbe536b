"""Standard input and cameras, by stand-ins: read once, as they come, with their audio."""

from __future__ import annotations

import io
import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from fractions import Fraction
from pathlib import Path
from threading import Thread
from types import SimpleNamespace
from typing import BinaryIO

import av
import pytest

from maskanim.errors import MaskanimError
from maskanim.video import ClipWriter, Encoding, ResumableWriter, open_clip
from maskanim.video import read as read_module

WriteClip = Callable[..., Path]
Starts = Callable[[Path], list[Fraction]]


@contextmanager
def piped(content: bytes) -> Iterator[BinaryIO]:
    """The reading end of a pipe through which a thread sends a file's bytes."""
    reading, writing = os.pipe()

    def send() -> None:
        with os.fdopen(writing, "wb") as file:
            try:
                file.write(content)
            except BrokenPipeError:  # the reader had seen enough
                return

    sender = Thread(target=send)
    with os.fdopen(reading, "rb") as file:
        sender.start()
        yield file
    sender.join()


@contextmanager
def standard_input(content: bytes, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    with piped(content) as pipe:
        monkeypatch.setattr("sys.stdin", SimpleNamespace(buffer=pipe))
        yield


def audio_bytes(path: Path) -> list[bytes]:
    with av.open(str(path)) as container:
        return [bytes(packet) for packet in container.demux(audio=0) if packet.size]


def copy(output: Path, **options: object) -> Path:
    with open_clip("-", **options) as clip, ClipWriter(output, clip, Encoding(30, "ultrafast")) as writer:  # type: ignore[arg-type]
        for image, pts in clip:
            writer.write(image, pts)
    return output


@pytest.mark.parametrize("name", ["in.mkv", "in.mp4"])
def test_standard_input(
    tmp_path: Path, make_clip: WriteClip, starts: Starts, monkeypatch: pytest.MonkeyPatch, name: str
) -> None:
    driving = make_clip(tmp_path / name, range(100), audio="aac", container_options={"movflags": "+faststart"})
    with standard_input(driving.read_bytes(), monkeypatch):
        written = copy(tmp_path / "out.mp4")
    assert starts(written) == starts(driving)
    assert audio_bytes(written) == audio_bytes(driving)


def test_a_part_of_standard_input(
    tmp_path: Path, make_clip: WriteClip, starts: Starts, monkeypatch: pytest.MonkeyPatch
) -> None:
    driving = make_clip(tmp_path / "in.mkv", range(100), audio="aac")
    with standard_input(driving.read_bytes(), monkeypatch):
        written = copy(tmp_path / "out.mp4", start=1, end=2)
    assert starts(written) == [Fraction(i, 25) for i in range(25)]
    everything, part = audio_bytes(driving), audio_bytes(written)
    at = everything.index(part[0])
    assert part == everything[at : at + len(part)] and 40 <= len(part) <= 45


def test_standard_input_is_read_once(make_clip: WriteClip, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    content = make_clip(tmp_path / "in.mkv").read_bytes()
    with standard_input(content, monkeypatch), pytest.raises(MaskanimError, match="it can be read once only"):
        open_clip("-", loop=2)
    with standard_input(content, monkeypatch), open_clip("-") as clip:
        assert clip.once
        with pytest.raises(MaskanimError, match="standard input: it can be read once only; expected a file"):
            ResumableWriter(tmp_path / "out.mp4", clip, fingerprint="a")


@pytest.mark.parametrize("content", [b"", b"text\n" * 100, bytes(range(256)) * 50])
def test_what_is_no_video(content: bytes, monkeypatch: pytest.MonkeyPatch) -> None:
    with standard_input(content, monkeypatch), pytest.raises(MaskanimError, match="standard input: ") as told:
        open_clip("-")
    assert "\n" not in str(told.value)


def test_a_picture_or_a_terminal(monkeypatch: pytest.MonkeyPatch, tmp_path: Path, make_clip: WriteClip) -> None:
    frame = io.BytesIO()
    with open_clip(make_clip(tmp_path / "in.mp4")) as clip:
        from PIL import Image

        Image.fromarray(next(clip).image).save(frame, "PNG")
    with (
        standard_input(frame.getvalue(), monkeypatch),
        pytest.raises(MaskanimError, match="Give the picture as a file"),
    ):
        open_clip("-")
    terminal = SimpleNamespace(buffer=SimpleNamespace(isatty=lambda: True))
    monkeypatch.setattr("sys.stdin", terminal)
    with pytest.raises(MaskanimError, match="standard input: a terminal; expected a video through a pipe"):
        open_clip("-")


# A camera


@pytest.fixture
def camera(monkeypatch: pytest.MonkeyPatch) -> None:
    """In the place of a camera, FFmpeg's endless test picture, which begins 40 seconds after zero."""
    source = "testsrc=size=128x96:rate=10,setpts=PTS+40/TB"
    monkeypatch.setattr(read_module, "DEVICES", {"linux": ("lavfi", source)})
    monkeypatch.setattr("sys.platform", "linux")


@pytest.mark.usefixtures("camera")
def test_a_camera_begins_at_zero_and_stops_when_it_is_told() -> None:
    times = []
    with open_clip("camera:0") as clip:
        assert clip.once and clip.frame_count is None and clip.audio_rate is None
        for image, pts in clip:
            assert image.shape == (96, 128, 3)
            times.append(pts * clip.time_base)
            if len(times) == 5:
                clip.stop()
    assert times == [Fraction(i, 10) for i in range(5)] and not clip.finished


@pytest.mark.usefixtures("camera")
def test_a_camera_for_a_while(tmp_path: Path, starts: Starts) -> None:
    with open_clip("camera:0", end=1) as clip, ClipWriter(tmp_path / "out.mp4", clip) as writer:
        for image, pts in clip:
            writer.write(image, pts)
    assert starts(tmp_path / "out.mp4") == [Fraction(i, 10) for i in range(10)]


def test_a_kind_of_camera_that_this_ffmpeg_does_not_know(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(read_module, "DEVICES", {"linux": ("unheard-of", "{}")})
    with pytest.raises(MaskanimError, match="camera:Front: no camera that can be opened at Front"):
        open_clip("camera:Front")
