"""A latency run: subjects take turns, in an order drawn anew each round, so that a drifting machine is fair to all."""

from __future__ import annotations

import math
import random
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, field
from pathlib import Path
from tempfile import TemporaryDirectory
from time import perf_counter
from typing import Any, NamedTuple, TypeVar

from maskanim.benchmarks.latency.cold import Started, cold_start, start
from maskanim.benchmarks.latency.conditions import conditions, other_load
from maskanim.benchmarks.latency.material import KIND, Material, draw_material
from maskanim.benchmarks.latency.records import (
    ColdStart,
    EndToEnd,
    LatencyReport,
    Measured,
    Model,
    Settings,
    Stages,
    median,
    rounded,
    timing,
)
from maskanim.benchmarks.latency.stages import STAGES, stage_times
from maskanim.benchmarks.latency.subjects import check_subject, open_subject, usual_subjects
from maskanim.bundle import Bundle
from maskanim.errors import MaskanimError
from maskanim.runtime.animator import Animator
from maskanim.runtime.backends import AUTO, RunOptions
from maskanim.runtime.jobs import Job, render
from maskanim.spec import NETWORK_NAMES

T = TypeVar("T")
Progress = Callable[[str, int, int], object]

WARM_UP = 3
SETTLING = 1
CALLS = 5  # in a turn, where the frames suffice for ROUNDS turns
ROUNDS = 10  # comparing two runs resamples rounds, and fewer say little


class Plan(NamedTuple):
    """What to measure.

    Attributes:
        engines: names of subjects; None for all that work here.
        batches: each subject runs once with each.
        frames: at least so many are timed per subject, and the clip has as many.
        repeats: cold starts, and clips from end to end, of each subject.
        options: precision and CUDA binding of engines on a GPU.
    """

    engines: tuple[str, ...] | None = None
    batches: tuple[int, ...] = (1,)
    frames: int = 50
    repeats: int = 5
    options: RunOptions = RunOptions()

    @property
    def rounds(self) -> int:
        """Turns of every subject."""
        return max(min(self.frames, ROUNDS), self.frames // CALLS)

    def calls(self, batch: int) -> int:
        """Timed calls of a batch in a turn."""
        return math.ceil(self.frames / (self.rounds * batch))


class Key(NamedTuple):
    """A subject."""

    engine: str
    batch: int


@dataclass
class Subject:
    """An open subject and what was measured of it; times in milliseconds."""

    key: Key
    animator: Animator
    source: Any
    prepared: list[Any]
    ahead: bool
    rounds: list[list[float]] = field(default_factory=list)
    streamed: list[float] = field(default_factory=list)
    stages: list[dict[str, float]] = field(default_factory=list)
    sources: list[float] = field(default_factory=list)
    clips: list[float] = field(default_factory=list)

    def call(self, times: int = 1) -> None:
        """Animate a batch of prepared frames, several times in a row."""
        for result in self.animator.runner.run(self.source, self.prepared * times):
            result.finish()


def measure(bundle: Bundle, plan: Plan, progress: Progress = lambda phase, done, total: None) -> LatencyReport:
    """Measure everything of every subject, one after the other and interleaved, never two at once.

    Args:
        bundle: the model; PyTorch runs networks of its sizes.
        plan: see Plan.
        progress: called after each step with what is being measured, the steps done, and their number.

    Raises:
        MaskanimError: an engine that was asked for by name is unknown or does not work, or none works.
    """
    keys = _keys(plan)
    with TemporaryDirectory(prefix="maskanim-latency-") as folder, ExitStack() as opened:
        material = draw_material(Path(folder), plan.frames, max(plan.batches))
        state, elsewhere = conditions(), other_load()
        cold, left_out = _cold_starts(bundle, plan, keys, material, progress)
        subjects = [_open(opened, bundle, plan, key, material) for key in cold]
        _rounds(subjects, plan, material, progress)
        _clips(subjects, plan, material, progress)
        return LatencyReport(
            model=_model(bundle),
            conditions=state.model_copy(update={"other_load": elsewhere()}),
            settings=_settings(plan),
            measured=tuple(_measured(subject, cold[subject.key], material) for subject in subjects),
            left_out=left_out,
        )


def in_turns(subjects: Sequence[T], rounds: int) -> Iterator[tuple[int, T]]:
    """Each subject once a round, in an order drawn anew: nobody always follows the same other."""
    for number in range(rounds):
        yield from ((number, subject) for subject in random.Random(number).sample(list(subjects), len(subjects)))


def _keys(plan: Plan) -> list[Key]:
    for batch in plan.batches:
        for engine in plan.engines or (AUTO,):
            check_subject(engine, plan.options._replace(batch=batch))
    names = dict.fromkeys(plan.engines or usual_subjects())
    return [Key(name, batch) for name in names for batch in dict.fromkeys(plan.batches)]


def _cold_starts(
    bundle: Bundle, plan: Plan, keys: Sequence[Key], material: Material, progress: Progress
) -> tuple[dict[Key, ColdStart], dict[str, str]]:
    """Of every subject that works, and why the others do not."""
    started: dict[Key, list[Started]] = {key: [] for key in keys}
    left_out: dict[str, str] = {}
    for done, (number, key) in enumerate(in_turns(keys, plan.repeats), 1):
        if key.engine not in left_out:
            options, last = plan.options._replace(batch=key.batch), number == plan.repeats - 1
            try:
                started[key].append(start(bundle, key.engine, options, material, clip=last))
            except MaskanimError as error:
                if plan.engines:
                    raise
                left_out[key.engine] = str(error)
        progress("cold starts", done, plan.repeats * len(keys))
    if len(left_out) == len({key.engine for key in keys}):
        raise MaskanimError("maskanim-bench", "; ".join(left_out.values()), "an engine that works")
    return {key: cold_start(each) for key, each in started.items() if key.engine not in left_out}, left_out


def _open(opened: ExitStack, bundle: Bundle, plan: Plan, key: Key, material: Material) -> Subject:
    animator = opened.enter_context(open_subject(bundle, key.engine, plan.options._replace(batch=key.batch)))
    source = animator.encode_source(material.source)
    prepared = [animator.runner.prepare(frame) for frame in material.driving[: key.batch]]
    subject = Subject(key, animator, source, prepared, ahead=False)
    for _ in range(WARM_UP):
        subject.call()
    subject.ahead = _runs_ahead(subject)
    return subject


def _runs_ahead(subject: Subject) -> bool:
    """Whether the runner takes more than one batch before the first frame comes out."""
    taken = 0

    def counted() -> Iterator[Any]:
        nonlocal taken
        for prepared in subject.prepared * 3:
            taken += 1
            yield prepared

    results = subject.animator.runner.run(subject.source, counted())
    next(results).finish()
    ahead = taken > len(subject.prepared)
    for result in results:
        result.finish()
    return ahead


def _rounds(subjects: Sequence[Subject], plan: Plan, material: Material, progress: Progress) -> None:
    for done, (_, subject) in enumerate(in_turns(subjects, plan.rounds), 1):
        _turn(subject, plan.calls(subject.key.batch), material)
        progress("frames", done, plan.rounds * len(subjects))


def _turn(subject: Subject, calls: int, material: Material) -> None:
    runner, batch = subject.animator.runner, material.driving[: subject.key.batch]
    subject.call(SETTLING)
    subject.rounds.append([_milliseconds(subject.call) for _ in range(calls)])
    if subject.ahead:
        subject.streamed.append(_milliseconds(lambda: subject.call(calls)) / calls)
    stages = stage_times(runner, subject.source, batch)
    if stages is not None:
        subject.stages.append(dict(stages))
    subject.sources.append(_milliseconds(lambda: subject.animator.encode_source(material.source)))


def _clips(subjects: Sequence[Subject], plan: Plan, material: Material, progress: Progress) -> None:
    for done, (_, subject) in enumerate(in_turns(subjects, plan.repeats), 1):
        job = Job(material.picture, str(material.clip), material.clip.with_name("animated.mp4"))
        subject.clips.append(render(subject.animator, job).seconds)
        progress("clips from end to end", done, plan.repeats * len(subjects))


def _milliseconds(work: Callable[[], object]) -> float:
    began = perf_counter()
    work()
    return 1000 * (perf_counter() - began)


def _measured(subject: Subject, cold: ColdStart, material: Material) -> Measured:
    engine, asked = subject.animator.engine, subject.key.engine
    return Measured(
        engine=asked,
        batch=subject.key.batch,
        detail=engine.detail if engine.name == asked else f"{engine.name}: {engine.detail}",
        cold=cold,
        model_only=timing(subject.rounds, subject.key.batch, subject.streamed),
        end_to_end=_end_to_end(subject.clips, material.frames),
        stages=_stages(subject.stages),
        source_ms=_rounded(subject.sources),
    )


def _end_to_end(seconds: Sequence[float], frames: int) -> EndToEnd:
    return EndToEnd(frames=frames, seconds=_rounded(seconds), frames_per_second=rounded(frames / median(seconds)))


def _stages(turns: Sequence[dict[str, float]]) -> Stages | None:
    if not turns:
        return None
    rounds = {stage: _rounded(turn[stage] for turn in turns) for stage in STAGES if stage in turns[0]}
    return Stages(rounds=rounds, medians={stage: median(values) for stage, values in rounds.items()})


def _rounded(values: Iterable[float]) -> tuple[float, ...]:
    return tuple(map(rounded, values))


def _model(bundle: Bundle) -> Model:
    manifest = bundle.manifest
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
    )
