"""What ``maskanim-run --live`` does: names become a source and outputs, and one pair is animated while it lasts."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from contextlib import ExitStack
from pathlib import Path

from maskanim.atomic import sole_writer
from maskanim.errors import MaskanimError
from maskanim.progress import Progress
from maskanim.provenance import Claim, check_signing, claim_by_default
from maskanim.runtime.animator import Animator
from maskanim.runtime.jobs import Inputs, Job, RenderSettings
from maskanim.runtime.jobs.picture import Canvas, source_square
from maskanim.runtime.live.loop import LiveReport, go_live
from maskanim.runtime.live.metrics import metrics_of
from maskanim.runtime.live.outputs import FileOutput, Output, VirtualCamera
from maskanim.runtime.live.page import PORT, Page
from maskanim.runtime.loop import SILENT
from maskanim.video import Clip, check_output
from maskanim.video.encoding import FORMATS

LOG = logging.getLogger(__name__)


def open_live(job: Job, settings: RenderSettings, to: Sequence[str]) -> Inputs:
    """Read the source and open the driver; what of the outputs is wrong shows here, too, before a model is loaded.

    Args:
        to: the outputs' names, see `open_outputs`.

    Raises:
        MaskanimError: an input cannot be read, something is asked for that live frames cannot have, there is no such
            output, or a recording cannot be written.
    """
    unlike = {
        "--keep-alpha": settings.keep_alpha,
        "--crop-driving": settings.driving_crop != "center",
        "--grid": settings.view == "grid",
        "a motion file": job.replays,
    }
    for flag, given in unlike.items():
        if given:
            raise MaskanimError("--live", f"together with {flag}", "one of the two")
    with ExitStack() as held:
        for name in to:
            if kind_of(name) == "file":
                check_output(name, [job.source, job.driving])
                held.enter_context(sole_writer(Path(name)))
                if settings.provenance:
                    check_signing(Path(name))
    return Inputs.open(job, settings)


def kind_of(name: str) -> str:
    """``page``, ``camera`` or ``file``; raises a MaskanimError for any other name of an output."""
    kind, _, port = name.partition(":")
    if name == "camera" or (kind == "page" and (port.isdecimal() or not port)):
        return kind
    if Path(name).suffix.lower() in FORMATS:
        return "file"
    raise MaskanimError(f"--to {name}", "no such output", "page, page:PORT, camera, or a video file")


def open_outputs(
    names: Sequence[str], host: str, clip: Clip, animator: Animator, settings: RenderSettings
) -> list[Output]:
    """The outputs by their names, all of them or none.

    Args:
        names: each ``page``, ``page:8080``, ``camera`` for a virtual camera, or an mp4, mov or webm to record to.
        clip: the driver, whose rate the outputs have.
        settings: whether recordings are signed, and as what.

    Raises:
        MaskanimError: there is no such output here.
    """
    interval, metrics = float(1 / clip.rate), metrics_of(animator)
    outputs: list[Output] = []
    with ExitStack() as owned:
        for name in names:
            kind = kind_of(name)
            if kind == "page":
                outputs.append(Page(host, int(name.partition(":")[2] or PORT), metrics))
            elif kind == "camera":
                outputs.append(VirtualCamera(interval))
            else:
                claim = Claim.of(animator.model, composite=settings.composite)
                wanted = claim_by_default(claim, Path(name), settings.provenance, LOG.info)
                outputs.append(FileOutput(name, interval, wanted))
            owned.push(outputs[-1])
        owned.pop_all()
    return outputs


def animate_live(
    animator: Animator,
    inputs: Inputs,
    settings: RenderSettings,
    outputs: Sequence[Output],
    progress: Progress = SILENT,
) -> LiveReport:
    """Animate until the driver ends or the user does.

    Args:
        settings: crop, paste back, side by side and label count.
        outputs: from `open_outputs`; are finished and closed.

    Raises:
        MaskanimError: the source picture has no such square, or an output failed.
    """
    with ExitStack() as failing:
        for output in outputs:
            failing.push(output)
        picture = inputs.picture.image
        canvas = Canvas(animator, picture, source_square(picture, settings, animator), settings, failing)
        failing.pop_all()
    return go_live(animator.runner, canvas.source, inputs.clip, outputs, canvas.draw, progress)
