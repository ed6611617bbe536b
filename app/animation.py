"""A picture and a clip to what the page shows: the animated clip, and beside it the masks it was made from."""

from __future__ import annotations

import os
from collections.abc import Iterator
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from threading import Event
from time import perf_counter
from typing import NamedTuple

from maskanim.app.limits import Limits
from maskanim.app.worker import CancelledError, LoadedModel
from maskanim.logs import collected_logs
from maskanim.provenance import Claim, claim_by_default, signed
from maskanim.runtime.loop import FrameInput, animate_frames
from maskanim.runtime.runner import FrameResult
from maskanim.video import Clip, ClipWriter, open_clip, read_picture
from maskanim.views import draw_cells

RESULT, MASKS = "animated.mp4", "masks.mp4"


@dataclass
class Request:
    """An animation that was asked for; as a `Progress` it knows how far it is.

    Args:
        picture, clip: the files.
        folder: where the two videos go; it exists.
    """

    picture: Path
    clip: Path
    folder: Path
    limits: Limits
    done: int = 0  # frames so far
    total: int | None = None  # how many there will be, an estimate; None as long as it is not known
    cancelled: Event = field(default_factory=Event)  # set by whoever asked, when the result is not wanted any more
    stopping: Event = field(default_factory=Event)  # set when the page ends
    notes: list[str] = field(default_factory=list)  # lines for the user

    def update(self, done: int, total: int | None, note: str = "") -> None:
        """Remember how far it is.

        Raises:
            CancelledError: it is to end.
        """
        self.done = done
        if self.cancelled.is_set() or self.stopping.is_set():
            raise CancelledError


class Animated(NamedTuple):
    """What came of it."""

    result: Path  # the animated clip, with the driving clip's times and audio
    masks: Path  # d, m_d, m_dp and m_dr side by side, 1024x256, without audio
    frames: int  # how many
    seconds: float  # how long it took
    engine: str  # what ran it


def animate(request: Request, loaded: LoadedModel) -> Animated:
    """Do what was asked for.

    Raises:
        MaskanimError: an input is damaged or over a limit; neither video is left then.
        CancelledError: it was cancelled, or the worker closes; likewise.
    """
    start, animator, result = perf_counter(), loaded.animator, request.folder / RESULT
    request.limits.check_picture(request.picture)
    source, request.stopping = loaded.source(request.picture, lambda: read_picture(request.picture)), loaded.stopping
    request.limits.check_clip_size(request.clip)
    told: list[str] = []
    with collected_logs(told), open_clip(request.clip) as clip:
        request.limits.check_clip(clip)
        request.total = clip.frame_count
        composite = clip.audio is not None
        claim = claim_by_default(Claim.of(animator.model, composite=composite), result, None, request.notes.append)
        silent = Clip(clip.path, iter(()), clip.time_base, clip.rate, clip.frame_count)
        masks_path = request.folder / MASKS
        with (
            signed(result, claim) as unsigned,
            ClipWriter(masks_path, silent) as masks,
            ClipWriter(unsigned, clip) as pictures,
        ):

            def take(item: FrameInput, shown: FrameResult) -> None:
                assert shown.steps is not None
                driving, steps = shown.steps
                silent.frame_duration = clip.frame_duration
                pictures.write(shown.finish(), item.pts)
                masks.write(draw_cells(driving, steps.mask, steps.perturbed, steps.refined), item.pts)

            run = partial(animator.runner.run, source, mode="steps")
            frames = animate_frames(run, _inputs(request, clip, loaded), take, request)
        told.extend([clip.warning] if clip.warning else [])
    request.notes.extend(line.replace(f"{request.clip.parent}{os.sep}", "") for line in told)
    engine = f"{animator.engine.name}, {animator.engine.detail}"
    return Animated(result, masks_path, frames, perf_counter() - start, engine)


def _inputs(request: Request, clip: Clip, loaded: LoadedModel) -> Iterator[FrameInput]:
    first: int | None = None
    for image, pts in clip:
        first = pts if first is None else first
        request.limits.check_time(clip, float((pts + clip.frame_duration - first) * clip.time_base))
        yield FrameInput(loaded.animator.runner.prepare(image), pts)
