"""The jobs of a batch on a Ray cluster: a worker for each GPU, or for so many cores, each with one open model."""

from __future__ import annotations

import logging
import os
import signal
from collections import Counter, deque
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from dataclasses import astuple, dataclass
from pathlib import Path
from queue import SimpleQueue
from time import monotonic
from typing import Any

from maskanim.errors import MaskanimError
from maskanim.models import choose
from maskanim.progress import Progress
from maskanim.runtime.backends import AUTO, BACKENDS, check_backend
from maskanim.runtime.jobs.batch import Outcome, render_unless_there
from maskanim.runtime.jobs.connection import LOCAL, connected
from maskanim.runtime.jobs.interrupts import Interrupts
from maskanim.runtime.jobs.process import MessageSender, Opening
from maskanim.runtime.jobs.render import Rendered
from maskanim.runtime.jobs.settings import Extras, Job, RenderSettings
from maskanim.video import is_feed

LOG = logging.getLogger(__name__)
DEFAULT_CORES = 4  # of a worker without a GPU; the networks gain little from more
MOST_DEATHS = 2  # of workers with one job, which then is to blame
SECONDS_OF_WAITING, SECONDS_PER_MESSAGE = 0.2, 0.5


class Worker:
    """A Ray actor: renders job after job. Each method yields messages, as `MessageSender` makes them.

    Args:
        opening: the model that it opens.
        settings: of all jobs.
        home: the user's, where the worker was started with another one (see `connection`).
    """

    def __init__(self, opening: Opening, settings: RenderSettings, home: str | None) -> None:
        os.environ.update({"HOME": home} if home else {})
        signal.signal(signal.SIGINT, signal.SIG_IGN)  # a terminal sends Ctrl-C to all; the first process decides
        self._opening, self._settings = opening, settings
        self._messages: SimpleQueue[tuple[Any, ...] | None] = SimpleQueue()
        self._sender = MessageSender(self._messages.put)
        self._sender.listen()
        self._thread = ThreadPoolExecutor(1)  # a GPU's context belongs to the thread that opened it

    def open(self) -> Iterator[tuple[Any, ...]]:
        """Open the model; done with lines on what runs."""
        yield from self._run(self._open)

    def render(self, job: Job) -> Iterator[tuple[Any, ...]]:
        """Render a job; done with what `render_unless_there` returns."""
        yield from self._run(render_unless_there, self._animator, self._settings, job, self._sender)

    def _open(self) -> list[str]:
        self._animator = self._opening.open()
        return self._animator.lines()

    def _run(self, work: Callable[..., object], *arguments: object) -> Iterator[tuple[Any, ...]]:
        future, sent = self._thread.submit(work, *arguments), 0.0
        future.add_done_callback(lambda _: self._messages.put(None))
        while message := self._messages.get():
            if message[0] != "progress" or monotonic() - sent > SECONDS_PER_MESSAGE:
                sent = monotonic() if message[0] == "progress" else sent
                yield message
        error = future.exception()
        if isinstance(error, MaskanimError):
            yield "error", MaskanimError(*error.args)
        else:
            yield "done", future.result()


@dataclass
class _Hired:
    """A worker; what it is at, and how far.

    Attributes:
        actor: its handle.
        stream: of its messages; None while it has nothing to do.
        job: which it renders; None while it opens its model.
        frames: of that job, done by now.
    """

    actor: Any
    stream: Any = None
    job: Job | None = None
    frames: int = 0


class RayWorkers:
    """Renders jobs on a Ray cluster; a context manager.

    Args:
        address: of a running cluster, as ``ray.init`` takes it, or ``local``: a Ray of its own on this machine, unless
            the variable RAY_ADDRESS names a cluster.
        cores: of each worker where there are no GPUs; None: DEFAULT_CORES, or as many as there are.
        opening: the model that each worker opens; all have to see its folder under the path that it has here.
        settings: of all jobs.
        progress: told how many jobs are done, and at what pace.

    Attributes:
        running: lines on what runs, once the first worker is open.

    Raises:
        MaskanimError: the extra `cluster` is missing, there is no such engine, option, model, cluster or GPU, or no
            worker opens the model.
    """

    def __init__(
        self, address: str, cores: int | None, opening: Opening, settings: RenderSettings, progress: Progress
    ) -> None:
        check_backend(opening.engine, opening.options)
        model = choose(str(opening.model) if opening.model else None).bundle.path.absolute()
        self._address = os.environ.get("RAY_ADDRESS", LOCAL) if address == LOCAL else address
        home = os.environ.get("HOME") if self._address == LOCAL else None
        self._arguments = opening._replace(model=model), settings, home
        self._cores, self._progress = cores, progress
        self._workers: list[_Hired] = []
        self._began, self._frames = monotonic(), 0
        self.running: list[str] = []

    def __enter__(self) -> RayWorkers:
        with ExitStack() as opened:
            self._ray = opened.enter_context(connected(self._address))
            share, count = _share(self._ray.nodes(), self._arguments[0].engine, self._cores)
            self._actor = self._ray.remote(Worker).options(**{"num_cpus": 0, "max_restarts": 0, **share})
            for _ in range(count):
                self._hire()
            LOG.info("ray: waiting for the first of %d workers", count)
            while not self.running:
                list(self._listen())
            self._began = monotonic()
            self._opened = opened.pop_all()
        told = ", ".join(f"{kind} of each: {number}" for kind, number in share.items())
        self.running.append(f"ray: {count} workers, {told}")
        return self

    def __exit__(self, *_: object) -> None:
        self._opened.close()

    def outcomes(self, jobs: Sequence[Job], interrupts: Interrupts) -> Iterator[tuple[Job, Outcome]]:
        """Render jobs; one whose worker died goes to another.

        Args:
            jobs: begun in this order.
            interrupts: is asked before each job.

        Yields:
            Each job that was begun with what came of it, in the order in which they are done.
        """
        waiting, deaths, done = deque(_absolute(job) for job in jobs), Counter[Path](), 0
        given = dict(zip(waiting, jobs, strict=True))
        while (waiting and not interrupts.asked) or any(worker.job for worker in self._workers):
            for worker in self._workers:
                if worker.stream is None and waiting and not interrupts.asked:
                    worker.job = waiting.popleft()
                    worker.stream = worker.actor.render.remote(worker.job)
            for job, outcome in self._listen():
                if isinstance(outcome, _DiedError):
                    deaths[job.output] += 1
                    if deaths[job.output] < MOST_DEATHS:
                        LOG.warning("the worker of %s died; another one renders it", job.output.name)
                        waiting.appendleft(job)
                        continue
                done += 1
                yield given[job], outcome
            self._show(done, len(jobs))

    def _hire(self) -> None:
        actor = self._actor.remote(*self._arguments)
        self._workers.append(_Hired(actor, actor.open.remote()))

    def _listen(self) -> Iterator[tuple[Job, Outcome]]:
        """Wait a little for messages; what came of jobs."""
        streams = {worker.stream: worker for worker in self._workers if worker.stream is not None}
        ready, _ = self._ray.wait(list(streams), timeout=SECONDS_OF_WAITING)
        for stream in ready:
            worker = streams[stream]
            try:
                kind, *values = self._ray.get(next(stream))
            except self._ray.exceptions.RayTaskError as error:
                cause = f"{type(error.cause).__name__} ({error.cause})"
                kind, values = "error", [MaskanimError("a worker on Ray", cause, "one without a fault")]
            except self._ray.exceptions.RayError:
                kind, values = "error", [_DiedError(worker.job)]
            if kind == "log":
                logging.getLogger(values[0]).log(*values[1:])
            elif kind == "progress":
                worker.frames = values[0]
            elif worker.job:
                yield worker.job, self._finished(worker, values[0])
            else:
                self._is_open(worker, values[0])

    def _finished(self, worker: _Hired, outcome: Outcome) -> Outcome:
        self._frames += outcome.frames if isinstance(outcome, Rendered) else 0
        worker.stream, worker.job, worker.frames = None, None, 0
        if isinstance(outcome, _DiedError):
            self._workers.remove(worker)
            self._ray.kill(worker.actor)  # it may only be out of reach
            self._hire()
        return outcome

    def _is_open(self, worker: _Hired, outcome: list[str] | MaskanimError) -> None:
        """Raises what was wrong with the last worker where none is left."""
        worker.stream = None
        if isinstance(outcome, list):
            self.running = self.running or outcome
            return
        self._workers.remove(worker)
        if not self._workers:
            raise outcome
        LOG.warning("a worker could not open the model: %s", outcome)

    def _show(self, done: int, total: int) -> None:
        frames = self._frames + sum(worker.frames for worker in self._workers)
        pace = frames / max(monotonic() - self._began, 1e-9)
        self._progress.update(done, total, f"{frames} frames, {pace:.1f} frames/s")


class _DiedError(MaskanimError):
    """The worker that had a job, or opened its model, is gone."""

    def __init__(self, job: Job | None) -> None:
        subject, work = (job.output.name, "rendered it") if job else ("--ray", "opened the model")
        super().__init__(subject, f"the worker that {work} died", "one that lives", "Look into Ray's logs, and memory")


def _share(nodes: Sequence[Mapping[str, Any]], engine: str, cores: int | None) -> tuple[dict[str, int], int]:
    """What of Ray's resources each worker takes, and how many workers that gives.

    Raises:
        MaskanimError: the cluster has no GPU for the engine, or no machine with so many cores.
    """
    machines = [node["Resources"] for node in nodes if node["Alive"]]
    gpus = sum(int(machine.get("GPU", 0)) for machine in machines)
    if gpus and (engine == AUTO or BACKENDS[engine].gpu):
        return {"num_gpus": 1}, gpus
    if engine != AUTO and BACKENDS[engine].gpu:
        raise MaskanimError(f"--ray with --engine {engine}", "a cluster without a GPU", "one with a GPU")
    most = max((int(machine.get("CPU", 0)) for machine in machines), default=0)
    each = cores or max(1, min(DEFAULT_CORES, most))
    if each > most:
        raise MaskanimError(f"--ray-cores {each}", f"a cluster whose machines have {most} cores", "as many at most")
    return {"num_cpus": each}, sum(int(machine.get("CPU", 0)) // each for machine in machines)


def check_for_cluster(jobs: Sequence[Job]) -> None:
    """Refuse what belongs to one machine.

    Raises:
        MaskanimError: a driver is a camera or standard input.
    """
    feed = next((job.driving for job in jobs if is_feed(job.driving)), None)
    if feed:
        raise MaskanimError(f"--driving {feed}", "together with --ray", "files, which every machine can read")


def _absolute(job: Job) -> Job:
    """The same files for a process of another working folder."""
    extras = Extras(*(path and path.absolute() for path in astuple(job.extras)))
    return Job(job.source.absolute(), str(Path(job.driving).absolute()), job.output.absolute(), extras)
