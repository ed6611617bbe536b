"""What is in a backend's way here by the facts, and what to install. Nothing is tried."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence

from maskanim.driver import Driver
from maskanim.runtime.backends import BACKENDS, CUDA_BINDINGS, MIN_CAPABILITY, Backend
from maskanim.runtime.doctor.facts import Obstacle, Package, Verdict

# Import names and the distributions that bring them: of every backend, and of what those on a GPU need beside.
DISTRIBUTIONS: dict[str, tuple[str, ...]] = {
    **{backend.package: backend.distributions for backend in reversed(BACKENDS.values())},
    "tensorrt_lean": ("tensorrt-lean", "tensorrt-lean-cu12", "tensorrt-lean-cu13"),
    "cuda.core": ("cuda-core",),
    "cuda.bindings": ("cuda-bindings",),
    "pycuda": ("pycuda",),
    "onnx": ("onnx",),
    "torch": ("torch",),
}
NOT_IMPORTED = ("torch",)  # is only looked up: nothing that runs a model imports it
INSTALLABLE = ("missing", "conflict")


def obstacles(engine: str, packages: Mapping[str, Package], driver: Driver) -> tuple[Obstacle, ...]:
    """All that the facts put in an engine's way."""
    need = BACKENDS[engine]
    package = packages[need.package]
    if need.lean and not package.installed and packages[need.lean].installed:
        package = packages[need.lean]
    found = []
    if not package.installed:
        found.append(Obstacle("missing", f"the package {need.package} is not installed"))
    elif package.loads is False:
        found.append(Obstacle("broken", f"the package {need.package} does not load: {package.problem}"))
    elif package.loads and need.provider and need.provider not in package.providers:
        names = " and ".join(package.distributions) or need.package
        found.append(Obstacle("conflict", f"what {names} installed has no {need.provider}"))
    return (*found, *_gpu_obstacles(need, package, packages, driver)) if need.gpu else tuple(found)


def _gpu_obstacles(
    need: Backend, package: Package, packages: Mapping[str, Package], driver: Driver
) -> Iterator[Obstacle]:
    bindings = [found for row in CUDA_BINDINGS.values() if (found := packages[row.package]).installed]
    if not bindings:
        yield Obstacle("missing", "neither cuda-core nor pycuda is installed")
    elif all(binding.loads is False for binding in bindings):
        problems = "; ".join(f"{binding.module}: {binding.problem}" for binding in bindings)
        yield Obstacle("broken", f"no CUDA binding loads ({problems})")
    if driver.trouble:
        yield Obstacle("driver", driver.trouble)
    for name in package.distributions:
        made_for = re.search(r"-cu(\d+)$", name)
        if made_for and driver.cuda and driver.cuda[0] < int(made_for[1]):
            supported = "{}.{}".format(*driver.cuda)
            told = f"{name} needs a driver for CUDA {made_for[1]}; this one supports up to {supported}"
            yield Obstacle("driver", told)
    for gpu in driver.gpus[:1]:
        if gpu.capability < MIN_CAPABILITY:
            least = "{}.{}".format(*MIN_CAPABILITY)
            yield Obstacle("gpu", f"{gpu.name} ({gpu.architecture}) is older than compute capability {least}")
        elif need.capabilities and gpu.capability not in need.capabilities:
            listed = ", ".join("sm_{}{}".format(*capability) for capability in need.capabilities)
            told = f"{need.package} does not support {gpu.name} ({gpu.architecture}); it supports {listed}"
            yield Obstacle("gpu", told)


def warnings(packages: Mapping[str, Package]) -> tuple[str, ...]:
    """What is wrong with the packages although something may run."""
    rivals = tuple(packages["onnxruntime"].distributions)
    if len(rivals) < 2:
        return ()
    return (f"{' and '.join(rivals)} are both installed and overwrite each other's files: keep one",)


def chosen(verdicts: Sequence[Verdict]) -> str | None:
    """The engine that `auto` would take."""
    return next((verdict.engine for verdict in verdicts if verdict.runs), None)


def advice(verdicts: Sequence[Verdict], packages: Mapping[str, Package], driver: Driver) -> str | None:
    """The one command that gives a better engine than `auto` has, or any, or mends what is broken."""
    auto = chosen(verdicts)
    for verdict in verdicts:
        if verdict.engine == auto:
            break
        if all(obstacle.kind in INSTALLABLE for obstacle in verdict.obstacles):
            return _install(BACKENDS[verdict.engine], packages)
    if warnings(packages):
        return _install(BACKENDS["ort-cuda" if driver.gpus else "ort"], packages)
    broken = [verdict.engine for verdict in verdicts if any(o.kind == "broken" for o in verdict.obstacles)]
    usable = [name for name in broken if driver.gpus or not BACKENDS[name].gpu]
    if auto is None and usable:
        names = packages[BACKENDS[usable[0]].package].distributions or {BACKENDS[usable[0]].package: ""}
        return f"pip install --force-reinstall {' '.join(names)}"
    return None


def _install(need: Backend, packages: Mapping[str, Package]) -> str:
    """A pip line; onnxruntime's distributions share their files, so that the present ones have to go first."""
    install = f"pip install 'maskanim[{need.extra}]'"
    present = packages["onnxruntime"].distributions
    if need.package != "onnxruntime" or not present:
        return install
    return f"pip uninstall -y {' '.join(present)} && {install}"
