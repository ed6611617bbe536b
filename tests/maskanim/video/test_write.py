"""Clips as they are written: exact times, the driving clip's audio, and a whole file or none."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Callable
from fractions import Fraction
from itertools import accumulate
from pathlib import Path
from typing import Any

import av
import numpy as np
import pytest
from numpy.typing import NDArray

from maskanim.errors import MaskanimError
from maskanim.ops import Frame
from maskanim.video import ClipWriter, Encoding, FrameWriter, ResumableWriter, check_output, open_clip

Draw = Callable[..., Frame]
Change = Callable[[Frame], NDArray[Any]]
WriteClip = Callable[..., Path]
Shown = Callable[[Path], list[tuple[Fraction, Fraction]]]
Starts = Callable[[Path], list[Fraction]]
AssertNothingLeft = Callable[..., None]

UNEVEN_PTS = [0, 40, 70, 71, 200, 333]
UNEVEN = [3, 1, 4, 1, 5, 9, 2, 6, 5, 3, 5, 8, 9, 7, 9, 3, 2, 3, 8, 4]


def audio_packets(path: Path) -> list[tuple[bytes, Fraction]]:
    """(bytes, start) of every audio packet of a file."""
    with av.open(str(path)) as container:
        packets = container.demux(container.streams.audio[0])
        return [(bytes(packet), packet.pts * packet.time_base) for packet in packets if packet.size]


# Written times


@pytest.mark.parametrize(
    "time_base",
    [Fraction(1, 90000), Fraction(1, 15360), Fraction(1001, 30000), Fraction(1, 1000), Fraction(1, 25)],
    ids=str,
)
@pytest.mark.parametrize("first", [0, 4321])
@pytest.mark.parametrize("b_frames", [0, 3])
def test_times_are_exact(
    tmp_path: Path,
    make_clip: WriteClip,
    copy_clip: WriteClip,
    shown: Shown,
    time_base: Fraction,
    first: int,
    b_frames: int,
) -> None:
    tick = max(1, int(Fraction(1, 200) / time_base))
    pts = [first + tick * step for step in accumulate(UNEVEN, initial=0)]
    driving = make_clip(tmp_path / "in.mp4", pts, time_base, 7 * tick, b_frames=b_frames)
    given = shown(driving)
    assert [start for start, _ in given] == [at * time_base for at in pts], "the driving clip is not what is meant"
    written = shown(copy_clip(driving, tmp_path / "out.mp4", Encoding()))
    assert [start for start, _ in written] == [start for start, _ in given]
    assert written[-1][1] == given[-1][1]
    assert [duration for _, duration in written[:-1]] == [step * tick * time_base for step in UNEVEN]


def test_times_of_webm_and_gif_are_exact(
    tmp_path: Path, make_clip: WriteClip, copy_clip: WriteClip, shown: Shown, starts: Starts
) -> None:
    webm = make_clip(tmp_path / "a.webm", [5, 38, 71, 105, 300, 333], Fraction(1, 1000), codec="libvpx")
    gif = make_clip(tmp_path / "a.gif", [0, 4, 8, 30, 35], Fraction(1, 100), codec="gif")
    for driving in (webm, gif):
        assert starts(copy_clip(driving, tmp_path / "out.mp4")) == starts(driving)
    assert shown(tmp_path / "out.mp4")[-1] == shown(gif)[-1]


def test_streams_written(tmp_path: Path, make_clip: WriteClip, copy_clip: WriteClip) -> None:
    copy_clip(make_clip(tmp_path / "in.mp4", audio="aac"), tmp_path / "out.mp4")
    with av.open(str(tmp_path / "out.mp4")) as container:
        video = container.streams.video[0]
        assert (video.codec_context.name, video.pix_fmt, video.frames) == ("h264", "yuv420p", 12)
        assert [stream.type for stream in container.streams] == ["video", "audio"]
    data = (tmp_path / "out.mp4").read_bytes()
    assert data.index(b"moov") < data.index(b"mdat"), "a browser would have to load it whole before playing"


def test_colours_survive(tmp_path: Path, make_clip: WriteClip) -> None:
    quarters = np.zeros((96, 128, 3), np.uint8)
    quarters[:48, :64], quarters[:48, 64:], quarters[48:, :64] = (255, 0, 0), (0, 255, 0), (0, 0, 255)
    quarters[48:, 64:] = (200, 120, 40)
    with open_clip(make_clip(tmp_path / "in.mp4", range(2))) as clip, ClipWriter(tmp_path / "out.mp4", clip) as writer:
        for _, pts in clip:
            writer.write(quarters, pts)
    with open_clip(tmp_path / "out.mp4") as clip:
        image = next(clip).image.astype(int)
    for y, x in [(24, 32), (24, 96), (72, 32), (72, 96)]:
        assert np.abs(image[y, x] - quarters[y, x]).max() <= 4
    with av.open(str(tmp_path / "out.mp4")) as container:
        context = container.streams.video[0].codec_context
        assert (context.colorspace, context.color_primaries, context.color_trc, context.color_range) == (1, 1, 1, 1)


@pytest.mark.parametrize(("height", "width"), [(97, 128), (96, 127), (65, 65)])
def test_odd_sizes_repeat_the_edge(tmp_path: Path, make_clip: WriteClip, height: int, width: int) -> None:
    image = np.full((height, width, 3), 30, np.uint8)
    image[-1], image[:, -1] = 200, 200
    with open_clip(make_clip(tmp_path / "in.mp4", range(2))) as clip, ClipWriter(tmp_path / "out.mp4", clip) as writer:
        for _, pts in clip:
            writer.write(image, pts)
    with open_clip(tmp_path / "out.mp4") as clip:
        written = next(clip).image
    assert written.shape == (height + height % 2, width + width % 2, 3)
    assert written[-1, -1, 0] > 180
    assert abs(int(written[10, 10, 0]) - 30) < 5


# Audio


@pytest.mark.parametrize(
    ("name", "codec", "rate"),
    [
        ("in.mp4", "aac", 44100),
        ("in.mp4", "libmp3lame", 44100),
        ("in.mp4", "ac3", 48000),
        ("in.mov", "alac", 44100),
        ("in.mkv", "libopus", 48000),
        ("in.mkv", "flac", 44100),
    ],
)
def test_audio_is_copied_untouched(
    tmp_path: Path, make_clip: WriteClip, copy_clip: WriteClip, name: str, codec: str, rate: int
) -> None:
    driving = make_clip(tmp_path / name, range(50), audio=codec, audio_rate=rate)
    given, written = audio_packets(driving), audio_packets(copy_clip(driving, tmp_path / "out.mp4"))
    assert len(given) > 10
    assert [data for data, _ in written] == [data for data, _ in given]
    one_sample = 0 if name.endswith("mp4") else Fraction(1, rate)  # an mkv has milliseconds only
    assert max(abs(a - b) for (_, a), (_, b) in zip(written, given, strict=True)) <= one_sample


def test_audio_that_starts_late_is_copied_with_its_start(
    tmp_path: Path, make_clip: WriteClip, copy_clip: WriteClip, starts: Starts
) -> None:
    driving = make_clip(tmp_path / "in.mp4", range(3, 50), audio="aac", audio_start=12345)
    written = copy_clip(driving, tmp_path / "out.mp4")
    assert audio_packets(written)[0][1] == audio_packets(driving)[0][1] > Fraction(1, 5)
    assert starts(written) == starts(driving)


def test_audio_of_a_transport_stream_is_copied(
    tmp_path: Path, make_clip: WriteClip, copy_clip: WriteClip, starts: Starts
) -> None:
    driving = make_clip(tmp_path / "in.ts", range(50), audio="aac")
    written = copy_clip(driving, tmp_path / "out.mp4")
    adts_header = 7
    assert [data for data, _ in audio_packets(written)] == [data[adts_header:] for data, _ in audio_packets(driving)]
    assert starts(written) == starts(driving)


@pytest.mark.parametrize(
    ("name", "codec", "rate", "written_rate"),
    [("in.mov", "pcm_s16le", 44100, 44100), ("in.avi", "pcm_s16le", 8000, 8000), ("in.mkv", "pcm_s16le", 7000, 48000)],
)
def test_other_audio_becomes_aac(
    tmp_path: Path, make_clip: WriteClip, copy_clip: WriteClip, name: str, codec: str, rate: int, written_rate: int
) -> None:
    driving = make_clip(tmp_path / name, range(50), audio=codec, audio_rate=rate)
    with av.open(str(copy_clip(driving, tmp_path / "out.mp4"))) as container:
        stream = container.streams.audio[0]
        assert (stream.codec_context.name, stream.rate) == ("aac", written_rate)
        frames = list(container.decode(stream))
    assert frames[0].pts == 0
    heard = np.concatenate([frame.to_ndarray()[0] for frame in frames])
    assert len(heard) / written_rate == pytest.approx(2, abs=0.15)
    loudest = np.argmax(np.abs(np.fft.rfft(heard))) * written_rate / len(heard)
    assert loudest == pytest.approx(440, abs=2)


def test_audio_ends_with_the_frames_written(
    tmp_path: Path, make_clip: WriteClip, copy_clip: WriteClip, shown: Shown
) -> None:
    driving = make_clip(tmp_path / "in.mp4", range(100), audio="aac")
    copy_clip(driving, tmp_path / "out.mp4", count=25)
    assert len(shown(tmp_path / "out.mp4")) == 25
    assert 1 <= audio_packets(tmp_path / "out.mp4")[-1][1] + Fraction(1024, 44100) < Fraction(11, 10)


# The file as a whole


def test_a_failure_leaves_what_was_there(
    tmp_path: Path, make_clip: WriteClip, assert_nothing_left: AssertNothingLeft
) -> None:
    driving = make_clip(tmp_path / "in.mp4", range(60), audio="aac")
    (tmp_path / "out.mp4").write_bytes(b"an earlier result")
    with pytest.raises(KeyboardInterrupt), open_clip(driving) as clip, ClipWriter(tmp_path / "out.mp4", clip) as writer:
        for image, pts in clip:
            writer.write(image, pts)
            if pts > 40 * 512:
                assert len(list(tmp_path.iterdir())) == 3, "the unfinished file is beside the one to replace"
                raise KeyboardInterrupt
    assert (tmp_path / "out.mp4").read_bytes() == b"an earlier result"
    assert_nothing_left(tmp_path, "in.mp4", "out.mp4")


def test_a_failure_at_the_end_leaves_nothing(
    tmp_path: Path,
    make_clip: WriteClip,
    copy_clip: WriteClip,
    assert_nothing_left: AssertNothingLeft,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    driving = make_clip(tmp_path / "in.mp4")

    def full(*_: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(Path, "replace", full)
    with pytest.raises(MaskanimError, match=r"out\.mp4: writing it failed \(No space left on device\)"):
        copy_clip(driving, tmp_path / "out.mp4")
    assert_nothing_left(tmp_path, "in.mp4")


def test_success_replaces_what_was_there_through_a_link(
    tmp_path: Path, make_clip: WriteClip, copy_clip: WriteClip, starts: Starts, assert_nothing_left: AssertNothingLeft
) -> None:
    driving = make_clip(tmp_path / "in.mp4")
    (tmp_path / "out.mp4").write_bytes(b"an earlier result")
    (tmp_path / "link.mp4").symlink_to("out.mp4")
    copy_clip(driving, tmp_path / "link.mp4")
    assert (tmp_path / "link.mp4").is_symlink()
    assert starts(tmp_path / "out.mp4") == starts(driving)
    assert_nothing_left(tmp_path, "in.mp4", "out.mp4", "link.mp4")


def test_a_clip_needs_frames(tmp_path: Path, make_clip: WriteClip, assert_nothing_left: AssertNothingLeft) -> None:
    driving = make_clip(tmp_path / "in.mp4")
    with open_clip(driving) as clip, pytest.raises(MaskanimError, match="no frame was written"):
        ClipWriter(tmp_path / "out.mp4", clip).__exit__(None, None, None)
    assert_nothing_left(tmp_path, "in.mp4")


@pytest.mark.parametrize(
    ("change", "pts", "told"),
    [
        (lambda image: image, 5, "the frame before is at 5; expected frames in order of time"),
        (lambda image: image[:64, :64], 6, r"shape \(64, 64, 3\); expected \(96, 128, 3\)"),
        (lambda image: image[..., 0], 6, r"uint8 of shape \(96, 128\); expected uint8 RGB"),
        (lambda image: image.astype(np.float32), 6, "float32 of shape"),
    ],
)
def test_frames_that_do_not_fit(
    tmp_path: Path,
    draw: Draw,
    make_clip: WriteClip,
    assert_nothing_left: AssertNothingLeft,
    change: Change,
    pts: int,
    told: str,
) -> None:
    driving = make_clip(tmp_path / "in.mp4")
    out = tmp_path / "out.mp4"
    with pytest.raises(MaskanimError, match=told), open_clip(driving) as clip, ClipWriter(out, clip) as writer:
        writer.write(draw(), 5)
        writer.write(change(draw()), pts)
    assert_nothing_left(tmp_path, "in.mp4")


@pytest.mark.parametrize("wrong", [{"crf": 52}, {"preset": "veryquick"}, {"threads": -1}])
def test_encoding_that_x264_does_not_have(wrong: dict[str, Any]) -> None:
    with pytest.raises(MaskanimError, match=f"{next(iter(wrong))}: {next(iter(wrong.values()))}; expected"):
        Encoding(**wrong)


def test_output_is_checked_before_any_work(tmp_path: Path, assert_nothing_left: AssertNothingLeft) -> None:
    (tmp_path / "in.mp4").write_bytes(b"driving")
    (tmp_path / "link.mp4").symlink_to("in.mp4")
    (tmp_path / "folder.mp4").mkdir()
    for name, told in [
        ("missing/out.mp4", "missing is not a folder; expected an existing folder"),
        ("in.mp4/out.mp4", "in.mp4 is not a folder"),
        ("folder.mp4", "a folder; expected the name of a file"),
        ("out.avi", "a name ending in '.avi'; expected one ending in .mp4"),
        ("out", "a name without an ending"),
        ("in.mp4", "the same file as an input"),
        ("link.mp4", "the same file as an input"),
    ]:
        with pytest.raises(MaskanimError, match=told):
            check_output(tmp_path / name, [tmp_path / "in.mp4", tmp_path / "missing.png"])
    assert check_output(tmp_path / "out.mp4", [tmp_path / "in.mp4"]) == tmp_path.resolve() / "out.mp4"
    assert_nothing_left(tmp_path, "in.mp4", "link.mp4", "folder.mp4")


@pytest.mark.skipif(not Path("/proc/self").is_dir(), reason="needs a folder in which even root cannot create files")
def test_output_folder_that_cannot_be_written() -> None:
    with pytest.raises(MaskanimError, match="no file can be created in /proc/"):
        check_output("/proc/self/out.mp4")


def test_the_driving_clip_is_not_overwritten(tmp_path: Path, make_clip: WriteClip) -> None:
    driving = make_clip(tmp_path / "in.mp4")
    with open_clip(driving) as clip, pytest.raises(MaskanimError, match="the same file as an input"):
        ClipWriter(driving, clip)


# Other containers, and alpha


def decoded(path: Path) -> tuple[str, list[NDArray[np.uint8]]]:
    """The decoder's name and every frame of a file as RGBA; of VP9 by the decoder that knows alpha."""
    with av.open(str(path)) as container:
        stream = container.streams.video[0]
        context = stream.codec_context
        if context.name == "vp9":
            context = av.CodecContext.create("libvpx-vp9", "r")
        packets = [packet for packet in container.demux(stream) if packet.size]
        frames = [frame for packet in [*packets, None] for frame in context.decode(packet)]
        return stream.codec_context.name, [frame.to_ndarray(format="rgba") for frame in frames]


@pytest.mark.parametrize("writer_of", ["at once", "in segments"])
@pytest.mark.parametrize(("name", "codec"), [("out.mov", "prores"), ("out.webm", "vp9")])
def test_alpha_is_kept(
    tmp_path: Path, make_clip: WriteClip, draw: Draw, shown: Shown, name: str, codec: str, writer_of: str
) -> None:
    alpha = np.zeros((96, 128), np.uint8)
    alpha[16:80, 32:96], alpha[40:56, 48:80] = 128, 255
    driving = make_clip(tmp_path / "in.mp4", UNEVEN_PTS, Fraction(1, 1000), 7)
    with open_clip(driving) as clip:
        write: FrameWriter = (
            ClipWriter(tmp_path / name, clip, alpha=True)
            if writer_of == "at once"
            else ResumableWriter(tmp_path / name, clip, alpha=True, fingerprint="alpha")
        )
        with write:
            for image, pts in clip:
                write.write(np.dstack([image, alpha]), pts)
    found, frames = decoded(tmp_path / name)
    assert found == codec and len(frames) == len(UNEVEN_PTS)
    for frame in frames:  # ProRes rounds to ten bits, VP9 quantizes
        assert np.abs(frame[..., 3].astype(int) - alpha).mean() < 1
    assert [at for at, _ in shown(tmp_path / name)] == [Fraction(pts, 1000) for pts in UNEVEN_PTS]


def test_webm_has_opus_and_its_times_are_milliseconds(
    tmp_path: Path, make_clip: WriteClip, copy_clip: WriteClip, starts: Starts
) -> None:
    opus = make_clip(tmp_path / "in.mkv", range(50), audio="libopus", audio_rate=48000)
    copied = copy_clip(opus, tmp_path / "copied.webm")
    assert [data for data, _ in audio_packets(copied)] == [data for data, _ in audio_packets(opus)]
    aac = make_clip(tmp_path / "in.mp4", range(50), Fraction(1001, 30000), audio="aac")
    encoded = copy_clip(aac, tmp_path / "encoded.webm")
    with av.open(str(encoded)) as container:
        assert [stream.codec_context.name for stream in container.streams] == ["vp9", "opus"]
    assert max(abs(a - b) for a, b in zip(starts(encoded), starts(aac), strict=True)) <= Fraction(1, 2000)


@pytest.mark.parametrize("in_segments", [False, True])
def test_frames_nearer_than_a_millisecond_keep_their_order_in_webm(
    tmp_path: Path, make_clip: WriteClip, in_segments: bool
) -> None:
    """Each gets the next free millisecond; where there is room again, the times are right again."""
    out = tmp_path / "out.webm"
    driving = make_clip(tmp_path / "in.mp4", [0, 400, 404, 408, 412, 900, 905, 1300, 1306], Fraction(1, 12000), 60)
    with (
        open_clip(driving) as clip,
        ResumableWriter(out, clip, fingerprint="near") if in_segments else ClipWriter(out, clip) as writer,
    ):
        for image, pts in clip:
            writer.write(image, pts)
    with open_clip(out) as written:
        assert [frame.pts for frame in written] == [0, 33, 34, 35, 36, 75, 76, 108, 109]
        assert written.time_base == Fraction(1, 1000) and written.warning is None


def test_mov_is_h264_and_takes_pcm(tmp_path: Path, make_clip: WriteClip, copy_clip: WriteClip, shown: Shown) -> None:
    driving = make_clip(tmp_path / "in.mov", range(50), Fraction(1001, 30000), audio="pcm_s16le")
    written = copy_clip(driving, tmp_path / "out.mov")
    with av.open(str(written)) as container:
        assert [stream.codec_context.name for stream in container.streams] == ["h264", "pcm_s16le"]
    samples = [b"".join(data for data, _ in audio_packets(path)) for path in (written, driving)]
    assert samples[0] == samples[1]
    assert [at for at, _ in shown(written)] == [at for at, _ in shown(driving)]


def test_no_alpha_in_an_mp4(tmp_path: Path, make_clip: WriteClip) -> None:
    with open_clip(make_clip(tmp_path / "in.mp4")) as clip:
        with pytest.raises(MaskanimError, match=r"one ending in \.mov or \.webm\. An mp4 has no room for alpha"):
            ClipWriter(tmp_path / "out.mp4", clip, alpha=True)
        with (
            pytest.raises(MaskanimError, match="expected uint8 RGBA of shape"),
            ClipWriter(tmp_path / "out.mov", clip, alpha=True) as writer,
        ):
            writer.write(next(clip).image, 0)


# Real clips


@pytest.mark.parametrize("name", ["d18.mp4", "d11.mp4"])  # 1/15360 and 1/90000
def test_real_driving_clip(tmp_path: Path, shown: Shown, data_folder: Path, fast_encoding: Encoding, name: str) -> None:
    driving = data_folder / "faces/driving" / name
    with open_clip(driving) as clip, ClipWriter(tmp_path / "out.mp4", clip, fast_encoding) as writer:
        count = clip.frame_count
        for image, pts in clip:
            writer.write(image[::4, ::4], pts)
    given, written = shown(driving), shown(tmp_path / "out.mp4")
    assert written == given
    assert len(given) == count
    assert audio_packets(tmp_path / "out.mp4") == audio_packets(driving)


LAYOUTS = """
import sys
from pathlib import Path

import av
import numpy as np

from maskanim.logs import show_logs
from maskanim.video import ClipWriter, open_clip

layout, codec, source, target = sys.argv[1:]
with av.open(source, "w") as output:
    video = output.add_stream("mpeg4", rate=25)
    video.width, video.height, video.pix_fmt = 128, 96, "yuv420p"
    sound = output.add_stream(codec, rate=48000, layout=layout)
    for i in range(5):
        output.mux(video.encode(av.VideoFrame.from_ndarray(np.zeros((96, 128, 3), np.uint8), "rgb24")))
    silence = av.AudioFrame(format=sound.format.name, layout=layout, samples=9600)
    silence.rate, silence.pts = 48000, 0
    for plane in silence.planes:
        plane.update(bytes(plane.buffer_size))
    output.mux([*video.encode(None), *sound.encode(silence), *sound.encode(None)])
show_logs()
with open_clip(source) as clip, ClipWriter(target, clip) as writer:
    for image, pts in clip:
        writer.write(image, pts)
with av.open(target) as written:
    print([stream.type for stream in written.streams])
"""


@pytest.mark.parametrize(
    ("layout", "codec"), [("mono", "pcm_s16le"), ("5.1", "pcm_f32le"), ("6.1", "pcm_s24le"), ("7.1", "pcm_s16le")]
)
@pytest.mark.parametrize("names", [("a.mov", "o.mp4"), ("a.mov", "o.mov"), ("a.mkv", "o.mp4")])
def test_sound_of_many_channels(tmp_path: Path, layout: str, codec: str, names: tuple[str, str]) -> None:
    """PyAV ends the process when it decodes some layouts of a mov: they are left out, and said; others go along."""
    places = [str(tmp_path / name) for name in names]
    ran = subprocess.run(
        [sys.executable, "-c", LAYOUTS, layout, codec, *places], capture_output=True, text=True, check=False
    )
    assert ran.returncode == 0, ran.stderr
    left_out = layout in {"6.1", "7.1"} and names == ("a.mov", "o.mp4")
    assert ran.stdout.strip() == ("['video']" if left_out else "['video', 'audio']")
    line = f"warning: {places[0]}: its sound, PCM of seven or more channels, is left out\n"
    assert ran.stderr == (line if left_out else "")
