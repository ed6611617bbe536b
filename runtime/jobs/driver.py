"""What drives a render: a clip with its square, or a motion file with its masks, as one stream of what is fed."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from functools import partial
from typing import Any, NamedTuple, cast

from maskanim.ops import Frame
from maskanim.runtime.animator import Animator
from maskanim.runtime.framing import BoxPath, Crop, clip_path, cut
from maskanim.runtime.jobs.settings import Job, RenderSettings
from maskanim.runtime.motion import Motion, TimedMask, open_motion
from maskanim.runtime.stream import Fed
from maskanim.video import Clip, TimedFrame, arrange_clip, open_clip
from maskanim.video.clip import Footage, ShownFrame


class MotionFootage(Footage):
    """A motion file where a clip is expected: its masks stand for pictures, and are cut and repeated alike."""

    def __init__(self, motion: Motion) -> None:
        self.motion, self.path = motion, motion.path
        self.time_base, self.rate, self.frame_count = motion.time_base, motion.rate, motion.frame_count
        self.first = next((pts for _, pts in motion), 0)

    def shown(self, since: int | None = None) -> Iterator[ShownFrame]:
        """See `Footage`; each lasts until the next one comes."""
        waiting: TimedMask | None = None
        for timed in self.motion:
            if waiting:
                yield _shown(waiting, timed.pts - waiting.pts)
            waiting = timed
        if waiting:
            yield _shown(waiting, self.motion.frame_duration)


def _shown(timed: TimedMask, duration: int) -> ShownFrame:
    return ShownFrame(cast(Frame, timed.mask), timed.pts, duration)


@dataclass(frozen=True)
class Driver:
    """An opened driver.

    Attributes:
        clip: gives the times and the audio; to be closed.
        frames: its frames, or perturbed masks.
        replays: whether they are masks.
        path: the square to be cut out; None: the largest centred one.
    """

    clip: Clip
    frames: Iterable[TimedFrame]
    replays: bool = False
    path: BoxPath | None = None

    def feed(self, animator: Animator, *, keep: bool) -> Iterator[Fed]:
        """What goes into the runner, frame by frame.

        Args:
            keep: with the driving frames, as they are cut out.
        """
        for image, pts in self.frames:
            if self.replays:
                yield Fed(image, pts)
                continue
            square = image if self.path is None else cut(image, self.path.at(float(pts * self.clip.time_base)))
            yield Fed(animator.runner.prepare(square), pts, square if keep else None)


class Opened(NamedTuple):
    """A driver of which nothing has been read yet.

    Attributes:
        clip: to be closed.
        again: opens it once more.
        motion: the motion file, if it is one.
    """

    clip: Clip
    again: Callable[[], Clip]
    motion: Motion | None = None


def open_driver(job: Job, how: RenderSettings) -> Opened:
    """Open what drives a job.

    Raises:
        MaskanimError: it cannot be read, or there is no such part of it.
    """
    if job.replays:
        motion = open_motion(job.driving)
        arranged = partial(arrange_clip, MotionFootage(motion), **_arrangement(how))
        return Opened(arranged(), arranged, motion)
    again = partial(open_clip, job.driving, audio=how.audio, **_arrangement(how))
    return Opened(again(), again)


def framed(opened: Opened, crop: Crop, animator: Animator) -> Driver:
    """The driver, when its square is found.

    Raises:
        MaskanimError: it was made by another model, no object is seen in it, or the rectangle is not inside it.
    """
    clip, again, motion = opened
    if motion:
        motion.require_model(animator.model)
        return Driver(clip, clip, replays=True)
    if crop == "center":
        return Driver(clip, clip)
    if clip.once:
        path, frames = clip_path(crop, clip, animator.mask)
        return Driver(clip, frames, path=path)
    with again() as other:  # not a frame of the clip itself is read: a resumed render begins somewhere in it
        return Driver(clip, clip, path=clip_path(crop, other, animator.mask, again)[0])


def _arrangement(how: RenderSettings) -> dict[str, Any]:
    return {name: getattr(how, name) for name in ("start", "end", "fps", "loop", "duration")}
