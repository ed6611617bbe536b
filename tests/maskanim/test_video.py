"""maskanim.video against clips written here with PyAV, and a few real ones."""

import struct
from fractions import Fraction
from itertools import accumulate
from pathlib import Path

import av
import cv2
import numpy as np
import pytest

from maskanim.errors import MaskanimError
from maskanim.video import Clip, ClipWriter, Encoding, check_output, open_clip, read_picture, write_picture

DATA = Path(__file__).resolve().parents[3] / "shared/data"
needs_data = pytest.mark.skipif(not DATA.is_dir(), reason=f"the real clips are not at {DATA}")

FAST = Encoding(crf=30, preset="ultrafast")
UNEVEN = [3, 1, 4, 1, 5, 9, 2, 6, 5, 3, 5, 8, 9, 7, 9, 3, 2, 3, 8, 4]


def picture(i=0, height=96, width=128):
    y, x = np.mgrid[:height, :width]
    return np.stack([x * 2 + 7 * i, y * 2 + 3 * i, np.full_like(x, 20 * i)], -1).astype(np.uint8)


def rotate(path, degrees):
    """Record in an mp4, as phones do, that its frames are to be turned anticlockwise."""
    cos, sin = round(np.cos(np.radians(degrees))) << 16, round(np.sin(np.radians(degrees))) << 16
    upright = struct.pack(">9i", 1 << 16, 0, 0, 0, 1 << 16, 0, 0, 0, 1 << 30)
    turned = struct.pack(">9i", cos, -sin, 0, sin, cos, 0, 0, 0, 1 << 30)
    data = path.read_bytes()
    at = data.index(upright, data.index(b"tkhd"))
    path.write_bytes(data[:at] + turned + data[at + len(turned) :])


def tone(start, count, rate):
    wave = 8000 * np.sin(2 * np.pi * 440 * (np.arange(count) + start) / rate)
    frame = av.AudioFrame.from_ndarray(wave.astype(np.int16)[None], "s16", "mono")
    frame.rate, frame.pts, frame.time_base = rate, start, Fraction(1, rate)
    return frame


def make_clip(
    path,
    pts=range(12),
    time_base=Fraction(1, 25),
    duration=1,
    *,
    codec="libx264",
    b_frames=0,
    audio=None,
    audio_start=0,
    audio_rate=44100,
    size=(128, 96),
    options=None,
    container_options=None,
):
    """Write a clip whose last frame lasts `duration` ticks; with audio, a tone as long as the video."""
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
            frame = av.VideoFrame.from_ndarray(picture(i, size[1], size[0]), "rgb24")
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


def shown(path):
    """(start, duration) in seconds of every frame of a file, as PyAV reads it."""
    with av.open(str(path)) as container:
        return [
            (frame.pts * frame.time_base, frame.duration * frame.time_base)
            for frame in container.decode(container.streams.video[0])
        ]


def starts(path):
    return [start for start, _ in shown(path)]


def audio_packets(path):
    """(bytes, start) of every audio packet of a file."""
    with av.open(str(path)) as container:
        packets = container.demux(container.streams.audio[0])
        return [(bytes(packet), packet.pts * packet.time_base) for packet in packets if packet.size]


def copy_clip(driving, path, encoding=FAST, count=None):
    with open_clip(driving) as clip, ClipWriter(path, clip, encoding) as writer:
        for i, (image, pts) in enumerate(clip):
            writer.write(image, pts)
            if i + 1 == count:
                break
    return path


def assert_nothing_left(folder, *names):
    assert sorted(path.name for path in folder.iterdir()) == sorted(names)


# Pictures


@pytest.mark.parametrize(
    ("name", "image"),
    [
        ("colour.png", picture()),
        ("grey.png", picture()[..., 0]),
        ("alpha.png", np.dstack([picture(), picture()[..., 0]])),
        ("deep.png", picture().astype(np.uint16) * 257),
        ("colour.bmp", picture()),
        ("colour.webp", picture()),
    ],
)
def test_picture_of_any_kind_becomes_rgb(tmp_path, name, image):
    if image.ndim == 3:
        stored = cv2.cvtColor(image, cv2.COLOR_RGBA2BGRA if image.shape[2] == 4 else cv2.COLOR_RGB2BGR)
    else:
        stored = image
    cv2.imwrite(str(tmp_path / name), stored, [cv2.IMWRITE_WEBP_QUALITY, 101])
    expected = picture() if image.ndim == 3 else np.repeat(image[..., None], 3, axis=2)
    got = read_picture(tmp_path / name)
    assert got.dtype == np.uint8 and got.flags.c_contiguous
    np.testing.assert_array_equal(got, expected)


def test_picture_is_upright(tmp_path):
    _, jpeg = cv2.imencode(".jpg", np.zeros((64, 128, 3), np.uint8))
    tiff = b"II*\0\x08\0\0\0\x01\0" + struct.pack("<HHIHH", 0x0112, 3, 1, 6, 0) + b"\0\0\0\0"  # 6: turn clockwise
    exif = b"Exif\0\0" + tiff
    jpeg = jpeg.tobytes()
    (tmp_path / "a.jpg").write_bytes(jpeg[:2] + b"\xff\xe1" + struct.pack(">H", len(exif) + 2) + exif + jpeg[2:])
    assert read_picture(tmp_path / "a.jpg").shape == (128, 64, 3)


def test_picture_with_a_name_that_is_not_ascii(tmp_path):
    (tmp_path / "é 人.png").write_bytes(cv2.imencode(".png", picture())[1].tobytes())
    assert read_picture(str(tmp_path / "é 人.png")).shape == (96, 128, 3)


def test_picture_errors(tmp_path, capfd):
    (tmp_path / "empty.png").touch()
    (tmp_path / "text.png").write_text("not a picture\n" * 20)
    (tmp_path / "cut.jpg").write_bytes(cv2.imencode(".jpg", picture())[1].tobytes()[:300])
    cv2.imwrite(str(tmp_path / "small.png"), picture(0, 63, 200))
    for name, received in [
        ("missing.png", "there is no such file"),
        (".", "a folder"),
        ("empty.png", r"an empty file \(0 bytes\)"),
        ("text.png", "not a picture"),
        ("cut.jpg", "not a picture"),
        ("small.png", "200x63 pixels; expected at least 64x64"),
    ]:
        with pytest.raises(MaskanimError, match=received):
            read_picture(tmp_path / name)
    assert capfd.readouterr().err == ""


# Strips and folders


def test_strip(tmp_path):
    squares = [picture(i, 64, 64) for i in range(5)]
    cv2.imwrite(str(tmp_path / "strip.png"), cv2.cvtColor(np.hstack(squares), cv2.COLOR_RGB2BGR))
    with open_clip(tmp_path / "strip.png") as clip:
        assert (clip.time_base, clip.rate, clip.frame_count, clip.audio_rate) == (Fraction(1, 25), 25, 5, None)
        frames = list(clip)
    assert [pts for _, pts in frames] == [0, 1, 2, 3, 4]
    np.testing.assert_array_equal([image for image, _ in frames], squares)


def test_square_picture_is_a_clip_of_one_frame(tmp_path):
    cv2.imwrite(str(tmp_path / "still%03d.jpg"), picture(0, 80, 80))
    assert [(image.shape, pts) for image, pts in open_clip(tmp_path / "still%03d.jpg")] == [((80, 80, 3), 0)]


def test_picture_that_is_no_strip(tmp_path):
    cv2.imwrite(str(tmp_path / "photo.jpg"), picture(0, 100, 150))
    with pytest.raises(MaskanimError, match="150x100 pixels; expected a strip of square frames"):
        open_clip(tmp_path / "photo.jpg")


def test_folder_is_read_in_natural_order(tmp_path):
    for i in (10, 9, 1, 2):
        cv2.imwrite(str(tmp_path / f"frame{i}.png"), np.full((64, 64, 3), i, np.uint8))
    (tmp_path / "notes.txt").write_text("not a frame")
    (tmp_path / "._frame1.png").write_text("what macOS leaves on foreign disks")
    with open_clip(tmp_path, stills_rate=Fraction(30000, 1001)) as clip:
        assert (clip.time_base, clip.frame_count) == (Fraction(1001, 30000), 4)
        assert [(image[0, 0, 0], pts) for image, pts in clip] == [(1, 0), (2, 1), (9, 2), (10, 3)]


def test_stills_drive_a_clip(tmp_path):
    cv2.imwrite(str(tmp_path / "strip.png"), np.hstack([picture(i, 64, 64) for i in range(5)]))
    copy_clip(tmp_path / "strip.png", tmp_path / "out.mp4")
    assert shown(tmp_path / "out.mp4") == [(Fraction(i, 25), Fraction(1, 25)) for i in range(5)]


# Videos


@pytest.mark.parametrize("rotation", [0, 90, 180, -90])
def test_rotated_video_is_upright(tmp_path, rotation):
    path = make_clip(tmp_path / "a.mp4", range(3), options={"crf": "5"})
    rotate(path, rotation)
    for i, (image, _) in enumerate(open_clip(path)):
        upright = np.rot90(picture(i), rotation // 90)
        assert image.shape == upright.shape
        assert np.median(np.abs(image.astype(int) - upright)) < 8


def test_frames_without_times_follow_one_another(tmp_path):
    path = make_clip(tmp_path / "a.h264", range(9), b_frames=2)
    with av.open(str(path)) as container:
        assert {frame.pts for frame in container.decode(video=0)} == {None}
    with open_clip(path) as clip:
        assert [pts * clip.time_base for _, pts in clip] == [Fraction(i, 25) for i in range(9)]
        assert clip.frame_duration * clip.time_base == Fraction(1, 25)


def test_b_frames_in_an_avi_come_in_order(tmp_path):
    path = make_clip(tmp_path / "a.avi", range(20), b_frames=3, options={"preset": "fast"})
    assert starts(path) != sorted(starts(path)), "the clip does not show what is tested"
    with open_clip(path) as clip:
        assert clip.frame_count == 20
        times = [pts * clip.time_base for _, pts in clip]
    assert np.diff(times).tolist() == [Fraction(1, 25)] * 19


@pytest.mark.parametrize(
    ("name", "codec"), [("a.mov", "libx264"), ("a.webm", "libvpx"), ("a.gif", "gif"), ("a.avi", "mpeg4")]
)
def test_other_containers(tmp_path, name, codec):
    path = make_clip(tmp_path / name, codec=codec, time_base=Fraction(1, 100 if codec == "gif" else 25))
    with open_clip(path) as clip:
        frames = list(clip)
        assert [pts * clip.time_base for _, pts in frames] == starts(path)
    assert len(frames) == 12
    assert {image.shape for image, _ in frames} == {(96, 128, 3)}


def test_clip_is_read_once_and_says_when_it_is_finished(tmp_path):
    with open_clip(make_clip(tmp_path / "a.mp4", range(3))) as clip:
        next(clip)
        assert not clip.finished
        assert len(list(clip)) == 2
        assert clip.finished
        assert list(clip) == []


def test_names_that_ffmpeg_would_take_for_protocols(tmp_path, monkeypatch):
    make_clip(tmp_path / "a.mp4", range(3)).rename(tmp_path / "10:30 é.mp4")
    monkeypatch.chdir(tmp_path)
    copy_clip("10:30 é.mp4", "11:00 人.mp4")
    assert starts(tmp_path / "11:00 人.mp4") == [0, Fraction(1, 25), Fraction(2, 25)]


def test_metadata_need_not_be_utf8(tmp_path):
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


def test_errors_at_open(tmp_path, capfd):
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


@pytest.mark.parametrize("audio", [None, "aac"])
def test_video_cut_short(tmp_path, audio, capfd):
    whole = make_clip(tmp_path / "whole.mp4", range(50), audio=audio, container_options={"movflags": "+faststart"})
    data = whole.read_bytes()
    (tmp_path / "cut.mp4").write_bytes(data[: len(data) * 7 // 10])
    (tmp_path / "out.mp4").write_bytes(b"an earlier result")
    with pytest.raises(
        MaskanimError, match=r"cut short: [234]\d of 50 frames could be read; expected a complete video"
    ):
        copy_clip(tmp_path / "cut.mp4", tmp_path / "out.mp4")
    assert (tmp_path / "out.mp4").read_bytes() == b"an earlier result"
    assert_nothing_left(tmp_path, "whole.mp4", "cut.mp4", "out.mp4")
    assert capfd.readouterr() == ("", "")


def test_video_without_its_last_frame_or_with_a_cut_index(tmp_path):
    data = make_clip(tmp_path / "a.mp4", range(50), container_options={"movflags": "+faststart"}).read_bytes()
    (tmp_path / "a.mp4").write_bytes(data[:-1])
    with pytest.raises(MaskanimError, match="49 of 50 frames"):
        list(open_clip(tmp_path / "a.mp4"))
    data = make_clip(tmp_path / "b.mp4", range(50), audio="aac").read_bytes()
    (tmp_path / "b.mp4").write_bytes(data[: data.index(b"stco") + 40])
    with pytest.raises(MaskanimError, match=r"\d+ of 50 frames"):
        list(open_clip(tmp_path / "b.mp4"))


def test_trimmed_video_is_not_taken_for_one_cut_short(tmp_path):
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


# Written times


@pytest.mark.parametrize(
    "time_base",
    [Fraction(1, 90000), Fraction(1, 15360), Fraction(1001, 30000), Fraction(1, 1000), Fraction(1, 25)],
    ids=str,
)
@pytest.mark.parametrize("first", [0, 4321])
@pytest.mark.parametrize("b_frames", [0, 3])
def test_times_are_exact(tmp_path, time_base, first, b_frames):
    tick = max(1, int(Fraction(1, 200) / time_base))
    pts = [first + tick * step for step in accumulate(UNEVEN, initial=0)]
    driving = make_clip(tmp_path / "in.mp4", pts, time_base, 7 * tick, b_frames=b_frames)
    given = shown(driving)
    assert [start for start, _ in given] == [at * time_base for at in pts], "the driving clip is not what is meant"
    written = shown(copy_clip(driving, tmp_path / "out.mp4", Encoding()))
    assert [start for start, _ in written] == [start for start, _ in given]
    assert written[-1][1] == given[-1][1]
    assert [duration for _, duration in written[:-1]] == [step * tick * time_base for step in UNEVEN]


def test_times_of_webm_and_gif_are_exact(tmp_path):
    webm = make_clip(tmp_path / "a.webm", [5, 38, 71, 105, 300, 333], Fraction(1, 1000), codec="libvpx")
    gif = make_clip(tmp_path / "a.gif", [0, 4, 8, 30, 35], Fraction(1, 100), codec="gif")
    for driving in (webm, gif):
        assert starts(copy_clip(driving, tmp_path / "out.mp4")) == starts(driving)
    assert shown(tmp_path / "out.mp4")[-1] == shown(gif)[-1]


def test_streams_written(tmp_path):
    copy_clip(make_clip(tmp_path / "in.mp4", audio="aac"), tmp_path / "out.mp4")
    with av.open(str(tmp_path / "out.mp4")) as container:
        video = container.streams.video[0]
        assert (video.codec_context.name, video.pix_fmt, video.frames) == ("h264", "yuv420p", 12)
        assert [stream.type for stream in container.streams] == ["video", "audio"]
    data = (tmp_path / "out.mp4").read_bytes()
    assert data.index(b"moov") < data.index(b"mdat"), "a browser would have to load it whole before playing"


def test_colours_survive(tmp_path):
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
def test_odd_sizes_repeat_the_edge(tmp_path, height, width):
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
def test_audio_is_copied_untouched(tmp_path, name, codec, rate):
    driving = make_clip(tmp_path / name, range(50), audio=codec, audio_rate=rate)
    given, written = audio_packets(driving), audio_packets(copy_clip(driving, tmp_path / "out.mp4"))
    assert len(given) > 10
    assert [data for data, _ in written] == [data for data, _ in given]
    one_sample = 0 if name.endswith("mp4") else Fraction(1, rate)  # an mkv has milliseconds only
    assert max(abs(a - b) for (_, a), (_, b) in zip(written, given, strict=True)) <= one_sample


def test_audio_that_starts_late_is_copied_with_its_start(tmp_path):
    driving = make_clip(tmp_path / "in.mp4", range(3, 50), audio="aac", audio_start=12345)
    written = copy_clip(driving, tmp_path / "out.mp4")
    assert audio_packets(written)[0][1] == audio_packets(driving)[0][1] > Fraction(1, 5)
    assert starts(written) == starts(driving)


def test_audio_of_a_transport_stream_is_copied(tmp_path):
    driving = make_clip(tmp_path / "in.ts", range(50), audio="aac")
    written = copy_clip(driving, tmp_path / "out.mp4")
    adts_header = 7
    assert [data for data, _ in audio_packets(written)] == [data[adts_header:] for data, _ in audio_packets(driving)]
    assert starts(written) == starts(driving)


@pytest.mark.parametrize(
    ("name", "codec", "rate", "written_rate"),
    [("in.mov", "pcm_s16le", 44100, 44100), ("in.avi", "pcm_s16le", 8000, 8000), ("in.mkv", "pcm_s16le", 7000, 48000)],
)
def test_other_audio_becomes_aac(tmp_path, name, codec, rate, written_rate):
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


def test_audio_ends_with_the_frames_written(tmp_path):
    driving = make_clip(tmp_path / "in.mp4", range(100), audio="aac")
    copy_clip(driving, tmp_path / "out.mp4", count=25)
    assert len(shown(tmp_path / "out.mp4")) == 25
    assert 1 <= audio_packets(tmp_path / "out.mp4")[-1][1] + Fraction(1024, 44100) < Fraction(11, 10)


# The file as a whole


def test_a_failure_leaves_what_was_there(tmp_path):
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


def test_a_failure_at_the_end_leaves_nothing(tmp_path, monkeypatch):
    driving = make_clip(tmp_path / "in.mp4")

    def full(*_):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(Path, "replace", full)
    with pytest.raises(MaskanimError, match=r"out\.mp4: writing it failed \(No space left on device\)"):
        copy_clip(driving, tmp_path / "out.mp4")
    assert_nothing_left(tmp_path, "in.mp4")


def test_success_replaces_what_was_there_through_a_link(tmp_path):
    driving = make_clip(tmp_path / "in.mp4")
    (tmp_path / "out.mp4").write_bytes(b"an earlier result")
    (tmp_path / "link.mp4").symlink_to("out.mp4")
    copy_clip(driving, tmp_path / "link.mp4")
    assert (tmp_path / "link.mp4").is_symlink()
    assert starts(tmp_path / "out.mp4") == starts(driving)
    assert_nothing_left(tmp_path, "in.mp4", "out.mp4", "link.mp4")


def test_a_clip_needs_frames(tmp_path):
    driving = make_clip(tmp_path / "in.mp4")
    with open_clip(driving) as clip, pytest.raises(MaskanimError, match="no frame was written"):
        ClipWriter(tmp_path / "out.mp4", clip).__exit__(None, None, None)
    assert_nothing_left(tmp_path, "in.mp4")


@pytest.mark.parametrize(
    ("image", "pts", "told"),
    [
        (picture(), 5, "the frame before is at 5; expected frames in order of time"),
        (picture(0, 64, 64), 6, r"shape \(64, 64, 3\); expected \(96, 128, 3\)"),
        (picture()[..., 0], 6, r"uint8 of shape \(96, 128\); expected uint8 RGB"),
        (picture().astype(np.float32), 6, "float32 of shape"),
    ],
)
def test_frames_that_do_not_fit(tmp_path, image, pts, told):
    driving = make_clip(tmp_path / "in.mp4")
    out = tmp_path / "out.mp4"
    with pytest.raises(MaskanimError, match=told), open_clip(driving) as clip, ClipWriter(out, clip) as writer:
        writer.write(picture(), 5)
        writer.write(image, pts)
    assert_nothing_left(tmp_path, "in.mp4")


@pytest.mark.parametrize("wrong", [{"crf": 52}, {"preset": "veryquick"}, {"threads": -1}])
def test_encoding_that_x264_does_not_have(wrong):
    with pytest.raises(MaskanimError, match=f"{next(iter(wrong))}: {next(iter(wrong.values()))}; expected"):
        Encoding(**wrong)


def test_output_is_checked_before_any_work(tmp_path):
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
def test_output_folder_that_cannot_be_written():
    with pytest.raises(MaskanimError, match="no file can be created in /proc/"):
        check_output("/proc/self/out.mp4")


def test_the_driving_clip_is_not_overwritten(tmp_path):
    driving = make_clip(tmp_path / "in.mp4")
    with open_clip(driving) as clip, pytest.raises(MaskanimError, match="the same file as an input"):
        ClipWriter(driving, clip)


# Real clips


@needs_data
@pytest.mark.parametrize("name", ["d18.mp4", "d11.mp4"])  # 1/15360 and 1/90000
def test_real_driving_clip(tmp_path, name):
    driving = DATA / "faces/driving" / name
    with open_clip(driving) as clip, ClipWriter(tmp_path / "out.mp4", clip, FAST) as writer:
        count = clip.frame_count
        for image, pts in clip:
            writer.write(image[::4, ::4], pts)
    given, written = shown(driving), shown(tmp_path / "out.mp4")
    assert written == given
    assert len(given) == count
    assert audio_packets(tmp_path / "out.mp4") == audio_packets(driving)


@needs_data
def test_real_strip():
    path = sorted((DATA / "actions/test").glob("*.jpg"))[0]
    with open_clip(path) as clip:
        assert isinstance(clip, Clip)
        shapes = [image.shape for image, _ in clip]
    assert shapes == [(64, 64, 3)] * clip.frame_count
    assert len(shapes) > 20


def test_a_picture_comes_back_as_it_was_written(tmp_path):
    write_picture(tmp_path / "bild-ä.png", picture())
    np.testing.assert_array_equal(read_picture(tmp_path / "bild-ä.png"), picture())


@pytest.mark.parametrize(("name", "told"), [("a.txt", "ending in '.txt'"), ("nowhere/a.png", "cannot be written")])
def test_where_no_picture_can_be_written(tmp_path, name, told):
    with pytest.raises(MaskanimError, match=told):
        write_picture(tmp_path / name, picture())
    assert_nothing_left(tmp_path)
