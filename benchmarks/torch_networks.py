"""The networks in PyTorch, as sessions of the pipeline on a GPU and as the eager pipeline they are compared with.

The pipeline is made for TensorRT engines; where none is installed PyTorch takes their place, and it is the baseline.
"""

from __future__ import annotations

import copy
import ctypes
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from maskanim import ops, pipeline
from maskanim.export.lowering import lower
from maskanim.networks import Networks, TorchOps
from maskanim.ops import Array, Frame
from maskanim.runtime.cuda.arrays import DeviceArray
from maskanim.runtime.cuda.device import Stream
from maskanim.runtime.cuda.networks import FLOAT, HALF, DeviceNetwork, DeviceSession
from maskanim.spec import NETWORK_NAMES, NETWORKS, ModelSpec, NetworkName, NetworkSpec, Perturbation

RGB = 3  # channels of an image; a mask has one

Compile = Callable[[nn.Module], Callable[..., Tensor]]


def random_networks(spec: ModelSpec, seed: int = 0) -> Networks:
    """Networks in which no weight and no statistic has its initial value, in eval mode; their masks are grey."""
    torch.manual_seed(seed)
    networks = Networks(spec).eval().requires_grad_(False)
    for module in networks.modules():
        if isinstance(module, nn.Conv2d):
            nn.init.kaiming_normal_(module.weight, nonlinearity="linear")
            nn.init.normal_(module.state_dict()["bias"], std=0.1)
        elif isinstance(module, nn.BatchNorm2d):
            state = module.state_dict()
            state["weight"].uniform_(0.5, 1.5)
            state["bias"].normal_(std=0.2)
            state["running_mean"].normal_(std=0.5)
            state["running_var"].uniform_(0.3, 3.0)
    for head in (networks.m.head, networks.r.head):
        nn.init.normal_(head.weight, std=0.02)  # with more, the gain of 10 makes masks black and white
    return networks


def lowered_networks(networks: Networks) -> dict[NetworkName, nn.Module]:
    """A copy of each network with its exact rewrites, as it is exported."""
    return {name: lower(getattr(networks, name), name).network for name in NETWORK_NAMES}


def plain_networks(networks: Networks) -> dict[NetworkName, nn.Module]:
    """A copy of each network as it was trained."""
    return {name: copy.deepcopy(getattr(networks, name)) for name in NETWORK_NAMES}


class TorchNetwork(DeviceNetwork):
    """A network run by PyTorch, channels last, on memory that is not PyTorch's.

    Args:
        module: of `networks`; it is moved to the device and converted in place.
        half: FP16 with float32 masks, as FP16 engines; else float32 throughout, without TF32.
        device_type: ``cuda``, or ``cpu`` for memory of the host.
        compile: applied to the module, e.g. ``torch.compile``.
    """

    backend = "PyTorch"

    def __init__(
        self,
        spec: NetworkSpec,
        module: nn.Module,
        *,
        half: bool,
        device_type: str = "cuda",
        compile: Compile = lambda module: module,
    ) -> None:
        tensors = (*spec.inputs, spec.output)
        dtypes = {tensor.name: HALF if half and tensor.channels == RGB else FLOAT for tensor in tensors}
        super().__init__(spec, dtypes, max_batch=None)
        self.dtype, self.device_type = torch.float16 if half else torch.float32, device_type
        converted: Any = module.to(device_type, self.dtype, memory_format=torch.channels_last)  # type: ignore[call-overload]
        self.run: Callable[..., Tensor] | None = compile(converted)

    def _session(self, batch: int, stream: Stream) -> TorchSession:
        return TorchSession(self, batch, stream)

    def close(self) -> None:
        self.run = None


class TorchSession(DeviceSession):
    """A `TorchNetwork` on one stream.

    Intermediate results come from a pool of PyTorch's allocator that belongs to the session. A captured graph goes on
    using that memory, and cuDNN's trials of algorithms for other networks return all that is free outside of pools.
    """

    def __init__(self, network: TorchNetwork, batch: int, stream: Stream) -> None:
        super().__init__(network, batch, stream)
        self._network = network
        self._pool = torch.cuda.MemPool() if network.device_type == "cuda" else None
        self._views: dict[tuple[int, tuple[int, ...]], Tensor] = {}

    @property
    def capturable(self) -> bool:
        return self._network.device_type == "cuda"

    def _enqueue(self, inputs: Mapping[str, DeviceArray], output: DeviceArray) -> None:
        network = self._network
        assert network.run is not None, "the network is closed"
        with torch.inference_mode(), self._on_device(), exact_float32():
            values = [self._view(inputs[tensor.name]).to(network.dtype) for tensor in network.spec.inputs]
            self._view(output).copy_(network.run(*values))

    @contextmanager
    def _on_device(self) -> Iterator[None]:
        """On the session's stream, with its memory."""
        if self._pool is None:
            yield
            return
        with torch.cuda.stream(torch.cuda.ExternalStream(self.stream.handle)), torch.cuda.use_mem_pool(self._pool):
            yield

    def _view(self, array: DeviceArray) -> Tensor:
        """The array as a tensor; made once, because asking the driver about an address may spoil a capture."""
        key = array.address, array.shape
        if key not in self._views:
            self._views[key] = as_tensor(array, self._network.device_type)
        return self._views[key]

    def close(self) -> None:
        self._views.clear()
        self._pool = None


def as_tensor(array: DeviceArray, device_type: str) -> Tensor:
    """A tensor over a contiguous array's memory, which it does not keep."""
    if device_type == "cuda":
        return torch.as_tensor(array, device="cuda")
    memory = (ctypes.c_uint8 * array.size).from_address(array.address)
    return torch.from_numpy(np.ctypeslib.as_array(memory).view(array.dtype).reshape(array.shape))


@contextmanager
def exact_float32() -> Iterator[None]:
    """Convolutions in true FP32 where they are FP32 at all, by the algorithm that a trial finds fastest."""
    with torch.backends.cudnn.flags(enabled=True, benchmark=True, allow_tf32=False):
        yield


def torch_networks(
    modules: Mapping[NetworkName, nn.Module],
    *,
    half: bool,
    device_type: str = "cuda",
    compile: Compile = lambda module: module,
) -> dict[NetworkName, DeviceNetwork]:
    """All four as `TorchNetwork`; its arguments."""
    return {
        name: TorchNetwork(NETWORKS[name], module, half=half, device_type=device_type, compile=compile)
        for name, module in modules.items()
    }


class EagerNets:
    """`pipeline.Nets` over tensors of any floating type, which are converted to the networks' own."""

    def __init__(self, networks: Mapping[NetworkName, Callable[..., Tensor]], dtype: torch.dtype) -> None:
        self.networks, self.dtype = networks, dtype

    def m(self, image: Tensor, /) -> Tensor:
        return self._run("m", image)

    def r(self, source_small: Tensor, source_mask: Tensor, perturbed_mask: Tensor, /) -> Tensor:
        return self._run("r", source_small, source_mask, perturbed_mask)

    def l(self, source_small: Tensor, source_mask: Tensor, refined_mask: Tensor, /) -> Tensor:  # noqa: E743 - the paper's name
        return self._run("l", source_small, source_mask, refined_mask)

    def h(self, source: Tensor, source_mask_up: Tensor, refined_mask_up: Tensor, coarse: Tensor, /) -> Tensor:
        return self._run("h", source, source_mask_up, refined_mask_up, coarse)

    def _run(self, name: NetworkName, *values: Tensor) -> Tensor:
        batch = len(values[-1])  # the driver's; the source has a batch of one
        expanded = (value.to(self.dtype).expand(batch, *value.shape[1:]) for value in values)
        return self.networks[name](*expanded)


class HostThreshold(TorchOps):
    """The released code's way: each mask goes to the host, through NumPy, and back."""

    def perturb(self, mask: Tensor) -> Tensor:
        return torch.from_numpy(ops.perturb(mask.float().cpu().numpy(), self.perturbation)).to(mask.device)


class EagerPipeline:
    """The pipeline in eager PyTorch, from pixels on the host to pixels on the host.

    Args:
        modules: of `networks`; a copy is not made.
        half: FP16 and channels last, P_test on the GPU; else FP32 as the released code runs it, P_test on the host.
        tf32: with FP32, whether cuDNN may round products to TF32, which is PyTorch's default.
        compile: applied to each network; what it returns gives its result in memory of its own.
    """

    def __init__(
        self,
        modules: Mapping[NetworkName, nn.Module],
        perturbation: Perturbation,
        *,
        half: bool,
        tf32: bool = True,
        device_type: str = "cuda",
        compile: Compile = lambda module: module,
    ) -> None:
        self.dtype, self.device, self.half, self.tf32 = (
            torch.float16 if half else torch.float32,
            device_type,
            half,
            tf32,
        )
        layout = torch.channels_last if half else torch.contiguous_format
        for module in modules.values():
            module.to(device_type, self.dtype, memory_format=layout)  # type: ignore[call-overload]
        self.nets = EagerNets({name: compile(module) for name, module in modules.items()}, self.dtype)
        self.ops = (TorchOps if half else HostThreshold)(perturbation)
        self._source: pipeline.Source[Tensor]

    def use(self, frame: Frame) -> None:
        """Encode the source, (256, 256, 3) uint8."""
        with torch.inference_mode(), self._settings():
            self._source = pipeline.encode_source(self.nets, self.ops, self._images([frame]))

    def animate(self, frames: Sequence[Frame]) -> Array | Frame:
        """(256, 256, 3) uint8 driving frames to (N, 256, 256, 3) uint8."""
        with torch.inference_mode(), self._settings():
            frame = pipeline.animate_frame(self.nets, self.ops, self._source, self._images(frames)).frame
            pixels = (frame.float().clamp(0, 1) * 255).round().to(torch.uint8)
            return pixels.permute(0, 2, 3, 1).contiguous().cpu().numpy()

    def _settings(self) -> Any:
        return torch.backends.cudnn.flags(enabled=True, benchmark=self.half, allow_tf32=self.tf32)

    def _images(self, frames: Sequence[Frame]) -> Tensor:
        pixels = torch.from_numpy(np.stack(frames)).to(self.device)
        images = pixels.permute(0, 3, 1, 2).to(self.dtype) / 255
        return images if self.half else images.contiguous()
