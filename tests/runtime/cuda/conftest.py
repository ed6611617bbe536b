"""A driver without a GPU."""

from __future__ import annotations

import os
import shutil
import sys
from importlib.util import module_from_spec, spec_from_file_location
from pathlib import Path
from typing import Any

import pytest


@pytest.fixture(scope="session")
def standin(tmp_path_factory: pytest.TempPathFactory, host_kernels: Any) -> Any:
    """Standin of standin.py: the bindings run over it in processes of their own."""
    if shutil.which("gcc") is None:
        reason = "the driver's stand-in needs gcc"
        pytest.fail(reason) if os.environ.get("CI") else pytest.skip(reason)
    kernels = next(tmp_path_factory.getbasetemp().glob("kernels*/kernels.so"))  # where host_kernels compiled them
    return _load("standin").Standin(tmp_path_factory.mktemp("standin"), kernels, _load("toys"))


def _load(name: str) -> Any:
    # Test folders are no packages, and each file is imported by its path.
    spec = spec_from_file_location(name, Path(__file__).with_name(f"{name}.py"))
    assert spec is not None and spec.loader is not None
    module = sys.modules[name] = module_from_spec(spec)
    spec.loader.exec_module(module)
    return module
