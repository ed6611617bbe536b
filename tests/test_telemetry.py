"""Nothing that maskanim does asks for another machine, or leaves files in the user's folder that are not its own."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from maskanim.bundle import Bundle
from maskanim.export.triton import Serving, write_repository

GUARD = Path(__file__).with_name("socket_guard.c")
OPEN = "from maskanim.runtime import Animator; Animator.open({model!r}, {engine!r}).close()"
COMMAND = "import sys; sys.argv[1:] = {arguments!r}; from maskanim.{command}.cli import main; main()"
OURS = {"maskanim"}
# As Triton's Python backend runs a model: over the module that it brings, of which this is what the model uses.
TRITON = """
import json, runpy, sys, time
from types import SimpleNamespace
import numpy as np
sys.modules["triton_python_backend_utils"] = SimpleNamespace(
    Logger=SimpleNamespace(log_info=print),
    Tensor=lambda name, array: array,
    InferenceResponse=lambda tensors=None, error=None: (tensors, error),
    TritonError=str,
    get_input_tensor_by_name=lambda request, name: request.inputs.get(name),
)
picture = np.zeros((1, 1, 64, 64, 3), np.uint8)
inputs = {{"START": [[True]], "END": [[True]], "source": picture[0], "driving": picture}}
tensors = {{name: SimpleNamespace(as_numpy=lambda value=value: np.array(value)) for name, value in inputs.items()}}
request = SimpleNamespace(inputs=tensors, correlation_id=lambda: 7)
parameters = {{"engine": "{engine}", "precision": "fp32", "batch": "1"}}
config = {{
    "sequence_batching": {{"max_sequence_idle_microseconds": 10**6}},
    "parameters": {{name: {{"string_value": value}} for name, value in parameters.items()}},
}}
model = runpy.run_path({path!r})["TritonPythonModel"]()
model.initialize({{"model_config": json.dumps(config), "model_instance_kind": "CPU", "model_instance_device_id": "0"}})
((frames,), error), = model.execute([request])
assert frames.shape == (1, 1, 256, 256, 3) and error is None
time.sleep(2)
model.finalize()
"""


@pytest.fixture(scope="session")
def socket_guard(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A library that refuses, and writes down, every look-up of a name and every connection to another machine."""
    compiler = shutil.which("cc") or shutil.which("gcc")
    if compiler is None or not sys.platform.startswith("linux"):
        pytest.skip("there is no C compiler to build the socket guard")
    library = tmp_path_factory.mktemp("guard") / "guard.so"
    subprocess.run([compiler, "-shared", "-fPIC", GUARD, "-o", library, "-ldl"], check=True)
    return library


def guarded(code: str, guard: Path, home: Path) -> tuple[str, list[str]]:
    """Run Python code with a fresh home; what it asked of other machines, and the files that it left."""
    log, environment = home.parent / "asked.txt", dict(os.environ)
    for name in ("ORT_DISABLE_TELEMETRY", "MASKANIM_HOME", "XDG_CONFIG_HOME", "XDG_CACHE_HOME", "XDG_DATA_HOME"):
        environment.pop(name, None)
    environment |= {"HOME": str(home), "LD_PRELOAD": str(guard), "SOCKET_GUARD_LOG": str(log)}
    done = subprocess.run(
        [sys.executable, "-c", code], env=environment, cwd=home.parent, capture_output=True, text=True
    )
    assert done.returncode == 0, done.stderr
    left = [str(path.relative_to(home)) for path in home.rglob("*") if path.is_file()]
    return log.read_text() if log.exists() else "", [path for path in left if not OURS & set(Path(path).parts)]


@pytest.fixture
def home(tmp_path: Path) -> Path:
    folder = tmp_path / "home"
    folder.mkdir()
    return folder


def test_the_guard_sees_what_is_asked(socket_guard: Path, home: Path) -> None:
    code = "import socket\ntry: socket.create_connection(('example.org', 80))\nexcept OSError: pass"
    assert "example.org" in guarded(code, socket_guard, home)[0]


@pytest.mark.parametrize("engine", ["ort", "openvino"])
def test_the_python_interface(engine: str, socket_guard: Path, home: Path, tiny_bundle: Bundle) -> None:
    code = OPEN.format(model=str(tiny_bundle.path), engine=engine) + "; import time; time.sleep(2)"
    assert guarded(code, socket_guard, home) == ("", [])


def test_the_command_that_runs(
    socket_guard: Path, home: Path, tiny_bundle: Bundle, picture: Path, tiny_clip: Path
) -> None:
    arguments = ["--source", str(picture), "--driving", str(tiny_clip), "--model", str(tiny_bundle.path)]
    for engine in ("ort", "openvino"):
        code = COMMAND.format(command="runtime", arguments=[*arguments, "--engine", engine, "-o", "out.mp4"])
        assert guarded(code, socket_guard, home) == ("", [])


def test_a_batch_on_ray(socket_guard: Path, home: Path, tiny_bundle: Bundle, picture: Path, tiny_clip: Path) -> None:
    pytest.importorskip("ray", reason="needs the extra cluster")
    arguments = ["--source", str(picture), "--driving", str(tiny_clip), "--model", str(tiny_bundle.path), "--ray"]
    code = COMMAND.format(command="runtime", arguments=[*arguments, "--engine", "ort", "-o", "out"])
    assert guarded(code, socket_guard, home) == ("", [])


def test_the_doctor(socket_guard: Path, home: Path, tiny_bundle: Bundle) -> None:
    code = COMMAND.format(command="runtime.doctor", arguments=["--model", str(tiny_bundle.path)])
    assert guarded(code, socket_guard, home) == ("", [])


@pytest.mark.parametrize("engine", ["ort", "openvino"])
def test_the_model_in_triton(engine: str, socket_guard: Path, home: Path, tiny_bundle: Bundle) -> None:
    folder = write_repository(tiny_bundle, home.parent / "models", Serving(engine=engine))
    code = TRITON.format(engine=engine, path=str(folder / "1/model.py"))
    assert guarded(code, socket_guard, home) == ("", [])


def test_the_page(socket_guard: Path, home: Path) -> None:
    pytest.importorskip("gradio", reason="the page needs the extra app")
    code = """
from maskanim.app.limits import Limits
from maskanim.app.server import page
from maskanim.app.worker import ModelWorker
with ModelWorker() as worker, page("127.0.0.1", worker, Limits()):
    worker.submit("demo", "ort", lambda loaded: None).result()
"""
    assert guarded(code, socket_guard, home) == ("", [])


@pytest.mark.parametrize("module", ["export.parity", "benchmarks.judges.networks", "runtime.cuda.ort"])
def test_importing(module: str, socket_guard: Path, home: Path) -> None:
    code = f"import maskanim.{module}, openvino, onnxruntime, time; time.sleep(1)"
    assert guarded(code, socket_guard, home) == ("", [])
