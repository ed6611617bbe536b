"""Videos, decoded by FFmpeg: every frame upright, with its own time, as far as the file is whole."""

from __future__ import annotations

import logging
import math
import re
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from contextlib import suppress
from fractions import Fraction
from functools import partial
from itertools import chain
from pathlib import Path
from queue import SimpleQueue
from threading import Thread
from typing import TYPE_CHECKING, Any

import av
import av.container
from av.video.stream import VideoStream

from maskanim.errors import MaskanimError
from maskanim.ops import Frame
from maskanim.video.audio import SEARCHABLE, PipedAudio
from maskanim.video.clip import FrameSource, SourceFrame
from maskanim.video.container import unreadable, video_stream
from maskanim.video.pixels import Matrix, TimedVideoFrame, deinterlaced, describe_colours, display_matrix, to_rgb

if TYPE_CHECKING:
    VideoPacket = av.Packet[VideoStream]
    AnyPacket = av.Packet[Any]

LOG = logging.getLogger(__name__)

STILLS_RATE = 25  # frames per second of what states no rate: strips, folders, and some streams
MOST_RATE = 1000  # frames per second; what is stated beyond is the tick of a clock
# Formats that state how long they are; for others FFmpeg guesses.
STATING = frozenset({"avi", "matroska", "mov", "mxf"})
JOINT = 3  # packets, at most, from one that is marked as corrupt to a joint of two transport streams that explains it
SECONDS_TO_END = 0.5  # of a thread that reads a camera or a pipe

HEAD = 1 << 16  # bytes in which an ASF file has its properties
TAIL = 1 << 17  # more than a page of Ogg can take
PAGE_HEAD, LAST_PAGE = 27, 4  # RFC 3533, section 6
ASF_PROPERTIES = bytes.fromhex("a1dcab8c47a9cf118ee400c00c205365")
TS_PACKETS = ((188, 0), (192, 4), (204, 0))  # bytes of one, and where its sync byte is; M2TS puts a time before it
# With these, a packet's time is its frame's time and decoding can begin at any key frame.
SEARCHABLE_CODECS = frozenset({"av1", "h264", "hevc", "mjpeg", "mpeg4", "prores", "vp8", "vp9"})


class VideoFile(FrameSource):
    """A video that FFmpeg decodes.

    Args:
        path: the file, or what messages call it.
        opener: opens it; called again when it is read again.
        container: the file, if it is open already.
        whole: refuse a video of which anything is missing, when its end is reached, instead of keeping the rest.
        once: it can be read only once, as it comes.
        live: as `once`, and the time of its first frame becomes zero.
        track: which of its video tracks, counted from 1; see `container.video_stream`.
        alpha: frames are RGBA where the video has alpha.

    Raises:
        MaskanimError: it cannot be opened, there is no video in it, or it is smaller than 64x64.
    """

    def __init__(
        self,
        path: Path,
        opener: Callable[[], av.container.InputContainer],
        container: av.container.InputContainer | None = None,
        *,
        whole: bool = False,
        once: bool = False,
        live: bool = False,
        track: int | None = None,
        alpha: bool = False,
    ) -> None:
        self.path, self.once, self._track = path, once or live, track
        self.audio: PipedAudio | None = None
        self._open, self._whole, self._live, self._alpha = opener, whole, live, alpha
        self._begun = False
        self._feed: Feed | None = None
        self._told: set[str] = set()
        self._matrix: Matrix | None = None
        self.container = container or opener()
        try:
            self._describe(video_stream(path, self.container, track))
        except BaseException:
            self.container.close()
            raise

    def _describe(self, stream: VideoStream) -> None:
        if not stream.time_base:
            raise unreadable(self.path, "a video without a time base")
        self.time_base, self._pixel_aspect = Fraction(stream.time_base), stream.sample_aspect_ratio
        self._size = stream.width, stream.height
        rates = (stream.average_rate, stream.guessed_rate)
        self.rate = Fraction(next((rate for rate in rates if rate and rate < MOST_RATE), STILLS_RATE))
        start = self._start(stream)
        self.first = 0 if self._live else start or 0
        self._step = max(1, round(1 / (self.rate * self.time_base)))
        self.frame_count = stream.frames or None
        if not self.frame_count and self.container.duration:
            self.frame_count = self._estimate(start)

    def _start(self, stream: VideoStream) -> int | None:
        """When it begins, in ticks; a short one, of which FFmpeg does not know it, is looked into."""
        if stream.start_time is None and not self.once:
            self._begun = True
            with suppress(av.FFmpegError):
                return next((packet.pts for packet in self.container.demux(stream) if packet.pts is not None), None)
        return stream.start_time

    def _estimate(self, start: int | None) -> int | None:
        """How many frames there are by the length; None where that is the time of an end and the start is unknown."""
        begin, length = self.container.start_time, Fraction(self.container.duration or 0, av.time_base)
        if "matroska" in self.container.format.name:
            if begin is None and start is None:
                return None
            length -= Fraction(begin, av.time_base) if begin is not None else (start or 0) * self.time_base
        return max(1, round(length * self.rate))

    def frames(self, since: int | None = None) -> Iterator[SourceFrame]:
        """See `FrameSource`.

        Timestamps are the file's own; a frame without one, or with one that does not come after the frame before,
        directly follows that frame.

        Raises:
            MaskanimError: no frame can be decoded, or, of a video that has to be whole, not every frame.
        """
        frames = self._frames(since)
        if self.once:
            frames = self._feed = Feed(frames)
        return frames

    def _frames(self, since: int | None) -> Iterator[SourceFrame]:
        if self._begun and not self.once:
            self._reopen()
        self._begun = True
        decoding = self._decoding()
        frames = self._sized(decoding.frames())
        if since is not None and since > self.first and not self.once and decoding.searchable:
            found = decoding.frames_from_key(since)
            if found is None:  # without an index in the file, the search may end behind what it was for
                self._reopen()
                decoding = self._decoding()
            frames = found or self._sized(decoding.frames())
        for frame, pts, duration in deinterlaced(self._timed(decoding, frames)):
            yield SourceFrame(partial(self._picture, frame), pts, duration)
        self._report(decoding)

    def _decoding(self) -> _Decoding:
        stream = video_stream(self.path, self.container, self._track)
        return _Decoding(stream, self.container, self.audio, self._step)

    def _sized(self, frames: Iterator[av.VideoFrame]) -> Iterator[av.VideoFrame]:
        """The frames from the first on, which says how large all are to be."""
        for i, frame in enumerate(frames):
            if i == 0:
                self._size = frame.width, frame.height
            yield frame

    def _picture(self, frame: av.VideoFrame) -> Frame:
        if self._matrix is None:
            self._matrix = display_matrix(frame)
        return to_rgb(frame, self._matrix, self._pixel_aspect, self._size, alpha=self._alpha)

    def _tell(self, frame: av.VideoFrame) -> None:
        """Say, once, what is done to frames beside decoding."""
        (width, height), colours = self._size, describe_colours(frame)
        resized = (frame.width, frame.height) != self._size
        notes = {
            "interlaced; shown deinterlaced": frame.interlaced_frame,
            f"{colours}; shown as SDR, in BT.709": bool(colours),
            f"its frames change their size; all are shown at {width}x{height}": resized,
        }
        for line in [line for line, holds in notes.items() if holds and line not in self._told]:
            self._told.add(line)
            LOG.info("%s: %s", self.path, line)

    def _timed(self, decoding: _Decoding, frames: Iterator[av.VideoFrame]) -> Iterator[TimedVideoFrame]:
        last, end, zero = None, self.first, 0
        for frame in frames:
            self._tell(frame)
            pts = decoding.time(frame)
            if last is None and self._live:
                zero = pts or 0
            pts = None if pts is None else pts - zero
            last = end if pts is None or (last is not None and pts <= last) else pts
            duration = frame.duration or self._step
            end = last + duration
            yield TimedVideoFrame(frame, last, duration)
        if last is None and self.once:
            expected = "a video that can be read from its beginning on, such as mkv, webm or ts"
            next_step = "An mp4 whose index is at its end has to be given as a file"
            raise MaskanimError(str(self.path), "a pipe of which no frame could be decoded", expected, next_step)
        if last is None:
            raise unreadable(self.path, "a video of which no frame could be decoded")

    def _report(self, decoding: _Decoding) -> None:
        missing = decoding.missing()
        if not missing and not self.once:
            with suppress(OSError):  # it has gone meanwhile
                missing = missing_end(self.path, decoding.formats, decoding.packet_size)
        if missing and self._whole:
            raise unreadable(self.path, missing)
        if missing:
            self.warning = f"{self.path}: {missing}; what could be read is kept"

    def _reopen(self) -> None:
        self.container.close()
        self.container = self._open()

    def close(self) -> None:
        """See `FrameSource`; what is being read from by a thread that is stuck stays open."""
        if self._feed is None or self._feed.close():
            self.container.close()

    def stop(self) -> None:
        if self._feed:
            self._feed.stop()


class _Decoding:
    """One pass through a video, and what went wrong on the way.

    Args:
        step: ticks for which a frame is usually shown.

    Attributes:
        formats: FFmpeg's names of the container.
        packet_size: bytes of the last packet.
    """

    def __init__(
        self, stream: VideoStream, container: av.container.InputContainer, audio: PipedAudio | None, step: int
    ) -> None:
        self._container, self._stream, self._audio, self._step = container, stream, audio, step
        self.formats = frozenset(container.format.name.split(","))
        self.packet_size = 0
        self._packet_times: deque[int] = deque()
        self._whole = 0  # packets decoded without an error
        self._reached: float = -math.inf  # the end of the last of them, in ticks
        self._damaged = self._sought = self._seen = False
        self._suspected = 0  # packets in which a joint may still explain one that is marked as corrupt
        self._last_dts: int | None = None

    @property
    def searchable(self) -> bool:
        """Whether decoding can begin at a key frame, with the same result as from the beginning."""
        return not SEARCHABLE.isdisjoint(self.formats) and self._stream.codec.canonical_name in SEARCHABLE_CODECS

    def frames(self) -> Iterator[av.VideoFrame]:
        """Every frame that can be decoded."""
        return self._decoded(self._demuxed())

    def frames_from_key(self, since: int) -> Iterator[av.VideoFrame] | None:
        """Those from a key frame on that is shown at a time, in ticks, or before; None if none can be decoded first."""
        self._container.seek(since, stream=self._stream)
        packets = self._demuxed()
        first = next((packet for packet in packets if packet.size), None)
        if first is None or not first.is_keyframe or first.pts is None or first.pts > since:
            return None
        self._sought, key = True, first.pts
        # What is shown before the key frame is made from frames that were not decoded.
        decoded = (frame for frame in self._decoded(chain([first], packets)) if frame.pts is None or frame.pts >= key)
        begin = next(decoded, None)
        return None if begin is None or begin.pts != key else chain([begin], decoded)

    def _demuxed(self) -> Iterator[VideoPacket]:
        streams = (self._stream, self._audio.stream) if self._audio else (self._stream,)
        packets = self._container.demux(*streams)
        while (packet := self._next(packets)) is not None:
            if self._audio and packet.stream_index == self._audio.stream.index:
                self._audio.put(packet)
            else:
                yield packet
        if self._audio:
            self._audio.complete()

    def _next(self, packets: Iterator[AnyPacket]) -> AnyPacket | None:
        try:
            return next(packets, None)
        except (av.FFmpegError, OSError):  # a broken tail, or a pipe or a disk that failed
            self._damaged = True
            return None

    def _decoded(self, packets: Iterator[VideoPacket]) -> Iterator[av.VideoFrame]:
        for packet in packets:
            if packet.size:  # an empty packet would end the decoding
                yield from self._decode(packet)
        try:
            yield from self._stream.decode(None)
        except av.FFmpegError:
            self._damaged = True

    def _decode(self, packet: VideoPacket) -> list[av.VideoFrame]:
        try:
            frames = packet.decode()
        except av.FFmpegError:
            self._damaged |= self._seen or packet.is_keyframe  # a broadcast may well start before its first key frame
            return []
        self._seen |= bool(frames)
        self._judge(packet)
        self._whole += not packet.is_corrupt
        at = packet.dts if packet.pts is None else packet.pts
        self._reached, self.packet_size = max(self._reached, (at or 0) + (packet.duration or self._step)), packet.size
        if "avi" in self.formats and packet.dts is not None:
            self._packet_times.append(packet.dts)
        return frames

    def _judge(self, packet: VideoPacket) -> None:
        """Whether what a packet says of itself is damage."""
        # Where two transport streams were joined, one of the last packets of the first seems to lack what follows.
        if self._suspected:
            back = packet.dts is not None and self._last_dts is not None and packet.dts <= self._last_dts
            self._suspected -= 1
            if packet.is_keyframe and back:
                self._suspected = 0
            elif not self._suspected:
                self._damaged = True
        if packet.is_corrupt and "mpegts" in self.formats:
            self._suspected = self._suspected or JOINT
        elif packet.is_corrupt:
            self._damaged = True
        self._last_dts = packet.dts

    def time(self, frame: av.VideoFrame) -> int | None:
        """When a decoded frame is shown, in ticks; None if the file does not say."""
        # An AVI has one time per packet, in decoding order, and that is no B-frame's own.
        return self._packet_times.popleft() if self._packet_times else frame.pts

    def missing(self) -> str:
        """What of the file could not be read, now that its end is reached; empty if nothing is known to be missing."""
        self._damaged |= bool(self._suspected)
        duration, promised = self._promised_end(), self._stream.frames
        counted = bool(promised) and not self._sought and "mov" in self.formats
        # A clip trimmed without encoding still lists every frame, but its duration is that of what is left.
        short = duration is not None and self._reached + self._step <= (self._stream.start_time or 0) + duration
        short = short and not STATING.isdisjoint(self.formats)
        if counted and (self._damaged or (short and self._whole < promised)):
            return f"damaged or cut short: {self._whole} of {promised} frames could be read"
        if short and not counted and duration and self._stream.time_base:
            end = duration + (self._stream.start_time or 0)
            read, said = ((ticks * self._stream.time_base) for ticks in (Fraction(self._reached), end))
            return f"cut short: it ends after {float(read):.2f} of {float(said):.2f} s"
        return "damaged: not every frame could be read" if self._damaged else ""

    def _promised_end(self) -> int | None:
        """The duration in ticks that the file states for its video."""
        if "matroska" not in self.formats:
            return self._stream.duration
        # Of a track this alone tells; beside it there is the duration of all tracks together.
        stated = re.fullmatch(r"(\d+):(\d+):(\d+\.?\d*)", self._stream.metadata.get("DURATION", ""))
        if not stated or not self._stream.time_base:
            return None
        hours, minutes, seconds = (Fraction(part) for part in stated.groups())
        end = round((hours * 3600 + minutes * 60 + seconds) / self._stream.time_base)
        return end - (self._stream.start_time or 0)  # FFmpeg states the end, others the length


class Feed(Iterator[SourceFrame]):
    """The frames of a camera or a pipe, read in a thread, one whenever it is asked for: whoever waits can be freed.

    A camera that is stuck in its driver, or a pipe to which nobody writes, cannot be interrupted: the thread stays in
    it, and ends with the process.
    """

    def __init__(self, items: Iterator[SourceFrame]) -> None:
        self._items = items
        # These queues, unlike others, may be used by a signal's handler that interrupts their use.
        self._asked: SimpleQueue[bool] = SimpleQueue()
        self._came: SimpleQueue[SourceFrame | BaseException] = SimpleQueue()
        self._thread = Thread(target=self._read, name="maskanim-feed", daemon=True)

    def __next__(self) -> SourceFrame:
        if self._thread.ident is None:
            self._thread.start()
        self._asked.put(True)
        item = self._came.get()
        if isinstance(item, BaseException):
            raise item
        return item

    def _read(self) -> None:
        while self._asked.get():
            try:
                self._came.put(next(self._items))
            except BaseException as error:
                self._came.put(error)

    def stop(self) -> None:
        """Let who waits for an item go, as if there were no other; any thread, or a signal's handler, may call this."""
        self._came.put(StopIteration())

    def close(self) -> bool:
        """End the thread; whether it has ended, so that what it reads from can be closed."""
        self._asked.put(False)
        if self._thread.ident is not None:
            self._thread.join(SECONDS_TO_END)
        return not self._thread.is_alive()


def missing_end(path: Path, formats: Iterable[str], packet: int) -> str:
    """What tells that a file was cut, for containers that do not state a length; empty if nothing does.

    Of transport streams, program streams and raw codecs that were cut between two packets nothing tells.

    Args:
        formats: FFmpeg's names of its container.
        packet: bytes of one of its video's packets, which for DV are all of one size.
    """
    size = path.stat().st_size
    with path.open("rb") as file:
        head = file.read(HEAD)
        file.seek(max(0, size - TAIL))
        tail = file.read()
    if "asf" in formats:
        at = head.find(ASF_PROPERTIES)
        recording = at < 0 or head[at + 88] & 1  # one under way does not know its size
        stated = 0 if recording else int.from_bytes(head[at + 40 : at + 48], "little")
        return f"cut short: it has {size} of {stated} bytes" if stated > size else ""
    aligned = [n for n, sync in TS_PACKETS if head[sync : sync + 1] == head[sync + n : sync + n + 1] == b"G"]
    ends = {
        "dv": not packet or size % packet == 0,
        "gif": tail.rstrip(b"\0").endswith(b";"),
        "mpegts": not aligned or size % aligned[0] == 0,
        "ogg": _has_last_page(tail),
    }
    return "" if all(ends.get(name, True) for name in formats) else "cut short: the end of the file is missing"


def _has_last_page(tail: bytes) -> bool:
    page = tail[tail.rfind(b"OggS") :]
    if len(page) < PAGE_HEAD:
        return False
    sizes = page[PAGE_HEAD : PAGE_HEAD + page[26]]
    return bool(page[5] & LAST_PAGE) and len(page) >= PAGE_HEAD + page[26] + sum(sizes)
