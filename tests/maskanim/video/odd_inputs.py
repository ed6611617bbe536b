"""Odd and hostile inputs, made by Pillow and FFmpeg, each with what is to come of it: a result or one clear line."""

from __future__ import annotations

import struct
import zlib
from collections.abc import Callable
from fractions import Fraction
from io import BytesIO
from pathlib import Path
from typing import Any, NamedTuple

import av
import cv2
import numpy as np
from av.filter import Graph
from numpy.typing import NDArray
from PIL import Image

RED, GREEN, BLUE, SAND = (255, 0, 0), (0, 255, 0), (0, 0, 255), (200, 120, 40)
BLACK, WHITE = (0, 0, 0), (255, 255, 255)
GREY = tuple((round(0.299 * r + 0.587 * g + 0.114 * b),) * 3 for r, g, b in (RED, GREEN, BLUE, SAND))
COLOURS = (RED, GREEN, BLUE, SAND)  # of the quarters: left above, right above, left below, right below


class Still(NamedTuple):
    """What a source is read as.

    Attributes:
        height, width: in pixels.
        colours: of its quarters, in the order of `COLOURS`.
        alpha: of its quarters, in the same order; None for an opaque picture.
    """

    height: int = 96
    width: int = 128
    colours: tuple[tuple[int, ...], ...] = COLOURS
    alpha: tuple[int, int, int, int] | None = None


class Moving(NamedTuple):
    """What a driving clip is read as.

    Attributes:
        times: the starts of its frames in seconds; or how many frames there are, at 25 a second.
        warning: what is said of it; empty where nothing is.
        height, width: in pixels.
    """

    times: tuple[float, ...] | int
    warning: str = ""
    height: int = 96
    width: int = 128


class Case(NamedTuple):
    """An input.

    Attributes:
        make: makes it in a folder; returns its path.
        expected: what it is read as; or what the error says, as a regular expression.
        options: of `read_source` or `open_clip`.
    """

    make: Callable[[Path], Path]
    expected: Still | Moving | str
    options: dict[str, Any] = {}


def quarters(height: int = 96, width: int = 128, shade: int = 255) -> NDArray[np.uint8]:
    """A picture with a colour in each quarter."""
    image = np.empty((height, width, 3), np.uint8)
    top, left = height // 2, width // 2
    for rows, columns, colour in zip(
        (slice(top), slice(top), slice(top, None), slice(top, None)),
        (slice(left), slice(left, None)) * 2,
        COLOURS,
        strict=True,
    ):
        image[rows, columns] = np.array(colour) * shade // 255
    return image


def picture(name: str, mode: str = "RGB", **options: Any) -> Callable[[Path], Path]:
    """The quarters, saved by Pillow in one of its modes."""

    def make(folder: Path) -> Path:
        Image.fromarray(quarters()).convert(mode).save(folder / name, **options)
        return folder / name

    return make


def clear(name: str, alpha: tuple[int, int, int, int] = (0, 100, 255, 255), **options: Any) -> Callable[[Path], Path]:
    """The quarters with alpha."""

    def make(folder: Path) -> Path:
        layers = np.repeat(np.repeat(np.array(alpha, np.uint8).reshape(2, 2), 48, 0), 64, 1)
        Image.fromarray(np.dstack([quarters(), layers])).save(folder / name, **options)
        return folder / name

    return make


def array(name: str, convert: Callable[[NDArray[np.uint8]], NDArray[Any]]) -> Callable[[Path], Path]:
    """What becomes of the quarters, saved by OpenCV."""

    def make(folder: Path) -> Path:
        image = convert(quarters())
        cv2.imwrite(str(folder / name), image[..., ::-1] if image.ndim == 3 else image)
        return folder / name

    return make


def one_bit(folder: Path) -> Path:
    """White where there is much red."""
    Image.fromarray(quarters()[..., 0] > 127).save(folder / "a.png")
    return folder / "a.png"


def exif(orientation: int) -> bytes:
    """Tags that say how to turn a picture."""
    tags = Image.Exif()
    tags[0x0112] = orientation
    return tags.tobytes()


def profile_with_red_and_green_exchanged() -> bytes:
    """A colour profile in which what is called red is sRGB's green."""

    def xyz(*values: float) -> bytes:
        return b"XYZ \0\0\0\0" + b"".join(struct.pack(">i", round(value * 65536)) for value in values)

    red, green, blue = xyz(0.4361, 0.2225, 0.0139), xyz(0.3851, 0.7169, 0.0971), xyz(0.1431, 0.0606, 0.7141)
    curve = b"curv\0\0\0\0\0\0\0\1\2\x33\0\0"  # gamma 2.2
    text = b"desc\0\0\0\0\0\0\0\2x\0" + bytes(78)
    tags = {b"desc": text, b"wtpt": xyz(0.9642, 1, 0.8249), b"rXYZ": green, b"gXYZ": red, b"bXYZ": blue}
    tags |= {b"rTRC": curve, b"gTRC": curve, b"bTRC": curve, b"cprt": b"text\0\0\0\0x\0\0\0"}
    table, data, at = b"", b"", 132 + 12 * len(tags)
    for name, content in tags.items():
        content += bytes(-len(content) % 4)
        table += name + struct.pack(">II", at + len(data), len(content))
        data += content
    body = struct.pack(">I", len(tags)) + table + data
    head = struct.pack(">I4s", 128 + len(body), bytes(4)) + b"\2\x10\0\0mntrRGB XYZ " + bytes(12) + b"acsp"
    head += bytes(28) + struct.pack(">3i", 63190, 65536, 54061)
    return head + bytes(128 - len(head)) + body


def animation(name: str, **options: Any) -> Callable[[Path], Path]:
    """Three pictures in one file, ever darker; the second is shown for 80 ms."""

    def make(folder: Path) -> Path:
        shades = [Image.fromarray(quarters(shade=shade)) for shade in (255, 200, 150)]
        durations = {"duration": [40, 80, 40]}
        shades[0].save(folder / name, save_all=True, append_images=shades[1:], **{**durations, **options})
        return folder / name

    return make


def darker(shade: int) -> tuple[tuple[int, ...], ...]:
    """The colours of a frame of an animation."""
    return tuple(tuple(value * shade // 255 for value in colour) for colour in COLOURS)


def video(
    name: str,
    codec: str = "libx264",
    times: tuple[int, ...] = tuple(range(12)),
    ticks: int = 25,
    *,
    size: tuple[int, int] = (96, 128),
    pixels: str = "yuv420p",
    sounds: tuple[str, ...] = (),
    options: dict[str, str] | None = None,
    container: dict[str, str] | None = None,
    change: Callable[[bytes], bytes] = lambda data: data,
) -> Callable[[Path], Path]:
    """A clip whose frames start at `times`, in ticks; with an audio track for each of `sounds`; changed afterwards."""

    def make(folder: Path) -> Path:
        muxing = container or {}
        with av.open(str(folder / name), "w", container_options=muxing) as output:
            stream = output.add_stream(codec, rate=25, options={"g": "4", **(options or {})})
            stream.height, stream.width, stream.pix_fmt = *size, pixels
            stream.codec_context.time_base = Fraction(1, ticks)
            tracks = [output.add_stream(sound, rate=48000, layout="mono") for sound in sounds]
            for number, track in enumerate(tracks, 1):
                wave = av.AudioFrame.from_ndarray(np.full((1, 24000), number * 1000, np.int16), "s16", "mono")
                wave.rate, wave.pts = 48000, 0
                output.mux(track.encode(wave))
            for i, time in enumerate(times):
                frame = av.VideoFrame.from_ndarray(quarters(*size, shade=255 - i), "rgb24")
                frame.pts, frame.time_base = time, Fraction(1, ticks)
                output.mux(stream.encode(frame))
            for each in (stream, *tracks):
                output.mux(each.encode(None))
        (folder / name).write_bytes(change((folder / name).read_bytes()))
        return folder / name

    return make


def cut(share: float) -> Callable[[bytes], bytes]:
    """Keep the first part of a file."""
    return lambda data: data[: int(len(data) * share)]


def turned_by_a_phone(data: bytes) -> bytes:
    """Record in an mp4 that its frames are to be turned clockwise by 90 degrees."""
    upright = struct.pack(">9i", 1 << 16, 0, 0, 0, 1 << 16, 0, 0, 0, 1 << 30)
    turned = struct.pack(">9i", 0, 1 << 16, 0, -1 << 16, 0, 0, 0, 0, 1 << 30)
    at = data.index(upright, data.index(b"tkhd"))
    return data[:at] + turned + data[at + len(turned) :]


def noise_in_the_middle(data: bytes) -> bytes:
    """Overwrite a tenth of a file."""
    at, length = len(data) // 2, len(data) // 10
    return data[:at] + bytes(range(256)) * (length // 256) + bytes(length % 256) + data[at + length :]


def written(name: str, content: bytes) -> Callable[[Path], Path]:
    """A file of these bytes."""

    def make(folder: Path) -> Path:
        (folder / name).write_bytes(content)
        return folder / name

    return make


def encoded(kind: str, change: Callable[[bytes], bytes] = lambda data: data, **options: Any) -> bytes:
    """The quarters as a file's bytes."""
    file = BytesIO()
    Image.fromarray(quarters()).save(file, kind, **options)
    return change(file.getvalue())


def enormous() -> bytes:
    """A PNG of a few bytes that says it has ten thousand million pixels."""
    head = struct.pack(">IIBBBBB", 100_000, 100_000, 8, 2, 0, 0, 0)
    chunks = ((b"IHDR", head), (b"IDAT", zlib.compress(b"")), (b"IEND", b""))
    packed = (struct.pack(">I", len(c)) + n + c + struct.pack(">I", zlib.crc32(n + c)) for n, c in chunks)
    return b"\x89PNG\r\n\x1a\n" + b"".join(packed)


def heic(folder: Path) -> Path:
    """What a phone takes: one H.265 frame in the boxes of ISO/IEC 23008-12."""
    options = {"crf": "10", "x265-params": "log-level=none:pools=none:bframes=0"}
    coded = video("a.mp4", "libx265", (0,), options=options)(folder)
    with av.open(str(coded)) as container:
        sample = bytes(next(container.demux(video=0)))
    data = coded.read_bytes()
    coded.unlink()
    at = data.index(b"hvcC") - 4
    decoder = data[at : at + int.from_bytes(data[at : at + 4], "big")]

    def box(name: bytes, *contents: bytes, full: bool = True) -> bytes:
        content = bytes(4 * full) + b"".join(contents)
        return struct.pack(">I", 8 + len(content)) + name + content

    def meta(offset: int) -> bytes:
        entry = b"\0\0\0\x15infe\2\0\0\0\0\1\0\0hvc1\0"
        place = struct.pack(">BBHHHHII", 0x44, 0, 1, 1, 0, 1, offset, len(sample))
        properties = box(b"ipco", decoder, box(b"ispe", struct.pack(">II", 128, 96)), full=False)
        uses = box(b"ipma", struct.pack(">IHBBB", 1, 1, 2, 0x81, 2))
        return box(
            b"meta",
            box(b"hdlr", bytes(4) + b"pict" + bytes(13)),
            box(b"pitm", b"\0\1"),
            box(b"iloc", place),
            box(b"iinf", b"\0\1", entry),
            box(b"iprp", properties, uses, full=False),
        )

    kind = box(b"ftyp", b"heic\0\0\0\0mif1heic", full=False)
    body = kind + meta(len(kind) + len(meta(0)) + 8) + box(b"mdat", sample, full=False)
    return written("a.heic", body)(folder)


def sound_with_a_cover(folder: Path) -> Path:
    """An audio file whose only picture is its cover."""
    with av.open(str(folder / "song.mp4"), "w") as output:
        cover = output.add_stream("mjpeg", rate=25)
        cover.height, cover.width, cover.pix_fmt = 96, 128, "yuvj420p"
        cover.disposition = av.stream.Disposition.attached_pic
        sound = output.add_stream("aac", rate=48000, layout="mono")
        output.mux(cover.encode(av.VideoFrame.from_ndarray(quarters(), "rgb24")))
        wave = av.AudioFrame.from_ndarray(np.zeros((1, 4800), np.int16), "s16", "mono")
        wave.rate = 48000
        output.mux(sound.encode(wave))
        for stream in (cover, sound):
            output.mux(stream.encode(None))
    return folder / "song.mp4"


def folder_of(*names: str) -> Callable[[Path], Path]:
    """A folder of pictures and other files."""

    def make(folder: Path) -> Path:
        (folder / "frames").mkdir()
        for name in names:
            if name.endswith(".png"):
                picture(name)(folder / "frames")
            else:
                (folder / "frames" / name).write_text("no picture")
        return folder / "frames"

    return make


def strip(folder: Path) -> Path:
    """Five squares side by side."""
    Image.fromarray(np.hstack([quarters(64, 64)] * 5)).save(folder / "strip.png")
    return folder / "strip.png"


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


def moving_bar(i: int, height: int = 96, width: int = 128) -> NDArray[np.uint8]:
    image = np.zeros((height, width, 3), np.uint8)
    image[:, 10 + 6 * i : 40 + 6 * i] = 220
    return image


def interlaced(path: Path, codec: str, first: str, times: list[int]) -> Path:
    """Each frame holds, in its two fields, a bar at two moments."""
    with av.open(str(path), "w") as output:
        flags = {"libx264": {"x264-params": "tff=1"}, "mpeg2video": {"flags": "+ildct+ilme"}}.get(codec, {})
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


def mirrored(data: bytes) -> bytes:
    """Record in an mp4 that its frames are to be turned and mirrored: rows become columns."""
    plain = struct.pack(">9i", 1 << 16, 0, 0, 0, 1 << 16, 0, 0, 0, 1 << 30)
    at = data.index(plain, data.index(b"tkhd"))
    return data[:at] + struct.pack(">9i", 0, 1 << 16, 0, 1 << 16, 0, 0, 0, 0, 1 << 30) + data[at + len(plain) :]


MOVED = (0, 0.2, 0.28, 1.0)  # a rate that varies, in seconds
MOVED_TICKS = (0, 200, 280, 1000)

SOURCES = {
    "JPEG": Case(picture("a.jpg", quality=95), Still()),
    "JPEG turned by EXIF": Case(picture("a.jpg", quality=95, exif=exif(6)), Still(128, 96, (BLUE, RED, SAND, GREEN))),
    "JPEG mirrored by EXIF": Case(picture("a.jpg", quality=95, exif=exif(2)), Still(96, 128, (GREEN, RED, SAND, BLUE))),
    "PNG turned by EXIF": Case(picture("a.png", exif=exif(3)), Still(96, 128, (SAND, BLUE, GREEN, RED))),
    "WebP turned by EXIF": Case(
        picture("a.webp", lossless=True, exif=exif(8)), Still(128, 96, (GREEN, SAND, RED, BLUE))
    ),
    "EXIF that is damaged": Case(picture("a.jpg", quality=95, exif=b"Exif\0\0II*\0\xff\xff\xff\xff"), Still()),
    "grey JPEG": Case(picture("a.jpg", "L", quality=95), Still(colours=GREY)),
    "CMYK JPEG": Case(picture("a.jpg", "CMYK", quality=95), Still()),
    "CMYK TIFF": Case(picture("a.tif", "CMYK"), Still()),
    "progressive JPEG with a wrong ending": Case(picture("a.png", format="JPEG", progressive=True), Still()),
    "one bit a pixel": Case(one_bit, Still(colours=(WHITE, BLACK, BLACK, WHITE))),
    "palette": Case(picture("a.png", "P"), Still()),
    "palette with a transparent colour": Case(
        lambda folder: clear("a.gif", (0, 255, 255, 255))(folder), Still(alpha=(0, 255, 255, 255))
    ),
    "RGBA PNG": Case(clear("a.png"), Still(alpha=(0, 100, 255, 255))),
    "RGBA PNG over a colour": Case(
        clear("a.png"), Still(colours=(SAND, (122, 173, 24), BLUE, SAND)), {"background": SAND}
    ),
    "RGBA WebP": Case(clear("a.webp", lossless=True, exact=True), Still(alpha=(0, 100, 255, 255))),
    "RGBA TIFF": Case(clear("a.tif"), Still(alpha=(0, 100, 255, 255))),
    "alpha that is opaque": Case(clear("a.png", (255,) * 4), Still()),
    "grey with alpha": Case(picture("a.png", "LA"), Still(colours=GREY)),
    "16-bit colour PNG": Case(array("a.png", lambda image: image.astype(np.uint16) * 257), Still()),
    "16-bit grey PNG": Case(
        array("a.png", lambda image: np.asarray(Image.fromarray(image).convert("L")).astype(np.uint16) * 257),
        Still(colours=GREY),
    ),
    "16-bit colour TIFF": Case(array("a.tif", lambda image: image.astype(np.uint16) * 257), Still()),
    "grey TIFF of floats": Case(
        array("a.tif", lambda image: np.asarray(Image.fromarray(image).convert("L")).astype(np.float32) / 255),
        Still(colours=GREY),
    ),
    "BMP": Case(picture("a.bmp"), Still()),
    "AVIF": Case(picture("a.avif", quality=95), Still()),
    "colour profile": Case(
        picture("a.png", icc_profile=profile_with_red_and_green_exchanged()),
        Still(colours=(GREEN, RED, BLUE, (120, 200, 40))),
    ),
    "colour profile that is damaged": Case(picture("a.png", icc_profile=b"no profile at all"), Still()),
    "name that is not ASCII": Case(picture("é 人 %03d.png"), Still()),
    "frame of a GIF": Case(animation("a.gif"), Still(colours=darker(200)), {"frame": 1}),
    "frame of an animated WebP": Case(animation("a.webp", lossless=True), Still(colours=darker(150)), {"frame": 2}),
    "frame of an animated PNG": Case(animation("a.png"), Still(colours=darker(200)), {"frame": 1}),
    "frame of a video": Case(video("a.mp4", options={"crf": "5"}), Still(colours=darker(245)), {"frame": 10}),
    "frame of a video with alpha": Case(video("a.mov", "png", pixels="rgba"), Still(colours=darker(250)), {"frame": 5}),
    "frame that an animation has not": Case(
        animation("a.gif"), "no frame 3; expected one of its 3 frames", {"frame": 3}
    ),
    "frame that a video has not": Case(video("a.mp4"), "no frame 12; expected one of its 12 frames", {"frame": 12}),
    "frame before the first": Case(video("a.mp4"), "no frame -1; expected one of its 12 frames", {"frame": -1}),
    "colour that is none": Case(
        clear("a.png"), "background: 'ultrablack'; expected a colour", {"background": "ultrablack"}
    ),
    "missing": Case(lambda folder: folder / "a.png", "there is no such file; expected a picture"),
    "folder": Case(lambda folder: folder, "a folder; expected a picture"),
    "empty": Case(written("a.png", b""), r"an empty file \(0 bytes\)"),
    "text": Case(written("a.png", b"no picture\n" * 50), "not a picture that can be read"),
    "SVG": Case(written("a.svg", b"<svg xmlns='http://www.w3.org/2000/svg'/>"), "not a picture|cannot decode"),
    "JPEG cut short": Case(
        written("a.jpg", encoded("JPEG", cut(0.6))), "not a picture that can be read, or a damaged one"
    ),
    "PNG cut short": Case(
        written("a.png", encoded("PNG", cut(0.6))), "not a picture that can be read, or a damaged one"
    ),
    "PNG with noise in its head": Case(
        written("a.png", encoded("PNG", lambda data: data[:20] + b"noise" + data[25:])),
        "not a picture that can be read",
    ),
    "WebP cut short": Case(written("a.webp", encoded("WEBP", cut(0.6))), "not a picture that can be read"),
    "enormous PNG": Case(written("a.png", enormous()), "a picture of too many pixels"),
    "too small": Case(array("a.png", lambda image: image[:63]), "128x63 pixels; expected at least 64x64"),
    "HEIC of noise": Case(
        written("a.heic", b"\0\0\0\x18ftypheic" + bytes(200)), "not a picture that can be read|pi_heif is not installed"
    ),
    "audio file": Case(sound_with_a_cover, "a file without video"),
}

DRIVING = {
    "mp4": Case(video("a.mp4"), Moving(12)),
    "mov": Case(video("a.mov"), Moving(12)),
    "mkv": Case(video("a.mkv"), Moving(12)),
    "webm": Case(video("a.webm", "libvpx-vp9", options={"deadline": "realtime", "cpu-used": "8"}), Moving(12)),
    "avi": Case(video("a.avi", "mpeg4"), Moving(12)),
    "Motion JPEG": Case(video("a.avi", "mjpeg", pixels="yuvj420p"), Moving(12)),
    "transport stream": Case(
        video("a.ts", container={"muxdelay": "0", "muxpreload": "0"}), Moving(tuple(0.08 + 0.04 * i for i in range(12)))
    ),
    "GIF": Case(animation("a.gif"), Moving((0, 0.04, 0.12))),
    "animated WebP": Case(animation("a.webp"), Moving((0, 0.04, 0.12))),
    "animated WebP without durations": Case(animation("a.webp", duration=0), Moving((0, 0.1, 0.2))),
    "animated PNG": Case(animation("a.png"), Moving((0, 0.04, 0.12))),
    "rate that varies": Case(video("a.mkv", times=MOVED_TICKS, ticks=1000), Moving(MOVED)),
    "portrait turned by a phone": Case(video("a.mp4", change=turned_by_a_phone), Moving(12, height=128, width=96)),
    "portrait that is mirrored": Case(video("a.mp4", change=mirrored), Moving(12, height=128, width=96)),
    "pixels that are not square": Case(video("a.mp4", options={"x264-params": "sar=2/1"}), Moving(12, width=256)),
    "PQ": Case(
        lambda folder: coloured(folder / "a.mkv", np.full((4, 3), 0.5), (9, 16, 9)), Moving(1, height=64, width=128)
    ),
    "HLG": Case(
        lambda folder: coloured(folder / "a.mkv", np.full((4, 3), 0.5), (9, 18, 9)), Moving(1, height=64, width=128)
    ),
    "interlaced": Case(lambda folder: interlaced(folder / "a.mkv", "ffv1", "tff", list(range(12))), Moving(12)),
    "size that changes": Case(
        lambda folder: grown(folder / "a.webm", [(96, 128), (192, 256)]), Moving(tuple(0.04 * i for i in range(10)))
    ),
    "cover before the video": Case(
        lambda folder: tracks(folder / "a.mp4", (1, 192, 256, 0), (12, 96, 128, 1)), Moving(12)
    ),
    "cover that is asked for": Case(
        lambda folder: tracks(folder / "a.mp4", (1, 192, 256, 0), (12, 96, 128, 1)),
        Moving(1, height=192, width=256),
        {"track": 1},
    ),
    "video track that is not there": Case(
        video("a.mp4"), "no video track 2; expected one of its 1 video", {"track": 2}
    ),
    "odd sizes": Case(video("a.mkv", "ffv1", size=(97, 65)), Moving(12, height=97, width=65)),
    "several audio tracks": Case(video("a.mkv", sounds=("aac", "aac")), Moving(12), {"audio": 2}),
    "audio track that is not there": Case(
        video("a.mkv", sounds=("aac", "aac")), "no audio track 3 .*; expected one of its 2 audio tracks", {"audio": 3}
    ),
    "alpha": Case(video("a.mov", "prores_ks", pixels="yuva444p10le"), Moving(12)),
    "folder": Case(folder_of("2.png", "10.png", "1.png", "notes.txt", "._1.png"), Moving(3)),
    "folder without pictures": Case(folder_of("notes.txt"), "a folder without pictures"),
    "strip": Case(strip, Moving(5, height=64, width=64)),
    "still picture": Case(picture("a.jpg"), Moving(1)),
    "still picture for a second": Case(picture("a.jpg"), Moving(25), {"duration": 1}),
    "loop": Case(video("a.mp4"), Moving(36), {"loop": 3}),
    "part": Case(video("a.mp4"), Moving(5), {"start": 0.2, "end": "0:0:0.4"}),
    "half the rate": Case(video("a.mp4"), Moving(tuple(0.08 * i for i in range(6))), {"fps": 12.5}),
    "start behind the end of the clip": Case(video("a.mp4"), "nothing is shown between start and end", {"start": 5}),
    "end before the start": Case(
        video("a.mp4"), "a part from 2 s to 1 s; expected an end behind", {"start": 2, "end": 1}
    ),
    "time that is none": Case(video("a.mp4"), "start: 'soon'; expected seconds or hh:mm:ss", {"start": "soon"}),
    "rate that is none": Case(video("a.mp4"), "fps: '0'; expected frames per second", {"fps": 0}),
    "no loop at all": Case(video("a.mp4"), "loop: 0; expected 1 or more", {"loop": 0}),
    "mp4 cut short": Case(
        video("a.mp4", times=tuple(range(40)), container={"movflags": "faststart"}, change=cut(0.7)),
        Moving(0, r"damaged or cut short: \d+ of 40 frames could be read; what could be read is kept"),
    ),
    "mkv cut short": Case(
        video("a.mkv", times=tuple(range(40)), change=cut(0.7)),
        Moving(0, "(damaged|cut short): .*; what could be read is kept"),
    ),
    "webm cut short": Case(
        video("a.webm", "libvpx", times=tuple(range(40)), change=cut(0.7)),
        Moving(0, "(damaged|cut short): .*; what could be read is kept"),
    ),
    "avi cut short": Case(
        video("a.avi", "mpeg4", times=tuple(range(40)), change=cut(0.7)),
        Moving(0, "(damaged|cut short): .*; what could be read is kept"),
    ),
    "mp4 with noise": Case(
        video("a.mp4", times=tuple(range(40)), change=noise_in_the_middle),
        Moving(0, r"damaged or cut short: \d+ of 40 frames could be read; what could be read is kept"),
    ),
    "mp4 whose index is missing": Case(video("a.mp4", change=cut(0.5)), r"whose index \(moov\) is missing"),
    "mp4 that has to be whole": Case(
        video("a.mp4", times=tuple(range(40)), container={"movflags": "faststart"}, change=cut(0.7)),
        r"damaged or cut short: \d+ of 40 frames could be read; expected a complete video",
        {"whole": True},
    ),
    "video of which nothing decodes": Case(
        video("a.mp4", container={"movflags": "faststart"}, change=lambda data: data[: data.index(b"mdat") + 4]),
        "a video of which no frame could be decoded|not a video that FFmpeg can open",
    ),
    "missing": Case(lambda folder: folder / "a.mp4", "there is no such file; expected a video"),
    "empty": Case(written("a.mp4", b""), r"an empty file \(0 bytes\)"),
    "text": Case(written("a.txt", b"played as ANSI art\n" * 50), "a file without video"),
    "noise": Case(written("a.mp4", bytes(range(256)) * 40), "not a video that FFmpeg can open"),
    "song with a cover": Case(sound_with_a_cover, "a file without video"),
    "too small": Case(video("a.mp4", size=(62, 128)), "128x62 pixels; expected at least 64x64"),
    "animated WebP cut short": Case(
        lambda folder: written("a.webp", cut(0.5)(animation("b.webp")(folder).read_bytes()))(folder),
        "not a picture that can be read",
    ),
    "camera that is not there": Case(lambda folder: Path("camera:99"), "camera:99: no camera that can be opened at"),
}
