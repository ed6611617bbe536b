"""One pair live: the source framed as for a render, and every frame made to look like one."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from maskanim.errors import MaskanimError
from maskanim.ops import Frame
from maskanim.runtime.animator import Animator
from maskanim.runtime.jobs.driver import open_driver
from maskanim.runtime.jobs.interrupts import Tell
from maskanim.runtime.jobs.picture import Canvas, canvas, read_job_source, source_square
from maskanim.runtime.jobs.render import Inputs
from maskanim.runtime.jobs.settings import Job, RenderSettings
from maskanim.runtime.live.command import run_live
from maskanim.runtime.live.hosts import LOOPBACK
from maskanim.runtime.stream import Fed, Shown


class LiveAnimator(Animator):
    """An animator whose frames are those of a canvas: put back, beside their driver, labelled.

    Args:
        animator: does the work, and is closed by whoever opened it.
        draw: makes the frames that are seen.
    """

    def __init__(self, animator: Animator, draw: Canvas) -> None:
        super().__init__(animator.choice, animator.runner, animator.engine)
        self._draw = draw

    def animate(self, source: Any, frame: Frame) -> Frame:
        """As `Animator.animate`, as the canvas shows it."""
        return self._draw(Shown(Fed(None, 0, frame), lambda: super(LiveAnimator, self).animate(source, frame)))


def open_live(job: Job, how: RenderSettings) -> Inputs:
    """Read the source and open the driver.

    Raises:
        MaskanimError: an input cannot be read, or something is asked for that live frames cannot have.
    """
    unlike = {
        "--keep-alpha": how.keep_alpha,
        "--crop-driving": how.driving_crop != "center",
        "--grid": how.view == "grid",
    }
    for flag, given in (unlike | {"a motion file": job.replays}).items():
        if given:
            raise MaskanimError("--live", f"together with {flag}", "one of the two")
    return Inputs(read_job_source(job, how), open_driver(job, how))


def animate_live(
    animator: Animator, inputs: Inputs, how: RenderSettings, to: Sequence[str], host: str | None, tell: Tell
) -> None:
    """Animate until the driver ends or the user does.

    Args:
        animator: stays open.
        inputs: from `open_live`.
        how: crop, paste back, side by side, label and provenance count.
        to, host: see `live.command.run_live`.
        tell: called with lines that a person should read.

    Raises:
        MaskanimError: an output cannot be opened or failed, or the source was lost.
    """
    picture = inputs.picture.image
    box = source_square(picture, how, animator)
    _, draw = canvas(animator, picture, box, how)
    clip = inputs.driver.clip
    run_live(LiveAnimator(animator, draw), draw.square, clip, to, host or LOOPBACK, how.provenance, tell)
