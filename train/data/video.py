"""Random access to videos: which frames there are, found without decoding, and a way to each from its key frame."""

from __future__ import annotations

from abc import abstractmethod
from bisect import bisect_right
from collections.abc import Container, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from itertools import chain
from pathlib import Path

import av
import av.container
import numpy as np
from av.video.stream import VideoStream
from numpy.typing import NDArray

from maskanim.closing import Closing
from maskanim.errors import MaskanimError
from maskanim.ops import Frame
from maskanim.video.container import open_container, unreadable, video_stream
from maskanim.video.pixels import Matrix, TimedVideoFrame, deinterlaced, display_matrix, to_rgb

# Where a packet's time is its frame's time and every packet has one frame: there, packets can be counted and sought.
CONTAINERS = frozenset({"matroska", "mov"})
CODECS = frozenset({"av1", "h264", "hevc", "mjpeg", "mpeg4", "vp9"})


@dataclass(frozen=True)
class VideoIndex:
    """The frames of a video."""

    count: int  # how many frames are shown; at least one
    # (count,) int64, when each is shown, in ticks and rising; None where only counting the decoded frames tells them
    # apart
    times: NDArray[np.int64] | None
    keys: tuple[int, ...] = ()  # times of the key frames, rising; the first one is where decoding begins

    def key_before(self, time: int) -> int:
        """The time of the last key frame that is shown at `time` or before it."""
        return self.keys[bisect_right(self.keys, time) - 1]


def index_video(path: Path) -> VideoIndex:
    """Read through a video's packets; decode it only where they do not say enough.

    Raises:
        MaskanimError: it cannot be opened, is cut short, damaged, or without frames.
    """
    with _told(path), open_container(path) as container:
        stream = video_stream(path, container)
        index = _by_packets(path, container, stream)
    return index or _by_decoding(path)


def _by_packets(path: Path, container: av.container.InputContainer, stream: VideoStream) -> VideoIndex | None:
    """None where the packets are no sure account of the frames."""
    if CONTAINERS.isdisjoint(container.format.name.split(",")) or stream.codec.canonical_name not in CODECS:
        return None
    packets = [packet for packet in container.demux(stream) if packet.size]
    _require_whole(path, container, stream, packets)
    shown = [packet for packet in packets if not packet.is_discard]
    times = sorted(packet.pts for packet in shown if packet.pts is not None)
    keys = sorted(packet.pts for packet in packets if packet.is_keyframe and packet.pts is not None)
    if not shown or len(set(times)) < len(shown) or not keys or times[0] < keys[0]:
        return None
    return VideoIndex(len(times), np.array(times, np.int64), tuple(keys))


def _require_whole(
    path: Path, container: av.container.InputContainer, stream: VideoStream, packets: list[av.Packet[VideoStream]]
) -> None:
    """The rule of `maskanim.video.Clip`: an mp4's index promises frames, and they must be there."""
    whole = [packet for packet in packets if not packet.is_corrupt]
    short = False
    if "mov" in container.format.name and stream.duration is not None:
        reached = max(((packet.pts or 0) + 2 * (packet.duration or 0) for packet in whole), default=0)
        # A clip trimmed without encoding still lists every frame, but its duration is that of what is left.
        short = len(whole) < stream.frames and reached <= (stream.start_time or 0) + stream.duration
    if short or len(whole) < len(packets):
        told = f"damaged or cut short: {len(whole)} of {max(stream.frames, len(packets))} frames could be read"
        raise unreadable(path, told)


def _by_decoding(path: Path) -> VideoIndex:
    """For the frames that come out of the decoder, counted."""
    with _told(path), open_container(path) as container:
        stream = video_stream(path, container)
        stream.codec_context.thread_count = 1
        count = sum(1 for _ in container.decode(stream))
    if not count:
        raise unreadable(path, "a video of which no frame could be decoded")
    return VideoIndex(count, None)


class Frames(Closing):
    """The frames of one clip, in the order in which they are shown; a context manager."""

    count: int  # how many there are; at least one

    @abstractmethod
    def read(self, numbers: Sequence[int]) -> list[Frame]:
        """Frames by number, from 0, in the order asked for: (H, W, 3) uint8 RGB.

        Raises:
            MaskanimError: one of them is damaged.
        """

    def close(self) -> None:
        """Close the file."""


class Seeker(Frames):
    """A video, of which no more is decoded than from the key frame before the wanted one.

    Args:
        path, index: the file and what `index_video` said of it.
    """

    def __init__(self, path: Path, index: VideoIndex) -> None:
        self._path, self._index, self.count = path, index, index.count
        self._matrix: Matrix | None = None
        with _told(path):
            self._open()

    def close(self) -> None:
        self._container.close()

    def read(self, numbers: Sequence[int]) -> list[Frame]:
        # What lies between two of the frames is decoded once.
        with _told(self._path):
            found = self._counted(set(numbers)) if self._index.times is None else self._sought(set(numbers))
        return [found[i] for i in numbers]

    def _open(self) -> None:
        self._container = open_container(self._path)
        self._stream = video_stream(self._path, self._container)
        self._stream.codec_context.thread_count = 1  # there is a process for every core already

    def _rgb(self, frame: av.VideoFrame) -> Frame:
        if self._matrix is None:
            self._matrix = display_matrix(frame)
        return to_rgb(frame, self._matrix, self._stream.sample_aspect_ratio)

    def _counted(self, numbers: set[int]) -> dict[int, Frame]:
        """By decoding all frames from the first one on."""
        self._restart()
        found: dict[int, Frame] = {}
        decoded = self._container.decode(self._stream)
        for frame, i, _ in deinterlaced(TimedVideoFrame(frame, i, 1) for i, frame in enumerate(decoded)):
            if i in numbers:
                found[i] = self._rgb(frame)
            if len(found) == len(numbers):
                return found
        raise self._missing(min(numbers - set(found)))

    def _sought(self, numbers: set[int]) -> dict[int, Frame]:
        """Each from its key frame. A whole frame of an interlaced one needs its neighbours: there, all are decoded."""
        assert self._index.times is not None
        times = {int(self._index.times[i]): i for i in sorted(numbers)}
        found: dict[int, Frame] = {}
        frames: Iterator[av.VideoFrame] = iter(())
        reached = None
        for time, number in times.items():
            key = self._index.key_before(time)
            if reached is None or key > reached:
                frames = self._from_key(key, times)
            frame = next((frame for frame in frames if frame.pts is not None and frame.pts >= time), None)
            if frame is None or frame.pts != time or frame.is_corrupt:
                raise self._missing(number)
            if frame.interlaced_frame:
                return self._counted(numbers)
            found[number], reached = self._rgb(frame), time
        return found

    def _from_key(self, key: int, wanted: Container[int]) -> Iterator[av.VideoFrame]:
        """The frames from a key frame on, and possibly some before it."""
        self._container.seek(key, stream=self._stream)
        frames = self._decode(wanted)
        first = next(frames, None)
        if first is not None and first.pts is not None and first.pts <= key:
            return chain((first,), frames)
        self._restart()  # without an index in the file, the search may end behind what it was for
        return self._decode(wanted)

    def _decode(self, wanted: Container[int]) -> Iterator[av.VideoFrame]:
        """Frames from here on; those that no other is made from are left out unless they are wanted."""
        for packet in self._container.demux(self._stream):
            self._stream.codec_context.skip_frame = "DEFAULT" if packet.pts in wanted else "NONREF"
            yield from packet.decode()

    def _restart(self) -> None:
        self._container.close()
        self._open()

    def _missing(self, number: int) -> MaskanimError:
        return unreadable(self._path, f"frame {number} of {self._index.count} cannot be decoded")


@contextmanager
def _told(path: Path) -> Iterator[None]:
    """What FFmpeg cannot read, as an error of ours."""
    try:
        yield
    except (av.FFmpegError, OSError, ValueError) as error:
        reason = getattr(error, "strerror", None) or str(error)
        raise unreadable(path, f"reading it failed ({reason})") from error
