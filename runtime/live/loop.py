"""The live loop: the freshest frame, animated, handed to every output, and its age measured in bounded memory."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager, suppress
from statistics import quantiles
from threading import Condition, Thread
from time import monotonic
from typing import Any, NamedTuple

from maskanim.errors import MaskanimError
from maskanim.ops import Frame
from maskanim.progress import Progress
from maskanim.runtime.live.outputs import Output
from maskanim.runtime.live.sources import Captured, captured
from maskanim.runtime.loop import SILENT
from maskanim.runtime.runner import FrameResult, Runner
from maskanim.video import Clip

SECONDS_PER_REPORT = 0.25
SECONDS_OF_SILENCE = 10.0  # a camera may take a few to start, and one that is gone may never say so
SECONDS_TO_END = 2.0
SECONDS_SHOWN = 5.0  # latency is that of the last seconds, as a person sees it
MOST_KEPT = 2000  # more frames than this in the seconds shown are no longer all kept

Draw = Callable[[FrameResult, Frame], Frame]


class Freshest:
    """The one frame that matters live: the newest of a clip that is read in a thread of its own; an iterator.

    A frame that is replaced before it was taken is dropped, and counted.

    Attributes:
        captured: how many frames the clip has given.
        dropped: how many of them were replaced before they were taken.
        lost: why the clip failed, or has been silent for too long, which ends the frames; None while it has not.
    """

    def __init__(self, clip: Clip) -> None:
        self.clip, self.captured, self.dropped = clip, 0, 0
        self.lost: MaskanimError | None = None
        self._silence = SECONDS_OF_SILENCE if clip.once else None  # a file may well show a picture for longer
        self._frame: Captured | None = None
        self._ended = False
        self._error: BaseException | None = None
        self._changed = Condition()

    def read(self) -> None:
        """Take the clip's frames until it ends or fails; the work of the thread."""
        try:
            for frame in captured(self.clip):
                with self._changed:
                    self.captured += 1
                    self.dropped += self._frame is not None
                    self._frame = frame
                    self._changed.notify_all()
        except OSError as error:
            self._error = MaskanimError(str(self.clip.path), f"it failed ({error})", "a camera that delivers")
        except BaseException as error:
            self._error = error
        with self._changed:
            self._ended = True
            self._changed.notify_all()

    def __iter__(self) -> Iterator[Captured]:
        return self

    def __next__(self) -> Captured:
        """The newest frame, waiting for one that was not taken yet."""
        with self._changed:
            if not self._changed.wait_for(lambda: self._ended or self._frame is not None, self._silence):
                received = f"no frame for {self._silence:g} s"
                self._error = MaskanimError(str(self.clip.path), received, "a camera that delivers", "Check its cable")
            if self._frame is not None:
                frame, self._frame = self._frame, None
                return frame
        if self._error is None or isinstance(self._error, MaskanimError):
            self.lost = self._error
            raise StopIteration
        raise self._error


@contextmanager
def freshest(clip: Clip) -> Iterator[Freshest]:
    """Read a clip in a thread of its own, and give its newest frame; the clip is stopped on leaving the block."""
    frames = Freshest(clip)
    thread = Thread(target=frames.read, name="maskanim-capture", daemon=True)
    thread.start()
    try:
        yield frames
    finally:
        clip.stop()
        # A camera that is stuck in its driver would never let go: its thread ends with the process.
        thread.join(max(SECONDS_TO_END, float(2 / clip.rate)))


class Latency(NamedTuple):
    """Glass to glass: seconds from capture to hand-over over the last seconds, and frames per second."""

    p50: float
    p95: float
    rate: float

    def __str__(self) -> str:
        return f"latency {1000 * self.p50:.0f} ms (p95 {1000 * self.p95:.0f}), {self.rate:.1f} frames/s"


class LiveReport(NamedTuple):
    """How a live run stands, or stood at its end."""

    shown: int  # frames that were animated and handed over
    captured: int  # frames that the clip gave
    dropped: int  # those of them for which a newer one was there before the model was free
    latency: Latency | None  # over the last seconds; None before there are two frames
    lost: MaskanimError | None = None  # why the clip failed; None while it has not

    def __str__(self) -> str:
        return f"{self.latency or 'waiting'}; {self.shown} shown, {self.dropped} of {self.captured} dropped"


def go_live(
    runner: Runner,
    encoded: Any,
    clip: Clip,
    outputs: Sequence[Output],
    draw: Draw = lambda result, driving: result.finish(),
    progress: Progress = SILENT,
) -> LiveReport:
    """Animate a picture by the freshest frame of a clip or a camera until it ends, fails, or the user interrupts.

    One frame is in flight at a time, on every backend: the second would only wait behind the first, and be older when
    it comes out. So a frame is at most one interval of the camera and one of the model old.

    Args:
        runner: one of batch 1, since the rest of a batch would be computed for nothing.
        clip: is stopped at the end; it belongs to whoever opened it.
        outputs: are finished and closed at the end, however it comes; a recording is kept.
        draw: makes the frame that is seen, of the result and the driving frame.
        progress: is told a few times a second how it stands.

    Returns:
        How it went; `lost` tells an end that nobody wanted.

    Raises:
        MaskanimError: an output failed, or the clip before its first frame.
    """
    shown, reported = 0, 0.0
    ages: deque[tuple[float, float]] = deque(maxlen=MOST_KEPT)  # when a frame was shown, and how old it was
    with ExitStack() as opened:
        for output in outputs:
            opened.push(output)  # all are closed, also where one does not open
        for output in outputs:
            output.__enter__()
        frames = opened.enter_context(freshest(clip))

        def report() -> LiveReport:
            return LiveReport(shown, frames.captured, frames.dropped, _latency(ages), frames.lost)

        with suppress(KeyboardInterrupt):  # the usual way to end it
            for image, at in frames:
                frame = draw(next(runner.run(encoded, [runner.prepare(image)])), image)
                now, shown = monotonic(), shown + 1
                ages.append((now, now - at))
                for output in outputs:
                    output.show(frame, at)
                if monotonic() - reported >= SECONDS_PER_REPORT:
                    reported, standing = monotonic(), report()
                    for output in outputs:
                        output.status(standing)
                    progress.update(shown, None, str(standing))
        if frames.lost and not shown:  # else an output would tell that it has nothing, and not why
            raise frames.lost
        return report()


def _latency(ages: deque[tuple[float, float]]) -> Latency | None:
    """That of the last seconds; what is older is forgotten."""
    while ages and ages[0][0] < ages[-1][0] - SECONDS_SHOWN:
        ages.popleft()
    if len(ages) < 2 or ages[-1][0] == ages[0][0]:
        return None
    cuts = quantiles((age for _, age in ages), n=20, method="inclusive")
    return Latency(cuts[9], cuts[18], (len(ages) - 1) / (ages[-1][0] - ages[0][0]))
