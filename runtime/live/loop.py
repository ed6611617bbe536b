"""The live loop: the freshest frame, animated, handed to every output, and its age measured."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from contextlib import ExitStack, suppress
from time import monotonic
from typing import NamedTuple

from maskanim.errors import MaskanimError
from maskanim.ops import Frame
from maskanim.runtime.animator import Animator
from maskanim.runtime.live.freshest import SECONDS_OF_SILENCE, Freshest, freshest
from maskanim.runtime.live.latency import Latency, LatencyMeter
from maskanim.runtime.live.outputs import Output
from maskanim.runtime.live.sources import Captured, LiveSource

SECONDS_PER_TELLING = 0.25


class LiveReport(NamedTuple):
    """How a live run stands, or stood at its end.

    Attributes:
        shown: frames that were animated and handed over.
        captured: frames that the source gave.
        dropped: those of them for which a newer one was there before the model was free.
        latency: over the last seconds; None before there are two frames.
        lost: why the source failed; None while it has not.
    """

    shown: int
    captured: int
    dropped: int
    latency: Latency | None
    lost: MaskanimError | None = None

    def __str__(self) -> str:
        return f"{self.latency or 'waiting'}; {self.shown} shown, {self.dropped} of {self.captured} dropped"


Tell = Callable[[LiveReport], object]


def go_live(
    animator: Animator,
    image: Frame,
    source: LiveSource,
    outputs: Sequence[Output],
    *,
    tell: Tell | None = None,
    silence: float = SECONDS_OF_SILENCE,
) -> LiveReport:
    """Animate a picture by the freshest frame of a source until it ends, fails, or the user interrupts.

    One frame is in flight at a time, on every engine: the second would only wait behind the first, and be older when
    it comes out. So a frame is at most one interval of the camera and one of the model old.

    Args:
        animator: stays open; one of batch 1, since the rest of a batch would be computed for nothing.
        image: the picture, (H, W, 3) uint8 RGB.
        source: is closed at the end.
        outputs: are finished and closed at the end, however it comes; a recording is kept.
        tell: called a few times a second with how it stands.
        silence: seconds without a frame after which the source counts as lost.

    Returns:
        How it went; `lost` tells an end that nobody wanted.

    Raises:
        MaskanimError: the picture is not one, or an output failed.
    """
    with ExitStack() as opened:
        for output in outputs:
            opened.enter_context(output)
        encoded = animator.encode_source(image)
        animator.animate(encoded, image)  # the first run of each network is slow, and no live frame's business
        live = _Live(animator, encoded, outputs, tell)
        return live.run(opened.enter_context(freshest(source, silence)))


class _Live:
    def __init__(self, animator: Animator, source: object, outputs: Sequence[Output], tell: Tell | None) -> None:
        self.animator, self.source, self.outputs, self.tell = animator, source, outputs, tell
        self.meter, self.shown, self.told = LatencyMeter(), 0, 0.0
        self.lost: MaskanimError | None = None

    def run(self, frames: Freshest) -> LiveReport:
        with suppress(KeyboardInterrupt):  # the usual way to end it
            while (captured := self._next(frames)) is not None:
                self._show(captured)
                self._tell(frames)
        return self._report(frames)

    def _next(self, frames: Freshest) -> Captured | None:
        try:
            return next(frames, None)
        except MaskanimError as error:
            self.lost = error
            return None

    def _show(self, captured: Captured) -> None:
        frame = self.animator.animate(self.source, captured.image)
        self.meter.add(captured.at, monotonic())
        self.shown += 1
        for output in self.outputs:
            output.show(frame, captured.at)

    def _tell(self, frames: Freshest) -> None:
        if monotonic() - self.told < SECONDS_PER_TELLING:
            return
        self.told, report = monotonic(), self._report(frames)
        for output in self.outputs:
            output.tell(str(report))
        if self.tell:
            self.tell(report)

    def _report(self, frames: Freshest) -> LiveReport:
        return LiveReport(self.shown, frames.captured, frames.dropped, self.meter.latency(), self.lost)
