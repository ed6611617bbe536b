"""What scoring found: per-frame sums of every metric, for every video and method, and what they add up to."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from maskanim.benchmarks.estimates import Estimate, ratio
from maskanim.benchmarks.judges import Perception
from maskanim.benchmarks.metrics import METRICS, Metric, PerFrame
from maskanim.benchmarks.scoring.strips import Strip

THIRDS = ("easy", "middle", "hard")
BY_THIRDS = ("AKD", "MKR", "FES")  # Table 6
NO_SIDE = {"source": "no source was given", "target": "no target was given"}


@dataclass(frozen=True)
class VideoScores:
    """One video as one method made it."""

    # video, method: their names
    video: str
    method: str
    frames: int  # how many were scored
    scores: Mapping[str, PerFrame]  # by metric; only those that could be computed
    # AKD between the source and each driving frame, by which Table 6 splits; None if it is not known
    difficulty: PerFrame | None = None
    problems: tuple[str, ...] = ()  # what was not as it should be, in words
    strip: Strip | None = None  # a few of the video's frames, where they were kept

    def figure(self, metric: str) -> float | None:
        """A metric over the video; None if it was not computed or no frame could be judged."""
        found = self.scores.get(metric)
        if found is None or not found.counts.sum():
            return None
        return float(found.totals.sum() / found.counts.sum())

    def judged(self, metric: str) -> int:
        """How many frames had something to judge."""
        return int((self.scores[metric].counts > 0).sum()) if metric in self.scores else 0

    @property
    def difficulties(self) -> Any:
        """Of each frame, in pixels; not a number where it is not known."""
        totals, counts = self.difficulty or PerFrame.unjudged(self.frames)
        return np.where(counts > 0, totals / np.maximum(counts, 1), np.nan)


@dataclass(frozen=True)
class Scored:
    """All videos of a run."""

    perception: Perception  # what judged them
    methods: tuple[str, ...]  # in the order of the tables
    videos: Sequence[VideoScores]  # one for each video and method that could be scored
    failures: Mapping[str, str] = field(default_factory=dict)  # videos that could not, and why
    about: Mapping[str, Any] = field(default_factory=dict)  # what was run: the protocol and its options
    notes: tuple[str, ...] = ()  # further lines for people

    def of(self, method: str) -> list[VideoScores]:
        return [each for each in self.videos if each.method == method]

    def estimate(self, method: str, metric: str) -> Estimate | None:
        """A metric over all videos, their frames alike, with its 95 % bootstrap interval over videos."""
        return _estimate(each.scores[metric] for each in self.of(method) if metric in each.scores)

    def why_not(self, metric: Metric) -> str:
        """Why there is no figure of a metric; empty if there is."""
        if any(self.estimate(method, metric.name) for method in self.methods):
            return ""
        if why := metric.why_not(self.perception):
            return why
        if any(metric.name in each.scores for each in self.videos):
            return f"there was no {self.perception.words.get(metric.feature, 'frame')} to judge"
        return NO_SIDE.get(metric.against, "no video could be scored")

    def shown(self) -> list[Metric]:
        """The metrics with a figure."""
        return [metric for metric in METRICS if not self.why_not(metric)]

    def thirds(self, method: str, metric: str) -> list[Estimate | None]:
        """Table 6: a metric over the easy, middle and hard third of all driving frames, by their difficulty.

        The thirds are those of the method's frames; frames whose difficulty could not be told are in none.
        """
        hard = np.concatenate([each.difficulties for each in self.of(method)] or [np.zeros(0)])
        hard = hard[np.isfinite(hard)]
        low, high = np.quantile(hard, (1 / 3, 2 / 3)) if len(hard) else (np.inf, np.inf)

        def within(each: VideoScores, third: int) -> PerFrame:
            of = each.difficulties
            here = np.isfinite(of) & ((of > low).astype(int) + (of > high) == third)
            return PerFrame(each.scores[metric].totals[here], each.scores[metric].counts[here])

        videos = [each for each in self.of(method) if metric in each.scores]
        return [_estimate(within(each, third) for each in videos) for third in range(len(THIRDS))]

    def has_thirds(self) -> bool:
        return any(each.difficulty is not None and each.difficulty.counts.any() for each in self.videos)


def _estimate(parts: Iterable[PerFrame]) -> Estimate | None:
    """Of the videos in which anything could be judged."""
    sums = [(part.totals.sum(), part.counts.sum()) for part in parts if part.counts.sum()]
    return ratio([total for total, _ in sums], [count for _, count in sums]) if sums else None
