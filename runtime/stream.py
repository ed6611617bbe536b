"""A whole clip: decoding, animating and encoding overlap."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from time import perf_counter
from typing import NamedTuple

from maskanim.grid import draw_grid
from maskanim.ops import Array, Frame, postprocess, preprocess
from maskanim.runtime.animator import Animation, Animator
from maskanim.runtime.overlap import ahead, behind
from maskanim.video import Clip, ClipWriter, check_output, open_clip, read_picture

Progress = Callable[[int, int | None], object]
Step = tuple[Array, Animation, int]  # the prepared driving frame, what became of it, its time


class Result(NamedTuple):
    """A clip that was written.

    Attributes:
        output: where it is.
        frames: how many it has.
        seconds: how long it took, from the source picture to the closed file.
    """

    output: Path
    frames: int
    seconds: float

    @property
    def rate(self) -> float:
        """Frames per second, end to end."""
        return self.frames / self.seconds


def animate_clip(
    animator: Animator,
    source: str | Path,
    driving: str | Path,
    output: str | Path,
    *,
    grid: bool = False,
    progress: Progress | None = None,
) -> Result:
    """Animate a picture file by a clip file.

    Args:
        animator: stays open.
        source: the picture; see `video.read_picture`.
        driving: the clip; see `video.open_clip`.
        output: the mp4 to write, with the driving clip's timestamps and audio; an older one is replaced on
            success only.
        grid: write all steps side by side, 2048x256, instead of the frame alone.
        progress: called for each animated frame with their number so far and the estimated total, or None.

    Raises:
        MaskanimError: an input cannot be read or the output cannot be written; nothing is left then.
    """
    image = read_picture(source)
    check_output(output, [source, driving])
    with open_clip(driving) as clip:
        return animate_opened(animator, image, clip, output, grid=grid, progress=progress)


def animate_opened(
    animator: Animator,
    image: Frame,
    clip: Clip,
    output: str | Path,
    *,
    grid: bool = False,
    progress: Progress | None = None,
) -> Result:
    """As `animate_clip`, for a picture that has been read, (H, W, 3) uint8 RGB, and a clip that is open."""
    start, done = perf_counter(), 0
    source = animator.encode_source(image)
    with ClipWriter(output, clip) as writer:

        def write(step: Step) -> None:
            driving, animation, pts = step
            drawn = draw_grid(source, driving, animation) if grid else postprocess(animation.frame)
            writer.write(drawn, pts)

        prepared = ((preprocess(frame), pts) for frame, pts in clip)
        with ahead(prepared) as frames, behind(write) as hand_over:
            for done, (driving, pts) in enumerate(frames, 1):
                hand_over((driving, animator.animate_prepared(source, driving), pts))
                if progress:
                    progress(done, clip.frame_count)
    return Result(writer.path, done, perf_counter() - start)
