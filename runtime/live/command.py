"""What ``maskanim-run --live`` does: names become a source and outputs, and the run is shown while it lasts."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from contextlib import ExitStack
from pathlib import Path

from maskanim.errors import MaskanimError
from maskanim.ops import Frame
from maskanim.progress import ProgressBar
from maskanim.provenance import Claim, claim_by_default
from maskanim.runtime.animator import Animator
from maskanim.runtime.live.hosts import LOOPBACK, is_loopback
from maskanim.runtime.live.loop import LiveReport, go_live
from maskanim.runtime.live.outputs import FileOutput, Output, VirtualCamera
from maskanim.runtime.live.page import PORT, Page
from maskanim.runtime.live.sources import ClipCamera, LiveSource, PacedClip
from maskanim.video import Clip

DEFAULT_OUTPUTS = ("page",)
FILE_SUFFIXES = (".mp4", ".mov", ".webm")

Say = Callable[[str], object]
ClaimFor = Callable[[Path], Claim | None]


def run_live(
    animator: Animator,
    image: Frame,
    clip: Clip,
    to: Sequence[str],
    host: str = LOOPBACK,
    provenance: bool | None = None,
    say: Say = print,
) -> LiveReport:
    """Animate a picture live.

    Args:
        animator: stays open.
        image: the picture, (H, W, 3) uint8 RGB.
        clip: a camera, or a clip that is played at its pace; stays open.
        to: where the pictures go; see `open_output`. Empty means the page.
        host: the address on which a page listens.
        provenance: whether recordings are signed as generated; see `provenance.claim_by_default`.
        say: called with lines for the user.

    Returns:
        How it went; the report has been said.

    Raises:
        MaskanimError: an output cannot be opened or failed; the source failed, after every output was finished.
    """
    source = live_source(clip)

    def claim_for(path: Path) -> Claim | None:
        return claim_by_default(Claim.of(animator.model), path, provenance, say)

    outputs = _opened(to or DEFAULT_OUTPUTS, host, source.interval, claim_for)
    for output in outputs:
        say(f"live: {output.place} (end it with Ctrl-C)")
    if not is_loopback(host) and any(isinstance(output, Page) for output in outputs):
        say(f"warning: everyone who reaches {host} can watch")
    with ProgressBar("frame") as bar:

        def tell(report: LiveReport) -> None:
            bar.update(report.shown, None, str(report))

        report = go_live(animator, image, source, outputs, tell=tell)
    say(f"live: ended; {report}")
    if report.lost:
        raise report.lost
    return report


def _opened(names: Sequence[str], host: str, interval: float, claim_for: ClaimFor) -> list[Output]:
    """All of them, or none."""
    with ExitStack() as owned:
        outputs = []
        for name in names:
            outputs.append(open_output(name, host, interval, claim_for))
            owned.push(outputs[-1])
        owned.pop_all()
    return outputs


def live_source(clip: Clip) -> LiveSource:
    """A camera as it comes, and any other clip at its own pace."""
    return ClipCamera(clip) if clip.once else PacedClip(clip)


def open_output(name: str, host: str, interval: float, claim_for: ClaimFor = lambda path: None) -> Output:
    """An output by its name.

    Args:
        name: ``page``, ``page:8080``, ``camera`` for a virtual camera, or the name of an mp4, mov or webm to record to.
        host: the address on which a page listens.
        interval: seconds between the source's frames.
        claim_for: what a recording says of how it was made.

    Raises:
        MaskanimError: there is no such output here.
    """
    kind, _, port = name.partition(":")
    if kind == "page" and (port.isdecimal() or not port):
        return Page(host, int(port or PORT))
    if name == "camera":
        return VirtualCamera(interval)
    if Path(name).suffix.lower() in FILE_SUFFIXES:
        return FileOutput(name, interval, claim_for(Path(name)))
    raise MaskanimError(f"--to {name}", "no such output", "page, page:PORT, camera, or a video file")
