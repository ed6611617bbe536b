"""SIGTERM and Ctrl-C end a run after the step that is under way, when its state can be saved."""

from __future__ import annotations

import os
import signal
import threading
import time
from types import FrameType, TracebackType
from typing import Any

SIGNALS = (signal.SIGINT, signal.SIGTERM)
ONE_PRESS = 2.0  # seconds: torchrun passes a Ctrl-C on to processes that the terminal has told already


class Interrupts:
    """While entered, holds back SIGTERM and Ctrl-C; a second Ctrl-C ends the process at once.

    Signals reach the main thread only; elsewhere nothing is held back.

    Attributes:
        received: the first signal, or None.
    """

    def __init__(self) -> None:
        self.received: signal.Signals | None = None
        self._at = 0.0
        self._before: dict[signal.Signals, Any] = {}

    def __enter__(self) -> Interrupts:
        if threading.current_thread() is threading.main_thread():
            self._before = {number: signal.signal(number, self._note) for number in SIGNALS}
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, _: TracebackType | None) -> None:
        for number, handler in self._before.items():
            signal.signal(number, handler)

    def _note(self, number: int, frame: FrameType | None) -> None:
        if self.received is None:
            self.received, self._at = signal.Signals(number), time.monotonic()
            # Not print: it might have been in the middle of a line, holding its lock.
            os.write(2, f"\n{self.received.name}: saving after this step; Ctrl-C again ends at once\n".encode())
        elif number == signal.SIGINT and time.monotonic() - self._at > ONE_PRESS:
            raise KeyboardInterrupt
