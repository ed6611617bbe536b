"""Which library runs a bundle: the one that is asked for, else the first that really works."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from importlib import import_module
from typing import Any, NamedTuple

import numpy as np

from maskanim.bundle import Bundle
from maskanim.errors import MaskanimError, MissingPackageError
from maskanim.runtime.runner import Runner
from maskanim.spec import IMAGE_SIZE

AUTO = "auto"
PRECISIONS = ("fp16", "fp32")
BINDINGS = ("cuda-core", "pycuda")

Tell = Callable[[str], object]


class Engine(NamedTuple):
    """An inference library.

    Attributes:
        package: the import that it needs.
        extra: the extra of maskanim that installs it.
        module, function: what opens it here: takes a bundle and RunOptions, and returns a Runner and a line on what
            runs it.
    """

    package: str
    extra: str
    module: str
    function: str = "open_runner"


# In the order in which `auto` tries them.
ENGINES: dict[str, Engine] = {
    "trt": Engine("tensorrt", "trt", "maskanim.runtime.cuda.backends", "open_trt"),
    "rtx": Engine("tensorrt_rtx", "rtx", "maskanim.runtime.cuda.backends", "open_rtx"),
    "ort-cuda": Engine("onnxruntime", "gpu", "maskanim.runtime.cuda.backends", "open_ort"),
    "openvino": Engine("openvino", "cpu", "maskanim.runtime.sessions.openvino"),
    "ort": Engine("onnxruntime", "cpu", "maskanim.runtime.sessions.ort"),
}


class RunOptions(NamedTuple):
    """How an engine runs a bundle.

    Attributes:
        batch: driving frames that go through the networks together; one is best for latency.
        precision: of an engine on a GPU, ``fp16`` or ``fp32``. Engines on the processor choose by themselves.
        cuda_binding: the package through which the GPU is driven, ``cuda-core`` or ``pycuda``.
        tell: called with a line of text before work that takes long, such as building plans.
    """

    batch: int = 1
    precision: str = "fp16"
    cuda_binding: str = "cuda-core"
    tell: Tell = lambda line: None


DEFAULTS = RunOptions()


class EngineInUse(NamedTuple):
    """What really runs.

    Attributes:
        name: its name in ENGINES.
        detail: library, version, processor, threads, precision.
        passed_over: the engines that `auto` tried before, each with the reason why it does not work.
    """

    name: str
    detail: str
    passed_over: Mapping[str, str]


def check_engine(engine: str, options: RunOptions = DEFAULTS) -> None:
    """Refuse an unknown engine or option before anything is opened.

    Raises:
        MaskanimError: lists the known ones.
    """
    if engine != AUTO and engine not in ENGINES:
        raise MaskanimError(f"engine {engine}", "no such engine", f"one of {', '.join((AUTO, *ENGINES))}")
    for name, value, known in (
        ("precision", options.precision, PRECISIONS),
        ("CUDA binding", options.cuda_binding, BINDINGS),
    ):
        if value not in known:
            raise MaskanimError(f"{name} {value}", f"no such {name}", f"one of {', '.join(known)}")
    if options.batch < 1:
        raise MaskanimError("batch", str(options.batch), "a positive number of frames")


def open_runner(bundle: Bundle, engine: str = AUTO, options: RunOptions = DEFAULTS) -> tuple[Runner, EngineInUse]:
    """Load a bundle and run it once.

    Args:
        bundle: the model.
        engine: a name in ENGINES, which is then used or fails; or ``auto``, the first of them that works.
        options: see RunOptions.

    Returns:
        The runner, to be closed by the caller, and what was chosen.

    Raises:
        MissingPackageError: the engine's package is not installed.
        MaskanimError: the engine is unknown, or cannot load or run the networks.
    """
    check_engine(engine, options)
    if engine != AUTO:
        return _open(bundle, engine, options, {})
    passed_over: dict[str, str] = {}
    for name in ENGINES:
        try:
            return _open(bundle, name, options, passed_over)
        except MaskanimError as error:
            passed_over[name] = str(error)
    received = "; ".join(f"{name} does not work: {why.rstrip('.')}" for name, why in passed_over.items())
    raise MaskanimError(f"engine {AUTO}", received, "one that works")


def _open(bundle: Bundle, name: str, options: RunOptions, passed_over: Mapping[str, str]) -> tuple[Runner, EngineInUse]:
    runner, detail = _opener(name)(bundle, options)
    try:
        # Loading is no proof: an instruction or a kernel that the machine lacks shows when a network runs.
        runner.encode_source(np.zeros((IMAGE_SIZE, IMAGE_SIZE, 3), np.uint8))
    except MaskanimError:
        runner.close()
        raise
    return runner, EngineInUse(name, detail, dict(passed_over))


def _opener(name: str) -> Callable[[Bundle, RunOptions], tuple[Runner, str]]:
    subject, engine = f"engine {name}", ENGINES[name]
    try:
        opener: Any = getattr(import_module(engine.module), engine.function)
    except ModuleNotFoundError as error:
        if error.name != engine.package:
            raise
        raise MissingPackageError(subject, engine.package, engine.extra) from None
    except ImportError as error:
        raise MaskanimError(
            subject, f"{engine.package} cannot be imported ({error})", "a working installation"
        ) from error
    return opener
