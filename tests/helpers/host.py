"""kernels.cu on a processor: compiled by g++ against host.h, which stands in for CUDA."""

from __future__ import annotations

import ctypes
import subprocess
from collections.abc import Mapping
from pathlib import Path

import numpy as np

from maskanim.runtime.cuda.kernels import ADDRESS, KERNELS, SOURCE, Kernel

# Each product and sum rounds by itself, as with CUDA's __fmul_rn and __fadd_rn.
FLAGS = ("-std=c++17", "-O2", "-ffp-contract=off", "-fPIC", "-shared", "-Wno-unknown-pragmas")
ASCENDING, DESCENDING = 0, 1  # any larger order is the seed of a shuffle


class HostKernels:
    """The kernels of kernels.cu over host memory.

    Args:
        folder: where to compile them.
        source: the file with the kernels.
        kernels: those in it, by name.
    """

    def __init__(self, folder: Path, source: Path = SOURCE, kernels: Mapping[str, Kernel] = KERNELS) -> None:
        lines = ['#include "host.h"', f'#include "{source}"', *(f"HOST_KERNEL({name})" for name in kernels)]
        main, library = folder / "main.cpp", folder / "kernels.so"
        main.write_text("\n".join(lines) + "\n", "utf-8")
        subprocess.run(["g++", *FLAGS, f"-I{Path(__file__).parent}", "-o", library, main], check=True)
        loaded = ctypes.CDLL(str(library))
        self._kernels = kernels
        self._launchers = {name: getattr(loaded, f"launch_{name}") for name in kernels}
        for launcher in self._launchers.values():
            launcher.argtypes = [ctypes.c_void_p, ctypes.c_void_p, ctypes.c_uint, ctypes.c_int]
            launcher.restype = ctypes.c_char_p

    def launch(
        self,
        name: str,
        grid: tuple[int, int, int],
        block: tuple[int, int, int],
        *arguments: float | np.generic | np.ndarray,
        order: int = ASCENDING,
        skipped: int = 0,
    ) -> None:
        """Run a kernel to its end.

        Args:
            name: the kernel's.
            grid, block: along x, y and z.
            arguments: arrays, which stand for their addresses; Python numbers, which become the parameter's type; NumPy
                scalars, which must be of that type.
            order: in which blocks and threads are run: ASCENDING, DESCENDING, or the seed of a shuffle.
            skipped: the line of kernels.cu whose barrier is ignored.

        Raises:
            TypeError: a scalar of another type than the parameter.
            RuntimeError: not all threads come to the same barrier.
        """
        values = [argument.ctypes.data if isinstance(argument, np.ndarray) else argument for argument in arguments]
        parameters = self._kernels[name].parameters
        for value, kind in zip(values, parameters, strict=True):
            if isinstance(value, np.generic) and value.dtype != np.dtype(kind):
                raise TypeError(f"{name}: {value.dtype} for a parameter {np.dtype(kind)}")
        holders = [np.array(value, kind) for value, kind in zip(values, parameters, strict=True)]
        addresses = np.array([holder.ctypes.data for holder in holders], ADDRESS)
        geometry = np.array([*grid, *block], np.uintc)
        told = self._launchers[name](geometry.ctypes.data, addresses.ctypes.data, order, skipped)
        if told is not None:
            raise RuntimeError(f"{name}: {told.decode()}")
