"""The one frame that matters live: the newest. What it replaces before anyone took it is dropped, and counted."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from threading import Condition, Thread

from maskanim.errors import MaskanimError
from maskanim.runtime.live.sources import Captured, LiveSource

SECONDS_OF_SILENCE = 10.0  # a camera may take a few to start, and one that is gone may never say so
SECONDS_TO_END = 2.0


class Freshest:
    """The newest frame of a source that is read in a thread of its own.

    Attributes:
        captured: how many frames the source has given.
        dropped: how many of them were replaced before they were taken.
    """

    def __init__(self, source: LiveSource, silence: float = SECONDS_OF_SILENCE) -> None:
        self.source, self.captured, self.dropped = source, 0, 0
        self._silence = silence
        self._frame: Captured | None = None
        self._ended = False
        self._error: BaseException | None = None
        self._changed = Condition()

    def read(self) -> None:
        """Take the source's frames until it ends or fails; the work of the thread."""
        error: BaseException | None = None
        try:
            for frame in self.source:
                self._put(frame)
        except OSError as failure:
            error = MaskanimError(self.source.name, f"it failed ({failure})", "a camera that delivers")
        except BaseException as failure:
            error = failure
        with self._changed:
            self._ended, self._error = True, error
            self._changed.notify_all()

    def _put(self, frame: Captured) -> None:
        with self._changed:
            self.captured += 1
            self.dropped += self._frame is not None
            self._frame = frame
            self._changed.notify_all()

    def __iter__(self) -> Iterator[Captured]:
        return self

    def __next__(self) -> Captured:
        """The newest frame, waiting for one that was not taken yet.

        Raises:
            MaskanimError: the source failed, or has been silent for too long.
        """
        with self._changed:
            if not self._changed.wait_for(lambda: self._ended or self._frame is not None, self._silence):
                received = f"no frame for {self._silence:g} s"
                raise MaskanimError(self.source.name, received, "a camera that delivers", "Check its cable")
            if self._frame is not None:
                frame, self._frame = self._frame, None
                return frame
            raise self._error or StopIteration


@contextmanager
def freshest(source: LiveSource, silence: float = SECONDS_OF_SILENCE) -> Iterator[Freshest]:
    """Read a source in a thread of its own, and give its newest frame; the source is closed on leaving the block."""
    frames = Freshest(source, silence)
    thread = Thread(target=frames.read, name="maskanim-capture", daemon=True)
    thread.start()
    try:
        yield frames
    finally:
        source.close()
        # A camera that is stuck in its driver would never let go: its thread ends with the process.
        thread.join(max(SECONDS_TO_END, 2 * source.interval))
