"""A model that is ready to animate: one picture, many driving frames."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

from maskanim.bundle import Bundle
from maskanim.models import Choice, choose
from maskanim.ops import Array, Frame
from maskanim.runtime.engines import AUTO, DEFAULTS, EngineInUse, RunOptions, check_engine, open_runner
from maskanim.runtime.motion import Motion
from maskanim.runtime.runner import Animation, Runner, Source


class Animator:
    """Animates a source picture by driving frames; a context manager.

    Every picture and frame given is (H, W, 3) uint8 RGB of any size from 64x64; its largest centred square is used.
    It runs in one thread at a time.

    Attributes:
        choice: the model's bundle, and why it was chosen.
        runner: the pipeline on the engine.
        engine: the inference library that runs it, and those passed over.
    """

    def __init__(self, choice: Choice, runner: Runner, engine: EngineInUse) -> None:
        self.choice, self.runner, self.engine = choice, runner, engine

    @classmethod
    def open(
        cls, model: str | Path | Bundle | None = None, engine: str = AUTO, options: RunOptions = DEFAULTS
    ) -> Animator:
        """Load a model.

        Args:
            model: a bundle's folder, ``demo``, an opened bundle, or None for the current model (see `models.choose`).
            engine: a name in `engines.ENGINES`, or ``auto`` for the first that works; one that is named is never
                replaced.
            options: see `engines.RunOptions`.

        Raises:
            MissingPackageError: the engine's package is not installed.
            MaskanimError: the model is missing or damaged, the engine is unknown or cannot run it.
        """
        check_engine(engine, options)
        if isinstance(model, Bundle):
            choice = Choice(model, "given as an opened bundle")
        else:
            choice = choose(None if model is None else str(model))
        return cls(choice, *open_runner(choice.bundle, engine, options))

    @property
    def model(self) -> Bundle:
        """The model that runs."""
        return self.choice.bundle

    def encode_source(self, image: Frame) -> Any:
        """All that depends on the source alone; needed once per source.

        Args:
            image: the picture.

        Returns:
            The source, its mask and their other sizes, where the engine needs them. It can be kept until `close`.

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
        return next(self.runner.steps(source, [self.runner.prepare(frame)])).animation

    def stream(self, source: Any, frames: Iterable[Frame]) -> Iterator[Frame]:
        """`animate` for each driving frame; on a GPU, and with batches, some are taken before the first comes out."""
        for finish in self.runner.frames(source, map(self.runner.prepare, frames)):
            yield finish()

    def mask(self, image: Frame) -> Array:
        """Equation (1): m of a picture, (1, 1, 64, 64) float32 in [0, 1]; raises as `encode_source`."""
        return self.runner.mask(image)

    def record(self, source: Any, frames: Iterable[Frame]) -> Iterator[tuple[Frame, Array]]:
        """As `stream`, each frame with its perturbed mask, (1, 1, 64, 64) float32 in [0, 1], for a motion file."""
        for finish, perturbed in self.runner.recorded(source, map(self.runner.prepare, frames)):
            yield finish(), perturbed

    def stream_motion(self, source: Any, motion: Motion) -> Iterator[Frame]:
        """Animate by a motion file: on the engine and with the batch that made it, the same frames to the bit.

        Args:
            source: from `encode_source`.
            motion: from `motion.open_motion`; iterate it for the frames' times.

        Yields:
            (256, 256, 3) uint8 RGB for each of its masks.

        Raises:
            MaskanimError: it was made by another model's m, or the engine animates by frames only.
        """
        motion.require_model(self.model)
        for finish in self.runner.replayed(source, (mask for mask, _ in motion)):
            yield finish()

    def close(self) -> None:
        """Release the engine."""
        self.runner.close()

    def __enter__(self) -> Animator:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()
