"""The steps of the GPU benchmark: the machine, the tests, and times of whole frames."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tempfile
import xml.etree.ElementTree as ElementTree
from collections import deque
from collections.abc import Callable, Mapping, Sequence
from contextlib import ExitStack
from functools import partial
from pathlib import Path
from time import perf_counter
from typing import Any

from maskanim.benchmarks.gpu_record import Open, Record, Setup, Subject, measure_group
from maskanim.ops import Frame
from maskanim.spec import ModelSpec, NetworkName

Modules = Callable[[], dict[NetworkName, Any]]
Compile = Callable[[Any], Any]

CAPTURED = "captured FP16, lowered"  # what the others are compared with
ON_GPU = ("trt", "rtx", "ort-cuda")


def read_machine(record: Record, setup: Setup) -> None:
    """What the doctor and nvidia-smi say."""
    from maskanim.runtime.doctor.examination import examine

    record.set("doctor", json.loads(examine("demo", patience=30).as_json()))
    with record.isolating("nvidia-smi"):
        shown = subprocess.run(["nvidia-smi"], capture_output=True, text=True, timeout=20, check=True).stdout
        record.set("nvidia_smi", shown.splitlines())


def run_tests(record: Record, setup: Setup) -> None:
    """The GPU tests. Where a GPU is promised, a test that finds none fails.

    Raises:
        RuntimeError: a test failed, or, but for a dry run, none ran.
    """
    if setup.tests is None:
        raise RuntimeError("no folder of tests was given")
    with tempfile.TemporaryDirectory() as folder:
        report = Path(folder) / "report.xml"
        options = [f"--confcutdir={setup.tests}", f"--junitxml={report}", "-q", "-p", "no:cacheprovider"]
        command = [sys.executable, "-m", "pytest", str(setup.tests), *options]
        environment = os.environ | {} if setup.dry else os.environ | {"MASKANIM_NEEDS_GPU": "1"}
        ran = subprocess.run(command, env=environment, capture_output=True, text=True, check=False)
        record.set("output", ran.stdout.splitlines()[-60:] + ran.stderr.splitlines()[-20:])
        suite = next(ElementTree.parse(report).iter("testsuite"))
    counts = {key: int(suite.attrib[key]) for key in ("tests", "failures", "errors", "skipped")}
    counts["passed"] = counts["tests"] - counts["failures"] - counts["errors"] - counts["skipped"]
    record.set("counts", counts)
    if ran.returncode or not (counts["passed"] or setup.dry):
        raise RuntimeError(f"the GPU tests: {counts}")


def frames(count: int) -> list[Frame]:
    """Drawn puppets: a source, and `count` - 1 driving frames."""
    from maskanim.train.puppets import Puppet

    return [Puppet(i, "test").frame(0.3 * i).image for i in range(count)]


def measure_latency(record: Record, setup: Setup) -> None:
    """Eager PyTorch as released, in FP16, and the captured pipeline with PyTorch's networks, lowered and not."""
    from maskanim.benchmarks.torch_networks import lowered_networks, plain_networks, random_networks

    with ExitStack() as stack:
        device = _device(record, setup, stack)
        for name, spec in setup.models.items():
            networks = random_networks(spec)
            plain, lowered = partial(plain_networks, networks), partial(lowered_networks, networks)
            for batch in setup.batches:
                openers = {
                    "eager FP32, TF32 convolutions": eager(setup, spec, plain, batch, half=False, tf32=True),
                    "eager FP32": eager(setup, spec, plain, batch, half=False, tf32=False),
                    "eager FP16, channels last": eager(setup, spec, plain, batch, half=True),
                }
                if device is not None:
                    openers |= {
                        "captured FP16": captured(setup, device, spec, plain, batch),
                        CAPTURED: captured(setup, device, spec, lowered, batch),
                        "FP16, lowered, without a graph": captured(setup, device, spec, lowered, batch, graph=False),
                    }
                measure_group(record, setup, name, batch, openers)


def _device(record: Record, setup: Setup, stack: ExitStack) -> Any:
    """The GPU, or None, and the reason is in the record."""
    with record.isolating("opening the GPU"):
        return stack.enter_context(setup.open_device())
    return None


def eager(setup: Setup, spec: ModelSpec, modules: Modules, batch: int, *, half: bool, **options: Any) -> Open:
    """Eager PyTorch; in FP32 with P_test on the host, as in the released code."""

    def opener(stack: ExitStack) -> Subject:
        from maskanim.benchmarks.torch_networks import EagerPipeline

        pipeline = EagerPipeline(modules(), spec.perturbation, half=half, device_type=setup.device_type, **options)
        source, *driving = frames(batch + 1)
        pipeline.use(source)
        place = "the GPU" if half else "the host, as in the released code"
        return Subject(f"P_test on {place}", lambda: pipeline.animate(driving))

    return opener


def captured(
    setup: Setup,
    device: Any,
    spec: ModelSpec,
    modules: Modules,
    batch: int,
    *,
    graph: bool = True,
    compile: Compile | None = None,
) -> Open:
    """`CudaRunner` over PyTorch's networks, compiled if so wanted."""

    def opener(stack: ExitStack) -> Subject:
        from maskanim.runtime.cuda.runner import CudaRunner

        loaded = setup.networks(modules(), **({"compile": compile} if compile else {}))
        for network in loaded.values():
            stack.enter_context(network)
        runner = stack.enter_context(CudaRunner(device, loaded, spec.perturbation, batch=batch, graph=graph))
        source, *driving = frames(batch + 1)
        with runner.encode_source(source) as encoded:
            runner.use(encoded)
        runner.collect(runner.submit(driving))
        if runner.graphs != graph:
            raise RuntimeError("the pipeline was not captured")
        detail = f"kernels and networks on one stream, {device.binding}, in flight: {runner.slots}"
        return Subject(
            detail,
            lambda: runner.collect(runner.submit(driving)),
            lambda: _rate(runner, driving, setup.rounds * setup.calls),
        )

    return opener


def _rate(runner: Any, driving: Sequence[Frame], count: int) -> float:
    """Frames per second while every slot is in use."""
    tickets: deque[Any] = deque()
    began = perf_counter()
    for _ in range(count):
        tickets.append(runner.submit(driving))
        if len(tickets) == runner.slots:
            runner.collect(tickets.popleft())
    while tickets:
        runner.collect(tickets.popleft())
    return round(count * len(driving) / (perf_counter() - began), 1)


def measure_compiled(record: Record, setup: Setup) -> None:
    """The lowered FP16 networks through ``torch.compile``: with the graphs it makes itself, and captured by us.

    Each has a group of its own, beside the captured networks that are not compiled: compiling may never end.
    """
    from maskanim.benchmarks.torch_networks import lowered_networks, random_networks

    own, ours = (_compiler(setup.compile[form]) for form in ("own graphs", "captured"))
    with ExitStack() as stack:
        device = _device(record, setup, stack)
        for batch in setup.batches:
            for name, spec in setup.models.items():
                modules = partial(lowered_networks, random_networks(spec))
                subject = compiled(setup, spec, modules, batch, own)
                if device is None:
                    measure_group(record, setup, name, batch, {"torch.compile FP16, lowered": subject})
                    continue
                base = {CAPTURED: captured(setup, device, spec, modules, batch)}
                measure_group(record, setup, name, batch, base | {"torch.compile FP16, lowered": subject})
                subject = captured(setup, device, spec, modules, batch, compile=ours)
                measure_group(record, setup, name, batch, base | {"captured torch.compile FP16, lowered": subject})


def _compiler(options: Mapping[str, str]) -> Compile:
    import torch

    compiler: Any = torch.compile
    return lambda module: compiler(module, dynamic=False, **options)


def compiled(setup: Setup, spec: ModelSpec, modules: Modules, batch: int, compile: Compile) -> Open:
    """`EagerPipeline` over compiled networks."""

    def opener(stack: ExitStack) -> Subject:
        import torch

        plain = eager(setup, spec, modules, batch, half=setup.half, compile=lambda module: _kept(compile(module)))(
            stack
        )

        def call() -> object:
            torch.compiler.cudagraph_mark_step_begin()
            return plain.call()

        return Subject(f"torch.compile({dict(setup.compile['own graphs'])})", call)

    return opener


def _kept(module: Any) -> Callable[..., Any]:
    """Its result in memory of its own: the next replay of the module's graph overwrites what it returned."""
    return lambda *inputs: module(*inputs).clone()


def measure_engines(record: Record, setup: Setup) -> None:
    """Every engine of the runtime on the embedded demo, and those on a GPU that work on random networks, too.

    Of those that do not work the reason is kept.
    """
    from maskanim.benchmarks.random_bundle import random_bundle
    from maskanim.runtime.backends import BACKENDS

    def opener(engine: str, model: str) -> Open:
        return lambda stack: _engine(stack, engine, model)

    measure_group(record, setup, "demo", 1, {engine: opener(engine, "demo") for engine in BACKENDS})
    worked = {row["what"] for row in record.values["times"]}
    wanted = [engine for engine in BACKENDS if engine in worked and (setup.dry or engine in ON_GPU)]
    with tempfile.TemporaryDirectory() as folder:
        for name, spec in setup.models.items() if wanted else ():
            bundle = random_bundle(Path(folder) / name, spec)
            measure_group(record, setup, name, 1, {engine: opener(engine, str(bundle.path)) for engine in wanted})


def _engine(stack: ExitStack, engine: str, model: str) -> Subject:
    from maskanim.runtime import Animator

    animator = stack.enter_context(Animator.open(model, engine))
    picture, driving = frames(2)
    source = animator.encode_source(picture)
    return Subject(animator.engine.detail, lambda: animator.animate(source, driving))
