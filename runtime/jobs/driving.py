"""What drives a render: a clip with its square, or a motion file with its masks, as one stream of inputs."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import NamedTuple

from maskanim.runtime.animator import Animator
from maskanim.runtime.framing import BoxPath, Crop, Finder, clip_path, cut
from maskanim.runtime.jobs.settings import Job, RenderSettings
from maskanim.runtime.loop import FrameInput
from maskanim.runtime.motion import Motion, open_motion
from maskanim.video import Clip, TimedFrame, arrange_clip, open_clip


class Opened(NamedTuple):
    """A driver of which nothing has been read yet.

    Attributes:
        clip: gives the times and the audio; to be closed.
        motion: the motion file, if it is one.
    """

    clip: Clip
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
        return Opened(arrange_clip(motion, **part), motion)
    return Opened(open_clip(job.driving, audio=settings.audio, track=settings.video, **part))


def framed(opened: Opened, crop: Crop, animator: Animator) -> Driving:
    """The driver, when its square is found.

    Raises:
        MaskanimError: it was made by another model, no object is seen in it, or the rectangle is not inside it.
    """
    clip, motion = opened
    if motion:
        motion.require_model(animator.model)
        return Driving(clip, clip, replays=True)
    if crop == "center":
        return Driving(clip, clip)
    path, frames = clip_path(crop, clip, Finder.of(animator))
    return Driving(clip, frames, path=path)
