"""What a plan is built for: precision, batch, targets and effort, and the GPU that it is meant for."""

from __future__ import annotations

from typing import Literal, get_args

from pydantic import Field, ValidationError, model_validator

from maskanim.errors import MaskanimError
from maskanim.plans.libraries import LoadedLibrary
from maskanim.spec import Record

Precision = Literal["fp16", "fp32"]
PRECISIONS: tuple[Precision, ...] = get_args(Precision)
OPT_LEVELS = range(6)  # builder_optimization_level: 0 builds fastest, 5 looks longest for fast kernels


class BatchRange(Record):
    """Batch sizes that a plan takes, and the one that it is fastest at: ``minimum <= optimum <= maximum``."""

    minimum: int = Field(default=1, ge=1)
    optimum: int = Field(default=1, ge=1)
    maximum: int = Field(default=8, ge=1)

    @model_validator(mode="after")
    def _ordered(self) -> BatchRange:
        if not self.minimum <= self.optimum <= self.maximum:
            raise ValueError("minimum, optimum and maximum are not in order")
        return self

    @classmethod
    def parse(cls, text: str) -> BatchRange:
        """Read ``1:1:8``, or one number for all three.

        Raises:
            MaskanimError: anything else.
        """
        try:
            numbers = [int(part) for part in text.split(":")]
            minimum, optimum, maximum = numbers * 3 if len(numbers) == 1 else numbers
            return cls(minimum=minimum, optimum=optimum, maximum=maximum)
        except (ValueError, ValidationError):
            wanted = "MIN:OPT:MAX, whole numbers with 1 <= MIN <= OPT <= MAX, e.g. 1:1:8"
            raise MaskanimError("--batch", text or "nothing", wanted) from None

    def __str__(self) -> str:
        return f"{self.minimum}:{self.optimum}:{self.maximum}"


class BuildOptions(Record):
    """How plans are built.

    Attributes:
        precision: ``fp16`` has half bodies and float32 heads (see `half`); ``fp32`` is float32 throughout, no TF32.
        batch: the optimization profile.
        targets: compute capabilities such as ``sm86``, for TensorRT-RTX only. Empty: its portable plan, which runs on
            sm80, sm86, sm89, sm120 and newer. TensorRT builds for the GPU it runs on.
        opt_level: the builder's effort, 0 to 5.
    """

    precision: Precision = "fp16"
    batch: BatchRange = BatchRange()
    targets: tuple[str, ...] = ()
    opt_level: int = Field(default=3, ge=0, le=5)


class Target(Record):
    """A GPU.

    Attributes:
        name: as NVIDIA calls it.
        capability: compute capability, major and minor.
    """

    name: str
    capability: tuple[int, int]

    @property
    def architecture(self) -> str:
        """As targets are written, e.g. ``sm86``."""
        return "sm{}{}".format(*self.capability)


def parse_precision(text: str) -> Precision:
    """Read ``fp16`` or ``fp32``; raises a MaskanimError for anything else."""
    for precision in PRECISIONS:
        if text == precision:
            return precision
    raise MaskanimError("--precision", text, " or ".join(PRECISIONS))


def parse_opt_level(level: int) -> int:
    """Return a level of 0 to 5; raises a MaskanimError for any other."""
    if level not in OPT_LEVELS:
        raise MaskanimError("--opt-level", str(level), f"{OPT_LEVELS[0]} to {OPT_LEVELS[-1]}")
    return level


def parse_targets(text: str, library: LoadedLibrary) -> tuple[str, ...]:
    """Read ``sm86,sm89`` for TensorRT-RTX: sorted, each once.

    Raises:
        MaskanimError: a target that the library does not know.
    """
    valid = valid_targets(library)
    targets = {part.strip().lower().replace("_", "") for part in text.split(",")}
    unknown = sorted(targets.difference(valid))
    if unknown:
        received = ", ".join(name or "an empty name" for name in unknown)
        raise MaskanimError("--targets", received, f"some of {', '.join(valid)}, the targets of {library.told}")
    return tuple(name for name in valid if name in targets)


def valid_targets(library: LoadedLibrary) -> tuple[str, ...]:
    """The compute capabilities that this TensorRT-RTX builds for, oldest first: sm75, sm80, ..."""
    names = library.module.ComputeCapability.__members__
    return tuple(sorted((name.lower() for name in names if name.startswith("SM")), key=lambda name: int(name[2:])))


def own_targets(library: LoadedLibrary, gpu: Target) -> tuple[str, ...]:
    """The targets of plans that run on one GPU: its own for TensorRT-RTX, none for TensorRT.

    Raises:
        MaskanimError: a GPU that TensorRT-RTX does not support.
    """
    if library.known.name != "rtx":
        return ()
    valid = valid_targets(library)
    if gpu.architecture in valid:
        return (gpu.architecture,)
    if gpu.capability > _capability(valid[-1]):
        return ()  # newer than the library: the portable plan promises to run there
    received = f"{gpu.name}, {gpu.architecture}, on which {library.told} does not run"
    raise MaskanimError("--engine rtx", received, f"a GPU of {', '.join(valid)} or newer", "Use --engine trt")


def _capability(target: str) -> tuple[int, int]:
    """(12, 0) of ``sm120``: the minor number has one digit."""
    return int(target[2:-1]), int(target[-1])
