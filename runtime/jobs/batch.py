"""Many pairs: what is finished is passed over, what fails is told at the end, and nothing stops the rest."""

from __future__ import annotations

import json
import logging
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from maskanim.atomic import write_text
from maskanim.errors import MaskanimError
from maskanim.progress import Progress
from maskanim.runtime.animator import Animator
from maskanim.runtime.jobs.interrupts import Interrupts
from maskanim.runtime.jobs.render import Rendered, fingerprint, os_errors, render
from maskanim.runtime.jobs.settings import Job, RenderSettings
from maskanim.runtime.loop import SILENT

LOG = logging.getLogger(__name__)
RECORD = ".maskanim.json"

# Renders a job; None if its output is there already.
RenderOne = Callable[[Job], Rendered | None]


@dataclass
class Summary:
    """What became of the jobs.

    Attributes:
        rendered: those that were rendered now.
        there: those whose output was there, from the same files with the same settings.
        failed: those that could not be rendered, and why.
        left: those that were not begun, because somebody stopped it.
    """

    rendered: list[Rendered] = field(default_factory=list)
    there: list[Job] = field(default_factory=list)
    failed: list[tuple[Job, MaskanimError]] = field(default_factory=list)
    left: list[Job] = field(default_factory=list)

    def lines(self) -> list[str]:
        """What a person should read at the end."""
        counts = f"{len(self.rendered)} rendered, {len(self.there)} there already, {len(self.failed)} failed"
        lines = [counts + (f", {len(self.left)} not begun" if self.left else "")]
        return lines + [f"failed: {job.output.name}: {error}" for job, error in self.failed]


def render_all(jobs: Sequence[Job], render_one: RenderOne, interrupts: Interrupts) -> Summary:
    """Render job after job.

    Args:
        jobs: their folders are made where they are missing.
        render_one: `render_unless_there` with all but the job, or a `RenderProcess`.
        interrupts: is asked before each job.

    Raises:
        MaskanimError: a folder cannot be made.
    """
    summary = Summary()
    for job in jobs:
        _make_folders(job)
    for number, job in enumerate(jobs, 1):
        if interrupts.asked:
            summary.left.append(job)
            continue
        try:
            done = render_one(job)
        except MaskanimError as error:
            summary.failed.append((job, error))
            LOG.warning("%d of %d, failed: %s: %s", number, len(jobs), job.output.name, error)
            continue
        if done is None:
            summary.there.append(job)
        else:
            summary.rendered.append(done)
            LOG.info("%d of %d: %s, %d frames, %.1f frames/s", number, len(jobs), job.output, done.frames, done.rate)
    return summary


def render_unless_there(
    animator: Animator,
    settings: RenderSettings,
    job: Job,
    progress: Progress = SILENT,
    interrupts: Interrupts | None = None,
) -> Rendered | None:
    """Render a job, unless its folder's record says that the same files were rendered with the same settings.

    Raises:
        MaskanimError: as `render`.
    """
    with os_errors(job):
        record, mark = job.output.parent / RECORD, fingerprint(animator, job, settings)
        if job.output.exists() and _marks(record).get(job.output.name) == mark:
            return None
        done = render(animator, job, settings, None, progress, interrupts)
        marks = _marks(record) | {job.output.name: mark}
        write_text(record, json.dumps(marks, indent=1, sort_keys=True) + "\n")
    return done


def _marks(record: Path) -> dict[str, str]:
    """Which outputs of a folder were rendered from what."""
    try:
        found = json.loads(record.read_text("utf-8"))
    except (OSError, ValueError):
        return {}
    return found if isinstance(found, dict) else {}


def _make_folders(job: Job) -> None:
    extras = (job.extras.motion, job.extras.masks, job.extras.preview)
    for path in (job.output, *filter(None, extras)):
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise MaskanimError(str(path.parent), f"cannot be made ({error.strerror})", "a folder") from error
