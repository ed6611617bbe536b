"""Which engine runs: the one asked for or an error, and with auto the first that really works."""

from __future__ import annotations

import sys
from pathlib import Path
from types import ModuleType

import pytest

from maskanim.bundle import Bundle, network_file, write_bundle
from maskanim.errors import MaskanimError, MissingPackageError
from maskanim.ops import Array
from maskanim.runtime.sessions import ENGINES, open_nets
from maskanim.runtime.sessions.engines import Engine
from maskanim.spec import NETWORKS, NetworkName


def uninstall(monkeypatch: pytest.MonkeyPatch, engine: str) -> None:
    monkeypatch.setitem(sys.modules, ENGINES[engine].package, None)
    monkeypatch.delitem(sys.modules, ENGINES[engine].module, raising=False)


def with_network(bundle: Bundle, place: Path, name: NetworkName, content: bytes) -> Bundle:
    """The bundle with another file for one network, and a manifest that says so."""
    contents = {n: content if n == name else bundle.network(n).read_bytes() for n in NETWORKS}
    networks = {n: network_file(n, c) for n, c in contents.items()}
    return write_bundle(place / "other", bundle.manifest.model_copy(update={"networks": networks}), contents)


@pytest.mark.parametrize("engine", ENGINES)
def test_the_named_engine_runs(tiny_bundle: Bundle, engine: str) -> None:
    nets = open_nets(tiny_bundle, engine)
    assert nets.engine.name == engine and not nets.engine.passed_over
    nets.close()


def test_auto_takes_the_first(tiny_bundle: Bundle) -> None:
    nets = open_nets(tiny_bundle)
    assert nets.engine.name == "openvino" and not nets.engine.passed_over
    assert nets.engine.detail.startswith("OpenVINO 20")


def test_auto_tells_what_it_passed_over(tiny_bundle: Bundle, monkeypatch: pytest.MonkeyPatch) -> None:
    uninstall(monkeypatch, "openvino")
    nets = open_nets(tiny_bundle)
    assert nets.engine.name == "ort"
    assert "package openvino is not installed" in nets.engine.passed_over["openvino"]


def test_auto_passes_over_an_engine_that_opens_and_does_not_run(
    tiny_bundle: Bundle, monkeypatch: pytest.MonkeyPatch
) -> None:
    from maskanim.runtime.sessions import openvino

    class Broken(openvino.OpenVinoSession):
        def _run(self, inputs: object) -> Array:
            raise RuntimeError("no such\ninstruction")

    monkeypatch.setattr(openvino, "OpenVinoSession", Broken)
    nets = open_nets(tiny_bundle)
    assert nets.engine.name == "ort"
    assert "running network m: OpenVINO failed (instruction)" in nets.engine.passed_over["openvino"]


def test_a_named_engine_is_never_replaced(tiny_bundle: Bundle, monkeypatch: pytest.MonkeyPatch) -> None:
    uninstall(monkeypatch, "openvino")
    with pytest.raises(MissingPackageError, match=r"package openvino is not installed.*maskanim\[cpu\]"):
        open_nets(tiny_bundle, "openvino")


def test_no_engine_works(tiny_bundle: Bundle, monkeypatch: pytest.MonkeyPatch) -> None:
    for engine in ENGINES:
        uninstall(monkeypatch, engine)
    with pytest.raises(MaskanimError, match=r"engine auto: openvino does not work.*; ort does not work"):
        open_nets(tiny_bundle)


def test_a_package_that_is_broken_is_not_called_missing(tiny_bundle: Bundle, monkeypatch: pytest.MonkeyPatch) -> None:
    class Broken(ModuleType):
        def __getattr__(self, name: str) -> object:
            raise ImportError("libsomething.so: cannot open shared object file")

    monkeypatch.setitem(sys.modules, "broken_engine", Broken("broken_engine"))
    monkeypatch.setitem(ENGINES, "broken", Engine("broken", "cpu", "broken_engine"))
    with pytest.raises(MaskanimError, match=r"broken cannot be imported \(libsomething") as error:
        open_nets(tiny_bundle, "broken")
    assert not isinstance(error.value, MissingPackageError)


def test_an_unknown_engine_lists_the_known(tiny_bundle: Bundle) -> None:
    with pytest.raises(MaskanimError, match="engine tpu: no such engine; expected one of auto, openvino, ort"):
        open_nets(tiny_bundle, "tpu")


@pytest.mark.parametrize("engine", ENGINES)
def test_a_network_that_cannot_be_loaded(tiny_bundle: Bundle, tmp_path: Path, engine: str) -> None:
    broken = with_network(tiny_bundle, tmp_path, "r", tiny_bundle.network("r").read_bytes()[:5000])
    with pytest.raises(MaskanimError) as error:
        open_nets(broken, engine)
    message = str(error.value)
    assert "network r" in message and ("OpenVINO" in message or "ONNX Runtime" in message)
    assert "\n" not in message


@pytest.mark.parametrize("engine", ENGINES)
def test_a_network_of_another_signature(tiny_bundle: Bundle, tmp_path: Path, engine: str) -> None:
    swapped = with_network(tiny_bundle, tmp_path, "l", tiny_bundle.network("r").read_bytes())
    with pytest.raises(MaskanimError, match=r"network l: inputs perturbed_mask.*expected inputs refined_mask"):
        open_nets(swapped, engine)
