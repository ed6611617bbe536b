"""Parts, rates and rounds of a clip, to the tick; its audio cut alike; nothing drifts."""

from __future__ import annotations

from collections.abc import Callable
from fractions import Fraction
from pathlib import Path
from typing import Any

import av
import numpy as np
import pytest

from maskanim.errors import MaskanimError
from maskanim.ops import Frame
from maskanim.video import ClipWriter, Encoding, open_clip, parse_rate, parse_time
from maskanim.video import videofile as videofile_module

Draw = Callable[..., Frame]
WriteClip = Callable[..., Path]
Shown = Callable[[Path], list[tuple[Fraction, Fraction]]]
Starts = Callable[[Path], list[Fraction]]

FIRST = 4321  # ticks: a clip that does not begin at zero
UNEVEN = [FIRST + t for t in (0, 3000, 4500, 10000, 10001, 14000, 20000, 21000, 27000, 30000)]  # 1/90000 s
LAST = 600


@pytest.fixture
def uneven(tmp_path: Path, make_clip: WriteClip) -> Path:
    """A clip of a variable rate, with audio."""
    return make_clip(tmp_path / "in.mp4", UNEVEN, Fraction(1, 90000), LAST, audio="aac", options={"g": "3"})


def read(path: Path, **options: Any) -> list[tuple[Fraction, int]]:
    """(start in seconds, blue of the first pixel) of every frame; the blue tells which frame of `draw` it is."""
    with open_clip(path, **options) as clip:
        return [(pts * clip.time_base, round(int(image[0, 0, 2]) / 20)) for image, pts in clip]


def copy(driving: Path, path: Path, **options: Any) -> Path:
    with open_clip(driving, **options) as clip, ClipWriter(path, clip, Encoding(30, "ultrafast")) as writer:
        for image, pts in clip:
            writer.write(image, pts)
    return path


def audio_packets(path: Path, track: int = 0) -> list[tuple[bytes, Fraction]]:
    """(bytes, start) of every audio packet of a file."""
    with av.open(str(path)) as container:
        packets = container.demux(container.streams.audio[track])
        return [(bytes(packet), packet.pts * packet.time_base) for packet in packets if packet.size]


# Times and rates as they are typed


@pytest.mark.parametrize(
    ("typed", "seconds"),
    [("12", 12), ("0.1", Fraction(1, 10)), ("1:02", 62), ("01:02:03.5", Fraction(7447, 2)), (2.5, Fraction(5, 2))],
)
def test_times(typed: str | float, seconds: Fraction) -> None:
    assert parse_time(typed) == seconds


@pytest.mark.parametrize("typed", ["", "soon", "-1", "1:60", "1:2:3:4", "nan", "1/0"])
def test_times_that_are_none(typed: str) -> None:
    with pytest.raises(MaskanimError, match=f"--start: '{typed}'; expected seconds or hh:mm:ss"):
        parse_time(typed, "--start")


def test_rates() -> None:
    assert parse_rate("30000/1001") == Fraction(30000, 1001)
    assert parse_rate(23.976) == Fraction(2997, 125)
    for typed in ("0", "-5", "fast", "1/0", "1001", "inf"):
        with pytest.raises(MaskanimError, match="expected frames per second"):
            parse_rate(typed)


# Parts


def test_a_part_begins_with_the_frame_that_is_shown_and_ends_before_its_end(uneven: Path) -> None:
    start, end = Fraction(4000, 90000), Fraction(21000, 90000)
    with open_clip(uneven, start=start, end=end) as clip:
        shown = [(pts, round(int(image[0, 0, 2]) / 20), clip.frame_duration) for image, pts in clip]
    # Frame 1 is shown since tick 3000; the frame at 21000 comes too late, and the one before ends where it begins.
    assert [pts for pts, _, _ in shown] == [0, 500, 6000, 6001, 10000, 16000]
    assert [frame for _, frame, _ in shown] == [1, 2, 3, 4, 5, 6]
    assert shown[-1][2] == 1000


def test_an_end_alone_leaves_all_times_as_they_are(uneven: Path) -> None:
    assert [at for at, _ in read(uneven, end=Fraction(10001, 90000))] == [Fraction(t, 90000) for t in UNEVEN[:4]]


@pytest.mark.parametrize("name", ["in.mp4", "in.mkv", "in.ts"])
def test_a_part_far_inside_is_the_same_whether_it_was_searched_or_not(
    tmp_path: Path, make_clip: WriteClip, monkeypatch: pytest.MonkeyPatch, name: str
) -> None:
    path = make_clip(tmp_path / name, range(12), b_frames=2, options={"g": "5", "preset": "fast"})
    searched = read(path, start=0.31)
    assert [frame for _, frame in searched] == [7, 8, 9, 10, 11]
    monkeypatch.setattr(videofile_module, "SEARCHABLE_CODECS", frozenset())
    assert read(path, start=0.31) == searched


@pytest.mark.parametrize("name", ["in.mp4", "in.mkv", "in.ts"])
def test_audio_is_cut_to_the_same_interval(tmp_path: Path, make_clip: WriteClip, shown: Shown, name: str) -> None:
    muxing = {"muxdelay": "0", "muxpreload": "0"} if name == "in.ts" else {}
    driving = make_clip(
        tmp_path / name, range(100), audio="aac", options={"g": "10"}, audio_rate=48000, container_options=muxing
    )
    written = copy(driving, tmp_path / "out.mp4", start=2, end="0:03")
    assert [at for at, _ in shown(written)] == [Fraction(i, 25) for i in range(25)]
    zero = shown(driving)[0][0] + 2
    expected = [(data, at - zero) for data, at in audio_packets(driving) if zero <= at < zero + 1]
    header = 7 if name == "in.ts" else 0  # ADTS
    assert [data for data, _ in audio_packets(written)] == [data[header:] for data, _ in expected]
    assert len(expected) > 40
    sample = Fraction(1, 48000) if name == "in.mkv" else 0  # an mkv has milliseconds only
    for (_, at), (_, wanted) in zip(audio_packets(written), expected, strict=True):
        assert abs(at - wanted) <= sample


# Rates


def test_at_each_tick_the_frame_that_is_being_shown(uneven: Path) -> None:
    rate = Fraction(60)
    resampled = read(uneven, fps=rate)
    assert [at for at, _ in resampled] == [Fraction(FIRST, 90000) + i / rate for i in range(len(resampled))]
    for at, frame in resampled:
        assert frame == sum(start <= at * 90000 for start in UNEVEN) - 1, "the nearest earlier frame"
    end = Fraction(UNEVEN[-1] + LAST, 90000)
    assert resampled[-1][0] < end <= resampled[-1][0] + 1 / rate


def test_audio_of_another_rate_is_untouched(tmp_path: Path, uneven: Path, starts: Starts) -> None:
    written = copy(uneven, tmp_path / "out.mp4", fps="30000/1001")
    assert audio_packets(written) == audio_packets(uneven)
    step = Fraction(1001, 30000)
    times = starts(written)
    assert times == [Fraction(FIRST, 90000) + i * step for i in range(len(times))] and len(times) > 9


def test_ten_minutes_drift_by_nothing(tmp_path: Path) -> None:
    """6,000 frames at 10000/1001 a second with a tone beside them, then the same again at 12.5 a second."""
    driving, step, rate = tmp_path / "in.mp4", Fraction(1001, 10000), 8000
    count = int(600 / step)
    with av.open(str(driving), "w", container_options={"movie_timescale": "80000"}) as output:
        stream = output.add_stream("libx264", rate=10, options={"preset": "ultrafast", "crf": "40"})
        stream.width, stream.height, stream.pix_fmt = 64, 64, "yuv420p"
        stream.codec_context.time_base = step
        sound = output.add_stream("aac", rate=rate, layout="mono", options={"b": "8000"})
        black = av.VideoFrame.from_ndarray(np.zeros((64, 64, 3), np.uint8), "rgb24").reformat(format="yuv420p")
        for i in range(count):
            black.pts, black.time_base = i, step
            output.mux(stream.encode(black))
            if i % 100 == 0:
                silence = av.AudioFrame.from_ndarray(np.zeros((1, 80080), np.int16), "s16", "mono")
                silence.rate, silence.pts = rate, i * 80080 // 100
                output.mux(sound.encode(silence))
        output.mux([*stream.encode(None), *sound.encode(None)])
    written = copy(driving, tmp_path / "out.mp4")
    with av.open(str(written)) as container:
        packets = container.demux(container.streams.video[0])
        times = [packet.pts * packet.time_base for packet in packets if packet.pts is not None]
    assert times == [i * step for i in range(count)] and times[-1] > 599
    assert audio_packets(written) == audio_packets(driving)
    with open_clip(driving, fps=12.5) as clip:
        times = [pts * clip.time_base for _, pts in clip]
    assert times[-1] == (len(times) - 1) * Fraction(2, 25)
    assert times[-1] < count * step <= times[-1] + Fraction(2, 25)


# Rounds


def test_rounds_follow_each_other_directly(uneven: Path) -> None:
    once, thrice = read(uneven), read(uneven, loop=3)
    period = Fraction(UNEVEN[-1] + LAST - FIRST, 90000)
    assert thrice == [(at + i * period, frame) for i in range(3) for at, frame in once]


def test_a_duration_ends_in_the_midst_of_a_round(tmp_path: Path, make_clip: WriteClip) -> None:
    path = make_clip(tmp_path / "in.mp4", range(10))
    with open_clip(path, duration="1.5") as clip:
        assert clip.frame_count == 38
        frames = [(pts * clip.time_base, clip.frame_duration * clip.time_base) for _, pts in clip]
    assert len(frames) == 38 and frames[-1] == (Fraction(37, 25), Fraction(1, 50))


def test_audio_goes_round_with_the_frames(tmp_path: Path, make_clip: WriteClip) -> None:
    driving = make_clip(tmp_path / "in.mp4", range(25), audio="aac")
    written = copy(driving, tmp_path / "out.mp4", loop=3)
    once, thrice = audio_packets(driving), audio_packets(written)
    assert thrice[: len(once)] == once[: len(thrice)]
    second = [(data, at - 1) for data, at in thrice if 1 <= at < 2]
    inside = [(data, at) for data, at in once if 0 <= at < 1]
    assert len(second) >= len(inside) - 2  # of overlapping packets the later one goes
    assert {data for data, _ in second[2:]} <= {data for data, _ in inside}
    sample = Fraction(1, 44100)
    for data, at in second[2:]:
        assert min(abs(at - there) for there_data, there in inside if there_data == data) <= sample
    assert thrice[-1][1] < 3


def test_rounds_beside_a_track_in_which_nothing_is(tmp_path: Path, make_clip: WriteClip, starts: Starts) -> None:
    driving = make_clip(tmp_path / "in.mkv", range(10), audio="aac", audio_start=10**6)
    assert len(starts(copy(driving, tmp_path / "out.mp4", loop=3))) == 30


# Going on behind a frame


@pytest.mark.parametrize("name", ["in.mp4", "in.mkv", "in.ts", "in.avi"])
@pytest.mark.parametrize(
    "options", [{}, {"start": 0.1, "end": 0.4}, {"fps": 40}, {"start": 0.05, "fps": 50, "loop": 2}], ids=str
)
def test_skipping(tmp_path: Path, make_clip: WriteClip, name: str, options: dict[str, Any]) -> None:
    path = make_clip(tmp_path / name, range(12), b_frames=2, options={"g": "5", "preset": "fast"})
    with open_clip(path, **options) as clip:
        whole = [(image, pts, clip.frame_duration) for image, pts in clip]
    assert len(whole) >= 7
    for done in (1, 6, len(whole)):
        with open_clip(path, **options) as clip:
            clip.skip_past(whole[done - 1][1])
            assert clip.frame_duration == whole[done - 1][2]
            left = [(image, pts, clip.frame_duration) for image, pts in clip]
        assert [pts for _, pts, _ in left] == [pts for _, pts, _ in whole[done:]]
        assert all((a == b).all() for (a, _, _), (b, _, _) in zip(left, whole[done:], strict=True))


def test_skipping_decodes_from_the_key_frame_before(
    tmp_path: Path, make_clip: WriteClip, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = make_clip(tmp_path / "in.mp4", range(100), options={"g": "10", "sc_threshold": "0"})
    drawn: list[int] = []
    to_rgb = videofile_module.to_rgb
    decoded: list[int] = []
    decode = videofile_module._Decoding._decode
    monkeypatch.setattr(
        videofile_module,
        "to_rgb",
        lambda frame, *rest, **named: drawn.append(frame.pts) or to_rgb(frame, *rest, **named),
    )
    monkeypatch.setattr(
        videofile_module._Decoding, "_decode", lambda self, packet: decoded.append(packet.pts) or decode(self, packet)
    )
    with open_clip(path) as clip:
        clip.skip_past(95 * 512)
        assert [pts // 512 for _, pts in clip] == [96, 97, 98, 99]
    assert [pts // 512 for pts in drawn] == [96, 97, 98, 99]
    assert [pts // 512 for pts in decoded] == list(range(90, 100))


def test_skipping_to_where_nothing_is(tmp_path: Path, make_clip: WriteClip) -> None:
    with open_clip(make_clip(tmp_path / "in.mp4")) as clip, pytest.raises(MaskanimError, match=r"no frame at 0\.001 s"):
        clip.skip_past(13)


# Audio tracks


def test_the_default_audio_track_or_the_one_that_is_chosen(
    tmp_path: Path, draw: Draw, tone: Callable[..., Any]
) -> None:
    with av.open(str(tmp_path / "in.mkv"), "w") as output:
        video = output.add_stream("libx264", rate=25)
        video.width, video.height, video.pix_fmt = 128, 96, "yuv420p"
        tracks = [output.add_stream("aac", rate=rate, layout="mono") for rate in (32000, 44100, 48000)]
        tracks[0].disposition = tracks[2].disposition = av.stream.Disposition(0)
        tracks[1].disposition = av.stream.Disposition.default
        for i in range(25):
            output.mux(video.encode(av.VideoFrame.from_ndarray(draw(i), "rgb24")))
        for track in tracks:
            output.mux(track.encode(tone(0, track.rate, track.rate)))
        for stream in (video, *tracks):
            output.mux(stream.encode(None))
    for number, rate in [(None, 44100), (1, 32000), (3, 48000)]:
        with open_clip(tmp_path / "in.mkv", audio=number) as clip:
            assert clip.audio_rate == rate
        written = copy(tmp_path / "in.mkv", tmp_path / "out.mp4", audio=number)
        given = audio_packets(tmp_path / "in.mkv", (number or 2) - 1)
        assert [data for data, _ in audio_packets(written)] == [data for data, _ in given]
