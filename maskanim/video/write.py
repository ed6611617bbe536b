"""Writing a clip with the times and the audio of a driving clip, whole or not at all."""

from __future__ import annotations

import logging
import math
import os
import sys
from abc import ABC, abstractmethod
from collections.abc import Iterable, Iterator
from contextlib import ExitStack, contextmanager, suppress
from fractions import Fraction
from pathlib import Path
from types import TracebackType
from typing import Any, TypeVar

import av
import av.container
import numpy as np
from av.audio.stream import AudioStream
from av.video.stream import VideoStream
from numpy.typing import NDArray

from maskanim.atomic import FULL, check_no_input, check_writable, replacing
from maskanim.closing import Closing
from maskanim.errors import MaskanimError, reason
from maskanim.video.audio import AudioTrack, breaks_pyav, copied, transcoded
from maskanim.video.clip import FINEST, Clip
from maskanim.video.encoding import FORMATS, Encoding, VideoSettings
from maskanim.video.pictures import FilePath

LOG = logging.getLogger(__name__)
Writer = TypeVar("Writer", bound="FrameWriter")


def check_output(path: FilePath, inputs: Iterable[FilePath] = (), *, alpha: bool = False) -> Path:
    """Check, before any work, that a clip can be written.

    Args:
        path: where the clip is to go; an existing file there is allowed, and left alone.
        inputs: files that must not be overwritten.
        alpha: whether it is to carry alpha.

    Returns:
        The path with symbolic links followed.

    Raises:
        MaskanimError: the name does not end in .mp4, .mov or .webm (with alpha: the last two), it is one of the
            inputs, or as `atomic.check_writable`.
    """
    subject, resolved = os.fspath(path), check_writable(path)
    fitting = [ending for ending, form in FORMATS.items() if form.clear or not alpha]
    suffix = resolved.suffix
    if suffix.lower() not in fitting:
        ending = f"a name ending in '{suffix}'" if suffix else "a name without an ending"
        wanted = f"{', '.join(fitting[:-1])} or {fitting[-1]}"
        reason = "An mp4 has no room for alpha" if suffix.lower() in FORMATS else f"Only {wanted} can be written"
        raise MaskanimError(subject, ending, f"one ending in {wanted}", reason)
    check_no_input(path, inputs)
    return resolved


class FrameWriter(ABC):
    """Takes the frames of a clip in order; a context manager, at whose end the file appears, whole or not at all.

    Args:
        path: the file to write, ending in .mp4, .mov (both H.264) or .webm (VP9; its times are rounded to
            milliseconds, as Matroska's are, and no two frames get the same).
        driving: the clip whose time base, durations and audio are taken. Audio that suits the container is copied
            packet by packet, other audio becomes AAC (WebM: Opus), mono or stereo. If the clip has been read to its
            end, all of its audio is taken, otherwise the audio of the frames written.
        encoding: the encoder's settings.
        alpha: the frames are RGBA, and the file keeps their alpha: a .mov as ProRes 4444, a .webm in VP9.

    Attributes:
        path: where the file will be, with symbolic links followed.

    Raises:
        MaskanimError: the file cannot be written there; see `check_output`.
    """

    def __init__(self, path: FilePath, driving: Clip, encoding: Encoding | None = None, *, alpha: bool = False) -> None:
        self.path = check_output(path, [driving.path], alpha=alpha)
        form = FORMATS[self.path.suffix.lower()]
        self._driving, self._encoding, self._channels = driving, encoding or Encoding(), 4 if alpha else 3
        self._codec = form.clear if alpha and form.clear else form.opaque
        self._settings: VideoSettings | None = None
        self._last_pts: int | None = None
        self._opened = ExitStack()  # what is closed, and removed after an error, when the block ends

    def write(self, image: NDArray[np.uint8], pts: int) -> None:
        """Append a frame.

        Args:
            image: (H, W, 3) uint8 RGB, with alpha (H, W, 4) RGBA, of one size throughout; an odd side is extended by
                repeating its last pixels.
            pts: its time in units of the driving clip's ``time_base``, later than the frame before.

        Raises:
            MaskanimError: the frame is no such picture, comes out of order, or cannot be written.
        """
        self._require_next(image, pts)
        with self._writing():
            if self._settings is None:
                height, width = image.shape[:2]
                time_base, rate = self._driving.time_base, self._driving.rate
                settings = VideoSettings(self._codec, self._encoding, height, width, time_base, rate)
                self._begin(settings)
                self._settings = settings
            self._append(self._settings.frame(image, pts))
        self._last_pts = pts

    def __enter__(self: Writer) -> Writer:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        with self._writing(), self._opened:
            if error is not None:
                self._opened.__exit__(kind, error, at)
                return
            if self._last_pts is None:
                raise MaskanimError(str(self.path), "no frame was written", "at least one", "Check the driving clip")
            self._finish(self._last_pts)

    def _require_next(self, image: NDArray[np.uint8], pts: int) -> None:
        subject = f"frame at {pts} of {self.path.name}"
        if image.dtype != np.uint8 or image.ndim != 3 or image.shape[2] != self._channels:
            received = f"{image.dtype} of shape {image.shape}"
            wanted = f"uint8 {'RGBA' if self._channels == 4 else 'RGB'} of shape (height, width, {self._channels})"
            raise MaskanimError(subject, received, wanted)
        if self._last_pts is not None and pts <= self._last_pts:
            raise MaskanimError(subject, f"the frame before is at {self._last_pts}", "frames in order of time")
        shape = (self._settings.height, self._settings.width, self._channels) if self._settings else image.shape
        if image.shape != shape:
            raise MaskanimError(subject, f"shape {image.shape}", f"{shape}, as the frames before")

    @contextmanager
    def _writing(self) -> Iterator[None]:
        """What FFmpeg or the disk refuses becomes a MaskanimError."""
        try:
            yield
        except (av.FFmpegError, OSError, ValueError) as error:  # ValueError: PyAV without such an encoder or format
            received = f"writing it failed ({reason(error)})"
            next_step = "Check the space on its disk, and that the audio of the driving clip plays"
            if getattr(error, "errno", None) in FULL:
                next_step = f"Make room on its disk{self._kept()}"
            raise MaskanimError(str(self.path), received, "a complete clip", next_step) from error

    def _kept(self) -> str:
        """What stays when the disk is full."""
        return ""

    @abstractmethod
    def _begin(self, settings: VideoSettings) -> None:
        """Before the first frame, which alone says how large frames are."""

    @abstractmethod
    def _append(self, frame: av.VideoFrame) -> None: ...

    @abstractmethod
    def _finish(self, last_pts: int) -> None:
        """All frames are there: bring the file into its place."""


class ClipWriter(FrameWriter):
    """Writes a clip in one go. If that fails nothing is left, and what was there before is untouched.

    See `FrameWriter` for the arguments, and `maskanim.video.ResumableWriter` for one that goes on where it was stopped.
    """

    def __init__(self, path: FilePath, driving: Clip, encoding: Encoding | None = None, *, alpha: bool = False) -> None:
        super().__init__(path, driving, encoding, alpha=alpha)
        self._partial = self._opened.enter_context(replacing(self.path))
        # What comes through a pipe has to be kept from the first frame read, which is before the first one written.
        self._audio = self._opened.enter_context(opened_audio(driving))

    def _begin(self, settings: VideoSettings) -> None:
        self._output = self._opened.enter_context(OutputFile(self._partial, self._driving, self._audio))
        self._video = settings.add_to(self._output.container)
        self._output.add_audio()

    def _append(self, frame: av.VideoFrame | None) -> None:
        for packet in self._video.encode(frame):
            packet.duration = self._driving.frame_duration  # matters for the last frame only
            self._output.mux(packet)

    def _finish(self, last_pts: int) -> None:
        self._append(None)
        self._output.finish((last_pts + self._driving.frame_duration) * self._driving.time_base)


@contextmanager
def opened_audio(driving: Clip) -> Iterator[AudioTrack | None]:
    """A clip's audio, being read; None where it has none."""
    if driving.audio is None:
        yield None
        return
    driving.audio.open()
    try:
        yield driving.audio
    finally:
        driving.audio.close()


class OutputFile(Closing):
    """A container that is written: the video's packets as they are given, and between them the audio's.

    A context manager; the video's stream is to be added to `container` first, then `add_audio` called.

    Args:
        path: the file, whose ending tells the format.
        driving: the clip whose time base is taken.
        audio: its audio, opened.
    """

    def __init__(self, path: Path, driving: Clip, audio: AudioTrack | None) -> None:
        self._driving, self._audio, self._format = driving, audio, FORMATS[path.suffix.lower()]
        self._audio_packets: Iterator[av.Packet[Any] | None] = iter(())
        self._audio_until: Fraction | float = -math.inf
        self._last_time = -sys.maxsize  # of the video, in milliseconds
        options: dict[str, str] = {}
        if self._format.keeps_time:
            # Ticks in which the start of every track is exact: with the muxer's 1000 a second, a clip that does not
            # start at zero comes back up to a millisecond early.
            video = driving.time_base.denominator
            both = math.lcm(video, driving.audio_rate or 1)
            options = {"movflags": "+faststart", "movie_timescale": str(both if both <= FINEST else video)}
        self.container = av.open(str(path), "w", format=self._format.name, container_options=options)

    def add_audio(self) -> None:
        """Add the audio's stream: copied packet by packet where the container allows it, else encoded."""
        if self._audio is None:
            return
        stream, form = self._audio.stream, self._format
        if stream.codec_context.codec.canonical_name in form.copied_audio:
            self._audio_packets = copied(self._audio, self.container.add_stream_from_template(stream))
        elif breaks_pyav(stream):
            LOG.warning("warning: %s: its sound, PCM of seven or more channels, is left out", self._driving.path)
        else:
            rate = stream.rate if stream.rate in form.audio_rates else 48000
            layout = "mono" if stream.channels == 1 else "stereo"
            encoder = self.container.add_stream(form.audio, rate=rate, layout=layout)
            assert isinstance(encoder, AudioStream)
            self._audio_packets = transcoded(self._audio, encoder)

    def mux(self, packet: av.Packet[VideoStream]) -> None:
        """Write a packet of the video, after the audio that comes before it."""
        if packet.dts is not None:
            self._mux_audio(packet.dts * packet.time_base)
        if not self._format.keeps_time and packet.pts is not None:
            at, packet.duration = (round(n * packet.time_base * 1000) for n in (packet.pts, packet.duration or 0))
            self._last_time = packet.pts = packet.dts = max(at, self._last_time + 1)
            packet.time_base = Fraction(1, 1000)
        self.container.mux(packet)

    def _mux_audio(self, end: Fraction | float) -> None:
        """Mux the packets that start before a time, in seconds, as far as they are there."""
        while self._audio_until < end and (packet := next(self._audio_packets, None)) is not None:
            if packet.dts is not None:
                self._audio_until = (packet.dts + (packet.duration or 0)) * packet.time_base
            self.container.mux(packet)

    def finish(self, end: Fraction) -> None:
        """Write the rest: all of the audio if the clip was read to its end, else up to the end of the frames."""
        complete = self._driving.finished and not (self._audio and self._audio.endless)
        self._mux_audio(math.inf if complete else end)
        self.container.close()

    def close(self) -> None:
        with suppress(av.FFmpegError, OSError):  # a failure that matters has been raised by `finish`
            self.container.close()
