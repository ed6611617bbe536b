"""What Ctrl-C means while something is rendered: nothing that is whole is lost."""

from __future__ import annotations

import signal
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from types import FrameType

from maskanim.video import Clip

Tell = Callable[[str], object]


class Interrupts:
    """A handler of SIGINT.

    A recording from a camera or a pipe is ended, and its file finished. Of several renders, the one under way is
    finished, and no other begun. Everything else, and a second Ctrl-C, ends at once by a KeyboardInterrupt.

    Args:
        tell: called with a line that says what happens.
        several: whether there are several renders.

    Attributes:
        asked: whether no other render is to be begun.
        recording: the clip that comes from a camera or a pipe, while it is rendered.
    """

    def __init__(self, tell: Tell, several: bool = False) -> None:
        self.asked = False
        self.recording: Clip | None = None
        self._tell, self._several = tell, several

    def __call__(self, number: int, frame: FrameType | None) -> None:
        if self.asked or not (self.recording or self._several):
            raise KeyboardInterrupt
        self.asked = True
        if self.recording:
            self.recording.stop()
            self._tell("the recording ends; its file is being finished")
        else:
            self._tell("finishing this file; Ctrl-C again stops at once, and what is whole waits for --resume")

    @contextmanager
    def heard(self) -> Iterator[None]:
        """While it lasts, SIGINT comes here."""
        before = signal.signal(signal.SIGINT, self)
        try:
            yield
        finally:
            signal.signal(signal.SIGINT, before)
