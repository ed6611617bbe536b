"""One pair, from the files to the finished video and what is written beside it."""

from __future__ import annotations

import hashlib
import json
import logging
import os
import re
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import asdict, replace
from functools import partial
from pathlib import Path
from time import perf_counter
from typing import Any, NamedTuple

from maskanim import __version__
from maskanim.atomic import check_no_input, check_writable, hidden_path, sole_writer
from maskanim.bundle import MANIFEST
from maskanim.errors import MaskanimError, system_error
from maskanim.progress import Progress
from maskanim.provenance import Claim, check_signing, claim_by_default, signed
from maskanim.runtime.animator import Animator
from maskanim.runtime.jobs.driving import Inputs
from maskanim.runtime.jobs.interrupts import Interrupts
from maskanim.runtime.jobs.picture import Canvas, Matte, source_square
from maskanim.runtime.jobs.settings import Job, RenderSettings, check_job
from maskanim.runtime.loop import SILENT, FrameInput, Run, Take, animate_frames
from maskanim.runtime.motion import MotionWriter, check_motion_output
from maskanim.runtime.runner import FrameResult, Mode
from maskanim.video import (
    Clip,
    ClipWriter,
    FrameWriter,
    ResumableWriter,
    check_output,
    check_picture_name,
    open_clip,
    write_picture,
)
from maskanim.views import Masks, check_mask_folder, contact_sheet, mask_folder

LOG = logging.getLogger(__name__)
PLAIN = RenderSettings()


class Rendered(NamedTuple):
    """A job that is done.

    Attributes:
        output: the video.
        frames: how many were animated now, and `kept` before.
        seconds: how long that took, from the source picture to the closed file.
        mark: of a batch, the job's `fingerprint`.
    """

    output: Path
    frames: int
    kept: int
    seconds: float
    mark: str = ""

    @property
    def rate(self) -> float:
        """Frames per second, end to end."""
        return self.frames / self.seconds


def open_inputs(job: Job, settings: RenderSettings = PLAIN) -> Inputs:
    """Check all places and open what is read: whatever is wrong shows before a model is loaded.

    Raises:
        MaskanimError: an input cannot be read, an output could not be written, another process is writing it, or two
            options exclude each other.
    """
    check_job(job, settings)
    extras, given = job.extras, [job.source, *filter(Path.is_file, [Path(job.driving)])]
    with os_errors(job):
        check_output(job.output, given, alpha=settings.keep_alpha)
        if settings.provenance:
            check_signing(job.output)
        if extras.motion:
            check_motion_output(extras.motion)
        if extras.masks:
            check_mask_folder(extras.masks)
        if extras.preview:
            check_picture_name(extras.preview)
            check_writable(extras.preview)
            check_no_input(extras.preview, given)
        with sole_writer(job.output):  # a second render shall not first load a model
            pass
        return Inputs.open(job, settings)


def render(
    animator: Animator,
    job: Job,
    settings: RenderSettings = PLAIN,
    inputs: Inputs | None = None,
    progress: Progress = SILENT,
    interrupts: Interrupts | None = None,
) -> Rendered:
    """Render one pair.

    Args:
        animator: stays open.
        job: the files.
        settings: how it is rendered.
        inputs: from `open_inputs` for the same job and settings; closed afterwards. None: they are opened now.
        progress: told after each frame, those kept included.
        interrupts: is told of a recording, so that it can be ended.

    Raises:
        MaskanimError: an input cannot be read or an output cannot be written. Nothing new is left then but, of a long
            render, its whole segments, for `resume`.
    """
    start = perf_counter()
    with os_errors(job), inputs or open_inputs(job, settings) as opened:
        clip = opened.clip
        if interrupts:
            interrupts.recording = clip if clip.once else None
        claim = Claim.of(animator.model, composite=settings.composite or clip.audio is not None)
        wanted = claim_by_default(claim, job.output, settings.provenance, LOG.info)
        feed = opened.frame_inputs(animator, settings)
        # Where a video waits for its signature; always the same place, so that its segments are found again.
        unsigned = hidden_path(job.output.resolve(), f".unsigned{job.output.suffix}")
        with (
            signed(job.output, wanted, unsigned) as output,
            _writer(output, clip, job, settings, animator) as writer,
            ExitStack() as sinks,
        ):
            kept = _skip(writer, clip)
            run, take = _animation(animator, job, settings, opened, writer, sinks)
            try:
                done = animate_frames(run, feed, take, progress, kept, clip.frame_count)
            except KeyboardInterrupt:
                if isinstance(writer, ResumableWriter) and writer.frames_kept:
                    told = "stopped; %d frames are whole: the same command with --resume goes on behind them"
                    LOG.info(told, writer.frames_kept)
                raise
        if clip.warning:
            LOG.warning("warning: %s", clip.warning)
        if job.extras.preview:
            with open_clip(job.output) as shown:
                sheet = contact_sheet((image, float(pts * shown.time_base)) for image, pts in shown)
            write_picture(job.extras.preview, sheet)
    return Rendered(job.output, done, kept, perf_counter() - start)


@contextmanager
def os_errors(job: Job) -> Iterator[None]:
    """Whatever the system refuses becomes the job's one line.

    Raises:
        MaskanimError: in place of an OSError.
    """
    try:
        yield
    except OSError as error:
        raise system_error(error, str(job.output)) from error


def fingerprint(animator: Animator, job: Job, settings: RenderSettings) -> str:
    """Says what is rendered: two renders of one fingerprint give the same frames.

    Files count by name, size and time of change: a long driver is not read twice for this.
    """
    stated = {
        "version": __version__,
        "model": hashlib.sha256((animator.model.path / MANIFEST).read_bytes()).hexdigest(),
        # How many threads share the work, which differs between workers, is no other engine.
        "engine": [animator.engine.name, re.sub(r"threads: \d+", "", animator.engine.detail)],
        "source": _file(job.source),
        "driving": _file(Path(job.driving)),
        "settings": asdict(replace(settings, resume=False, provenance=None)),
        "extras": [bool(extra) for extra in asdict(job.extras).values()],
    }
    # The settings' times are fractions.
    return hashlib.sha256(json.dumps(stated, sort_keys=True, default=str).encode()).hexdigest()


def _file(path: Path) -> list[Any]:
    """What tells a file, or the files of a folder, from another version of it."""
    files = sorted(path.iterdir()) if path.is_dir() else [path]
    stats = [(file.name, file.stat()) for file in files if file.exists()]
    return [os.path.realpath(path), *([name, stat.st_size, stat.st_mtime_ns] for name, stat in stats)]


def _writer(output: Path, clip: Clip, job: Job, settings: RenderSettings, animator: Animator) -> FrameWriter:
    if clip.once:
        if settings.resume:
            raise MaskanimError("--resume", f"{job.driving}, which cannot be read again", "a file")
        return ClipWriter(output, clip, alpha=settings.keep_alpha)
    mark = fingerprint(animator, job, settings)
    return ResumableWriter(output, clip, fingerprint=mark, resume=settings.resume, alpha=settings.keep_alpha)


def _skip(writer: FrameWriter, clip: Clip) -> int:
    """Go on behind what is there; how many frames that is."""
    if not isinstance(writer, ResumableWriter):
        return 0
    for line in writer.told:
        LOG.info(line)
    if writer.last_pts is None:
        return 0
    clip.skip_past(writer.last_pts)
    LOG.info("going on behind %d frames that are whole", writer.frames_done)
    return writer.frames_done


def _animation(
    animator: Animator,
    job: Job,
    settings: RenderSettings,
    inputs: Inputs,
    writer: FrameWriter,
    sinks: ExitStack,
) -> tuple[Run, Take]:
    """What animates the inputs, and what is done with each frame; `sinks` is given what has to be closed."""
    box, mode = source_square(inputs.picture.image, settings, animator), _mode(job, settings)
    if settings.keep_alpha:
        matte = Matte(animator, inputs.picture, box, settings, sinks)
        return partial(matte.run, mode=mode), lambda item, result: writer.write(result.finish(), item.pts)
    canvas = Canvas(animator, inputs.picture.image, box, settings, sinks)
    motion = masks = None
    if job.extras.motion:
        motion = sinks.enter_context(MotionWriter(job.extras.motion, inputs.clip, animator.model))
    if job.extras.masks:
        masks = sinks.enter_context(mask_folder(job.extras.masks))

    def take(item: FrameInput, result: FrameResult) -> None:
        writer.write(canvas.draw(result, item.driving), item.pts)
        steps = result.steps.animation if result.steps else None
        perturbed = steps.perturbed if steps else result.perturbed
        if motion and perturbed is not None:
            motion.write(perturbed, item.pts)
        if masks and steps:
            masks(Masks(steps.mask, steps.perturbed, steps.refined))

    return partial(animator.runner.run, canvas.source, mode=mode), take


def _mode(job: Job, settings: RenderSettings) -> Mode:
    """What the runner has to give beside the frames."""
    if job.replays:
        return "replay"
    if settings.view == "grid" or job.extras.masks:
        return "steps"
    return "record" if job.extras.motion else "frame"
