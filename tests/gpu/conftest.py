"""Tests that need a GPU. Without one they are skipped and say why; with MASKANIM_NEEDS_GPU=1 they fail instead."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

import pytest

from maskanim.errors import MaskanimError
from maskanim.runtime.backends import CUDA_BINDINGS
from maskanim.runtime.cuda.device import Device, open_device

NEEDS_GPU = "MASKANIM_NEEDS_GPU"


def pytest_configure(config: pytest.Config) -> None:
    config.addinivalue_line("markers", "gpu: needs an NVIDIA GPU")


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    for item in items:
        if Path(__file__).parent in item.path.parents:
            item.add_marker(pytest.mark.gpu)


def absent(reason: str) -> None:
    """Skip, or fail where a GPU was promised: a broken machine must not look like a good one."""
    pytest.fail(reason) if os.environ.get(NEEDS_GPU) == "1" else pytest.skip(reason)


@pytest.fixture(scope="session", params=list(CUDA_BINDINGS))
def device(request: pytest.FixtureRequest) -> Iterator[Device]:
    """The first GPU, through each CUDA binding that is installed."""
    try:
        opened = open_device(request.param)
    except MaskanimError as error:
        # PyCUDA has no wheels and may be missing anywhere; cuda-core is what maskanim installs.
        pytest.skip(str(error)) if request.param == "pycuda" else absent(str(error))
    with opened:
        yield opened
