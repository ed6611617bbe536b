"""Videos to scores: frames are read side by side in batches, observed once, judged and forgotten."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, field
from functools import partial
from itertools import islice
from typing import Any, Literal

import numpy as np

from maskanim.benchmarks.scoring.features import Classes, Embeddings, Keypoints, Observed, Observer, People
from maskanim.benchmarks.scoring.metrics import BY_NAME, Metric, PerFrame
from maskanim.benchmarks.scoring.perception import Perception
from maskanim.benchmarks.scoring.results import VideoScores
from maskanim.benchmarks.scoring.strips import Strip
from maskanim.errors import MaskanimError
from maskanim.ops import Frame

BATCH = 16  # frames in memory of each video that is read


@dataclass
class Footage:
    """One video to be scored, open.

    Attributes:
        driving: its frames, (256, 256, 3) uint8 RGB each, as all others.
        generated: what each method made of them.
        target: what they should have become; ``driving`` in reconstruction, None if nobody knows.
        source: the picture that was animated, or None.
        known: features of the driving frames from one number to another that are known exactly, such as a puppet's.
        source_known: those of the source.
        observers: take the place of the perception's, for this video.
    """

    driving: Iterator[Frame]
    generated: Mapping[str, Iterator[Frame]]
    target: Iterator[Frame] | Literal["driving"] | None = None
    source: Frame | None = None
    known: Callable[[int, int], Mapping[str, Any]] | None = None
    source_known: Mapping[str, Any] | None = None
    observers: Mapping[str, Observer] = field(default_factory=dict)


@dataclass(frozen=True)
class Case:
    """A video to be scored.

    Attributes:
        name: of the video.
        open: opens it; what is to be closed goes on the stack.
        methods: who made it.
    """

    name: str
    open: Callable[[ExitStack], Footage]
    methods: tuple[str, ...]


class _Reel:
    """The frames of one stream, taken in batches; where it breaks it ends, and says why."""

    def __init__(self, frames: Iterator[Frame]) -> None:
        self._frames = frames
        self.count = 0
        self.problem = ""

    def take(self, count: int) -> list[Frame]:
        taken: list[Frame] = []
        try:
            taken.extend(islice(self._frames, count))
        except MaskanimError as error:
            self.problem = str(error)
            self._frames = iter(())
        self.count += len(taken)
        return taken


class _Tally:
    """What one method's frames of one video have come to so far."""

    def __init__(self) -> None:
        self.frames = 0
        self.parts: dict[str, list[PerFrame]] = {}
        self.unseen: dict[str, int] = {}

    def add(self, name: str, part: PerFrame) -> None:
        self.parts.setdefault(name, []).append(part)

    def joined(self) -> dict[str, PerFrame]:
        return {name: _joined(parts) for name, parts in self.parts.items()}


def score_video(
    case: Case, perception: Perception, keep_strip: bool = False, report: Callable[[int], None] = lambda frames: None
) -> list[VideoScores]:
    """Score what each method made of one video.

    Args:
        case: the video.
        perception: what judges it.
        keep_strip: whether a few frames are kept.
        report: told how many frames have been read, now and then.

    Raises:
        MaskanimError: it could not be opened, or not one frame could be read.
    """
    with ExitStack() as opened:
        judge = _Judge(case, case.open(opened), perception, keep_strip)
        while judge.batch():
            report(judge.driving.count)
        return judge.scores()


class _Judge:
    def __init__(self, case: Case, footage: Footage, perception: Perception, keep_strip: bool) -> None:
        self.case, self.footage, self.perception = case, footage, perception
        self.observers = {**perception.observers, **footage.observers}
        self.driving = _Reel(footage.driving)
        self.target = _Reel(footage.target) if isinstance(footage.target, Iterator) else None
        self.generated = {name: _Reel(frames) for name, frames in footage.generated.items()}
        self.tallies = {name: _Tally() for name in self.generated}
        self.difficulty: list[PerFrame] = []
        self.strip = Strip(footage.source) if keep_strip else None
        self.source = self._source()
        self.metrics = [metric for metric in perception.available() if self._has(metric)]
        # One feature speaks for all that are missing together.
        named = {perception.words.get(metric.feature): metric.feature for metric in self.metrics}
        self.words = {feature: word for word, feature in named.items() if word}

    def scores(self) -> list[VideoScores]:
        """Of each method that made a frame."""
        if not any(tally.frames for tally in self.tallies.values()):
            reels = (self.driving, *self.generated.values())
            told = next((reel.problem for reel in reels if reel.problem), "no frame in common")
            raise MaskanimError(self.case.name, told, "a driving and a generated video")
        return [self._scores(name) for name in self.generated if self.tallies[name].frames]

    def _source(self) -> Observed | None:
        if self.footage.source is None:
            return None
        return Observed([self.footage.source], self.observers, self.footage.source_known)

    def _has(self, metric: Metric) -> bool:
        return {"source": self.source, "target": self.footage.target}.get(metric.against, True) is not None

    def batch(self) -> bool:
        """Read and judge a batch; whether any stream still had frames."""
        first = self.driving.count
        driving = self.driving.take(BATCH)
        target = self.target.take(BATCH) if self.target else []
        generated = {name: reel.take(BATCH) for name, reel in self.generated.items()}
        if driving:
            self._judge(first, driving, target, generated)
        return bool(driving or target or any(generated.values()))

    def _judge(
        self, first: int, driving: list[Frame], target: list[Frame], generated: Mapping[str, list[Frame]]
    ) -> None:
        known = self.footage.known(first, first + len(driving)) if self.footage.known else None
        seen = Observed(driving, self.observers, known)
        aim = seen if self.footage.target == "driving" else Observed(target, self.observers) if target else None
        if self.source and "keypoints" in self.observers:
            self.difficulty.append(BY_NAME["AKD"].judge(seen.see("keypoints"), self.source.see("keypoints")))
        if self.strip:
            self.strip.add("driving", first, driving)
        for name, frames in generated.items():
            count = min(len(frames), len(driving))
            if count:
                self._judge_method(name, first, frames[:count], seen, aim)

    def _judge_method(self, name: str, first: int, frames: list[Frame], seen: Observed, aim: Observed | None) -> None:
        tally, made = self.tallies[name], Observed(frames, self.observers)
        others = {"driving": seen, "target": aim, "source": self.source}
        for metric in self.metrics:
            other = others.get(metric.against)
            part = _judged(metric, made, other) if not metric.against or other else _unjudged(len(frames))
            tally.add(metric.name, part)
        for feature, word in self.words.items():
            for side, observed in (("generated", made), ("driving", seen)):
                missing = int((~_seen_in(observed.see(feature))[: len(frames)]).sum())
                key = f"no {word} in {{}} of {{}} {side} frames"
                tally.unseen[key] = tally.unseen.get(key, 0) + missing
        tally.frames += len(frames)
        if self.strip:
            self.strip.add(name, first, frames)

    def _scores(self, name: str) -> VideoScores:
        tally = self.tallies[name]
        hard = _first(_joined(self.difficulty), tally.frames) if self.difficulty else None
        return VideoScores(
            self.case.name,
            name,
            tally.frames,
            tally.joined(),
            hard,
            tuple(self._problems(name, tally)),
            self.strip.with_roles("driving", name) if self.strip else None,
        )

    def _problems(self, name: str, tally: _Tally) -> Iterator[str]:
        made = self.generated[name]
        counts = {"driving": self.driving, "target": self.target, "generated": made}
        lengths = {side: reel.count for side, reel in counts.items() if reel}
        if len(set(lengths.values())) > 1:
            told = ", ".join(f"{count} {side}" for side, count in lengths.items())
            yield f"lengths differ ({told}): the first {tally.frames} frames were scored"
        for side, reel in counts.items():
            if reel and reel.problem:
                yield f"{side}: {reel.problem}"
        for told, count in sorted(tally.unseen.items()):
            if count:
                yield told.format(count, tally.frames)
        for metric in self.metrics:
            if self.source and metric.against == "source" and not _seen_in(self.source.see(metric.feature)).all():
                yield f"no {self.perception.words[metric.feature]} in the source"


def _judged(metric: Metric, made: Observed, other: Observed | None) -> PerFrame:
    """A metric on frames; those for which the other side has no counterpart are not judged."""
    if other is None:
        return metric.judge(made.see(metric.feature), None)
    count = len(other) if metric.against != "source" else len(made)
    common = min(len(made), count)
    mine, others = made.see(metric.feature), other.see(metric.feature)
    part = metric.judge(_first(mine, common), others if metric.against == "source" else _first(others, common))
    return _joined([part, _unjudged(len(made) - common)])


def _joined(parts: Sequence[PerFrame]) -> PerFrame:
    return PerFrame(np.concatenate([part.totals for part in parts]), np.concatenate([part.counts for part in parts]))


def _unjudged(count: int) -> PerFrame:
    return PerFrame(np.zeros(count), np.zeros(count))


def _first(feature: Any, count: int) -> Any:
    """The first frames of a feature."""
    if isinstance(feature, Embeddings):
        return Embeddings(feature.values[:count], feature.found[:count], feature.mean)
    if isinstance(feature, tuple):
        return type(feature)(*(part[:count] for part in feature))
    return feature[:count]


def _seen_in(feature: Keypoints | Embeddings | People | Classes) -> Any:
    """(N,) bool: the frames in which there is something of it."""
    if isinstance(feature, People):
        return feature.present
    return feature.found.any(1) if isinstance(feature, Keypoints) else feature.found


def _tell(report: Callable[[int, str], None], done: int, name: str, frames: int) -> None:
    report(done, f"{name}, frame {frames}")


def score_all(
    cases: Iterable[Case],
    perception: Perception,
    keep_strips: bool = False,
    report: Callable[[int, str], None] = lambda done, told: None,
) -> tuple[list[VideoScores], dict[str, str]]:
    """Score videos, one after the other.

    Args:
        cases: the videos.
        perception: what judges them.
        keep_strips: whether a few frames of each are kept.
        report: told how many videos are done, and which one is read how far.

    Returns:
        Scores of the videos and methods that could be scored; and of the videos that could not, why.
    """
    videos: list[VideoScores] = []
    failures: dict[str, str] = {}
    for done, case in enumerate(cases):
        report(done, case.name)
        try:
            found = score_video(case, perception, keep_strips, partial(_tell, report, done, case.name))
        except MaskanimError as error:
            failures[case.name] = str(error)
            continue
        videos += found
        scored: Sequence[str] = [each.method for each in found]
        for method in case.methods:
            if method not in scored:
                failures[f"{case.name} by {method}"] = "no frame of it could be scored"
    return videos, failures
