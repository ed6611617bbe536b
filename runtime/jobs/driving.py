"""What a job reads: its source picture, and a clip or a motion file that drives it."""

from __future__ import annotations

from collections.abc import Iterable, Iterator

from maskanim.closing import Closing
from maskanim.runtime.animator import Animator
from maskanim.runtime.framing import BoxPath, Finder, clip_path, cut
from maskanim.runtime.jobs.settings import Job, RenderSettings
from maskanim.runtime.loop import FrameInput
from maskanim.runtime.motion import Motion, open_motion
from maskanim.video import Clip, Picture, TimedFrame, arrange_clip, open_clip, read_source


class Inputs(Closing):
    """What a job reads, opened; to be closed.

    Attributes:
        picture: the source; without alpha, unless that is to be kept.
        clip: the driver, which gives the times and the audio; no frame of it has been read.
        motion: the motion file, if it is one: then the clip's frames are perturbed masks.
    """

    def __init__(self, picture: Picture, clip: Clip, motion: Motion | None = None) -> None:
        self.picture, self.clip, self.motion = picture, clip, motion

    @classmethod
    def open(cls, job: Job, settings: RenderSettings) -> Inputs:
        """Read the source and open the driver.

        Raises:
            MaskanimError: one cannot be read, or there is no such part of it.
        """
        picture = read_source(job.source, settings.source_frame, None if settings.keep_alpha else settings.background)
        part = {name: getattr(settings, name) for name in ("start", "end", "fps", "loop", "duration")}
        if job.replays:
            motion = open_motion(job.driving)
            return cls(picture, arrange_clip(motion, **part), motion)
        return cls(picture, open_clip(job.driving, audio=settings.audio, track=settings.video, **part))

    def close(self) -> None:
        self.clip.close()

    def frame_inputs(self, animator: Animator, settings: RenderSettings) -> Iterator[FrameInput]:
        """What goes into the runner, frame by frame; side by side, with the driving frames as they are cut out.

        Raises:
            MaskanimError: here, the motion was made by another model, no object is seen in the clip, or the rectangle
                is not inside it.
        """
        if self.motion:
            self.motion.require_model(animator.model)
            return (FrameInput(mask, pts) for mask, pts in self.clip)
        path: BoxPath | None = None
        frames: Iterable[TimedFrame] = self.clip
        if settings.driving_crop != "center":
            path, frames = clip_path(settings.driving_crop, self.clip, Finder.of(animator))
        return self._prepared(frames, path, animator, keep=settings.view == "side-by-side")

    def _prepared(
        self, frames: Iterable[TimedFrame], path: BoxPath | None, animator: Animator, *, keep: bool
    ) -> Iterator[FrameInput]:
        for image, pts in frames:
            square = image if path is None else cut(image, path.at(float(pts * self.clip.time_base)))
            yield FrameInput(animator.runner.prepare(square), pts, square if keep else None)
