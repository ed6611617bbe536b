"""Driving clips: frames with exact times, and which part of them is shown, at what rate and how often.

All times are exact fractions, so that nothing drifts.
"""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator
from fractions import Fraction
from functools import lru_cache
from itertools import count, islice
from pathlib import Path
from threading import Event
from typing import NamedTuple

import av

from maskanim.closing import Closing
from maskanim.errors import MaskanimError
from maskanim.ops import Frame
from maskanim.video.audio import AudioTrack, Lap
from maskanim.video.container import unreadable

FINEST = 2**31 - 1  # ticks per second that an mp4 can state


class TimedFrame(NamedTuple):
    """A frame, (H, W, 3) uint8 RGB, and when it is shown, in ticks of its clip's ``time_base``."""

    image: Frame
    pts: int


class SourceFrame(NamedTuple):
    """A frame with its time and duration, both in ticks.

    The image may be a function that makes it, so that a frame which is passed over costs no conversion.
    """

    image: Frame | Callable[[], Frame]
    pts: int
    duration: int

    def pixels(self) -> Frame:
        """The image itself."""
        return self.image() if callable(self.image) else self.image


class FrameSource(ABC):
    """What a clip's frames are read from."""

    path: Path  # the file, the folder, or the name of a camera or of standard input
    time_base: Fraction  # seconds per tick of every ``pts``
    rate: Fraction  # frames per second; the average where it varies
    frame_count: int | None  # an estimate; None if unknown
    first: int = 0  # the ``pts`` at which it says to begin
    once: bool = False  # whether it can be read a single time only, as a camera
    warning: str | None = None  # what could not be read; None where nothing is missing, or as long as that is not known

    @abstractmethod
    def frames(self, since: int | None = None) -> Iterator[SourceFrame]:
        """The frames from the beginning, each later than the one before; a second call begins anew.

        Args:
            since: a time in ticks, the frames before which are not wanted. As many as can be had without decoding are
                left out, but never one that is shown at this time or later.
        """

    def stop(self) -> None:
        """Free, in any thread or a signal's handler, who waits for a frame of a camera or a pipe: there is none."""
        return

    def close(self) -> None:
        """Close what is open; there are no frames to read afterwards."""
        return


class Clip(Closing):
    """A driving clip: an iterator over its frames, in order of time and once, and a context manager.

    One frame is held in memory at a time, whatever the length (a strip is one picture, held whole).

    Args:
        path, frames, time_base, rate, frame_count: as the attributes of `FrameSource`; the frames may be any.
        source: what the frames come from, where that can be read anew and closed.
        audio: the audio that can go with them.

    Attributes:
        path, time_base, rate, frame_count, audio: as given.
        audio_rate: the audio's samples per second; None without audio.
        frame_duration: ticks for which the frame read last is shown.
        finished: whether every frame has been read.
        stopped: set by `stop`.
    """

    def __init__(
        self,
        path: Path,
        frames: Iterator[SourceFrame],
        time_base: Fraction,
        rate: Fraction,
        frame_count: int | None,
        source: FrameSource | None = None,
        audio: AudioTrack | None = None,
    ) -> None:
        self.path, self.time_base, self.rate, self.frame_count = path, time_base, rate, frame_count
        self.audio, self.audio_rate = audio, audio.rate if audio else None
        self.frame_duration = 0
        self.finished = False
        self._frames, self._source = self._checked(frames), source
        self.stopped = Event()

    @classmethod
    def of(cls, source: FrameSource, audio: AudioTrack | None = None) -> Clip:
        """The clip that shows all of a source."""
        return cls(source.path, source.frames(), source.time_base, source.rate, source.frame_count, source, audio)

    @property
    def warning(self) -> str | None:
        """What of the file could not be read, in one line; it is known when the frames have been read."""
        return self._source.warning if self._source else None

    @property
    def once(self) -> bool:
        """Whether it comes from a camera or from standard input, where nothing can be read again."""
        return self._source is not None and self._source.once

    def __iter__(self) -> Clip:
        return self

    def __next__(self) -> TimedFrame:
        """The next frame.

        Raises:
            MaskanimError: nothing of the file can be decoded; or, of a clip that was to be whole, not everything.
        """
        frame = self._next()
        return TimedFrame(frame.pixels(), frame.pts)

    def _next(self) -> SourceFrame:
        if self.stopped.is_set():
            raise StopIteration
        try:
            frame = next(self._frames)
        except StopIteration:
            self.finished = not self.stopped.is_set()
            raise
        self.frame_duration = frame.duration
        return frame

    def preview(self, step: int) -> Iterator[TimedFrame]:
        """Every `step`-th frame of a clip that is no `once`, before its first is read; it begins anew afterwards."""
        assert self._source is not None, "a clip of a file"
        frames = islice(self._checked(self._source.frames()), 0, None, step)
        return (TimedFrame(frame.pixels(), frame.pts) for frame in frames)

    def _checked(self, frames: Iterator[SourceFrame]) -> Iterator[SourceFrame]:
        try:
            yield from frames
        except av.FFmpegError as error:
            raise unreadable(self.path, f"reading it failed ({error.strerror})") from error

    def skip_past(self, pts: int) -> None:
        """Go on behind the frame at `pts`, for a clip of which no frame has been read yet.

        Where the file can be searched, decoding begins at the key frame before; no frame that is passed over is
        converted. `frame_duration` is afterwards that of the frame at `pts`.

        Raises:
            MaskanimError: there is no frame at this time: it is another clip.
        """
        if self._passed(pts):
            return
        if self._source and not self._source.once:  # a search that led astray
            self._frames = self._checked(self._source.frames())
            if self._passed(pts):
                return
        received = f"no frame at {float(pts * self.time_base):.3f} s"
        raise MaskanimError(str(self.path), received, "the clip that was rendered before", "Render it from the start")

    def _passed(self, pts: int) -> bool:
        if self._source and not self._source.once:
            self._frames = self._checked(self._source.frames(since=pts))
        at: int | None = None
        while at is None or at < pts:
            try:
                at = self._next().pts
            except StopIteration:
                return False
        return at == pts

    def stop(self) -> None:
        """End before the next frame, also one that is waited for; any thread, or a signal's handler, may call this."""
        self.stopped.set()
        if self._source:
            self._source.stop()

    def close(self) -> None:
        """Close the file; there are no frames to read afterwards."""
        self._frames = iter(())
        if self._source:
            self._source.close()


class _View(FrameSource):
    """Another source, shown differently."""

    def __init__(self, base: FrameSource) -> None:
        self.base, self.path, self.once, self.first = base, base.path, base.once, base.first
        self.time_base, self.rate, self.frame_count = base.time_base, base.rate, base.frame_count

    @property
    def warning(self) -> str | None:  # type: ignore[override]
        return self.base.warning

    def stop(self) -> None:
        self.base.stop()

    def close(self) -> None:
        self.base.close()


class Trimmed(_View):
    """A part of a source, from the frame shown at its start, which becomes time zero, to the last before its end.

    Args:
        base: the source; seconds are counted from the time at which it says to begin.
        start: seconds; None begins with the first frame, and leaves all times as they are.
        end: seconds; None for all the rest.

    Raises:
        MaskanimError: the end is not behind the start.
    """

    def __init__(self, base: FrameSource, start: Fraction | None, end: Fraction | None = None) -> None:
        super().__init__(base)
        begin = start or Fraction(0)
        if end is not None and end <= begin:
            received = f"a part from {float(begin):g} s to {float(end):g} s"
            raise MaskanimError(str(base.path), received, "an end behind the start")
        self._from = None if start is None else base.first + math.ceil(start / base.time_base)
        self._to = None if end is None else base.first + math.ceil(end / base.time_base)
        self.first = base.first if start is None else 0
        whole = None if base.frame_count is None else base.frame_count / base.rate
        ends = [at for at in (end, whole) if at is not None]
        if ends:
            self.frame_count = max(1, math.ceil((min(ends) - begin) * base.rate))

    @property
    def start(self) -> Fraction | None:
        """The time of the base, in seconds, that becomes zero; None where times stay as they are."""
        return None if self._from is None else self._from * self.time_base

    @property
    def end(self) -> Fraction | None:
        """The time of the base, in seconds, at which nothing more is shown."""
        return None if self._to is None else self._to * self.time_base

    def frames(self, since: int | None = None) -> Iterator[SourceFrame]:
        """See `FrameSource`; raises a MaskanimError where nothing is shown in this part."""
        frame, zero = None, self._from or 0
        for frame in self._part(since):
            begin = frame.pts if self._from is None else max(frame.pts, self._from)
            end = min(frame.pts + frame.duration, math.inf if self._to is None else self._to)
            yield SourceFrame(frame.image, begin - zero, max(1, int(end) - begin))
        if frame is None:
            raise MaskanimError(str(self.path), "nothing is shown between start and end", "a part inside of the clip")

    def _part(self, since: int | None) -> Iterator[SourceFrame]:
        begin = -math.inf if self._from is None else self._from
        held = None  # is shown at the beginning, unless one after it is
        for frame in self.base.frames(None if self._from is since is None else (self._from or 0) + (since or 0)):
            if frame.pts <= begin:
                held = frame
                continue
            if held:
                yield held
            held = None
            if self._to is not None and frame.pts >= self._to:
                return
            yield frame
        if held and held.pts + held.duration > begin:
            yield held


class Resampled(_View):
    """A source at a constant rate: at each tick the frame that is being shown.

    The ticks lie on multiples of 1/fps from the time at which the base says to begin; the time base is the coarsest in
    which all of them are whole.
    """

    def __init__(self, base: FrameSource, fps: Fraction) -> None:
        super().__init__(base)
        self._zero, self._fps = base.first * base.time_base, fps
        bottom = math.lcm(self._zero.denominator, fps.numerator)
        self.time_base = Fraction(math.gcd(int(self._zero * bottom), int(bottom / fps)), bottom)
        if self.time_base.denominator > FINEST:
            self.time_base = 1 / fps
            self._zero = round(self._zero * fps) / fps
        self._step = int(1 / fps / self.time_base)
        self.first, self.rate = int(self._zero / self.time_base), fps
        if base.frame_count is not None:
            self.frame_count = math.ceil(base.frame_count / base.rate * fps)

    def frames(self, since: int | None = None) -> Iterator[SourceFrame]:
        seconds = self.base.time_base
        latest, first, tick, end = None, 0, 0, Fraction(0)
        for frame in self.base.frames(None if since is None else math.floor(since * self.time_base / seconds)):
            reached = math.ceil((frame.pts * seconds - self._zero) * self._fps)
            if latest is None:
                first = tick = reached
            elif reached > tick:
                yield from self._repeated(latest, tick, reached)
                tick = reached
            latest, end = frame, (frame.pts + frame.duration) * seconds
        if latest is not None:
            # However short it is, something is shown.
            yield from self._repeated(latest, tick, max(first + 1, math.ceil((end - self._zero) * self._fps)))

    def _repeated(self, frame: SourceFrame, first: int, end: int) -> Iterator[SourceFrame]:
        image = lru_cache(maxsize=1)(frame.image) if callable(frame.image) else frame.image  # converted once
        return (SourceFrame(image, self.first + tick * self._step, self._step) for tick in range(first, end))


class Looped(_View):
    """A source over and over, each round directly behind the one before.

    Args:
        base: can be read more than once.
        times: how often it is shown, at least once; None where only `duration` ends it.
        duration: seconds after which it ends, in the midst of a round; None for whole rounds.

    Attributes:
        lap: the first round, known when it is over.

    Raises:
        MaskanimError: it is to be shown less than once, or cannot be read again.
    """

    def __init__(self, base: FrameSource, times: int | None = None, duration: Fraction | None = None) -> None:
        super().__init__(base)
        if times is not None and times < 1:
            raise MaskanimError("loop", str(times), "1 or more")
        if duration is not None and duration <= 0:
            raise MaskanimError("duration", f"{float(duration):g} s", "more than 0 s")
        if base.once:
            raise MaskanimError(str(base.path), "it can be read once only", "a file, to show it again and again")
        self.lap: Lap | None = None
        self._times = times
        self._ticks = None if duration is None else math.ceil(duration / base.time_base)
        counts = [base.frame_count * times] if base.frame_count is not None and times is not None else []
        counts += [math.ceil(duration * base.rate)] if duration is not None else []
        self.frame_count = min(counts, default=None)

    def frames(self, since: int | None = None) -> Iterator[SourceFrame]:
        """See `FrameSource`. Every round is decoded, since only that tells how long it is."""
        offset, begin = 0, None
        for _ in count() if self._times is None else range(self._times):
            end, start = 0, None
            for frame in self.base.frames():
                start = frame.pts if start is None else start
                begin = frame.pts if begin is None else begin
                end = frame.pts + frame.duration
                left = math.inf if self._ticks is None else begin + self._ticks - (frame.pts + offset)
                if left <= 0:
                    return
                yield SourceFrame(frame.image, frame.pts + offset, int(min(frame.duration, left)))
            if start is None:
                return
            self.lap = Lap(start * self.time_base, (end - start) * self.time_base)
            offset += end - start


def parse_time(text: str | float | Fraction, subject: str = "time") -> Fraction:
    """A time in seconds.

    Args:
        text: seconds, ``mm:ss`` or ``hh:mm:ss``, each with or without decimals; or a number.
        subject: what an error is about, for example ``--start``.

    Raises:
        MaskanimError: it is none of these, or negative.
    """
    try:
        parts = [Fraction(part) for part in str(text).strip().split(":")]
    except (ValueError, ZeroDivisionError):
        parts = []
    if not 1 <= len(parts) <= 3 or min(parts) < 0 or any(part >= 60 for part in parts[1:]):
        raise MaskanimError(subject, f"'{text}'", "seconds or hh:mm:ss, such as 12.5 or 1:02:03")
    return Fraction(sum(part * 60**i for i, part in enumerate(reversed(parts))))


def parse_rate(text: str | float | Fraction, subject: str = "fps") -> Fraction:
    """Frames per second, exactly as they are written: ``30``, ``29.97`` or ``30000/1001``.

    Raises:
        MaskanimError: it is no number from above zero up to 1000.
    """
    try:
        rate = Fraction(str(text).strip())
    except (ValueError, ZeroDivisionError):
        rate = Fraction(0)
    if not 0 < rate <= 1000 or rate.numerator > FINEST:
        raise MaskanimError(subject, f"'{text}'", "frames per second, such as 25, 29.97 or 30000/1001")
    return rate
