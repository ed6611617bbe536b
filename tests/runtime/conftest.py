"""The kernels without a GPU."""

from __future__ import annotations

import os
import shutil
from importlib.util import module_from_spec, spec_from_file_location
from pathlib import Path
from typing import Any

import pytest


@pytest.fixture(scope="session")
def host_kernels(tmp_path_factory: pytest.TempPathFactory) -> Any:
    """The kernels compiled for the processor: HostKernels of cuda/host.py."""
    if shutil.which("g++") is None:
        reason = "the kernels' host proof needs g++"
        pytest.fail(reason) if os.environ.get("CI") else pytest.skip(reason)
    return _host_module().HostKernels(tmp_path_factory.mktemp("kernels"))


def _host_module() -> Any:
    # Test folders are no packages, and each is imported by its path.
    spec = spec_from_file_location("host", Path(__file__).parent / "cuda" / "host.py")
    assert spec is not None and spec.loader is not None
    module = module_from_spec(spec)
    spec.loader.exec_module(module)
    return module
