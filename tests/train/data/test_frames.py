"""Random access: frame k is the k-th frame of a full decode, whatever the file."""

from __future__ import annotations

from collections.abc import Callable
from fractions import Fraction
from itertools import pairwise
from pathlib import Path
from typing import Any

import av
import numpy as np
import pytest

from helpers.odd_files import interlaced
from maskanim.errors import MaskanimError
from maskanim.ops import Frame
from maskanim.train.data.frames import open_frames
from maskanim.train.data.layouts import ClipFile, Kind
from maskanim.train.data.video import Seeker, VideoIndex, index_video
from maskanim.video import open_clip, write_picture

Write = Callable[..., Path]

VARIABLE = (0, 400, 900, 1001, 1800, 2200, 2621, 3200, 3300, 5000, 5100, 5200, 9000, 9100, 9200, 9500)
VIDEOS: dict[str, dict[str, Any]] = {
    "variable rate": {"name": "a.mp4", "pts": VARIABLE, "time_base": Fraction(1, 12000), "keys": 5},
    "b-frames": {"name": "a.mp4", "b_frames": 3, "keys": 8, "options": {"x264-params": "b-pyramid=normal"}},
    "open gop": {"name": "a.mp4", "b_frames": 3, "keys": 6, "options": {"x264-params": "open-gop=1:keyint=6"}},
    "one key frame": {"name": "a.mp4", "keys": 1000, "options": {"x264-params": "scenecut=0"}},
    "starts late": {"name": "a.mov", "pts": range(10, 30), "b_frames": 2, "keys": 7},
    "fragments": {"name": "a.mp4", "keys": 5, "container_options": {"movflags": "frag_keyframe+empty_moov"}},
    "hevc": {"name": "a.mp4", "codec": "libx265", "keys": 6, "options": {"x265-params": "log-level=none"}},
    "matroska": {"name": "a.mkv", "b_frames": 2, "keys": 6},
    "matroska without cues": {"name": "a.mkv", "keys": 6, "container_options": {"live": "1"}},
    "vp9": {"name": "a.webm", "codec": "libvpx-vp9", "keys": 6, "options": {"auto-alt-ref": "1", "cpu-used": "8"}},
    "vp8": {"name": "a.webm", "codec": "libvpx", "keys": 6, "options": {"auto-alt-ref": "1", "lag-in-frames": "10"}},
    "mpeg-4 part 2": {"name": "a.mp4", "codec": "mpeg4", "b_frames": 2, "keys": 6},
    "gif": {"name": "a.gif", "codec": "gif"},
    "avi": {"name": "a.avi", "codec": "mpeg4", "keys": 6},
    "avi with b-frames": {"name": "a.avi", "codec": "mpeg4", "b_frames": 2, "keys": 6},
}


@pytest.fixture(params=VIDEOS)
def video(request: pytest.FixtureRequest, tmp_path: Path, write_video: Write) -> Path:
    options = dict(VIDEOS[request.param])
    return write_video(tmp_path / options.pop("name"), **options)


def decoded(path: Path) -> list[Frame]:
    with open_clip(path) as clip:
        return [image for image, _ in clip]


@pytest.mark.parametrize(
    ("name", "codec"), [("a.mp4", "libx264"), ("a.mkv", "mpeg2video"), ("a.ts", "libx264"), ("a.mpg", "mpeg2video")]
)
def test_interlaced_frames_are_whole(name: str, codec: str, tmp_path: Path) -> None:
    video = interlaced(tmp_path / name, codec, "tff", list(range(9)))
    every = decoded(video)
    with open_frames(clip_file(video)) as frames:
        for number in (7, 0, 8, 3):
            assert np.array_equal(frames.read([number])[0], every[number]), number
        for wanted in ([1, 5], [8, 2, 3]):
            assert all(map(np.array_equal, frames.read(wanted), [every[number] for number in wanted]))


def clip_file(path: Path, kind: Kind = "video") -> ClipFile:
    return ClipFile(path, path.name, kind)


def test_every_frame_by_itself_and_in_pairs(video: Path) -> None:
    every = decoded(video)
    assert all(not np.array_equal(a, b) for a, b in pairwise(every))
    with open_frames(clip_file(video)) as frames:
        assert frames.count == len(every)
        for k in np.random.default_rng(0).permutation(len(every)):
            np.testing.assert_array_equal(frames.read([k])[0], every[k])
    for pair in np.random.default_rng(1).integers(len(every), size=(12, 2)).tolist():
        with open_frames(clip_file(video)) as frames:
            for k, image in zip(pair, frames.read(pair), strict=True):
                np.testing.assert_array_equal(image, every[k])


def test_key_frames_save_work(tmp_path: Path, write_video: Write, monkeypatch: pytest.MonkeyPatch) -> None:
    """Frame 17 of a clip with a key frame in five is decoded from frame 15 on."""
    path = write_video(tmp_path / "a.mp4", keys=5, options={"x264-params": "scenecut=0"})
    assert index_video(path).keys == tuple(index_video(path).times[::5])  # type: ignore[index]
    seen: list[int] = []
    decode = Seeker._decode

    def counting(self: Seeker, wanted):  # type: ignore[no-untyped-def]
        for frame in decode(self, wanted):
            seen.append(frame.pts)
            yield frame

    monkeypatch.setattr(Seeker, "_decode", counting)
    seeker = Seeker(path, index_video(path))
    seeker.read([17])
    assert len(seen) == 3


def test_a_search_that_ends_too_late_begins_anew(tmp_path: Path, write_video: Write) -> None:
    """As in a container without an index: what was sought lies before the place that was found."""
    path = write_video(tmp_path / "a.mp4", keys=5, options={"x264-params": "scenecut=0"})
    index = index_video(path)
    assert index.times is not None
    seeker = Seeker(path, index)
    seek = seeker._container.seek

    class Late:
        def __init__(self, container: object) -> None:
            self.container = container

        def seek(self, offset: int, **options: object) -> None:
            seek(int(index.times[-1]), **options)  # type: ignore[arg-type, index]

        def __getattr__(self, name: str) -> object:
            return getattr(self.container, name)

    seeker._container = Late(seeker._container)  # type: ignore[assignment]
    np.testing.assert_array_equal(seeker.read([7])[0], decoded(path)[7])


def test_strips_and_folders(
    tmp_path: Path, write_strip: Write, write_folder: Write, number_of: Callable[[Frame], int]
) -> None:
    for kind, path in (("strip", write_strip(tmp_path / "a.png")), ("frames", write_folder(tmp_path / "b"))):
        with open_frames(clip_file(path, kind)) as frames:
            assert frames.count == 12
            assert [number_of(image) for image in frames.read([11, 0, 10, 2, 2])] == [11, 0, 10, 2, 2]


def cut(path: Path, write_video: Write) -> None:
    write_video(path, container_options={"movflags": "+faststart"})
    path.write_bytes(path.read_bytes()[: path.stat().st_size * 2 // 3])


def cut_index(path: Path, write_video: Write) -> None:
    write_video(path)
    path.write_bytes(path.read_bytes()[:256])


def frameless(path: Path, _: Write) -> None:
    with av.open(str(path), "w") as output:
        video = output.add_stream("libx264", rate=25)
        video.width, video.height, video.pix_fmt = 96, 96, "yuv420p"
        output.start_encoding()


DAMAGED: dict[str, tuple[str, Kind, Callable[[Path, Write], Any], str]] = {
    "cut": ("a.mp4", "video", cut, "cut short"),
    "without index": ("a.mp4", "video", cut_index, "moov"),
    "empty": ("a.mp4", "video", lambda path, _: path.touch(), "an empty file"),
    "text": ("a.mp4", "video", lambda path, _: path.write_text("not a video at all\n" * 50), "not a video"),
    "no frames": ("a.mp4", "video", frameless, "a file without video"),
    "no frames in mkv": ("a.mkv", "video", frameless, "not a video"),
    "gone": ("a.mp4", "video", lambda path, _: None, "there is no such file"),
    "text as a strip": ("a.jpg", "strip", lambda path, _: path.write_text("text"), "not a picture"),
    "empty strip": ("a.jpg", "strip", lambda path, _: path.touch(), "an empty file"),
    "empty folder": ("a", "frames", lambda path, _: path.mkdir(), "a folder without pictures"),
    "folder gone": ("a", "frames", lambda path, _: None, "cannot be read"),
}


@pytest.mark.parametrize("case", DAMAGED)
def test_damage_is_told(case: str, tmp_path: Path, write_video: Write) -> None:
    name, kind, damage, told = DAMAGED[case]
    damage(tmp_path / name, write_video)
    with pytest.raises(MaskanimError, match=told), open_frames(clip_file(tmp_path / name, kind)) as frames:
        frames.read([0])


def test_a_strip_of_frames_that_are_no_squares(tmp_path: Path) -> None:
    write_picture(tmp_path / "a.png", np.zeros((96, 200, 3), np.uint8))
    with pytest.raises(MaskanimError, match="200x96 pixels; expected a strip of square frames"):
        open_frames(clip_file(tmp_path / "a.png", "strip"))


def test_a_frame_that_is_not_there_is_damage(tmp_path: Path, write_video: Write) -> None:
    """The index promises more than the decoder gives."""
    path = write_video(tmp_path / "a.mp4")
    index = index_video(path)
    assert index.times is not None
    more = np.append(index.times, index.times[-1] + 512)
    for promised in (VideoIndex(21, more, index.keys), VideoIndex(21, None)):
        with pytest.raises(MaskanimError, match="frame 20 of 21 cannot be decoded"):
            Seeker(path, promised).read([3, 20])


def test_real_clips(real_data: Path) -> None:
    """Two frames of each, against a full decode."""
    for path in sorted((real_data / "faces/driving").glob("*.mp4"))[:3]:
        numbers = [150, 37]
        with open_clip(path) as clip:
            every = {i: image for i, (image, _) in zip(range(151), clip, strict=False) if i in numbers}
        with open_frames(clip_file(path)) as frames:
            for k, image in zip(numbers, frames.read(numbers), strict=True):
                np.testing.assert_array_equal(image, every[k])
