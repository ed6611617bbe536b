"""A model that is ready to animate: one picture, many driving frames."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

from maskanim.bundle import Bundle
from maskanim.closing import Closing
from maskanim.models import Choice, choose
from maskanim.ops import Array, Frame
from maskanim.runtime.backends import AUTO, DEFAULTS, BackendInUse, RunOptions, check_backend, open_runner
from maskanim.runtime.runner import Animation, FrameResult, Mode, Runner, Source

if TYPE_CHECKING:
    from maskanim.runtime.motion import Motion


class Animator(Closing):
    """Animates a source picture by driving frames; a context manager.

    Every picture and frame given is (H, W, 3) uint8 RGB of any size from 64x64; its largest centred square is used.
    It runs in one thread at a time.

    Attributes:
        choice: the model's bundle, and why it was chosen.
        runner: the pipeline on the backend.
        engine: the backend that runs it, and those passed over.
    """

    def __init__(self, choice: Choice, runner: Runner, engine: BackendInUse) -> None:
        self.choice, self.runner, self.engine = choice, runner, engine

    @classmethod
    def open(
        cls, model: str | Path | Bundle | None = None, engine: str = AUTO, options: RunOptions = DEFAULTS
    ) -> Animator:
        """Load a model.

        Args:
            model: a bundle's folder, ``demo``, an opened bundle, or None for the current model (see `models.choose`).
            engine: a name in `backends.BACKENDS`, or ``auto`` for the first that works; one that is named is never
                replaced.
            options: see `backends.RunOptions`.

        Raises:
            MissingPackageError: the engine's package is not installed.
            MaskanimError: the model is missing or damaged, the engine is unknown or cannot run it.
        """
        check_backend(engine, options)
        if isinstance(model, Bundle):
            choice = Choice(model, "given as an opened bundle")
        else:
            choice = choose(None if model is None else str(model))
        return cls(choice, *open_runner(choice.bundle, engine, options))

    @property
    def model(self) -> Bundle:
        """The model that runs."""
        return self.choice.bundle

    def lines(self) -> list[str]:
        """Which model and which engine run, and why, as every command prints it."""
        bundle, why = self.choice
        passed_over: dict[str, list[str]] = {}
        for name, reason in self.engine.passed_over.items():
            passed_over.setdefault(reason.removeprefix(f"engine {name}: "), []).append(name)
        return [
            f"model: {bundle.manifest.name} in {bundle.path} ({why})",
            f"engine: {self.engine.name} ({self.engine.detail})",
            *(f"passed over: {', '.join(names)} ({reason})" for reason, names in passed_over.items()),
        ]

    def encode_source(self, image: Frame) -> Any:
        """All that depends on the source alone; needed once per source.

        Args:
            image: the picture.

        Returns:
            The source, its mask and their other sizes, where the backend needs them. It can be kept until `close`.

        Raises:
            MaskanimError: not a picture, or too small.
        """
        return self.runner.encode_source(image)

    def source_arrays(self, source: Any) -> Source:
        """An encoded source as arrays: s, D(s), m_s and U(m_s), NCHW float32 in [0, 1]."""
        return self.runner.source_arrays(source)

    def animate(self, source: Any, frame: Frame) -> Frame:
        """The source in the pose of one driving frame.

        Args:
            source: from `encode_source`.
            frame: the driving frame.

        Returns:
            (256, 256, 3) uint8 RGB.

        Raises:
            MaskanimError: not a frame, or too small.
        """
        return next(self.stream(source, [frame]))

    def animate_steps(self, source: Any, frame: Frame) -> Animation:
        """As `animate`, with every step between: m_d, m_dp, m_dr, c and f, as NCHW float32 in [0, 1]."""
        steps = next(self._run(source, [frame], "steps")).steps
        assert steps is not None
        return steps.animation

    def stream(self, source: Any, frames: Iterable[Frame]) -> Iterator[Frame]:
        """`animate` for each driving frame; on a GPU, and with batches, some are taken before the first comes out."""
        for result in self._run(source, frames):
            yield result.finish()

    def mask(self, image: Frame) -> Array:
        """Equation (1): m of a picture, (1, 1, 64, 64) float32 in [0, 1]; raises as `encode_source`."""
        return self.runner.mask(image)

    def record(self, source: Any, frames: Iterable[Frame]) -> Iterator[tuple[Frame, Array]]:
        """As `stream`, each frame with its perturbed mask, (1, 1, 64, 64) float32 in [0, 1], for a motion file."""
        for result in self._run(source, frames, "record"):
            assert result.perturbed is not None
            yield result.finish(), result.perturbed

    def stream_motion(self, source: Any, motion: Motion) -> Iterator[Frame]:
        """Animate by a motion file: on the backend and with the batch that made it, the same frames to the bit.

        Args:
            source: from `encode_source`.
            motion: from `motion.open_motion`; its `masks` tell the times.

        Yields:
            (256, 256, 3) uint8 RGB for each of its masks.

        Raises:
            MaskanimError: it was made by another model's m, or the backend has no such mode.
        """
        motion.require_model(self.model)
        for result in self.runner.run(source, (mask for mask, _ in motion.masks()), "replay"):
            yield result.finish()

    def _run(self, source: Any, frames: Iterable[Frame], mode: Mode = "frame") -> Iterator[FrameResult]:
        return self.runner.run(source, map(self.runner.prepare, frames), mode)

    def close(self) -> None:
        """Release the backend."""
        self.runner.close()
