"""One pair, from the files to the finished video and what is written beside it."""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Callable, Generator
from contextlib import ExitStack, closing
from dataclasses import asdict, dataclass, replace
from fractions import Fraction
from pathlib import Path
from time import perf_counter
from typing import Any, NamedTuple

from maskanim import __version__
from maskanim.bundle import MANIFEST
from maskanim.errors import MaskanimError
from maskanim.provenance import Claim, claim_by_default, sign_video
from maskanim.runtime.animator import Animator
from maskanim.runtime.framing import Box
from maskanim.runtime.jobs.driver import Driver, Opened, framed, open_driver
from maskanim.runtime.jobs.interrupts import Interrupts, Tell
from maskanim.runtime.jobs.picture import Canvas, Matte, Matted, canvas, read_job_source, source_square
from maskanim.runtime.jobs.settings import Job, RenderSettings, check_job
from maskanim.runtime.motion import MotionWriter, check_motion_output
from maskanim.runtime.overlap import ahead, behind
from maskanim.runtime.stream import Progress, Shown, Wanted, overlapped
from maskanim.video import (
    Clip,
    ClipWriter,
    FrameWriter,
    Picture,
    ResumableWriter,
    check_output,
    check_picture_name,
    open_clip,
    write_picture,
)
from maskanim.views import ContactSheet, MaskFolder, check_mask_folder
from maskanim.views.masks import Masks


class Rendered(NamedTuple):
    """A job that is done.

    Attributes:
        output: the video.
        frames: how many were animated now, and `kept` before.
        seconds: how long that took, from the source picture to the closed file.
    """

    output: Path
    frames: int
    kept: int
    seconds: float

    @property
    def rate(self) -> float:
        """Frames per second, end to end."""
        return self.frames / self.seconds


class Inputs(NamedTuple):
    """What a job reads, opened; to be closed."""

    picture: Picture
    driver: Opened

    def __enter__(self) -> Inputs:
        return self

    def __exit__(self, *_: object) -> None:
        self.driver.clip.close()


def open_inputs(job: Job, how: RenderSettings) -> Inputs:
    """Check all places and open what is read: whatever is wrong shows before a model is loaded.

    Raises:
        MaskanimError: an input cannot be read, an output could not be written, or two options exclude each other.
    """
    check_job(job, how)
    given = [job.source] + [path for path in (Path(job.driving),) if path.is_file()]
    check_output(job.output, given, alpha=how.keep_alpha)
    if job.extras.motion:
        check_motion_output(job.extras.motion)
    if job.extras.masks:
        check_mask_folder(job.extras.masks)
    if job.extras.preview:
        _check_preview(job.extras.preview)
    return Inputs(read_job_source(job, how), open_driver(job, how))


def render(
    animator: Animator,
    job: Job,
    how: RenderSettings,
    inputs: Inputs,
    tell: Tell,
    progress: Progress | None = None,
    interrupts: Interrupts | None = None,
) -> Rendered:
    """Render one pair.

    Args:
        animator: stays open.
        job: the files.
        how: the settings.
        inputs: from `open_inputs` for the same job and settings; closed afterwards.
        tell: called with lines that a person should read.
        progress: called for each animated frame with their number so far, those kept included, and the estimated
            total, or None.
        interrupts: is told of a recording, so that it can be ended.

    Raises:
        MaskanimError: an input cannot be read or an output cannot be written. Nothing new is left then but, of a long
            render, its whole segments, for `resume`.
    """
    start = perf_counter()
    with inputs:
        clip = inputs.driver.clip
        if interrupts:
            interrupts.recording = clip if clip.once else None
        composite = how.view != "frame" or how.paste_back or clip.audio is not None
        claim = Claim.of(animator.model, composite=composite)
        signed = claim_by_default(claim, job.output, how.provenance, tell)
        output = _unsigned(job.output) if signed else job.output
        driver = framed(inputs.driver, how.driving_crop, animator)
        with _writer(output, clip, job, how, animator) as writer:
            kept = _skip(writer, clip, tell)
            try:
                done = _Rendering(animator, job, how, inputs.picture, driver, writer).run(kept, progress)
            except KeyboardInterrupt:
                _tell_kept(writer, tell)
                raise
        if clip.warning:
            tell(f"warning: {clip.warning}")
    if signed:
        sign_video(output, signed, job.output)
        output.unlink()
    if job.extras.preview:
        _write_preview(job.output, job.extras.preview)
    return Rendered(job.output, done, kept, perf_counter() - start)


def fingerprint(animator: Animator, job: Job, how: RenderSettings) -> str:
    """Says what is rendered: two renders of one fingerprint give the same frames.

    Files count by name, size and time of change: a long driver is not read twice for this.
    """
    settings = asdict(replace(how, resume=False, provenance=None))
    told = {
        "version": __version__,
        "model": hashlib.sha256((animator.model.path / MANIFEST).read_bytes()).hexdigest(),
        "engine": [animator.engine.name, animator.engine.detail],
        "source": _file(job.source),
        "driving": _file(Path(job.driving)),
        "settings": settings,
        "extras": [bool(extra) for extra in asdict(job.extras).values()],
    }
    return hashlib.sha256(json.dumps(told, sort_keys=True, default=_plain).encode()).hexdigest()


def _plain(value: Any) -> str:
    if isinstance(value, Fraction):
        return str(value)
    raise TypeError(f"{type(value).__name__} in a fingerprint")


def _file(path: Path) -> list[Any]:
    """What tells a file, or the files of a folder, from another version of it."""
    files = sorted(path.iterdir()) if path.is_dir() else [path]
    stats = [(file.name, file.stat()) for file in files if file.exists()]
    return [str(path.resolve()), *([name, stat.st_size, stat.st_mtime_ns] for name, stat in stats)]


def _unsigned(output: Path) -> Path:
    """Where a video waits for its signature; always the same place, so that its segments are found again."""
    return output.resolve().with_name(f".{output.stem}.unsigned{output.suffix}")


def _writer(output: Path, clip: Clip, job: Job, how: RenderSettings, animator: Animator) -> FrameWriter:
    if clip.once:
        if how.resume:
            raise MaskanimError("--resume", f"{job.driving}, which cannot be read again", "a file")
        return ClipWriter(output, clip, alpha=how.keep_alpha)
    mark = fingerprint(animator, job, how)
    return ResumableWriter(output, clip, fingerprint=mark, resume=how.resume, alpha=how.keep_alpha)


def _skip(writer: FrameWriter, clip: Clip, tell: Tell) -> int:
    """Go on behind what is there; how many frames that is."""
    if not isinstance(writer, ResumableWriter):
        return 0
    for line in writer.told:
        tell(line)
    if writer.last_pts is None:
        return 0
    clip.skip_past(writer.last_pts)
    tell(f"going on behind {writer.frames_done} frames that are whole")
    return writer.frames_done


def _tell_kept(writer: FrameWriter, tell: Tell) -> None:
    if isinstance(writer, ResumableWriter) and writer.frames_kept:
        tell(f"stopped; {writer.frames_kept} frames are whole: the same command with --resume goes on behind them")


@dataclass(frozen=True)
class _Rendering:
    """A job whose files are open."""

    animator: Animator
    job: Job
    how: RenderSettings
    picture: Picture
    driver: Driver
    writer: FrameWriter

    def run(self, kept: int, progress: Progress | None) -> int:
        """Animate and write all frames that are left; how many that were."""
        done = 0
        with ExitStack() as sinks:
            frames = sinks.enter_context(closing(self._transparent() if self.how.keep_alpha else self._opaque(sinks)))
            for done, _ in enumerate(frames, 1):
                if progress:
                    progress(kept + done, self.driver.clip.frame_count)
        return done

    def _opaque(self, sinks: ExitStack) -> Generator[None, None, None]:
        """Yields once for each frame."""
        feed = self.driver.feed(self.animator, keep=self.how.view == "side-by-side")
        source, draw = canvas(self.animator, self.picture.image, self._box(), self.how)
        take = self._taker(draw, sinks)
        yield from overlapped(self.animator.runner, source, feed, self._wanted(), take)

    def _transparent(self) -> Generator[None, None, None]:
        matte = Matte(self.animator, self.picture, self._box(), self.how, replays=self.job.replays)

        def write(frame: Matted) -> None:
            self.writer.write(frame.finish(), frame.pts)

        with ahead(self.driver.feed(self.animator, keep=False)) as fed, behind(write) as hand_over:
            for frame in matte.frames(fed):
                hand_over(frame)
                yield

    def _box(self) -> Box | None:
        return source_square(self.picture.image, self.how, self.animator)

    def _wanted(self) -> Wanted:
        if self.job.replays:
            return "replay"
        if self.how.view == "grid" or self.job.extras.masks:
            return "steps"
        return "perturbed" if self.job.extras.motion else "frame"

    def _taker(self, draw: Canvas, sinks: ExitStack) -> Callable[[Shown], None]:
        """What is done with each frame."""
        extras, clip = self.job.extras, self.driver.clip
        motion = masks = None
        if extras.motion:
            motion = sinks.enter_context(MotionWriter(extras.motion, clip, self.animator.model))
        if extras.masks:
            masks = sinks.enter_context(MaskFolder(extras.masks))

        def take(shown: Shown) -> None:
            self.writer.write(draw(shown), shown.fed.pts)
            if motion and shown.perturbed is not None:
                motion.write(shown.perturbed, shown.fed.pts)
            if masks and shown.steps:
                steps = shown.steps.animation
                masks.write(Masks(steps.mask, steps.perturbed, steps.refined))

        return take


def _check_preview(path: Path) -> None:
    check_picture_name(path)
    if not path.resolve().parent.is_dir():
        raise MaskanimError(f"--preview {path}", "its folder does not exist", "an existing folder")


def _write_preview(video: Path, preview: Path) -> None:
    """A contact sheet of what the file shows."""
    sheet = ContactSheet()
    with open_clip(video) as clip:
        for image, pts in clip:
            sheet.add(image, float(pts * clip.time_base))
    partial = preview.with_name(f".{os.getpid()}-{preview.name}")
    try:
        write_picture(partial, sheet.draw())
        partial.replace(preview)
    finally:
        partial.unlink(missing_ok=True)
