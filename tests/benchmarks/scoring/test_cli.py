"""maskanim-bench quality and its commands."""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np
import pytest
from typer.testing import CliRunner, Result

from maskanim.benchmarks.cli import app
from maskanim.bundle import Bundle
from maskanim.ops import Frame

Save = Callable[[Path, Sequence[Frame]], Path]


def run(*arguments: object) -> Result:
    return CliRunner().invoke(app, ["quality", *map(str, arguments)])


@pytest.fixture(autouse=True)
def no_networks(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "nets").mkdir()
    monkeypatch.setenv("MASKANIM_NETS", str(tmp_path / "nets"))
    monkeypatch.setenv("COLUMNS", "200")


def noise(seed: int, count: int = 3) -> list[Frame]:
    return list(np.random.default_rng(seed).integers(0, 256, (count, 256, 256, 3)).astype(np.uint8))


def test_its_commands() -> None:
    told = run("--help").output
    assert all(name in told for name in ("puppets", "reconstruct", "animate", "score", "grid", "nets"))


def test_options_without_a_command_are_those_of_puppets(tmp_path: Path, tiny_bundle: Bundle) -> None:
    found = tmp_path / "q.json"
    result = run("--model", tiny_bundle.path, "--identities", 1, "--frames", 2, "--driving", 1, "--json", found)
    assert result.exit_code == 0, result.output
    assert json.loads(found.read_text())["identities"] == 1


def test_score_without_networks(tmp_path: Path, save: Save) -> None:
    """L1 and SSIM need none; every other figure is said to be not available, and why."""
    save(tmp_path / "ours" / "a.mp4", noise(0))
    save(tmp_path / "true" / "a.mp4", noise(0))
    save(tmp_path / "true" / "b.mp4", noise(1))
    written = {kind: tmp_path / f"scores.{kind}" for kind in ("json", "csv", "latex", "html")}
    outputs = [part for kind, file in written.items() for part in (f"--{kind}", file)]
    sides = ("--generated", tmp_path / "ours", "--driving", tmp_path / "true", "--target", tmp_path / "true")
    result = run("score", "--subject", "face", *sides, *outputs)
    assert result.exit_code == 0, result.output
    assert "not available: mediapipe-face-detection is not here" in result.output
    assert "b: no ours video of that name" in result.output
    found = json.loads(written["json"].read_text())
    assert found["methods"]["ours"]["L1"]["value"] == 0 and found["methods"]["ours"]["SSIM"]["value"] == 1
    assert all(file.stat().st_size for file in written.values())


def test_grid(tmp_path: Path, save: Save) -> None:
    frames = [np.hstack([a, a, b]) for a, b in zip(noise(0), noise(1), strict=True)]
    path = save(tmp_path / "a.mp4", frames)
    result = run("grid", path, "--columns", "driving,target,ours", "--border", 0, "--subject", "object")
    assert result.exit_code == 0 and "0.33" in result.output  # two uniform draws of 0..255 are a third apart


def test_strips_of_one_name_in_two_folders(tmp_path: Path, save: Save) -> None:
    """The one's perturbed mask is all that P_test keeps of a white mask; the other's is empty."""
    black, white = np.zeros((256, 256, 3), np.uint8), np.full((256, 256, 3), 255, np.uint8)
    strips = {name: np.hstack([white, mask, white, white, white]) for name, mask in (("a", white), ("b", black))}
    a, b = (save(tmp_path / name / "x.mp4", [strip]) for name, strip in strips.items())
    columns = ("--columns", "driving_mask,perturbed_mask,target,ours,driving", "--border", 0)
    files = (a, b, tmp_path / "c" / "x.mp4", tmp_path / "y.mp4")
    result = run("grid", *files, *columns, "--subject", "object", "--threshold", 60)
    assert f"0.5000 of the pixels are kept or zero as in the perturbed masks ({a} 1.0000, {b} 0.0000)" in result.output
    assert f"{files[2]}: " in result.output and "\ny: " in result.output


def test_reconstruct_and_animate_drawn_puppets(tmp_path: Path, tiny_bundle: Bundle) -> None:
    shared = ("--data", "synthetic", "--model", tiny_bundle.path, "--clips", 1, "--frames", 3)
    for protocol in ("reconstruct", "animate"):
        found = tmp_path / f"{protocol}.json"
        result = run(protocol, *shared, "--json", found)
        assert result.exit_code == 0, result.output
        values = json.loads(found.read_text())
        assert values["about"]["subject"] == "puppet" and values["methods"]["tiny"]["MKR"] is not None


def test_a_model_on_clips(tmp_path: Path, tiny_bundle: Bundle, save: Save) -> None:
    for i in range(2):
        save(tmp_path / "data" / f"{i}.mp4", noise(i))
    shared = ("--data", tmp_path / "data", "--model", tiny_bundle.path, "--subject", "object")
    result = run("reconstruct", *shared)
    assert result.exit_code == 0 and "videos: 2; frames: 4" in result.output, result.output
    (tmp_path / "data" / "pairs.csv").write_text("source,driving\n0.mp4,1.mp4\n", "utf-8")
    result = run("animate", "--pairs", tmp_path / "data" / "pairs.csv", *shared[2:])
    assert result.exit_code == 0 and "videos: 1; frames: 3" in result.output, result.output
    result = run("animate", *shared)  # nobody knows the target, and of an object nothing else is judged
    assert result.exit_code == 0 and "no target was given" in result.output, result.output


def test_what_was_there_stays_if_nothing_could_be_scored(tmp_path: Path) -> None:
    kept = tmp_path / "scores.json"
    kept.write_text("earlier", "utf-8")
    result = run("grid", "nowhere.mp4", "--json", kept)
    assert result.exit_code == 2 and "nowhere: " in result.stderr
    assert kept.read_text("utf-8") == "earlier"


def test_nets_are_listed() -> None:
    result = run("nets")
    assert result.exit_code == 0
    assert "movenet-thunder" in result.output and "MIT" in result.output


@pytest.mark.parametrize(
    ("arguments", "told"),
    [
        (("grid", "nowhere.mp4", "--subject", "cat"), "not a subject"),
        (("grid", "nowhere.mp4", "--columns", "source"), "'driving' and at least one method"),
        (("grid", "nowhere.mp4", "--columns", "driving,ours", "--threshold", 60), "columns without masks"),
        (("grid", "nowhere.mp4"), "none could be scored"),
        (("grid", "nowhere.mp4", "--threshold", 60), "none could be scored"),
        (("score", "--generated", "nowhere", "--driving", "nowhere"), "no such file or folder"),
        (("reconstruct", "--data", "nowhere"), "no such folder"),
        (("animate",), "neither --data nor --pairs"),
        (("animate", "--data", "synthetic", "--pairs", "x.csv"), "drawn puppets"),
        (("grid", "x.mp4", "--json", "nowhere/a.json"), "nowhere is not a folder"),
        (("nets", "--nets", "nowhere"), "no such folder"),
        (("nets", "--only", "other"), "not in the registry"),
    ],
)
def test_mistakes_are_one_line(arguments: tuple[object, ...], told: str) -> None:
    result = run(*arguments)
    assert result.exit_code == 2, result.output
    errors = [line for line in result.stderr.splitlines() if line.startswith("error: ")]
    assert len(errors) == 1 and told in errors[0] and "Traceback" not in result.output
