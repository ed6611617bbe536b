"""The baselines: the same networks and pipeline in PyTorch, with random weights, which take as long as any others."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from functools import partial
from types import SimpleNamespace
from typing import Any, NamedTuple

import torch
from torch import Tensor

from maskanim import ops, pipeline
from maskanim.benchmarks.latency.stages import Stopwatch
from maskanim.networks import Networks, TorchOps
from maskanim.ops import Array, Frame
from maskanim.runtime.runner import Animation, FrameResult, Mode, Runner, Source, Steps, in_batches, require_mode
from maskanim.runtime.sessions.session import refusal
from maskanim.spec import NETWORK_NAMES, ModelSpec


class Variant(NamedTuple):
    """How PyTorch runs the networks.

    Attributes:
        dtype: of weights and activations; masks are FP32 in any case.
        tuned: channels-last, and on a GPU cuDNN's search for the fastest algorithm.
        compiled: through `torch.compile`.
        host_perturb: P_test in NumPy, as the released code has it: from a GPU, a copy to the host and back.
    """

    dtype: torch.dtype
    tuned: bool = True
    compiled: bool = False
    host_perturb: bool = False

    def told(self, device: torch.device) -> str:
        """For people."""
        name = {torch.float32: "FP32", torch.float16: "FP16", torch.bfloat16: "BF16"}[self.dtype]
        tf32 = self.dtype == torch.float32 and device.type == "cuda" and torch.backends.cudnn.allow_tf32
        parts = [
            f"weights and activations in {name}" + (" (TF32 in convolutions)" if tf32 else ""),
            "channels-last" if self.tuned else "",
            "torch.compile" if self.compiled else "",
            "P_test on the host" if self.host_perturb else "",
        ]
        return ", ".join(filter(None, parts))


class TorchRunner(Runner):
    """PyTorch as an engine, on the first GPU that it can use, else on the processor.

    Args:
        model: what the networks are; their weights are random.
        variant: see Variant.
        batch: driving frames that go through the networks together.
    """

    def __init__(self, model: ModelSpec, variant: Variant, batch: int = 1) -> None:
        self.variant, self.batch, self.device = variant, batch, device()
        self.nets = _nets(model, variant, self.device)
        self.ops = _HostPerturb(model.perturbation) if variant.host_perturb else TorchOps(model.perturbation)

    @property
    def detail(self) -> str:
        """Library, version, device, threads and precision."""
        on_gpu = self.device.type == "cuda"
        where = torch.cuda.get_device_name(self.device) if on_gpu else f"threads: {torch.get_num_threads()}"
        return f"PyTorch {torch.__version__}, {where}, {self.variant.told(self.device)}, random weights"

    def encode_source(self, image: Frame) -> pipeline.Source[Tensor]:
        with self._running():
            return pipeline.encode_source(self.nets, self.ops, self._upload(self.prepare(image)))

    def source_arrays(self, source: pipeline.Source[Tensor]) -> Source:
        return Source(**{name: value.cpu().numpy() for name, value in vars(source).items()})

    def prepare(self, frame: Frame) -> Tensor:
        """(1, 3, 256, 256) float32 in [0, 1], on the host."""
        return torch.from_numpy(ops.preprocess(frame))

    def run(
        self, source: pipeline.Source[Tensor], inputs: Iterable[Tensor], mode: Mode = "frame"
    ) -> Iterator[FrameResult]:
        require_mode(self, mode, "frame", "steps")
        for batch in in_batches(inputs, self.batch):
            driving = _joined(batch)
            animation = self._animate(source, self._upload(driving))
            frames = _download(animation.frame)
            arrays = {name: _download(value) for name, value in vars(animation).items()} if mode == "steps" else {}
            for i, image in enumerate(frames):
                each = Animation(**{name: value[i : i + 1] for name, value in arrays.items()}) if arrays else None
                steps = None if each is None else Steps(batch[i].numpy(), each)
                yield FrameResult(partial(ops.postprocess, image), None, steps)

    def stage_times(self, source: pipeline.Source[Tensor], frames: Sequence[Frame]) -> Mapping[str, float]:
        """See `stages.StagedRunner`; waits for the device after each stage."""
        on_gpu = self.device.type == "cuda"
        watch = Stopwatch(torch.cuda.synchronize if on_gpu else lambda: None)
        copied: Callable[..., Any] = watch.around if on_gpu else lambda stage, work: work
        driving = watch.around("preprocess", lambda: _joined([self.prepare(frame) for frame in frames]))()
        driving = copied("copy in", self._upload)(driving)
        with self._running():
            animation = watch.animate(self.nets, self.ops, _repeated(source, len(driving)), driving)
        images = copied("copy out", _download)(animation.frame)
        watch.around("postprocess", lambda: [ops.postprocess(image) for image in images])()
        return watch.milliseconds

    def close(self) -> None:
        """Nothing is held that is not freed with the runner."""

    def _animate(self, source: pipeline.Source[Tensor], driving: Tensor) -> pipeline.Animation[Tensor]:
        with self._running():
            return pipeline.animate_frame(self.nets, self.ops, _repeated(source, len(driving)), driving)

    def _upload(self, image: Tensor) -> Tensor:
        return image.to(self.device)

    @contextmanager
    def _running(self) -> Iterator[None]:
        cudnn: Any = torch.backends.cudnn
        fastest = cudnn.flags(enabled=True, benchmark=self.variant.tuned, allow_tf32=cudnn.allow_tf32)
        with refusal("the networks in PyTorch", "PyTorch", "a run without errors"), torch.inference_mode(), fastest:
            yield


def _nets(model: ModelSpec, variant: Variant, device: torch.device) -> Any:
    """The networks as a variant runs them; masks and pictures go in as FP32 and come out as FP32."""
    layout = torch.channels_last if variant.tuned else torch.contiguous_format
    nets: Any = Networks(model).eval().to(device, variant.dtype)
    nets.to(memory_format=layout)
    if variant.compiled:
        for name in NETWORK_NAMES:
            getattr(nets, name).compile()

    def run(net: Callable[..., Tensor], *inputs: Tensor) -> Tensor:
        return net(*(value.to(variant.dtype, memory_format=layout) for value in inputs))

    return SimpleNamespace(**{name: partial(run, getattr(nets, name)) for name in NETWORK_NAMES})


class _HostPerturb(TorchOps):
    """D and U in PyTorch, P_test in NumPy."""

    def perturb(self, mask: Tensor) -> Tensor:
        return torch.from_numpy(ops.perturb(_download(mask), self.perturbation)).to(mask.device)


def device() -> torch.device:
    """The first GPU that PyTorch can use, else the processor."""
    return torch.device("cuda" if torch.cuda.is_available() else "cpu")


def _joined(images: list[Tensor]) -> Tensor:
    return images[0] if len(images) == 1 else torch.cat(images)


def _repeated(source: pipeline.Source[Tensor], batch: int) -> pipeline.Source[Tensor]:
    """The source once for each frame of a batch, without a copy."""
    return pipeline.Source(**{name: value.expand(batch, -1, -1, -1) for name, value in vars(source).items()})


def _download(value: Tensor) -> Array:
    return value.float().contiguous().cpu().numpy()
