"""A whole clip: decoding, animating and encoding overlap."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Generator, Iterable, Iterator
from contextlib import closing
from functools import partial
from pathlib import Path
from time import perf_counter
from typing import Any, Literal, NamedTuple

from maskanim.grid import draw_grid
from maskanim.ops import Array, Frame, postprocess
from maskanim.runtime.animator import Animator
from maskanim.runtime.overlap import ahead, behind
from maskanim.runtime.runner import Runner, Steps
from maskanim.video import Clip, ClipWriter, check_output, open_clip, read_picture

Progress = Callable[[int, int | None], object]
# What is wanted of a frame beside the picture: nothing, m_dp, or every step; or m_dp is what goes in.
Wanted = Literal["frame", "perturbed", "steps", "replay"]


class Fed(NamedTuple):
    """What goes into the runner for one frame.

    Attributes:
        prepared: by `Runner.prepare`; for ``replay`` a perturbed mask, (1, 1, 64, 64) float32 in [0, 1].
        pts: when the frame is shown, in ticks of its clip.
        driving: the driving frame, where somebody wants to see it.
    """

    prepared: Any
    pts: int
    driving: Frame | None = None


class Shown(NamedTuple):
    """What came of it.

    Attributes:
        fed: what went in.
        finish: to be called once, from any thread: (256, 256, 3) uint8 RGB.
        perturbed: m_dp, where it was wanted.
        steps: every step, where they were.
    """

    fed: Fed
    finish: Callable[[], Frame]
    perturbed: Array | None = None
    steps: Steps | None = None


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


def overlapped(
    runner: Runner, source: Any, feed: Iterable[Fed], wanted: Wanted, take: Callable[[Shown], object]
) -> Generator[None, None, None]:
    """Animate what is fed, while one thread decodes ahead and another takes the frames; yields once for each frame.

    Args:
        source: encoded by the runner.
        feed: runs in a thread of its own.
        wanted: of each frame.
        take: called for each frame in order, in a thread of its own.
    """
    with ahead(feed) as fed, behind(take) as hand_over:
        for shown in animated(runner, source, fed, wanted):
            hand_over(shown)
            yield


def animated(runner: Runner, source: Any, feed: Iterable[Fed], wanted: Wanted) -> Iterator[Shown]:
    """What comes of each frame, in order; several may be taken before the first comes out."""
    waiting: deque[Fed] = deque()

    def entering() -> Iterator[Any]:
        for fed in feed:
            waiting.append(fed)
            yield fed.prepared

    if wanted == "steps":
        for steps in runner.steps(source, entering()):
            image = steps.animation.frame[0]
            yield Shown(waiting.popleft(), partial(postprocess, image), steps.animation.perturbed, steps)
    elif wanted == "perturbed":
        for finish, perturbed in runner.recorded(source, entering()):
            yield Shown(waiting.popleft(), finish, perturbed)
    else:
        run = runner.replayed if wanted == "replay" else runner.frames
        for finish in run(source, entering()):
            yield Shown(waiting.popleft(), finish)


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
        output: the file to write, with the driving clip's timestamps and audio; an older one is replaced on
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
    start, done, runner = perf_counter(), 0, animator.runner
    source = animator.encode_source(image)
    arrays = runner.source_arrays(source) if grid else None
    with ClipWriter(output, clip) as writer:

        def write(shown: Shown) -> None:
            steps = shown.steps
            frame = draw_grid(arrays, *steps) if arrays and steps else shown.finish()
            writer.write(frame, shown.fed.pts)

        feed = (Fed(runner.prepare(frame), pts) for frame, pts in clip)
        with closing(overlapped(runner, source, feed, "steps" if grid else "frame", write)) as frames:
            for done, _ in enumerate(frames, 1):
                if progress:
                    progress(done, clip.frame_count)
    return Result(writer.path, done, perf_counter() - start)
