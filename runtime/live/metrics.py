"""What a page that serves tells Prometheus: frames, those dropped, their age, the engine, errors."""

from __future__ import annotations

from typing import TYPE_CHECKING

from maskanim.errors import MissingPackageError, needs_extra

if TYPE_CHECKING:
    from maskanim.runtime.animator import Animator

CONTENT_TYPE = "text/plain; version=0.0.4; charset=utf-8"
AGES = (0.005, 0.01, 0.02, 0.03, 0.05, 0.075, 0.1, 0.15, 0.2, 0.3, 0.5, 1.0, 2.0, 5.0)  # seconds, the buckets


class Metrics:
    """Counts, from any thread, what one server does.

    Raises:
        MissingPackageError: the extra `metrics` is not installed.
    """

    def __init__(self) -> None:
        with needs_extra("/metrics", "metrics"):
            from prometheus_client import CollectorRegistry, Counter, Histogram, Info
        self._registry = registry = CollectorRegistry()
        self.frames = Counter("maskanim_frames", "Frames that were animated.", registry=registry)
        self.dropped = Counter("maskanim_dropped_frames", "Frames for which the model had no time.", registry=registry)
        self.errors = Counter("maskanim_errors", "Work that ended by an error.", registry=registry)
        self._age = Histogram(
            "maskanim_frame_age_seconds", "From capture or arrival to hand-over.", buckets=AGES, registry=registry
        )
        self._engine = Info("maskanim_engine", "What runs.", registry=registry)

    def shown(self, age: float) -> None:
        """A frame was animated and handed over, so many seconds after it came."""
        self.frames.inc()
        self._age.observe(age)

    def runs(self, animator: Animator) -> None:
        """This model is open, on its engine."""
        name, detail = animator.engine.name, animator.engine.detail
        self._engine.info({"engine": name, "detail": detail, "model": animator.model.manifest.name})

    def text(self) -> bytes:
        """All of it in Prometheus' text format, of type CONTENT_TYPE."""
        from prometheus_client import generate_latest

        return generate_latest(self._registry)


def metrics_of(animator: Animator) -> Metrics | None:
    """Those of a server that runs one model; None where the extra `metrics` is not installed."""
    try:
        metrics = Metrics()
    except MissingPackageError:
        return None
    metrics.runs(animator)
    return metrics
