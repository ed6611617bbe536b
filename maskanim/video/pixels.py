"""What a decoded frame shows, as a player shows it: upright, with square pixels, in eight bits of BT.709."""

from __future__ import annotations

import struct
from collections import deque
from collections.abc import Iterable, Iterator
from contextlib import suppress
from fractions import Fraction
from functools import cache
from typing import NamedTuple, cast

import av
import cv2
import numpy as np
from av.filter import Graph
from av.sidedata.sidedata import SideData
from av.video.reformatter import Colorspace
from numpy.typing import NDArray

from maskanim.ops import Array, Frame

# Code points of ITU-T H.273, which FFmpeg's numbers are: colour primaries, transfer characteristics, matrices.
UNKNOWN, BT2020_PRIMARIES, BT2020_MATRICES, PQ, HLG = 2, 9, frozenset({9, 10}), 16, 18
HDR = {PQ: "PQ", HLG: "HLG"}
# a, b, c, d: the point (x, y) is shown at (a x + c y, b x + d y), but for a shift; in any unit.
Matrix = tuple[int, int, int, int]
WIDEST_PIXEL = 8  # a sample aspect ratio beyond it, or below its inverse, is taken for a mistake

# Linear BT.2020 to linear BT.709 (ITU-R BT.2087).
TO_BT709 = np.array([[1.6605, -0.5876, -0.0728], [-0.1246, 1.1329, -0.0083], [-0.0182, -0.1006, 1.1187]], np.float32)
BT2020_LUMINANCE = np.array([0.2627, 0.6780, 0.0593], np.float32)
SDR_WHITE = 203.0  # cd/m2, what diffuse white has in HDR (ITU-R BT.2408)
HDR_PEAK = 1000.0  # cd/m2, what most is mastered at; HLG's nominal peak
DISPLAY_GAMMA = 2.4  # ITU-R BT.1886


def to_rgb(
    frame: av.VideoFrame,
    matrix: Matrix,
    pixel_aspect: Fraction | None = None,
    size: tuple[int, int] | None = None,
    *,
    alpha: bool = False,
) -> NDArray[np.uint8]:
    """A decoded frame as a picture.

    Args:
        frame: with the colours that its file states.
        matrix: see `display_matrix`.
        pixel_aspect: width of a pixel by its height; the picture's width makes up for it.
        size: width and height, as stored, that the frame is brought to, for a video whose size changes.
        alpha: keep it, where the frame has it.

    Returns:
        (H, W, 3) uint8 RGB, or (H, W, 4) RGBA; BT.2020 and HDR are mapped to BT.709.
    """
    image = _pixels(frame, alpha=alpha and any(component.is_alpha for component in frame.format.components))
    if size and size != (frame.width, frame.height):
        image = _fitted(image, *size)
    if sane_aspect(pixel_aspect) != 1:
        image = _resized(image, max(1, round(image.shape[1] * sane_aspect(pixel_aspect))), image.shape[0])
    return np.ascontiguousarray(_upright(image, matrix))


def sane_aspect(pixel_aspect: Fraction | None) -> Fraction:
    """A sample aspect ratio; 1 where none is stated, or none that can be true."""
    if pixel_aspect and Fraction(1, WIDEST_PIXEL) <= pixel_aspect <= WIDEST_PIXEL:
        return pixel_aspect
    return Fraction(1)


def _resized(image: NDArray[np.uint8], width: int, height: int) -> NDArray[np.uint8]:
    smaller = width < image.shape[1] or height < image.shape[0]
    return cv2.resize(image, (width, height), interpolation=cv2.INTER_AREA if smaller else cv2.INTER_CUBIC)


def _fitted(image: NDArray[np.uint8], width: int, height: int) -> NDArray[np.uint8]:
    """As large as goes into a size, in the middle of black."""
    scale = min(width / image.shape[1], height / image.shape[0])
    image = _resized(image, max(1, round(image.shape[1] * scale)), max(1, round(image.shape[0] * scale)))
    fitted = np.zeros((height, width, image.shape[2]), np.uint8)
    top, left = (height - image.shape[0]) // 2, (width - image.shape[1]) // 2
    fitted[top : top + image.shape[0], left : left + image.shape[1]] = image
    return fitted


def describe_colours(frame: av.VideoFrame) -> str:
    """What about a frame's colours has to be mapped to BT.709; empty where nothing has."""
    if frame.color_trc in HDR:
        return f"HDR ({HDR[frame.color_trc]})"
    wide = frame.color_primaries == BT2020_PRIMARIES or frame.colorspace in BT2020_MATRICES
    return "the wide colours of BT.2020" if wide else ""


def _pixels(frame: av.VideoFrame, *, alpha: bool) -> NDArray[np.uint8]:
    if describe_colours(frame):
        deep = frame.reformat(format="rgb48le", src_colorspace=Colorspace.BT2020).to_ndarray()
        image = _mapped(np.asarray(deep, np.uint16), frame.color_trc)
        return np.dstack([image, np.asarray(frame.to_ndarray(format="rgba"), np.uint8)[..., 3:]]) if alpha else image
    shorter, longer = sorted((frame.width, frame.height))
    is_hd = shorter >= 720 or (shorter >= 480 and longer >= 1280)
    pixels = "rgba" if alpha else "rgb24"
    if is_hd and frame.colorspace == UNKNOWN and not frame.format.is_rgb:
        frame = frame.reformat(format=pixels, src_colorspace=Colorspace.ITU709)  # FFmpeg's own guess is always BT.601
    return np.asarray(frame.to_ndarray(format=pixels), np.uint8)


def _mapped(deep: NDArray[np.uint16], transfer: int) -> Frame:
    """BT.2020, of the transfer's 16-bit code values, as BT.709 for a display of SDR."""
    wide = _linear(transfer)[deep]
    light = np.maximum(wide @ TO_BT709.T, 0)
    if transfer == HLG:  # its values are the scene's light; the display's follows by the system gamma of 1.2
        light *= (HDR_PEAK / SDR_WHITE * (wide @ BT2020_LUMINANCE) ** 0.2)[..., None]
    if transfer in HDR:
        brightest = light.max(-1, keepdims=True)
        light *= np.interp(brightest, *_tone_curve()).astype(np.float32) / np.maximum(brightest, 1e-6)
    return np.rint(255 * np.minimum(light, 1) ** (1 / DISPLAY_GAMMA)).astype(np.uint8)


@cache
def _linear(transfer: int) -> Array:
    """(65536,) float32: the light of each code value. 1 is the white of SDR, for HLG the scene's brightest."""
    code = np.linspace(0, 1, 1 << 16)
    if transfer == PQ:
        light = _from_pq(code) / SDR_WHITE
    elif transfer == HLG:  # ITU-R BT.2100
        light = np.where(code <= 0.5, code**2 / 3, (np.exp((code - 0.55991073) / 0.17883277) + 0.28466892) / 12)
    else:
        light = code**DISPLAY_GAMMA
    return light.astype(np.float32)


@cache
def _tone_curve() -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Light and what is shown for it: up to half of SDR's white the same, and HDR's peak as white.

    ITU-R BT.2390, section 5.4.1 (EETF).
    """
    light = np.linspace(0, HDR_PEAK / SDR_WHITE, 4096)
    top = _to_pq(np.array(HDR_PEAK))
    level, white = _to_pq(light * SDR_WHITE) / top, _to_pq(np.array(SDR_WHITE)) / top
    knee = 1.5 * white - 0.5
    t = np.maximum(level - knee, 0) / (1 - knee)
    spline = (2 * t**3 - 3 * t**2 + 1) * knee + (t**3 - 2 * t**2 + t) * (1 - knee) + (3 * t**2 - 2 * t**3) * white
    return light, _from_pq(np.where(level < knee, level, spline) * top) / SDR_WHITE


def _from_pq(code: NDArray[np.float64]) -> NDArray[np.float64]:
    """cd/m2 of SMPTE ST 2084's values."""
    root = code ** (32 / 2523)
    return 10000 * (np.maximum(root - 3424 / 4096, 0) / (2413 / 128 - 2392 / 128 * root)) ** (16384 / 2610)


def _to_pq(light: NDArray[np.float64]) -> NDArray[np.float64]:
    power = (light / 10000) ** (2610 / 16384)
    return ((3424 / 4096 + 2413 / 128 * power) / (1 + 2392 / 128 * power)) ** (2523 / 32)


def display_matrix(frame: av.VideoFrame) -> Matrix:
    """How a frame is turned and mirrored when it is shown; to be asked of a video's first frame only.

    PyAV's frame and its side data refer to each other: it stays in memory until the garbage is collected.
    """
    matrix = frame.side_data.get("DISPLAYMATRIX")
    if matrix is None:
        return 1, 0, 0, 1
    a, b, _, c, d = struct.unpack("=5i", bytes(cast(SideData, matrix))[:20])
    return a, b, c, d


def _upright(image: NDArray[np.uint8], matrix: Matrix) -> NDArray[np.uint8]:
    """Turned and mirrored by right angles."""
    a, b, c, d = matrix
    if abs(b) + abs(c) > abs(a) + abs(d):
        image, a, d = image.swapaxes(0, 1), c, b
    return image[:: -1 if d < 0 else 1, :: -1 if a < 0 else 1]


class TimedVideoFrame(NamedTuple):
    """A decoded frame, its time and its duration, both in ticks."""

    frame: av.VideoFrame
    pts: int
    duration: int


def deinterlaced(timed: Iterable[TimedVideoFrame]) -> Iterator[TimedVideoFrame]:
    """The frames, of those that are interlaced one whole frame for two fields (FFmpeg's bwdif), at the same times.

    Not a frame is held back before the first that is interlaced; then one.
    """
    waiting: deque[TimedVideoFrame] = deque()
    graph: Graph | None = None
    for each in timed:
        if graph and waiting and not _alike(waiting[-1].frame, each.frame):
            yield from _filtered(graph, None, waiting)
            graph = None
        if graph is None and not each.frame.interlaced_frame:
            yield each
            continue
        graph = graph or _bwdif(each.frame)
        waiting.append(each)
        yield from _filtered(graph, each.frame, waiting)
    if graph:
        yield from _filtered(graph, None, waiting)


def _alike(one: av.VideoFrame, other: av.VideoFrame) -> bool:
    return (one.width, one.height, one.format.name) == (other.width, other.height, other.format.name)


def _bwdif(frame: av.VideoFrame) -> Graph:
    graph = Graph()
    begin = graph.add_buffer(
        width=frame.width, height=frame.height, format=frame.format, time_base=frame.time_base or Fraction(1, 25)
    )
    graph.link_nodes(begin, graph.add("bwdif", "mode=send_frame:deint=interlaced"), graph.add("buffersink")).configure()
    return graph


def _filtered(graph: Graph, frame: av.VideoFrame | None, waiting: deque[TimedVideoFrame]) -> Iterator[TimedVideoFrame]:
    if frame:
        frame.pts = waiting[-1].pts
    graph.vpush(frame)
    with suppress(av.BlockingIOError, av.error.EOFError):
        while waiting:
            whole = graph.vpull()
            yield waiting.popleft()._replace(frame=whole)
