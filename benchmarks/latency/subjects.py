"""What is measured, by name: the runtime's engines, and PyTorch as the baseline."""

from __future__ import annotations

from importlib import import_module
from importlib.util import find_spec

from maskanim.bundle import Bundle
from maskanim.errors import MaskanimError, needs_extra
from maskanim.models import Choice
from maskanim.runtime.animator import Animator
from maskanim.runtime.backends import AUTO, BACKENDS, BackendInUse, RunOptions, check_backend

EAGER = "torch-eager"  # what the released code does
BASELINES = (EAGER, "torch-bf16", "torch-fp16", "torch-compile")


def check_subject(name: str, options: RunOptions) -> None:
    """Refuse an unknown name or option before anything is measured.

    Raises:
        MaskanimError: lists the known ones.
    """
    if name not in (AUTO, *BACKENDS, *BASELINES):
        raise MaskanimError(
            f"engine {name}", "no such engine", f"one of {', '.join((AUTO, *BACKENDS))}, or {', '.join(BASELINES)}"
        )
    check_backend(AUTO, options)


def usual_subjects() -> list[str]:
    """All engines, and PyTorch's eager baseline if it is installed."""
    return [*BACKENDS, EAGER] if find_spec("torch") else [*BACKENDS]


def import_library(name: str) -> None:
    """Import a subject's library, if it is installed: opening the subject says what is wrong."""
    package = "torch" if name in BASELINES else BACKENDS[name].package if name in BACKENDS else None
    if package and find_spec(package):
        import_module(package)


def open_subject(bundle: Bundle, name: str, options: RunOptions) -> Animator:
    """A bundle on an engine, or its networks' sizes in PyTorch.

    Raises:
        MissingPackageError: the library is not installed.
        MaskanimError: it cannot run the networks.
    """
    if name in BASELINES:
        return _open_baseline(bundle, name, options)
    return Animator.open(bundle, name, options)


def _open_baseline(bundle: Bundle, name: str, options: RunOptions) -> Animator:
    with needs_extra(f"engine {name}", "train"):
        import torch

        from maskanim.benchmarks.latency.torch_runner import TorchRunner, Variant, device
    on_gpu = device().type == "cuda"
    if name == "torch-fp16" and not on_gpu:
        raise MaskanimError(f"engine {name}", "PyTorch finds no GPU", "a GPU", "On a processor take torch-bf16")
    variants = {
        EAGER: Variant(torch.float32, tuned=False, host_perturb=True),
        "torch-bf16": Variant(torch.bfloat16),
        "torch-fp16": Variant(torch.float16),
        "torch-compile": Variant(torch.float16 if on_gpu else torch.bfloat16, compiled=True),
    }
    runner = TorchRunner(bundle.manifest.model, variants[name], options.batch)
    return Animator(Choice(bundle, "its sizes alone"), runner, BackendInUse(name, runner.detail, {}))
