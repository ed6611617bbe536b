"""Runs in a process of its own, over libcuda_standin.c: a binding, piece by piece, and the whole pipeline through it.

Arguments: the binding, a folder with toy networks, a folder to write results to.
"""

from __future__ import annotations

import ctypes
import json
import os
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

import maskanim.runtime.cuda.device
from maskanim import ops
from maskanim.errors import MaskanimError
from maskanim.runtime.cuda.device import Device, open_device
from maskanim.runtime.cuda.kernels import KERNELS
from maskanim.runtime.cuda.ort import open_networks
from maskanim.runtime.cuda.runner import CudaRunner
from maskanim.spec import NETWORK_NAMES, Perturbation

# NVRTC asks a driver for more than the stand-in has; it is tested by itself.
maskanim.runtime.cuda.device.compile_cubin = lambda architecture: architecture.encode()  # type: ignore[assignment]

KINDS = ("memory", "stream", "event", "graph")  # cuda-core keeps loaded code as long as the process


def upscale(device: Device) -> float:
    """U through every kind of copy; the largest difference to its meaning."""
    mask = np.random.default_rng(0).random((2, 1, 64, 64), dtype=np.float32)
    found = np.empty((2, 1, 256, 256), np.float32)
    with (
        device.stream() as stream,
        device.allocate(mask.nbytes) as given,
        device.allocate(mask.nbytes) as copied,
        device.allocate(found.nbytes) as made,
        device.pinned(found.nbytes) as pinned,
    ):
        device.upload(given.address, mask, stream)
        device.copy(copied.address, given.address, mask.nbytes, stream)
        device.kernels().launch(KERNELS["upscale"], 2, stream, copied.address, made.address)
        device.download(pinned.array, made.address, stream)
        stream.synchronize()
        found[...] = pinned.array.view(np.float32).reshape(found.shape)
    return float(np.abs(found - ops.upscale(mask)).max())


def fixed_threshold(device: Device) -> float:
    """A kernel with a float among its arguments; the largest difference to its meaning."""
    mask = np.random.default_rng(1).random((1, 1, 64, 64), dtype=np.float32)
    found = np.empty_like(mask)
    with device.stream() as stream, device.allocate(mask.nbytes) as memory:
        device.upload(memory.address, mask, stream)
        device.kernels().launch(KERNELS["perturb_fixed"], 1, stream, memory.address, memory.address, 0.4)
        device.download(found, memory.address, stream)
        stream.synchronize()
    return float(np.abs(found - ops.perturb(mask, Perturbation(kind="fixed", threshold=0.4))).max())


def graph(device: Device) -> list[float]:
    """A captured fork and join: what is computed during the capture, and by a launch with other values."""
    mask, found = np.zeros((1, 1, 64, 64), np.float32), np.zeros((1, 1, 256, 256), np.float32)
    stream, side, forked, joined = device.stream(), device.stream(), device.event(), device.event()
    given, made = device.allocate(mask.nbytes), device.allocate(found.nbytes)

    def work() -> None:
        device.upload(given.address, mask, stream)
        forked.record(stream)
        side.wait(forked)
        device.kernels().launch(KERNELS["upscale"], 1, side, given.address, made.address)
        joined.record(side)
        stream.wait(joined)
        device.download(found, made.address, stream)

    mask[:] = 1
    captured = device.capture(stream, work)
    computed = float(found.max())
    mask[:] = np.random.default_rng(2).random(mask.shape)
    captured.launch(stream)
    joined.record(stream)
    joined.synchronize()
    captured.close()
    return [computed, float(np.abs(found - ops.upscale(mask)).max())]


def pipeline(device: Device, folder: Path, output: Path) -> bool:
    """The frames of `folder` through the toy networks, which run on the host's addresses; the result is written."""
    frames = list(np.load(folder / "frames.npy"))
    contents: Mapping[Any, bytes] = {name: (folder / f"{name}.onnx").read_bytes() for name in NETWORK_NAMES}
    with CudaRunner(device, open_networks(contents, "cpu"), Perturbation(), batch=2, slots=2) as runner:
        with runner.encode_source(frames[0]) as source:
            runner.use(source)
        tickets = [runner.submit(frames[i : i + 2]) for i in range(0, len(frames), 2)]
        np.save(output / "frames.npy", np.concatenate([runner.collect(ticket) for ticket in tickets]))
        return runner.graphs


def main(binding: str, folder: Path, output: Path) -> dict[str, Any]:
    """What was found."""
    told: dict[str, Any] = {}
    standin = ctypes.CDLL(os.environ["STANDIN_LIBRARY"])
    try:
        with open_device(binding) as device:
            told.update(device=str(device), capability=device.compute_capability, memory=device.total_memory)
            told.update(upscale=upscale(device), fixed_threshold=fixed_threshold(device))
            told["graph"] = graph(device) if device.can_capture else None
            told["graphs"] = pipeline(device, folder, output)
            with device.stream() as first, device.stream() as second:
                first.wait_handle(second.handle)
                first.wait_handle(1)
                with device.event() as event:
                    event.record(first)
                    device.hold_default_stream(event)
                device.synchronize()
    except MaskanimError as error:
        told["error"] = str(error)
    told["held"] = {kind: standin.standin_held(number) for number, kind in enumerate(KINDS)}
    return told


if __name__ == "__main__":
    print(json.dumps(main(sys.argv[1], Path(sys.argv[2]), Path(sys.argv[3]))))
