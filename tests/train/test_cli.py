"""maskanim-train as a user calls it."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
import yaml
from typer.testing import CliRunner

from maskanim.atomic import sole_writer
from maskanim.checkpoint import load_own
from maskanim.export.restoring import restore_networks
from maskanim.models import DEMO, demo_bundle
from maskanim.spec import ADDITIONS, LITE
from maskanim.train.cli import app
from maskanim.video import write_picture


def call(*args: object) -> tuple[int, str]:
    result = CliRunner().invoke(app, [str(arg) for arg in args])
    return result.exit_code, result.stdout + result.stderr


def test_train_then_resume(small_config: Path, tmp_path: Path) -> None:
    arguments = ("--config", small_config, "--data", "synthetic", "--out", tmp_path / "run", "--workers", 0)
    code, told = call(*arguments, "--max-steps", 1)
    assert code == 0 and "1 of 8 steps done" in told and "maskanim-export --ckpt" in told
    code, told = call(*arguments, "--max-steps", 2, "--resume")
    assert code == 0 and "3 of 8 steps done" in told
    checkpoint = load_own(torch.load(tmp_path / "run" / "last.pt", weights_only=True))
    assert checkpoint is not None and checkpoint.step == 3
    assert checkpoint.provenance["perceptual"] == "none" and checkpoint.provenance["seed"] == 0


def test_a_second_run_into_one_folder_is_refused(small_config: Path, tmp_path: Path) -> None:
    out = tmp_path / "run"
    arguments = ("--config", small_config, "--data", "synthetic", "--out", out, "--workers", 0, "--max-steps", 1)
    assert call(*arguments)[0] == 0
    before = {path.name: path.stat().st_mtime_ns for path in out.iterdir()}
    with sole_writer(out / "last.pt"):
        code, told = call(*arguments, "--resume")
        assert (code, len(told.splitlines())) == (2, 1)
        assert told.startswith(f"error: {out / 'last.pt'}: another training is writing it; expected one training at a")
    assert {path.name: path.stat().st_mtime_ns for path in out.iterdir()} == before
    assert call(*arguments, "--resume")[0] == 0


def test_options_replace_settings(small_config: Path, tmp_path: Path) -> None:
    changes = ("--set", "batch=4", "--set", "warmup.steps=1", "--precision", "bf16", "--seed", 5)
    plan = ("--save-every", 1, "--keep", 2, "--grid-every", 100, "--max-steps", 3)
    arguments = ("--config", small_config, "--data", "synthetic", "--out", tmp_path / "run", "--workers", 0)
    assert call(*arguments, *changes, *plan)[0] == 0
    checkpoint = load_own(torch.load(tmp_path / "run" / "last.pt", weights_only=True))
    assert checkpoint is not None
    found = {name: checkpoint.settings[name] for name in ("batch", "precision", "seed")}
    assert found == {"batch": 4, "precision": "bf16", "seed": 5} and checkpoint.settings["warmup"]["steps"] == 1
    names = sorted(path.name for path in (tmp_path / "run").iterdir())
    assert names == ["grids", "last.pt", "log.csv", "step-0000002.pt", "step-0000003.pt", "tensorboard"]
    code, told = call(*arguments, "--resume")
    assert code == 2 and "a run with other settings (batch, precision, seed, warmup)" in told


def test_a_run_begins_with_the_weights_of_another(small_config: Path, tmp_path: Path) -> None:
    """The learning rate is next to nothing, so after a step the weights are still those of the other run."""
    arguments = ("--config", small_config, "--data", "synthetic", "--workers", 0, "--set", "learning_rate=1.0e-12")
    assert call(*arguments, "--out", tmp_path / "first", "--max-steps", 1)[0] == 0
    first = tmp_path / "first" / "last.pt"
    code, told = call(*arguments, "--seed", 3, "--out", tmp_path / "run", "--init", first, "--max-steps", 1)
    assert code == 0 and "1 of " in told
    before, after = (load_own(torch.load(path, weights_only=True)) for path in (first, tmp_path / "run" / "last.pt"))
    assert before is not None and after is not None
    assert after.step == 1 and after.settings["warmup"]["steps"] == 0 != before.settings["warmup"]["steps"]
    for name, weights in before.networks.items():
        if "running" not in name and "num_batches" not in name:
            torch.testing.assert_close(after.networks[name], weights, rtol=0, atol=1e-9, msg=name)
    warm = ("--out", tmp_path / "warm", "--init", first, "--set", "warmup.steps=1", "--max-steps", 1)
    assert call(*arguments, *warm)[0] == 0
    warmed = load_own(torch.load(tmp_path / "warm" / "last.pt", weights_only=True))
    assert warmed is not None and warmed.settings["warmup"]["steps"] == 1
    code, told = call(*arguments, "--out", tmp_path / "wide", "--init", first, "--set", "model.widths.l=12")
    assert code == 2 and "networks of widths" in told and not (tmp_path / "wide").exists()
    code, told = call(*arguments, "--out", tmp_path / "wide", "--init", first, "--set", "model.mask_skips=4")
    assert code == 2 and "networks of mask_skips 0; expected those of the settings, 4" in told
    code, told = call(*arguments, "--out", tmp_path / "wide", "--init", first, "--set", "model.refinement_blocks=2")
    assert code == 2 and "networks of refinement_blocks 0; expected those of the settings, 2" in told


def test_a_run_begins_with_the_weights_of_a_bundle(small_config: Path, tmp_path: Path) -> None:
    """The embedded one: each weight stays where it was but for a step's 1e-12."""
    widths = [f"--set=model.widths.{name}={width}" for name, width in LITE.model_dump().items()]
    widths += [f"--set=model.{name}={getattr(demo_bundle().manifest.model, name)}" for name in ADDITIONS]
    arguments = ("--config", small_config, "--data", "synthetic", "--workers", 0, "--set", "learning_rate=1.0e-12")
    code, told = call(*arguments, *widths, "--out", tmp_path, "--init", DEMO / "bundle", "--max-steps", 1)
    assert code == 0 and "1 of " in told, told
    after = load_own(torch.load(tmp_path / "last.pt", weights_only=True))
    assert after is not None and after.step == 1
    before = restore_networks(demo_bundle()).state_dict()
    for name, weights in before.items():
        kept = (".conv.weight", "head.weight", "head.bias", ".conv1.weight")
        if name.endswith(kept) or (name.startswith("l.") and name.endswith(".norm1.weight")):  # r's are neutral
            torch.testing.assert_close(after.networks[name], weights, rtol=0, atol=1e-9, msg=name)
    settled = after.networks["h.hourglass.up_blocks.2.norm.bias"], before["h.hourglass.up_blocks.2.norm.bias"]
    assert (settled[0] != 0).all() and (settled[1] == 0).all()


@pytest.mark.parametrize(
    ("given", "told"), [(DEMO / "bundle", "networks of widths"), (DEMO.parent, "no manifest.json in it")]
)
def test_a_bundle_that_cannot_be_begun_with(small_config: Path, tmp_path: Path, given: Path, told: str) -> None:
    data = ("--config", small_config, "--data", "synthetic")
    code, output = call(*data, "--out", tmp_path / "run", "--init", given)
    assert code == 2 and told in output and output.count("error:") == 1 and not (tmp_path / "run").exists()


@pytest.fixture
def earlier(tmp_path: Path) -> Path:
    (tmp_path / "earlier").mkdir()
    (tmp_path / "earlier" / "last.pt").write_bytes(b"not a checkpoint")
    write_picture(tmp_path / "earlier" / "strip.png", np.zeros((64, 128, 3), np.uint8))
    return tmp_path / "earlier"


@pytest.mark.parametrize(
    ("changes", "told"),
    [
        ({"--config": "nothing"}, "neither a preset nor a file"),
        ({"--data": "vox"}, "--data vox: there is no such folder; expected 'synthetic', 'people' or a folder of clips"),
        (
            {"--data": "{earlier}"},
            "ground truth; expected warmup.steps and warmup.weight of 0",
        ),
        ({"--device": "cuda:9"}, "--device cuda:9: no such device here"),
        ({"--set": "batch"}, "--set batch: not a setting and its value"),
        ({"--set": "batches=3"}, "batches: 3; expected Extra inputs are not permitted"),
        ({"--precision": "fp16"}, "'fp16'; expected Input should be 'fp32' or 'bf16'"),
        ({"--perceptual-weights": "vgg.pth"}, "--perceptual-weights: with the perceptual network none; expected vgg19"),
        ({"--assets": "data"}, "--assets: with --data synthetic; expected --data people"),
        ({"--out": "earlier"}, "Add --resume"),
        ({"--out": "earlier", "--resume": None}, "last.pt: a damaged, cut off or foreign file"),
        ({"--out": "new", "--resume": None}, "no last.pt"),
        ({"--out": "new\udcff"}, ": a name that is not UTF-8; expected one that is, as TensorBoard needs"),
    ],
)
def test_mistakes_are_one_line_and_exit_2(
    small_config: Path, tmp_path: Path, earlier: Path, changes: dict[str, str | None], told: str
) -> None:
    options = {"--config": str(small_config), "--data": "synthetic", "--out": "new"} | changes
    options["--out"] = str(tmp_path / str(options["--out"]))
    options["--data"] = str(options["--data"]).format(earlier=earlier)
    code, output = call(*(part for pair in options.items() for part in pair if part is not None))
    assert code == 2 and told in output and len(output.strip().splitlines()) == 1
    assert not (tmp_path / "new").exists()
    assert (earlier / "last.pt").read_bytes() == b"not a checkpoint"


@pytest.fixture
def clips(tmp_path: Path) -> Path:
    """Three strips of four frames, and one damaged."""
    (tmp_path / "clips").mkdir()
    for i in range(3):
        picture = np.random.default_rng(i).integers(0, 256, (64, 256, 3), np.uint8)
        write_picture(tmp_path / "clips" / f"{i}.png", picture)
    (tmp_path / "clips" / "bad.png").write_text("text")
    return tmp_path / "clips"


@pytest.fixture
def real_config(small_config: Path) -> Path:
    """The small settings for real clips: no warm-up, and epochs of four passes."""
    settings = yaml.safe_load(small_config.read_text())
    small_config.write_text(yaml.safe_dump(settings | {"warmup": {}, "data": {"repeats": 4}}))
    return small_config


def test_real_clips_are_trained_on_and_resumed(real_config: Path, clips: Path, tmp_path: Path) -> None:
    """Four clips, four passes, batches of two: eight steps an epoch. The damaged one is named once."""
    arguments = ("--config", real_config, "--data", clips, "--out", tmp_path / "run", "--workers", 0, "--max-steps", 1)
    code, told = call(*arguments)
    assert code == 0 and "1 of 24 steps done" in told
    assert "data: 4 clips: strips of 64x64 frames, 12 frames; 1 damaged" in told
    assert told.count("passed over bad.png: not a picture") == 1 and "damaged clips passed over: 1" in told
    code, told = call(*arguments, "--resume")
    assert code == 0 and "2 of 24 steps done" in told


def test_other_clips_are_not_gone_on_with(real_config: Path, clips: Path, tmp_path: Path) -> None:
    arguments = ("--config", real_config, "--data", clips, "--out", tmp_path / "run", "--workers", 0, "--max-steps", 1)
    assert call(*arguments)[0] == 0
    (clips / "bad.png").rename(clips / "worse.png")
    code, told = call(*arguments, "--resume")
    assert code == 2 and "a run on other clips; expected the clips it was started with" in told


def test_help_names_both_commands() -> None:
    for arguments in ((), ("--help",)):
        _, told = call(*arguments)
        assert "prepare" in told and "train" in told and "Usage" in told
    assert "--max-steps" in call("train", "--help")[1] and "--crop" in call("prepare", "--help")[1]
