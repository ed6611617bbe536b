"""A whole clip: every frame at its time, with the sound, or nothing at all."""

from __future__ import annotations

import os
import threading
from collections.abc import Iterator
from pathlib import Path

import av
import numpy as np
import pytest

from maskanim.bundle import Bundle
from maskanim.errors import MaskanimError
from maskanim.ops import Frame, preprocess
from maskanim.runtime import Animator
from maskanim.runtime.runner import Source
from maskanim.runtime.stream import animate_clip
from maskanim.video import open_clip, read_picture

H264_TOLERANCE = 3.0  # mean absolute difference of 8-bit values that x264 leaves at the writer's quality


@pytest.fixture
def animator(tiny_bundle: Bundle) -> Iterator[Animator]:
    with Animator.open(tiny_bundle) as opened:
        yield opened
        assert not [thread for thread in threading.enumerate() if thread.name.startswith("maskanim-")]


@pytest.fixture
def output(tmp_path: Path) -> Path:
    folder = tmp_path / "out"
    folder.mkdir()
    return folder / "out.mp4"


def packets(path: Path, kind: str) -> list[bytes]:
    with av.open(os.fspath(path)) as container:
        return [bytes(packet) for packet in container.demux(**{kind: 0}) if packet.size]


def test_frames_times_and_sound(
    animator: Animator, picture: Path, tiny_clip: Path, output: Path, tiny_times: tuple[int, ...]
) -> None:
    result = animate_clip(animator, picture, tiny_clip, output)
    assert (result.output, result.frames) == (output, len(tiny_times))
    assert result.rate == result.frames / result.seconds > 0
    source = animator.encode_source(read_picture(picture))
    with open_clip(output) as written, open_clip(tiny_clip) as driving:
        assert written.time_base == driving.time_base
        for shown, given, time in zip(written, driving, tiny_times, strict=True):
            assert shown.pts == given.pts == time
            expected = animator.animate(source, given.image).astype(float)
            assert np.abs(shown.image - expected).mean() < H264_TOLERANCE
    assert packets(output, "audio") == packets(tiny_clip, "audio")
    assert [path.name for path in output.parent.iterdir()] == ["out.mp4"]


def test_the_grid_is_eight_frames_wide(
    animator: Animator, picture: Path, tiny_clip: Path, output: Path, tiny_times: tuple[int, ...]
) -> None:
    animate_clip(animator, picture, tiny_clip, output, grid=True)
    with open_clip(output) as written:
        frames = [frame.image for frame in written]
    assert len(frames) == len(tiny_times) and {frame.shape for frame in frames} == {(256, 2048, 3)}
    source = np.moveaxis(preprocess(read_picture(picture))[0], 0, -1) * 255
    assert np.abs(frames[0][:, :256] - source).mean() < H264_TOLERANCE


def test_progress_counts_every_frame(
    animator: Animator, picture: Path, tiny_clip: Path, output: Path, tiny_times: tuple[int, ...]
) -> None:
    told: list[tuple[int, int | None]] = []
    animate_clip(animator, picture, tiny_clip, output, progress=lambda done, total: told.append((done, total)))
    assert told == [(i, len(tiny_times)) for i in range(1, len(tiny_times) + 1)]


def test_the_source_is_encoded_once(
    animator: Animator,
    picture: Path,
    tiny_clip: Path,
    output: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    encoded: list[Frame] = []
    encode = animator.encode_source

    def counted(image: Frame) -> Source:
        encoded.append(image)
        return encode(image)

    monkeypatch.setattr(animator, "encode_source", counted)
    animate_clip(animator, picture, tiny_clip, output)
    assert len(encoded) == 1


def test_a_failure_while_decoding(animator: Animator, picture: Path, broken_frames: Path, output: Path) -> None:
    output.write_bytes(b"what was there")
    with pytest.raises(MaskanimError, match=r"9\.png"):
        animate_clip(animator, picture, broken_frames, output)
    assert_untouched(output)


@pytest.mark.parametrize("error", [ValueError, KeyboardInterrupt])
def test_a_failure_while_animating(
    animator: Animator, picture: Path, tiny_clip: Path, output: Path, error: type[BaseException]
) -> None:
    def fail(done: int, total: int | None) -> None:
        if done == 3:
            raise error

    output.write_bytes(b"what was there")
    with pytest.raises(error):
        animate_clip(animator, picture, tiny_clip, output, progress=fail)
    assert_untouched(output)


def test_a_failure_while_encoding(
    animator: Animator, picture: Path, tiny_clip: Path, output: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from maskanim.runtime import host

    def fail(image: object) -> None:
        raise OSError("no space left")

    output.write_bytes(b"what was there")
    monkeypatch.setattr(host, "postprocess", fail)
    with pytest.raises(OSError, match="no space left"):
        animate_clip(animator, picture, tiny_clip, output)
    assert_untouched(output)


def assert_untouched(output: Path) -> None:
    assert output.read_bytes() == b"what was there"
    assert [path.name for path in output.parent.iterdir()] == [output.name]
