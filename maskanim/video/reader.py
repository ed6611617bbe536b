"""Opening driving clips of every kind, with exact times."""

from __future__ import annotations

import os
from fractions import Fraction
from functools import partial
from pathlib import Path

from maskanim.errors import MaskanimError
from maskanim.video.audio import AudioTrack, FileAudio, PipedAudio
from maskanim.video.clip import Clip, Footage, ShownFrame, TimedFrame
from maskanim.video.container import DRIVING_KINDS, audio_stream, holds_picture, open_container, video_stream
from maskanim.video.feeds import is_feed, open_feed
from maskanim.video.film import STILLS_RATE, Film, upright
from maskanim.video.picture import STILL_BRANDS, FilePath, brand, require_file
from maskanim.video.stills import folder_of_pictures, natural_order, picture_clip
from maskanim.video.timing import Looped, Resampled, Trimmed, parse_rate, parse_time

__all__ = [
    "Clip",
    "ShownFrame",
    "TimedFrame",
    "arrange_clip",
    "audio_stream",
    "natural_order",
    "open_clip",
    "open_container",
    "upright",
    "video_stream",
]

Time = str | float | Fraction


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
        whole: refuse a video of which not everything can be read, once that shows, instead of keeping what can be.

    Returns:
        The clip; its frames are upright as the rotation recorded by a phone says. Timestamps are the file's own; a
        frame without one, or with one that does not come after the frame before, directly follows that frame. A
        camera's begin at zero. Of a video that is damaged or cut short, every frame that can be decoded is shown, and
        `Clip.warning` says afterwards what is missing.

    Raises:
        MaskanimError: there is no such file, it is none of these, nothing of it can be read, it is smaller than 64x64,
            or a time is wrong.
    """
    footage = _footage(path, Fraction(stills_rate), whole)
    try:
        return arrange_clip(footage, start=start, end=end, fps=fps, loop=loop, duration=duration, audio=audio)
    except BaseException:
        footage.close()
        raise


def _footage(path: FilePath, rate: Fraction, whole: bool) -> Footage:
    if is_feed(path):
        return open_feed(os.fspath(path), whole=whole)
    path = Path(path)
    if path.is_dir():
        return folder_of_pictures(path, rate)
    require_file(path, DRIVING_KINDS)
    if _is_webp(path) or brand(path) in STILL_BRANDS:
        return picture_clip(path, rate)
    container = open_container(path)
    if holds_picture(container):
        container.close()
        return picture_clip(path, rate)
    return Film(path, partial(open_container, path), container, whole=whole)


def _is_webp(path: Path) -> bool:
    with path.open("rb") as file:
        head = file.read(12)
    return head[:4] == b"RIFF" and head[8:] == b"WEBP"


def arrange_clip(
    footage: Footage,
    *,
    start: Time | None = None,
    end: Time | None = None,
    fps: Time | None = None,
    loop: int = 1,
    duration: Time | None = None,
    audio: int | None = None,
) -> Clip:
    """The clip in which a footage is cut, then brought to a rate, then repeated; see `open_clip` for the arguments.

    Raises:
        MaskanimError: one of them is wrong, or does not suit the footage.
    """
    shown, cut, looped = footage, None, None
    if start is not None or end is not None:
        shown = cut = Trimmed(shown, _time(start, "start"), _time(end, "end"))
    if fps is not None:
        shown = Resampled(shown, parse_rate(fps))
    if loop != 1 or duration is not None:
        times = loop if duration is None else None
        shown = looped = Looped(shown, times, _time(duration, "duration"))
    return Clip.of(shown, _audio(footage, audio, cut, looped))


def _time(given: Time | None, subject: str) -> Fraction | None:
    return None if given is None else parse_time(given, subject)


def _audio(footage: Footage, number: int | None, cut: Trimmed | None, looped: Looped | None) -> AudioTrack | None:
    if not isinstance(footage, Film):
        if number is not None:
            raise MaskanimError(str(footage.path), "pictures without audio", "no audio track to choose")
        return None
    stream = audio_stream(footage.path, footage.container, number)
    if stream is None:
        return None
    start, end = (cut.start, cut.end) if cut else (None, None)
    if footage.once:
        footage.audio = PipedAudio(stream, start, end)
        return footage.audio
    lap = (lambda: looped.lap) if looped else None
    return FileAudio(footage.path, number, stream.rate, start, end, lap)
