"""Writing an mp4 with the times and the audio of a driving clip, whole or not at all."""

from __future__ import annotations

import math
import os
import secrets
import tempfile
from collections.abc import Iterable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from fractions import Fraction
from itertools import chain
from pathlib import Path
from types import TracebackType
from typing import Any

import av
import av.container
import numpy as np
from av.audio.stream import AudioStream

from maskanim.errors import MaskanimError
from maskanim.ops import Frame
from maskanim.video.picture import FilePath
from maskanim.video.reader import Clip, audio_stream, open_container

# What players understand inside an mp4; any other audio becomes AAC.
MP4_AUDIO = frozenset({"aac", "ac3", "alac", "eac3", "flac", "mp3", "opus"})
AAC_RATES = frozenset({8000, 11025, 12000, 16000, 22050, 24000, 32000, 44100, 48000, 64000, 88200, 96000})
PRESETS = ("ultrafast", "superfast", "veryfast", "faster", "fast", "medium", "slow", "slower", "veryslow", "placebo")
BT709, LIMITED_RANGE = 1, 1  # FFmpeg's AVCOL_SPC_BT709 (also its primaries and transfer) and AVCOL_RANGE_MPEG
MAX_TIMESCALE = 2**31 - 1


def check_output(path: FilePath, inputs: Iterable[FilePath] = ()) -> Path:
    """Check, before any work, that a clip can be written.

    Args:
        path: where the clip is to go; an existing file there is allowed, and left alone.
        inputs: files that must not be overwritten.

    Returns:
        The path with symbolic links followed.

    Raises:
        MaskanimError: the name does not end in .mp4, it is a folder or one of the inputs, or its parent is missing or
            cannot be written to.
    """
    subject, path = os.fspath(path), Path(path).resolve()
    if path.is_dir():
        raise MaskanimError(subject, "a folder", "the name of a file to write", "Add a file name ending in .mp4")
    if path.suffix.lower() != ".mp4":
        ending = f"a name ending in '{path.suffix}'" if path.suffix else "a name without an ending"
        raise MaskanimError(subject, ending, "one ending in .mp4", "Only mp4 is written")
    if not path.parent.is_dir():
        raise MaskanimError(subject, f"{path.parent} is not a folder", "an existing folder", "Create it first")
    if path.exists() and any(path.samefile(given) for given in inputs if Path(given).exists()):
        raise MaskanimError(subject, "the same file as an input", "a new file", "Choose another name")
    _require_writable(subject, path.parent)
    return path


def _require_writable(subject: str, folder: Path) -> None:
    try:
        with tempfile.NamedTemporaryFile(dir=folder, prefix="."):
            pass
    except OSError as error:
        received = f"no file can be created in {folder} ({error.strerror})"
        raise MaskanimError(subject, received, "a folder that can be written to", "Choose another folder") from error


@dataclass(frozen=True)
class Encoding:
    """How H.264 is encoded.

    Attributes:
        crf: x264's constant rate factor: 0 is lossless, 51 the worst.
        preset: x264's speed, ``ultrafast`` to ``placebo``.
        threads: of the encoder; one leaves the processor to the networks, 0 takes as many as there are cores.
        keyframe_every: frames, at most, from one that can be sought to the next; None leaves it to x264 (250).

    Raises:
        MaskanimError: a setting that x264 does not have.
    """

    crf: int = 18
    preset: str = "veryfast"
    threads: int = 1
    keyframe_every: int | None = None

    def __post_init__(self) -> None:
        if not 0 <= self.crf <= 51:
            raise MaskanimError("crf", str(self.crf), "0 to 51", "Lower is better and larger; 18 looks lossless")
        if self.preset not in PRESETS:
            raise MaskanimError("preset", self.preset, f"one of {', '.join(PRESETS)}")
        if self.threads < 0:
            raise MaskanimError("threads", str(self.threads), "0 or more")
        if self.keyframe_every is not None and self.keyframe_every < 1:
            raise MaskanimError("keyframe_every", str(self.keyframe_every), "1 or more")


class ClipWriter:
    """Writes an mp4 (H.264, yuv420p) with the times and the audio of a driving clip; a context manager.

    The file appears under its name when the block ends without an exception. Otherwise nothing is left, and what
    was there before is untouched.

    Args:
        path: the file to write, ending in .mp4.
        driving: the clip whose time base, durations and audio are taken. Audio that suits an mp4 is copied packet by
            packet, other audio becomes AAC, mono or stereo. If the clip has been read to its end, all of its audio
            is taken, otherwise the audio of the frames written.
        encoding: the encoder's settings.

    Raises:
        MaskanimError: the file cannot be written there; see `check_output`.
    """

    def __init__(self, path: FilePath, driving: Clip, encoding: Encoding | None = None) -> None:
        self.path = check_output(path, [driving.path])
        self._driving, self._encoding = driving, encoding or Encoding()
        self._unfinished = self.path.with_name(f".maskanim-{secrets.token_hex(8)}.mp4")
        self._output: av.container.OutputContainer | None = None
        self._audio: _Audio | None = None
        self._shape: tuple[int, ...] = ()
        self._last_pts: int | None = None

    def __enter__(self) -> ClipWriter:
        return self

    def write(self, image: Frame, pts: int) -> None:
        """Append a frame.

        Args:
            image: (H, W, 3) uint8 RGB, of one size throughout; an odd side is extended by repeating its last pixels.
            pts: its time in units of the driving clip's ``time_base``, later than the frame before.

        Raises:
            MaskanimError: the frame is no such picture, comes out of order, or cannot be written.
        """
        self._require_next(image, pts)
        with _writing(self.path):
            output = self._output or self._open(image)
            self._mux(output, self._video.encode(_yuv(image, pts, self._driving.time_base)))
        self._last_pts = pts

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        try:
            if kind is None:
                self._finish()
        finally:
            self._release()

    def _require_next(self, image: Frame, pts: int) -> None:
        subject = f"frame at {pts} of {self.path.name}"
        if image.dtype != np.uint8 or image.ndim != 3 or image.shape[2] != 3:
            received = f"{image.dtype} of shape {image.shape}"
            raise MaskanimError(subject, received, "uint8 RGB of shape (height, width, 3)")
        if self._last_pts is not None and pts <= self._last_pts:
            raise MaskanimError(subject, f"the frame before is at {self._last_pts}", "frames in order of time")
        if self._shape and image.shape != self._shape:
            raise MaskanimError(subject, f"shape {image.shape}", f"{self._shape}, as the frames before")

    def _open(self, image: Frame) -> av.container.OutputContainer:
        """Start the file; only the first frame tells its size."""
        options = {"movflags": "+faststart", "movie_timescale": str(self._timescale())}
        self._output = av.open(str(self._unfinished), "w", format="mp4", container_options=options)
        self._add_video(self._output, *image.shape[:2])
        if self._driving.audio_rate:
            self._audio = _Audio(self._driving.path, self._output)
        self._shape = image.shape
        return self._output

    def _timescale(self) -> int:
        """Ticks per second in which the start of every track is exact.

        With the muxer's 1000, a clip that does not start at zero comes back up to a millisecond early.
        """
        video = self._driving.time_base.denominator
        both = math.lcm(video, self._driving.audio_rate or 1)
        return both if both <= MAX_TIMESCALE else video

    def _add_video(self, output: av.container.OutputContainer, height: int, width: int) -> None:
        options = {"crf": str(self._encoding.crf), "preset": self._encoding.preset}
        self._video = output.add_stream("libx264", rate=self._driving.rate, options=options)
        self._video.width, self._video.height, self._video.pix_fmt = width + width % 2, height + height % 2, "yuv420p"
        context = self._video.codec_context
        context.time_base = self._driving.time_base
        # An mp4 stores durations in decoding order: with B-frames, those of a variable rate would come back different.
        context.max_b_frames = 0
        context.thread_count, context.thread_type = self._encoding.threads, "AUTO"
        if self._encoding.keyframe_every:
            context.gop_size = self._encoding.keyframe_every
        context.colorspace = context.color_primaries = context.color_trc = BT709
        context.color_range = LIMITED_RANGE

    def _mux(self, output: av.container.OutputContainer, packets: Iterable[av.Packet[Any]]) -> None:
        for packet in packets:
            packet.duration = self._driving.frame_duration  # matters for the last frame only
            if self._audio and packet.dts is not None:
                self._audio.mux_until(packet.dts * packet.time_base)
            output.mux(packet)

    def _finish(self) -> None:
        if self._output is None or self._last_pts is None:
            raise MaskanimError(str(self.path), "no frame was written", "at least one", "Check the driving clip")
        with _writing(self.path):
            self._mux(self._output, self._video.encode(None))
            end = (self._last_pts + self._driving.frame_duration) * self._driving.time_base
            if self._audio:
                self._audio.mux_until(math.inf if self._driving.finished else end)
            self._output.close()
            self._unfinished.replace(self.path)

    def _release(self) -> None:
        if self._audio:
            self._audio.close()
        if self._output:
            with suppress(av.FFmpegError):  # a failure that matters has been raised by _finish
                self._output.close()
        self._unfinished.unlink(missing_ok=True)


def _yuv(image: Frame, pts: int, time_base: Fraction) -> av.VideoFrame:
    height, width = image.shape[:2]
    if height % 2 or width % 2:
        image = np.pad(image, ((0, height % 2), (0, width % 2), (0, 0)), mode="edge")
    rgb = av.VideoFrame.from_ndarray(np.ascontiguousarray(image), format="rgb24")
    frame = rgb.reformat(format="yuv420p", dst_colorspace="ITU709", dst_color_range="MPEG")
    frame.pts, frame.time_base = pts, time_base
    return frame


@contextmanager
def _writing(path: Path) -> Iterator[None]:
    """Report what FFmpeg or the disk refuses; PyAV raises ValueError for an encoder or a format it lacks."""
    try:
        yield
    except (av.FFmpegError, OSError, ValueError) as error:
        reason = getattr(error, "strerror", None) or str(error)
        next_step = "Check the space on its disk, and that the audio of the driving clip plays"
        raise MaskanimError(str(path), f"writing it failed ({reason})", "a complete clip", next_step) from error


class _Audio:
    """The audio of a driving clip, read from a second handle and muxed as the video advances."""

    def __init__(self, path: Path, output: av.container.OutputContainer) -> None:
        self._input, self._output = open_container(path), output
        stream = audio_stream(self._input)
        assert stream is not None, "Clip.audio_rate says that there is audio"
        self._reached: Fraction | float = -math.inf
        if stream.codec_context.codec.canonical_name in MP4_AUDIO:
            self._packets = _copied(self._input, stream, output.add_stream_from_template(stream))
        else:
            rate = stream.rate if stream.rate in AAC_RATES else 48000
            layout = "mono" if stream.channels == 1 else "stereo"
            self._packets = _transcoded(self._input, stream, output.add_stream("aac", rate=rate, layout=layout))

    def mux_until(self, time: Fraction | float) -> None:
        """Mux the packets that start before a time, in seconds."""
        while self._reached < time and (packet := next(self._packets, None)) is not None:
            if packet.dts is not None:
                self._reached = (packet.dts + (packet.duration or 0)) * packet.time_base
            self._output.mux(packet)

    def close(self) -> None:
        self._input.close()


def _demuxed(container: av.container.InputContainer, stream: AudioStream) -> Iterator[av.Packet[AudioStream]]:
    # Where the file is damaged the audio ends; the reader of the video says so.
    with suppress(av.error.InvalidDataError):
        yield from (packet for packet in container.demux(stream) if packet.size)


def _copied(
    container: av.container.InputContainer, stream: AudioStream, copy: AudioStream
) -> Iterator[av.Packet[AudioStream]]:
    last: float = -math.inf
    for packet in _demuxed(container, stream):
        if packet.dts is not None and packet.dts > last:  # the muxer refuses time that stands still
            last = packet.dts
            packet.stream = copy
            yield packet


def _transcoded(
    container: av.container.InputContainer, stream: AudioStream, encoder: AudioStream
) -> Iterator[av.Packet[Any]]:
    for packet in chain(_demuxed(container, stream), [None]):
        with suppress(av.error.InvalidDataError):
            for frame in stream.decode(packet):
                yield from encoder.encode(frame)
    yield from encoder.encode(None)
