"""Which engine runs: the one asked for or an error, and with auto the first that really works."""

from __future__ import annotations

import re
import subprocess
import sys
from collections.abc import Iterator, Sequence
from contextlib import closing, contextmanager
from pathlib import Path
from types import ModuleType

import pytest

from maskanim.bundle import Bundle, network_file, write_bundle
from maskanim.errors import MaskanimError, MissingPackageError
from maskanim.ops import Array
from maskanim.runtime.backends import BACKENDS, Backend, BackendInUse, RunOptions, open_runner
from maskanim.runtime.sessions.session import Infer, Session
from maskanim.spec import NETWORKS, NetworkName, NetworkSpec

if sys.version_info >= (3, 11):
    import tomllib
else:
    import tomli as tomllib

ON_PROCESSORS = [name for name, backend in BACKENDS.items() if not backend.gpu]


def uninstall(monkeypatch: pytest.MonkeyPatch, engine: str) -> None:
    monkeypatch.setitem(sys.modules, BACKENDS[engine].package, None)
    monkeypatch.delitem(sys.modules, BACKENDS[engine].module, raising=False)


def with_network(bundle: Bundle, place: Path, name: NetworkName, content: bytes) -> Bundle:
    """The bundle with another file for one network, and a manifest that says so."""
    contents = {n: content if n == name else bundle.network(n).read_bytes() for n in NETWORKS}
    networks = {n: network_file(n, c) for n, c in contents.items()}
    return write_bundle(place / "other", bundle.manifest.model_copy(update={"networks": networks}), contents)


def failing(monkeypatch: pytest.MonkeyPatch, network: NetworkName, message: str) -> None:
    """OpenVINO loads a network, and cannot run it."""
    from maskanim.runtime.sessions import openvino

    class Failing(Session):
        def __init__(self, spec: NetworkSpec, library: str, infer: Infer) -> None:
            def refuse(values: Sequence[Array]) -> Array:
                raise RuntimeError(message)

            super().__init__(spec, library, refuse if spec.name == network else infer)

    monkeypatch.setattr(openvino, "Session", Failing)


@contextmanager
def opened(bundle: Bundle, engine: str = "auto") -> Iterator[BackendInUse]:
    runner, used = open_runner(bundle, engine)
    with closing(runner):
        yield used


@pytest.mark.parametrize("engine", ON_PROCESSORS)
def test_the_named_engine_runs(tiny_bundle: Bundle, engine: str) -> None:
    with opened(tiny_bundle, engine) as used:
        assert used.name == engine and not used.passed_over


def test_auto_takes_the_first_that_works_and_tells_what_it_passed_over(tiny_bundle: Bundle) -> None:
    with opened(tiny_bundle) as used:
        assert used.name == "openvino" and used.detail.startswith("OpenVINO 20")
        assert list(used.passed_over) == ["trt", "rtx", "ort-cuda"]
        assert used.passed_over["rtx"] == "the GPU: no NVIDIA driver; expected an NVIDIA GPU with its driver."


def test_auto_passes_over_a_missing_package(tiny_bundle: Bundle, monkeypatch: pytest.MonkeyPatch) -> None:
    uninstall(monkeypatch, "openvino")
    with opened(tiny_bundle) as used:
        assert used.name == "ort"
        assert "package openvino is not installed" in used.passed_over["openvino"]


def test_auto_passes_over_an_engine_that_opens_and_does_not_run(
    tiny_bundle: Bundle, monkeypatch: pytest.MonkeyPatch
) -> None:
    failing(monkeypatch, "m", "no such\ninstruction")
    with opened(tiny_bundle) as used:
        assert used.name == "ort"
        assert "running network m: OpenVINO failed (instruction)" in used.passed_over["openvino"]


def test_signals_are_heard_after_openvino_was_closed_twice(tiny_bundle: Bundle) -> None:
    # A core of its own for each would leave the main thread with a signal stack that is no longer mapped.
    code = f"""
import gc, os, signal
from pathlib import Path
from maskanim.bundle import Bundle
from maskanim.runtime.backends import open_runner
signal.signal(signal.SIGUSR1, lambda *_: print("heard"))
first, second = (open_runner(Bundle.open(Path({str(tiny_bundle.path)!r})), "openvino")[0] for _ in range(2))
for runner in (first, second):
    runner.close()
    gc.collect()
os.kill(os.getpid(), signal.SIGUSR1)
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert (done.returncode, done.stdout) == (0, "heard\n"), done.stderr


def test_a_named_engine_is_never_replaced(tiny_bundle: Bundle, monkeypatch: pytest.MonkeyPatch) -> None:
    uninstall(monkeypatch, "openvino")
    with pytest.raises(MissingPackageError, match=r"package openvino is not installed.*maskanim\[cpu\]"):
        open_runner(tiny_bundle, "openvino")
    for engine in ("trt", "rtx", "ort-cuda"):
        told = f"^engine {engine}, the GPU: no NVIDIA driver; expected .*maskanim-doctor says which engines run here"
        with pytest.raises(MaskanimError, match=told):
            open_runner(tiny_bundle, engine)


def test_no_engine_works(tiny_bundle: Bundle, monkeypatch: pytest.MonkeyPatch) -> None:
    for engine in ON_PROCESSORS:
        uninstall(monkeypatch, engine)
    with pytest.raises(MaskanimError, match=r"engine auto: trt does not work.*; ort does not work"):
        open_runner(tiny_bundle)


@pytest.mark.parametrize(
    ("options", "told"),
    [
        (RunOptions(batch=0), "batch: 0; expected a positive number"),
        (RunOptions(precision="fp8"), "precision fp8: no such precision; expected one of fp16, fp32, int8"),
        (RunOptions(cuda_binding="numba"), "CUDA binding numba: .* one of cuda-core, pycuda"),
    ],
)
def test_options_are_checked_first(tiny_bundle: Bundle, options: RunOptions, told: str) -> None:
    with pytest.raises(MaskanimError, match=told):
        open_runner(tiny_bundle, "ort", options)


@pytest.mark.parametrize("kind", [ImportError, OSError, RuntimeError])
def test_a_package_that_is_broken_is_not_called_missing(
    tiny_bundle: Bundle, monkeypatch: pytest.MonkeyPatch, kind: type[Exception]
) -> None:
    class Broken(ModuleType):
        def __getattr__(self, name: str) -> object:
            raise kind("libsomething.so: cannot open shared object file")

    monkeypatch.setitem(sys.modules, "broken_engine", Broken("broken_engine"))
    monkeypatch.setitem(BACKENDS, "broken", Backend("broken", (), "cpu", "broken_engine"))
    with pytest.raises(MaskanimError, match=r"broken cannot be imported \(libsomething") as error:
        open_runner(tiny_bundle, "broken")
    assert not isinstance(error.value, MissingPackageError)


def test_an_unknown_engine_lists_the_known(tiny_bundle: Bundle) -> None:
    with pytest.raises(
        MaskanimError, match="engine tpu: no such engine; expected one of auto, trt, rtx, ort-cuda, openvino, ort"
    ):
        open_runner(tiny_bundle, "tpu")


@pytest.mark.parametrize("engine", ON_PROCESSORS)
def test_a_network_that_cannot_be_loaded(tiny_bundle: Bundle, tmp_path: Path, engine: str) -> None:
    broken = with_network(tiny_bundle, tmp_path, "r", tiny_bundle.network("r").read_bytes()[:5000])
    with pytest.raises(MaskanimError) as error:
        open_runner(broken, engine)
    message = str(error.value)
    assert "network r" in message and ("OpenVINO" in message or "ONNX Runtime" in message)
    assert "\n" not in message


@pytest.mark.parametrize("engine", ON_PROCESSORS)
def test_a_network_of_another_signature(tiny_bundle: Bundle, tmp_path: Path, engine: str) -> None:
    swapped = with_network(tiny_bundle, tmp_path, "l", tiny_bundle.network("r").read_bytes())
    with pytest.raises(MaskanimError, match=r"network l: inputs perturbed_mask.*expected inputs refined_mask"):
        open_runner(swapped, engine)


def test_auto_passes_over_a_backend_whose_last_network_fails(
    tiny_bundle: Bundle, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A whole frame is the proof: m alone would pass."""
    failing(monkeypatch, "h", "out of memory")
    with opened(tiny_bundle) as used:
        assert used.name == "ort" and "running network h: OpenVINO failed" in used.passed_over["openvino"]


def test_every_backend_is_brought_by_its_extra() -> None:
    project = tomllib.loads((Path(__file__).parents[2] / "pyproject.toml").read_text("utf-8"))["project"]
    for name, backend in BACKENDS.items():
        needed = " ".join(project["optional-dependencies"][backend.extra])
        assert any(f"{each}>=" in needed for each in backend.distributions), name


def test_the_readme_lists_every_backend_in_the_order_of_auto() -> None:
    readme = (Path(__file__).parents[2] / "README.md").read_text("utf-8")
    rows = re.findall(r"^\| `([a-z-]+)` \|", readme, re.MULTILINE)
    assert [name for name in dict.fromkeys(rows) if name in BACKENDS] == list(BACKENDS)
