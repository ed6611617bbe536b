"""What a TensorRT builder calls while it works: to show progress, to be cancelled, and to report errors.

The library calls these from its own threads, where an exception would end the process: none is raised here.
"""

from __future__ import annotations

import signal
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

from maskanim.progress import ProgressBar

Progress = Callable[[float, str], None]  # the part that is done, in [0, 1], and the name of what is under way


def shown_on(bar: ProgressBar) -> Progress:
    """Progress as percent of a bar, whose noun should be ``percent``."""
    return lambda part, phase: bar.update(round(100 * part), 100, phase)


@dataclass
class _Phase:
    parent: str | None
    steps: int
    done: int = 0


class Phases:
    """The phases under way, which hold one another.

    Attributes:
        cancelled: set to True to end the build at its next step.
        failure: what `progress` raised; it cancels the build.
    """

    def __init__(self, progress: Progress) -> None:
        self.progress, self.lock = progress, threading.Lock()
        self.phases: dict[str, _Phase] = {}
        self.told = 0.0
        self.cancelled = False
        self.failure: BaseException | None = None

    def start(self, name: str, parent: str | None, steps: int) -> None:
        """A phase begins, within another one or by itself."""
        with self.lock:
            self.phases[name] = _Phase(parent, max(1, steps))
        self._tell(name)

    def step(self, name: str) -> bool:
        """A step of a phase is done; returns whether to go on."""
        with self.lock:
            if name in self.phases:
                self.phases[name].done += 1
        self._tell(name)
        return not self.cancelled

    def finish(self, name: str) -> None:
        """A phase ends, perhaps before its last step."""
        with self.lock:
            self.phases.pop(name, None)

    def _tell(self, name: str) -> None:
        with self.lock:
            outermost = (phase for phase, entry in self.phases.items() if entry.parent not in self.phases)
            # A finished inner phase is gone before its parent's step counts: what was told never falls back.
            part = self.told = max([self.told, *map(self._part, outermost)])
        try:
            self.progress(part, name)
        except BaseException as error:
            self.failure, self.cancelled = error, True

    def _part(self, name: str) -> float:
        inner = (self._part(phase) for phase, entry in self.phases.items() if entry.parent == name)
        phase = self.phases[name]
        return min(1.0, (phase.done + max(inner, default=0.0)) / phase.steps)


def progress_monitor(module: Any, phases: Phases) -> Any:
    """An IProgressMonitor that feeds `phases`; must outlive the builder."""

    class Monitor(module.IProgressMonitor):  # type: ignore[misc]
        def __init__(self) -> None:
            module.IProgressMonitor.__init__(self)

        def phase_start(self, phase_name: str, parent_phase: str | None, num_steps: int) -> None:
            phases.start(phase_name, parent_phase, num_steps)

        def step_complete(self, phase_name: str, step: int) -> bool:
            return phases.step(phase_name)

        def phase_finish(self, phase_name: str) -> None:
            phases.finish(phase_name)

    return Monitor()


def error_recorder(module: Any, messages: list[str]) -> Any:
    """An IErrorRecorder that appends to `messages`; must outlive what it records for."""

    class Recorder(module.IErrorRecorder):  # type: ignore[misc]
        def __init__(self) -> None:
            module.IErrorRecorder.__init__(self)
            self.codes: list[Any] = []

        def num_errors(self) -> int:
            return len(messages)

        def get_error_code(self, index: int) -> Any:
            return self.codes[index]

        def get_error_desc(self, index: int) -> str:
            return messages[index]

        def has_overflowed(self) -> bool:
            return False

        def clear(self) -> None:
            self.codes.clear()
            messages.clear()

        def report_error(self, code: Any, description: str) -> bool:
            self.codes.append(code)
            messages.append(description)
            return True

    return Recorder()


@contextmanager
def cancelled_by_interrupt(phases: Phases) -> Iterator[None]:
    """Control-C cancels the build at its next step, and is raised when the library has returned."""
    if threading.current_thread() is not threading.main_thread():
        yield
        return

    def cancel(*_: object) -> None:
        phases.failure, phases.cancelled = KeyboardInterrupt(), True

    before = signal.signal(signal.SIGINT, cancel)
    try:
        yield
    finally:
        signal.signal(signal.SIGINT, before)
