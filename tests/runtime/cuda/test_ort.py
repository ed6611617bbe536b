"""ONNX Runtime over addresses: on the host's, with the very code that runs on a GPU's."""

from __future__ import annotations

from collections.abc import Iterator
from types import SimpleNamespace
from typing import Any

import numpy as np
import onnxruntime as ort
import pytest

from helpers import toys
from maskanim.errors import MaskanimError
from maskanim.half import to_half
from maskanim.runtime.cuda import ort as cuda_ort
from maskanim.runtime.cuda.arrays import DeviceArray
from maskanim.runtime.cuda.ort import OrtNetwork, open_networks
from maskanim.spec import NETWORK_NAMES, NETWORKS, NetworkName

STREAM: Any = SimpleNamespace(handle=4711)


def content(name: NetworkName, half: bool) -> bytes:
    return to_half(toys.toy(name), name) if half else toys.toy(name)


def at(array: np.ndarray[Any, Any]) -> DeviceArray:
    return DeviceArray(array.ctypes.data, array.shape, array.dtype, owner=array)


def arrays_for(network: OrtNetwork, batch: int, seed: int = 0) -> tuple[dict[str, Any], Any]:
    """Random inputs, and an output that no run can leave as it is."""
    rng, spec = np.random.default_rng(seed), network.spec
    inputs = {t.name: rng.random(t.shape(batch)).astype(network.dtypes[t.name]) for t in spec.inputs}
    return inputs, np.full(spec.output.shape(batch), np.nan, network.dtypes[spec.output.name])


@pytest.fixture(params=[False, True], ids=["float", "half"])
def networks(request: pytest.FixtureRequest) -> Iterator[dict[NetworkName, Any]]:
    opened = open_networks({name: content(name, request.param) for name in NETWORK_NAMES}, "cpu")
    yield opened
    for network in opened.values():
        network.close()


@pytest.mark.parametrize("name", NETWORK_NAMES)
def test_types_are_the_files(networks: dict[NetworkName, Any], name: NetworkName) -> None:
    network = networks[name]
    half = networks["m"].dtypes["image"] == np.float16
    for tensor in (*network.spec.inputs, network.spec.output):
        assert network.dtypes[tensor.name] == (np.float16 if half and tensor.channels == 3 else np.float32)
    assert network.max_batch is None


@pytest.mark.parametrize("batch", [1, 3])
@pytest.mark.parametrize("name", NETWORK_NAMES)
def test_a_run_writes_to_its_output_what_the_file_computes(
    networks: dict[NetworkName, Any], name: NetworkName, batch: int
) -> None:
    network = networks[name]
    with network.session(batch, STREAM) as session:
        assert not session.capturable
        for seed in range(3):  # at other addresses each time
            inputs, output = arrays_for(network, batch, seed)
            session.enqueue({tensor: at(array) for tensor, array in inputs.items()}, at(output))
            (wanted,) = ort.InferenceSession(network.content).run(None, inputs)
            np.testing.assert_array_equal(output, wanted)


def test_the_same_addresses_are_read_anew(networks: dict[NetworkName, Any]) -> None:
    network = networks["r"]
    inputs, output = arrays_for(network, 1)
    given = {tensor: at(array) for tensor, array in inputs.items()}
    with network.session(1, STREAM) as session:
        session.enqueue(given, at(output))
        before = output.copy()
        inputs["perturbed_mask"][:] = 0
        session.enqueue(given, at(output))
        assert (output != before).any()
        (wanted,) = ort.InferenceSession(network.content).run(None, inputs)
        np.testing.assert_array_equal(output, wanted)


@pytest.mark.parametrize(
    ("change", "told"),
    [
        (lambda x: x.astype(np.float64), "tensor perturbed_mask: float64 of shape (2, 1, 64, 64); expected float32"),
        (lambda x: x[:1], "tensor perturbed_mask: float32 of shape (1, 1, 64, 64); expected float32 of shape (2, 1"),
        (lambda x: None, "tensor perturbed_mask: none; expected float32 of shape (2, 1, 64, 64)"),
    ],
)
def test_a_wrong_array_is_named(networks: dict[NetworkName, Any], change: Any, told: str) -> None:
    network = networks["r"]
    inputs, output = arrays_for(network, 2)
    inputs["perturbed_mask"] = change(inputs["perturbed_mask"])
    given = {tensor: at(array) for tensor, array in inputs.items() if array is not None}
    with network.session(2, STREAM) as session, pytest.raises(MaskanimError) as error:
        session.enqueue(given, at(output))
    assert "network r, " + told in str(error.value)


def test_a_file_of_another_network() -> None:
    with pytest.raises(MaskanimError, match="network m: inputs perturbed_mask, source_mask, source_small"):
        OrtNetwork(NETWORKS["m"], content("r", False), "cpu")


def test_no_file_at_all() -> None:
    with pytest.raises(MaskanimError, match=r"network m: ONNX Runtime failed \(.*\); expected a network that it loads"):
        OrtNetwork(NETWORKS["m"], b"nothing", "cpu")


def test_a_build_without_the_provider_says_what_to_install() -> None:
    if "CUDAExecutionProvider" in ort.get_available_providers():
        pytest.skip("this ONNX Runtime has the CUDA provider")
    with pytest.raises(MaskanimError) as error:
        OrtNetwork(NETWORKS["m"], content("m", False))
    assert str(error.value) == (
        f"ONNX Runtime {ort.__version__}: no CUDAExecutionProvider; expected a build for the GPU. "
        "Replace it: pip uninstall onnxruntime, then pip install 'maskanim[gpu]'."
    )


class RecordedSession:
    """What the CUDA provider would be given."""

    providers: list[Any]
    left_out = False

    def __init__(self, content: bytes, options: Any, providers: list[Any]) -> None:
        type(self).providers = providers
        self.inner = ort.InferenceSession(content, options, providers=["CPUExecutionProvider"])

    def __getattr__(self, name: str) -> Any:
        return getattr(self.inner, name)

    def get_providers(self) -> list[str]:
        first = self.providers[0]
        return ["CPUExecutionProvider" if self.left_out else first[0] if isinstance(first, tuple) else first]


@pytest.fixture
def recorded(monkeypatch: pytest.MonkeyPatch) -> type[RecordedSession]:
    kind = type("Recorded", (RecordedSession,), {})
    stand_in = SimpleNamespace(**{name: getattr(ort, name) for name in dir(ort) if not name.startswith("__")})
    stand_in.InferenceSession, stand_in.__version__ = kind, ort.__version__
    stand_in.get_available_providers = lambda: ["CUDAExecutionProvider", "CPUExecutionProvider"]
    monkeypatch.setattr(cuda_ort, "ort", stand_in)
    return kind


def test_the_cuda_provider_gets_the_pipelines_stream(recorded: type[RecordedSession]) -> None:
    OrtNetwork(NETWORKS["m"], content("m", False), index=1).session(1, STREAM)
    name, options = recorded.providers[0]
    assert name == "CUDAExecutionProvider"
    assert options == {"device_id": "1", "user_compute_stream": "4711", "use_tf32": "0"}


def test_a_provider_that_does_not_load_is_no_fallback(recorded: type[RecordedSession]) -> None:
    network = OrtNetwork(NETWORKS["m"], content("m", False))
    recorded.left_out = True
    with pytest.raises(MaskanimError, match="network m: ONNX Runtime left CUDAExecutionProvider out; expected its lib"):
        network.session(1, STREAM)
