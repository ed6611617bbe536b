"""Two runs: what changed, and whether it is beyond the noise inside them."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, Literal, NamedTuple

import numpy as np
from numpy.typing import NDArray

from maskanim.benchmarks.latency.figures import Figure, figures
from maskanim.benchmarks.latency.records import LatencyReport, Measured

Verdict = Literal["slower", "faster", "more", "less", "within the noise", "too few rounds to tell", "same"]

RESAMPLES = 2000
# Wide, because a bootstrap of few rounds understates the noise. Simulated, 5 to 40 independent rounds with no change
# between two runs alarm in 1 to 3 of 100; rounds of which each takes half of its deviation from the one before, in 12.
CONFIDENCE = 99.0
FEWEST = 5  # rounds or repeats; with three, chance alone parts the runs cleanly in one of ten comparisons


class Change(NamedTuple):
    """One figure of one subject in both runs."""

    label: str  # the subject
    name: str
    unit: str
    # before, after: the figure, in `unit`
    before: float
    after: float
    percent: float  # how much it changed
    slower: float  # how much longer it takes, in percent: that of the figure, or of its inverse if it is a rate
    # the interval of `slower` that the noise allows, in percent; None if it cannot be told
    noise: tuple[float, float] | None
    verdict: Verdict  # in a word

    def fails(self, percent: float) -> bool:
        """Whether it got slower by more than that, beyond the noise."""
        return self.verdict == "slower" and self.slower > percent


class Comparison(NamedTuple):
    """What two runs differ in."""

    changes: tuple[Change, ...]  # of what both runs measured
    warnings: tuple[str, ...]  # what else differs between them, each a line


def compare(before: LatencyReport, after: LatencyReport, seed: int = 0) -> Comparison:
    """Match the subjects of two runs by engine and batch.

    Rounds are resampled, not frames: frames of one turn are alike, and would make the noise look smaller than it is.
    Noise between runs, such as another neighbour on a shared machine, is in neither file; a baseline that was measured
    in both shows it.
    """
    rng = np.random.default_rng(seed)
    first, second = ({(each.engine, each.batch): each for each in report.measured} for report in (before, after))
    both = [key for key in first if key in second]
    changes = [change for key in both for change in _changes(first[key], second[key], rng)]
    warnings = [*_differences(before, after)]
    for which, runs, others in (("first", first, second), ("second", second, first)):
        warnings += [f"only in the {which} run: {each.label}" for key, each in runs.items() if key not in others]
    return Comparison(tuple(changes), tuple(warnings))


def _changes(before: Measured, after: Measured, rng: np.random.Generator) -> Iterator[Change]:
    now = {figure.compared: figure for figure in figures(after) if figure.compared}
    for figure in figures(before):
        if figure.compared in now:
            yield _change(before.label, figure, now[figure.compared], rng)


def _change(label: str, before: Figure, after: Figure, rng: np.random.Generator) -> Change:
    ratio = after.value / before.value
    slower = 100 * ((1 / ratio if before.unit == "frames/s" else ratio) - 1)
    noise = _noise(before, after, rng)
    verdict = _verdict(slower, noise, timed=before.rounds is not None)
    values = before.value, after.value, 100 * (ratio - 1)
    return Change(label, before.compared, before.unit, *values, slower, noise, verdict)


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
    first, second = _circumstances(before), _circumstances(after)
    for name in dict.fromkeys((*first, *second)):
        one, other = first.get(name, "none"), second.get(name, "none")
        if one != other:
            yield f"another {name}: {one}, then {other}"
    if before.model.name == after.model.name and before.model.sha256 != after.model.sha256:
        changed = [name for name, sha256 in before.model.sha256.items() if after.model.sha256[name] != sha256]
        yield f"other networks in {before.model.name}: {', '.join(changed)} changed"


def _circumstances(report: LatencyReport) -> dict[str, object]:
    conditions, gpu = report.conditions, report.conditions.gpu
    versions = {f"version of {name}": number for name, number in sorted(conditions.libraries.items())}
    return {
        "model": report.model.name,
        "size of the networks": report.model.size,
        "processor": conditions.processor,
        "cores": conditions.cores,
        "ONEDNN_MAX_CPU_ISA": conditions.limit or "none",
        "GPU": f"{gpu.name}, driver {gpu.driver}" if gpu else "none",
        "system": conditions.system,
        "Python": conditions.python,
        "precision on a GPU": report.settings.precision,
        "least PSNR": report.settings.least_psnr,
        "clip": report.settings.clip,
    } | versions
