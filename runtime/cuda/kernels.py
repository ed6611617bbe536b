"""The kernels of kernels.cu: their parameters, how each is launched for a batch, and their compilation by NVRTC."""

from __future__ import annotations

from functools import cache
from pathlib import Path
from typing import NamedTuple

import numpy as np

from maskanim.errors import MaskanimError, MissingPackageError

SOURCE = Path(__file__).with_name("kernels.cu")
SUBJECT = "CUDA kernels"
ADDRESS = np.uintp


class Kernel(NamedTuple):
    """One kernel; it needs no dynamic shared memory."""

    name: str  # as in kernels.cu, whose comment names its meaning in `ops`
    parameters: tuple[type[np.generic], ...]  # the NumPy type of each parameter; ADDRESS for an address on the device
    block: tuple[int, int, int]  # threads of a block along x, y and z
    blocks: tuple[int, int]  # blocks along x and y for one element of the batch

    def grid(self, batch: int) -> tuple[int, int, int]:
        """Blocks along x, y and z for a batch of 1 to 65535."""
        return *self.blocks, batch

    def arguments(self, *values: float) -> tuple[np.generic, ...]:
        """Addresses and numbers as scalars of exactly the parameters' types, as every CUDA binding takes them.

        Raises:
            ValueError: there are more or fewer values than parameters.
        """
        return tuple(kind(value) for kind, value in zip(self.parameters, values, strict=True))


_PREPROCESS = (ADDRESS, np.int64, np.int64, np.int32, ADDRESS)
_FROM_TO = (ADDRESS, ADDRESS)

KERNELS: dict[str, Kernel] = {
    kernel.name: kernel
    for kernel in (
        Kernel("preprocess_half", _PREPROCESS, (256, 1, 1), (256, 1)),
        Kernel("preprocess_float", _PREPROCESS, (256, 1, 1), (256, 1)),
        Kernel("downscale_half", _FROM_TO, (256, 1, 1), (16, 3)),
        Kernel("downscale_float", _FROM_TO, (256, 1, 1), (16, 3)),
        Kernel("perturb_median", _FROM_TO, (256, 1, 1), (1, 1)),
        Kernel("perturb_fixed", (*_FROM_TO, np.float32), (256, 1, 1), (4, 1)),
        Kernel("shrink", _FROM_TO, (256, 1, 1), (16, 1)),
        Kernel("upscale", _FROM_TO, (64, 4, 1), (64, 1)),
        Kernel("postprocess_half", _FROM_TO, (256, 1, 1), (64, 1)),
        Kernel("postprocess_float", _FROM_TO, (256, 1, 1), (64, 1)),
    )
}


@cache
def compile_cubin(architecture: str) -> bytes:
    """All kernels for one kind of GPU. Needs neither a GPU nor a CUDA toolkit; done once in a process.

    Args:
        architecture: e.g. ``sm_86`` for compute capability 8.6.

    Returns:
        A cubin, to be loaded as a module.

    Raises:
        MissingPackageError: cuda-core is not installed.
        MaskanimError: NVRTC cannot be loaded, does not know the architecture, or refuses the source.
    """
    try:
        import cuda.core as core
    except ModuleNotFoundError as error:
        raise MissingPackageError(SUBJECT, "cuda-core", "gpu") from error
    except ImportError as error:
        received, wanted = f"cuda-core does not load ({error})", "it and its CUDA packages"
        raise MaskanimError(SUBJECT, received, wanted, "Install it with: pip install 'maskanim[gpu]'") from error
    try:
        # Subnormal numbers count, as in NumPy: a mask's median may be one.
        options = core.ProgramOptions(arch=architecture, std="c++17", ftz=False)
        return bytes(core.Program(SOURCE.read_text("utf-8"), "c++", options).compile("cubin").code)
    except Exception as error:  # cuda-core's errors have no public base
        expected = "NVRTC, and an architecture that it knows"
        raise MaskanimError(SUBJECT, f"not compiled for {architecture} ({error})", expected) from error
