"""A picture and a clip to what the page shows: the animated clip, and beside it the masks it was made from."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from threading import Event
from time import perf_counter
from typing import Any, NamedTuple

import cv2
import numpy as np

from maskanim.app.limits import Limits
from maskanim.app.stage import Loaded
from maskanim.ops import Array, Frame, postprocess
from maskanim.provenance import Claim, claim_by_default, signed
from maskanim.runtime.overlap import ahead, behind
from maskanim.runtime.runner import Runner, Steps
from maskanim.spec import IMAGE_SIZE
from maskanim.video import Clip, ClipWriter, open_clip, read_picture

RESULT, MASKS = "animated.mp4", "masks.mp4"


class CancelledError(Exception):
    """Nobody waits for it any more, or the page ends."""


@dataclass
class Job:
    """An animation that was asked for.

    Args:
        picture, clip: the files.
        folder: where the two videos go; it exists.

    Attributes:
        done: frames so far.
        total: how many there will be, an estimate; None as long as it is not known.
        cancelled: set by whoever asked, when the result is not wanted any more.
        notes: lines for the user.
    """

    picture: Path
    clip: Path
    folder: Path
    limits: Limits
    done: int = 0
    total: int | None = None
    cancelled: Event = field(default_factory=Event)
    notes: list[str] = field(default_factory=list)


class Animated(NamedTuple):
    """What came of it.

    Attributes:
        result: the animated clip, with the driving clip's times and audio.
        masks: d, m_d, m_dp and m_dr side by side, 1024x256, without audio.
        frames: how many.
        seconds: how long it took.
        engine: what ran it.
    """

    result: Path
    masks: Path
    frames: int
    seconds: float
    engine: str


def animate(job: Job, loaded: Loaded) -> Animated:
    """Do a job.

    Raises:
        MaskanimError: an input is damaged or over a limit; neither video is left then.
        CancelledError: it was cancelled, or the stage closes; likewise.
    """
    start, animator, result = perf_counter(), loaded.animator, job.folder / RESULT
    job.limits.check_picture(job.picture)
    source = loaded.source(job.picture, lambda: read_picture(job.picture))
    job.limits.check_clip_size(job.clip)
    with open_clip(job.clip) as clip:
        job.limits.check_clip(clip)
        job.total = clip.frame_count
        claim = claim_by_default(Claim.of(animator.model, composite=bool(clip.audio)), result, None, job.notes.append)
        with signed(result, claim) as unsigned:
            _write(job, clip, unsigned, loaded, source)
        job.notes.extend([clip.warning] if clip.warning else [])
    engine = f"{animator.engine.name}, {animator.engine.detail}"
    return Animated(result, job.folder / MASKS, job.done, perf_counter() - start, engine)


def _write(job: Job, clip: Clip, result: Path, loaded: Loaded, source: Any) -> None:
    runner = loaded.animator.runner
    silent = Clip(clip.path, iter(()), clip.time_base, clip.rate, clip.frame_count)
    with ClipWriter(job.folder / MASKS, silent) as masks, ClipWriter(result, clip) as pictures:

        def write(step: tuple[Steps, int]) -> None:
            steps, pts = step
            silent.frame_duration = clip.frame_duration
            pictures.write(postprocess(steps.animation.frame), pts)
            masks.write(masks_in_a_row(steps), pts)

        with ahead(_prepared(job, clip, runner)) as frames, behind(write) as hand_over:
            for step in _timed_steps(runner, source, frames):
                hand_over(step)
                job.done += 1
                if job.cancelled.is_set() or loaded.stopping.is_set():
                    raise CancelledError


def _prepared(job: Job, clip: Clip, runner: Runner) -> Iterator[tuple[Any, int]]:
    first: int | None = None
    for image, pts in clip:
        first = pts if first is None else first
        job.limits.check_time(clip, float((pts + clip.frame_duration - first) * clip.time_base))
        yield runner.prepare(image), pts


def _timed_steps(runner: Runner, source: Any, frames: Iterable[tuple[Any, int]]) -> Iterator[tuple[Steps, int]]:
    times: deque[int] = deque()  # of the frames that the runner has taken and not yet given back

    def untimed() -> Iterator[Any]:
        for prepared, pts in frames:
            times.append(pts)
            yield prepared

    for steps in runner.steps(source, untimed()):
        yield steps, times.popleft()


def masks_in_a_row(steps: Steps) -> Frame:
    """d, m_d, m_dp and m_dr of one driving frame: (256, 1024, 3) uint8 RGB, a mask's pixels as 4x4 blocks."""
    animation = steps.animation
    return np.hstack([_cell(cell) for cell in (steps.driving, animation.mask, animation.perturbed, animation.refined)])


def _cell(image: Array) -> Frame:
    enlarged = cv2.resize(postprocess(image), (IMAGE_SIZE, IMAGE_SIZE), interpolation=cv2.INTER_NEAREST)
    return np.asarray(enlarged, np.uint8)
