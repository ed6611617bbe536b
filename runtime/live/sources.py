"""When the frames of a live clip were captured: by a camera, or by playing a file at its pace as if it were one."""

from __future__ import annotations

from collections.abc import Iterator
from time import monotonic
from typing import NamedTuple

from maskanim.ops import Frame
from maskanim.video import Clip

CLOCK_DRIFT = 1e-4  # crystals of cameras and of computers agree within 100 parts per million


class Captured(NamedTuple):
    """A frame and when it was captured."""

    image: Frame  # (H, W, 3) uint8 RGB
    at: float  # seconds on the clock of `time.monotonic`


def captured(clip: Clip) -> Iterator[Captured]:
    """Each frame as soon as it is there, until the clip ends or is stopped: a camera's, or any other clip's."""
    return camera_frames(clip) if clip.once else paced_frames(clip)


def camera_frames(clip: Clip) -> Iterator[Captured]:
    """A camera's frames.

    A timestamp tells when its frame was captured, but from an origin of the camera's own. That origin is learnt from
    the frame that came soonest after its capture: what others took longer was waiting, and counts as latency.
    """
    origin, last = None, 0.0
    for image, pts in clip:
        now, time = monotonic(), float(pts * clip.time_base)
        soonest = now - time
        origin = soonest if origin is None else min(soonest, origin + (now - last) * CLOCK_DRIFT)
        last = now
        yield Captured(image, origin + time)


def paced_frames(clip: Clip) -> Iterator[Captured]:
    """A clip played at its own rate, as a camera would deliver it.

    A frame counts as captured when it is due. Where decoding cannot keep the pace, the clip plays slower.
    """
    start, first = monotonic(), None
    for image, pts in clip:
        first = pts if first is None else first
        due = start + float((pts - first) * clip.time_base)
        late = monotonic() - due
        if late > 1 / clip.rate:
            start, due = start + late, due + late
        if clip.stopped.wait(max(0.0, due - monotonic())):
            return
        yield Captured(image, due)
