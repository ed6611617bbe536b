"""A driving clip: its frames in order, each with its exact time, and what they are read from."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator
from fractions import Fraction
from pathlib import Path
from typing import NamedTuple

import av

from maskanim.errors import MaskanimError
from maskanim.ops import Frame
from maskanim.video.audio import AudioTrack
from maskanim.video.container import unreadable


class TimedFrame(NamedTuple):
    """A frame and its time.

    Attributes:
        image: (H, W, 3) uint8 RGB.
        pts: when it is shown, in units of the clip's ``time_base``.
    """

    image: Frame
    pts: int


class ShownFrame(NamedTuple):
    """A frame with its time and duration, both in ticks of the clip's time base.

    The image may be a function that makes it, so that a frame which is passed over costs no conversion.
    """

    image: Frame | Callable[[], Frame]
    pts: int
    duration: int

    def drawn(self) -> Frame:
        """The image itself."""
        return self.image() if callable(self.image) else self.image


class Footage(ABC):
    """What a clip's frames are read from.

    Attributes:
        path: the file, the folder, or the name of a camera or of standard input.
        time_base: seconds per tick of every ``pts``.
        rate: frames per second; the average where it varies.
        frame_count: an estimate; None if unknown.
        first: the ``pts`` at which it says to begin.
        once: whether it can be read a single time only, as a camera.
        warning: what could not be read; None where nothing is missing, or as long as that is not known.
    """

    path: Path
    time_base: Fraction
    rate: Fraction
    frame_count: int | None
    first: int = 0
    once: bool = False
    warning: str | None = None

    @abstractmethod
    def shown(self, since: int | None = None) -> Iterator[ShownFrame]:
        """The frames from the beginning, each later than the one before; a second call begins anew.

        Args:
            since: a time in ticks, the frames before which are not wanted. As many as can be had without decoding are
                left out, but never one that is shown at this time or later.
        """

    def close(self) -> None:
        """Close what is open; there are no frames to read afterwards."""
        return


class Clip:
    """A driving clip: an iterator over its frames, in order of time and once, and a context manager.

    One frame is held in memory at a time, whatever the length (a strip is one picture, held whole).

    Args:
        path, frames, time_base, rate, frame_count: as the attributes; the frames may be any.
        footage: what the frames come from, where they come from something that can be read anew and closed.
        audio: the audio that goes with them.

    Attributes:
        path: the file or folder.
        time_base: seconds per tick of every ``pts``.
        rate: frames per second; the average where it varies.
        frame_count: an estimate for progress bars; None if unknown.
        audio: the audio that can go with it; None without.
        audio_rate: its samples per second; None without audio.
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
        footage: Footage | None = None,
        audio: AudioTrack | None = None,
    ) -> None:
        self.path, self.time_base, self.rate, self.frame_count = path, time_base, rate, frame_count
        self.audio, self.audio_rate = audio, audio.rate if audio else None
        self.frame_duration = 0
        self.finished = False
        self._frames, self._footage = frames, footage
        self._stopped = False

    @classmethod
    def of(cls, footage: Footage, audio: AudioTrack | None = None) -> Clip:
        """The clip that shows a footage."""
        frames = footage.shown()
        return cls(footage.path, frames, footage.time_base, footage.rate, footage.frame_count, footage, audio)

    @property
    def warning(self) -> str | None:
        """What of the file could not be read, in one line; it is known when the frames have been read."""
        return self._footage.warning if self._footage else None

    @property
    def once(self) -> bool:
        """Whether it comes from a camera or from standard input, where nothing can be read again."""
        return self._footage is not None and self._footage.once

    def __iter__(self) -> Clip:
        return self

    def __next__(self) -> TimedFrame:
        """The next frame.

        Raises:
            MaskanimError: nothing of the file can be decoded; or, of a clip that was to be whole, not everything.
        """
        frame = self._next()
        return TimedFrame(frame.drawn(), frame.pts)

    def _next(self) -> ShownFrame:
        if self._stopped:
            raise StopIteration
        try:
            frame = next(self._frames)
        except StopIteration:
            self.finished = True
            raise
        except av.FFmpegError as error:
            raise unreadable(self.path, f"reading it failed ({error.strerror})") from error
        self.frame_duration = frame.duration
        return frame

    def skip_past(self, pts: int) -> None:
        """Go on behind the frame at `pts`, for a clip of which no frame has been read yet.

        Where the file can be searched, decoding begins at the key frame before; no frame that is passed over is
        converted. `frame_duration` is afterwards that of the frame at `pts`.

        Raises:
            MaskanimError: there is no frame at this time: it is another clip.
        """
        if self._passed(pts):
            return
        if self._footage and not self._footage.once:  # a search that led astray
            self._frames = self._footage.shown()
            if self._passed(pts):
                return
        received = f"no frame at {float(pts * self.time_base):.3f} s"
        raise MaskanimError(str(self.path), received, "the clip that was rendered before", "Render it from the start")

    def _passed(self, pts: int) -> bool:
        if self._footage and not self._footage.once:
            self._frames = self._footage.shown(since=pts)
        at: int | None = None
        while at is None or at < pts:
            try:
                at = self._next().pts
            except StopIteration:
                return False
        return at == pts

    def stop(self) -> None:
        """End before the next frame, as a recording from a camera does; any thread may call this."""
        self._stopped = True

    def close(self) -> None:
        """Close the file; there are no frames to read afterwards."""
        self._frames = iter(())
        if self._footage:
            self._footage.close()

    def __enter__(self) -> Clip:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()
