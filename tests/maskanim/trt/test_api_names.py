"""Every name of the TensorRT API that this code touches exists in TensorRT 10 and 11 and in TensorRT-RTX.

What the code touches is read from its sources. TensorRT's bindings are imported as they are published, over libraries
that stand in for TensorRT's own: those are large, and do nothing without a GPU.
"""

from __future__ import annotations

import ast
import json
import os
import platform
import re
import shutil
import subprocess
import sys
import zipfile
from collections.abc import Callable
from pathlib import Path

import pytest

import maskanim
import maskanim.runtime
from maskanim.trt.libraries import LoadedLibrary

STAND_IN = Path(__file__).with_name("trt_standin.c")
# Version and package: the oldest that is promised, the last of 10, and the newest.
BINDINGS = {
    "10.12.0.36": "tensorrt-cu12-bindings",
    "10.16.1.11": "tensorrt-cu13-bindings",
    "11.4.0.106": "tensorrt-cu13-bindings",
}
LEAN = "tensorrt-lean-cu13-bindings", "11.4.0.106"
SHARED = ("libnvinfer", "libnvinfer_plugin", "libnvonnxparser", "libnvinfer_lean")
DOWNLOAD_SECONDS = 120

TRT = Path(maskanim.__file__).parent / "trt"
CUDA = Path(maskanim.runtime.__file__).parent / "cuda"

# Per file: expressions that hold an object of the API, and its class; "" is the module.
OBJECTS: dict[Path, dict[str, str]] = {
    TRT / "libraries.py": {"module": ""},
    TRT / "records.py": {"library.module": ""},
    TRT / "builder.py": {
        "module": "",
        "self.module": "",
        "self.builder": "Builder",
        "self.network": "INetworkDefinition",
        "self.network.get_layer(index)": "ILayer",
        "self.parser": "OnnxParser",
        "error": "ParserError",
        "error.code()": "ErrorCode",
        "config": "IBuilderConfig",
        "profile": "IOptimizationProfile",
        "cache": "ITimingCache",
        "tensor": "ITensor",
    },
    CUDA / "tensorrt.py": {
        "module": "",
        "library.module": "",
        "network.library.module": "",
        "self.library.module": "",
        "types": "DataType",
        "found": "DataType",
        "specialization": "DynamicShapesKernelSpecializationStrategy",
        "self._runtime": "Runtime",
        "engine": "ICudaEngine",
        "self.engine": "ICudaEngine",
        "network.engine": "ICudaEngine",
        "config": "IRuntimeConfig",
        "self._context": "IExecutionContext",
        "refitter": "Refitter",
        "parser": "OnnxParserRefitter",
        "self.engine.create_engine_inspector()": "EngineInspector",
        "wanted": "DataType",
    },
}
# Per file: names, and attributes of self, whose attributes are not the API's; and text that comes from the API.
OTHERS: dict[Path, str] = {
    TRT / "libraries.py": "Log error importlib library re str self self.errors self.known",
    TRT / "records.py": "LIBRARIES batch checks gpu key library more name options part re request self str targets "
    "text",
    TRT
    / "builder.py": "NETWORKS SOURCE_PLACE batch build entry error.code().name error.desc() library messages options "
    "partial path phase phases re self self.loaded self.phases self.progress signal spec target "
    "threading timing_cache",
    CUDA / "tensorrt.py": "HALF_NAMES NETWORKS array ctypes ctypes.pythonapi errors failing inputs library log memory "
    "network options output owned profile re self self._owned self.library self.network self.options self.spec "
    "self.stream spec stream super t tensor",
}
# TensorRT builds for its own GPU, allocates nothing while it runs, and has its kernels ready before.
RTX_ONLY = {
    "ComputeCapability",
    "ComputeCapability.__members__",
    "BuilderFlag.REQUIRE_USER_ALLOCATION",
    "IBuilderConfig.num_compute_capabilities",
    "IBuilderConfig.set_compute_capability",
    "DynamicShapesKernelSpecializationStrategy.EAGER",
    "IRuntimeConfig.dynamic_shapes_kernel_specialization_strategy",
}

# What the lean runtime does without: it puts no weights in, and does not say what is in an engine.
NOT_LEAN = {
    "Refitter",
    "Refitter.refit_cuda_engine",
    "OnnxParserRefitter",
    "OnnxParserRefitter.refit_from_bytes",
    "EngineInspector.get_engine_information",
}

CHECK = """
import importlib, json, sys
from functools import reduce
module = importlib.import_module(sys.argv[1])
def has(name):
    try:
        reduce(getattr, name.split("."), module)
    except AttributeError:
        return False
    return True
print(json.dumps([module.__version__, [name for name in json.loads(sys.argv[2]) if not has(name)]]))
"""
BUILD = """
from maskanim.errors import MaskanimError
from maskanim.trt.builder import build_engine
from maskanim.trt.libraries import load_library
from maskanim.trt.records import BuildOptions
try:
    build_engine(load_library("trt"), b"", "m", BuildOptions())
except MaskanimError as error:
    print(error)
"""
RUN = """
from maskanim.runtime.cuda.tensorrt import TensorRTNetwork
from maskanim.spec import NETWORKS
try:
    TensorRTNetwork(NETWORKS["m"], b"", load_library("trt"))
except MaskanimError as error:
    print(error)
"""


@pytest.fixture(scope="module")
def libraries(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The stand-ins under the names of both versions' libraries."""
    compiler = shutil.which("cc") or shutil.which("gcc")
    if compiler is None or (platform.system(), platform.machine()) != ("Linux", "x86_64"):
        pytest.skip("stand-ins for TensorRT's libraries need a C compiler on Linux, x86_64")
    folder = tmp_path_factory.mktemp("libraries")
    for version in BINDINGS:
        for name in SHARED:
            file = f"{name}.so.{version.split('.')[0]}"
            (folder / version).mkdir(exist_ok=True)
            command = [compiler, "-shared", "-fPIC", f"-Wl,-soname,{file}", STAND_IN, "-o", folder / version / file]
            subprocess.run(command, check=True)
    return folder


@pytest.fixture(scope="module")
def bindings(tmp_path_factory: pytest.TempPathFactory, pytestconfig: pytest.Config) -> Callable[..., Path]:
    """The unpacked wheel of a version; downloaded once, and kept in pytest's cache."""
    assert pytestconfig.cache is not None
    cached = pytestconfig.cache.mkdir("tensorrt-bindings")

    def unpack(version: str, package: str = "") -> Path:
        python = f"cp{sys.version_info.major}{sys.version_info.minor}"
        package = package or BINDINGS[version]
        pattern = f"{package.replace('-', '_')}-{version}-{python}-*.whl"
        if not list(cached.glob(pattern)):
            _download(f"{package}=={version}", cached)
        (wheel,) = cached.glob(pattern)
        folder = tmp_path_factory.mktemp("bindings")
        zipfile.ZipFile(wheel).extractall(folder)
        return folder

    return unpack


def _download(requirement: str, folder: Path) -> None:
    command = [
        sys.executable,
        "-m",
        "pip",
        "download",
        "--no-deps",
        "--only-binary=:all:",
        "--dest",
        folder,
        requirement,
    ]
    try:
        done = subprocess.run(command, capture_output=True, text=True, timeout=DOWNLOAD_SECONDS)
    except subprocess.TimeoutExpired:
        pytest.skip(f"no {requirement}: no answer within {DOWNLOAD_SECONDS} s")
    if done.returncode:
        pytest.skip(f"no {requirement}: {(done.stderr.strip().splitlines() or ['pip failed'])[-1]}")


def touched(path: Path) -> set[str]:
    """The dotted names of the API in a source file; raises where an expression is in neither table."""
    tree = ast.parse(path.read_text("utf-8"))
    names, unknown = set(), set()
    for node in ast.walk(tree):
        if isinstance(node, ast.Attribute):
            owner = _class_of(node.value, OBJECTS[path])
            if owner is not None:
                names.add(f"{owner}.{node.attr}".lstrip("."))
            elif not _is_other(node.value, path):
                unknown.add(ast.unparse(node.value))
        elif isinstance(node, ast.ClassDef):
            owners = [owner for base in node.bases if (owner := _class_of(base, OBJECTS[path]))]
            methods = [entry.name for entry in node.body if isinstance(entry, ast.FunctionDef)]
            names |= {f"{owner}.{method}" for owner in owners for method in methods}
    assert not unknown, f"{path.name}: of the API or not? Add to OBJECTS or OTHERS: {sorted(unknown)}"
    return names


def _class_of(node: ast.expr, objects: dict[str, str]) -> str | None:
    """The class of the API that an expression holds, or is."""
    text = ast.unparse(node)
    if text in objects:
        return objects[text]
    modules = [name for name, owner in objects.items() if not owner and text.startswith(f"{name}.")]
    return text.removeprefix(f"{modules[0]}.") if modules and "(" not in text else None


def _is_other(node: ast.expr, path: Path) -> bool:
    others = OTHERS[path].split()
    while ast.unparse(node) not in others:
        if _class_of(node, OBJECTS[path]) is not None:
            return False  # what the API returns is listed by itself
        if isinstance(node, ast.Attribute | ast.Subscript) and ast.unparse(node.value) != "self":
            node = node.value
        elif isinstance(node, ast.Call):
            node = node.func
        else:
            return not isinstance(node, ast.Name | ast.Attribute)  # literals and other Python
    return True


def all_touched() -> set[str]:
    return set().union(*map(touched, OBJECTS))


def check(python: str, *arguments: str) -> tuple[str, list[str]]:
    done = subprocess.run([sys.executable, "-c", python, *arguments], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    version, missing = json.loads(done.stdout)
    return version, missing


def test_what_is_read_from_the_sources() -> None:
    names = all_touched()
    assert {
        "Builder",
        "Builder.build_serialized_network",
        "BuilderFlag.TF32",
        "IProgressMonitor.step_complete",
    } <= names
    assert {"ILogger.Severity.WARNING", "ILogger.log", "ParserError.node_name", "ITensor.dtype", "ILayer.name"} <= names
    assert names >= RTX_ONLY


def test_every_file_that_touches_the_api_is_read() -> None:
    candidates = [*TRT.glob("*.py"), *CUDA.glob("*.py")]
    using = {path for path in candidates if re.search(r"\bmodule\.[A-Z]", path.read_text("utf-8"))}
    assert using == set(OBJECTS)


def test_tensorrt_rtx(rtx: LoadedLibrary) -> None:
    version, missing = check(CHECK, rtx.known.module, json.dumps(sorted(all_touched())))
    assert (version, missing) == (rtx.version, [])


@pytest.mark.parametrize("version", BINDINGS)
def test_tensorrt(version: str, bindings: Callable[..., Path], libraries: Path) -> None:
    python = preamble(bindings(version), libraries / version) + CHECK
    names = sorted(all_touched() - RTX_ONLY)
    assert check(python, "tensorrt_bindings", json.dumps(names)) == (version, [])
    wrong = ["BuilderFlag.NO_SUCH", "ICudaEngine.no_such", "NoSuch"]
    assert check(python, "tensorrt_bindings", json.dumps(wrong)) == (version, wrong)


def test_the_lean_runtime(bindings: Callable[..., Path], libraries: Path) -> None:
    package, version = LEAN
    python = preamble(bindings(version, package), libraries / version) + CHECK
    runs = touched(CUDA / "tensorrt.py") | touched(TRT / "libraries.py")
    names = json.dumps(sorted(runs - RTX_ONLY - NOT_LEAN))
    assert check(python, "tensorrt_lean_bindings", names) == (version, [])
    assert check(python, "tensorrt_lean_bindings", '["Builder"]') == (version, ["Builder"])


@pytest.mark.parametrize("version", BINDINGS)
def test_tensorrt_that_does_not_start(
    version: str, bindings: Callable[..., Path], libraries: Path, tmp_path: Path
) -> None:
    """The library returns no builder where there is no GPU; the bindings make a TypeError of it, and we one line."""
    (tmp_path / "tensorrt.py").write_text("from tensorrt_bindings import *\nfrom tensorrt_bindings import __version__")
    python = (
        f"import sys; sys.path.insert(0, {os.fspath(tmp_path)!r})\n{preamble(bindings(version), libraries / version)}"
    )
    done = subprocess.run([sys.executable, "-c", python + BUILD + RUN], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    built, run = done.stdout.splitlines()
    assert built.startswith(f"network m: TensorRT {version} does not start, it does not say why; expected")
    assert run.startswith(f"loading network m: TensorRT {version} refuses: ")


@pytest.mark.parametrize("version", BINDINGS)
def test_bindings_without_the_libraries(version: str, bindings: Callable[..., Path], tmp_path: Path) -> None:
    """What pip leaves where only the bindings are installed, or TensorRT's libraries are not beside them."""
    (tmp_path / "tensorrt.py").write_text("from tensorrt_bindings import *")
    folder = bindings(version)
    python = f"import sys; sys.path.insert(0, {os.fspath(folder)!r})\n"
    bare = subprocess.run([sys.executable, "-c", python + BUILD], capture_output=True, text=True)
    assert "only the package tensorrt_bindings is, without tensorrt" in bare.stdout
    python += f"sys.path.insert(0, {os.fspath(tmp_path)!r})\n"
    beside = subprocess.run([sys.executable, "-c", python + BUILD], capture_output=True, text=True)
    missing = rf"it does not load: libnv\w+\.so\.{version.split('.')[0]}: cannot open shared object"
    assert re.search(missing, beside.stdout)


def preamble(package: Path, libraries: Path) -> str:
    """Python that makes the bindings importable."""
    files = [os.fspath(path) for path in libraries.iterdir()]
    return f"import ctypes, sys; sys.path.insert(0, {os.fspath(package)!r})\n[ctypes.CDLL(file) for file in {files}]\n"
