"""Odd and hostile inputs, made by Pillow and FFmpeg, each with what is to come of it: a result or one clear line."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from PIL import Image

from helpers.odd_files import (
    BLACK,
    BLUE,
    COLOURS,
    GREEN,
    GREY,
    RED,
    SAND,
    WHITE,
    animation,
    array,
    clear,
    coloured,
    cut,
    darker,
    delayed,
    encoded,
    enormous,
    exif,
    folder_of,
    grown,
    interlaced,
    long_gif,
    mirrored,
    noise_in_the_middle,
    one_bit,
    picture,
    playlist,
    profile_with_red_and_green_exchanged,
    short_with_sound,
    sound_with_a_cover,
    strip,
    tracks,
    turned_by_a_phone,
    video,
    written,
)


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


CUT_SHORT = "cut short: the end of the file is missing; what could be read is kept"
M2TS = {"mpegts_m2ts_mode": "1", "muxdelay": "0", "muxpreload": "0"}
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
    "EPS": Case(picture("a.eps"), r"a program that draws \(EPS\)"),
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
    "mkv that begins after a day": Case(
        video("a.mkv", times=tuple(25 * 86400 + i for i in range(12))),
        Moving(tuple(86400 + 0.04 * i for i in range(12))),
    ),
    "mkv with sound that begins after a day": Case(
        lambda folder: delayed(short_with_sound(folder), folder / "a.mkv", 86400),
        Moving(tuple(86400 + 0.04 * i for i in range(6))),
    ),
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
    "folder in which a folder is called a picture": Case(folder_of("2.png", "1.png", "3.png/"), Moving(2)),
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
    "wmv": Case(video("a.wmv", "wmv2"), Moving(12)),
    "wmv cut short": Case(
        video("a.wmv", "wmv2", times=tuple(range(40)), change=cut(0.5)),
        Moving(0, r"cut short: it has \d+ of \d+ bytes; what could be read is kept"),
    ),
    "ogv": Case(video("a.ogv", "libvpx"), Moving(12)),
    "ogv cut short": Case(video("a.ogv", "libvpx", times=tuple(range(40)), change=cut(0.7)), Moving(0, CUT_SHORT)),
    "ogv without its last page": Case(
        video("a.ogv", "libvpx", times=tuple(range(40)), change=lambda data: data[: data.rindex(b"OggS")]),
        Moving(0, CUT_SHORT),
    ),
    "GIF cut short": Case(
        lambda folder: written("a.gif", cut(0.7)(long_gif(folder).read_bytes()))(folder), Moving(0, CUT_SHORT)
    ),
    "program stream": Case(video("a.mpg", "mpeg2video"), Moving(tuple(0.54 + 0.04 * i for i in range(12)))),
    "program stream cut short": Case(
        video("a.mpg", "mpeg2video", times=tuple(range(40)), change=cut(0.7)),
        Moving(0, "damaged: .*; what could be read is kept"),
    ),
    "transport stream cut short": Case(
        video("a.ts", times=tuple(range(40)), change=lambda data: data[: len(data) * 7 // 10 // 188 * 188 + 100]),
        Moving(0, CUT_SHORT),
    ),
    "transport stream with times before its packets": Case(
        video("a.mts", container=M2TS), Moving(tuple(0.08 + 0.04 * i for i in range(12)))
    ),
    "such a one cut short": Case(
        video(
            "a.mts",
            times=tuple(range(40)),
            container=M2TS,
            change=lambda data: data[: len(data) * 7 // 10 // 192 * 192 + 188],
        ),
        Moving(0, CUT_SHORT),
    ),
    "DV": Case(video("a.dv", "dvvideo", size=(576, 720)), Moving(12, height=576, width=768)),
    "DV cut short": Case(
        video("a.dv", "dvvideo", times=tuple(range(15)), size=(576, 720), change=cut(0.97)),
        Moving(0, CUT_SHORT, height=576, width=768),
    ),
    "MXF": Case(video("a.mxf", "mpeg2video"), Moving(12)),
    "MXF cut short": Case(
        video("a.mxf", "mpeg2video", times=tuple(range(40)), change=cut(0.7)),
        Moving(0, "cut short: it ends after 1.* of 1.60 s; what could be read is kept"),
    ),
    "FLV cut short": Case(
        video("a.flv", "flv", times=tuple(range(40)), change=cut(0.7)),
        Moving(0, "damaged: .*; what could be read is kept"),
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
        "a video of which no frame could be decoded|a pipe of which no frame could|not a video that FFmpeg can open",
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
    "HLS playlist": Case(
        playlist("a.m3u8", "#EXTM3U\n#EXT-X-TARGETDURATION:1\n#EXTINF:1,\n{}\n#EXT-X-ENDLIST\n"),
        "a list of other files, or not a video that FFmpeg can open",
    ),
    "list of clips under a video's name": Case(
        playlist("a.mp4", "ffconcat version 1.0\nfile {}\n"),
        "a list of other files, or not a video that FFmpeg can open",
    ),
    "camera that is not there": Case(lambda folder: Path("camera:99"), "camera:99: no camera that can be opened at"),
}
