"""A real Triton server on this machine's processor: the one in the nvidia-pytriton wheel, without PyTriton itself."""

from __future__ import annotations

import importlib.util
import os
import shutil
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import NamedTuple

import numpy as np
import pytest

from maskanim.export.triton import Serving, write_repository
from maskanim.models import demo_bundle

SECONDS_TO_START = 120  # on a busy machine; three on an idle one
SECONDS_TO_STOP = 30
INSTALL = "pip install 'maskanim[cpu,triton]' nvidia-pytriton"


ENGINE = "openvino"
SEQUENCES = 2
IDLE = 3.0  # seconds; on a busy machine a request may take one


class Server(NamedTuple):
    """A server that runs.

    Attributes:
        process: the server's.
        http, grpc: its addresses.
        log: the file that it writes.
        serving: how it serves the embedded demo.
    """

    process: subprocess.Popen[bytes]
    http: str
    grpc: str
    log: Path
    serving: Serving


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    """The embedded demo, served."""
    triton = installed()
    folder = tmp_path_factory.mktemp("triton")
    serving = Serving(engine=ENGINE, sequences=SEQUENCES, idle_seconds=IDLE)
    write_repository(demo_bundle(), folder / "models", serving)
    with running(triton, folder / "models", folder, serving) as started:
        yield started


def installed() -> Path:
    """The folder of the wheel's Triton; skips where it is not, or would not work."""
    if any(importlib.util.find_spec(name) is None for name in ("pytriton", "tritonclient")):
        pytest.skip(f"needs a Triton server, in an environment of its own: {INSTALL}")
    if np.lib.NumpyVersion(np.__version__) >= "2.0.0":
        pytest.skip("this Triton is 24.10, whose Python backend came before NumPy 2 and returns empty tensors with it")
    spec = importlib.util.find_spec("pytriton")
    assert spec and spec.origin
    return Path(spec.origin).parent / "tritonserver"


@contextmanager
def running(triton: Path, repository: Path, folder: Path, serving: Serving) -> Iterator[Server]:
    """Serve a repository, with this Python for its backend; the backend and the log go into a folder."""
    backends = _backends(triton, folder)
    http, grpc = _free_port(), _free_port()
    arguments = {"model-repository": repository, "backend-directory": backends, "allow-metrics": "false"}
    for protocol, port in (("http", http), ("grpc", grpc)):
        arguments |= {f"{protocol}-address": "127.0.0.1", f"{protocol}-port": port}
    command = [str(triton / "bin/tritonserver"), *(f"--{name}={value}" for name, value in arguments.items())]
    log = folder / "log"
    with log.open("wb") as output:
        process = subprocess.Popen(command, stdout=output, stderr=output, env=_environment(triton), cwd=folder)
    server = Server(process, f"127.0.0.1:{http}", f"127.0.0.1:{grpc}", log, serving)
    try:
        _wait(server)
        yield server
    finally:
        process.send_signal(signal.SIGINT)
        try:
            process.wait(SECONDS_TO_STOP)
        except subprocess.TimeoutExpired:
            process.kill()


def _backends(triton: Path, folder: Path) -> Path:
    """The wheel has one stub for each Python; the backend wants the right one beside it."""
    backends = folder / "backends"
    shutil.copytree(triton / "backends", backends)
    version = f"{sys.version_info.major}.{sys.version_info.minor}"
    shutil.copy(triton / "python_backend_stubs" / version / "triton_python_backend_stub", backends / "python")
    return backends


def _environment(triton: Path) -> dict[str, str]:
    """The stub embeds the Python that it finds first; copied, it no longer finds the wheel's libraries by itself."""
    libraries = triton.parents[1] / "nvidia_pytriton.libs"
    path = os.pathsep.join((str(Path(sys.executable).parent), os.environ["PATH"]))
    return os.environ | {"PATH": path, "LD_LIBRARY_PATH": str(libraries)}


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def _wait(server: Server) -> None:
    until = time.monotonic() + SECONDS_TO_START
    while "Started HTTPService" not in (told := server.log.read_text("utf-8", "replace")):
        assert server.process.poll() is None and time.monotonic() < until, told
        time.sleep(0.1)
