"""PyTorch as an engine: under its own control, as the baseline, and inside the runtime's pipeline on a GPU."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from functools import partial
from types import SimpleNamespace
from typing import Any, NamedTuple

import numpy as np
import torch
from torch import Tensor

from maskanim import ops, pipeline
from maskanim.benchmarks.latency.stages import Stopwatch
from maskanim.benchmarks.torch_networks import lowered_networks, plain_networks, random_networks, torch_networks
from maskanim.errors import MaskanimError
from maskanim.networks import TorchOps
from maskanim.ops import Frame
from maskanim.runtime.backends import RunOptions
from maskanim.runtime.runner import FrameResult, Mode, Runner, Source, in_batches, require_mode
from maskanim.runtime.sessions.session import refusal
from maskanim.spec import IMAGE_SIZE, ModelSpec

# Of torch.compile: on a GPU, where it makes graphs of its own, on a processor, and where the runtime captures one.
COMPILE = {"cuda": {"mode": "max-autotune"}, "cpu": {}, "captured": {"mode": "max-autotune-no-cudagraphs"}}


class Variant(NamedTuple):
    """How PyTorch runs the networks."""

    dtype: torch.dtype  # of weights and activations; masks are FP32 in any case
    tuned: bool = True  # channels-last, and on a GPU cuDNN's search for the fastest algorithm
    compiled: bool = False  # lowered, and through `torch.compile`
    host_perturb: bool = False  # P_test in NumPy, as the released code has it: from a GPU, a copy to the host and back
    tf32: bool = True  # whether cuDNN may round products of FP32 to TF32

    def detail(self, device: torch.device) -> str:
        """For people."""
        name = {torch.float32: "FP32", torch.float16: "FP16", torch.bfloat16: "BF16"}[self.dtype]
        tf32 = self.dtype == torch.float32 and device.type == "cuda" and self.tf32
        parts = [
            f"weights and activations in {name}" + (" (TF32 in convolutions)" if tf32 else ""),
            "channels-last" if self.tuned else "",
            "lowered, torch.compile" if self.compiled else "",
            "P_test on the host" if self.host_perturb else "",
        ]
        return ", ".join(filter(None, parts))


def device() -> torch.device:
    """The first GPU that PyTorch can use, else the processor."""
    return torch.device("cuda" if torch.cuda.is_available() else "cpu")


def open_baseline(model: ModelSpec, name: str, options: RunOptions) -> tuple[Runner, str]:
    """One of `subjects.BASELINES`; see `subjects.open_subject`."""
    on_gpu = device().type == "cuda"
    if name == "torch-fp16" and not on_gpu:
        raise MaskanimError(f"engine {name}", "PyTorch finds no GPU", "a GPU", "On a processor take torch-bf16")
    variants = {
        "torch-eager": Variant(torch.float32, tuned=False, host_perturb=True),
        "torch-fp32": Variant(torch.float32, tuned=False, host_perturb=True, tf32=False),
        "torch-bf16": Variant(torch.bfloat16),
        "torch-fp16": Variant(torch.float16),
        "torch-compile": Variant(torch.float16 if on_gpu else torch.bfloat16, compiled=True),
    }
    runner = TorchRunner(model, variants[name], options.batch)
    return runner, runner.detail


def open_captured(model: ModelSpec, name: str, options: RunOptions) -> tuple[Runner, str]:
    """One of `subjects.CAPTURED`; see `subjects.open_subject`."""
    from maskanim.runtime.cuda.device import open_device
    from maskanim.runtime.cuda.runner import CudaRunner, StreamingRunner

    networks, graph = random_networks(model), name != "torch-no-graph"
    modules = plain_networks(networks) if name == "torch-graph-plain" else lowered_networks(networks)
    compiled = partial(torch.compile, dynamic=False, **COMPILE["captured"]) if name == "torch-graph-compile" else None
    on_gpu = device().type == "cuda"  # FP16 is slow on a processor, which stands in for a GPU in tests
    with ExitStack() as resources:
        gpu = resources.enter_context(open_device(options.cuda_binding))
        loaded = torch_networks(modules, half=on_gpu, device_type=device().type, compile=compiled)
        for network in loaded.values():
            resources.enter_context(network)
        cuda = CudaRunner(gpu, loaded, model.perturbation, batch=options.batch, graph=graph)
        runner = StreamingRunner(resources.enter_context(cuda), resources)
        black = np.zeros((IMAGE_SIZE, IMAGE_SIZE, 3), np.uint8)
        with runner.encode_source(black) as source:
            for result in runner.run(source, [runner.prepare(black)]):
                result.finish()
        if cuda.graphs != graph:
            raise MaskanimError(f"engine {name}", "a pipeline that was not captured", "one graph a frame")
        detail = f"PyTorch {torch.__version__} in FP16 on one stream, {gpu.binding}, in flight: {cuda.slots}"
        return StreamingRunner(cuda, resources.pop_all()), detail


class TorchRunner(Runner):
    """PyTorch on the first GPU that it can use, else on the processor, with random weights."""

    def __init__(self, model: ModelSpec, variant: Variant, batch: int = 1) -> None:
        self.variant, self.batch, self.device = variant, batch, device()
        self.nets = _nets(model, variant, self.device)
        self.ops = _HostPerturb(model.perturbation) if variant.host_perturb else TorchOps(model.perturbation)

    @property
    def detail(self) -> str:
        """Library, version, device, threads and precision."""
        on_gpu = self.device.type == "cuda"
        where = torch.cuda.get_device_name(self.device) if on_gpu else f"threads: {torch.get_num_threads()}"
        return f"PyTorch {torch.__version__}, {where}, {self.variant.detail(self.device)}, random weights"

    def encode_source(self, image: Frame) -> pipeline.Source[Tensor]:
        with self._running():
            return pipeline.encode_source(self.nets, self.ops, self._image(self.prepare(image)))

    def source_arrays(self, source: pipeline.Source[Tensor]) -> Source:
        return Source(**{name: value.cpu().numpy() for name, value in vars(source).items()})

    def prepare(self, frame: Frame) -> Tensor:
        """The centred square, (1, 256, 256, 3) uint8, on the host."""
        fits = frame.shape == (IMAGE_SIZE, IMAGE_SIZE, 3)
        return torch.from_numpy(frame if fits else ops.postprocess(ops.preprocess(frame)))[None]

    def run(
        self, source: pipeline.Source[Tensor], inputs: Iterable[Tensor], mode: Mode = "frame"
    ) -> Iterator[FrameResult]:
        require_mode(self, mode, "frame")
        for batch in in_batches(inputs, self.batch):
            with self._running():
                frames = _pixels(self._animate(source, self._image(torch.cat(batch))).frame).cpu().numpy()
            yield from (FrameResult(partial(np.asarray, frame)) for frame in frames)

    def stage_times(self, source: pipeline.Source[Tensor], frames: Sequence[Frame]) -> Mapping[str, float]:
        """See `stages.stage_times`; waits for the device after each stage."""
        on_gpu = self.device.type == "cuda"
        watch = Stopwatch(torch.cuda.synchronize if on_gpu else lambda: None)
        squares = torch.cat([self.prepare(frame) for frame in frames])
        with self._running():
            if on_gpu:
                squares = watch.time("copy in", squares.to, self.device)
            driving = watch.time("preprocess", self._image, squares)
            animation = watch.animate(self.nets, self.ops, _repeated(source, len(driving)), driving)
            pixels = watch.time("postprocess", _pixels, animation.frame)
            if on_gpu:
                watch.time("copy out", pixels.cpu)
        return watch.milliseconds

    def close(self) -> None:
        """Nothing is held that is not freed with the runner."""

    def _image(self, squares: Tensor) -> Tensor:
        """(N, 3, 256, 256) float32 in [0, 1], on the device."""
        return squares.to(self.device).permute(0, 3, 1, 2).contiguous().float() / 255

    def _animate(self, source: pipeline.Source[Tensor], driving: Tensor) -> pipeline.Animation[Tensor]:
        if self.variant.compiled and self.device.type == "cuda":
            torch.compiler.cudagraph_mark_step_begin()
        return pipeline.animate_frame(self.nets, self.ops, _repeated(source, len(driving)), driving)

    @contextmanager
    def _running(self) -> Iterator[None]:
        cudnn: Any = torch.backends.cudnn
        flags = cudnn.flags(enabled=True, benchmark=self.variant.tuned, allow_tf32=self.variant.tf32)
        with refusal("the networks in PyTorch", "PyTorch", "a run without errors"), torch.inference_mode(), flags:
            yield


def _nets(model: ModelSpec, variant: Variant, device: torch.device) -> Any:
    """The networks as a variant runs them; masks and pictures go in as FP32 and come out as FP32."""
    layout = torch.channels_last if variant.tuned else torch.contiguous_format
    networks = random_networks(model)
    modules: dict[Any, Any] = lowered_networks(networks) if variant.compiled else plain_networks(networks)
    compiler: Any = torch.compile

    def run(net: Callable[..., Tensor], *inputs: Tensor) -> Tensor:
        result = net(*(value.to(variant.dtype, memory_format=layout) for value in inputs)).float()
        # The next replay of a compiled network's own graph overwrites what it returned.
        return result.clone() if variant.compiled else result

    for name, module in modules.items():
        module.to(device, variant.dtype, memory_format=layout)
        modules[name] = compiler(module, dynamic=False, **COMPILE[device.type]) if variant.compiled else module
    return SimpleNamespace(**{name: partial(run, module) for name, module in modules.items()})


class _HostPerturb(TorchOps):
    """D and U in PyTorch, P_test in NumPy."""

    def perturb(self, mask: Tensor) -> Tensor:
        on_host = mask.float().contiguous().cpu().numpy()
        return torch.from_numpy(ops.perturb(on_host, self.perturbation)).to(mask.device)


def _repeated(source: pipeline.Source[Tensor], batch: int) -> pipeline.Source[Tensor]:
    """The source once for each frame of a batch, without a copy."""
    return pipeline.Source(**{name: value.expand(batch, -1, -1, -1) for name, value in vars(source).items()})


def _pixels(images: Tensor) -> Tensor:
    """(N, 256, 256, 3) uint8, as `ops.postprocess`."""
    return (images.float().clamp(0, 1) * 255).round().to(torch.uint8).permute(0, 2, 3, 1).contiguous()
