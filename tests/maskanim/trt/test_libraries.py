"""Libraries that load, are missing, are half installed, or are too old."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from maskanim.errors import MaskanimError, MissingPackageError
from maskanim.trt.libraries import LIBRARIES, LibraryName, LoadedLibrary, load_library

UNLOADABLE = 'raise ImportError("libnvinfer.so.10: cannot open shared object file: No such file or directory")'


@pytest.fixture
def packages(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """A folder of packages found before any other; whatever is installed of the two libraries is hidden."""
    for module in of_the_libraries():
        monkeypatch.delitem(sys.modules, module)
    monkeypatch.syspath_prepend(tmp_path)
    yield tmp_path
    for module in of_the_libraries():
        del sys.modules[module]  # before monkeypatch puts the real ones back


def load_anew(name: LibraryName) -> LoadedLibrary:
    return load_library.__wrapped__(name)


def of_the_libraries() -> list[str]:
    names = {name for library in LIBRARIES.values() for name in (library.module, library.bindings)}
    return [module for module in sys.modules if module.split(".")[0] in names]


def write(packages: Path, **modules: str) -> None:
    for name, source in modules.items():
        (packages / f"{name}.py").write_text(source, "utf-8")


@pytest.mark.parametrize("name", LIBRARIES)
def test_missing(name: LibraryName, packages: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for module in (LIBRARIES[name].module, LIBRARIES[name].bindings):
        monkeypatch.setitem(sys.modules, module, None)  # how Python says: not importable
    with pytest.raises(
        MissingPackageError, match=rf"--engine {name}: the package {LIBRARIES[name].module} is not"
    ) as e:
        load_anew(name)
    assert f"pip install 'maskanim[{name}]'" in str(e.value)


def test_the_lean_runtime_where_only_that_is_there(packages: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    logger = "class ILogger: pass\n"
    monkeypatch.setitem(sys.modules, "tensorrt", None)
    write(packages, tensorrt_lean=f"__version__ = '11.4.0.106'\n{logger}")
    library = load_anew("trt")
    assert library.is_lean and library.full_name == "TensorRT lean 11.4.0.106" and library.known == LIBRARIES["trt"]
    monkeypatch.delitem(sys.modules, "tensorrt")
    write(packages, tensorrt=f"__version__ = '11.4.0.106'\n{logger}")
    assert not load_anew("trt").is_lean
    del sys.modules["tensorrt_lean"]
    monkeypatch.setitem(sys.modules, "tensorrt", None)
    write(packages, tensorrt_lean=UNLOADABLE)
    with pytest.raises(MaskanimError, match="TensorRT is not wholly installed, it does not load: libnvinfer"):
        load_anew("trt")


def test_only_the_bindings(packages: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "tensorrt", None)
    write(packages, tensorrt_bindings=UNLOADABLE)
    with pytest.raises(MaskanimError, match="only the package tensorrt_bindings is, without tensorrt"):
        load_anew("trt")


def test_shared_libraries_missing(packages: Path) -> None:
    write(packages, tensorrt="from tensorrt_bindings import *", tensorrt_bindings=UNLOADABLE)
    with pytest.raises(MaskanimError) as e:
        load_anew("trt")
    told = str(e.value)
    assert "not wholly installed, it does not load: libnvinfer.so.10: cannot open" in told
    assert "\n" not in told and "maskanim[trt]" in told


@pytest.mark.parametrize(("name", "version"), [("trt", "8.6.1.post1"), ("trt", "10.11.0.33"), ("rtx", "1.1.1.26")])
def test_too_old(name: LibraryName, version: str, packages: Path) -> None:
    write(packages, **{LIBRARIES[name].module: f"__version__ = '{version}'"})
    with pytest.raises(MaskanimError, match=rf"{LIBRARIES[name].title} {version}; expected \d+.\d+ or newer"):
        load_anew(name)


def test_rtx_loads_once_and_keeps_its_messages(rtx: LoadedLibrary, capfd: pytest.CaptureFixture[str]) -> None:
    assert rtx.version == rtx.module.__version__ and rtx.full_name == f"TensorRT-RTX {rtx.version}"
    assert load_library("rtx") is rtx
    rtx.logger.errors.clear()
    severity = rtx.module.ILogger.Severity
    for level in (severity.INTERNAL_ERROR, severity.ERROR, severity.WARNING, severity.INFO, severity.VERBOSE):
        rtx.logger.log(level, level.name)
    assert list(rtx.logger.errors) == ["INTERNAL_ERROR", "ERROR"]
    for index in range(1000):
        rtx.logger.log(severity.ERROR, str(index))
    assert len(rtx.logger.errors) == 50 and rtx.logger.errors[-1] == "999"
    assert capfd.readouterr() == ("", "")
