"""A driver without a GPU."""

from __future__ import annotations

import os
import shutil
from typing import Any

import pytest

from helpers import toys
from helpers.standin import Standin


@pytest.fixture(scope="session")
def standin(tmp_path_factory: pytest.TempPathFactory, host_kernels: Any) -> Standin:
    """Standin of standin.py: the bindings run over it in processes of their own."""
    if shutil.which("gcc") is None:
        reason = "the driver's stand-in needs gcc"
        pytest.fail(reason) if os.environ.get("CI") else pytest.skip(reason)
    kernels = next(tmp_path_factory.getbasetemp().glob("kernels*/kernels.so"))  # where host_kernels compiled them
    return Standin(tmp_path_factory.mktemp("standin"), kernels, toys)
