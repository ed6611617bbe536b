"""Renders in a process of their own: a library that crashes takes one job with it, and not the whole batch."""

from __future__ import annotations

import logging
import multiprocessing
import signal
import sys
from collections.abc import Callable
from contextlib import suppress
from multiprocessing.connection import Connection
from pathlib import Path
from types import FrameType
from typing import Any, NamedTuple

from maskanim.errors import MaskanimError, ended_by
from maskanim.progress import Progress
from maskanim.runtime.animator import Animator
from maskanim.runtime.backends import RunOptions
from maskanim.runtime.jobs.batch import render_unless_there
from maskanim.runtime.jobs.interrupts import SIGNALS, Interrupts
from maskanim.runtime.jobs.render import Rendered
from maskanim.runtime.jobs.settings import Job, RenderSettings

LOG = logging.getLogger(__name__)
SECONDS_TO_END = 20.0


class Opening(NamedTuple):
    """What `Animator.open` is given."""

    model: str | Path | None
    engine: str
    options: RunOptions

    def open(self) -> Animator:
        """The animator; raises as `Animator.open`."""
        return Animator.open(*self)


class RenderProcess:
    """Renders jobs in a child, which is started anew when it has crashed; a context manager.

    Args:
        opening: the model that the child opens.
        settings: of all jobs.
        progress: told after each frame.

    Attributes:
        running: lines on what runs, once the child is open.
    """

    def __init__(self, opening: Opening, settings: RenderSettings, progress: Progress) -> None:
        self._arguments, self._progress = (opening, settings), progress
        self.running: list[str] = []

    def __enter__(self) -> RenderProcess:
        self._start()
        return self

    def __exit__(self, kind: object, error: object, traceback: object) -> None:
        self._connection.close()  # which ends the child when its job is done
        if error:
            self._child.terminate()
        self._child.join(SECONDS_TO_END)
        self._child.kill()

    def interrupt(self) -> None:
        """Pass on that the process was asked to end."""
        self._child.terminate()

    def __call__(self, job: Job) -> Rendered | None:
        """Render a job; None if its output is there already.

        Raises:
            MaskanimError: as `render`, or the child crashed.
            KeyboardInterrupt: it was interrupted twice.
        """
        if not self._child.is_alive():
            self._start()
        self._connection.send(job)
        return self._answer(job.output.name)

    def _start(self) -> None:
        """Raises as `Animator.open`."""
        context = multiprocessing.get_context("spawn")
        self._connection, far_end = context.Pipe()
        self._child = context.Process(target=_serve, args=(far_end, *self._arguments), name="maskanim", daemon=True)
        self._child.start()
        far_end.close()
        self.running = self._answer("maskanim-run")

    def _answer(self, subject: str) -> Any:
        """What the child returns; what it logs and how far it is are passed on meanwhile."""
        while True:
            try:
                kind, *values = self._connection.recv()
            except (EOFError, ConnectionError):
                self._child.join()
                cause = f"the process that rendered it ended by {ended_by(self._child.exitcode or 0)}"
                raise MaskanimError(subject, cause, "a render without a crash") from None
            if kind == "log":
                logging.getLogger(values[0]).log(*values[1:])
            elif kind == "progress":
                self._progress.update(*values)
            elif kind == "error":
                raise values[0]
            else:
                return values[0]


class MessageSender(logging.Handler):
    """Sends the parent what is logged, as a `Progress` how far a job is, and what came of it; from any thread.

    Args:
        send: takes a message, a tuple: ``log`` with a logger's name, a level, a format and a text; ``progress`` with
            what `Progress.update` takes; ``done`` with a result, or ``error`` with a MaskanimError.
    """

    def __init__(self, send: Callable[[tuple[Any, ...]], object]) -> None:
        super().__init__()
        self._send = send

    def listen(self) -> None:
        """From now on all that is logged is sent."""
        logger = logging.getLogger("maskanim")
        logger.addHandler(self)
        logger.setLevel(logging.INFO)

    def emit(self, record: logging.LogRecord) -> None:
        self.send("log", record.name, record.levelno, "%s", record.getMessage())

    def update(self, done: int, total: int | None, note: str = "") -> None:
        self.send("progress", done, total, note)

    def send(self, *message: object) -> None:
        self.acquire()  # the handler's own lock, which a signal's handler may take again
        try:
            self._send(message)
        finally:
            self.release()


def _serve(connection: Connection, opening: Opening, settings: RenderSettings) -> None:
    """The child: open the model, and render what comes until the connection is closed."""
    with suppress(OSError):  # the parent's; multiprocessing has put an empty one in its place
        sys.stdin = open(0, closefd=False)  # noqa: SIM115 - it stays open
    sender, interrupts = MessageSender(connection.send), Interrupts(several=True)
    sender.listen()
    for number in SIGNALS:  # a terminal sends Ctrl-C to both processes; the parent passes it on, once
        signal.signal(number, signal.SIG_IGN)
    signal.signal(signal.SIGTERM, interrupts)
    try:
        with opening.open() as animator:
            sender.send("done", animator.lines())
            while True:
                job = connection.recv()
                try:
                    sender.send("done", render_unless_there(animator, settings, job, sender, interrupts))
                except MaskanimError as error:
                    sender.send("error", MaskanimError(*error.args))
    except (EOFError, ConnectionError):
        return
    except MaskanimError as error:
        sender.send("error", MaskanimError(*error.args))
    except KeyboardInterrupt:
        signal.signal(signal.SIGTERM, signal.SIG_IGN)  # it ends already
        sender.send("error", KeyboardInterrupt())


class ForwardingInterrupts(Interrupts):
    """The parent's handler: the child says, and does, what the first and the second signal mean.

    A third one ends a child that does not hear.
    """

    def __init__(self, process: RenderProcess) -> None:
        super().__init__(several=True)
        self._process, self._signals = process, 0

    def __call__(self, number: int, frame: FrameType | None) -> None:
        self.asked, self._signals = True, self._signals + 1
        if self._signals > 2:
            raise KeyboardInterrupt
        self._process.interrupt()
