"""Driving clips as they are read: strips, folders and videos, upright, in order, and whole or refused."""

from __future__ import annotations

import gc
import re
import struct
from collections.abc import Callable
from fractions import Fraction
from pathlib import Path

import av
import cv2
import numpy as np
import pytest

from helpers.odd_files import delayed, video
from maskanim.errors import MaskanimError
from maskanim.ops import Frame
from maskanim.video import Clip, ClipWriter, open_clip

Draw = Callable[..., Frame]
WriteClip = Callable[..., Path]
Shown = Callable[[Path], list[tuple[Fraction, Fraction]]]
Starts = Callable[[Path], list[Fraction]]
AssertNothingLeft = Callable[..., None]


def rotate(path: Path, degrees: int) -> None:
    """Record in an mp4, as phones do, that its frames are to be turned anticlockwise."""
    cos, sin = round(np.cos(np.radians(degrees))) << 16, round(np.sin(np.radians(degrees))) << 16
    upright = struct.pack(">9i", 1 << 16, 0, 0, 0, 1 << 16, 0, 0, 0, 1 << 30)
    turned = struct.pack(">9i", cos, -sin, 0, sin, cos, 0, 0, 0, 1 << 30)
    data = path.read_bytes()
    at = data.index(upright, data.index(b"tkhd"))
    path.write_bytes(data[:at] + turned + data[at + len(turned) :])


# Strips and folders


def test_strip(tmp_path: Path, draw: Draw) -> None:
    squares = [draw(i, 64, 64) for i in range(5)]
    cv2.imwrite(str(tmp_path / "strip.png"), cv2.cvtColor(np.hstack(squares), cv2.COLOR_RGB2BGR))
    with open_clip(tmp_path / "strip.png") as clip:
        assert (clip.time_base, clip.rate, clip.frame_count, clip.audio_rate) == (Fraction(1, 25), 25, 5, None)
        frames = list(clip)
    assert [pts for _, pts in frames] == [0, 1, 2, 3, 4]
    np.testing.assert_array_equal([image for image, _ in frames], squares)


def test_square_picture_is_a_clip_of_one_frame(tmp_path: Path, draw: Draw) -> None:
    cv2.imwrite(str(tmp_path / "still%03d.jpg"), draw(0, 80, 80))
    assert [(image.shape, pts) for image, pts in open_clip(tmp_path / "still%03d.jpg")] == [((80, 80, 3), 0)]


def test_picture_that_is_no_strip_is_a_clip_of_one_frame(tmp_path: Path, draw: Draw) -> None:
    cv2.imwrite(str(tmp_path / "photo.png"), draw(0, 100, 150)[..., ::-1])
    with open_clip(tmp_path / "photo.png") as clip:
        ((image, pts),) = clip
    np.testing.assert_array_equal(image, draw(0, 100, 150))
    assert pts == 0


def test_folder_is_read_in_natural_order(tmp_path: Path) -> None:
    for i in (10, 9, 1, 2):
        cv2.imwrite(str(tmp_path / f"frame{i}.png"), np.full((64, 64, 3), i, np.uint8))
    (tmp_path / "notes.txt").write_text("not a frame")
    (tmp_path / "._frame1.png").write_text("what macOS leaves on foreign disks")
    with open_clip(tmp_path, stills_rate=Fraction(30000, 1001)) as clip:
        assert (clip.time_base, clip.frame_count) == (Fraction(1001, 30000), 4)
        assert [(image[0, 0, 0], pts) for image, pts in clip] == [(1, 0), (2, 1), (9, 2), (10, 3)]


def test_stills_have_a_rate_above_zero(tmp_path: Path, draw: Draw) -> None:
    cv2.imwrite(str(tmp_path / "a.png"), draw(0))
    with pytest.raises(MaskanimError, match="stills_rate: '0'; expected frames per second"):
        open_clip(tmp_path / "a.png", 0)


def test_stills_drive_a_clip(tmp_path: Path, draw: Draw, copy_clip: WriteClip, shown: Shown) -> None:
    cv2.imwrite(str(tmp_path / "strip.png"), np.hstack([draw(i, 64, 64) for i in range(5)]))
    copy_clip(tmp_path / "strip.png", tmp_path / "out.mp4")
    assert shown(tmp_path / "out.mp4") == [(Fraction(i, 25), Fraction(1, 25)) for i in range(5)]


# Videos


@pytest.mark.parametrize("rotation", [0, 90, 180, -90])
def test_rotated_video_is_upright(tmp_path: Path, draw: Draw, make_clip: WriteClip, rotation: int) -> None:
    path = make_clip(tmp_path / "a.mp4", range(3), options={"crf": "5"})
    rotate(path, rotation)
    for i, (image, _) in enumerate(open_clip(path)):
        upright = np.rot90(draw(i), rotation // 90)
        assert image.shape == upright.shape
        assert np.median(np.abs(image.astype(int) - upright)) < 8


def test_frames_without_times_follow_one_another(tmp_path: Path, make_clip: WriteClip) -> None:
    path = make_clip(tmp_path / "a.h264", range(9), b_frames=2)
    with av.open(str(path)) as container:
        assert {frame.pts for frame in container.decode(video=0)} == {None}
    with open_clip(path) as clip:
        assert [pts * clip.time_base for _, pts in clip] == [Fraction(i, 25) for i in range(9)]
        assert clip.frame_duration * clip.time_base == Fraction(1, 25)


def test_b_frames_in_an_avi_come_in_order(tmp_path: Path, make_clip: WriteClip, starts: Starts) -> None:
    path = make_clip(tmp_path / "a.avi", range(20), b_frames=3, options={"preset": "fast"})
    assert starts(path) != sorted(starts(path)), "the clip does not show what is tested"
    with open_clip(path) as clip:
        assert clip.frame_count == 20
        times = [pts * clip.time_base for _, pts in clip]
    assert np.diff(times).tolist() == [Fraction(1, 25)] * 19


@pytest.mark.parametrize(
    ("name", "codec"), [("a.mov", "libx264"), ("a.webm", "libvpx"), ("a.gif", "gif"), ("a.avi", "mpeg4")]
)
def test_other_containers(tmp_path: Path, make_clip: WriteClip, starts: Starts, name: str, codec: str) -> None:
    path = make_clip(tmp_path / name, codec=codec, time_base=Fraction(1, 100 if codec == "gif" else 25))
    with open_clip(path) as clip:
        frames = list(clip)
        assert [pts * clip.time_base for _, pts in frames] == starts(path)
    assert len(frames) == 12
    assert {image.shape for image, _ in frames} == {(96, 128, 3)}


def test_clip_is_read_once_and_says_when_it_is_finished(tmp_path: Path, make_clip: WriteClip) -> None:
    with open_clip(make_clip(tmp_path / "a.mp4", range(3))) as clip:
        next(clip)
        assert not clip.finished
        assert len(list(clip)) == 2
        assert clip.finished
        assert list(clip) == []


def test_names_that_ffmpeg_would_take_for_protocols(
    tmp_path: Path, make_clip: WriteClip, copy_clip: WriteClip, starts: Starts, monkeypatch: pytest.MonkeyPatch
) -> None:
    make_clip(tmp_path / "a.mp4", range(3)).rename(tmp_path / "10:30 é.mp4")
    monkeypatch.chdir(tmp_path)
    copy_clip("10:30 é.mp4", "11:00 人.mp4")
    assert starts(tmp_path / "11:00 人.mp4") == [0, Fraction(1, 25), Fraction(2, 25)]


def test_metadata_need_not_be_utf8(tmp_path: Path, make_clip: WriteClip) -> None:
    make_clip(tmp_path / "a.avi", codec="mpeg4")
    with av.open(str(tmp_path / "b.avi"), "w") as output, av.open(str(tmp_path / "a.avi")) as given:
        output.metadata["title"] = "TITLE"
        stream = output.add_stream_from_template(given.streams.video[0])
        for packet in given.demux(video=0):
            if packet.dts is not None:
                packet.stream = stream
                output.mux(packet)
    data = (tmp_path / "b.avi").read_bytes()
    assert b"TITLE" in data
    (tmp_path / "b.avi").write_bytes(data.replace(b"TITLE", b"T\xcfTLE"))
    assert len(list(open_clip(tmp_path / "b.avi"))) == 12


def test_errors_at_open(
    tmp_path: Path, tone: Callable[..., av.AudioFrame], make_clip: WriteClip, capfd: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "empty.mp4").touch()
    (tmp_path / "text.mp4").write_text("not a video\n" * 50)
    (tmp_path / "text.txt").write_text("FFmpeg plays this as ANSI art\n" * 50)
    (tmp_path / "folder").mkdir()
    make_clip(tmp_path / "small.mp4", size=(128, 62))
    index_at_end = make_clip(tmp_path / "whole.mp4").read_bytes()
    (tmp_path / "cut.mp4").write_bytes(index_at_end[: len(index_at_end) // 2])
    with av.open(str(tmp_path / "sound.m4a"), "w", format="mp4") as output:
        sound = output.add_stream("aac", rate=44100, layout="mono")
        output.mux([*sound.encode(tone(0, 4000, 44100)), *sound.encode(None)])
    for name, told in [
        ("missing.mp4", "there is no such file; expected a video"),
        ("folder", "a folder without pictures"),
        ("empty.mp4", r"an empty file \(0 bytes\)"),
        ("text.mp4", "not a video that FFmpeg can open"),
        ("text.txt", "a file without video"),
        ("sound.m4a", "a file without video"),
        ("cut.mp4", r"incomplete mp4 or mov, whose index \(moov\) is missing"),
        ("small.mp4", "128x62 pixels; expected at least 64x64"),
    ]:
        with pytest.raises(MaskanimError, match=told):
            open_clip(tmp_path / name)
    assert capfd.readouterr() == ("", "")


def test_how_many_frames_an_mkv_has_that_begins_after_a_day(tmp_path: Path) -> None:
    late = video("late.mkv", times=tuple(25 * 86400 + i for i in range(12)))(tmp_path)
    with open_clip(late) as clip:
        assert clip.frame_count == 12


@pytest.mark.parametrize("audio", [None, "aac"])
def test_what_decodes_of_a_video_cut_short_is_kept_and_said(
    tmp_path: Path,
    make_clip: WriteClip,
    copy_clip: WriteClip,
    starts: Starts,
    capfd: pytest.CaptureFixture[str],
    audio: str | None,
) -> None:
    whole = make_clip(tmp_path / "whole.mp4", range(50), audio=audio, container_options={"movflags": "+faststart"})
    data = whole.read_bytes()
    (tmp_path / "cut.mp4").write_bytes(data[: len(data) * 7 // 10])
    copy_clip(tmp_path / "cut.mp4", tmp_path / "out.mp4")
    kept = starts(tmp_path / "out.mp4")
    assert 20 <= len(kept) < 50 and kept == [Fraction(i, 25) for i in range(len(kept))]
    with open_clip(tmp_path / "cut.mp4") as clip:
        assert clip.warning is None
        assert len(list(clip)) == len(kept)
        assert re.search(r"cut\.mp4: damaged or cut short: [234]\d of 50 frames could be read; what", str(clip.warning))
    assert capfd.readouterr() == ("", "")


def test_a_clip_that_has_to_be_whole(
    tmp_path: Path, make_clip: WriteClip, assert_nothing_left: AssertNothingLeft
) -> None:
    data = make_clip(tmp_path / "a.mp4", range(50), container_options={"movflags": "+faststart"}).read_bytes()
    (tmp_path / "a.mp4").write_bytes(data[: len(data) * 7 // 10])
    (tmp_path / "out.mp4").write_bytes(b"an earlier result")
    with (
        pytest.raises(MaskanimError, match=r"cut short: [234]\d of 50 frames could be read; expected a complete video"),
        open_clip(tmp_path / "a.mp4", whole=True) as clip,
        ClipWriter(tmp_path / "out.mp4", clip) as writer,
    ):
        for image, pts in clip:
            writer.write(image, pts)
    assert (tmp_path / "out.mp4").read_bytes() == b"an earlier result"
    assert_nothing_left(tmp_path, "a.mp4", "out.mp4")


def test_video_without_its_last_byte_or_with_a_cut_index(tmp_path: Path, make_clip: WriteClip) -> None:
    data = make_clip(tmp_path / "a.mp4", range(50), container_options={"movflags": "+faststart"}).read_bytes()
    (tmp_path / "a.mp4").write_bytes(data[:-1])
    with open_clip(tmp_path / "a.mp4") as clip:
        assert len(list(clip)) >= 49 and "49 of 50 frames" in str(clip.warning)
    data = make_clip(tmp_path / "b.mp4", range(50), audio="aac").read_bytes()
    (tmp_path / "b.mp4").write_bytes(data[: data.index(b"stco") + 40])
    with pytest.raises(MaskanimError, match=r"\d+ of 50 frames"):
        list(open_clip(tmp_path / "b.mp4", whole=True))


def test_trimmed_video_is_not_taken_for_one_cut_short(tmp_path: Path, make_clip: WriteClip) -> None:
    make_clip(tmp_path / "whole.mp4", range(60), b_frames=2, options={"g": "10"})
    with av.open(str(tmp_path / "whole.mp4")) as given, av.open(str(tmp_path / "trimmed.mp4"), "w") as output:
        stream = output.add_stream_from_template(given.streams.video[0])
        for packet in given.demux(video=0):
            if packet.dts is not None:
                packet.pts, packet.dts = packet.pts - 25 * 512, packet.dts - 25 * 512  # the first second is cut off
                packet.stream = stream
                output.mux(packet)
    with open_clip(tmp_path / "trimmed.mp4") as clip:
        assert clip.frame_count == 60
        assert [pts * clip.time_base for _, pts in clip] == [Fraction(i, 25) for i in range(35)]


# Real clips


def test_real_strip(data_folder: Path) -> None:
    path = sorted((data_folder / "actions/test").glob("*.jpg"))[0]
    with open_clip(path) as clip:
        assert isinstance(clip, Clip)
        shapes = [image.shape for image, _ in clip]
    assert shapes == [(64, 64, 3)] * clip.frame_count
    assert len(shapes) > 20


def test_frames_that_were_read_are_let_go(tmp_path: Path, make_clip: WriteClip) -> None:
    """Without a collection of garbage: what waits for that makes reading slow, and memory grow."""
    path = make_clip(tmp_path / "a.mp4", range(60))
    gc.collect()
    gc.disable()
    try:
        with open_clip(path) as clip:
            assert sum(1 for _ in clip) == 60
            kept = sum(isinstance(thing, av.VideoFrame) for thing in gc.get_objects())
    finally:
        gc.enable()
    assert kept < 10


@pytest.mark.parametrize("seconds", [5, 86400])
@pytest.mark.parametrize("count", [1, 2, 6, 12])
@pytest.mark.parametrize(("ending", "codec"), [("mkv", "libx264"), ("webm", "libvpx")])
def test_a_mute_recording_that_starts_late(tmp_path: Path, ending: str, codec: str, count: int, seconds: int) -> None:
    """Of a short one FFmpeg does not tell when it begins, and Matroska tells when it ends."""
    options = {"preset": "ultrafast"} if ending == "mkv" else {}  # without B-frames
    clip = video(f"s.{ending}", codec, times=tuple(range(count)), options=options)(tmp_path)
    path = delayed(clip, tmp_path / f"a.{ending}", seconds)
    with open_clip(path) as clip:
        assert clip.frame_count == count
        assert [pts * clip.time_base for _, pts in clip] == [seconds + Fraction(i, 25) for i in range(count)]
        assert clip.warning is None
    with open_clip(path, start=Fraction(count - 1, 25)) as clip:
        assert len(list(clip)) == 1


@pytest.mark.parametrize("ending", ["ts", "webm"])
def test_a_clip_that_begins_before_zero_loses_no_frame(
    tmp_path: Path, copy_clip: WriteClip, starts: Starts, ending: str
) -> None:
    path = tmp_path / f"early.{ending}"
    with av.open(str(path), "w", options={"avoid_negative_ts": "disabled"}) as output:
        stream = output.add_stream("libx264" if ending == "ts" else "libvpx-vp9", rate=25)
        stream.width = stream.height = 64
        stream.pix_fmt, stream.codec_context.max_b_frames = "yuv420p", 0
        for i in range(12):
            frame = av.VideoFrame.from_ndarray(np.full((64, 64, 3), 20 * i, np.uint8), "rgb24")
            frame.pts = i
            for packet in [*stream.encode(frame), *(stream.encode(None) if i == 11 else ())]:
                packet.pts, packet.dts = packet.pts - 5, packet.dts - 5
                output.mux(packet)
    assert starts(path)[0] < 0
    assert starts(copy_clip(path, tmp_path / "copy.mp4")) == [Fraction(i, 25) for i in range(12)]


def test_dv_has_the_rate_of_its_frames(tmp_path: Path) -> None:
    """And not that of the clock that FFmpeg tells their times by."""
    with open_clip(video("a.dv", "dvvideo", size=(576, 720))(tmp_path)) as clip:
        assert (clip.rate, clip.frame_count) == (25, 12)


def test_a_file_that_goes_while_it_is_read(tmp_path: Path) -> None:
    path = video("a.wmv", "wmv2")(tmp_path)
    with open_clip(path) as clip:
        first = next(clip)
        path.unlink()
        assert len([first, *clip]) == 12 and clip.warning is None
