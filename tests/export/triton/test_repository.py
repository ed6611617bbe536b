"""The repository that is written: what is in it, what Triton reads of it, and what is refused."""

from __future__ import annotations

import subprocess
import sys
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from maskanim.bundle import MANIFEST, PLANS, Bundle
from maskanim.errors import MaskanimError
from maskanim.export.triton import Serving, model_source, write_repository
from maskanim.export.triton.config import config_pbtxt
from maskanim.provenance import Claim


def files(folder: Path) -> dict[str, bytes]:
    return {str(path.relative_to(folder)): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def parsed(text: str) -> Any:
    """The configuration as Triton reads it: by its own protocol buffer, which refuses unknown fields."""
    messages = pytest.importorskip("tritonclient.grpc.model_config_pb2", reason="the extra triton is not installed")
    from google.protobuf import text_format

    return text_format.Parse(text, messages.ModelConfig())


def test_everything_the_server_needs_is_in_it(tmp_path: Path, tiny_bundle: Bundle) -> None:
    model = write_repository(tiny_bundle, tmp_path / "models")
    assert model == tmp_path / "models/maskanim"
    written = files(model)
    assert written.pop("config.pbtxt").decode() == config_pbtxt(Serving(), tiny_bundle)
    assert written.pop("1/model.py") == model_source().read_bytes()
    assert written == {f"1/bundle/{name}": content for name, content in files(tiny_bundle.path).items()}
    assert Bundle.open(model / "1/bundle").manifest == tiny_bundle.manifest


def test_engine_plans_go_with_the_bundle(tmp_path: Path, tiny_bundle: Bundle) -> None:
    copy = write_repository(tiny_bundle, tmp_path / "first") / "1/bundle"
    (copy / PLANS / "a-gpu").mkdir(parents=True)
    (copy / PLANS / "a-gpu/m.plan").write_bytes(b"a plan")
    model = write_repository(Bundle.open(copy), tmp_path / "second")
    assert (model / "1/bundle" / PLANS / "a-gpu/m.plan").read_bytes() == b"a plan"


def test_triton_reads_the_configuration(tiny_bundle: Bundle) -> None:
    serving = Serving("a-face", "openvino", batch=4, sequences=3, idle_seconds=2.5, instances=2, least_psnr=38.5)
    config = parsed(config_pbtxt(serving, tiny_bundle))
    assert (config.name, config.backend, config.max_batch_size) == ("a-face", "python", 3)
    told = {tensor.name: (list(tensor.dims), tensor.optional) for tensor in config.input}
    assert told == {"source": ([-1, -1, 3], True), "driving": ([-1, -1, -1, 3], False)}
    assert all(tensor.allow_ragged_batch for tensor in config.input)
    assert [(tensor.name, list(tensor.dims)) for tensor in config.output] == [("frames", [-1, 256, 256, 3])]
    batching = config.sequence_batching
    assert batching.max_sequence_idle_microseconds == 2_500_000 and batching.oldest.max_candidate_sequences == 3
    kinds = batching.control_input[0].control[0].DESCRIPTOR.enum_types_by_name["Kind"].values_by_number
    controls = {control.name: kinds[control.control[0].kind].name for control in batching.control_input}
    assert controls == {"START": "CONTROL_SEQUENCE_START", "END": "CONTROL_SEQUENCE_END"}
    assert [(group.count, group.kind == group.KIND_AUTO) for group in config.instance_group] == [(2, True)]
    claim = Claim.of(tiny_bundle)
    assert {name: value.string_value for name, value in config.parameters.items()} == {
        "engine": "openvino",
        "precision": "fp16",
        "batch": "4",
        "least_psnr": "38.5",
        "model": claim.model,
        "model_sha256": claim.model_sha256,
    }


@pytest.mark.parametrize("name", ['a "quoted" name', "back\\slash", "für Ärzte", "two\nlines"])
def test_any_name_of_a_model_can_be_told(tiny_bundle: Bundle, name: str) -> None:
    renamed = Bundle(tiny_bundle.path, tiny_bundle.manifest.model_copy(update={"name": name}))
    assert parsed(config_pbtxt(Serving(), renamed)).parameters["model"].string_value == name


def test_an_older_one_is_replaced_and_other_models_stay(tmp_path: Path, tiny_bundle: Bundle) -> None:
    folder = tmp_path / "models"
    write_repository(tiny_bundle, folder)
    other = folder / "other"
    other.mkdir()
    model = write_repository(tiny_bundle, folder, Serving(sequences=2))
    assert "max_batch_size: 2" in (model / "config.pbtxt").read_text("utf-8")
    assert sorted(folder.iterdir()) == [model, other]


def test_what_is_not_ours_is_not_replaced(tmp_path: Path, tiny_bundle: Bundle) -> None:
    (tmp_path / "maskanim").mkdir()
    (tmp_path / "maskanim/config.pbtxt").write_text('name: "maskanim"', "utf-8")
    before = files(tmp_path)
    with pytest.raises(MaskanimError, match=r"--triton .*: another maskanim in it"):
        write_repository(tiny_bundle, tmp_path)
    assert files(tmp_path) == before
    assert write_repository(tiny_bundle, tmp_path, Serving("second")).name == "second"


def test_a_place_that_cannot_be(tmp_path: Path, tiny_bundle: Bundle) -> None:
    file = tmp_path / "file"
    file.write_bytes(b"")
    for place in (file, file / "below", tmp_path / "missing/models"):
        with pytest.raises(MaskanimError, match=r"--triton .*the folder"):
            write_repository(tiny_bundle, place)
    assert list(tmp_path.iterdir()) == [file]


def test_a_bundle_that_is_damaged_leaves_the_older_one(tmp_path: Path, tiny_bundle: Bundle) -> None:
    folder = tmp_path / "models"
    model = write_repository(tiny_bundle, folder)
    before = files(folder)
    damaged = write_repository(tiny_bundle, tmp_path / "damaged") / "1/bundle"
    (damaged / "m.onnx").write_bytes(b"short")
    with pytest.raises(MaskanimError, match=r"m\.onnx"):
        write_repository(replace(tiny_bundle, path=damaged), folder)
    (damaged / MANIFEST).unlink()
    with pytest.raises(MaskanimError, match="cannot be written"):
        write_repository(replace(tiny_bundle, path=damaged), folder)
    assert files(folder) == before and list(folder.iterdir()) == [model]


@pytest.mark.parametrize(
    ("wrong", "told"),
    [
        ({"name": "../up"}, "no name for a folder"),
        ({"name": ""}, "no name for a folder"),
        ({"engine": "abacus"}, "no such engine"),
        ({"precision": "fp8"}, "no such precision"),
        ({"batch": 0}, "a positive number"),
        ({"sequences": 0}, "Triton sequences: 0"),
        ({"instances": -1}, "Triton instances: -1"),
        ({"idle_seconds": 0.0}, "Triton idle time: 0 s"),
        ({"idle_seconds": float("nan")}, "Triton idle time: nan s"),
    ],
)
def test_what_cannot_be_served(wrong: dict[str, Any], told: str) -> None:
    with pytest.raises(MaskanimError, match=told):
        Serving(**wrong)


def test_writing_needs_neither_torch_nor_an_engine(tmp_path: Path) -> None:
    command = [sys.executable, "-c", "import sys, maskanim.export.triton; print(*sys.modules)"]
    loaded = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, check=True).stdout.split()
    assert not {"torch", "onnx", "onnxruntime", "openvino", "tritonclient", "c2pa"} & set(loaded)
