"""What can run a bundle: the one table of backends, and which of them is opened.

The option ``--engine`` names a backend. Whatever differs between backends stands in the table `BACKENDS`, which `auto`,
the doctor, the page and the benchmarks read: a new one is a module and a row.
"""

from __future__ import annotations

from collections.abc import Mapping
from importlib import import_module
from typing import TYPE_CHECKING, Any, NamedTuple

from maskanim.errors import MaskanimError, needs_extra
from maskanim.trt.libraries import LIBRARIES

# maskanim-doctor reads the table where NumPy or OpenCV is broken: nothing heavy is imported for it.
if TYPE_CHECKING:
    from maskanim.bundle import Bundle
    from maskanim.runtime.runner import Runner

AUTO = "auto"
PRECISIONS = ("fp16", "fp32", "int8")
MIN_CAPABILITY = (7, 5)  # of the kernels and of TensorRT 10.12 and later
# What TensorRT-RTX 1.x builds for; data centre GPUs such as sm_90 and sm_100 are not among them.
RTX_CAPABILITIES = ((7, 5), (8, 0), (8, 6), (8, 9), (12, 0), (12, 1))
ONNXRUNTIME = ("onnxruntime", "onnxruntime-gpu", "onnxruntime-openvino", "onnxruntime-directml")


class Backend(NamedTuple):
    """An inference library."""

    package: str  # the import that it needs
    distributions: tuple[str, ...]  # what brings that import, as pip calls it
    extra: str  # the extra of maskanim that installs it
    # module, function: what opens it here: takes a bundle and RunOptions, and returns a Runner and a line on what runs
    # it
    module: str
    function: str = "open_runner"
    gpu: bool = False  # it runs on an NVIDIA GPU, through one of CUDA_BINDINGS; else on the processor
    provider: str | None = None  # with onnxruntime, the execution provider
    # the only compute capabilities that it supports; None for all from MIN_CAPABILITY
    capabilities: tuple[tuple[int, int], ...] | None = None
    lean: str | None = None  # the import of its runtime alone, which does instead where engines were built elsewhere


class CudaBinding(NamedTuple):
    """What drives a GPU: memory, streams, launches."""

    package: str  # the import that it needs
    extra: str  # the extra of maskanim that installs it
    # module, device: the class here that opens a GPU by its number
    module: str
    device: str


CUDA_BINDINGS = {
    "cuda-core": CudaBinding("cuda.core", "gpu", "maskanim.runtime.cuda.cuda_core", "CudaCoreDevice"),
    "pycuda": CudaBinding("pycuda", "pycuda", "maskanim.runtime.cuda.pycuda", "PyCudaDevice"),
}

# In the order in which `auto` tries them: the best first.
BACKENDS: dict[str, Backend] = {
    "trt": Backend(
        LIBRARIES["trt"].module,
        ("tensorrt", "tensorrt-cu12", "tensorrt-cu13"),
        "trt",
        "maskanim.runtime.cuda.backends",
        "open_trt",
        gpu=True,
        lean=LIBRARIES["trt"].lean,
    ),
    "rtx": Backend(
        LIBRARIES["rtx"].module,
        ("tensorrt-rtx", "tensorrt-rtx-cu12", "tensorrt-rtx-cu13"),
        "rtx",
        "maskanim.runtime.cuda.backends",
        "open_rtx",
        gpu=True,
        capabilities=RTX_CAPABILITIES,
    ),
    "ort-cuda": Backend(
        "onnxruntime",
        ONNXRUNTIME,
        "gpu",
        "maskanim.runtime.cuda.backends",
        "open_ort",
        gpu=True,
        provider="CUDAExecutionProvider",
    ),
    "openvino": Backend("openvino", ("openvino",), "cpu", "maskanim.runtime.sessions.openvino"),
    "ort": Backend("onnxruntime", ONNXRUNTIME, "cpu", "maskanim.runtime.sessions.ort", provider="CPUExecutionProvider"),
}


class RunOptions(NamedTuple):
    """How a backend runs a bundle.

    Attributes:
        batch: driving frames that go through the networks together; one is best for latency.
        precision: of a backend on a GPU, ``fp16``, ``fp32`` or ``int8``. Those on the processor measure what is best.
        cuda_binding: the package through which the GPU is driven, ``cuda-core`` or ``pycuda``.
        graph: capture a frame's work on a GPU as a CUDA graph; without, it is launched step by step.
        least_psnr: what a final frame keeps against float32 where a processor runs networks in BF16 or INT8, in dB.
    """

    batch: int = 1
    precision: str = "fp16"
    cuda_binding: str = "cuda-core"
    graph: bool = True
    least_psnr: float = 45.0


DEFAULTS = RunOptions()


class BackendInUse(NamedTuple):
    """What really runs."""

    name: str  # its name in BACKENDS
    detail: str  # library, version, processor, threads, precision
    passed_over: Mapping[str, str]  # the backends that `auto` tried before, each with the reason why it does not work


def check_backend(name: str, options: RunOptions = DEFAULTS) -> None:
    """Refuse an unknown backend or option before anything is opened.

    Raises:
        MaskanimError: lists the known ones.
    """
    for kind, value, known in (
        ("engine", name, (AUTO, *BACKENDS)),
        ("precision", options.precision, PRECISIONS),
        ("CUDA binding", options.cuda_binding, tuple(CUDA_BINDINGS)),
    ):
        if value not in known:
            raise MaskanimError(f"{kind} {value}", f"no such {kind}", f"one of {', '.join(known)}")
    if options.batch < 1:
        raise MaskanimError("batch", str(options.batch), "a positive number of frames")
    if not 0 < options.least_psnr <= 150:
        raise MaskanimError("least PSNR", f"{options.least_psnr:g}", "a number of dB above 0, at most 150")


def open_runner(
    bundle: Bundle, name: str = AUTO, options: RunOptions = DEFAULTS, *, again: bool = False
) -> tuple[Runner, BackendInUse]:
    """Load a bundle, and prove that its frames are right; see `verification`.

    Args:
        name: a name in BACKENDS, which is then used or fails; or ``auto``, the first of them that works.
        again: animate the bundle's golden pairs although this was done before.

    Returns:
        The runner, to be closed by the caller, and what was chosen.

    Raises:
        MissingPackageError: the backend's package is not installed.
        MaskanimError: the backend is unknown, or cannot load or run the networks, or does not give what PyTorch does.
    """
    check_backend(name, options)
    if name != AUTO:
        try:
            return _open(bundle, name, options, {}, again)
        except MaskanimError as error:
            if f"engine {name}" in error.subject:
                raise
            subject, advice = f"engine {name}, {error.subject}", "maskanim-doctor says which engines run here"
            raise MaskanimError(subject, error.received, error.expected, error.next_step or advice) from error
    passed_over: dict[str, str] = {}
    for each in BACKENDS:
        try:
            return _open(bundle, each, options, passed_over, again)
        except MaskanimError as error:
            passed_over[each] = str(error)
    received = "; ".join(f"{each} does not work: {why.rstrip('.')}" for each, why in passed_over.items())
    raise MaskanimError(f"engine {AUTO}", received, "one that works")


def _open(
    bundle: Bundle, name: str, options: RunOptions, passed_over: Mapping[str, str], again: bool
) -> tuple[Runner, BackendInUse]:
    subject, backend = f"engine {name}", BACKENDS[name]
    runner: Runner
    try:
        with needs_extra(subject, backend.extra):
            runner, detail = _opener(backend)(bundle, options)
    except ImportError as error:
        received = f"{backend.package} cannot be imported ({error})"
        raise MaskanimError(subject, received, "a working installation") from error
    try:
        from maskanim.runtime.verification import verify

        verify(bundle, runner, name, detail, again=again, least_psnr=options.least_psnr)
    except BaseException:
        runner.close()
        raise
    return runner, BackendInUse(name, detail, dict(passed_over))


def _opener(backend: Backend) -> Any:
    """The function that opens it; an ImportError also where what it needs is there and does not start."""
    try:
        return getattr(import_module(backend.module), backend.function)
    except (OSError, RuntimeError) as error:
        raise ImportError(str(error)) from error
