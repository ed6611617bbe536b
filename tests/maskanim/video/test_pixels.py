"""Frames as a player shows them: turned, mirrored, square, whole and in BT.709; the files are made by PyAV."""

from __future__ import annotations

import logging
import struct
from collections.abc import Callable
from fractions import Fraction
from pathlib import Path
from typing import Any

import av
import numpy as np
import pytest
from av.filter import Graph
from numpy.typing import NDArray
from odd_inputs import BLUE, COLOURS, GREEN, RED, SAND, quarters, video

from maskanim.errors import MaskanimError
from maskanim.ops import Frame
from maskanim.video import ClipWriter, Encoding, open_clip, read_source

FAST = Encoding(30, "ultrafast")


def frames_of(path: Path, **options: Any) -> list[Frame]:
    with open_clip(path, **options) as clip:
        return [image for image, _ in clip]


def means(image: Frame) -> list[list[int]]:
    """The colours of the quarters' middles."""
    height, width = image.shape[0] // 4, image.shape[1] // 4
    return [image[y * height, x * width].tolist() for y in (1, 3) for x in (1, 3)]


# Of an mp4's track (ISO 14496-12, 6.2.2): (x, y) is shown at (a x + c y, b x + d y). Beside each: the quarters then.
MATRICES = {
    (1, 0, 0, 1): (RED, GREEN, BLUE, SAND),
    (0, 1, -1, 0): (BLUE, RED, SAND, GREEN),
    (-1, 0, 0, -1): (SAND, BLUE, GREEN, RED),
    (0, -1, 1, 0): (GREEN, SAND, RED, BLUE),
    (-1, 0, 0, 1): (GREEN, RED, SAND, BLUE),
    (1, 0, 0, -1): (BLUE, SAND, RED, GREEN),
    (0, 1, 1, 0): (RED, BLUE, GREEN, SAND),
    (0, -1, -1, 0): (SAND, GREEN, BLUE, RED),
}


@pytest.mark.parametrize("matrix", MATRICES, ids=str)
@pytest.mark.parametrize("read", [lambda path: frames_of(path)[0], lambda path: read_source(path).image])
def test_all_eight_display_matrices(tmp_path: Path, matrix: tuple[int, ...], read: Callable[[Path], Frame]) -> None:
    def turned(data: bytes) -> bytes:
        plain = struct.pack(">9i", 1 << 16, 0, 0, 0, 1 << 16, 0, 0, 0, 1 << 30)
        a, b, c, d = (part << 16 for part in matrix)
        at = data.index(plain, data.index(b"tkhd"))
        return data[:at] + struct.pack(">9i", a, b, 0, c, d, 0, 0, 0, 1 << 30) + data[at + len(plain) :]

    image = read(video("a.mp4", options={"crf": "5"}, change=turned)(tmp_path))
    assert image.shape[:2] == ((96, 128) if matrix[0] else (128, 96))
    np.testing.assert_allclose(means(image), MATRICES[matrix], atol=14)


@pytest.mark.parametrize(
    ("aspect", "width"),
    [(Fraction(2), 256), (Fraction(8, 9), 114), (Fraction(16, 15), 137), (Fraction(1, 100), 128), (Fraction(1), 128)],
)
def test_pixels_that_are_not_square(tmp_path: Path, aspect: Fraction, width: int) -> None:
    stated = {"crf": "5", "x264-params": f"sar={aspect.numerator}/{aspect.denominator}"}
    path = video("a.mp4", options=stated)(tmp_path)
    for image in (*frames_of(path)[:2], read_source(path).image):
        assert image.shape == (96, width, 3)
        np.testing.assert_allclose(means(image), COLOURS, atol=14)


def test_a_video_that_is_too_narrow_when_its_pixels_are_square(tmp_path: Path) -> None:
    path = video("a.mp4", options={"x264-params": "sar=1/4"})(tmp_path)
    with pytest.raises(MaskanimError, match="32x96 pixels; expected at least 64x64"):
        open_clip(path)


def pq(light: NDArray[np.float64]) -> NDArray[np.float64]:
    """SMPTE ST 2084's code values of cd/m2."""
    power = (light / 10000) ** 0.1593017578125
    return np.asarray(((0.8359375 + 18.8515625 * power) / (1 + 18.6875 * power)) ** 78.84375)


def hlg(light: NDArray[np.float64]) -> NDArray[np.float64]:
    """BT.2100's code values of the scene's light in [0, 1]."""
    bright = 0.17883277 * np.log(np.maximum(12 * light - 0.28466892, 1e-9)) + 0.55991073
    return np.where(light <= 1 / 12, np.sqrt(3 * light), bright)


def coloured(path: Path, code: NDArray[np.float64], tags: tuple[int, int, int], height: int = 64) -> Path:
    """A clip of columns, each of the R'G'B' values in [0, 1] of a row of `code`; in ten bits."""
    red, blue = (0.2627, 0.0593) if tags[2] == 9 else (0.2126, 0.0722)
    luma = red * code[:, 0] + (1 - red - blue) * code[:, 1] + blue * code[:, 2]
    planes = (
        (64 + 876 * luma, 32),
        (512 + 896 * (code[:, 2] - luma) / (2 * (1 - blue)), 16),
        (512 + 896 * (code[:, 0] - luma) / (2 * (1 - red)), 16),
    )
    with av.open(str(path), "w") as output:
        stream = output.add_stream("ffv1", rate=25)
        stream.width, stream.height, stream.pix_fmt = 32 * len(code), height, "yuv420p10le"
        context = stream.codec_context
        context.color_primaries, context.color_trc, context.colorspace, context.color_range = (*tags, 1)
        frame = av.VideoFrame(stream.width, stream.height, "yuv420p10le")
        for plane, (levels, width) in zip(frame.planes, planes, strict=True):
            rows = np.zeros((height * width // 32, plane.line_size // 2), np.uint16)
            rows[:, : width * len(code)] = np.repeat(np.rint(levels), width)
            plane.update(rows.tobytes())
        frame.color_primaries, frame.color_trc, frame.colorspace, frame.color_range = (*tags, 1)
        output.mux(stream.encode(frame))
        output.mux(stream.encode(None))
    return path


def columns(image: Frame) -> list[list[int]]:
    return image[32, 16::32].tolist()


GREYS = np.array([0.0, 5, 20, 50, 90, 203, 400, 1000])  # cd/m2
SDR = [0, 54, 97, 142, 182, 230, 250, 255]  # 255 (light / 203) ** (1 / 2.4) below the knee, and BT.2390's curve above


def test_pq_is_tone_mapped(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO, "maskanim")
    path = coloured(tmp_path / "a.mkv", np.repeat(pq(GREYS)[:, None], 3, 1), (9, 16, 9))
    np.testing.assert_allclose(columns(frames_of(path)[0]), np.repeat(np.array(SDR)[:, None], 3, 1), atol=2)
    assert [record.message for record in caplog.records] == [f"{path}: HDR (PQ); shown as SDR, in BT.709"]


def test_hlg_is_tone_mapped(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    """As PQ of the same light, with the system gamma of a display of 1000 cd/m2."""
    caplog.set_level(logging.INFO, "maskanim")
    path = coloured(tmp_path / "a.mkv", np.repeat(hlg((GREYS / 1000) ** (1 / 1.2))[:, None], 3, 1), (9, 18, 9))
    np.testing.assert_allclose(columns(frames_of(path)[0]), np.repeat(np.array(SDR)[:, None], 3, 1), atol=2)
    assert [record.message for record in caplog.records] == [f"{path}: HDR (HLG); shown as SDR, in BT.709"]


BT709_IN_BT2020 = np.array([[0.6274, 0.3293, 0.0433], [0.0691, 0.9195, 0.0114], [0.0164, 0.0880, 0.8956]])
NEAR_BLACK = 10  # eight-bit steps that the rounding of ten-bit colours is there, where the gamma is steep
COLOURFUL = np.array([[1, 0, 0], [0, 1, 0], [0, 0, 1], [0.5, 0.5, 0.5], [0.8, 0.5, 0.4]])


@pytest.mark.parametrize("transfer", [1, 14, 15])
def test_wide_colours_of_sdr(tmp_path: Path, transfer: int, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO, "maskanim")
    code = (COLOURFUL**2.4 @ BT709_IN_BT2020.T) ** (1 / 2.4)
    path = coloured(tmp_path / "a.mkv", code, (9, transfer, 9))
    np.testing.assert_allclose(columns(frames_of(path)[0]), 255 * COLOURFUL, atol=NEAR_BLACK)
    assert "the wide colours of BT.2020; shown as SDR" in caplog.text


@pytest.mark.parametrize("transfer", ["pq", "hlg"])
def test_colours_of_hdr_keep_their_hue(tmp_path: Path, transfer: str) -> None:
    colours = np.maximum(COLOURFUL, 0.3)
    light = colours**2.4 * 50
    wide = np.maximum(light @ BT709_IN_BT2020.T, 0)
    if transfer == "pq":
        path = coloured(tmp_path / "a.mkv", pq(wide), (9, 16, 9))
    else:
        luminance = wide @ [[0.2627], [0.6780], [0.0593]]
        scene = wide / 1000 / (luminance / 1000) ** (1 - 1 / 1.2)
        path = coloured(tmp_path / "a.mkv", hlg(scene), (9, 18, 9))
    wanted = 255 * (50 / 203) ** (1 / 2.4) * colours
    np.testing.assert_allclose(columns(frames_of(path)[0]), wanted, atol=NEAR_BLACK)


@pytest.mark.parametrize(
    ("tags", "columns_", "height"), [((2, 2, 2), 40, 720), ((2, 2, 2), 40, 544), ((1, 1, 1), 5, 64)]
)
def test_untagged_hd_is_bt709(tmp_path: Path, tags: tuple[int, int, int], columns_: int, height: int) -> None:
    code = np.resize(COLOURFUL, (columns_, 3))
    image = frames_of(coloured(tmp_path / "a.mkv", code, tags, height))[0]
    np.testing.assert_allclose(columns(image), 255 * code, atol=2)


def test_untagged_sd_is_bt601(tmp_path: Path) -> None:
    image = frames_of(coloured(tmp_path / "a.mkv", COLOURFUL, (2, 2, 2)))[0]
    assert np.abs(np.array(columns(image)) - 255 * COLOURFUL).max() > 20


def moving_bar(i: int, height: int = 96, width: int = 128) -> Frame:
    image = np.zeros((height, width, 3), np.uint8)
    image[:, 10 + 6 * i : 40 + 6 * i] = 220
    return image


def interlaced(path: Path, codec: str, first: str, times: list[int]) -> Path:
    """Each frame holds, in its two fields, a bar at two moments."""
    with av.open(str(path), "w") as output:
        flags = {"flags": "+ildct+ilme"} if codec == "mpeg2video" else {}
        stream = output.add_stream(codec, rate=25, options={**flags, "qmin": "1", "qmax": "2", "g": "6"})
        stream.height, stream.width, stream.pix_fmt = 96, 128, "yuv420p"
        stream.codec_context.max_b_frames = 0
        graph = Graph()
        begin = graph.add_buffer(width=128, height=96, format="yuv420p", time_base=Fraction(1, 25))
        graph.link_nodes(begin, graph.add("setfield", first), graph.add("buffersink")).configure()
        for i, time in enumerate(times):
            woven, later = moving_bar(2 * i), 1 if first == "tff" else 0
            woven[later::2] = moving_bar(2 * i + 1)[later::2]
            frame = av.VideoFrame.from_ndarray(woven, "rgb24").reformat(format="yuv420p")
            frame.pts, frame.time_base = time, Fraction(1, 25)
            graph.vpush(frame)
            output.mux(stream.encode(graph.vpull()))
        output.mux(stream.encode(None))
    return path


def combing(image: Frame) -> float:
    """How much neighbouring rows differ beside what rows two apart do."""
    grey = image[..., 1].astype(int)
    return float(np.abs(np.diff(grey, axis=0)).mean() / (np.abs(grey[2:] - grey[:-2]).mean() + 1))


@pytest.mark.parametrize(
    ("name", "codec", "first"),
    [("a.mpg", "mpeg2video", "tff"), ("a.ts", "mpeg2video", "bff"), ("a.mkv", "ffv1", "tff"), ("a.mkv", "ffv1", "bff")],
)
def test_interlaced_frames_are_made_whole(
    tmp_path: Path, name: str, codec: str, first: str, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO, "maskanim")
    times = list(range(8))
    path = interlaced(tmp_path / name, codec, first, times)
    with open_clip(path) as clip:
        found = [(image, pts * clip.time_base) for image, pts in clip]
    assert [at - found[0][1] for _, at in found] == [Fraction(time, 25) for time in times]
    with av.open(str(path)) as container:
        before = [combing(frame.to_ndarray(format="rgb24")) for frame in container.decode(video=0)]
    assert min(before) > 3 and max(combing(image) for image, _ in found) < 0.5
    assert [record.message for record in caplog.records] == [f"{path}: interlaced; shown deinterlaced"]


def test_variable_times_of_interlaced_frames(tmp_path: Path) -> None:
    path = interlaced(tmp_path / "a.mkv", "ffv1", "tff", [0, 1, 4, 5, 9])
    with open_clip(path) as clip:
        assert [pts * clip.time_base for _, pts in clip] == [Fraction(time, 25) for time in (0, 1, 4, 5, 9)]


def test_progressive_frames_are_not_touched(tmp_path: Path) -> None:
    path = interlaced(tmp_path / "a.mkv", "ffv1", "prog", list(range(3)))
    with av.open(str(path)) as container:
        for frame, image in zip(container.decode(video=0), frames_of(path), strict=True):
            np.testing.assert_array_equal(frame.to_ndarray(format="rgb24"), image)


def grown(path: Path, sizes: list[tuple[int, int]]) -> Path:
    """A VP8 recording whose size changes midway, as WebRTC's do."""
    with av.open(str(path), "w") as output:
        stream, count = None, 0
        for height, width in sizes:
            encoder = av.CodecContext.create("libvpx", "w")
            encoder.height, encoder.width, encoder.pix_fmt, encoder.time_base = (
                height,
                width,
                "yuv420p",
                Fraction(1, 25),
            )
            encoder.options = {"deadline": "realtime", "crf": "4", "b": "2000000"}
            if stream is None:
                stream = output.add_stream("libvpx", rate=25)
                stream.height, stream.width, stream.pix_fmt = height, width, "yuv420p"
            for i in range(6):
                frame = av.VideoFrame.from_ndarray(quarters(height, width), "rgb24")
                frame.pts, frame.time_base = i, Fraction(1, 25)
                for packet in encoder.encode(frame if i < 5 else None):
                    packet.stream, packet.time_base = stream, Fraction(1, 25)
                    packet.pts = packet.dts = count
                    count += 1
                    output.mux(packet)
    return path


@pytest.mark.parametrize(
    ("sizes", "bar"), [([(96, 128), (192, 256)], 0), ([(192, 256), (96, 128)], 0), ([(96, 128), (128, 96)], 28)]
)
def test_a_size_that_changes_midway(
    tmp_path: Path, sizes: list[tuple[int, int]], bar: int, caplog: pytest.LogCaptureFixture
) -> None:
    """All frames are as large as the first; what has another shape is put in the middle of black."""
    caplog.set_level(logging.INFO, "maskanim")
    path = grown(tmp_path / "a.webm", sizes)
    found = frames_of(path)
    height, width = sizes[0]
    assert len(found) == 10 and {image.shape for image in found} == {(height, width, 3)}
    np.testing.assert_allclose(means(found[1]), COLOURS, atol=20)
    last = found[-1]
    np.testing.assert_allclose(means(last[:, bar : width - bar]), COLOURS, atol=20)
    assert last[:, : max(0, bar - 2)].sum() == 0
    line = f"{path}: its frames change their size; all are shown at {width}x{height}"
    assert [record.message for record in caplog.records] == [line]


def test_a_size_that_changes_behind_where_a_render_goes_on(tmp_path: Path) -> None:
    path = grown(tmp_path / "a.webm", [(96, 128), (192, 256)])
    with open_clip(path) as clip:
        whole = [image for image, _ in clip]
    with open_clip(path) as clip:
        clip.skip_past(240)
        rest = [image for image, _ in clip]
    np.testing.assert_array_equal(rest, whole[7:])


def test_transport_streams_that_were_joined_are_not_damaged(tmp_path: Path) -> None:
    parts = [video(f"{size[0]}.ts", size=size, options={"bf": "2"})(tmp_path) for size in ((96, 128), (192, 256))]
    joined = tmp_path / "joined.ts"
    joined.write_bytes(b"".join(part.read_bytes() for part in parts))
    with open_clip(joined) as clip, ClipWriter(tmp_path / "out.mp4", clip, FAST) as writer:
        frames = list(clip)
        for image, pts in frames:
            writer.write(image, pts)
    assert len(frames) == 24 and clip.warning is None


def test_a_transport_stream_with_a_hole_is_damaged(tmp_path: Path) -> None:
    content = video("a.ts", times=tuple(range(40)))(tmp_path).read_bytes()
    middle = len(content) // 2 // 188 * 188
    (tmp_path / "a.ts").write_bytes(content[:middle] + content[middle + 2 * 188 :])
    with open_clip(tmp_path / "a.ts") as clip:
        assert len(list(clip)) > 30
        assert clip.warning and "damaged" in clip.warning


def tracks(path: Path, *wanted: tuple[int, int, int, int]) -> Path:
    """Video tracks, each with its frames, height, width, and whether it is the default."""
    with av.open(str(path), "w") as output:
        streams = []
        for _, height, width, default in wanted:
            stream = output.add_stream("mjpeg", rate=25)
            stream.height, stream.width, stream.pix_fmt = height, width, "yuvj420p"
            stream.disposition = av.stream.Disposition.default if default else av.stream.Disposition(0)
            streams.append(stream)
        for stream, (count, height, width, _) in zip(streams, wanted, strict=True):
            for i in range(count):
                frame = av.VideoFrame.from_ndarray(quarters(height, width), "rgb24")
                frame.pts, frame.time_base = i, Fraction(1, 25)
                output.mux(stream.encode(frame))
            output.mux(stream.encode(None))
    return path


@pytest.mark.parametrize(
    ("wanted", "size"),
    [
        ([(1, 192, 256, 0), (5, 96, 128, 1)], (96, 128)),  # a cover that is not called one
        ([(1, 192, 256, 1), (5, 96, 128, 0)], (96, 128)),
        ([(5, 64, 96, 0), (5, 96, 128, 1), (5, 192, 256, 0)], (96, 128)),  # the default
        ([(5, 96, 128, 1), (5, 64, 96, 1)], (96, 128)),
        ([(1, 96, 128, 0)], (96, 128)),
    ],
)
@pytest.mark.parametrize("name", ["a.mp4", "a.mov"])
def test_which_video_track_is_taken(tmp_path: Path, name: str, wanted: Any, size: tuple[int, int]) -> None:
    path = tracks(tmp_path / name, *wanted)
    assert frames_of(path)[0].shape[:2] == size
    for number, (count, height, width, _) in enumerate(wanted, 1):
        found = frames_of(path, track=number)
        assert len(found) == count and found[0].shape[:2] == (height, width)
    with pytest.raises(MaskanimError, match=f"no video track {len(wanted) + 1}; expected one of its {len(wanted)}"):
        open_clip(path, track=len(wanted) + 1)


def test_without_a_default_the_largest_is_taken(tmp_path: Path) -> None:
    path = tracks(tmp_path / "a.mkv", (5, 64, 96, 0), (5, 192, 256, 0), (5, 96, 128, 0))
    assert frames_of(path)[0].shape[:2] == (192, 256)
