"""Videos to scores: frames are read side by side in batches, observed once, judged and forgotten."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, field, replace
from itertools import islice
from typing import Any, Literal, NamedTuple

from maskanim.benchmarks.judges import Feature, Observed, Observer, Perception
from maskanim.benchmarks.metrics import BY_NAME, METRICS, Metric, PerFrame
from maskanim.benchmarks.scoring.results import VideoScores
from maskanim.benchmarks.scoring.strips import Strip
from maskanim.errors import MaskanimError
from maskanim.ops import Frame
from maskanim.progress import NoProgress, Progress

BATCH = 16  # frames in memory of each video that is read


@dataclass
class Streams:
    """One video to be scored, open."""

    driving: Iterator[Frame]  # its frames, (256, 256, 3) uint8 RGB each, as all others
    generated: Mapping[str, Iterator[Frame]]  # what each method made of them
    # what they should have become; ``driving`` in reconstruction, None if nobody knows
    target: Iterator[Frame] | Literal["driving"] | None = None
    source: Frame | None = None  # the picture that was animated, or None
    # features of the driving frames from one number to another that are known exactly, such as a puppet's
    known: Callable[[int, int], Mapping[str, Any]] | None = None
    source_known: Mapping[str, Any] | None = None  # those of the source
    # take the place of the perception's, for this video
    observers: Mapping[str, Observer] = field(default_factory=dict)


class Case(NamedTuple):
    """A video to be scored."""

    name: str  # of the video
    methods: tuple[str, ...]  # who made it
    open: Callable[[ExitStack], Streams]  # opens it; what is to be closed goes on the stack


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
    """What one method's frames of one video have come to so far, and in how many of them what is missing."""

    def __init__(self) -> None:
        self.frames = 0
        self.parts: dict[str, list[PerFrame]] = defaultdict(list)
        self.kept: dict[str, list[tuple[Feature, Feature]]] = defaultdict(list)  # of metrics that judge all at once
        self.unseen: Counter[str] = Counter()


def score_video(
    case: Case, perception: Perception, keep_strip: bool = False, report: Callable[[int], object] = int
) -> list[VideoScores]:
    """Score what each method made of one video.

    Args:
        report: called with the number of frames that have been read, now and then.

    Raises:
        MaskanimError: it could not be opened, or not one frame could be read.
    """
    with ExitStack() as opened:
        scoring = _Scoring(case, case.open(opened), perception, keep_strip)
        while scoring.take_batch():
            report(scoring.driving.count)
        return scoring.scores()


class _Scoring:
    """One video while it is scored."""

    def __init__(self, case: Case, streams: Streams, perception: Perception, keep_strip: bool) -> None:
        self.case, self.streams = case, streams
        self.observers = {**perception.observers, **streams.observers}
        self.perception = perception = replace(perception, observers=self.observers)
        self.driving = _Reel(streams.driving)
        self.target = _Reel(streams.target) if isinstance(streams.target, Iterator) else None
        self.generated = {name: _Reel(frames) for name, frames in streams.generated.items()}
        self.tallies = {name: _Tally() for name in self.generated}
        self.difficulty: list[PerFrame] = []
        self.strip = Strip(streams.source) if keep_strip else None
        source = streams.source
        self.source = None if source is None else Observed([source], self.observers, streams.source_known)
        given = {"source": self.source, "target": streams.target}
        self.metrics = [
            each for each in METRICS if not each.why_not(perception) and given.get(each.against, "") is not None
        ]
        # One feature speaks for all that are missing together.
        named = {perception.words.get(metric.feature): metric.feature for metric in self.metrics}
        self.words = {feature: word for word, feature in named.items() if word}

    def take_batch(self) -> bool:
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
        known = self.streams.known(first, first + len(driving)) if self.streams.known else None
        seen = Observed(driving, self.observers, known)
        aim = seen if self.streams.target == "driving" else Observed(target, self.observers) if target else None
        others = {"driving": seen, "target": aim, "source": self.source}
        if self.source and "keypoints" in self.observers:
            self.difficulty.append(BY_NAME["AKD"].judge(seen.see("keypoints"), self.source.see("keypoints")))
        if self.strip:
            self.strip.add("driving", first, driving)
        for name, frames in generated.items():
            if common := frames[: len(driving)]:
                self._judge_method(self.tallies[name], Observed(common, self.observers), others)
                if self.strip:
                    self.strip.add(name, first, common)

    def _judge_method(self, tally: _Tally, made: Observed, others: Mapping[str, Observed | None]) -> None:
        tally.frames += len(made)
        for metric in self.metrics:
            other = others.get(metric.against)
            if metric.whole and other:
                tally.kept[metric.name].append((made.see(metric.feature), other.see(metric.feature).first(len(made))))
            else:
                tally.parts[metric.name].append(_judged(metric, made, other))
        for feature, word in self.words.items():
            for side, observed in (("generated", made), ("driving", others["driving"])):
                missing = 0 if observed is None else (~observed.see(feature).anything)[: len(made)].sum()
                tally.unseen[f"no {word} in {{}} of {{}} {side} frames"] += int(missing)

    def scores(self) -> list[VideoScores]:
        """Of each method that made a frame."""
        if not any(tally.frames for tally in self.tallies.values()):
            reels = (self.driving, *self.generated.values())
            why = next((reel.problem for reel in reels if reel.problem), "no frame in common")
            raise MaskanimError(self.case.name, why, "a driving and a generated video")
        return [self._scores(name, tally) for name, tally in self.tallies.items() if tally.frames]

    def _scores(self, name: str, tally: _Tally) -> VideoScores:
        hard = PerFrame.joined(self.difficulty) if self.difficulty else None
        for metric in self.metrics:
            if kept := tally.kept[metric.name]:
                tally.parts[metric.name].append(metric.judge(*map(Feature.joined, zip(*kept, strict=True))))
        return VideoScores(
            video=self.case.name,
            method=name,
            frames=tally.frames,
            scores={metric: PerFrame.joined(parts) for metric, parts in tally.parts.items()},
            difficulty=hard and PerFrame(hard.totals[: tally.frames], hard.counts[: tally.frames]),
            problems=tuple(self._problems(name, tally)),
            strip=self.strip,
        )

    def _problems(self, name: str, tally: _Tally) -> Iterator[str]:
        reels = {"driving": self.driving, "target": self.target, "generated": self.generated[name]}
        lengths = {side: reel.count for side, reel in reels.items() if reel}
        if len(set(lengths.values())) > 1:
            counts = ", ".join(f"{count} {side}" for side, count in lengths.items())
            yield f"lengths differ ({counts}): the first {tally.frames} frames were scored"
        yield from (f"{side}: {reel.problem}" for side, reel in reels.items() if reel and reel.problem)
        yield from (text.format(count, tally.frames) for text, count in sorted(tally.unseen.items()) if count)
        for metric in self.metrics:
            if self.source and metric.against == "source" and not self.source.see(metric.feature).anything.all():
                yield f"no {self.perception.words[metric.feature]} in the source"


def _judged(metric: Metric, made: Observed, other: Observed | None) -> PerFrame:
    """A metric on frames; those for which the other side has no counterpart are not judged."""
    mine = made.see(metric.feature)
    if not metric.against:
        return metric.judge(mine, None)
    if other is None:
        return PerFrame.unjudged(len(made))
    others = other.see(metric.feature)
    if metric.against == "source":
        return metric.judge(mine, others)
    common = min(len(made), len(other))
    judged = metric.judge(
        *(each.first(common) if isinstance(each, Feature) else each[:common] for each in (mine, others))
    )
    return PerFrame.joined([judged, PerFrame.unjudged(len(made) - common)])


def score_all(
    cases: Sequence[Case], perception: Perception, keep_strips: bool = False, progress: Progress | None = None
) -> tuple[list[VideoScores], dict[str, str]]:
    """Score videos, one after the other.

    Returns:
        Scores of the videos and methods that could be scored; and of the videos that could not, why.
    """
    videos: list[VideoScores] = []
    failures: dict[str, str] = {}
    shown: Progress = progress or NoProgress()
    for done, case in enumerate(cases):
        shown.update(done, len(cases), case.name)

        def report(frames: int, done: int = done, name: str = case.name) -> None:
            shown.update(done, len(cases), f"{name}, frame {frames}")

        try:
            found = score_video(case, perception, keep_strips, report)
        except MaskanimError as error:
            failures[case.name] = str(error).removeprefix(f"{case.name}: ")
            continue
        videos += found
        lacking = {*case.methods} - {each.method for each in found}
        failures |= {f"{case.name} by {method}": "no frame of it could be scored" for method in sorted(lacking)}
    return videos, failures
