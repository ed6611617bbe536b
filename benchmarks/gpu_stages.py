"""How long each kernel and each network takes on a GPU, back to back in a graph, so that launching does not count."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import ExitStack
from time import perf_counter
from typing import Any

import numpy as np

from maskanim.benchmarks.gpu_record import Record, Setup
from maskanim.runtime.cuda.arrays import DeviceArray
from maskanim.runtime.cuda.device import Device, Stream
from maskanim.runtime.cuda.kernels import KERNELS, Kernel
from maskanim.spec import IMAGE_SIZE, NETWORKS, TensorSpec

REPEATS = 20  # runs of a stage in one graph
METHOD = f"median over replays of a graph that holds the stage {REPEATS} times, divided by that; the batch's own time"
LARGEST = 3 * IMAGE_SIZE**2  # elements of the largest array that a kernel sees
RNG = np.random.default_rng(0)


def measure_stages(record: Record, setup: Setup) -> None:
    """Each kernel, and each network by PyTorch in FP16, as it was trained and lowered."""
    from maskanim.benchmarks.torch_networks import lowered_networks, plain_networks, random_networks

    record.set("method", METHOD)
    with record.isolating("stages"), ExitStack() as stack:
        device = stack.enter_context(setup.open_device())
        stream = stack.enter_context(device.stream())
        for batch in setup.batches:
            for kernel in KERNELS.values():
                with record.isolating(f"{kernel.name}, batch {batch}"):
                    seconds = _kernel_seconds(device, stream, kernel, batch, setup.rounds)
                    record.add("stages", {"stage": kernel.name, "batch": batch, "ms": 1000 * seconds})
        for name, spec in setup.models.items():
            networks = random_networks(spec)
            for form, modules in {
                "as trained": plain_networks(networks),
                "lowered": lowered_networks(networks),
            }.items():
                loaded = setup.networks(modules)
                for batch in setup.batches:
                    for network in loaded.values():
                        what = {"networks": name, "form": form, "stage": network.spec.name, "batch": batch}
                        with record.isolating(str(what)):
                            seconds = _network_seconds(device, stream, network, batch, setup.rounds)
                            record.add("stages", what | {"ms": 1000 * seconds})


def _kernel_seconds(device: Device, stream: Stream, kernel: Kernel, batch: int, rounds: int) -> float:
    with ExitStack() as stack:
        image = _image_type(kernel.name)
        addresses = [_filled(device, stream, stack, (batch, LARGEST), image) for _ in range(2)]
        values: tuple[float, ...] = tuple(addresses)
        if kernel.name.startswith("preprocess"):
            row = 3 * IMAGE_SIZE
            values = addresses[0], row * IMAGE_SIZE, row, IMAGE_SIZE, addresses[1]
        elif kernel.name == "perturb_fixed":
            values = (*addresses, 0.4)
        module = device.kernels()
        return _seconds(device, stream, lambda: module.launch(kernel, batch, stream, *values), rounds)


def _image_type(kernel: str) -> np.dtype[Any]:
    return np.dtype(np.float16 if kernel.endswith("_half") else np.float32)


def _network_seconds(device: Device, stream: Stream, network: Any, batch: int, rounds: int) -> float:
    with ExitStack() as stack:
        spec = NETWORKS[network.spec.name]

        def array(tensor: TensorSpec) -> DeviceArray:
            shape, dtype = tensor.shape(batch), network.dtypes[tensor.name]
            return DeviceArray(_filled(device, stream, stack, shape, dtype), shape, dtype)

        inputs, output = {tensor.name: array(tensor) for tensor in spec.inputs}, array(spec.output)
        session = stack.enter_context(network.session(batch, stream))
        return _seconds(device, stream, lambda: session.enqueue(inputs, output), rounds)


def _filled(device: Device, stream: Stream, stack: ExitStack, shape: tuple[int, ...], dtype: np.dtype[Any]) -> int:
    """Device memory with random values in [0, 1): arithmetic on zeros is faster."""
    values = RNG.random(shape, np.float32).astype(dtype)
    memory = stack.enter_context(device.allocate(values.nbytes))
    device.upload(memory.address, values, stream)
    stream.synchronize()
    return memory.address


def _seconds(device: Device, stream: Stream, work: Callable[[], object], rounds: int) -> float:
    """Of one run; the median over replays."""
    work()  # the run that networks need before they can be captured
    stream.synchronize()

    def repeated() -> None:
        for _ in range(REPEATS):
            work()

    spent = []
    with device.capture(stream, repeated) as graph:
        for _ in range(rounds + 1):
            began = perf_counter()
            graph.launch(stream)
            stream.synchronize()
            spent.append((perf_counter() - began) / REPEATS)
    return float(np.median(spent[1:]))
