"""TensorRT engines at export: what is asked for is checked before any work, and built when the bundle is whole."""

from __future__ import annotations

import shlex
from dataclasses import dataclass
from pathlib import Path
from typing import get_args

from maskanim.bundle import Bundle
from maskanim.driver import read_driver
from maskanim.errors import MaskanimError, MissingPackageError
from maskanim.progress import NO_PROGRESS, Progress
from maskanim.trt.libraries import LIBRARIES, LibraryName, LoadedLibrary, load_library
from maskanim.trt.records import BatchRange, BuildOptions, Target, parse_opt_level, parse_precision, parse_targets
from maskanim.trt.store import StoredEngines, build_engines

ENGINES: tuple[LibraryName, ...] = get_args(LibraryName)


@dataclass(frozen=True)
class BuildRequest:
    """Engines that shall be built."""

    engine: LibraryName  # by which library
    options: BuildOptions  # how
    timing_cache: Path | None = None  # TensorRT's measurements, shared; None: this machine's own


def parse_engine(
    engine: str | None,
    *,
    precision: str | None = None,
    batch: str | None = None,
    targets: str | None = None,
    opt_level: int | None = None,
    version_compatible: bool = False,
    hardware_compatible: bool = False,
    strip_weights: bool = False,
    timing_cache: Path | None = None,
) -> BuildRequest | None:
    """Check the flags that belong to ``--engine``; None where no engine is asked for.

    TensorRT-RTX is loaded here, as it can build on any machine. TensorRT is not: a machine without it or without a GPU
    can still write a bundle that builds elsewhere.

    Raises:
        MaskanimError: a wrong value, a flag without ``--engine``, or a TensorRT-RTX that does not load.
    """
    of_tensorrt = {
        "--version-compatible": version_compatible,
        "--hardware-compatible": hardware_compatible,
        "--strip-weights": strip_weights,
        "--timing-cache": timing_cache,
    }
    given = {"--precision": precision, "--batch": batch, "--targets": targets, "--opt-level": opt_level, **of_tensorrt}
    if engine is None:
        alone = [flag for flag, value in given.items() if value is not None and value is not False]
        if alone:
            raise MaskanimError(alone[0], "given without --engine", f"it with --engine {' or '.join(ENGINES)}")
        return None
    name = next((name for name in ENGINES if name == engine), None)
    if name is None:
        known = (f"{name} ({LIBRARIES[name].title})" for name in ENGINES)
        raise MaskanimError("--engine", engine, " or ".join(known))
    foreign = [flag for flag, value in of_tensorrt.items() if value] if name != "trt" else []
    if foreign:
        raise MaskanimError(foreign[0], f"given with --engine {name}", "it with --engine trt, which alone has it")
    default = BuildOptions()
    options = BuildOptions(
        precision=default.precision if precision is None else parse_precision(precision),
        batch=default.batch if batch is None else BatchRange.parse(batch),
        opt_level=default.opt_level if opt_level is None else parse_opt_level(opt_level),
        targets=_targets(name, targets),
        version_compatible=version_compatible,
        hardware_compatible=hardware_compatible,
        strip_weights=strip_weights,
    )
    return BuildRequest(name, options, timing_cache)


def build_requested(bundle: Bundle, request: BuildRequest, progress: Progress = NO_PROGRESS) -> StoredEngines:
    """Build a whole bundle's engines into it, or use again those that fit.

    Raises:
        MaskanimError: TensorRT or its GPU is missing, and the bundle has to be built on another machine; or a network
            that cannot be built.
    """
    if LIBRARIES[request.engine].builds_without_gpu:
        return build_engines(bundle, load_library(request.engine), request.options, progress=progress)
    library, gpu = _here(bundle, request.engine)
    return build_engines(bundle, library, request.options, gpu, progress, request.timing_cache)


def _targets(engine: LibraryName, text: str | None) -> tuple[str, ...]:
    if engine == "rtx":
        library = load_library(engine)
        return () if text is None else parse_targets(text, library)
    if text is not None:
        received = f"{text} with {LIBRARIES[engine].title}, which builds for the GPU it runs on"
        raise MaskanimError("--targets", received, "it only with --engine rtx")
    return ()


def _here(bundle: Bundle, engine: LibraryName) -> tuple[LoadedLibrary, Target]:
    """A library that only builds on the GPU that will run the engines, and this machine's GPU."""
    missing, library = [], None
    try:
        library = load_library(engine)
    except MissingPackageError as error:
        missing.append(f"{error.received} ({error.next_step})")
    except MaskanimError as error:
        missing.append(error.received)
    driver = read_driver()
    if not driver.gpus:
        missing.append(f"there is no GPU here: {driver.trouble}")
    if library is None or missing:
        title = LIBRARIES[engine].title
        command = f"maskanim-run --engine {engine} --model {shlex.quote(str(bundle.path))}"
        expected = f"{title} and the GPU that will run the model, as {title} builds for the GPU it runs on"
        next_step = f"The bundle {bundle.path} is complete: on the target, {command} builds there"
        raise MaskanimError(f"--engine {engine}", "; and ".join(missing), expected, next_step)
    return library, Target(name=driver.gpus[0].name, capability=driver.gpus[0].capability)
