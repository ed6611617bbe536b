"""Where live frames come from: a camera, or a clip played at its pace as if it were one."""

from __future__ import annotations

from collections.abc import Iterator
from fractions import Fraction
from time import monotonic
from typing import NamedTuple, Protocol

from maskanim.ops import Frame
from maskanim.video import Clip

CLOCK_DRIFT = 1e-4  # crystals of cameras and of computers agree within 100 parts per million


class Captured(NamedTuple):
    """A frame and when it was captured."""

    image: Frame  # (H, W, 3) uint8 RGB
    at: float  # seconds on the clock of `time.monotonic`


class LiveSource(Protocol):
    """Gives frames as they are captured; iterated in one thread, `close` may be called from another.

    Attributes:
        name: for messages, e.g. ``camera:0``.
        interval: seconds from one frame to the next, as the source states them.
    """

    @property
    def name(self) -> str: ...
    @property
    def interval(self) -> float: ...

    def __iter__(self) -> Iterator[Captured]:
        """Each frame as soon as it is there, until the source ends or is closed.

        Raises:
            MaskanimError: it failed, as a camera that was unplugged does.
        """

    def close(self) -> None:
        """End after the frame that is being read."""


class ClipCamera:
    """A camera that is read as a clip.

    A frame's timestamp tells when it was captured, but from an origin of the camera's own. That origin is learnt from
    the frame that came soonest after its capture: what others took longer was waiting, and counts as latency.

    Args:
        clip: from `video.open_clip("camera:0")`; it belongs to whoever opened it.
    """

    def __init__(self, clip: Clip) -> None:
        self.name, self.interval = str(clip.path), float(1 / clip.rate)
        self._clip = clip

    def __iter__(self) -> Iterator[Captured]:
        origin, last = None, 0.0
        for image, pts in self._clip:
            now, time = monotonic(), float(pts * self._clip.time_base)
            soonest = now - time
            origin = soonest if origin is None else min(soonest, origin + (now - last) * CLOCK_DRIFT)
            last = now
            yield Captured(image, origin + time)

    def close(self) -> None:
        self._clip.stop()


class PacedClip:
    """A clip played at its own rate, or at a given one, as a camera would deliver it.

    A frame counts as captured when it is due. Where decoding cannot keep the pace, the clip plays slower.

    Args:
        clip: any clip; it belongs to whoever opened it.
        rate: frames per second; None plays by the clip's timestamps.
    """

    def __init__(self, clip: Clip, rate: Fraction | float | None = None) -> None:
        self.name, self.interval = str(clip.path), float(1 / (rate or clip.rate))
        self._clip, self._paced = clip, rate is not None

    def __iter__(self) -> Iterator[Captured]:
        start, first = monotonic(), None
        for i, (image, pts) in enumerate(self._clip):
            first = pts if first is None else first
            due = start + (i * self.interval if self._paced else float((pts - first) * self._clip.time_base))
            late = monotonic() - due
            if late > self.interval:
                start, due = start + late, due + late
            if self._clip.stopped.wait(max(0.0, due - monotonic())):
                return
            yield Captured(image, due)

    def close(self) -> None:
        self._clip.stop()
