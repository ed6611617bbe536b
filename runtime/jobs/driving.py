"""What drives a render: a clip with its square, or a motion file with its masks, as one stream of inputs."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from functools import partial
from itertools import chain, pairwise
from typing import Any, NamedTuple, cast

from maskanim.ops import Frame
from maskanim.runtime.animator import Animator
from maskanim.runtime.framing import BoxPath, Crop, clip_path, cut
from maskanim.runtime.jobs.settings import Job, RenderSettings
from maskanim.runtime.loop import FrameInput
from maskanim.runtime.motion import Motion, open_motion
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
        for (mask, pts), after in pairwise(chain[Any](self.motion, [None])):
            yield ShownFrame(cast(Frame, mask), pts, after.pts - pts if after else self.motion.frame_duration)


class Opened(NamedTuple):
    """A driver of which nothing has been read yet.

    Attributes:
        clip: gives the times and the audio; to be closed.
        again: opens it once more.
        motion: the motion file, if it is one.
    """

    clip: Clip
    again: Callable[[], Clip]
    motion: Motion | None = None


@dataclass(frozen=True)
class Driving:
    """A driver whose square is known.

    Attributes:
        clip: see `Opened`.
        frames: its frames, or perturbed masks.
        replays: whether they are masks.
        path: the square to be cut out; None: the largest centred one.
    """

    clip: Clip
    frames: Iterable[TimedFrame]
    replays: bool = False
    path: BoxPath | None = None

    def inputs(self, animator: Animator, *, keep: bool) -> Iterator[FrameInput]:
        """What goes into the runner, frame by frame; with `keep` beside the driving frames, as they are cut out."""
        for image, pts in self.frames:
            if self.replays:
                yield FrameInput(image, pts)
                continue
            square = image if self.path is None else cut(image, self.path.at(float(pts * self.clip.time_base)))
            yield FrameInput(animator.runner.prepare(square), pts, square if keep else None)


def open_driving(job: Job, settings: RenderSettings) -> Opened:
    """Open what drives a job.

    Raises:
        MaskanimError: it cannot be read, or there is no such part of it.
    """
    part = {name: getattr(settings, name) for name in ("start", "end", "fps", "loop", "duration")}
    if job.replays:
        motion = open_motion(job.driving)
        arranged = partial(arrange_clip, MotionFootage(motion), **part)
        return Opened(arranged(), arranged, motion)
    again = partial(open_clip, job.driving, audio=settings.audio, **part)
    return Opened(again(), again)


def framed(opened: Opened, crop: Crop, animator: Animator) -> Driving:
    """The driver, when its square is found.

    Raises:
        MaskanimError: it was made by another model, no object is seen in it, or the rectangle is not inside it.
    """
    clip, again, motion = opened
    if motion:
        motion.require_model(animator.model)
        return Driving(clip, clip, replays=True)
    if crop == "center":
        return Driving(clip, clip)
    if clip.once:
        path, frames = clip_path(crop, clip, animator.mask)
        return Driving(clip, frames, path=path)
    with again() as other:  # not a frame of the clip itself is read: a resumed render begins somewhere in it
        return Driving(clip, clip, path=clip_path(crop, other, animator.mask, again)[0])
