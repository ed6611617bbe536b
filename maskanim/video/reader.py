"""Reading driving clips: videos, strips and folders of pictures, frame by frame with exact times."""

from __future__ import annotations

import math
import re
from collections import deque
from collections.abc import Iterator
from fractions import Fraction
from pathlib import Path
from typing import NamedTuple

import av
import av.container
import numpy as np
from av.audio.stream import AudioStream
from av.stream import Disposition
from av.video.stream import VideoStream

from maskanim.errors import MaskanimError
from maskanim.ops import Frame
from maskanim.video.picture import PICTURE_SUFFIXES, FilePath, read_picture, require_file, require_size

STILLS_RATE = 25  # frames per second of strips and folders, which state none
DRIVING_KINDS = "a video, a strip of square frames, or a folder of pictures"


class TimedFrame(NamedTuple):
    """A frame and its time.

    Attributes:
        image: (H, W, 3) uint8 RGB.
        pts: when it is shown, in units of the clip's ``time_base``.
    """

    image: Frame
    pts: int


class ShownFrame(NamedTuple):
    """A frame with its time and duration, both in ticks of the clip's time base."""

    image: Frame
    pts: int
    duration: int


class Clip:
    """A driving clip: an iterator over its frames, in order of time and once, and a context manager.

    One frame is held in memory at a time, whatever the length (a strip is one picture, held whole).

    Attributes:
        path: the file or folder.
        time_base: seconds per tick of every ``pts``.
        rate: frames per second; the average where it varies.
        frame_count: an estimate for progress bars; None if unknown.
        audio_rate: samples per second of the audio that can go with it; None without audio.
        frame_duration: ticks for which the frame read last is shown.
        finished: whether every frame has been read.
    """

    def __init__(
        self,
        path: Path,
        frames: Iterator[ShownFrame],
        time_base: Fraction,
        rate: Fraction,
        frame_count: int | None,
        container: av.container.InputContainer | None = None,
    ) -> None:
        self.path, self.time_base, self.rate, self.frame_count = path, time_base, rate, frame_count
        audio = audio_stream(container) if container else None
        self.audio_rate = audio.rate if audio else None
        self.frame_duration = 0
        self.finished = False
        self._frames = frames
        self._container = container

    def __iter__(self) -> Clip:
        return self

    def __next__(self) -> TimedFrame:
        """The next frame.

        Raises:
            MaskanimError: the file is damaged, or ends before all of its frames.
        """
        try:
            image, pts, self.frame_duration = next(self._frames)
        except StopIteration:
            self.finished = True
            raise
        except av.FFmpegError as error:
            raise _unreadable(self.path, f"reading it failed ({error.strerror})") from error
        return TimedFrame(image, pts)

    def close(self) -> None:
        """Close the file; there are no frames to read afterwards."""
        self._frames = iter(())
        if self._container:
            self._container.close()

    def __enter__(self) -> Clip:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()


def open_clip(path: FilePath, stills_rate: Fraction | int = STILLS_RATE) -> Clip:
    """Open a driving clip.

    Args:
        path: a video that FFmpeg decodes; or a strip, one picture whose width is a whole multiple of its height, each
            square being a frame; or a folder of pictures, taken in natural order (2 before 10).
        stills_rate: frames per second of a strip or a folder.

    Returns:
        The clip; its frames are upright as the rotation recorded by a phone says. Timestamps are the file's own; a
        frame without one, or with one that does not come after the frame before, directly follows that frame.

    Raises:
        MaskanimError: there is no such file, it is none of these, it is incomplete, or it is smaller than 64x64.
    """
    path = Path(path)
    if path.is_dir():
        return _folder_clip(path, Fraction(stills_rate))
    require_file(path, DRIVING_KINDS)
    container = open_container(path)
    if container.format.name == "image2" or container.format.name.endswith("_pipe"):
        container.close()
        return _strip_clip(path, Fraction(stills_rate))
    try:
        return _video_clip(path, container)
    except MaskanimError:
        container.close()
        raise


def _folder_clip(folder: Path, rate: Fraction) -> Clip:
    visible = (path for path in folder.iterdir() if not path.name.startswith("."))
    pictures = [path for path in visible if path.suffix.lower() in PICTURE_SUFFIXES]
    if not pictures:
        kinds = ", ".join(sorted(PICTURE_SUFFIXES))
        raise MaskanimError(str(folder), "a folder without pictures", DRIVING_KINDS, f"Pictures end in {kinds}")
    pictures.sort(key=lambda path: natural_order(path.name))
    return _stills(folder, map(read_picture, pictures), len(pictures), rate)


def natural_order(name: str) -> list[str | int]:
    """A sort key by which ``frame10`` comes behind ``frame9``."""
    return [int(part) if part.isdecimal() else part.lower() for part in re.split(r"(\d+)", name)]


def _strip_clip(path: Path, rate: Fraction) -> Clip:
    strip = read_picture(path)
    height, width = strip.shape[:2]
    if width % height:
        received = f"a picture of {width}x{height} pixels"
        expected = "a strip of square frames, its width a whole multiple of its height"
        raise MaskanimError(str(path), received, expected, "Crop it, or give a video")
    count = width // height
    return _stills(path, iter(np.split(strip, count, axis=1)), count, rate)


def _stills(path: Path, images: Iterator[Frame], count: int, rate: Fraction) -> Clip:
    shown = (ShownFrame(np.ascontiguousarray(image), i, 1) for i, image in enumerate(images))
    return Clip(path, shown, 1 / rate, rate, count)


def open_container(path: Path) -> av.container.InputContainer:
    """The file in FFmpeg's hands, or one clear refusal."""
    try:
        # FFmpeg would take the name "10:30.mp4" for a protocol, and "face%02d.png" for a series of files.
        name, options = str(path.absolute()), {"pattern_type": "none"}
        return av.open(name, container_options=options, metadata_errors="replace")
    except av.FFmpegError as error:
        if isinstance(error, av.error.InvalidDataError) and _is_mp4(path):
            raise _unreadable(path, "an incomplete mp4 or mov, whose index (moov) is missing") from error
        next_step = "Check that it is a video and plays"
        received = f"not a video that FFmpeg can open ({error.strerror})"
        raise MaskanimError(str(path), received, DRIVING_KINDS, next_step) from error


def _is_mp4(path: Path) -> bool:
    with path.open("rb") as file:
        return file.read(8)[4:] == b"ftyp"


def _unreadable(path: Path, received: str) -> MaskanimError:
    return MaskanimError(str(path), received, "a complete video", "Copy, download or record it again")


def _video_clip(path: Path, container: av.container.InputContainer) -> Clip:
    stream = video_stream(path, container)
    rate = stream.average_rate or stream.guessed_rate or Fraction(STILLS_RATE)
    if stream.time_base is None:
        raise _unreadable(path, "a video without a time base")
    frames = _VideoFrames(path, container, stream, step=max(1, round(1 / (rate * stream.time_base))))
    return Clip(path, iter(frames), stream.time_base, rate, _frame_count(container, stream, rate), container)


def video_stream(path: Path, container: av.container.InputContainer) -> VideoStream:
    """The moving picture of an opened file.

    Raises:
        MaskanimError: there is none.
    """
    # FFmpeg would play a text file as ANSI art, and calls a cover picture a video.
    moving = [stream for stream in container.streams.video if not stream.disposition & Disposition.attached_pic]
    if not moving or container.format.name == "tty":
        raise MaskanimError(str(path), "a file without video", DRIVING_KINDS, "Check that it plays with a picture")
    if moving[0].codec_context is None:
        next_step = "Convert it to H.264, for example with ffmpeg"
        raise MaskanimError(str(path), "a video that FFmpeg cannot decode", "a codec it knows", next_step)
    require_size(path, moving[0].width, moving[0].height)
    return moving[0]


def audio_stream(container: av.container.InputContainer) -> AudioStream | None:
    """The first audio that FFmpeg can decode."""
    return next((stream for stream in container.streams.audio if stream.codec_context is not None), None)


def _frame_count(container: av.container.InputContainer, stream: VideoStream, rate: Fraction) -> int | None:
    if stream.frames:
        return stream.frames
    return round(Fraction(container.duration, av.time_base) * rate) if container.duration else None


class _VideoFrames:
    """The frames of a video, upright, each later than the one before; raises at the end if some could not be read."""

    def __init__(self, path: Path, container: av.container.InputContainer, stream: VideoStream, step: int) -> None:
        self._path, self._container, self._stream, self._step = path, container, stream, step
        self._format = container.format.name
        self._packet_times: deque[int] = deque()
        self._whole = 0  # packets decoded without an error
        self._reached: float = -math.inf  # the end of the last of them, in ticks
        self._damaged = False

    def __iter__(self) -> Iterator[ShownFrame]:
        last, end = None, self._stream.start_time or 0
        for frame in self._decode():
            pts = self._time(frame)
            last = end if pts is None or (last is not None and pts <= last) else pts
            duration = frame.duration or self._step
            end = last + duration
            yield ShownFrame(upright(frame), last, duration)
        if last is None:
            raise _unreadable(self._path, "a video of which no frame could be decoded")
        self._require_whole()

    def _time(self, frame: av.VideoFrame) -> int | None:
        # An AVI has one time per packet, in decoding order, and that is no B-frame's own.
        return self._packet_times.popleft() if self._packet_times else frame.pts

    def _decode(self) -> Iterator[av.VideoFrame]:
        for packet in self._container.demux(self._stream):
            if packet.size:  # an empty packet would end the decoding
                yield from self._decode_packet(packet)
        yield from self._stream.decode(None)

    def _decode_packet(self, packet: av.Packet[VideoStream]) -> list[av.VideoFrame]:
        self._damaged |= packet.is_corrupt
        try:
            frames = packet.decode()
        except av.error.InvalidDataError:  # judged at the end: a broadcast may well start before its first key frame
            self._damaged = True
            return []
        self._whole += not packet.is_corrupt
        self._reached = max(self._reached, (packet.pts or 0) + (packet.duration or 0))
        if self._format == "avi" and packet.dts is not None:
            self._packet_times.append(packet.dts)
        return frames

    def _require_whole(self) -> None:
        """Compare what could be read with what the index of an mp4 promises; other formats promise nothing reliable."""
        promised, duration = self._stream.frames, self._stream.duration
        if "mov" not in self._format or not promised or duration is None:
            return
        # A clip trimmed without encoding still lists every frame, but its duration is that of what is left.
        short = self._whole < promised and self._reached + self._step <= (self._stream.start_time or 0) + duration
        if self._damaged or short:
            received = f"damaged or cut short: {self._whole} of {promised} frames could be read"
            raise _unreadable(self._path, received)


def upright(frame: av.VideoFrame) -> Frame:
    """A decoded frame as (H, W, 3) uint8 RGB, turned as its file says."""
    image = frame.to_ndarray(format="rgb24")
    return np.ascontiguousarray(np.rot90(image, round(frame.rotation / 90)), np.uint8)
