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

from helpers.odd_files import (
    BLUE,
    COLOURS,
    GREEN,
    RED,
    SAND,
    coloured,
    grown,
    hlg,
    interlaced,
    picture,
    pq,
    tracks,
    video,
)
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


@pytest.mark.parametrize("light", [1001, 2000, 4000, 10000])
def test_pq_beyond_what_is_mastered_is_white_and_no_other_colour(tmp_path: Path, light: float) -> None:
    """A saturated colour keeps which of its parts are bright and which are dark."""
    colours = np.array([[1, 1, 1], [1, 0, 0], [0, 1, 0], [0, 0, 1], [1, 1, 0], [1, 0.5, 0.25]])
    image = np.array(columns(frames_of(coloured(tmp_path / "a.mkv", pq(light * colours), (9, 16, 9)))[0]))
    np.testing.assert_array_equal(image[0], 255)
    np.testing.assert_allclose(image.max(1), 255, atol=1)
    for shown, given in zip(image[1:5], colours[1:5], strict=True):
        assert shown[given == 1].min() > shown[given == 0].max(initial=0)
    assert list(np.argsort(-image[5])) == [0, 1, 2]


@pytest.mark.parametrize("transfer", [16, 18])
def test_hdr_outside_of_video_range_is_black_and_white(tmp_path: Path, transfer: int) -> None:
    code = np.repeat(np.array([-0.05, 0, 1, 1.08])[:, None], 3, 1)
    image = columns(frames_of(coloured(tmp_path / "a.mkv", code, (9, transfer, 9)))[0])
    np.testing.assert_allclose(image, np.repeat(np.array([0, 0, 255, 255])[:, None], 3, 1), atol=1)


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


def test_a_render_of_interlaced_frames_goes_on_the_same(tmp_path: Path) -> None:
    path = interlaced(tmp_path / "a.mkv", "libx264", "tff", list(range(16)))
    with open_clip(path) as clip:
        whole = [image for image, _ in clip]
    for done in (1, 5, 6, 7, 12):
        with open_clip(path) as clip:
            clip.skip_past(40 * (done - 1))
            np.testing.assert_array_equal([image for image, _ in clip], whole[done:])


def test_variable_times_of_interlaced_frames(tmp_path: Path) -> None:
    path = interlaced(tmp_path / "a.mkv", "ffv1", "tff", [0, 1, 4, 5, 9])
    with open_clip(path) as clip:
        assert [pts * clip.time_base for _, pts in clip] == [Fraction(time, 25) for time in (0, 1, 4, 5, 9)]


def test_progressive_frames_are_not_touched(tmp_path: Path) -> None:
    path = interlaced(tmp_path / "a.mkv", "ffv1", "prog", list(range(3)))
    with av.open(str(path)) as container:
        for frame, image in zip(container.decode(video=0), frames_of(path), strict=True):
            np.testing.assert_array_equal(frame.to_ndarray(format="rgb24"), image)


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
    with pytest.raises(MaskanimError, match="pictures; expected a video, to choose a track of it"):
        open_clip(picture("a.png")(tmp_path), track=1)
    with pytest.raises(MaskanimError, match=f"no video track {len(wanted) + 1}; expected one of its {len(wanted)}"):
        open_clip(path, track=len(wanted) + 1)


def test_without_a_default_the_largest_is_taken(tmp_path: Path) -> None:
    path = tracks(tmp_path / "a.mkv", (5, 64, 96, 0), (5, 192, 256, 0), (5, 96, 128, 0))
    assert frames_of(path)[0].shape[:2] == (192, 256)
