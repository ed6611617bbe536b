"""Many pairs: what is finished is passed over, what fails is told at the end, and nothing stops the rest."""

from __future__ import annotations

import json
import logging
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

from maskanim.atomic import write_text
from maskanim.errors import MaskanimError
from maskanim.progress import Progress
from maskanim.runtime.animator import Animator
from maskanim.runtime.jobs.interrupts import Interrupts
from maskanim.runtime.jobs.render import Rendered, fingerprint, open_inputs, render
from maskanim.runtime.jobs.settings import Job, RenderSettings
from maskanim.runtime.loop import SILENT

LOG = logging.getLogger(__name__)
RECORD = ".maskanim.json"


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


class Record:
    """Which outputs of a folder were rendered from what: a hidden file in the folder."""

    def __init__(self, folder: Path) -> None:
        self._path = folder / RECORD
        try:
            found = json.loads(self._path.read_text("utf-8"))
        except (OSError, ValueError):
            found = {}
        self._marks: dict[str, str] = found if isinstance(found, dict) else {}

    def has(self, job: Job, mark: str) -> bool:
        """Whether a job's output is there, rendered from what `mark` stands for."""
        return job.output.exists() and self._marks.get(job.output.name) == mark

    def add(self, job: Job, mark: str) -> None:
        """Remember a finished output."""
        self._marks[job.output.name] = mark
        write_text(self._path, json.dumps(self._marks, indent=1, sort_keys=True) + "\n")


def render_all(
    animator: Animator,
    jobs: Sequence[Job],
    settings: RenderSettings,
    interrupts: Interrupts,
    progress: Progress = SILENT,
) -> Summary:
    """Render job after job.

    Args:
        animator: stays open.
        jobs: their outputs are in one folder, which is made where it is missing.
        settings: of all of them.
        interrupts: is asked before each job.
        progress: as for `render`, for each job anew.

    Raises:
        MaskanimError: the folder cannot be made.
    """
    summary = Summary()
    record = _prepared(jobs)
    for number, job in enumerate(jobs, 1):
        if interrupts.asked:
            summary.left.append(job)
            continue
        try:
            mark = fingerprint(animator, job, settings)
            if record.has(job, mark):
                summary.there.append(job)
                continue
            done = render(animator, job, settings, open_inputs(job, settings), progress, interrupts)
            record.add(job, mark)
        except MaskanimError as error:
            summary.failed.append((job, error))
            LOG.warning("%d of %d, failed: %s: %s", number, len(jobs), job.output.name, error)
        else:
            summary.rendered.append(done)
            LOG.info("%d of %d: %s, %d frames, %.1f frames/s", number, len(jobs), job.output, done.frames, done.rate)
    return summary


def _prepared(jobs: Sequence[Job]) -> Record:
    """The folders of the jobs, made; the record of the first."""
    for job in jobs:
        extras = (job.extras.motion, job.extras.masks, job.extras.preview)
        for path in (job.output, *filter(None, extras)):
            try:
                path.parent.mkdir(parents=True, exist_ok=True)
            except OSError as error:
                raise MaskanimError(str(path.parent), f"cannot be made ({error.strerror})", "a folder") from error
    return Record(jobs[0].output.parent)
