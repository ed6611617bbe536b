"""What is written beside plans: for whom, from what and how they were built, and what every file must be."""

from __future__ import annotations

import re
from typing import Final, Literal

from pydantic import Field

from maskanim import __version__
from maskanim.plans.builder import PlanTensor
from maskanim.plans.libraries import LIBRARIES, LibraryName, LoadedLibrary
from maskanim.plans.options import BatchRange, BuildOptions, Precision, Target
from maskanim.spec import NetworkName, Record

FORMAT: Final = "maskanim-plans"
FORMAT_VERSION: Final = 1

SHA256 = r"^[0-9a-f]{64}$"
# TensorRT-RTX's documented default: without targets a plan runs on 8.0, 8.6, 8.9, 12.0 and what is newer.
PORTABLE = ((8, 0), (8, 6), (8, 9))
PORTABLE_FROM = (12, 0)
PORTABLE_TOLD = "sm80, sm86, sm89, sm120 and newer"


class PlanFile(Record):
    """One network's plan.

    Attributes:
        file, sha256, size: its name in the folder, and what its content must be; the size in bytes.
        source_sha256: of the bundle's ONNX file that it was built from.
        inputs, output: what it takes and gives.
        seconds: that the conversion of the graph and the build took.
    """

    file: str = Field(pattern=r"^[\w.-]+$")
    sha256: str = Field(pattern=SHA256)
    size: int = Field(ge=1)
    source_sha256: str = Field(pattern=SHA256)
    inputs: tuple[PlanTensor, ...]
    output: PlanTensor
    seconds: float


class PlanKey(Record):
    """What tells plans of one bundle apart.

    Attributes:
        library, version: what built them; no other version can run them.
        gpu: the GPU that TensorRT built them on, and for; None for TensorRT-RTX.
        options: precision, batch, targets, effort.
        maskanim: the version that converted the graphs.
    """

    library: LibraryName
    version: str
    gpu: Target | None
    options: BuildOptions
    maskanim: str = __version__

    @property
    def folder(self) -> str:
        """The folder's name, e.g. ``rtx-1.7.1.116-sm86.sm89-fp16-b1.1.8-o3``."""
        gpu, options = self.gpu, self.options
        target = ".".join(options.targets) or "portable"
        if gpu is not None:
            target = "-".join([gpu.architecture, *re.findall(r"[a-z0-9]+", gpu.name.lower())])
        batch = str(options.batch).replace(":", ".")
        return f"{self.library}-{self.version}-{target}-{options.precision}-b{batch}-o{options.opt_level}"


class PlanSet(Record):
    """The four plans in one folder.

    Attributes:
        key: what they were built for.
        platform: the system that built them, e.g. ``Linux x86_64``.
        networks: the four files.
    """

    format: Literal["maskanim-plans"] = FORMAT
    format_version: Literal[1] = FORMAT_VERSION
    key: PlanKey
    platform: str
    networks: dict[NetworkName, PlanFile]


class PlanRequest(Record):
    """What a run needs of plans.

    Attributes:
        library, version: that will run them.
        gpu: that will run them.
        precision: of the networks.
        batches: the smallest and the largest batch that will be run.
    """

    library: LibraryName
    version: str
    gpu: Target
    precision: Precision = "fp16"
    batches: tuple[int, int] = (1, 1)


def plan_key(library: LoadedLibrary, options: BuildOptions, gpu: Target | None) -> PlanKey:
    """The key of plans that are built now; TensorRT-RTX's do not depend on the GPU that is here."""
    name = library.known.name
    built_on = None if library.known.builds_without_gpu else gpu
    return PlanKey(library=name, version=library.version, gpu=built_on, options=options)


def mismatches(key: PlanKey, request: PlanRequest) -> list[str]:
    """Why plans do not fit, each in words that follow 'they are'; empty if they do."""
    title, options = LIBRARIES[key.library].title, key.options
    smallest, largest = request.batches
    checks = {
        f"for {title}, not for {LIBRARIES[request.library].title}": key.library == request.library,
        f"{options.precision}, and {request.precision} is wanted": options.precision == request.precision,
        f"built by {title} {key.version}, and {request.version} is installed": key.version == request.version,
        f"built by maskanim {key.maskanim}, and this is {__version__}": key.maskanim == __version__,
        f"built for {_told_targets(key)}, and this GPU is {request.gpu.architecture}, {request.gpu.name}": _runs_on(
            key, request.gpu
        ),
        f"built for batches of {options.batch.minimum} to {options.batch.maximum}, "
        f"and {smallest if smallest < options.batch.minimum else largest} is wanted": _covers(
            options.batch, smallest, largest
        ),
    }
    return [told for told, fits in checks.items() if not fits]


def _told_targets(key: PlanKey) -> str:
    if key.gpu is not None:
        return f"{key.gpu.architecture}, {key.gpu.name}"
    return ", ".join(key.options.targets) or PORTABLE_TOLD


def _runs_on(key: PlanKey, gpu: Target) -> bool:
    if key.gpu is not None:
        return key.gpu == gpu
    if key.options.targets:
        return gpu.architecture in key.options.targets
    return gpu.capability in PORTABLE or gpu.capability >= PORTABLE_FROM


def _covers(batch: BatchRange, smallest: int, largest: int) -> bool:
    return batch.minimum <= smallest and largest <= batch.maximum
