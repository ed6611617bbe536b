"""How odd and hostile inputs are made, by Pillow, FFmpeg and bytes of our own."""

from __future__ import annotations

import struct
import zlib
from collections.abc import Callable
from fractions import Fraction
from io import BytesIO
from pathlib import Path
from typing import Any

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


def long_gif(folder: Path) -> Path:
    """Forty pictures, each for 40 ms."""
    shades = [Image.fromarray(quarters(shade=255 - i)) for i in range(40)]
    shades[0].save(folder / "long.gif", save_all=True, append_images=shades[1:], duration=40)
    return folder / "long.gif"


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
            if name.endswith("/"):
                (folder / "frames" / name).mkdir()
            elif name.endswith(".png"):
                picture(name)(folder / "frames")
            else:
                (folder / "frames" / name).write_text("no picture")
        return folder / "frames"

    return make


def short_with_sound(folder: Path) -> Path:
    """So short that FFmpeg does not tell when its video begins; its sound is longer."""
    return video("short.mp4", times=tuple(range(6)), sounds=("aac",), options={"preset": "ultrafast"})(folder)


def delayed(clip: Path, path: Path, seconds: int) -> Path:
    """A clip's packets in another file, so many seconds later."""
    with av.open(str(clip)) as given, av.open(str(path), "w") as output:
        streams = {stream.index: output.add_stream_from_template(stream) for stream in given.streams}
        for packet in given.demux():
            if packet.dts is not None and packet.pts is not None:
                later = round(seconds / packet.time_base)
                packet.pts, packet.dts = packet.pts + later, packet.dts + later
                packet.stream = streams[packet.stream_index]
                output.mux(packet)
    return path


def playlist(name: str, text: str) -> Callable[[Path], Path]:
    """A text that names a clip beside it."""

    def make(folder: Path) -> Path:
        clip = video("clip.ts")(folder)
        return written(name, text.format(clip.name).encode())(folder)

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
