"""What an engine is built for, what is written beside it, and whether it fits a run."""

from __future__ import annotations

import re
from typing import Final, Literal, get_args

from pydantic import Field, ValidationError, model_validator

from maskanim import __version__
from maskanim.errors import MaskanimError
from maskanim.spec import NetworkName, Record
from maskanim.trt.libraries import LIBRARIES, LibraryName, LoadedLibrary, numbers

FORMAT: Final = "maskanim-plans"
FORMAT_VERSION: Final = 1

SHA256 = r"^[0-9a-f]{64}$"
# TensorRT-RTX's documented default: without targets an engine runs on 8.0, 8.6, 8.9, 12.0 and what is newer.
PORTABLE = ((8, 0), (8, 6), (8, 9))
PORTABLE_FROM = (12, 0)
COMPATIBLE_FROM = (8, 0)  # TensorRT's HardwareCompatibilityLevel.AMPERE_PLUS
PORTABLE_TOLD = "sm80, sm86, sm89, sm120 and newer"

Precision = Literal["fp16", "fp32", "int8"]
PRECISIONS: tuple[Precision, ...] = get_args(Precision)
OPT_LEVELS = range(6)  # builder_optimization_level: 0 builds fastest, 5 looks longest for fast kernels
Dtype = Literal["float32", "float16"]
Shape = tuple[int, int, int, int]


class BatchRange(Record):
    """Batch sizes that an engine takes, and the one that it is fastest at: ``minimum <= optimum <= maximum``."""

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
    """How engines are built."""

    # ``fp16`` has half bodies and float32 heads (see `half`); ``fp32`` is float32 throughout, no TF32; ``int8`` is
    # ``fp16`` with the convolutions in INT8 of those networks that the export chose (see `graphs`)
    precision: Precision = "fp16"
    batch: BatchRange = BatchRange()  # the optimization profile
    # compute capabilities such as ``sm86``, for TensorRT-RTX only. Empty: its portable engine, which runs on sm80,
    # sm86, sm89, sm120 and newer. TensorRT builds for the GPU it runs on.
    targets: tuple[str, ...] = ()
    opt_level: int = Field(default=3, ge=0, le=5)  # the builder's effort, 0 to 5
    # with TensorRT: newer versions of the same major one run it, and so does the lean runtime
    version_compatible: bool = False
    hardware_compatible: bool = False  # with TensorRT: every GPU from compute capability 8.0 on runs it, if more slowly
    # with TensorRT: files without weights, which are put in from the ONNX files when a model opens
    strip_weights: bool = False


class Target(Record):
    """A GPU."""

    name: str  # as NVIDIA calls it
    capability: tuple[int, int]  # compute capability, major and minor

    @property
    def architecture(self) -> str:
        """As targets are written, e.g. ``sm86``."""
        return "sm{}{}".format(*self.capability)


def parse_precision(text: str) -> Precision:
    """Read ``fp16``, ``fp32`` or ``int8``; raises a MaskanimError for anything else."""
    if text not in PRECISIONS:
        raise MaskanimError("--precision", text, " or ".join(PRECISIONS))
    return text


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
        raise MaskanimError("--targets", received, f"some of {', '.join(valid)}, the targets of {library.full_name}")
    return tuple(name for name in valid if name in targets)


def valid_targets(library: LoadedLibrary) -> tuple[str, ...]:
    """The compute capabilities that this TensorRT-RTX builds for, oldest first: sm75, sm80, ..."""
    names = library.module.ComputeCapability.__members__
    return tuple(sorted((name.lower() for name in names if name.startswith("SM")), key=lambda name: int(name[2:])))


def own_targets(library: LoadedLibrary, gpu: Target) -> tuple[str, ...]:
    """The targets of engines that run on one GPU: its own for TensorRT-RTX, none for TensorRT.

    Raises:
        MaskanimError: a GPU that TensorRT-RTX does not support.
    """
    if library.known.name != "rtx":
        return ()
    valid = valid_targets(library)
    if gpu.architecture in valid:
        return (gpu.architecture,)
    newest = int(valid[-1][2:-1]), int(valid[-1][-1])  # (12, 0) of sm120: the minor number has one digit
    if gpu.capability > newest:
        return ()  # newer than the library: the portable engine promises to run there
    received = f"{gpu.name}, {gpu.architecture}, on which {library.full_name} does not run"
    raise MaskanimError("--engine rtx", received, f"a GPU of {', '.join(valid)} or newer", "Use --engine trt")


class EngineTensor(Record):
    """One input or output of an engine, NCHW."""

    name: str  # as in the network's signature
    dtype: Dtype  # at the engine's boundary
    # minimum, optimum, maximum: shapes for the smallest, the best and the largest batch
    minimum: Shape
    optimum: Shape
    maximum: Shape


class EngineFile(Record):
    """One network's engine, serialized."""

    # file, sha256, size: its name in the folder, and what its content must be; the size in bytes
    file: str = Field(pattern=r"^[\w.-]+$")
    sha256: str = Field(pattern=SHA256)
    size: int = Field(ge=1)
    # of what it was built from: the bundle's ONNX file, and in INT8 the ranges
    source_sha256: str = Field(pattern=SHA256)
    # inputs, output: what it takes and gives
    inputs: tuple[EngineTensor, ...]
    output: EngineTensor
    seconds: float  # that the conversion of the graph and the build took


class EngineKey(Record):
    """What tells engines of one bundle apart."""

    # library, version: what built them; but for version compatible ones no other version can run them
    library: LibraryName
    version: str
    # the GPU that TensorRT built them on, and, but for hardware compatible ones, for; None for TensorRT-RTX
    gpu: Target | None
    options: BuildOptions  # precision, batch, targets, effort
    maskanim: str = __version__  # the version that converted the graphs

    @property
    def folder(self) -> str:
        """The folder's name, e.g. ``rtx-1.7.1.116-sm86.sm89-fp16-b1.1.8-o3``."""
        gpu, options = self.gpu, self.options
        target = ".".join(options.targets) or "portable"
        if gpu is not None:
            target = "-".join([gpu.architecture, *re.findall(r"[a-z0-9]+", gpu.name.lower())])
        batch = str(options.batch).replace(":", ".")
        more = {"vc": options.version_compatible, "hc": options.hardware_compatible, "stripped": options.strip_weights}
        marks = "".join(f"-{mark}" for mark, given in more.items() if given)
        return f"{self.library}-{self.version}-{target}-{options.precision}-b{batch}-o{options.opt_level}{marks}"


class EngineSet(Record):
    """The four engines in one folder."""

    format: Literal["maskanim-plans"] = FORMAT
    format_version: Literal[1] = FORMAT_VERSION
    key: EngineKey  # what they were built for
    platform: str  # the system that built them, e.g. ``Linux x86_64``
    networks: dict[NetworkName, EngineFile]  # the four files


class EngineRequest(Record):
    """What a run needs of engines."""

    # library, version: that will run them
    library: LibraryName
    version: str
    gpu: Target  # that will run them
    lean: bool = False  # only TensorRT's lean runtime is there
    precision: Precision = "fp16"  # of the networks
    batches: tuple[int, int] = (1, 1)  # the smallest and the largest batch that will be run


def engine_key(library: LoadedLibrary, options: BuildOptions, gpu: Target | None) -> EngineKey:
    """The key of engines that are built now; TensorRT-RTX's do not depend on the GPU that is here."""
    name = library.known.name
    built_on = None if library.known.builds_without_gpu else gpu
    return EngineKey(library=name, version=library.version, gpu=built_on, options=options)


def mismatches(key: EngineKey, request: EngineRequest) -> list[str]:
    """Why engines do not fit, each in words that follow 'they are'; empty if they do."""
    title, options, gpu = LIBRARIES[key.library].title, key.options, request.gpu
    batch, (smallest, largest) = options.batch, request.batches
    targets = ", ".join(options.targets) or PORTABLE_TOLD
    built_for = f"{key.gpu.architecture}, {key.gpu.name}" if key.gpu else targets
    wrong_batch = smallest if smallest < batch.minimum else largest
    checks = (
        (key.library == request.library, f"for {title}, not for {LIBRARIES[request.library].title}"),
        (options.precision == request.precision, f"{options.precision}, and {request.precision} is wanted"),
        (_version_fits(key, request.version), f"built by {title} {key.version}, and {request.version} is installed"),
        (not request.lean or options.version_compatible, "not version compatible, and only the lean runtime is here"),
        (key.maskanim == __version__, f"built by maskanim {key.maskanim}, and this is {__version__}"),
        (_runs_on(key, gpu), f"built for {built_for}, and this GPU is {gpu.architecture}, {gpu.name}"),
        (
            batch.minimum <= smallest and largest <= batch.maximum,
            f"built for batches of {batch.minimum} to {batch.maximum}, and {wrong_batch} is wanted",
        ),
    )
    return [told for fits, told in checks if not fits]


def _version_fits(key: EngineKey, version: str) -> bool:
    built, installed = numbers(key.version), numbers(version)
    newer = built[0] == installed[0] and built <= installed
    return key.version == version or (key.options.version_compatible and newer)


def _runs_on(key: EngineKey, gpu: Target) -> bool:
    if key.gpu is not None:
        return key.gpu == gpu or (key.options.hardware_compatible and gpu.capability >= COMPATIBLE_FROM)
    if key.options.targets:
        return gpu.architecture in key.options.targets
    return gpu.capability in PORTABLE or gpu.capability >= PORTABLE_FROM
