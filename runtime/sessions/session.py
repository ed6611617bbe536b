"""Networks that an inference library has loaded, over NumPy arrays."""

from __future__ import annotations

import math
import os
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path

import numpy as np

from maskanim.errors import MaskanimError
from maskanim.ops import Array
from maskanim.spec import NETWORK_NAMES, NetworkName, NetworkSpec

Infer = Callable[[Sequence[Array]], Array]


class Session:
    """A loaded network, whose arguments are checked here, once for all libraries.

    One session runs in one thread at a time; different sessions may run at the same time.

    Args:
        spec: the network's inputs and output, from `spec.NETWORKS`.
        library: what loaded it, as a person knows it.
        infer: runs it: checked, contiguous inputs of one batch size to an array that the caller may keep. It holds
            what the library has loaded, and is forgotten by `close`.
    """

    def __init__(self, spec: NetworkSpec, library: str, infer: Infer) -> None:
        self.spec, self.library, self._subject = spec, library, f"network {spec.name}"
        self._infer: Infer | None = infer

    def run(self, *inputs: Array) -> Array:
        """Run the network.

        Args:
            inputs: in the order of ``spec.inputs``, each float32 of shape (N, C, H, W) with values in [0, 1]; one of
                batch 1 goes with every item of a larger N. They are only read, and only until this returns.

        Returns:
            (N, C, H, W) float32 of ``spec.output``, in an array that belongs to the caller.

        Raises:
            MaskanimError: an argument is missing or of another dtype or shape, the session is closed, or the library
                failed.
        """
        if self._infer is None:
            raise MaskanimError(self._subject, "its session is closed", "an open one", "Open the model again")
        batch = self._check(inputs)
        with refusal(f"running {self._subject}", self.library, "a run without errors"):
            whole = (np.broadcast_to(value, (batch, *value.shape[1:])) for value in inputs)
            return np.asarray(self._infer([np.ascontiguousarray(value) for value in whole]), np.float32)

    def close(self) -> None:
        """Release the library's memory; closing again does nothing."""
        self._infer = None

    def _check(self, inputs: Sequence[Array]) -> int:
        """The batch size that all inputs agree on."""
        if len(inputs) != len(self.spec.inputs):
            names = ", ".join(tensor.name for tensor in self.spec.inputs)
            raise MaskanimError(self._subject, f"{len(inputs)} inputs", f"{len(self.spec.inputs)}: {names}")
        batch = max((len(value) for value in inputs if isinstance(value, np.ndarray) and value.ndim), default=0)
        for tensor, value in zip(self.spec.inputs, inputs, strict=True):
            array, shapes = isinstance(value, np.ndarray), (tensor.shape(1), tensor.shape(batch))
            if not array or value.dtype != np.float32 or not batch or value.shape not in shapes:
                kind = f"{value.dtype} of shape {value.shape}" if array else type(value).__name__
                sizes = f"{tensor.channels}, {tensor.size}, {tensor.size}"
                together = "" if batch < 2 else f" with N either 1 or {batch}, the largest of the inputs"
                wanted = f"float32 of shape (N, {sizes}){together}"
                raise MaskanimError(f"{self._subject}, input {tensor.name}", kind, wanted)
        return batch


class SessionNets:
    """The four networks as `pipeline.Nets` over NumPy arrays; arguments and results as in `Session.run`."""

    def __init__(self, sessions: Mapping[NetworkName, Session]) -> None:
        self.sessions = sessions
        self.m, self.r, self.l, self.h = (sessions[name].run for name in NETWORK_NAMES)

    def close(self) -> None:
        """Close the four sessions."""
        for session in self.sessions.values():
            session.close()


@contextmanager
def refusal(subject: str, library: str, expected: str) -> Iterator[None]:
    """Turn whatever a library raises into a MaskanimError that holds the last line of its message.

    Libraries raise errors of no common type.
    """
    try:
        yield
    except MaskanimError:
        raise
    except Exception as error:
        lines = str(error).strip().splitlines() or [type(error).__name__]
        raise MaskanimError(subject, f"{library} failed ({lines[-1].strip()})", expected) from error


def check_names(network: NetworkSpec, inputs: Sequence[str], outputs: Sequence[str]) -> None:
    """Refuse a graph whose tensors are not those of the specification.

    Raises:
        MaskanimError: names the network, its names and the expected ones.
    """
    found = (sorted(inputs), list(outputs))
    wanted = (sorted(tensor.name for tensor in network.inputs), [network.output.name])
    if found != wanted:
        received, expected = (f"inputs {', '.join(i)} and output {', '.join(o)}" for i, o in (found, wanted))
        raise MaskanimError(f"network {network.name}", received, expected, "Export the model again")


def processors() -> int:
    """How many processors this process may use, as libraries do not find out by themselves.

    A container's share of time (`docker --cpus`), rounded up, and OMP_NUM_THREADS, as Ray and Slurm set it, limit them.
    """
    there = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    there = math.ceil(min([there, *quotas(Path("/"))]))
    limit = os.environ.get("OMP_NUM_THREADS", "").split(",")[0]
    return min(there, int(limit)) if limit.isdecimal() and int(limit) else there


def quotas(root: Path) -> Iterator[float]:
    """How many processors' time Linux's control groups leave to this process: its own, and those around them.

    Args:
        root: where proc and sys are. A container may see its own group as the outermost, whatever its path is.
    """
    with suppress(OSError):
        for line in (root / "proc/self/cgroup").read_text().splitlines():
            _, controllers, path = line.split(":", 2)
            if not controllers:
                outermost, names = root / "sys/fs/cgroup", ["cpu.max"]
            elif "cpu" in controllers.split(","):
                outermost, names = root / "sys/fs/cgroup/cpu", ["cpu.cfs_quota_us", "cpu.cfs_period_us"]
            else:
                continue
            for group in (Path(path), *Path(path).parents):
                with suppress(OSError, ValueError):  # no such group here, or one without a limit
                    folder = outermost / group.relative_to("/")
                    quota, period = (int(part) for name in names for part in (folder / name).read_text().split())
                    if quota > 0:
                        yield quota / period
