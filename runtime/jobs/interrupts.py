"""What Ctrl-C, SIGTERM and SIGHUP mean while something is rendered: nothing that is whole is lost."""

from __future__ import annotations

import logging
import signal
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from types import FrameType

from maskanim.video import Clip

LOG = logging.getLogger(__name__)
SIGNALS = tuple(getattr(signal, name) for name in ("SIGINT", "SIGTERM", "SIGHUP") if hasattr(signal, name))
RECORDING = "the recording ends; its file is being finished"


@contextmanager
def handled(handler: Callable[[int, FrameType | None], object]) -> Iterator[None]:
    """While it lasts, SIGNALS go to a handler; SIGHUP does not where nohup had it ignored."""
    taken = [each for each in SIGNALS if each == signal.SIGINT or signal.getsignal(each) != signal.SIG_IGN]
    before = {each: signal.signal(each, handler) for each in taken}
    try:
        yield
    finally:
        for each, old in before.items():
            signal.signal(each, signal.SIG_DFL if old is None else old)


class Interrupts:
    """A handler of the signals that ask a process to end.

    A recording from a camera or a pipe is ended, and its file finished. Of several renders, the one under way is
    finished, and no other begun. Everything else, and a second signal, ends at once by a KeyboardInterrupt.

    Args:
        several: whether there are several renders.
        recording: the clip that comes from a camera or a pipe, or is animated live.
        told: what is logged when the recording is ended.

    Attributes:
        asked: whether no other render is to be begun.
        recording: as the argument; set while it is rendered.
    """

    def __init__(self, several: bool = False, recording: Clip | None = None, told: str = RECORDING) -> None:
        self.asked, self._told = False, told
        self.recording = recording
        self._several = several

    def __call__(self, number: int, frame: FrameType | None) -> None:
        if self.asked or not (self.recording or self._several):
            raise KeyboardInterrupt
        self.asked = True
        if self.recording:
            self.recording.stop()
            LOG.info(self._told)
        else:
            LOG.info("finishing this file; Ctrl-C again stops at once, and what is whole waits for --resume")

    @contextmanager
    def heard(self) -> Iterator[None]:
        """While it lasts, the signals come here; who is ended by one exits with 128 and its number, as shells do."""
        last = signal.SIGINT

        def note(number: int, frame: FrameType | None) -> None:
            nonlocal last
            last = signal.Signals(number)
            self(number, frame)

        with handled(note):
            try:
                yield
            except KeyboardInterrupt:
                sys.exit(128 + last)
