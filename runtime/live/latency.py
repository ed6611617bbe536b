"""How old a frame is when it is shown: over the last seconds, as a person sees it, in bounded memory."""

from __future__ import annotations

from collections import deque
from statistics import quantiles
from typing import NamedTuple

SECONDS_SHOWN = 5.0
MOST_KEPT = 2000  # more frames than this in the seconds shown are no longer all kept


class Latency(NamedTuple):
    """Seconds from capture to hand-over over the last seconds, and frames per second."""

    p50: float
    p95: float
    rate: float

    def __str__(self) -> str:
        return f"latency {1000 * self.p50:.0f} ms (p95 {1000 * self.p95:.0f}), {self.rate:.1f} frames/s"


class LatencyMeter:
    """Glass-to-glass latency: from a frame's capture to the moment its picture is handed to the outputs."""

    def __init__(self) -> None:
        self._shown: deque[tuple[float, float]] = deque(maxlen=MOST_KEPT)  # when, and how old it was

    def add(self, captured: float, shown: float) -> None:
        """A frame that was captured and shown at these times, in seconds of one clock."""
        self._shown.append((shown, shown - captured))
        while self._shown[0][0] < shown - SECONDS_SHOWN:
            self._shown.popleft()

    def latency(self) -> Latency | None:
        """Of the frames of the last seconds; None as long as there are fewer than two."""
        times = [time for time, _ in self._shown]
        if len(times) < 2 or times[-1] == times[0]:
            return None
        cuts = quantiles((age for _, age in self._shown), n=20, method="inclusive")
        return Latency(cuts[9], cuts[18], (len(times) - 1) / (times[-1] - times[0]))
