"""Ctrl-C, SIGTERM and SIGHUP end a run after the step that is under way, when its state can be saved."""

from __future__ import annotations

import os
import signal
import threading
import time
from contextlib import ExitStack
from types import FrameType

from maskanim.runtime.jobs.interrupts import handled

ONE_PRESS = 2.0  # seconds: torchrun passes a Ctrl-C on to processes that the terminal has told already


class Interrupts:
    """While entered, holds back Ctrl-C, SIGTERM and SIGHUP; a second Ctrl-C ends the process at once.

    Signals reach the main thread only; elsewhere nothing is held back.

    Attributes:
        received: the first signal, or None.
    """

    def __init__(self) -> None:
        self.received: signal.Signals | None = None
        self._at = 0.0
        self._held = ExitStack()

    def __enter__(self) -> Interrupts:
        if threading.current_thread() is threading.main_thread():
            self._held.enter_context(handled(self._note))
        return self

    def __exit__(self, *_: object) -> None:
        self._held.close()

    def _note(self, number: int, frame: FrameType | None) -> None:
        if self.received is None:
            self.received, self._at = signal.Signals(number), time.monotonic()
            # Not print: it might have been in the middle of a line, holding its lock.
            os.write(2, f"\n{self.received.name}: saving after this step; Ctrl-C again ends at once\n".encode())
        elif number == signal.SIGINT and time.monotonic() - self._at > ONE_PRESS:
            raise KeyboardInterrupt
