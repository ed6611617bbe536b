"""What is measured, by name: the runtime's engines, PyTorch as a baseline, and PyTorch in the runtime's pipeline."""

from __future__ import annotations

from importlib import import_module
from importlib.util import find_spec

from maskanim.bundle import Bundle
from maskanim.errors import MaskanimError, needs_extra
from maskanim.runtime.backends import AUTO, BACKENDS, RunOptions, check_backend, open_runner
from maskanim.runtime.runner import Runner
from maskanim.spec import ModelSpec

EAGER = "torch-eager"
# A bundle that knows its INT8, run without: FP32, or BF16 where the processor has it.
FLOATS = {f"{name}-float": name for name, backend in BACKENDS.items() if not backend.gpu}
# PyTorch's networks with random weights, which take as long as any others, under PyTorch's own control.
BASELINES = {
    EAGER: "FP32 as the released code runs it, P_test on the host; on a GPU with TF32, PyTorch's default",
    "torch-fp32": "the same without TF32",
    "torch-bf16": "BF16, channels-last",
    "torch-fp16": "FP16, channels-last; on a GPU only",
    "torch-compile": "torch.compile, lowered networks, in the faster of FP16 and BF16",
}
# The same networks in the runtime's pipeline on a GPU, where TensorRT's engines go: FP16, lowered but for the first.
CAPTURED = {
    "torch-graph-plain": "in one captured graph, as they were trained",
    "torch-graph": "in one captured graph",
    "torch-no-graph": "launched one by one",
    "torch-graph-compile": "through torch.compile, in one captured graph",
}


def check_subject(name: str, options: RunOptions) -> None:
    """Refuse an unknown name or option before anything is measured.

    Raises:
        MaskanimError: lists the known ones.
    """
    torch = (*BASELINES, *CAPTURED)
    if name not in (AUTO, *BACKENDS, *FLOATS, *torch):
        known = f"one of {', '.join((AUTO, *BACKENDS, *FLOATS))}, or {', '.join(torch)}"
        raise MaskanimError(f"engine {name}", "no such engine", known)
    check_backend(AUTO, options)


def usual_subjects(model: Bundle | ModelSpec) -> list[str]:
    """All engines, those on the processor also without INT8 if the model knows it, and PyTorch's eager if installed."""
    floats = FLOATS if isinstance(model, Bundle) and model.manifest.int8 else ()
    return [*BACKENDS, *floats, *((EAGER,) if find_spec("torch") else ())]


def import_library(name: str) -> None:
    """Import a subject's library, if it is installed: opening the subject says what is wrong."""
    name = FLOATS.get(name, name)
    package = BACKENDS[name].package if name in BACKENDS else "torch" if name != AUTO else None
    if package and find_spec(package):
        import_module(package)


def open_subject(model: Bundle | ModelSpec, name: str, options: RunOptions) -> tuple[Runner, str]:
    """A bundle on an engine, or its networks' sizes in PyTorch.

    Args:
        model: of which PyTorch needs the sizes alone.

    Returns:
        The runner, to be closed by the caller, and what runs where.

    Raises:
        MissingPackageError: the library is not installed.
        MaskanimError: it cannot run the networks.
    """
    check_subject(name, options)
    if name in BASELINES or name in CAPTURED:
        with needs_extra(f"engine {name}", "train"):
            import torch  # noqa: F401
        from maskanim.benchmarks.latency import torch_runner

        spec = model.manifest.model if isinstance(model, Bundle) else model
        opener = torch_runner.open_captured if name in CAPTURED else torch_runner.open_baseline
        return opener(spec, name, options)
    if not isinstance(model, Bundle):
        raise MaskanimError(f"engine {name}", "sizes of networks, and no bundle", "a bundle")
    if name in FLOATS:
        model = Bundle(model.path, model.manifest.model_copy(update={"int8": None}))
        name = FLOATS[name]
    runner, used = open_runner(model, name, options)
    return runner, used.detail if used.name == name else f"{used.name}: {used.detail}"
