"""A latency run: subjects take turns, in an order drawn anew each round, so that a drifting machine is fair to all."""

from __future__ import annotations

import math
import random
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from tempfile import TemporaryDirectory
from time import perf_counter
from typing import NamedTuple, TypeVar

from maskanim.benchmarks.latency.cold import start
from maskanim.benchmarks.latency.conditions import conditions, other_load, sm_clock
from maskanim.benchmarks.latency.material import KIND, Material, draw_material, render_clip
from maskanim.benchmarks.latency.records import (
    ColdStart,
    EndToEnd,
    LatencyReport,
    Measured,
    Model,
    Settings,
    Stages,
    label,
    rounded,
    timing,
)
from maskanim.benchmarks.latency.stages import STAGES, stage_times
from maskanim.benchmarks.latency.subjects import check_subject, open_subject, usual_subjects
from maskanim.bundle import Bundle
from maskanim.errors import MaskanimError
from maskanim.progress import NoProgress, Progress
from maskanim.runtime.backends import AUTO, RunOptions
from maskanim.runtime.cuda.runner import StreamingRunner
from maskanim.spec import NETWORK_NAMES, ModelSpec

T = TypeVar("T")

WARM_UP = 3
SETTLING = 1
CALLS = 5  # in a turn, where the frames suffice for ROUNDS turns
ROUNDS = 10  # comparing two runs resamples rounds, and fewer say little


class Plan(NamedTuple):
    """What to measure."""

    engines: tuple[str, ...] | None = None  # names of subjects; None for all that work here
    batches: tuple[int, ...] = (1,)  # each subject runs once with each
    frames: int = 50  # at least so many are timed per subject, and the clip has as many
    repeats: int = 5  # cold starts, and clips from end to end, of each subject; with none, only calls are timed
    options: RunOptions = RunOptions()  # precision and CUDA binding of engines on a GPU
    lenient: bool = False  # an engine that was named and does not work is left out, too

    @property
    def rounds(self) -> int:
        """Turns of every subject."""
        return max(min(self.frames, ROUNDS), self.frames // CALLS)

    def calls(self, batch: int) -> int:
        """Timed calls of a batch in a turn."""
        return math.ceil(self.frames / (self.rounds * batch))


@dataclass
class Subject:
    """An engine with a batch, and what was measured of it; times in milliseconds, clips in seconds."""

    engine: str
    batch: int
    starts: list[ColdStart] = field(default_factory=list)
    rounds: list[list[float]] = field(default_factory=list)
    streamed: list[float] = field(default_factory=list)
    stages: list[dict[str, float]] = field(default_factory=list)
    sources: list[float] = field(default_factory=list)
    clips: list[float] = field(default_factory=list)
    clocks: list[int] = field(default_factory=list)

    @property
    def label(self) -> str:
        """As `Measured.label`."""
        return label(self.engine, self.batch)

    def open(self, model: Bundle | ModelSpec, options: RunOptions, material: Material, opened: ExitStack) -> None:
        """Open it and warm it up; `opened` closes it."""
        with ExitStack() as opening:
            self.runner, self.detail = open_subject(model, self.engine, options._replace(batch=self.batch))
            opening.callback(self.runner.close)
            self.source = self.runner.encode_source(material.source)
            self.prepared = [self.runner.prepare(frame) for frame in material.driving[: self.batch]]
            for _ in range(WARM_UP):
                self.call()
            opened.enter_context(opening.pop_all())

    def call(self, times: int = 1) -> None:
        """Animate a batch of prepared frames, several times in a row."""
        for result in self.runner.run(self.source, self.prepared * times):
            result.finish()

    def turn(self, calls: int, material: Material) -> None:
        """Time some calls, and once the stages, the source, and calls that are given all at once."""
        self.call(SETTLING)
        self.rounds.append([_milliseconds(self.call) for _ in range(calls)])
        if isinstance(self.runner, StreamingRunner):  # which keeps several in flight
            self.streamed.append(_milliseconds(lambda: self.call(calls)) / calls)
        if times := stage_times(self.runner, self.source, material.driving[: self.batch]):
            self.stages.append({stage: times[stage] for stage in STAGES if stage in times})
        self.sources.append(_milliseconds(lambda: self.runner.encode_source(material.source)))
        self.clocks += filter(None, [sm_clock()])

    def measured(self, material: Material) -> Measured:
        """All of it as a record."""
        return Measured(
            engine=self.engine,
            batch=self.batch,
            detail=self.detail,
            cold=ColdStart.of(self.starts) if self.starts else None,
            model_only=timing(self.rounds, self.batch, self.streamed),
            end_to_end=EndToEnd.of(self.clips, material.frames) if self.clips else None,
            stages=Stages.of(self.stages) if self.stages else None,
            source_ms=rounded(self.sources),
            sm_mhz=(min(self.clocks), max(self.clocks)) if self.clocks else None,
        )


def measure(model: Bundle | ModelSpec, plan: Plan, progress: Progress | None = None) -> LatencyReport:
    """Measure everything of every subject, one after the other and interleaved, never two at once.

    Args:
        model: PyTorch runs networks of its sizes; engines, cold starts and clips need a bundle.
        progress: shown after each step what is being measured, the steps done, and their number.

    Raises:
        MaskanimError: an engine that was asked for by name is unknown or does not work, or none works.
    """
    subjects, shown, left_out = _subjects(plan, model), progress or NoProgress(), dict[str, str]()

    with TemporaryDirectory(prefix="maskanim-latency-") as folder, ExitStack() as opened:
        material = draw_material(Path(folder), plan.frames, max(plan.batches))
        state, elsewhere = conditions(), other_load()
        if plan.repeats and isinstance(model, Bundle):
            material.write()

            def start_cold(number: int, subject: Subject) -> None:
                if subject.label not in left_out:
                    options, clip = plan.options._replace(batch=subject.batch), number == plan.repeats - 1
                    with _leaving_out(plan, subject, left_out):
                        subject.starts.append(start(model, subject.engine, options, material, clip=clip))

            _take_turns(subjects, plan.repeats, start_cold, shown, "cold starts")
        for subject in subjects:
            if subject.label not in left_out:
                with _leaving_out(plan, subject, left_out):
                    subject.open(model, plan.options, material, opened)
        subjects = [subject for subject in subjects if subject.label not in left_out]
        if not subjects:
            raise MaskanimError("maskanim-bench", "; ".join(left_out.values()), "an engine that works")
        _take_turns(subjects, plan.rounds, lambda _, each: each.turn(plan.calls(each.batch), material), shown, "frames")
        if isinstance(model, Bundle):

            def animate_clip(_: int, subject: Subject) -> None:
                subject.clips.append(render_clip(model, subject.runner, material.folder))

            _take_turns(subjects, plan.repeats, animate_clip, shown, "clips from end to end")
        return LatencyReport(
            model=_model(model),
            conditions=state.model_copy(update={"other_load": elsewhere()}),
            settings=_settings(plan),
            measured=tuple(subject.measured(material) for subject in subjects),
            left_out=left_out,
        )


def in_turns(subjects: Sequence[T], rounds: int) -> Iterator[tuple[int, T]]:
    """Each subject once a round, in an order drawn anew: nobody always follows the same other."""
    for number in range(rounds):
        yield from ((number, subject) for subject in random.Random(number).sample(list(subjects), len(subjects)))


def _take_turns(
    subjects: Sequence[Subject], rounds: int, turn: Callable[[int, Subject], None], progress: Progress, what: str
) -> None:
    """Call `turn` with the round's number and a subject, of all subjects in each round."""
    for done, (number, subject) in enumerate(in_turns(subjects, rounds), 1):
        turn(number, subject)
        progress.update(done, rounds * len(subjects), what)


def _subjects(plan: Plan, model: Bundle | ModelSpec) -> list[Subject]:
    for batch in plan.batches:
        for engine in plan.engines or (AUTO,):
            check_subject(engine, plan.options._replace(batch=batch))
    names = dict.fromkeys(plan.engines or usual_subjects(model))
    return [Subject(name, batch) for name in names for batch in dict.fromkeys(plan.batches)]


@contextmanager
def _leaving_out(plan: Plan, subject: Subject, left_out: dict[str, str]) -> Iterator[None]:
    """Keep why a subject does not work; one that was named has to, unless the plan is lenient."""
    try:
        yield
    except Exception as error:
        if not plan.lenient and (plan.engines or not isinstance(error, MaskanimError)):
            raise
        left_out[subject.label] = str(error) if isinstance(error, MaskanimError) else f"{type(error).__name__}: {error}"


def _milliseconds(work: Callable[[], object]) -> float:
    began = perf_counter()
    work()
    return 1000 * (perf_counter() - began)


def _model(model: Bundle | ModelSpec) -> Model:
    if isinstance(model, ModelSpec):
        name = f"random {model.size_name}"
        return Model(name=name, size=model.size_name, spec=model, weights="random", lowering={}, sha256={})
    manifest = model.manifest
    return Model(
        name=manifest.name,
        size=manifest.model.size_name,
        spec=manifest.model,
        weights=manifest.weights,
        lowering={name: manifest.networks[name].lowering for name in NETWORK_NAMES},
        sha256={name: manifest.networks[name].sha256 for name in NETWORK_NAMES},
    )


def _settings(plan: Plan) -> Settings:
    return Settings(
        rounds=plan.rounds,
        frames=plan.frames,
        warm_up=WARM_UP,
        settling=SETTLING,
        repeats=plan.repeats,
        clip=f"{plan.frames} frames of {KIND}",
        precision=plan.options.precision,
        cuda_binding=plan.options.cuda_binding,
        least_psnr=plan.options.least_psnr,
    )
