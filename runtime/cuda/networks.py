"""One network on a GPU: loaded once, run in as many sessions as there are streams."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Mapping
from typing import Any, ClassVar

import numpy as np

from maskanim.closing import Closing
from maskanim.errors import MaskanimError
from maskanim.runtime.cuda.arrays import DeviceArray
from maskanim.runtime.cuda.device import Stream
from maskanim.spec import NetworkSpec

DType = np.dtype[Any]

FLOAT, HALF = np.dtype(np.float32), np.dtype(np.float16)
MASK_CHANNELS = 1


class DeviceNetwork(Closing):
    """A network's weights on a GPU; a context manager. Its sessions are closed before it.

    Attributes:
        backend: the library that loaded it, as a person knows it.
        spec: its inputs and output, from `spec.NETWORKS`.
        dtypes: per tensor name, float16 or float32; masks are float32.
        min_batch, max_batch: the smallest and the largest batch; no largest is None.
    """

    backend: ClassVar[str]
    min_batch = 1

    def __init__(self, spec: NetworkSpec, dtypes: Mapping[str, DType], max_batch: int | None) -> None:
        self.spec, self.dtypes, self.max_batch = spec, dtypes, max_batch
        for tensor in (*spec.inputs, spec.output):
            wanted = (FLOAT,) if tensor.channels == MASK_CHANNELS else (FLOAT, HALF)
            if dtypes[tensor.name] not in wanted:
                told = " or ".join(str(dtype) for dtype in wanted)
                raise MaskanimError(f"network {spec.name}, tensor {tensor.name}", str(dtypes[tensor.name]), told)

    def session(self, batch: int, stream: Stream) -> DeviceSession:
        """What runs it for one batch on one stream. Sessions of different streams may run at the same time.

        Raises:
            MaskanimError: the batch is too large or too small, or the library refuses.
        """
        if self.max_batch is not None and batch > self.max_batch:
            again = f"Use a smaller batch, or build it again with a profile up to {batch}"
            raise MaskanimError(f"network {self.spec.name}", f"batch {batch}", f"at most {self.max_batch}", again)
        if batch < self.min_batch:
            again = f"Build it again with a profile from {batch}"
            raise MaskanimError(f"network {self.spec.name}", f"batch {batch}", f"at least {self.min_batch}", again)
        return self._session(batch, stream)

    @abstractmethod
    def _session(self, batch: int, stream: Stream) -> DeviceSession: ...


class DeviceSession(Closing):
    """A network ready to run for one batch on one stream; a context manager.

    Shape and stream are fixed because a captured graph keeps using the session's memory: another shape, or the same
    session on another stream, would spoil it.
    """

    def __init__(self, network: DeviceNetwork, batch: int, stream: Stream) -> None:
        self.network, self.batch, self.stream = network, batch, stream

    @property
    @abstractmethod
    def capturable(self) -> bool:
        """Whether `enqueue` may be captured in a graph, after it has run once."""

    def enqueue(self, inputs: Mapping[str, DeviceArray], output: DeviceArray) -> None:
        """Queue a run on the session's stream.

        Args:
            inputs: by tensor name, contiguous, of the session's batch and the network's dtypes.

        Raises:
            MaskanimError: an array is missing or of another dtype or shape, or the library failed.
        """
        spec = self.network.spec
        for tensor, array in (*((t, inputs.get(t.name)) for t in spec.inputs), (spec.output, output)):
            wanted = (self.network.dtypes[tensor.name], tensor.shape(self.batch))
            if array is None or (array.dtype, array.shape) != wanted:
                found = "none" if array is None else f"{array.dtype} of shape {array.shape}"
                raise MaskanimError(
                    f"network {spec.name}, tensor {tensor.name}", found, "{} of shape {}".format(*wanted)
                )
        self._enqueue(inputs, output)

    @abstractmethod
    def _enqueue(self, inputs: Mapping[str, DeviceArray], output: DeviceArray) -> None: ...
