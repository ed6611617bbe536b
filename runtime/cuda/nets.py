"""`pipeline.Nets` and `pipeline.Ops` over device arrays: each call queues work and returns where its result will be."""

from __future__ import annotations

from collections.abc import Mapping
from contextlib import ExitStack
from dataclasses import dataclass

from maskanim.runtime.cuda.arrays import DeviceArray, DType
from maskanim.runtime.cuda.device import Device, Module, Stream
from maskanim.runtime.cuda.kernels import KERNELS
from maskanim.runtime.cuda.sessions import HALF, DeviceSession
from maskanim.spec import NETWORKS, NetworkName, Perturbation


def of_images(kernel: str, images: DType) -> str:
    """The name of the kernel for images of float16 or float32."""
    return f"{kernel}_half" if images == HALF else f"{kernel}_float"


class SideStream:
    """A second stream for what may run beside the first."""

    def __init__(self, device: Device, main: Stream, owned: ExitStack) -> None:
        self.main, self.stream = main, owned.enter_context(device.stream())
        self._forked, self._joined = (owned.enter_context(device.event()) for _ in range(2))

    def fork(self) -> Stream:
        """The side stream, which goes on from where the main stream is now."""
        self._forked.record(self.main)
        self.stream.wait(self._forked)
        return self.stream

    def done(self) -> None:
        """What `join` waits for is queued."""
        self._joined.record(self.stream)

    def join(self) -> None:
        """The main stream goes on when the side stream's work is done."""
        self.main.wait(self._joined)


@dataclass(frozen=True)
class DeviceNets:
    """The networks of one stream.

    Attributes:
        sessions: all four; m alone is enough to encode a source.
        outputs: where each network's result goes.
        side: what h has to wait for.
    """

    sessions: Mapping[NetworkName, DeviceSession]
    outputs: Mapping[NetworkName, DeviceArray]
    side: SideStream | None = None

    def m(self, image: DeviceArray, /) -> DeviceArray:
        return self._run("m", image)

    def r(self, source_small: DeviceArray, source_mask: DeviceArray, perturbed_mask: DeviceArray, /) -> DeviceArray:
        return self._run("r", source_small, source_mask, perturbed_mask)

    def l(self, source_small: DeviceArray, source_mask: DeviceArray, refined_mask: DeviceArray, /) -> DeviceArray:  # noqa: E743 - the paper's name
        return self._run("l", source_small, source_mask, refined_mask)

    def h(
        self, source: DeviceArray, source_mask_up: DeviceArray, refined_mask_up: DeviceArray, coarse: DeviceArray, /
    ) -> DeviceArray:
        if self.side:
            self.side.join()
        return self._run("h", source, source_mask_up, refined_mask_up, coarse)

    def _run(self, name: NetworkName, *arguments: DeviceArray) -> DeviceArray:
        tensors = (tensor.name for tensor in NETWORKS[name].inputs)
        self.sessions[name].enqueue(dict(zip(tensors, arguments, strict=True)), self.outputs[name])
        return self.outputs[name]


@dataclass(frozen=True)
class DeviceOps:
    """The kernels of one stream.

    Attributes:
        outputs: where each operation's result goes, by its name.
        side: where U runs; without it, on the stream itself.
    """

    module: Module
    stream: Stream
    perturbation: Perturbation
    outputs: Mapping[str, DeviceArray]
    side: SideStream | None = None

    def downscale(self, image: DeviceArray, /) -> DeviceArray:
        return self._launch(self.stream, of_images("downscale", image.dtype), image, self.outputs["downscale"])

    def upscale(self, mask: DeviceArray, /) -> DeviceArray:
        if self.side is None:
            return self._launch(self.stream, "upscale", mask, self.outputs["upscale"])
        up = self._launch(self.side.fork(), "upscale", mask, self.outputs["upscale"])
        self.side.done()
        return up

    def perturb(self, mask: DeviceArray, /) -> DeviceArray:
        output, threshold = self.outputs["perturb"], self.perturbation.threshold
        if threshold is None:  # kind "median"
            return self._launch(self.stream, "perturb_median", mask, output)
        return self._launch(self.stream, "perturb_fixed", mask, output, threshold)

    def _launch(
        self, stream: Stream, name: str, source: DeviceArray, output: DeviceArray, *values: float
    ) -> DeviceArray:
        self.module.launch(KERNELS[name], source.shape[0], stream, source.address, output.address, *values)
        return output
