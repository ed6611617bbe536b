"""The doctor on this machine, on broken packages, on a stand-in driver, and its verdicts on facts made up."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from typer.testing import CliRunner

from maskanim.bundle import Bundle, network_file, write_bundle
from maskanim.driver import Driver, Gpu
from maskanim.runtime.backends import BACKENDS
from maskanim.runtime.doctor.cli import app, report
from maskanim.runtime.doctor.compatibility import DISTRIBUTIONS, advice, chosen, obstacles, warnings
from maskanim.runtime.doctor.examination import examine
from maskanim.runtime.doctor.facts import Obstacle, Package, Verdict
from maskanim.runtime.doctor.subprocess_probe import ask
from maskanim.spec import NETWORKS

STAND_IN = Path(__file__).parents[1] / "maskanim" / "driver_standin.c"
NO_DRIVER = Driver(trouble="NVIDIA's driver is not installed")
H200 = Gpu(0, "NVIDIA H200", (9, 0), 141 << 30)
RTX4090 = Gpu(0, "NVIDIA GeForce RTX 4090", (8, 9), 24 << 30)
V100 = Gpu(0, "Tesla V100", (7, 0), 16 << 30)
CPU_ONLY = {"onnxruntime": "onnxruntime", "openvino": "openvino"}


def driver_with(gpu: Gpu, cuda: tuple[int, int] = (13, 0)) -> Driver:
    return Driver("580.0", cuda, (gpu,))


def packages_with(**distributions: str) -> dict[str, Package]:
    """All packages, of which those given load, each brought by the distributions named; `_` stands for a dot."""
    given = {module.replace("cuda_", "cuda."): names.split() for module, names in distributions.items()}
    providers = {"onnxruntime": "CPUExecutionProvider", "onnxruntime-gpu": "CUDAExecutionProvider"}
    return {
        module: Package(
            module,
            {name: "1.0" for name in given.get(module, [])},
            loads=True if module in given else None,
            providers=tuple(providers[name] for name in given.get(module, []) if name in providers),
        )
        for module in DISTRIBUTIONS
    }


def judged(packages: dict[str, Package], driver: Driver) -> list[Verdict]:
    found = {engine: obstacles(engine, packages, driver) for engine in BACKENDS}
    return [Verdict(engine, not those, False, obstacles=those) for engine, those in found.items()]


def kinds(engine: str, packages: dict[str, Package], driver: Driver) -> list[str]:
    return [obstacle.kind for obstacle in obstacles(engine, packages, driver)]


def test_this_machine(tiny_bundle: Bundle) -> None:
    """Both engines on the processor open the model and run, and JSON says so."""
    shown = CliRunner().invoke(app, ["--json", "--model", str(tiny_bundle.path)])
    assert shown.exit_code == 0, shown.output
    told = json.loads(shown.stdout)
    assert (told["format"], told["format_version"], told["can_run"]) == ("maskanim-doctor", 1, True)
    assert told["model"]["name"] == "tiny" and told["model"]["problem"] is None
    verdicts = {verdict["engine"]: verdict for verdict in told["engines"]}
    assert list(verdicts) == list(BACKENDS)
    for engine in ("openvino", "ort"):
        assert verdicts[engine]["runs"] and verdicts[engine]["tried"] and not verdicts[engine]["obstacles"]
    assert "OpenVINO" in verdicts["openvino"]["detail"] and "ONNX Runtime" in verdicts["ort"]["detail"]
    packages = {package["module"]: package for package in told["packages"]}
    assert packages["onnxruntime"]["loads"] and "CPUExecutionProvider" in packages["onnxruntime"]["providers"]
    assert packages["torch"]["distributions"]["torch"] and packages["torch"]["loads"] is None  # only looked up


def test_a_model_that_cannot_be_loaded(tiny_bundle: Bundle, tmp_path: Path) -> None:
    """Its hashes are right, so only a trial shows that nothing runs it."""
    contents = {name: tiny_bundle.network(name).read_bytes()[:3000] for name in NETWORKS}
    networks = {name: network_file(name, content) for name, content in contents.items()}
    manifest = tiny_bundle.manifest.model_copy(update={"networks": networks})
    bundle = write_bundle(tmp_path / "broken", manifest, contents)
    shown = CliRunner().invoke(app, ["--model", str(bundle.path)])
    assert shown.exit_code == 1
    assert "auto       nothing runs here" in shown.output and "OpenVINO failed" in shown.output


def compile_library(source: Path, library: Path) -> None:
    compiler = shutil.which("cc") or shutil.which("gcc")
    if compiler is None or not sys.platform.startswith("linux"):
        pytest.skip("there is no C compiler to build a stand-in for the driver")
    subprocess.run([compiler, "-shared", "-fPIC", source, "-o", library], check=True)


@pytest.fixture
def broken_machine(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Packages that crash, exit or fail in other ways when they are imported, and a driver that crashes."""
    modules = {
        "openvino": "import os, sys; print('loading'); print('terminate: no such thing', file=sys.stderr); os.abort()",
        "onnxruntime": "raise ImportError('libonnx.so: cannot open shared object file')",
        "tensorrt": "import sys; sys.exit(3)",
        "tensorrt_rtx": "import ctypes; ctypes.string_at(0)",
        "pycuda": "raise RuntimeError",
    }
    for name, code in modules.items():
        (tmp_path / f"{name}.py").write_text(code)
    monkeypatch.syspath_prepend(str(tmp_path))
    source = tmp_path / "crash.c"
    source.write_text("#include <stdlib.h>\nint cuDriverGetVersion(int *version) { abort(); }\n")
    compile_library(source, tmp_path / "libcuda.so.1")
    monkeypatch.setenv("LD_LIBRARY_PATH", str(tmp_path))


@pytest.mark.usefixtures("broken_machine")
def test_whatever_is_broken_the_doctor_lives() -> None:
    diagnosis = examine("demo", quick=True)
    problems = {package.module: package.problem for package in diagnosis.packages if package.loads is False}
    assert problems["openvino"] == "its process ended by signal SIGABRT (terminate: no such thing)"
    assert problems["onnxruntime"] == "ImportError: libonnx.so: cannot open shared object file"
    assert problems["tensorrt"] == "SystemExit: 3"
    assert problems["tensorrt_rtx"] == "its process ended by signal SIGSEGV"
    assert problems["pycuda"] == "RuntimeError"
    assert diagnosis.driver.trouble == "asking NVIDIA's driver failed: its process ended by signal SIGABRT"
    assert diagnosis.auto is None and not diagnosis.can_run and diagnosis.model.problem is None
    assert diagnosis.advice and diagnosis.advice.startswith("pip install --force-reinstall ")
    assert "openvino does not load: its process ended by signal SIGABRT" in "\n".join(report(diagnosis))


def test_a_package_that_hangs_is_given_up(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "sleeper.py").write_text(
        "import sys, time; print('building', file=sys.stderr, flush=True); time.sleep(99)"
    )
    monkeypatch.syspath_prepend(str(tmp_path))
    answer = ask("package", "sleeper", patience=5)
    assert answer.problem == "no answer within 5 s (building)" and answer.seconds < 60


def test_a_package_that_prints_and_crashes_on_the_way_out(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """What it prints is not taken for the answer, and its end does not matter once that is given."""
    (tmp_path / "noisy.py").write_text("import atexit, os; print('{}'); atexit.register(os.abort); __version__ = '7'")
    monkeypatch.syspath_prepend(str(tmp_path))
    answer = ask("package", "noisy", patience=60)
    assert answer.problem is None and answer.value == ("7", ())


def test_no_process_can_be_started(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "executable", "/no/such/python")
    assert "no process could be started" in str(ask("driver", patience=5).problem)


def test_the_driver_is_found_where_the_system_finds_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """And the JSON of a machine with GPUs: whoever renames one of these fields has to raise FORMAT_VERSION."""
    for name in ("libcuda.so.1", "libnvidia-ml.so.1"):
        compile_library(STAND_IN, tmp_path / name)
    monkeypatch.setenv("LD_LIBRARY_PATH", str(tmp_path))
    diagnosis = examine("no such model", quick=True)
    assert [gpu.architecture for gpu in diagnosis.driver.gpus] == ["sm_90", "sm_121"]
    lines = list(report(diagnosis))
    assert "driver     595.12.01; up to CUDA 13.2" in lines
    assert "GPU 0      NVIDIA Stand-in 40, compute capability 9.0, 141.0 GiB (140.0 free), SM 345 of 1980 MHz" in lines
    assert not diagnosis.can_run and "no such folder" in str(diagnosis.model.problem)

    told = json.loads(diagnosis.as_json())
    assert set(told) == {
        *("format", "format_version", "can_run", "maskanim", "machine", "driver", "packages", "model"),
        *("engines", "auto", "advice", "warnings", "seconds"),
    }
    assert set(told["machine"]) == {"platform", "python", "processor", "extensions", "cores"}
    assert set(told["driver"]) == {"version", "cuda", "gpus", "trouble"}
    assert set(told["driver"]["gpus"][0]) == {"index", "name", "capability", "memory", "memory_free", "clocks"}
    assert told["driver"]["gpus"][1]["capability"] == [12, 1]
    assert set(told["packages"][0]) == {"module", "distributions", "loads", "version", "problem", "providers"}
    assert set(told["model"]) == {"name", "size", "path", "why", "problem"}
    assert set(told["engines"][0]) == {"engine", "runs", "tried", "detail", "obstacles", "seconds"}


def test_all_that_is_missing_is_told_at_once() -> None:
    assert kinds("trt", packages_with(**CPU_ONLY), NO_DRIVER) == ["missing", "missing", "driver"]
    assert kinds("ort-cuda", packages_with(**CPU_ONLY), NO_DRIVER) == ["conflict", "missing", "driver"]
    assert kinds("openvino", packages_with(), NO_DRIVER) == ["missing"]


def test_tensorrts_lean_runtime_does_where_it_is_alone() -> None:
    packages = packages_with(tensorrt_lean="tensorrt-lean-cu13", cuda_core="cuda-core")
    assert obstacles("trt", packages, driver_with(H200)) == ()
    (obstacle,) = obstacles("trt", packages, driver_with(H200, cuda=(12, 4)))
    assert obstacle.text.startswith("tensorrt-lean-cu13 needs a driver for CUDA 13")


def test_tensorrt_rtx_does_not_run_on_an_h200() -> None:
    packages = packages_with(tensorrt_rtx="tensorrt-rtx-cu13", cuda_core="cuda-core")
    assert kinds("rtx", packages, driver_with(RTX4090)) == []
    (obstacle,) = obstacles("rtx", packages, driver_with(H200))
    listed = "sm_75, sm_80, sm_86, sm_89, sm_120, sm_121"
    assert obstacle == Obstacle("gpu", f"tensorrt_rtx does not support NVIDIA H200 (sm_90); it supports {listed}")


def test_a_gpu_that_is_too_old() -> None:
    packages = packages_with(tensorrt="tensorrt", cuda_core="cuda-core")
    (obstacle,) = obstacles("trt", packages, driver_with(V100))
    assert obstacle.text == "Tesla V100 (sm_70) is older than compute capability 7.5"


def test_a_driver_that_is_too_old_for_the_package() -> None:
    packages = packages_with(tensorrt_rtx="tensorrt-rtx-cu13", cuda_core="cuda-core")
    (obstacle,) = obstacles("rtx", packages, driver_with(RTX4090, (12, 4)))
    assert obstacle.text == "tensorrt-rtx-cu13 needs a driver for CUDA 13; this one supports up to 12.4"


def test_one_cuda_binding_that_loads_is_enough() -> None:
    packages = packages_with(tensorrt="tensorrt", cuda_core="cuda-core", pycuda="pycuda")
    packages["pycuda"] = Package("pycuda", {"pycuda": "1"}, False, problem="no toolkit")
    assert kinds("trt", packages, driver_with(H200)) == []
    packages["cuda.core"] = Package("cuda.core", {}, None)
    assert obstacles("trt", packages, driver_with(H200)) == (
        Obstacle("broken", "no CUDA binding loads (pycuda: no toolkit)"),
    )


@pytest.mark.parametrize(
    ("packages", "driver", "auto", "command"),
    [
        ({}, NO_DRIVER, None, "pip install 'maskanim[cpu]'"),
        ({"onnxruntime": "onnxruntime"}, NO_DRIVER, "ort", "pip install 'maskanim[cpu]'"),
        (CPU_ONLY, NO_DRIVER, "openvino", None),
        (CPU_ONLY, driver_with(H200), "openvino", "pip install 'maskanim[trt]'"),
        (CPU_ONLY, driver_with(V100), "openvino", None),
        ({"tensorrt": "tensorrt", "cuda_core": "cuda-core"}, driver_with(H200), "trt", None),
        (
            {"tensorrt_rtx": "tensorrt-rtx-cu13", "cuda_core": "cuda-core"},
            driver_with(RTX4090),
            "rtx",
            "pip install 'maskanim[trt]'",
        ),
        (
            {"onnxruntime": "onnxruntime onnxruntime-gpu", "openvino": "openvino"},
            NO_DRIVER,
            "openvino",
            "pip uninstall -y onnxruntime onnxruntime-gpu && pip install 'maskanim[cpu]'",
        ),
    ],
)
def test_the_one_thing_to_install(
    packages: dict[str, str], driver: Driver, auto: str | None, command: str | None
) -> None:
    there = packages_with(**packages)
    verdicts = judged(there, driver)
    assert (chosen(verdicts), advice(verdicts, there, driver)) == (auto, command)


def test_onnxruntime_makes_way_for_its_other_build() -> None:
    """TensorRT is there and fails for another reason: the next best engine needs onnxruntime-gpu instead."""
    there = packages_with(**CPU_ONLY, cuda_core="cuda-core", tensorrt="tensorrt-cu13")
    driver = driver_with(H200, (12, 4))
    expected = "pip uninstall -y onnxruntime && pip install 'maskanim[gpu]'"
    assert advice(judged(there, driver), there, driver) == expected


def test_both_builds_of_onnxruntime_are_a_warning() -> None:
    both = packages_with(onnxruntime="onnxruntime onnxruntime-gpu")
    assert "onnxruntime and onnxruntime-gpu are both installed" in warnings(both)[0]
    assert not warnings(packages_with(**CPU_ONLY))


def test_a_mistake_in_the_command_line_has_its_own_exit_code() -> None:
    assert CliRunner().invoke(app, ["--timeout", "0"]).exit_code == 2


def test_the_doctor_itself_imports_no_inference_library() -> None:
    code = "import sys, maskanim.runtime.doctor.cli; print(*sys.modules)"
    loaded = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout.split()
    assert not {"torch", "onnx", "onnxruntime", "openvino", "tensorrt", "tensorrt_rtx", "cuda.core"} & set(loaded)
