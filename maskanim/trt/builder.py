"""An ONNX graph to a serialized engine (a plan), by TensorRT or TensorRT-RTX: one code path for both.

Networks are strongly typed: every precision is the graph's own, as TensorRT 11 has no other way.
"""

from __future__ import annotations

import re
import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

from maskanim.atomic import replacing
from maskanim.errors import MaskanimError
from maskanim.progress import NO_PROGRESS, Progress
from maskanim.spec import NETWORKS, NetworkName
from maskanim.trt.libraries import LoadedLibrary
from maskanim.trt.records import BatchRange, BuildOptions, Dtype, EngineTensor, Shape

# Where in the library's own sources a message was written, which tells a user nothing.
SOURCE_PLACE = re.compile(r"\s*\.?\s*In \S+ at \S+:\d+")


class BuiltEngine(NamedTuple):
    """A serialized engine and what it takes and gives."""

    content: bytes
    inputs: tuple[EngineTensor, ...]
    output: EngineTensor


def build_engine(
    library: LoadedLibrary,
    content: bytes,
    name: NetworkName,
    options: BuildOptions,
    *,
    progress: Progress = NO_PROGRESS,
    timing_cache: Path | None = None,
) -> BuiltEngine:
    """Build one network's engine.

    Args:
        content: the ONNX graph, in the precision that the engine shall have.
        options: `precision` is not looked at: it is the graph's.
        progress: of 100, with the phase as its note; called from the library's threads.
        timing_cache: a file in which TensorRT's measurements are kept from build to build. TensorRT-RTX measures
            nothing when it builds: its cache would stay empty, and none is written.

    Raises:
        MaskanimError: the library cannot build here, or not this graph; names the ONNX node where it is known.
        KeyboardInterrupt: control-C, after the step under way.
    """
    if library.is_lean:
        wanted = "all of TensorRT, or engines that were built with --version-compatible elsewhere"
        raise MaskanimError(f"--engine {library.known.name}", f"{library.full_name}, which builds no engines", wanted)
    build = _Build(library, name, progress)
    build.parse(content)
    plan = build.run(options, timing_cache)
    *inputs, output = (build.tensor(tensor, options.batch) for tensor in (*build.inputs(), *build.outputs()))
    return BuiltEngine(plan, tuple(inputs), output)


class _Build:
    """The library's objects for one engine; each keeps the callbacks that it was given alive."""

    def __init__(self, library: LoadedLibrary, name: NetworkName, progress: Progress) -> None:
        module = self.module = library.module
        self.loaded, self.name, self.phases = library, name, Phases(progress)
        self.monitor = _progress_monitor(module, self.phases)
        self.network: Any = None
        library.logger.errors.clear()
        try:
            self.builder = module.Builder(library.logger)
        except TypeError:  # what the bindings make of the null that the library returns, e.g. without a GPU
            raise self._refused(f"{library.full_name} does not start", "Run maskanim-doctor") from None
        flags = 1 << int(module.NetworkDefinitionCreationFlag.STRONGLY_TYPED)
        self.network = self.builder.create_network(flags)
        self.parser = module.OnnxParser(self.network, library.logger)

    def parse(self, content: bytes) -> None:
        """Read the graph into the network, and hold it against the signature."""
        if not self.parser.parse(content):
            raise self._unparsed()
        spec = NETWORKS[self.name]
        inputs = {tensor.name: tuple(tensor.shape)[1:] for tensor in self.inputs()}
        outputs = {tensor.name: tuple(tensor.shape)[1:] for tensor in self.outputs()}
        wanted = {tensor.name: tensor.shape(1)[1:] for tensor in (*spec.inputs, spec.output)}
        if inputs | outputs != wanted or list(outputs) != [spec.output.name]:
            received = f"inputs {', '.join(inputs) or 'none'} and outputs {', '.join(outputs) or 'none'}"
            expected = f"{', '.join(tensor.name for tensor in spec.inputs)} and {spec.output.name}, in their sizes"
            raise MaskanimError(f"network {self.name}", received, expected, "Export the model again")

    def config(self, options: BuildOptions) -> Any:
        """The builder's configuration, with one optimization profile."""
        module, config = self.module, self.builder.create_builder_config()
        config.clear_flag(module.BuilderFlag.TF32)  # on by default; it would round FP32's factors to 11 bits
        config.builder_optimization_level = options.opt_level
        config.progress_monitor = self.monitor
        config.profiling_verbosity = module.ProfilingVerbosity.DETAILED  # the runtime looks at the layers' types
        self._set_compatibility(config, options)
        if self.loaded.known.name == "rtx":
            config.set_flag(module.BuilderFlag.REQUIRE_USER_ALLOCATION)  # else an engine may not run in a CUDA graph
            config.num_compute_capabilities = len(options.targets)
            for index, target in enumerate(options.targets):
                config.set_compute_capability(getattr(module.ComputeCapability, target.upper()), index)
        profile = self.builder.create_optimization_profile()
        for tensor in self.inputs():
            profile.set_shape(tensor.name, *_range(tensor, options.batch))
        config.add_optimization_profile(profile)
        return config

    def _set_compatibility(self, config: Any, options: BuildOptions) -> None:
        module = self.module
        if options.version_compatible:
            config.set_flag(module.BuilderFlag.VERSION_COMPATIBLE)
        if options.hardware_compatible:
            config.hardware_compatibility_level = module.HardwareCompatibilityLevel.AMPERE_PLUS
        if options.strip_weights:
            config.set_flag(module.BuilderFlag.STRIP_PLAN)
            config.set_flag(module.BuilderFlag.REFIT_IDENTICAL)  # the same weights come back: all optimizations stay

    def run(self, options: BuildOptions, timing_cache: Path | None) -> bytes:
        """Build, and return the serialized engine."""
        self.loaded.logger.errors.clear()  # of reading the graph, which went well
        config = self.config(options)
        cache = self._timing_cache(config, timing_cache)
        try:
            with cancelled_by_interrupt(self.phases):
                plan = self.builder.build_serialized_network(self.network, config)
            if cache is not None and timing_cache is not None:
                with suppress(OSError):  # without it the next build only takes longer
                    timing_cache.parent.mkdir(parents=True, exist_ok=True)
                    with replacing(timing_cache) as partial:
                        partial.write_bytes(bytes(cache.serialize()))
        finally:
            config = cache = None  # a configuration with a cache that outlives its builder crashes
        if self.phases.failure is not None:
            raise self.phases.failure
        if plan is None:
            raise self._refused(f"{self.loaded.full_name} cannot build it", "")
        return bytes(plan)

    def _timing_cache(self, config: Any, path: Path | None) -> Any:
        """Give the builder its earlier measurements, if they are of this GPU; None where there is no use for them."""
        if path is None or self.loaded.known.builds_without_gpu:
            return None
        stored = b""
        with suppress(OSError):  # there is none yet
            stored = path.read_bytes()
        for content in (stored, b""):
            cache = config.create_timing_cache(content)
            if cache is not None and config.set_timing_cache(cache, False):
                return cache
        return None

    def inputs(self) -> list[Any]:
        return [self.network.get_input(index) for index in range(self.network.num_inputs)]

    def outputs(self) -> list[Any]:
        return [self.network.get_output(index) for index in range(self.network.num_outputs)]

    def tensor(self, tensor: Any, batch: BatchRange) -> EngineTensor:
        """What is recorded of an input or output."""
        dtypes: dict[Any, Dtype] = {self.module.DataType.FLOAT: "float32", self.module.DataType.HALF: "float16"}
        minimum, optimum, maximum = _range(tensor, batch)
        dtype = dtypes[tensor.dtype]
        return EngineTensor(name=tensor.name, dtype=dtype, minimum=minimum, optimum=optimum, maximum=maximum)

    def _unparsed(self) -> MaskanimError:
        subject, wanted = f"network {self.name}", f"an ONNX graph that {self.loaded.full_name} takes"
        if not self.parser.num_errors:
            return MaskanimError(subject, "not an ONNX graph", wanted, "Export the model again")
        error = self.parser.get_error(0)
        within = "".join(f", in {function}" for function in error.local_function_stack())
        node = f"node {error.node_name() or error.node()} ({error.node_operator() or 'no operation'}{within})"
        reason = _cleaned(error.desc().removeprefix(f"Invalid Node - {error.node_name()}\n").split("\n")[0])
        kind = error.code().name.replace("_", " ").lower()
        return MaskanimError(subject, f"{node}: {kind}, {reason}", wanted)

    def _refused(self, what: str, next_step: str) -> MaskanimError:
        """The library's first error, with the ONNX node that it names: layers are called after their nodes."""
        messages = [*self.loaded.logger.errors]
        reason = _cleaned(messages[0]) if messages else "it does not say why"
        layers = range(self.network.num_layers) if self.network else ()
        names = [self.network.get_layer(index).name for index in layers]
        named = [name for name in names if name and any(name in message for message in messages)]
        node = max(named, key=len, default=reason)
        told = f"{what}, {reason if node in reason else f'node {node}: {reason}'}"
        return MaskanimError(f"network {self.name}", told, "a network that it can build, on this machine", next_step)


def _range(tensor: Any, batch: BatchRange) -> tuple[Shape, Shape, Shape]:
    channels, height, width = tuple(tensor.shape)[1:]
    sizes = (batch.minimum, batch.optimum, batch.maximum)
    minimum, optimum, maximum = ((size, channels, height, width) for size in sizes)
    return minimum, optimum, maximum


def _cleaned(message: str) -> str:
    return " ".join(SOURCE_PLACE.sub("", message).split())


@dataclass
class _Phase:
    parent: str | None
    steps: int
    done: int = 0


class Phases:
    """The phases under way, which hold one another.

    Attributes:
        cancelled: set to True to end the build at its next step.
        failure: what `progress` raised; it cancels the build.
    """

    def __init__(self, progress: Progress) -> None:
        self.progress, self.lock = progress, threading.Lock()
        self.phases: dict[str, _Phase] = {}
        self.reported, self.cancelled = 0.0, False
        self.failure: BaseException | None = None

    def start(self, name: str, parent: str | None, steps: int) -> None:
        """A phase begins, within another one or by itself."""
        with self.lock:
            self.phases[name] = _Phase(parent, max(1, steps))
        self._tell(name)

    def step(self, name: str) -> bool:
        """A step of a phase is done; returns whether to go on."""
        with self.lock:
            if name in self.phases:
                self.phases[name].done += 1
        self._tell(name)
        return not self.cancelled

    def finish(self, name: str) -> None:
        """A phase ends, perhaps before its last step."""
        with self.lock:
            self.phases.pop(name, None)

    def _tell(self, name: str) -> None:
        with self.lock:
            outermost = (phase for phase, entry in self.phases.items() if entry.parent not in self.phases)
            # A finished inner phase is gone before its parent's step counts: what was told never falls back.
            part = self.reported = max([self.reported, *map(self._part, outermost)])
        try:
            self.progress.update(round(100 * part), 100, name)
        except BaseException as error:
            self.failure, self.cancelled = error, True

    def _part(self, name: str) -> float:
        inner = (self._part(phase) for phase, entry in self.phases.items() if entry.parent == name)
        phase = self.phases[name]
        return min(1.0, (phase.done + max(inner, default=0.0)) / phase.steps)


def _progress_monitor(module: Any, phases: Phases) -> Any:
    """An IProgressMonitor that feeds `phases`; must outlive the builder."""

    class Monitor(module.IProgressMonitor):  # type: ignore[misc]
        def __init__(self) -> None:
            module.IProgressMonitor.__init__(self)

        def phase_start(self, phase_name: str, parent_phase: str | None, num_steps: int) -> None:
            phases.start(phase_name, parent_phase, num_steps)

        def step_complete(self, phase_name: str, step: int) -> bool:
            return phases.step(phase_name)

        def phase_finish(self, phase_name: str) -> None:
            phases.finish(phase_name)

    return Monitor()


@contextmanager
def cancelled_by_interrupt(phases: Phases) -> Iterator[None]:
    """Control-C cancels the build at its next step, and is raised when the library has returned."""
    if threading.current_thread() is not threading.main_thread():
        yield
        return

    def cancel(*_: object) -> None:
        phases.failure, phases.cancelled = KeyboardInterrupt(), True

    before = signal.signal(signal.SIGINT, cancel)
    try:
        yield
    finally:
        signal.signal(signal.SIGINT, before)
