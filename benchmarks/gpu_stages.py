"""How long each kernel and each network takes on a GPU, back to back in a graph, so that launching does not count."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import ExitStack
from time import perf_counter
from typing import Any

import numpy as np

from maskanim.runtime.cuda import device as devices
from maskanim.runtime.cuda.arrays import DeviceArray
from maskanim.runtime.cuda.device import Device, Stream
from maskanim.runtime.cuda.kernels import KERNELS, Kernel
from maskanim.spec import IMAGE_SIZE, NETWORKS, ModelSpec, TensorSpec

REPEATS = 20  # runs of a stage in one graph
REPLAYS = 20  # of the graph; the median counts
LARGEST = 3 * IMAGE_SIZE**2  # elements of the largest array that a kernel sees
RNG = np.random.default_rng(0)


def kernel_times(batch: int) -> Iterator[dict[str, Any]]:
    """Milliseconds of each kernel for a batch."""
    with devices.open_device() as device, device.stream() as stream:
        module = device.kernels()
        for kernel in KERNELS.values():
            with ExitStack() as stack:
                values = _kernel_arguments(device, stream, stack, kernel, batch)
                seconds = _seconds(device, stream, lambda: module.launch(kernel, batch, stream, *values))  # noqa: B023
            yield {"stage": kernel.name, "batch": batch, "ms": 1000 * seconds}


def _kernel_arguments(
    device: Device, stream: Stream, stack: ExitStack, kernel: Kernel, batch: int
) -> tuple[float, ...]:
    image: np.dtype[Any] = np.dtype(np.float16 if kernel.name.endswith("_half") else np.float32)
    source, target = (_filled(device, stream, stack, (batch, LARGEST), image) for _ in range(2))
    if kernel.name.startswith("preprocess"):
        row = 3 * IMAGE_SIZE
        return source, row * IMAGE_SIZE, row, IMAGE_SIZE, target
    return (source, target, 0.4) if kernel.name == "perturb_fixed" else (source, target)


def network_times(spec: ModelSpec, batch: int) -> Iterator[dict[str, Any]]:
    """Milliseconds of each network for a batch, by PyTorch, as it was trained and lowered."""
    from maskanim.benchmarks.latency.torch_runner import device as torch_device
    from maskanim.benchmarks.torch_networks import lowered_networks, plain_networks, random_networks, torch_networks

    networks, on = random_networks(spec), torch_device().type
    forms = {"as trained": plain_networks(networks), "lowered": lowered_networks(networks)}
    with devices.open_device() as device, device.stream() as stream:
        for form, modules in forms.items():
            for network in torch_networks(modules, half=on == "cuda", device_type=on).values():
                ms = 1000 * _network_seconds(device, stream, network, batch)
                yield {"form": form, "stage": network.spec.name, "batch": batch, "ms": ms}


def _network_seconds(device: Device, stream: Stream, network: Any, batch: int) -> float:
    with ExitStack() as stack:
        spec = NETWORKS[network.spec.name]

        def array(tensor: TensorSpec) -> DeviceArray:
            shape, dtype = tensor.shape(batch), network.dtypes[tensor.name]
            return DeviceArray(_filled(device, stream, stack, shape, dtype), shape, dtype)

        inputs, output = {tensor.name: array(tensor) for tensor in spec.inputs}, array(spec.output)
        session = stack.enter_context(network.session(batch, stream))
        return _seconds(device, stream, lambda: session.enqueue(inputs, output))


def _filled(device: Device, stream: Stream, stack: ExitStack, shape: tuple[int, ...], dtype: np.dtype[Any]) -> int:
    """Device memory with random values in [0, 1): arithmetic on zeros is faster."""
    values = RNG.random(shape, np.float32).astype(dtype)
    memory = stack.enter_context(device.allocate(values.nbytes))
    device.upload(memory.address, values, stream)
    stream.synchronize()
    return memory.address


def _seconds(device: Device, stream: Stream, work: Callable[[], object]) -> float:
    """Of one run; the median over replays."""
    work()  # the run that networks need before they can be captured
    stream.synchronize()

    def repeated() -> None:
        for _ in range(REPEATS):
            work()

    spent = []
    with device.capture(stream, repeated) as graph:
        for _ in range(REPLAYS + 1):
            began = perf_counter()
            graph.launch(stream)
            stream.synchronize()
            spent.append((perf_counter() - began) / REPEATS)
    return float(np.median(spent[1:]))
