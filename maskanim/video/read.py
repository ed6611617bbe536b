"""Opening driving clips and source pictures of every kind."""

from __future__ import annotations

import os
import re
import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import suppress
from fractions import Fraction
from functools import partial
from itertools import islice
from pathlib import Path
from typing import BinaryIO

import av
import av.container
import numpy as np
from PIL import Image

from maskanim.errors import MaskanimError, check_local, reason
from maskanim.ops import Frame
from maskanim.video.audio import AudioTrack, FileAudio, PipedAudio
from maskanim.video.clip import Clip, FrameSource, Looped, Resampled, SourceFrame, Trimmed, parse_rate, parse_time
from maskanim.video.container import (
    DRIVING_KINDS,
    OPTIONS,
    TAGS,
    audio_stream,
    holds_picture,
    open_container,
    unreadable,
)
from maskanim.video.pictures import (
    PICTURE_SUFFIXES,
    STILL_BRANDS,
    Colour,
    FilePath,
    Picture,
    alpha_composite,
    brand,
    count_frames,
    file_head,
    opened_picture,
    parse_colour,
    picture_of,
    pixels,
    read_picture,
    require_file,
)
from maskanim.video.videofile import STILLS_RATE, VideoFile

Time = str | float | Fraction

SOURCE_KINDS = "a picture or a video"
STANDARD_INPUT, PIPE = "-", "standard input"  # as it is typed, and as messages call it
CAMERA = "camera:"
# FFmpeg's input device and what it calls a camera, by `sys.platform`.
DEVICES = {"linux": ("v4l2", "/dev/video{}"), "darwin": ("avfoundation", "{}:none"), "win32": ("dshow", "video={}")}

UNSTATED_DURATION = 100  # milliseconds; browsers show frames that state none for so long


def open_clip(
    path: FilePath,
    stills_rate: Fraction | int = STILLS_RATE,
    *,
    start: Time | None = None,
    end: Time | None = None,
    fps: Time | None = None,
    loop: int = 1,
    duration: Time | None = None,
    audio: int | None = None,
    track: int | None = None,
    whole: bool = False,
) -> Clip:
    """Open a driving clip.

    Args:
        path: a video that FFmpeg decodes, or an animated WebP; a strip, one picture whose width is a whole multiple of
            its height, each square being a frame; any other picture, a clip of one frame; a folder of pictures, taken
            in natural order (2 before 10); ``camera:0``; or ``-``, a video through standard input.
        stills_rate: frames per second of a strip, a picture or a folder.
        start: where to begin, in seconds or as ``hh:mm:ss``, counted from the video's first frame. The frame that is
            being shown there is the first one, at time zero, and the audio is cut alike.
        end: where to end, counted alike.
        fps: show the clip at this constant rate instead of its own: at each tick the frame that is being shown.
        loop: how often the clip is shown, the cuts included.
        duration: seconds for which the clip is shown, over and over; `loop` is then ignored.
        audio: the audio track, counted from 1; None takes the one that the file calls the default, else the first.
        track: the video track, counted from 1; None takes one of more than one frame if there is any, of these the one
            that the file calls the default, of several the one with the most pixels.
        whole: refuse a video of which not everything can be read, once that shows, instead of keeping what can be.

    Returns:
        The clip; its frames are what a player shows: turned and mirrored as the file says, with square pixels, HDR and
        BT.2020 as BT.709, interlaced ones deinterlaced, all of the first one's size; what is done of that is logged.
        Timestamps are the file's own; a frame without one, or with one that does not come after the frame before,
        directly follows that frame. A camera's begin at zero, and so do those that would begin before it. Of a video
        that is damaged or cut short, every frame that can be decoded is shown, and `Clip.warning` says afterwards what
        is missing.

    Raises:
        MaskanimError: there is no such file, it is none of these, nothing of it can be read, it is smaller than 64x64,
            or a time is wrong.
    """
    source = _frame_source(path, parse_rate(stills_rate, "stills_rate"), track, whole)
    try:
        if track is not None and not isinstance(source, VideoFile):
            raise MaskanimError(str(source.path), "pictures", "a video, to choose a track of it")
        return arrange_clip(source, start=start, end=end, fps=fps, loop=loop, duration=duration, audio=audio)
    except BaseException:
        source.close()
        raise


def _frame_source(path: FilePath, rate: Fraction, track: int | None, whole: bool) -> FrameSource:
    if is_feed(path):
        return open_feed(os.fspath(path), track=track, whole=whole)
    check_local("", os.fspath(path))
    path = Path(path)
    if path.is_dir():
        return _folder_of_pictures(path, rate)
    require_file(path, DRIVING_KINDS)
    head = file_head(path)
    if (head[:4] == b"RIFF" and head[8:] == b"WEBP") or brand(path) in STILL_BRANDS:
        return _picture_clip(path, rate)
    container = open_container(path)
    if holds_picture(container):
        container.close()
        return _picture_clip(path, rate)
    return VideoFile(path, partial(open_container, path), container, track=track, whole=whole)


def arrange_clip(
    source: FrameSource,
    *,
    start: Time | None = None,
    end: Time | None = None,
    fps: Time | None = None,
    loop: int = 1,
    duration: Time | None = None,
    audio: int | None = None,
) -> Clip:
    """The clip in which a source is cut, then brought to a rate, then repeated; see `open_clip` for the arguments.

    Raises:
        MaskanimError: one of them is wrong, or does not suit the source.
    """
    if start is None and source.first < 0:  # as in a broadcast whose clock was about to wrap: an mp4 begins at zero
        start = 0
    given = {"start": start, "end": end, "duration": duration}
    times = {name: None if time is None else parse_time(time, name) for name, time in given.items()}
    view, cut, looped = source, None, None
    if start is not None or end is not None:
        view = cut = Trimmed(view, times["start"], times["end"])
    if fps is not None:
        view = Resampled(view, parse_rate(fps))
    if loop != 1 or duration is not None:
        view = looped = Looped(view, loop if duration is None else None, times["duration"])
    return Clip.of(view, _audio(source, audio, cut, looped))


def _audio(source: FrameSource, number: int | None, cut: Trimmed | None, looped: Looped | None) -> AudioTrack | None:
    if not isinstance(source, VideoFile):
        if number is not None:
            raise MaskanimError(str(source.path), "pictures without audio", "no audio track to choose")
        return None
    stream = audio_stream(source.path, source.container, number)
    if stream is None:
        return None
    start, end = (cut.start, cut.end) if cut else (None, None)
    if source.once:
        source.audio = PipedAudio(stream, start, end)
        return source.audio
    lap = (lambda: looped.lap) if looped else None
    return FileAudio(source.path, number, stream.rate, start, end, lap)


def is_feed(name: FilePath) -> bool:
    """Whether this is no file but standard input (``-``) or a camera (``camera:0``)."""
    return os.fspath(name) == STANDARD_INPUT or os.fspath(name).startswith(CAMERA)


def open_feed(name: str, *, track: int | None = None, whole: bool = False) -> VideoFile:
    """Open a camera or standard input.

    Args:
        name: ``-``; or ``camera:`` and a number (Linux, macOS) or the camera's name (Windows, macOS).
        track, whole: as for `VideoFile`.

    Raises:
        MaskanimError: there is no such camera, standard input is a terminal, or no video that can be read from a pipe.
    """
    if name != STANDARD_INPUT:
        return VideoFile(Path(name), partial(_open_camera, name), whole=whole, live=True)
    if sys.stdin is None:
        raise MaskanimError(PIPE, "closed", "a video through a pipe")
    # A buffered file is locked while a thread waits for it, and Python aborts where it ends meanwhile.
    pipe = getattr(sys.stdin.buffer, "raw", sys.stdin.buffer)
    if pipe.isatty():
        example = "For example: cat clip.mkv | maskanim-run --driving - --source a.jpg"
        raise MaskanimError(PIPE, "a terminal", "a video through a pipe", example)
    return VideoFile(Path(PIPE), partial(_open_pipe, pipe), track=track, whole=whole, once=True)


def _open_camera(name: str) -> av.container.InputContainer:
    form, device = DEVICES.get(sys.platform, DEVICES["linux"])
    place = device.format(name.removeprefix(CAMERA))
    try:
        return av.open(place, mode="r", format=form)
    except (av.FFmpegError, OSError, ValueError) as error:  # ValueError: PyAV without this kind of device
        received = f"no camera that can be opened at {place} ({reason(error)})"
        raise MaskanimError(name, received, "a camera, such as camera:0", "Check that nothing else uses it") from error


def _open_pipe(pipe: BinaryIO) -> av.container.InputContainer:
    try:
        container = av.open(pipe, mode="r", container_options=OPTIONS, **TAGS)
    except (av.FFmpegError, OSError, ValueError) as error:
        received = f"nothing that FFmpeg can read from a pipe ({reason(error)})"
        next_step = "An mp4 whose index is at its end has to be given as a file"
        raise MaskanimError(PIPE, received, "a video, such as mkv, webm or ts", next_step) from error
    if holds_picture(container):
        container.close()
        raise MaskanimError(PIPE, "a picture", DRIVING_KINDS, "Give the picture as a file")
    return container


class Stills(FrameSource):
    """Pictures of a file or a folder, each read by a function of its own and shown for one tick."""

    def __init__(self, path: Path, readers: Sequence[Callable[[], Frame]], rate: Fraction) -> None:
        self.path, self.time_base, self.rate, self.frame_count = path, 1 / rate, rate, len(readers)
        self._readers = readers

    def frames(self, since: int | None = None) -> Iterator[SourceFrame]:
        first = min(since or 0, len(self._readers) - 1)
        return (SourceFrame(self._readers[i], i, 1) for i in range(first, len(self._readers)))


def _folder_of_pictures(folder: Path, rate: Fraction) -> Stills:
    visible = (path for path in folder.iterdir() if not path.name.startswith("."))
    found = [path for path in visible if path.suffix.lower() in PICTURE_SUFFIXES and not path.is_dir()]
    if not found:
        kinds = ", ".join(sorted(PICTURE_SUFFIXES))
        raise MaskanimError(str(folder), "a folder without pictures", DRIVING_KINDS, f"Pictures end in {kinds}")
    found.sort(key=lambda path: natural_order(path.name))
    return Stills(folder, [partial(read_picture, path) for path in found], rate)


def natural_order(name: str) -> list[str | int]:
    """A sort key by which ``frame10`` comes behind ``frame9``."""
    return [int(part) if part.isdecimal() else part.lower() for part in re.split(r"(\d+)", name)]


def _picture_clip(path: Path, rate: Fraction) -> FrameSource:
    """A picture file: an animation, a strip of squares, or else one frame."""
    with opened_picture(path) as opened:
        if count_frames(opened) > 1 and opened.format in {"AVIF", "WEBP"}:
            return Animation(path, opened)
        picture = pixels(opened).image
    height, width = picture.shape[:2]
    count = 1 if width % height else width // height
    squares = [np.ascontiguousarray(square) for square in np.split(picture, count, axis=1)]
    return Stills(path, [partial(np.asarray, square) for square in squares], rate)


class Animation(FrameSource):
    """An animated WebP, which FFmpeg does not decode: the frames as Pillow composes them, in milliseconds."""

    def __init__(self, path: Path, opened: Image.Image) -> None:
        self.path, self.time_base = path, Fraction(1, 1000)
        self.frame_count = self._count = count_frames(opened)
        self.rate = Fraction(1000, self._read(opened, 0, 0).duration)

    def frames(self, since: int | None = None) -> Iterator[SourceFrame]:
        at = 0
        with opened_picture(self.path) as opened:
            for i in range(self._count):
                yield (frame := self._read(opened, i, at))
                at += frame.duration

    def _read(self, opened: Image.Image, number: int, at: int) -> SourceFrame:
        image = pixels(opened, number).image  # which also brings the frame's own duration
        return SourceFrame(image, at, round(opened.info.get("duration", 0)) or UNSTATED_DURATION)


def read_source(path: FilePath, frame: int = 0, background: str | Colour | None = None) -> Picture:
    """Read the picture that is to be animated.

    Args:
        path: a picture, as for `read_picture`; or an animated one, or a video that FFmpeg decodes.
        frame: which frame of an animation or a video, counted from 0.
        background: a colour to put below transparent parts, as in CSS (``white``, ``#00ff00``) or as (R, G, B) from 0
            to 255; None leaves the alpha to the caller.

    Returns:
        The picture, upright, with both sides at least 64; its alpha is None where a background was given. The alpha
        of a VP9 video is not read: FFmpeg's decoder leaves it out.

    Raises:
        MaskanimError: there is no such file, it is neither, it is damaged or too small, it has not so many frames, or
            there is no such colour.
    """
    check_local("", os.fspath(path))
    path, colour = Path(path), None if background is None else parse_colour(background)
    require_file(path, SOURCE_KINDS)
    try:
        picture = _frame_of_picture(path, frame)
    except MaskanimError:
        if not _is_video(path):
            raise
        picture = _frame_of_video(path, frame)
    return picture if colour is None else alpha_composite(picture, colour)


def _is_video(path: Path) -> bool:
    with suppress(MaskanimError), open_container(path) as container:
        return brand(path) not in STILL_BRANDS and not holds_picture(container)
    return False


def _frame_of_picture(path: Path, frame: int) -> Picture:
    with opened_picture(path) as opened:
        if not 0 <= frame < count_frames(opened):
            raise _no_such_frame(path, frame, count_frames(opened))
        return pixels(opened, frame)


def _frame_of_video(path: Path, frame: int) -> Picture:
    video = VideoFile(path, partial(open_container, path), alpha=True)
    try:
        found = next(islice(video.frames(), frame, None), None) if frame >= 0 else None
        if found is None:
            raise _no_such_frame(path, frame, sum(1 for _ in video.frames()))
        image = found.pixels()
    except av.FFmpegError as error:
        raise unreadable(path, f"reading it failed ({error.strerror})") from error
    finally:
        video.close()
    return picture_of(image)


def _no_such_frame(path: Path, frame: int, count: int) -> MaskanimError:
    return MaskanimError(str(path), f"no frame {frame}", f"one of its {count} frames, counted from 0")
