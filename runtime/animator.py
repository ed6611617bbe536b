"""A model that is ready to animate: one picture, many driving frames."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from pathlib import Path

from maskanim import pipeline
from maskanim.bundle import Bundle
from maskanim.models import Choice, choose
from maskanim.ops import Array, Frame, NumpyOps, postprocess, preprocess
from maskanim.runtime.sessions import AUTO, EngineInUse, SessionNets, check_engine, open_nets

Source = pipeline.Source[Array]
Animation = pipeline.Animation[Array]


class Animator:
    """Animates a source picture by driving frames; a context manager.

    Every picture and frame given is (H, W, 3) uint8 RGB of any size from 64x64; its largest centred square is used.
    It runs in one thread at a time.

    Attributes:
        choice: the model's bundle, and why it was chosen.
        nets, ops: what `pipeline` runs with.
    """

    def __init__(self, choice: Choice, nets: SessionNets) -> None:
        self.choice, self.nets = choice, nets
        self.ops = NumpyOps(choice.bundle.manifest.model.perturbation)

    @classmethod
    def open(cls, model: str | Path | Bundle | None = None, engine: str = AUTO) -> Animator:
        """Load a model.

        Args:
            model: a bundle's folder, ``demo``, an opened bundle, or None for the current model (see `models.choose`).
            engine: ``openvino``, ``ort``, or ``auto`` for the first that works; one that is named is never replaced.

        Raises:
            MissingPackageError: the engine's package is not installed.
            MaskanimError: the model is missing or damaged, the engine is unknown or cannot run it.
        """
        check_engine(engine)
        if isinstance(model, Bundle):
            choice = Choice(model, "given as an opened bundle")
        else:
            choice = choose(None if model is None else str(model))
        return cls(choice, open_nets(choice.bundle, engine))

    @property
    def model(self) -> Bundle:
        """The model that runs."""
        return self.choice.bundle

    @property
    def engine(self) -> EngineInUse:
        """The inference library that runs it, and those passed over."""
        return self.nets.engine

    def encode_source(self, image: Frame) -> Source:
        """All that depends on the source alone; needed once per source.

        Args:
            image: the picture.

        Returns:
            The source, its mask and their other sizes: NCHW float32 in [0, 1]. It can be kept as long as wanted.

        Raises:
            MaskanimError: not a picture, or too small.
        """
        return pipeline.encode_source(self.nets, self.ops, preprocess(image))

    def animate(self, source: Source, frame: Frame) -> Frame:
        """The source in the pose of one driving frame.

        Args:
            source: from `encode_source`.
            frame: the driving frame.

        Returns:
            (256, 256, 3) uint8 RGB.

        Raises:
            MaskanimError: not a frame, or too small.
        """
        return postprocess(self.animate_steps(source, frame).frame)

    def animate_steps(self, source: Source, frame: Frame) -> Animation:
        """As `animate`, with every step between: m_d, m_dp, m_dr, c and f, as NCHW float32 in [0, 1]."""
        return self.animate_prepared(source, preprocess(frame))

    def animate_prepared(self, source: Source, driving: Array) -> Animation:
        """As `animate_steps`, for driving frames that `ops.preprocess` has prepared: (N, 3, 256, 256)."""
        return pipeline.animate_frame(self.nets, self.ops, source, driving)

    def stream(self, source: Source, frames: Iterable[Frame]) -> Iterator[Frame]:
        """`animate` for each driving frame, as it comes."""
        return (self.animate(source, frame) for frame in frames)

    def close(self) -> None:
        """Release the networks."""
        self.nets.close()

    def __enter__(self) -> Animator:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()
