"""Many pairs: what is finished is passed over, what fails is told at the end, and nothing stops the rest."""

from __future__ import annotations

import json
import logging
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import astuple, dataclass, field
from pathlib import Path
from typing import Any

from maskanim.atomic import write_text
from maskanim.errors import MaskanimError
from maskanim.progress import Progress
from maskanim.runtime.animator import Animator
from maskanim.runtime.jobs.interrupts import Interrupts
from maskanim.runtime.jobs.render import Rendered, fingerprint, os_errors, render
from maskanim.runtime.jobs.settings import Job, RenderSettings
from maskanim.runtime.loop import SILENT
from maskanim.video import is_feed

LOG = logging.getLogger(__name__)
RECORD = ".maskanim.json"

# Renders a job; None if its output is there already.
RenderOne = Callable[[Job], Rendered | None]
Outcome = Rendered | MaskanimError | None


@dataclass
class Summary:
    """What became of the jobs.

    Attributes:
        rendered: those that were rendered now.
        there: those whose output was there, whole, from the same files with the same settings.
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
    make_folders(jobs)

    def outcomes() -> Iterator[tuple[Job, Outcome]]:
        for job in jobs:
            if interrupts.asked:
                return
            try:
                yield job, render_one(job)
            except MaskanimError as error:
                yield job, error

    return summarize(jobs, outcomes())


def summarize(jobs: Sequence[Job], outcomes: Iterable[tuple[Job, Outcome]]) -> Summary:
    """Say and record what becomes of jobs.

    Args:
        jobs: all of them.
        outcomes: of those that were begun, in any order.
    """
    found: dict[Job, Outcome] = {}
    for number, (job, outcome) in enumerate(outcomes, 1):
        found[job] = outcome = _recorded(job, outcome)
        if isinstance(outcome, MaskanimError):
            LOG.warning("%d of %d, failed: %s: %s", number, len(jobs), job.output.name, outcome)
        elif outcome:
            counts = number, len(jobs), job.output, outcome.frames, outcome.rate
            LOG.info("%d of %d: %s, %d frames, %.1f frames/s", *counts)
    begun = [(job, found[job]) for job in jobs if job in found]
    return Summary(
        [outcome for _, outcome in begun if isinstance(outcome, Rendered)],
        [job for job, outcome in begun if outcome is None],
        [(job, outcome) for job, outcome in begun if isinstance(outcome, MaskanimError)],
        [job for job in jobs if job not in found],
    )


def render_unless_there(
    animator: Animator,
    settings: RenderSettings,
    job: Job,
    progress: Progress = SILENT,
    interrupts: Interrupts | None = None,
) -> Rendered | None:
    """Render a job, unless its folder's record says that the same files gave with the same settings what is there.

    What a camera or a pipe gives is never the same. `summarize` writes the record: of many processes that render into
    one folder, one alone may.

    Raises:
        MaskanimError: as `render`.
    """
    with os_errors(job):
        mark = fingerprint(animator, job, settings)
        done = _marks(job.output.parent / RECORD).get(job.output.name)
        if done == [mark, *_sizes(job)] and not is_feed(job.driving):
            return None
        return render(animator, job, settings, None, progress, interrupts)._replace(mark=mark)


def _recorded(job: Job, outcome: Outcome) -> Outcome:
    """The outcome; an error where the folder's record cannot be written."""
    if isinstance(outcome, Rendered):
        record = job.output.parent / RECORD
        try:
            with os_errors(job):
                marks = _marks(record) | {job.output.name: [outcome.mark, *_sizes(job)]}
                write_text(record, json.dumps(marks, indent=1, sort_keys=True) + "\n")
        except MaskanimError as error:
            return error
    return outcome


def _sizes(job: Job) -> list[int]:
    """Bytes of each thing that a job has written; one that is gone has none, and one that was cut has fewer."""
    written = filter(None, (job.output, *astuple(job.extras)))
    return [sum(file.stat().st_size for file in (path, *path.rglob("*")) if file.is_file()) for path in written]


def _marks(record: Path) -> dict[str, list[Any]]:
    """What each output of a folder was rendered from, and the sizes of what was written."""
    try:
        found = json.loads(record.read_text("utf-8"))
    except (OSError, ValueError):
        return {}
    return found if isinstance(found, dict) else {}


def make_folders(jobs: Iterable[Job]) -> None:
    """Make the folders of all that jobs write; raises a MaskanimError where one cannot be made."""
    for path in filter(None, (path for job in jobs for path in (job.output, *astuple(job.extras)))):
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise MaskanimError(str(path.parent), f"cannot be made ({error.strerror})", "a folder") from error
