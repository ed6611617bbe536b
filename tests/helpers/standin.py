"""Runs on_standin.py over libcuda_standin.c."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

HERE = Path(__file__).parent
FLAGS = ("-Wall", "-Wextra", "-Werror", "-shared", "-fPIC")


class Standin:
    """The driver's stand-in, and frames and toy networks for it.

    Args:
        folder: where to put them.
        kernels: the library that runs the kernels.
        toys: the module toys.py.
    """

    def __init__(self, folder: Path, kernels: Path, toys: Any) -> None:
        self.folder, self.kernels, self.toys = folder, kernels, toys
        self.library = folder / "driver" / "libcuda.so.1"
        self.library.parent.mkdir()
        subprocess.run(["gcc", *FLAGS, "-o", self.library, HERE / "libcuda_standin.c", "-ldl"], check=True)
        # 256x256, which nothing resizes; an odd number, for a partial batch.
        self.frames = np.random.default_rng(0).integers(0, 256, (5, 256, 256, 3), np.uint8)
        np.save(folder / "frames.npy", self.frames)
        for name, content in toys.toys().items():
            (folder / f"{name}.onnx").write_bytes(content)

    def run(self, binding: str, output: Path, path: Path | None = None, **environment: str) -> dict[str, Any]:
        """What on_standin.py tells.

        Args:
            output: where it writes frames.npy.
            path: where modules are looked for first.
            environment: which functions of the driver fail, see libcuda_standin.c.
        """
        variables = {
            **os.environ,
            "LD_LIBRARY_PATH": str(self.library.parent),
            "STANDIN_LIBRARY": str(self.library),
            "KERNELS_LIBRARY": str(self.kernels),
            "PYTHONPATH": str(path or ""),
            **environment,
        }
        command = [sys.executable, HERE / "on_standin.py", binding, self.folder, output]
        done = subprocess.run(command, env=variables, capture_output=True, text=True)
        assert done.returncode == 0, done.stderr
        told: dict[str, Any] = json.loads(done.stdout.splitlines()[-1])
        return told

    def wanted(self) -> NDArray[np.uint8]:
        """The frames animated by the first of them, over NumPy."""
        return np.stack(self.toys.animated(self.toys.toys(), self.frames[0], self.frames, np.float32))
