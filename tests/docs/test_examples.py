"""Every example runs, or the reason is named why it cannot here."""

from __future__ import annotations

import ast
import json
import re
import runpy
import shutil
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import av
import pytest
import torch

from maskanim.bundle import Bundle
from maskanim.checkpoint import Checkpoint
from maskanim.networks import Networks
from maskanim.video import open_clip

ROOT = Path(__file__).resolve().parents[2]
EXAMPLES = sorted((ROOT / "examples").glob("*.py"))
TESTED_ELSEWHERE = {"triton_client": "tests/export/triton/test_served.py runs it against a server"}
NEEDS_GPU = {"cupy_frames": "it needs an NVIDIA GPU with TensorRT and CuPy"}

Run = Callable[..., str]


@pytest.fixture
def run(material: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Run:
    """Run an example as a program in the folder of material; returns what it prints."""

    def run(name: str, *arguments: str) -> str:
        path = ROOT / "examples" / f"{name}.py"
        monkeypatch.setattr(sys, "argv", [path.name, *arguments])
        runpy.run_path(str(path), run_name="__main__")
        return capsys.readouterr().out

    return run


def frames(path: Path) -> int:
    with av.open(str(path)) as container:
        return sum(1 for _ in container.decode(video=0))


def test_a_picture(run: Run, material: Path) -> None:
    told = run("animate_picture", "a.jpg", "b.mp4", "out.mp4")
    with open_clip("out.mp4") as made, open_clip("b.mp4") as driving:
        assert [pts for _, pts in made] == [pts for _, pts in driving]
    assert "model: tiny" in told and "engine: " in told


def test_frames_from_numpy(run: Run) -> None:
    lines = run("numpy_frames").splitlines()
    assert len(lines) == 6 and all("(256, 256, 3) uint8" in line for line in lines)


def test_a_webcam_that_is_a_clip(run: Run, material: Path) -> None:
    assert "shown" in run("webcam", "a.jpg", "b.mp4", "recorded.mp4")
    assert frames(material / "recorded.mp4") > 0


def test_a_folder_of_clips_and_once_more(run: Run, material: Path) -> None:
    (material / "clips" / "bad.mp4").write_bytes(b"no video")
    assert "1 rendered, 0 there already, 1 failed" in run("folder_of_clips", "a.jpg", "clips", "results")
    assert "0 rendered, 1 there already, 1 failed" in run("folder_of_clips", "a.jpg", "clips", "results")


def test_a_motion_on_three_sources(run: Run, material: Path) -> None:
    told = run("motion_on_three_sources", "b.mp4", "a.jpg", "c.jpg", "faces/one.png").split()
    assert told == ["a-moved.mp4", "c-moved.mp4", "one-moved.mp4"]
    assert {frames(material / name) for name in told} == {frames(material / "b.mp4")}
    assert (material / "b.mmot").is_file()


@pytest.fixture
def checkpoint(material: Path, tiny_bundle: Bundle) -> Iterator[Path]:
    """Small networks as training leaves them: nothing in them has its initial value."""
    threads = torch.get_num_threads()
    torch.set_num_threads(1)  # small networks are faster so
    nets = Networks(tiny_bundle.manifest.model)
    for tensor in nets.state_dict().values():
        if tensor.is_floating_point():
            tensor += 0.05 * torch.rand(tensor.shape)
    path = material / "runs" / "small" / "last.pt"
    path.parent.mkdir(parents=True)
    settings = {"model": nets.spec.model_dump(mode="json")}
    Checkpoint(settings, nets.state_dict(), {}, 1, {"command": "test", "perceptual": "none"}).save(path)
    yield path
    torch.set_num_threads(threads)


def test_exporting_and_fine_tuning_what_came_of_it(run: Run, checkpoint: Path, material: Path) -> None:
    told = run("export_checkpoint", str(checkpoint), "model.bundle")
    assert re.search(r"^small: \d+\.\d dB against PyTorch", told)
    assert Bundle.open(material / "model.bundle").manifest.weights == "float16"
    shutil.copy(material / "b.mp4", material / "clips" / "two.mp4")
    assert "next: maskanim-export" in run("fine_tune", "clips", "runs/mine", "2", "model.bundle")
    assert (material / "runs/mine/last.pt").is_file()


def test_scoring_two_methods(run: Run, material: Path) -> None:
    for folder, clip in (("ours", "b.mp4"), ("true", "b.mp4"), ("theirs", "b.mp4")):
        (material / folder).mkdir()
        shutil.copy(material / clip, material / folder / "one.mp4")
    header, ours, theirs = run("score_methods", "ours", "theirs", "true").strip().splitlines()[:3]
    assert "L1" in header and "ours" in ours and "theirs" in theirs
    assert float(dict(zip(header.split(","), ours.split(","), strict=True))["L1"]) == 0


def test_the_page_inside_of_another_app(material: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    pytest.importorskip("gradio", reason="the page needs the extra app")
    for name in ("GRADIO_TEMP_DIR", "GRADIO_ANALYTICS_ENABLED"):
        monkeypatch.setenv(name, "")  # given back afterwards
    made = runpy.run_path(str(ROOT / "examples/gradio_embed.py"), run_name="example")
    shown = json.dumps(made["app"].get_config_file()["components"], default=str)
    made["context"].worker.close()
    assert all(told in shown for told in ("Something else of mine", '"animate"', '"camera"'))


def test_verifying(run: Run, material: Path) -> None:
    pytest.importorskip("c2pa", reason="it needs the extra provenance")
    from maskanim.provenance import Claim, sign_video

    sign_video(material / "long.mp4", Claim("tiny", "0" * 64), material / "signed.mp4")
    told = run("verify_provenance", "signed.mp4", "b.mp4").splitlines()
    assert told[0].startswith("signed.mp4: trainedAlgorithmicMedia by model tiny") and "no C2PA manifest" in told[1]


def test_the_notebook_runs(material: Path) -> None:
    """Cell by cell, in one namespace; what it shows are pictures."""
    notebook = json.loads((ROOT / "examples/first_animation.ipynb").read_text("utf-8"))
    assert notebook["nbformat"] == 4
    names: dict[str, Any] = {}
    cells = ["".join(cell["source"]) for cell in notebook["cells"] if cell["cell_type"] == "code"]
    for number, code in enumerate(cells):
        exec(compile(code, f"cell {number}", "exec"), names)
    assert names["sheet"].size[0] > names["sheet"].size[1] > 256 and not notebook["cells"][-1].get("outputs")


def test_there_is_an_example_of_each_and_each_says_how_to_run_it() -> None:
    assert len(EXAMPLES) >= 11
    own = Path(__file__).read_text("utf-8")
    for path in EXAMPLES:
        text = ast.get_docstring(ast.parse(path.read_text("utf-8"))) or ""
        assert "pip install '" in text and f"python {path.name}" in text, path.name
        name = path.stem
        assert f'run("{name}"' in own or f"examples/{path.name}" in own or name in TESTED_ELSEWHERE | NEEDS_GPU, name


@pytest.mark.parametrize("path", [path for path in EXAMPLES if path.stem in NEEDS_GPU], ids=lambda path: path.stem)
def test_what_cannot_run_here_names_what_is_there(path: Path) -> None:
    """Attributes of our own objects that it uses exist."""
    from maskanim.runtime.cuda.runner import CudaRunner

    for name in re.findall(r"runner\.(\w+)\(", path.read_text("utf-8")):
        assert hasattr(CudaRunner, name), name
