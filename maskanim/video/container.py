"""Files in FFmpeg's hands: opening them, and the streams in them."""

from __future__ import annotations

import errno
from pathlib import Path
from typing import Any

import av
import av.container
from av.audio.stream import AudioStream
from av.stream import Disposition
from av.video.stream import VideoStream

from maskanim.errors import MaskanimError
from maskanim.video.pictures import brand, require_size
from maskanim.video.pixels import sane_aspect

TEXT_FORMATS = frozenset({"adf", "bin", "idf", "tty", "xbin"})  # FFmpeg plays any bytes with such a name as ANSI art
# These name other files, on this machine or another, which nobody has given.
PLAYLISTS = frozenset({"concat", "dash", "hls", "rtp", "rtsp", "sap", "sdp", "webm_dash_manifest"})
OPTIONS = {"format_whitelist": ",".join(sorted(av.formats_available - PLAYLISTS))}
# Tags that are not UTF-8 make no video unreadable. PyAV 19 keeps such bytes by itself, and has no such option.
TAGS: dict[str, Any] = {"metadata_errors": "replace"} if int(av.__version__.split(".")[0]) < 19 else {}
DRIVING_KINDS = "a video, a strip of square frames, a picture, or a folder of pictures"


def open_container(path: Path) -> av.container.InputContainer:
    """Open a file with FFmpeg.

    Raises:
        MaskanimError: FFmpeg does not know it, or it is incomplete.
    """
    try:
        # FFmpeg would take the name "10:30.mp4" for a protocol, and "face%02d.png" for a series of files.
        name, options = str(path.absolute()), OPTIONS | {"pattern_type": "none"}
        return av.open(name, container_options=options, **TAGS)
    except (av.FFmpegError, OSError) as error:
        if isinstance(error, av.error.InvalidDataError) and brand(path):
            raise unreadable(path, "an incomplete mp4 or mov, whose index (moov) is missing") from error
        next_step = "Check that it is a video and plays"
        listed = "a list of other files, or " if error.errno == errno.EINVAL else ""
        received = f"{listed}not a video that FFmpeg can open ({error.strerror})"
        raise MaskanimError(str(path), received, DRIVING_KINDS, next_step) from error


def holds_picture(container: av.container.InputContainer) -> bool:
    """Whether FFmpeg took a picture for a video of one frame."""
    return container.format.name == "image2" or container.format.name.endswith("_pipe")


def unreadable(path: Path, received: str) -> MaskanimError:
    """The error for a video that is not all there."""
    return MaskanimError(str(path), received, "a complete video", "Copy, download or record it again")


def video_stream(path: Path, container: av.container.InputContainer, number: int | None = None) -> VideoStream:
    """The moving picture of an opened file.

    Args:
        number: which of its video tracks, counted from 1; None takes one of more than one frame if there is any, of
            these the one that the file calls the default, of several the one with the most pixels.

    Raises:
        MaskanimError: there is none, or none of this number, FFmpeg cannot decode it, or it is smaller than 64x64.
    """
    # FFmpeg would play a text file as ANSI art, and calls a cover picture a video.
    moving = [stream for stream in container.streams.video if not stream.disposition & Disposition.attached_pic]
    if not moving or container.format.name in TEXT_FORMATS:
        raise MaskanimError(str(path), "a file without video", DRIVING_KINDS, "Check that it plays with a picture")
    if number is not None and not 1 <= number <= len(moving):
        expected = f"one of its {len(moving)} video tracks, counted from 1"
        raise MaskanimError(str(path), f"no video track {number}", expected)
    chosen = max(moving, key=_preference) if number is None else moving[number - 1]
    if chosen.codec_context is None:
        next_step = "Convert it to H.264, for example with ffmpeg"
        raise MaskanimError(str(path), "a video that FFmpeg cannot decode", "a codec it knows", next_step)
    require_size(path, round(chosen.width * sane_aspect(chosen.sample_aspect_ratio)), chosen.height)
    return chosen


def _preference(stream: VideoStream) -> tuple[bool, bool, bool, int]:
    if stream.codec_context is None:
        return False, False, False, 0
    default = bool(stream.disposition & Disposition.default)
    # One that shows one picture is a cover, which not every file calls so.
    moves = str(stream.frames or stream.metadata.get("NUMBER_OF_FRAMES")) != "1"
    return True, moves, default, stream.width * stream.height


def audio_stream(path: Path, container: av.container.InputContainer, number: int | None = None) -> AudioStream | None:
    """An audio track of an opened file.

    Args:
        number: which, counted from 1; None takes the one that the file calls the default, else the first.

    Returns:
        The track; None where there is none, or none by default that FFmpeg can decode.

    Raises:
        MaskanimError: there is no track of this number, or FFmpeg cannot decode it.
    """
    tracks = container.streams.audio
    if number is not None:
        if not 1 <= number <= len(tracks) or tracks[number - 1].codec_context is None:
            received = f"no audio track {number} that FFmpeg can decode"
            raise MaskanimError(str(path), received, f"one of its {len(tracks)} audio tracks, counted from 1")
        return tracks[number - 1]
    decodable = [stream for stream in tracks if stream.codec_context is not None]
    default = (stream for stream in decodable if stream.disposition & Disposition.default)
    return next(default, decodable[0] if decodable else None)
