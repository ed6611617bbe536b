"""The kernels without a GPU."""

from __future__ import annotations

import os
import shutil
from typing import Any

import pytest

from helpers import host


@pytest.fixture(scope="session")
def host_kernels(tmp_path_factory: pytest.TempPathFactory) -> Any:
    """The kernels compiled for the processor: HostKernels of helpers/host.py."""
    if shutil.which("g++") is None:
        reason = "the kernels' host proof needs g++"
        pytest.fail(reason) if os.environ.get("CI") else pytest.skip(reason)
    return host.HostKernels(tmp_path_factory.mktemp("kernels"))
