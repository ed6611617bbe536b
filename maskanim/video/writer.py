"""Writing a clip with the times and the audio of a driving clip, whole or not at all."""

from __future__ import annotations

import secrets
from abc import ABC, abstractmethod
from collections.abc import Iterable
from types import TracebackType
from typing import Any

import av
import numpy as np
from av.video.stream import VideoStream
from numpy.typing import NDArray

from maskanim.errors import MaskanimError
from maskanim.video.clip import Clip
from maskanim.video.encoding import Encoding, VideoSettings, format_of
from maskanim.video.output import OutputFile, check_output, writing
from maskanim.video.picture import FilePath


class FrameWriter(ABC):
    """Takes the frames of a clip in order; a context manager, at whose end the file appears, whole or not at all.

    Args:
        path: the file to write, ending in .mp4, .mov (both H.264) or .webm (VP9; its times are rounded to
            milliseconds, as Matroska's are).
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
        form = format_of(self.path)
        self._driving, self._encoding, self._channels = driving, encoding or Encoding(), 4 if alpha else 3
        self._codec = form.clear if alpha and form.clear else form.opaque
        self._settings: VideoSettings | None = None
        self._last_pts: int | None = None

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
        with writing(self.path, self._kept):
            if self._settings is None:
                height, width = image.shape[:2]
                time_base, rate = self._driving.time_base, self._driving.rate
                settings = VideoSettings(self._codec, self._encoding, height, width, time_base, rate)
                self._begin(settings)
                self._settings = settings
            self._append(self._settings.frame(image, pts))
        self._last_pts = pts

    def __enter__(self) -> FrameWriter:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        try:
            if kind is None:
                if self._last_pts is None:
                    raise MaskanimError(
                        str(self.path), "no frame was written", "at least one", "Check the driving clip"
                    )
                with writing(self.path, self._kept):
                    self._finish(self._last_pts)
        finally:
            self._release()

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

    def _kept(self) -> str:
        """What stays when the disk is full."""
        return ""

    @abstractmethod
    def _begin(self, settings: VideoSettings) -> None:
        """Before the first frame, which alone tells the size."""

    @abstractmethod
    def _append(self, frame: av.VideoFrame) -> None: ...

    @abstractmethod
    def _finish(self, last_pts: int) -> None:
        """All frames are there: bring the file into its place."""

    @abstractmethod
    def _release(self) -> None:
        """Close and remove what is not to stay."""


class ClipWriter(FrameWriter):
    """Writes a clip in one go. If that fails nothing is left, and what was there before is untouched.

    See `FrameWriter` for the arguments, and `maskanim.video.ResumableWriter` for one that goes on where it was stopped.
    """

    def __init__(self, path: FilePath, driving: Clip, encoding: Encoding | None = None, *, alpha: bool = False) -> None:
        super().__init__(path, driving, encoding, alpha=alpha)
        self._unfinished = self.path.with_name(f".maskanim-{secrets.token_hex(8)}{self.path.suffix}")
        # What comes through a pipe has to be kept from the first frame read, which is before the first one written.
        self._sound = driving.audio.open() if driving.audio else None
        self._output: OutputFile | None = None
        self._video: VideoStream | None = None

    def __enter__(self) -> ClipWriter:
        return self

    def _begin(self, settings: VideoSettings) -> None:
        self._output = OutputFile(self._unfinished, self._driving, self._sound, self.path)
        self._video = settings.add_to(self._output.container)
        self._output.add_audio()

    def _append(self, frame: av.VideoFrame) -> None:
        assert self._video is not None
        self._mux(self._video.encode(frame))

    def _mux(self, packets: Iterable[av.Packet[Any]]) -> None:
        assert self._output is not None
        for packet in packets:
            packet.duration = self._driving.frame_duration  # matters for the last frame only
            self._output.mux(packet)

    def _finish(self, last_pts: int) -> None:
        assert self._output is not None and self._video is not None
        self._mux(self._video.encode(None))
        self._output.finish((last_pts + self._driving.frame_duration) * self._driving.time_base)
        self._unfinished.replace(self.path)

    def _release(self) -> None:
        if self._output:
            self._output.close()
        elif self._sound:
            self._sound.close()
        self._unfinished.unlink(missing_ok=True)
