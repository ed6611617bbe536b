"""Networks with random weights, which take as long as any others: in PyTorch, as a bundle, and as sessions on a GPU.

In the pipeline on a GPU PyTorch takes the place of TensorRT where that is not installed.
"""

from __future__ import annotations

import copy
import ctypes
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from maskanim.bundle import Bundle, Manifest, network_file, write_bundle
from maskanim.export.lowering import lower
from maskanim.networks import Networks
from maskanim.runtime.cuda.arrays import DeviceArray
from maskanim.runtime.cuda.device import Stream
from maskanim.runtime.cuda.networks import FLOAT, HALF, DeviceNetwork, DeviceSession
from maskanim.spec import NETWORK_NAMES, NETWORKS, ModelSpec, NetworkName, NetworkSpec

RGB = 3  # channels of an image; a mask has one

Compile = Callable[[nn.Module], Callable[..., Tensor]]


def random_networks(spec: ModelSpec) -> Networks:
    """Networks in which no weight and no statistic has its initial value, in eval mode; their masks are grey."""
    torch.manual_seed(0)
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


def random_bundle(path: Path, spec: ModelSpec) -> Bundle:
    """Export random networks, lowered, without comparing them with anything."""
    from maskanim.export.onnx_export import OPSET, to_onnx

    networks = random_networks(spec)
    lowered = {name: lower(getattr(networks, name), name) for name in NETWORKS}
    contents = {name: to_onnx(lowered[name].network, NETWORKS[name]).SerializeToString() for name in NETWORKS}
    files = {name: network_file(name, content, lowered[name].rewrites) for name, content in contents.items()}
    manifest = Manifest(name=f"random {spec.size_name}", model=spec, opset=OPSET, networks=files)
    return write_bundle(path, manifest, contents)


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
        compile: Compile | None = None,
    ) -> None:
        tensors = (*spec.inputs, spec.output)
        dtypes = {tensor.name: HALF if half and tensor.channels == RGB else FLOAT for tensor in tensors}
        super().__init__(spec, dtypes, max_batch=None)
        self.dtype, self.device_type = torch.float16 if half else torch.float32, device_type
        converted: Any = module.to(device_type, self.dtype, memory_format=torch.channels_last)  # type: ignore[call-overload]
        self.run: Callable[..., Tensor] | None = compile(converted) if compile else converted

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
        # In true FP32 where it is FP32 at all, by the algorithm that a trial finds fastest
        exact = torch.backends.cudnn.flags(enabled=True, benchmark=True, allow_tf32=False)
        with torch.inference_mode(), self._on_device(), exact:
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


def torch_networks(
    modules: Mapping[NetworkName, nn.Module],
    *,
    half: bool,
    device_type: str = "cuda",
    compile: Compile | None = None,
) -> dict[NetworkName, DeviceNetwork]:
    """All four as `TorchNetwork`; its arguments."""
    return {
        name: TorchNetwork(NETWORKS[name], module, half=half, device_type=device_type, compile=compile)
        for name, module in modules.items()
    }
