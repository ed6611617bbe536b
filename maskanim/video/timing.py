"""Which part of a clip is shown, at what rate and how often: all times are exact fractions, so that nothing drifts."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from fractions import Fraction
from functools import lru_cache
from itertools import count

from maskanim.errors import MaskanimError
from maskanim.ops import Frame
from maskanim.video.audio import Lap
from maskanim.video.clip import Footage, ShownFrame

FINEST = 2**31 - 1  # ticks per second that an mp4 can state


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


class Timed(Footage):
    """Footage that shows another one differently."""

    def __init__(self, base: Footage) -> None:
        self.base, self.path, self.once = base, base.path, base.once
        self.time_base, self.rate, self.frame_count, self.first = (
            base.time_base,
            base.rate,
            base.frame_count,
            base.first,
        )

    @property
    def warning(self) -> str | None:  # type: ignore[override]
        """See `Footage`."""
        return self.base.warning

    def close(self) -> None:
        """See `Footage`."""
        self.base.close()


class Trimmed(Timed):
    """A part of the footage, from the frame shown at its start, which becomes time zero, to the last before its end.

    Args:
        base: the footage; seconds are counted from the time at which it says to begin.
        start: seconds; None begins with the first frame, and leaves all times as they are.
        end: seconds; None for all the rest.

    Raises:
        MaskanimError: the end is not behind the start.
    """

    def __init__(self, base: Footage, start: Fraction | None, end: Fraction | None = None) -> None:
        super().__init__(base)
        if end is not None and end <= (start or 0):
            received = f"a part from {float(start or 0):g} s to {float(end):g} s"
            raise MaskanimError(str(base.path), received, "an end behind the start")
        self._from = None if start is None else base.first + math.ceil(start / base.time_base)
        self._to = None if end is None else base.first + math.ceil(end / base.time_base)
        self.first = base.first if start is None else 0
        if end is not None or base.frame_count is not None:
            self.frame_count = self._estimate(start or Fraction(0), end)

    def _estimate(self, start: Fraction, end: Fraction | None) -> int:
        whole = None if self.base.frame_count is None else self.base.frame_count / self.rate
        ends = [at for at in (end, whole) if at is not None]
        return max(1, math.ceil((min(ends) - start) * self.rate))

    @property
    def start(self) -> Fraction | None:
        """The time of the base, in seconds, that becomes zero; None where times stay as they are."""
        return None if self._from is None else self._from * self.time_base

    @property
    def end(self) -> Fraction | None:
        """The time of the base, in seconds, at which nothing more is shown."""
        return None if self._to is None else self._to * self.time_base

    def shown(self, since: int | None = None) -> Iterator[ShownFrame]:
        """See `Footage`.

        Raises:
            MaskanimError: nothing is shown in this part.
        """
        empty = True
        for frame in self._part(since):
            empty = False
            yield self._cut(frame)
        if empty:
            raise MaskanimError(str(self.path), "nothing is shown between start and end", "a part inside of the clip")

    def _part(self, since: int | None) -> Iterator[ShownFrame]:
        begin = -math.inf if self._from is None else self._from
        held = None  # is shown at the beginning, unless one after it is
        for frame in self.base.shown(None if self._from is since is None else (self._from or 0) + (since or 0)):
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

    def _cut(self, frame: ShownFrame) -> ShownFrame:
        begin, end = frame.pts, frame.pts + frame.duration
        if self._from is not None:
            begin = max(begin, self._from)
        if self._to is not None:
            end = min(end, self._to)
        return ShownFrame(frame.image, begin - (self._from or 0), max(1, end - begin))


class Resampled(Timed):
    """The footage at a constant rate: at each tick the frame that is being shown.

    The ticks lie on multiples of 1/fps from the time at which the base says to begin; the time base is the coarsest in
    which all of them are whole.

    Args:
        base: any footage.
        fps: frames per second.
    """

    def __init__(self, base: Footage, fps: Fraction) -> None:
        super().__init__(base)
        self._zero, self._fps = base.first * base.time_base, fps
        self.time_base = _common(self._zero, 1 / fps)
        if self.time_base.denominator > FINEST:
            self.time_base = 1 / fps
            self._zero = round(self._zero * fps) / fps
        self._step = int(1 / fps / self.time_base)
        self.first, self.rate = int(self._zero / self.time_base), fps
        if base.frame_count is not None:
            self.frame_count = math.ceil(base.frame_count / base.rate * fps)

    def shown(self, since: int | None = None) -> Iterator[ShownFrame]:
        """See `Footage`."""
        latest, first, tick, end = None, 0, 0, Fraction(0)
        for frame in self.base.shown(None if since is None else math.floor(since * self.time_base / self._ticks)):
            reached = math.ceil((frame.pts * self._ticks - self._zero) * self._fps)
            if latest is None:
                first = tick = reached
            elif reached > tick:
                yield from self._repeated(latest, tick, reached)
                tick = reached
            latest, end = frame, (frame.pts + frame.duration) * self._ticks
        if latest is not None:
            # However short it is, something is shown.
            yield from self._repeated(latest, tick, max(first + 1, math.ceil((end - self._zero) * self._fps)))

    @property
    def _ticks(self) -> Fraction:
        return self.base.time_base

    def _repeated(self, frame: ShownFrame, first: int, end: int) -> Iterator[ShownFrame]:
        image = _drawn_once(frame.image)
        return (ShownFrame(image, self.first + tick * self._step, self._step) for tick in range(first, end))


def _drawn_once(image: Frame | Callable[[], Frame]) -> Frame | Callable[[], Frame]:
    return lru_cache(maxsize=1)(image) if callable(image) else image


def _common(a: Fraction, b: Fraction) -> Fraction:
    """The greatest fraction of which both are whole multiples."""
    return Fraction(math.gcd(a.numerator * b.denominator, b.numerator * a.denominator), a.denominator * b.denominator)


class Looped(Timed):
    """The footage over and over, each round directly behind the one before.

    Args:
        base: can be read more than once.
        times: how often it is shown, at least once; None where only `duration` ends it.
        duration: seconds after which it ends, in the midst of a round; None for whole rounds.

    Attributes:
        lap: the first round, known when it is over.

    Raises:
        MaskanimError: it is to be shown less than once, or cannot be read again.
    """

    def __init__(self, base: Footage, times: int | None = None, duration: Fraction | None = None) -> None:
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

    def shown(self, since: int | None = None) -> Iterator[ShownFrame]:
        """See `Footage`. Every round is decoded, since only that tells how long it is."""
        offset, begin = 0, None
        for _ in count() if self._times is None else range(self._times):
            end, start = 0, None
            for frame in self.base.shown():
                start = frame.pts if start is None else start
                begin = frame.pts if begin is None else begin
                end = frame.pts + frame.duration
                left = math.inf if self._ticks is None else begin + self._ticks - (frame.pts + offset)
                if left <= 0:
                    return
                yield ShownFrame(frame.image, frame.pts + offset, int(min(frame.duration, left)))
            if start is None:
                return
            self.lap = Lap(start * self.time_base, (end - start) * self.time_base)
            offset += end - start
