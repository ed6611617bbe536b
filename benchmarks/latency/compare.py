"""Two runs: what changed, and whether it is beyond the noise inside them."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any, Literal, NamedTuple

import numpy as np
from numpy.typing import NDArray

from maskanim.benchmarks.latency.records import Gpu, LatencyReport, Measured

Verdict = Literal["slower", "faster", "more", "less", "within the noise", "too few rounds to tell", "same"]

RESAMPLES = 2000
# Wide, because a bootstrap of few rounds understates the noise. Simulated, 5 to 40 independent rounds with no change
# between two runs alarm in 1 to 3 of 100; rounds of which each takes half of its deviation from the one before, in 12.
CONFIDENCE = 99.0
FEWEST = 5  # rounds or repeats; with three, chance alone parts the runs cleanly in one of ten comparisons


class Figure(NamedTuple):
    """Something that was measured.

    Attributes:
        name, unit: for people.
        value: as it is shown.
        rounds: what it was computed from: rows of milliseconds or seconds, each row taken at one time. None where
            there is one value, whose noise nobody knows.
        percentile: the figure is this one of all the values in the rows; a rate comes from the median.
    """

    name: str
    unit: str
    value: float
    rounds: NDArray[np.float64] | None
    percentile: float = 50.0


class Change(NamedTuple):
    """One figure of one subject in both runs.

    Attributes:
        label: the subject.
        before, after: the figure, in `unit`.
        percent: how much it changed.
        slower: how much longer it takes, in percent: that of the figure, or of its inverse if it is a rate.
        noise: the interval of `slower` that the noise allows, in percent; None if it cannot be told.
        verdict: in a word.
    """

    label: str
    name: str
    unit: str
    before: float
    after: float
    percent: float
    slower: float
    noise: tuple[float, float] | None
    verdict: Verdict

    def fails(self, percent: float) -> bool:
        """Whether it got slower by more than that, beyond the noise."""
        return self.verdict == "slower" and self.slower > percent


class Comparison(NamedTuple):
    """Attributes:
    changes: of what both runs measured.
    warnings: what else differs between them, each a line.
    """

    changes: tuple[Change, ...]
    warnings: tuple[str, ...]


def compare(before: LatencyReport, after: LatencyReport, seed: int = 0) -> Comparison:
    """Match the subjects of two runs by engine and batch.

    Rounds are resampled, not frames: frames of one turn are alike, and would make the noise look smaller than it is.
    Noise between runs, such as another neighbour on a shared machine, is in neither file; a baseline that was measured
    in both shows it.

    Args:
        seed: of the resampling.
    """
    rng = np.random.default_rng(seed)
    first, second = ({(each.engine, each.batch): each for each in report.measured} for report in (before, after))
    both = [key for key in first if key in second]
    changes = [change for key in both for change in _changes(first[key], second[key], rng)]
    return Comparison(tuple(changes), (*_differences(before, after), *_unmatched(first, second)))


def figures(measured: Measured) -> Iterator[Figure]:
    """What is compared, in the order in which it is shown."""
    timing, clips, cold = measured.model_only, measured.end_to_end, measured.cold
    calls = np.array(timing.rounds)
    yield Figure("p50", "ms", timing.p50, calls)
    yield Figure("p95", "ms", timing.p95, calls, 95.0)
    if timing.streamed_frames_per_second:
        yield Figure("streamed", "frames/s", timing.streamed_frames_per_second, _column(timing.streamed_rounds))
    if clips:
        yield Figure("end to end", "frames/s", clips.frames_per_second, _column(clips.seconds))
    if cold:
        yield Figure("start to first frame", "s", cold.seconds, _column([start.total for start in cold.usual]))
    yield Figure("source", "ms", float(np.median(measured.source_ms)), _column(measured.source_ms))
    if measured.stages:
        for stage, times in measured.stages.rounds.items():
            yield Figure(stage, "ms", measured.stages.medians[stage], _column(times))
    sizes = {"peak memory": cold.peak_memory, "device memory": cold.device_memory} if cold else {}
    yield from (Figure(name, "MB", size / 1e6, None) for name, size in sizes.items() if size)


def _column(values: Sequence[float]) -> NDArray[np.float64]:
    return np.array(values)[:, None]


def _changes(before: Measured, after: Measured, rng: np.random.Generator) -> Iterator[Change]:
    now = {figure.name: figure for figure in figures(after)}
    for figure in figures(before):
        if figure.name in now:
            yield _change(before.label, figure, now[figure.name], rng)


def _change(label: str, before: Figure, after: Figure, rng: np.random.Generator) -> Change:
    ratio = after.value / before.value
    slower = 100 * ((1 / ratio if before.unit == "frames/s" else ratio) - 1)
    noise = _noise(before, after, rng)
    return Change(
        label=label,
        name=before.name,
        unit=before.unit,
        before=before.value,
        after=after.value,
        percent=100 * (ratio - 1),
        slower=slower,
        noise=noise,
        verdict=_verdict(slower, noise, timed=before.rounds is not None),
    )


def _verdict(slower: float, noise: tuple[float, float] | None, *, timed: bool) -> Verdict:
    if not timed:
        return "more" if slower > 0 else "less" if slower < 0 else "same"
    if noise is None:
        return "too few rounds to tell"
    if noise[0] > 0:
        return "slower"
    return "faster" if noise[1] < 0 else "within the noise"


def _noise(before: Figure, after: Figure, rng: np.random.Generator) -> tuple[float, float] | None:
    """The bootstrap's interval of the ratio of the times after and before, as percent of change."""
    if before.rounds is None or after.rounds is None or min(len(before.rounds), len(after.rounds)) < FEWEST:
        return None
    ratios = _resampled(after, rng) / _resampled(before, rng)
    tail = (100 - CONFIDENCE) / 2
    low, high = np.percentile(ratios, (tail, 100 - tail))
    return 100 * (float(low) - 1), 100 * (float(high) - 1)


def _resampled(figure: Figure, rng: np.random.Generator) -> NDArray[np.float64]:
    """The figure's percentile in each of the resamples of its rounds."""
    rounds: Any = figure.rounds
    drawn = rounds[rng.integers(0, len(rounds), (RESAMPLES, len(rounds)))]
    return np.percentile(drawn.reshape(RESAMPLES, -1), figure.percentile, axis=1)


def _differences(before: LatencyReport, after: LatencyReport) -> Iterator[str]:
    """Conditions under which figures cannot be expected to agree."""
    for name, first, second in (
        ("model", before.model.name, after.model.name),
        ("size of the networks", before.model.size, after.model.size),
        ("processor", before.conditions.processor, after.conditions.processor),
        ("cores", before.conditions.cores, after.conditions.cores),
        ("GPU", _gpu(before.conditions.gpu), _gpu(after.conditions.gpu)),
        ("system", before.conditions.system, after.conditions.system),
        ("Python", before.conditions.python, after.conditions.python),
        ("precision on a GPU", before.settings.precision, after.settings.precision),
        ("clip", before.settings.clip, after.settings.clip),
    ):
        if first != second:
            yield f"another {name}: {first}, then {second}"
    if before.model.name == after.model.name and before.model.sha256 != after.model.sha256:
        changed = [name for name, sha256 in before.model.sha256.items() if after.model.sha256[name] != sha256]
        yield f"other networks in {before.model.name}: {', '.join(changed)} changed"
    libraries = before.conditions.libraries, after.conditions.libraries
    for name in sorted({*libraries[0], *libraries[1]}):
        first, second = (versions.get(name, "none") for versions in libraries)
        if first != second:
            yield f"another version of {name}: {first}, then {second}"


def _gpu(gpu: Gpu | None) -> str:
    return f"{gpu.name}, driver {gpu.driver}" if gpu else "none"


def _unmatched(first: dict[tuple[str, int], Measured], second: dict[tuple[str, int], Measured]) -> Iterator[str]:
    for one, other, which in ((first, second, "first"), (second, first, "second")):
        for key in one:
            if key not in other:
                yield f"only in the {which} run: {one[key].label}"
